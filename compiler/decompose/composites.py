"""Primitives of castoff that ATen has no operator for, in terms of those that it has.

attention(q, k, v)   ->   scores = q * scale @ k^T;  weights = softmax(scores);  weights @ v
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Graph, TensorType, Value
from ..ir.shapes import Dim
from ..ops.attention import Attention
from ..ops.base import Builder, Op, OperatorError
from ..ops.control_flow import ScanLoop
from ..ops.gathering import AdvancedIndex, IndexPut, MaskedPut, ScatterAxis
from ..ops.grouped import GroupedDepthMatMul, GroupedMatMul
from ..ops.recurrent import RecurrentLayer
from ..ops.resample import Resample, TakeAlong, TakePoints
from ..ops.sorting import Sort
from ..ops.unique import SortRows
from ..ops.window_reduction import (
    AdaptiveWindow,
    OverlapAdd,
    WindowArgMax,
    WindowGeometry,
    WindowReduce,
    lowest,
)
from ..ops.windows import Unfold, UnfoldScatter

Expansion = Callable[..., Sequence[Value]]
COMPOSITES: dict[type[Op], Expansion] = {}


def is_plain(op: Op) -> bool:
    """Whether a primitive of this kind has an operator in ATen nevertheless."""
    return isinstance(op, IndexPut) and op.combine in ("set", "add")


def _expands(kind: type[Op]) -> Callable[[Expansion], Expansion]:
    def register(function: Expansion) -> Expansion:
        COMPOSITES[kind] = function
        return function

    return register


@_expands(Attention)
def _attention(
    b: Builder, op: Attention, q: Value, k: Value, v: Value, mask: Value | None = None
) -> Sequence[Value]:
    dtype = q.dtype.compute
    k, v = (_repeated_heads(b, x, q.shape[-3]) for x in (k, v))
    wide_q, wide_k = b.cast(q, dtype), b.cast(k, dtype)
    scaled = b.apply("mul", wide_q, b.full((), op.scale, dtype))
    scores = b.matmul(scaled, b.transpose(wide_k, -1, -2))
    nothing = b.full((), float("-inf"), dtype)
    if op.is_causal:
        rows, columns = (b.iota(scores.shape[axis]) for axis in (-2, -1))
        seen = b.apply("ge", b.unsqueeze(rows, 1), b.unsqueeze(columns, 0))
        scores = b.where(seen, scores, nothing)
    if mask is not None and mask.dtype is DType.BOOL:
        scores = b.where(mask, scores, nothing)
    elif mask is not None:
        scores = b.apply("add", scores, b.cast(mask, dtype))
    if 0 in scores.shape:
        return (b.full((*q.shape[:-1], v.shape[-1]), 0, q.dtype),)
    top = b.reduce("max", scores, [scores.rank - 1], keepdim=True)
    zero = b.full((), 0.0, dtype)
    weights = b.apply(
        "exp", b.apply("sub", scores, b.where(b.apply("eq", top, nothing), zero, top))
    )
    total = b.reduce("sum", weights, [weights.rank - 1], keepdim=True)
    one = b.full((), 1.0, dtype)
    weights = b.apply("div", weights, b.where(b.apply("eq", total, zero), one, total))
    return (b.matmul(b.cast(weights, q.dtype), v),)


def _repeated_heads(b: Builder, x: Value, heads: Dim) -> Value:
    """Heads of keys and values, each for a group of queries."""
    own = x.shape[-3]
    if shapes.is_equal(own, heads) is True:
        return x
    groups = shapes.floordiv(heads, own)
    wide = b.unsqueeze(x, x.rank - 2)
    wide = b.expand(wide, (*x.shape[:-2], groups, *x.shape[-2:]))
    return b.reshape(wide, (*x.shape[:-3], heads, *x.shape[-2:]))


@_expands(GroupedMatMul)
def _grouped(
    b: Builder, op: GroupedMatMul, rows: Value, matrices: Value, ends: Value
) -> Sequence[Value]:
    """All rows times all matrices, of which each row keeps the one of its group."""
    products = b.matmul(b.unsqueeze(rows, 0), matrices)
    zero = b.full((), 0.0, rows.dtype)
    is_own = _is_of_group(b, rows.shape[0], ends)
    return (b.reduce("sum", b.where(b.unsqueeze(is_own, 2), products, zero), [0]),)


@_expands(GroupedDepthMatMul)
def _grouped_depths(
    b: Builder, op: GroupedDepthMatMul, rows: Value, matrix: Value, ends: Value
) -> Sequence[Value]:
    """The whole product for each group, of whose inner dimension the others are zeros on both sides."""
    zero = b.full((), 0.0, rows.dtype)
    is_own = _is_of_group(b, rows.shape[1], ends)
    left = b.where(b.unsqueeze(is_own, 1), b.unsqueeze(rows, 0), zero)
    right = b.where(b.unsqueeze(is_own, 2), b.unsqueeze(matrix, 0), zero)
    return (b.matmul(left, right),)


def _is_of_group(b: Builder, count: Dim, ends: Value) -> Value:
    """Whether each of `count` positions is of each group, which starts after all ends before it: [groups, count]."""
    position, group = b.unsqueeze(b.iota(count), 0), b.iota(ends.shape[0])
    is_before_end = b.apply("lt", position, b.unsqueeze(ends, 1))
    is_earlier = b.apply("lt", b.unsqueeze(group, 0), b.unsqueeze(group, 1))
    earlier_ends = b.where(is_earlier, b.unsqueeze(ends, 0), b.full((), 0, ends.dtype))
    starts = b.reduce("max", earlier_ends, [1])
    return b.apply("logical_and", is_before_end, b.apply("ge", position, b.unsqueeze(starts, 1)))


@_expands(RecurrentLayer)
def _recurrent(b: Builder, op: RecurrentLayer, *inputs: Value) -> Sequence[Value]:
    projected, h, weight = inputs[:3]
    c = inputs[3] if op.kind == "lstm" else h
    steps = projected.shape[0]
    if not isinstance(steps, int):
        return _recurrent_loop(b, op, steps, inputs)
    outputs: list[Value] = [h] * steps
    for t in reversed(range(steps)) if op.reverse else range(steps):
        x = b.select(projected, 0, t)
        h, c = _step(b, op.kind, x, h, c, weight, inputs)
        outputs[t] = h
    shape = (1, *h.shape)
    y = b.concatenate([b.reshape(output, shape) for output in outputs], 0)
    return (y, h, c) if op.kind == "lstm" else (y, h)


def _recurrent_loop(
    b: Builder, op: RecurrentLayer, steps: Dim, inputs: Sequence[Value]
) -> Sequence[Value]:
    """The steps as rounds of a loop, where the run decides how many there are."""
    projected, h, weight, *rest = inputs
    state = [h, rest.pop(0)] if op.kind == "lstm" else [h]
    body = Builder()

    def inner(x: Value, shape: Sequence[Dim]) -> Value:
        return Value(body.unique_name(x.name), TensorType(x.dtype, tuple(shape)))

    x = inner(projected, projected.shape[1:])
    carried = [inner(value, value.shape) for value in state]
    fixed = [inner(value, value.shape) for value in (weight, *rest)]
    of_step = [x, carried[0], fixed[0], *carried[1:], *fixed[1:]]
    results = _step(body, op.kind, x, carried[0], carried[-1], fixed[0], of_step)[: len(state)]
    graph = Graph(
        f"{op.kind}_step", (*carried, x, *fixed), (*results, results[0]), tuple(body.nodes)
    )
    loop = ScanLoop(graph, len(state), 1, steps, op.reverse)
    *last, y = b.emit(loop, *state, projected, weight, *rest)
    return (y, *last)


def _step(
    b: Builder, kind: str, x: Value, h: Value, c: Value, weight: Value, inputs: Sequence[Value]
) -> tuple[Value, Value]:
    recurrent = b.matmul(h, weight)
    if kind == "gru":
        biased = b.apply("add", recurrent, inputs[3])
        xr, xz, xn = _split(b, x, 3)
        hr, hz, hn = _split(b, biased, 3)
        reset = b.apply("sigmoid", b.apply("add", xr, hr))
        update = b.apply("sigmoid", b.apply("add", xz, hz))
        new = b.apply("tanh", b.apply("add", xn, b.apply("mul", reset, hn)))
        return b.apply("add", b.apply("mul", b.apply("sub", h, new), update), new), c
    gates = b.apply("add", x, recurrent)
    if kind == "tanh":
        return b.apply("tanh", gates), c
    if kind == "relu":
        return b.apply("maximum", gates, b.full((), 0.0, gates.dtype)), c
    enter, forget, cell, leave = _split(b, gates, 4)
    kept = b.apply("mul", b.apply("sigmoid", forget), c)
    added = b.apply("mul", b.apply("sigmoid", enter), b.apply("tanh", cell))
    c = b.apply("add", kept, added)
    h = b.apply("mul", b.apply("sigmoid", leave), b.apply("tanh", c))
    return (b.matmul(h, inputs[4]) if len(inputs) == 5 else h), c


def _split(b: Builder, x: Value, count: int) -> list[Value]:
    size = shapes.floordiv(x.shape[1], count)
    return [b.slice(x, 1, i * size, size) for i in range(count)]


# --- Windows -----------------------------------------------------------------------------------


@_expands(WindowReduce)
def _window_reduce(b: Builder, op: WindowReduce, x: Value) -> Sequence[Value]:
    filler: Any = 0 if op.kind == "sum" else lowest(x.dtype)
    windows = _gathered(b, op.windows, x, filler)
    rank = len(op.windows)
    return (b.reduce(op.kind, windows, range(windows.rank - rank, windows.rank)),)


@_expands(WindowArgMax)
def _window_argmax(b: Builder, op: WindowArgMax, x: Value, largest: Value) -> Sequence[Value]:
    rank = len(op.windows)
    lead = x.shape[: x.rank - rank]
    sizes = x.shape[x.rank - rank :]
    nowhere = (1 << 63) - 1
    places = b.reshape(b.iota(shapes.element_count(sizes)), sizes)
    shown = _gathered(b, op.windows, b.expand(places, (*lead, *sizes)), nowhere)
    elements = _gathered(b, op.windows, x, 0)
    wide = b.reshape(largest, (*largest.shape, *(1,) * rank))
    is_found = b.apply("eq", elements, wide)
    if x.dtype.is_float:
        is_found = b.apply("logical_or", is_found, b.apply("isnan", elements))
    places = b.where(is_found, shown, b.full((), nowhere, DType.INT64))
    return (b.reduce("min", places, range(places.rank - rank, places.rank)),)


def _gathered(
    b: Builder, windows: Sequence[WindowGeometry], x: Value, filler: int | float
) -> Value:
    """The windows of the trailing dimensions, [..., *counts, *kernels], filled up with `filler`."""
    rank, lead = len(windows), x.rank - len(windows)
    for axis, window in enumerate(windows):
        at, size = lead + axis, x.shape[lead + axis]
        positions, inside = _positions(b, window, size)
        last = b.dim(size - 1)
        zero = b.full((), 0, DType.INT64)
        within = b.apply("maximum", b.apply("minimum", positions, last), zero)
        picked = b.emit1(AdvancedIndex((at,), at, wrap=False), x, within)
        mask = b.reshape(inside, (*inside.shape, *(1,) * (picked.rank - at - 2)))
        picked = b.where(mask, picked, b.full((), filler, x.dtype))
        order = [i for i in range(picked.rank) if i != at + 1]
        order.insert(lead + rank + axis, at + 1)
        x = b.permute(picked, order)
    return x


def _positions(b: Builder, window: WindowGeometry, size: Dim) -> tuple[Value, Value]:
    """Input positions [count, kernel] of a geometry, and which of them count."""
    index = b.unsqueeze(b.iota(window.count), 1)
    offset = b.unsqueeze(b.iota(window.kernel), 0)
    if isinstance(window, AdaptiveWindow):
        starts = b.apply("floor_divide", b.apply("mul", index, b.dim(size)), b.dim(window.count))
        after = b.apply("add", index, b.full((), 1, DType.INT64))
        past = b.apply("mul", after, b.dim(size))
        rounded = b.apply("add", past, b.dim(window.count - 1))
        ends = b.apply("floor_divide", rounded, b.dim(window.count))
        positions = b.apply("add", starts, offset)
        return positions, b.apply("lt", positions, ends)
    starts = b.apply("sub", b.apply("mul", index, b.dim(window.stride)), b.dim(window.padding))
    positions = b.apply("add", starts, b.apply("mul", offset, b.dim(window.dilation)))
    is_past_start = b.apply("ge", positions, b.full((), 0, DType.INT64))
    is_before_end = b.apply("lt", positions, b.dim(size))
    return positions, b.apply("logical_and", is_past_start, is_before_end)


@_expands(OverlapAdd)
def _overlap_add(b: Builder, op: OverlapAdd, x: Value) -> Sequence[Value]:
    """Each window is added at its flat positions; what lies outside goes to a place at the end."""
    rank = len(op.windows)
    lead = x.shape[: x.rank - 2 * rank]
    total = shapes.element_count(op.sizes)
    flat: Value = b.full((), 0, DType.INT64)
    inside: Value | None = None
    for axis, (window, size) in enumerate(zip(op.windows, op.sizes, strict=True)):
        positions, counts = _positions(b, window, size)  # [count, kernel]
        shape = [1] * (2 * rank)
        box: list[Dim] = list(shape)
        box[axis], box[rank + axis] = window.kernel, window.count
        positions, counts = (
            b.reshape(b.permute(v, (1, 0)), tuple(box)) for v in (positions, counts)
        )
        flat = b.apply("add", b.apply("mul", flat, b.dim(size)), positions)
        inside = counts if inside is None else b.apply("logical_and", inside, counts)
    assert inside is not None, "there is at least one dimension"
    where = b.where(inside, flat, b.dim(total))
    shape_of_box = x.shape[x.rank - 2 * rank :]
    where = b.reshape(b.expand(where, shape_of_box), (shapes.element_count(shape_of_box),))
    rows = b.reshape(x, (shapes.element_count(lead), where.shape[0]))
    base = b.full((rows.shape[0], total + 1), 0, x.dtype)
    summed = b.emit1(IndexPut((1,), 1, "add", wrap=False), base, rows, where)
    kept = b.slice(summed, 1, 0, total)
    return (b.reshape(kept, (*lead, *op.sizes)),)


@_expands(Unfold)
def _unfold(b: Builder, op: Unfold, x: Value) -> Sequence[Value]:
    places = _unfolded_places(b, op, shapes.floordiv(x.shape[op.axis] - op.size, op.step) + 1)
    picked = b.emit1(AdvancedIndex((op.axis,), op.axis, wrap=False), x, places)
    order = [axis for axis in range(picked.rank) if axis != op.axis + 1]
    return (b.permute(picked, (*order, op.axis + 1)),)


@_expands(UnfoldScatter)
def _unfold_scatter(b: Builder, op: UnfoldScatter, base: Value, windows: Value) -> Sequence[Value]:
    places = _unfolded_places(b, op, windows.shape[op.axis])
    order = list(range(windows.rank - 1))
    order.insert(op.axis + 1, windows.rank - 1)
    values = b.permute(windows, order)
    return (b.emit1(IndexPut((op.axis,), op.axis, "set", wrap=False), base, values, places),)


def _unfolded_places(b: Builder, op: Unfold | UnfoldScatter, count: Dim) -> Value:
    """Where each element of each window lies: [count, size]."""
    starts = b.apply("mul", b.iota(count), b.full((), op.step, DType.INT64))
    return b.apply("add", b.unsqueeze(starts, 1), b.unsqueeze(b.iota(op.size), 0))


# --- Order -------------------------------------------------------------------------------------


@_expands(SortRows)
def _sort_rows(b: Builder, op: SortRows, x: Value) -> Sequence[Value]:
    """Sorted by each column, the last one first, with equal elements left in their order."""
    rows, columns = x.shape
    if not isinstance(columns, int):
        raise OperatorError(f"rows of {columns} columns: their number must be known")
    order = b.iota(rows)
    for column in reversed(range(columns)):
        key = b.emit1(AdvancedIndex((0,), 0, wrap=False), b.select(x, 1, column), order)
        _, place = b.emit(Sort(0, descending=False, stable=True), key)
        order = b.emit1(AdvancedIndex((0,), 0, wrap=False), order, place)
    return (order,)


# --- Gathering ---------------------------------------------------------------------------------


@_expands(TakeAlong)
def _take_along(b: Builder, op: TakeAlong, x: Value, positions: Value) -> Sequence[Value]:
    return (b.emit1(AdvancedIndex((op.axis,), op.axis, wrap=False), x, positions),)


@_expands(Resample)
def _resample(
    b: Builder, op: Resample, x: Value, positions: Value, weights: Value
) -> Sequence[Value]:
    picked = b.emit1(AdvancedIndex((op.axis,), op.axis, wrap=False), x, positions)
    dtype = x.dtype.compute
    wide = b.reshape(weights, (*weights.shape, *(1,) * (x.rank - op.axis - 1)))
    product = b.apply("mul", b.cast(picked, dtype), b.cast(wide, dtype))
    return (b.cast(b.reduce("sum", product, [op.axis + 1]), x.dtype),)


@_expands(TakePoints)
def _take_points(b: Builder, op: TakePoints, x: Value, *positions: Value) -> Sequence[Value]:
    inside: Value | None = None
    within = []
    zero = b.full((), 0, DType.INT64)
    for place, size in zip(positions, x.shape[2:], strict=True):
        is_in = b.apply(
            "logical_and", b.apply("ge", place, zero), b.apply("lt", place, b.dim(size))
        )
        inside = is_in if inside is None else b.apply("logical_and", inside, is_in)
        within.append(b.apply("maximum", b.apply("minimum", place, b.dim(size - 1)), zero))
    assert inside is not None, "there is at least one size"
    rank = positions[0].rank
    batch = b.reshape(b.iota(x.shape[0]), (x.shape[0], *(1,) * (rank - 1)))
    channels_last = b.permute(x, (0, *range(2, x.rank), 1))
    axes = tuple(range(x.rank - 1))
    picked = b.emit1(AdvancedIndex(axes, 0, wrap=False), channels_last, batch, *within)
    kept = b.where(b.unsqueeze(inside, rank), picked, b.full((), 0, x.dtype))
    return (b.permute(kept, (0, rank, *range(1, rank))),)


@_expands(IndexPut)
def _index_put(
    b: Builder, op: IndexPut, base: Value, values: Value, *indices: Value
) -> Sequence[Value]:
    """Combined by anything but addition: scattered into the elements as one row."""
    count = shapes.element_count(base.shape)
    places = b.reshape(b.iota(count), base.shape)
    shown = b.emit1(AdvancedIndex(op.axes, op.position, op.wrap), places, *indices)
    row, size = (count,), (shapes.element_count(values.shape),)
    flat = (b.reshape(base, row), b.reshape(shown, size), b.reshape(values, size))
    return (b.reshape(b.emit1(ScatterAxis(0, op.combine), *flat), base.shape),)


@_expands(MaskedPut)
def _masked_put(
    b: Builder, op: MaskedPut, base: Value, mask: Value, positions: Value, source: Value
) -> Sequence[Value]:
    zero = b.full((), 0, DType.INT64)
    size = source.shape[op.axis]
    if size == 0:
        return (base,)
    within = b.apply("maximum", b.apply("minimum", positions, b.dim(size - 1)), zero)
    picked = b.emit1(AdvancedIndex((op.axis,), op.axis, wrap=False), source, within)
    behind = base.rank - op.axis - mask.rank
    return (b.where(b.reshape(mask, (*mask.shape, *(1,) * behind)), picked, base),)


__all__ = ["COMPOSITES"]
