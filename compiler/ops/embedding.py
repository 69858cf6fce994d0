"""Sums, means and maxima of embedding rows by bags, and one-hot vectors."""

from __future__ import annotations

import math

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from .base import Builder, OperatorError, target
from .gathering import AdvancedIndex, IndexPut
from .scatter import scatter_reduce
from .search import search

_SUM, _MEAN, _MAX = range(3)


@target("aten._embedding_bag.default", "aten._embedding_bag_forward_only.default")
def embedding_bag_with_sizes(
    b: Builder,
    weight: Value,
    indices: Value,
    offsets: Value,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Value | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[Value, Value, Value, Value]:
    """(bags, bag of each index, sizes of the bags, position of each maximum).

    A bag is what `indices` holds from its offset up to the next; `padding_idx` is left out where it
    is not negative.
    """
    if indices.rank != 1 or offsets.rank != 1:
        raise OperatorError(f"embedding_bag with indices {indices} and offsets {offsets}")
    (count,) = indices.shape
    bags = offsets.shape[0] - (1 if include_last_offset else 0)
    starts = b.slice(offsets, 0, 0, bags)
    owner = bag_of_each(b, starts, count)
    places = b.cast(indices, DType.INT64)
    counted = b.full((count,), True, DType.BOOL)
    if padding_idx >= 0:
        counted = b.apply("ne", places, b.dim(padding_idx))
    rows = b.emit1(AdvancedIndex((0,), 0, False), weight, places)
    size = weight.shape[1]
    put = IndexPut((0,), 0, "add", wrap=False)
    sizes = b.emit1(put, b.full((bags,), 0, DType.INT64), b.cast(counted, DType.INT64), owner)
    if mode == _MAX:
        result, maxima = _largest(b, rows, owner, counted, places, (bags, size))
        return result, owner, sizes, maxima
    if per_sample_weights is not None:
        rows = b.apply("mul", rows, b.unsqueeze(b.cast(per_sample_weights, rows.dtype), 1))
    rows = b.where(b.unsqueeze(counted, 1), rows, b.full((), 0, rows.dtype))
    wide = b.cast(rows, rows.dtype.compute)
    result = b.emit1(put, b.full((bags, size), 0, wide.dtype), wide, owner)
    if mode == _MEAN:
        divisor = b.cast(b.apply("maximum", sizes, b.dim(1)), wide.dtype)
        result = b.apply("div", result, b.unsqueeze(divisor, 1))
    return b.cast(result, weight.dtype), owner, sizes, sizes


def bag_of_each(b: Builder, starts: Value, count: shapes.Dim) -> Value:
    """The bags that `count` indices are in."""
    return b.apply("sub", search(b, starts, b.iota(count), right=True), b.dim(1))


def _largest(
    b: Builder, rows: Value, owner: Value, counted: Value, places: Value, shape: shapes.Shape
) -> tuple[Value, Value]:
    """(maxima of the bags, the index whose row each comes from); 0 and 0 for an empty bag."""
    dtype = rows.dtype
    lowest = b.full((), -math.inf, dtype)
    rows = b.where(b.unsqueeze(counted, 1), rows, lowest)
    put = IndexPut((0,), 0, "max", wrap=False)
    top = b.emit1(put, b.full(shape, -math.inf, dtype), rows, owner)
    is_empty = b.apply("eq", top, lowest)
    own_top = b.emit1(AdvancedIndex((0,), 0, False), top, owner)
    wins = b.apply("eq", rows, own_top)
    indices = b.expand(b.unsqueeze(places, 1), rows.shape)
    first = b.where(wins, indices, b.full((), -1, DType.INT64))
    winners = b.emit1(put, b.full(shape, -1, DType.INT64), first, owner)
    winners = b.apply("maximum", winners, b.dim(0))
    return b.where(is_empty, b.full((), 0, dtype), top), winners


@target("aten.embedding_bag.default")
def embedding_bag(
    b: Builder,
    weight: Value,
    indices: Value,
    offsets: Value,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Value | None = None,
    include_last_offset: bool = False,
) -> tuple[Value, Value, Value, Value]:
    """As `_embedding_bag`, without padding."""
    return embedding_bag_with_sizes(
        b, weight, indices, offsets, mode=mode, per_sample_weights=per_sample_weights,
        include_last_offset=include_last_offset,
    )  # fmt: skip


@target("aten.embedding_bag.padding_idx")
def embedding_bag_with_padding(
    b: Builder,
    weight: Value,
    indices: Value,
    offsets: Value,
    scale_grad_by_freq: bool,
    mode: int,
    sparse: bool,
    per_sample_weights: Value | None,
    include_last_offset: bool,
    padding_idx: int | None,
) -> tuple[Value, Value, Value, Value]:
    """As `_embedding_bag`; a negative `padding_idx` counts from the end of the table."""
    padding = -1
    if padding_idx is not None:
        rows = weight.shape[0]
        if padding_idx < 0 and not isinstance(rows, int):
            raise OperatorError(f"embedding_bag: padding_idx {padding_idx} of {weight}")
        padding = padding_idx + rows if padding_idx < 0 and isinstance(rows, int) else padding_idx
    return embedding_bag_with_sizes(
        b, weight, indices, offsets, mode=mode, per_sample_weights=per_sample_weights,
        include_last_offset=include_last_offset, padding_idx=padding,
    )  # fmt: skip


@target("aten.one_hot.default")
def one_hot(b: Builder, self: Value, num_classes: int = -1) -> Value:
    """1 at the class of each element, 0 elsewhere; the largest element decides how many classes
    there are.
    """
    classes: shapes.Dim = num_classes
    if num_classes == -1:
        top = b.reduce("max", self, tuple(range(self.rank)))
        classes = b.read_symbol(b.apply("add", b.cast(top, DType.INT64), b.dim(1)), 0)
    hot = b.apply("eq", b.unsqueeze(self, self.rank), b.iota(classes, self.dtype))
    return b.cast(hot, DType.INT64)


@target("aten.segment_reduce.default")
def segment_reduce(
    b: Builder,
    data: Value,
    reduce: str,
    *,
    lengths: Value | None = None,
    indices: Value | None = None,
    offsets: Value | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Value:
    """sum, mean, max, min or prod of runs of `data` along an axis; the runs are given by their
    lengths or ends.
    """
    if lengths is None and offsets is None:
        raise OperatorError("segment_reduce needs lengths or offsets")
    if lengths is not None:
        sizes = b.cast(lengths, DType.INT64)
        ends: Value = b.call("aten.cumsum.default", sizes, axis)
    else:
        assert offsets is not None, "either lengths or offsets were given"
        bounds = b.cast(offsets, DType.INT64)
        count = bounds.shape[axis] - 1
        ends = b.slice(bounds, axis, 1, count)
        sizes = b.apply("sub", ends, b.slice(bounds, axis, 0, count))
    length, segments = data.shape[axis], ends.shape[axis]
    positions = b.expand(b.iota(length), (*ends.shape[:-1], length))
    owner = search(b, ends, positions, right=True)
    # Elements behind the last run go to one more, which is cut off again.
    wide_owner = b.reshape(owner, (*owner.shape, *(1,) * (data.rank - owner.rank)))
    combine = {"max": "amax", "min": "amin", "sum": "sum", "mean": "sum", "prod": "prod"}[reduce]
    start = {"max": -math.inf, "min": math.inf, "sum": 0.0, "mean": 0.0, "prod": 1.0}[reduce]
    shape = (*data.shape[:axis], segments + 1, *data.shape[axis + 1 :])
    base = b.full(shape, start if initial is None else initial, data.dtype)
    index = b.expand(wide_owner, data.shape)
    total = scatter_reduce(b, base, axis, index, data, combine)
    result = b.slice(total, axis, 0, segments)
    if reduce != "mean":
        return result
    counts = b.reshape(sizes, (*sizes.shape, *(1,) * (data.rank - sizes.rank)))
    divided = b.apply("div", result, b.cast(counts, data.dtype))
    if initial is None:
        return divided
    return b.where(b.apply("gt", counts, b.dim(0)), divided, b.full((), initial, data.dtype))
