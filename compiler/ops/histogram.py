"""Histograms: positions of values among edges, then sums at those positions."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from .base import Builder, Operand, OperatorError, target
from .formula import RoundedFormula
from .gathering import IndexPut
from .search import search


def _histogram(
    b: Builder, points: Sequence[Value], edges: Sequence[Value], weight: Value | None
) -> Value:
    """Sums of weights in the cells between edges, the last edge included."""
    dtype = points[0].dtype
    sizes = tuple(edge.shape[0] - 1 for edge in edges)
    places: list[Value] = []
    inside: Value | None = None
    for x, edge, size in zip(points, edges, sizes, strict=True):
        found = search(b, edge, x, right=True)
        place = b.apply("sub", found, b.full((), 1, DType.INT64))
        last = b.apply("eq", x, b.select(edge, 0, size))
        place = b.where(last, b.dim(size - 1), place)
        fits = b.apply(
            "logical_and", b.apply("ge", place, b.dim(0)), b.apply("lt", place, b.dim(size))
        )
        inside = fits if inside is None else b.apply("logical_and", inside, fits)
        places.append(b.apply("minimum", b.apply("maximum", place, b.dim(0)), b.dim(size - 1)))
    assert inside is not None, "a histogram has a dimension"
    added = b.full(inside.shape, 1, dtype) if weight is None else b.cast(weight, dtype)
    added = b.where(inside, added, b.full((), 0, dtype))
    op = IndexPut(tuple(range(len(sizes))), 0, "add", wrap=False)
    return b.emit1(op, b.full(sizes, 0, dtype), added, *places)


def _as_density(b: Builder, counts: Value, edges: Sequence[Value]) -> Value:
    total = b.reduce("sum", counts, tuple(range(counts.rank)))
    result = b.apply("div", counts, total)
    for axis, edge in enumerate(edges):
        n = edge.shape[0] - 1
        width = b.apply("sub", b.slice(edge, 0, 1, n), b.slice(edge, 0, 0, n))
        shape = tuple(n if i == axis else 1 for i in range(counts.rank))
        result = b.apply("div", result, b.reshape(width, shape))
    return result


def _even_edges(b: Builder, x: Value, bins: int, limits: tuple[float, float] | None) -> Value:
    """`bins` + 1 edges over a range, by default that of the data, widened where it is empty."""
    dtype = x.dtype
    if limits is not None and limits[0] != limits[1]:
        low, high = b.full((), limits[0], dtype), b.full((), limits[1], dtype)
    elif limits is not None:
        low, high = b.full((), limits[0] - 0.5, dtype), b.full((), limits[1] + 0.5, dtype)
    elif shapes.element_count(x.shape) == 0:
        low, high = b.full((), 0, dtype), b.full((), 1, dtype)
    else:
        low, high = (b.reduce(kind, x, tuple(range(x.rank))) for kind in ("min", "max"))
        same, half = b.apply("eq", low, high), b.full((), 0.5, dtype)
        low = b.where(same, b.apply("sub", low, half), low)
        high = b.where(same, b.apply("add", high, half), high)
    # As torch.linspace does it: from the lower end in the first half, then from the upper one.
    step = b.apply("div", b.apply("sub", high, low), b.full((), bins, dtype))
    place = b.iota(bins + 1)
    forward = b.apply("add", low, b.apply("mul", step, b.cast(place, dtype)))
    left = b.apply("sub", b.dim(bins), place)
    backward = b.apply("sub", high, b.apply("mul", step, b.cast(left, dtype)))
    return b.where(b.apply("lt", place, b.dim((bins + 1) // 2)), forward, backward)


def _flat(b: Builder, x: Value) -> Value:
    return b.reshape(x, (shapes.element_count(x.shape),))


@target("aten.histogram.bin_ct")
def histogram(
    b: Builder,
    self: Value,
    bins: int = 100,
    *,
    range: Sequence[float] | None = None,
    weight: Value | None = None,
    density: bool = False,
) -> tuple[Value, Value]:
    """(counts, edges) for bins of equal width."""
    limits = None if not range else (float(range[0]), float(range[1]))
    edges = _even_edges(b, self, bins, limits)
    return histogram_with_edges(b, self, edges, weight=weight, density=density)


@target("aten.histogram.bins_tensor")
def histogram_with_edges(
    b: Builder, self: Value, bins: Value, *, weight: Value | None = None, density: bool = False
) -> tuple[Value, Value]:
    """(counts, edges) for given edges."""
    weights = None if weight is None else _flat(b, weight)
    counts = _histogram(b, (_flat(b, self),), (bins,), weights)
    return (_as_density(b, counts, (bins,)) if density else counts), bins


@target("aten.histc.default")
def histc(b: Builder, self: Value, bins: int = 100, min: Operand = 0, max: Operand = 0) -> Value:
    """Counts in bins of equal width; outside of the range nothing is counted."""
    x = b.cast(_flat(b, self), self.dtype if self.dtype.is_float else DType.FLOAT64)
    low, high = b.tensor(min, x.dtype), b.tensor(max, x.dtype)
    if shapes.element_count(self.shape) != 0:
        given = b.apply("ne", low, high)
        low = b.where(given, low, b.reduce("min", x, (0,)))
        high = b.where(given, high, b.reduce("max", x, (0,)))
    one = b.full((), 1, x.dtype)
    same = b.apply("eq", low, high)
    low = b.where(same, b.apply("sub", low, one), low)
    high = b.where(same, b.apply("add", high, one), high)
    # PyTorch rounds every step to a narrow type, which moves elements to other bins.
    element, first, last, count = (
        RoundedFormula(b, b.cast(value, x.dtype.compute), x.dtype)
        for value in (x, low, high, b.full((), bins, x.dtype))
    )
    place = ((element - first) * count / (last - first)).cast(DType.INT64).value
    place = b.apply("minimum", b.apply("maximum", place, b.dim(0)), b.dim(bins - 1))
    inside = b.apply("logical_and", b.apply("ge", x, low), b.apply("le", x, high))
    added = b.cast(inside, self.dtype)
    op = IndexPut((0,), 0, "add", wrap=False)
    return b.emit1(op, b.full((bins,), 0, self.dtype), added, place)


def _histogram_dd(
    b: Builder, x: Value, edges: Sequence[Value], weight: Value | None, density: bool
) -> Value:
    size = x.shape[-1]
    flat = b.reshape(x, (shapes.element_count(x.shape[:-1]), size))
    points = [b.select(flat, 1, axis) for axis in range(len(edges))]
    counts = _histogram(b, points, edges, None if weight is None else _flat(b, weight))
    return _as_density(b, counts, edges) if density else counts


def _bin_edges(
    b: Builder, x: Value, bins: Sequence[int], limits: Sequence[float] | None
) -> list[Value]:
    edges = []
    for axis, count in enumerate(bins):
        pair = None if not limits else (float(limits[2 * axis]), float(limits[2 * axis + 1]))
        edges.append(_even_edges(b, b.select(x, x.rank - 1, axis), count, pair))
    return edges


@target("aten._histogramdd_bin_edges.default")
def histogramdd_bin_edges(
    b: Builder,
    self: Value,
    bins: Sequence[int],
    *,
    range: Sequence[float] | None = None,
    weight: Value | None = None,
    density: bool = False,
) -> list[Value]:
    """Edges of equal width for every dimension of points."""
    return _bin_edges(b, self, bins, range)


@target("aten._histogramdd_from_bin_cts.default")
def histogramdd_from_bin_cts(
    b: Builder,
    self: Value,
    bins: Sequence[int],
    *,
    range: Sequence[float] | None = None,
    weight: Value | None = None,
    density: bool = False,
) -> Value:
    """Counts of points [N, D] in D-dimensional cells of equal width."""
    return _histogram_dd(b, self, _bin_edges(b, self, bins, range), weight, density)


@target("aten._histogramdd_from_bin_tensors.default")
def histogramdd_from_bin_tensors(
    b: Builder,
    self: Value,
    bins: Sequence[Value],
    *,
    weight: Value | None = None,
    density: bool = False,
) -> Value:
    """Counts of points [N, D] in cells between given edges."""
    return _histogram_dd(b, self, bins, weight, density)


@target("aten.histogramdd.default", "aten.histogramdd.int_bins")
def histogramdd(
    b: Builder,
    self: Value,
    bins: Sequence[int] | int,
    range: Sequence[float] | None = None,
    weight: Value | None = None,
    density: bool = False,
) -> tuple[Value, list[Value]]:
    """(counts, edges) of points [N, D]."""
    size = self.shape[-1]
    if isinstance(bins, int):
        if not isinstance(size, int):
            raise OperatorError(f"histogram of {self}: the number of dimensions must be known")
        bins = [bins] * size
    edges = _bin_edges(b, self, bins, range)
    return _histogram_dd(b, self, edges, weight, density), edges


@target("aten.histogramdd.TensorList_bins")
def histogramdd_with_edges(
    b: Builder,
    self: Value,
    bins: Sequence[Value],
    range: Sequence[float] | None = None,
    weight: Value | None = None,
    density: bool = False,
) -> tuple[Value, list[Value]]:
    """(counts, edges) of points [N, D] for given edges."""
    return _histogram_dd(b, self, bins, weight, density), list(bins)
