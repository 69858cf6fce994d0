"""Quantiles: sort, then interpolate between neighbours."""

from __future__ import annotations

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from .base import Builder, OperatorError, normalize_axis, target
from .gathering import GatherAxis
from .sorting import Sort

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(
    b: Builder,
    x: Value,
    q: Value,
    dim: int | None,
    keepdim: bool,
    interpolation: str,
    ignores_nan: bool,
) -> Value:
    """Quantiles `q` (0-d or a vector, which becomes the first dimension) along `dim` or of all
    elements.
    """
    if interpolation not in _INTERPOLATIONS or q.rank > 1 or q.dtype is not x.dtype:
        raise OperatorError(f"quantile {q} of {x} by {interpolation!r}")
    kept_shape: shapes.Shape = (1,) * x.rank
    if dim is None:
        rows = b.reshape(x, (shapes.element_count(x.shape),))
    else:
        axis = normalize_axis(dim, x.rank)
        kept_shape = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
        rows = b.reshape(x, (1,)) if x.rank == 0 else x
        rows = b.permute(rows, [i for i in range(rows.rank) if i != axis] + [axis])
    points = b.reshape(q, (shapes.element_count(q.shape),))
    result = _of_rows(b, rows, points, interpolation, ignores_nan)
    result = b.permute(result, [result.rank - 1, *range(result.rank - 1)])
    leading = points.shape if q.rank else ()
    if keepdim:
        return b.reshape(result, (*leading, *kept_shape))
    return b.reshape(result, (*leading, *rows.shape[:-1]))


def _of_rows(
    b: Builder, rows: Value, points: Value, interpolation: str, ignores_nan: bool
) -> Value:
    """Quantiles [..., Q] of rows [..., n]."""
    dtype = rows.dtype
    last = rows.rank - 1
    ordered, _ = b.emit(Sort(last, descending=False, stable=True), rows)
    is_nan = b.cast(b.apply("isnan", rows), DType.INT64)
    nan_count = b.reduce("sum", is_nan, (last,), keepdim=True)
    if ignores_nan:
        numbers = b.apply("sub", b.dim(rows.shape[last]), nan_count)
        top = b.apply("maximum", b.apply("sub", numbers, b.dim(1)), b.dim(0))
        rank = b.apply("mul", points, b.cast(top, dtype))
    else:
        highest = b.dim(rows.shape[last] - 1)
        rank = b.apply("mul", points, b.cast(highest, dtype))
        # A NaN is sorted to the end: rows that have one take it for every quantile.
        rank = b.where(b.apply("gt", nan_count, b.dim(0)), b.cast(highest, dtype), rank)
    rank = b.expand(rank, (*rows.shape[:-1], points.shape[0]))
    match interpolation:
        case "lower":
            rank = b.apply("floor", rank)
        case "higher":
            rank = b.apply("ceil", rank)
        case "nearest":
            rank = b.apply("round", rank)
    below = b.apply("floor", rank)
    low = b.emit1(GatherAxis(last), ordered, b.cast(below, DType.INT64))
    if interpolation not in ("linear", "midpoint"):
        return low
    high = b.emit1(GatherAxis(last), ordered, b.cast(b.apply("ceil", rank), DType.INT64))
    half = b.full((), 0.5, dtype)
    weight = (
        b.expand(half, rank.shape) if interpolation == "midpoint" else b.apply("sub", rank, below)
    )
    span = b.apply("sub", high, low)
    from_low = b.apply("add", low, b.apply("mul", weight, span))
    rest = b.apply("sub", b.full((), 1, dtype), weight)
    from_high = b.apply("sub", high, b.apply("mul", span, rest))
    return b.where(b.apply("lt", weight, half), from_low, from_high)


@target("aten.quantile.default", "aten.quantile.scalar")
def quantile(
    b: Builder,
    self: Value,
    q: Value | float,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Value:
    """Quantiles; NaN where there is one among the elements."""
    points = b.tensor(q, self.dtype)
    return _quantile(b, self, points, dim, keepdim, interpolation, ignores_nan=False)


@target("aten.nanquantile.default", "aten.nanquantile.scalar")
def nanquantile(
    b: Builder,
    self: Value,
    q: Value | float,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Value:
    """Quantiles of the elements that are not NaN."""
    points = b.tensor(q, self.dtype)
    return _quantile(b, self, points, dim, keepdim, interpolation, ignores_nan=True)
