"""Targets that write elements to computed positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..records import dataclass
from .base import Builder, Operand, OperatorError, normalize_axis, target
from .gathering import AdvancedIndex, IndexPut, MaskedPut, ScatterAxis
from .indexing import as_mask, clamped_indices, is_mask, plan_index
from .matmul import scaled

_COMBINE = {
    "add": "add", "sum": "add", "mean": "add", "multiply": "mul", "prod": "mul", "amax": "max",
    "amin": "min",
}  # fmt: skip


def accumulate_combine(dtype: DType) -> str:
    """How PyTorch adds elements of a type: bool adds by "or"."""
    return "max" if dtype is DType.BOOL else "add"


@target("aten.index_put.default", "aten._unsafe_index_put.default")
@target("aten.index_put.hacked_twin", "aten._unsafe_index_put.hacked_twin")
def index_put(
    b: Builder,
    self: Value,
    indices: Sequence[Value | None],
    values: Value,
    accumulate: bool = False,
) -> Value:
    """`self` with `values` stored, or added, at the positions the indices name."""
    updates = b.cast(values, self.dtype)
    given = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(given) == 1 and is_mask(given[0][1]):
        axis, mask = given[0]
        by_mask = _put_by_mask(b, self, axis, as_mask(b, mask), updates, accumulate)
        if by_mask is not None:
            return by_mask
    plan = plan_index(b, self, indices)
    reader = AdvancedIndex(plan.axes, plan.position)
    (shown,) = reader.infer(self.type, *(index.type for index in plan.indices))
    combine = accumulate_combine(self.dtype) if accumulate else "set"
    op = IndexPut(plan.axes, plan.position, combine)
    return b.emit1(op, self, b.expand(updates, shown.shape), *plan.indices)


@target("aten._index_put_impl.default")
def index_put_impl(
    b: Builder,
    self: Value,
    indices: Sequence[Value | None],
    values: Value,
    accumulate: bool = False,
    unsafe: bool = False,
) -> Value:
    """As `index_put`."""
    return index_put(b, self, indices, values, accumulate)


def _put_by_mask(
    b: Builder, x: Value, axis: int, mask: Value, values: Value, accumulate: bool
) -> Value | None:
    """The result without counting what the mask holds, so that every shape is known; None if it has
    to be.
    """
    suffix = x.rank - axis - mask.rank
    if values.rank <= suffix:
        chosen = values
    elif values.shape[-suffix - 1] == 1:  # the same for every true element
        cut = values.rank - suffix - 1
        shape = (*values.shape[:cut], *(1,) * mask.rank, *values.shape[cut + 1 :])
        chosen = b.reshape(values, shape)
    elif accumulate:
        return None
    else:
        shown = (*x.shape[:axis], values.shape[-suffix - 1], *x.shape[axis + mask.rank :])
        source = b.expand(values, shown)
        return b.emit1(MaskedPut(axis), x, mask, true_ranks(b, mask), source)
    if accumulate:
        chosen = b.apply("add", x, chosen)
    wide_mask = b.reshape(mask, (*mask.shape, *(1,) * suffix))
    return b.expand(b.where(wide_mask, chosen, x), x.shape)


def true_ranks(b: Builder, mask: Value) -> Value:
    """For every true element, how many stand before it in row-major order."""
    flat = b.cast(b.reshape(mask, (shapes.element_count(mask.shape),)), DType.INT64)
    total = b.call("aten.cumsum.default", flat, 0)
    return b.reshape(b.apply("sub", total, b.full((), 1, DType.INT64)), mask.shape)


@target("aten._unsafe_masked_index_put_accumulate.default")
def unsafe_masked_index_put_accumulate(
    b: Builder, self: Value, mask: Value, indices: Sequence[Value | None], values: Value
) -> Value:
    """Values added at positions where the mask holds; indices elsewhere may be out of range."""
    if shapes.element_count(self.shape) == 0:
        return self
    kept = b.where(as_mask(b, mask), values, b.full((), 0, values.dtype))
    return index_put(b, self, clamped_indices(b, self, indices), kept, accumulate=True)


@target("aten.masked_scatter.default")
def masked_scatter(b: Builder, self: Value, mask: Value, source: Value) -> Value:
    """`self` with its elements under the mask replaced by those of `source`, in order."""
    common = shapes.broadcast_shapes(self.shape, mask.shape)
    count = (shapes.element_count(common),)
    flat = b.reshape(b.expand(self, common), count)
    flat_mask = b.reshape(b.expand(as_mask(b, mask), common), count)
    values: Value = b.call("aten.ravel.default", b.cast(source, self.dtype))
    result = b.emit1(MaskedPut(0), flat, flat_mask, true_ranks(b, flat_mask), values)
    return b.reshape(result, common)


@target("aten.put.default")
def put(b: Builder, self: Value, index: Value, source: Value, accumulate: bool = False) -> Value:
    """Elements stored, or added, at row-major positions."""
    flat: Value = b.call("aten.ravel.default", self)
    values = b.reshape(b.cast(source, self.dtype), index.shape)
    combine = accumulate_combine(self.dtype) if accumulate else "set"
    return b.reshape(b.emit1(IndexPut((0,), 0, combine), flat, values, index), self.shape)


# ------------------------------------------------------------------------- along one dimension


@dataclass(frozen=True, slots=True)
class _Rows:
    """Slices of a tensor along a dimension, and the positions they belong to."""

    base: Value
    axis: int
    index: Value


def _rows(b: Builder, self: Value, dim: int, index: Value) -> _Rows:
    if index.rank > 1:
        raise OperatorError(f"positions {index} along dimension {dim}: at most 1 dimension")
    base = b.reshape(self, (1,)) if self.rank == 0 else self
    positions = b.reshape(index, (shapes.element_count(index.shape),))
    return _Rows(base, normalize_axis(dim, self.rank), positions)


def _put_rows(b: Builder, rows: _Rows, source: Value, combine: str, *, wrap: bool = False) -> Value:
    shape = (*rows.base.shape[: rows.axis], rows.index.shape[0], *rows.base.shape[rows.axis + 1 :])
    values = b.cast(source, rows.base.dtype)
    if values.rank < len(shape) and shapes.element_count(values.shape) == 1:
        values = b.reshape(values, (1,) * len(shape))
    op = IndexPut((rows.axis,), rows.axis, combine, wrap)
    return b.emit1(op, rows.base, b.expand(values, shape), rows.index)


@target("aten.index_add.default")
def index_add(
    b: Builder, self: Value, dim: int, index: Value, source: Value, *, alpha: Operand = 1
) -> Value:
    """`self` with the slices of `source`, times `alpha`, added along a dimension."""
    added = scaled(b, b.cast(source, self.dtype), alpha)
    rows = _rows(b, self, dim, index)
    return b.reshape(_put_rows(b, rows, added, accumulate_combine(self.dtype)), self.shape)


@target("aten.index_copy.default")
def index_copy(b: Builder, self: Value, dim: int, index: Value, source: Value) -> Value:
    """`self` with slices along a dimension replaced by those of `source`."""
    return b.reshape(_put_rows(b, _rows(b, self, dim, index), source, "set"), self.shape)


@target("aten.index_fill.int_Scalar", "aten.index_fill.int_Tensor")
def index_fill(b: Builder, self: Value, dim: int, index: Value, value: Operand) -> Value:
    """`self` with slices along a dimension set to one number."""
    filler = b.tensor(value, self.dtype)
    rows = _rows(b, self, dim, index)
    return b.reshape(_put_rows(b, rows, filler, "set", wrap=True), self.shape)


@target("aten.index_reduce.default")
def index_reduce(
    b: Builder,
    self: Value,
    dim: int,
    index: Value,
    source: Value,
    reduce: str,
    *,
    include_self: bool = True,
) -> Value:
    """Slices of `source` combined with those of `self` by prod, mean, amax or amin."""
    rows = _rows(b, self, dim, index)

    def put_rows(base: Value, values: Value, combine: str) -> Value:
        return _put_rows(b, _Rows(base, rows.axis, rows.index), values, combine)

    one = b.full((), 1, self.dtype)
    return b.reshape(
        _reduced(b, rows.base, source, one, reduce, include_self, put_rows), self.shape
    )


_PutValues = Callable[[Value, Value, str], Value]
"""Combines values into a base at positions fixed beforehand."""


def neutral(combine: str, dtype: DType) -> float | int:
    """The number that changes nothing when combined with another."""
    match combine:
        case "mul":
            return 1
        case "max" | "min" if dtype.is_float:
            return -math.inf if combine == "max" else math.inf
        case "max" | "min" if dtype is DType.BOOL:
            return int(combine == "min")
        case "max" | "min":
            bits = dtype.itemsize * 8
            low = -(1 << (bits - 1)) if dtype.is_signed else 0
            high = (1 << (bits - 1)) - 1 if dtype.is_signed else (1 << bits) - 1
            return low if combine == "max" else high
    return 0


def _reduced(
    b: Builder,
    base: Value,
    source: Value,
    one: Value,
    reduce: str,
    include_self: bool,
    put_values: _PutValues,
) -> Value:
    """`base` with values combined into it; where it is not included, only what is not written stays
    of it.
    """
    if reduce not in _COMBINE:
        raise OperatorError(f"scatter with reduction {reduce!r}")
    combine = _COMBINE[reduce]
    dtype = base.dtype
    start = base
    if not include_self:
        start = put_values(base, b.full((), neutral(combine, dtype), dtype), "set")
    if dtype is DType.BOOL and combine in ("add", "mul"):
        combine = "max" if combine == "add" else "min"
    result = put_values(start, source, combine)
    if reduce != "mean":
        return result
    counts = b.full(base.shape, int(include_self), dtype)
    counts = put_values(counts, one, "add")
    counts = b.apply("maximum", counts, one)
    if dtype.is_integer:
        divided: Value = b.call("aten.div.Tensor_mode", result, counts, rounding_mode="floor")
        return divided
    return b.apply("div", result, counts)


def _scatter(
    b: Builder, self: Value, dim: int, index: Value, source: Operand, combine: str
) -> Value:
    if shapes.element_count(index.shape) == 0:
        return self
    axis = normalize_axis(dim, self.rank)
    base, places = _at_least_1d(b, self), _at_least_1d(b, index)
    if isinstance(source, Value) and source.rank:
        values = b.cast(source, self.dtype)
    else:
        values = b.expand(b.tensor(source, self.dtype), places.shape)
    return b.reshape(b.emit1(ScatterAxis(axis, combine), base, places, values), self.shape)


def _at_least_1d(b: Builder, x: Value) -> Value:
    return b.reshape(x, (1,)) if x.rank == 0 else x


@target("aten.scatter.src")
def scatter_src(b: Builder, self: Value, dim: int, index: Value, src: Value) -> Value:
    """`self` with elements of `src` stored at positions along a dimension."""
    return _scatter(b, self, dim, index, src, "set")


@target("aten.scatter.value")
def scatter_value(b: Builder, self: Value, dim: int, index: Value, value: Operand) -> Value:
    """`self` with a number stored at positions along a dimension."""
    return _scatter(b, self, dim, index, value, "set")


@target("aten.scatter.reduce")
def scatter_with(
    b: Builder, self: Value, dim: int, index: Value, src: Value, *, reduce: str
) -> Value:
    """Elements added, or multiplied, at positions along a dimension."""
    return _scatter(b, self, dim, index, src, _combine(self, reduce))


@target("aten.scatter.value_reduce")
def scatter_value_with(
    b: Builder, self: Value, dim: int, index: Value, value: Operand, *, reduce: str
) -> Value:
    """A number added, or multiplied, at positions along a dimension."""
    return _scatter(b, self, dim, index, value, _combine(self, reduce))


def _combine(self: Value, reduce: str) -> str:
    if reduce not in ("add", "multiply"):
        raise OperatorError(f'scatter with reduction {reduce!r}: "add" or "multiply"')
    if self.dtype is DType.BOOL:
        return "max" if reduce == "add" else "min"
    return _COMBINE[reduce]


@target("aten.scatter_add.default")
def scatter_add(b: Builder, self: Value, dim: int, index: Value, src: Value) -> Value:
    """`self` with elements of `src` added at positions along a dimension."""
    return _scatter(b, self, dim, index, src, accumulate_combine(self.dtype))


@target("aten.scatter_reduce.two")
def scatter_reduce(
    b: Builder,
    self: Value,
    dim: int,
    index: Value,
    src: Value,
    reduce: str,
    *,
    include_self: bool = True,
) -> Value:
    """Elements combined by sum, prod, mean, amax or amin at positions along a dimension."""

    def put_values(base: Value, values: Value, combine: str) -> Value:
        return _scatter(b, base, dim, index, values, combine)

    one = b.full((), 1, self.dtype)
    return _reduced(b, self, src, one, reduce, include_self, put_values)
