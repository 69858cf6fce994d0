"""Targets that put tensors together, repeat them or move their elements round."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from .base import Builder, OperatorError, normalize_axis, target
from .gathering import AdvancedIndex
from .search import search
from .shape import at_least


def joined(b: Builder, tensors: Sequence[Value], axis: int) -> Value:
    """Concatenation of at least one tensor, all cast to their common dtype."""
    dtype = b.result_type(*tensors)
    values = [b.cast(x, dtype) for x in tensors]
    return values[0] if len(values) == 1 else b.concatenate(values, axis)


def _is_legacy_empty(x: Value) -> bool:
    """Whether PyTorch skips this tensor in a concatenation whatever the shape of the others."""
    return x.shape == (0,)


@target("aten.cat.default", "aten.concat.default", "aten.concatenate.default")
def cat(b: Builder, tensors: Sequence[Value], dim: int = 0) -> Value:
    """The tensors one after the other along a dimension."""
    if not tensors:
        raise OperatorError("cat of no tensors")
    dtype = b.result_type(*tensors)
    parts = [x for x in tensors if not _is_legacy_empty(x)]
    if not parts:
        return b.cast(tensors[0], dtype)
    axis = normalize_axis(dim, parts[0].rank)
    if any(x.rank != parts[0].rank or x.rank == 0 for x in parts):
        raise OperatorError(f"cat of {', '.join(map(str, parts))}")
    return b.cast(joined(b, parts, axis), dtype)


@target("aten.stack.default", "aten._stack.default")
def stack(b: Builder, tensors: Sequence[Value], dim: int = 0) -> Value:
    """The tensors along a new dimension."""
    if not tensors:
        raise OperatorError("stack of no tensors")
    axis = normalize_axis(dim, tensors[0].rank + 1)
    return joined(b, [b.unsqueeze(x, axis) for x in tensors], axis)


@target("aten.hstack.default")
def hstack(b: Builder, tensors: Sequence[Value]) -> Value:
    """Side by side: along the second dimension, vectors along the first."""
    parts = [at_least(b, x, 1) for x in tensors]
    return joined(b, parts, 0 if parts[0].rank == 1 else 1)


@target("aten.vstack.default", "aten.row_stack.default")
def vstack(b: Builder, tensors: Sequence[Value]) -> Value:
    """One below the other."""
    return joined(b, [at_least(b, x, 2) for x in tensors], 0)


@target("aten.dstack.default")
def dstack(b: Builder, tensors: Sequence[Value]) -> Value:
    """Along the third dimension."""
    return joined(b, [at_least(b, x, 3) for x in tensors], 2)


@target("aten.column_stack.default")
def column_stack(b: Builder, tensors: Sequence[Value]) -> Value:
    """As columns: vectors become n by 1 first."""
    columns = [
        b.reshape(x, (shapes.element_count(x.shape), 1)) if x.rank <= 1 else x for x in tensors
    ]
    return joined(b, columns, 1)


@target("aten._chunk_cat.default")
def chunk_cat(b: Builder, tensors: Sequence[Value], dim: int, num_chunks: int) -> Value:
    """Every tensor padded and cut into chunks along `dim`; chunks with one number side by side."""
    axis = normalize_axis(dim, tensors[0].rank)
    parts = []
    for x in tensors:
        size = shapes.ceildiv(x.shape[axis], num_chunks)
        padding: list[tuple[Dim, Dim]] = [(0, 0)] * x.rank
        padding[axis] = (0, size * num_chunks - x.shape[axis])
        padded = x if padding[axis] == (0, 0) else b.pad(x, padding)
        rest = shapes.element_count((size, *x.shape[axis + 1 :]))
        parts.append(b.reshape(padded, (*x.shape[:axis], num_chunks, rest)))
    return joined(b, parts, axis + 1)


@target("aten.block_diag.default")
def block_diag(b: Builder, tensors: Sequence[Value]) -> Value:
    """The matrices along the diagonal of one that is zero elsewhere."""
    dtype = b.result_type(*tensors)
    blocks = [at_least(b, b.cast(x, dtype), 2) for x in tensors]
    width: Dim = 0
    for block in blocks:
        width = width + block.shape[1]
    rows: list[Value] = []
    left: Dim = 0
    for block in blocks:
        after = width - left - block.shape[1]
        rows.append(b.pad(block, ((0, 0), (left, after))))
        left = left + block.shape[1]
    return joined(b, rows, 0)


def grid(b: Builder, tensors: Sequence[Value]) -> list[Value]:
    """Every vector broadcast along a dimension of its own."""
    sizes = tuple(shapes.element_count(x.shape) for x in tensors)
    result = []
    for axis, x in enumerate(tensors):
        if x.rank > 1:
            raise OperatorError(f"meshgrid of {x}: at most 1 dimension")
        shape = (1,) * axis + (sizes[axis],) + (1,) * (len(sizes) - axis - 1)
        result.append(b.expand(b.reshape(x, shape), sizes))
    return result


@target("aten.meshgrid.indexing")
def meshgrid_indexing(b: Builder, tensors: Sequence[Value], *, indexing: str) -> list[Value]:
    """Coordinate grids; "xy" lets the first two tensors change dimensions."""
    if indexing == "xy" and len(tensors) >= 2:
        first, second, *rest = tensors
        second_grid, first_grid, *others = grid(b, (second, first, *rest))
        return [first_grid, second_grid, *others]
    if indexing not in ("ij", "xy"):
        raise OperatorError(f'meshgrid with indexing {indexing!r}: "ij" or "xy"')
    return grid(b, tensors)


@target("aten.meshgrid.default")
def meshgrid(b: Builder, tensors: Sequence[Value]) -> list[Value]:
    """Coordinate grids."""
    return grid(b, tensors)


@target("aten.cartesian_prod.default")
def cartesian_prod(b: Builder, tensors: Sequence[Value]) -> Value:
    """Every combination of one element of each vector, as rows."""
    if len(tensors) == 1:
        return tensors[0]
    columns = [b.call("aten.ravel.default", x) for x in grid(b, tensors)]
    return joined(b, [b.unsqueeze(x, 1) for x in columns], 1)


@target("aten.combinations.default")
def combinations(b: Builder, self: Value, r: int = 2, with_replacement: bool = False) -> Value:
    """Every choice of `r` elements of a vector, in order, as rows."""
    if self.rank != 1 or r < 0:
        raise OperatorError(f"combinations of {r} elements of {self}")
    (count,) = self.shape
    if r == 0:
        return b.full((0,), 0, self.dtype)
    if not isinstance(count, int):
        chosen: Value = b.call("aten.take.default", self, _choices(b, count, r, with_replacement))
        return chosen
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(count), r)), np.int64).reshape(-1, r)
    picked: Value = b.call("aten.take.default", self, b.array(rows, "choices"))
    return picked


def _choices(b: Builder, count: Dim, r: int, with_replacement: bool) -> Value:
    """The positions of `r` elements of a number that the run decides, as rows."""
    if r == 1:
        return b.unsqueeze(b.iota(count), 1)
    if r == 2:
        offset = 0 if with_replacement else 1
        pairs = b.call("aten.triu_indices.default", count, count, offset)
        return b.transpose(pairs, 0, 1)
    raise OperatorError(f"combinations of {r} out of {count} elements: their number must be known")


@target("aten.repeat.default")
def repeat(b: Builder, self: Value, repeats: Sequence[Dim]) -> Value:
    """The tensor laid out several times along every dimension, as NumPy's tile."""
    if len(repeats) < self.rank:
        raise OperatorError(f"repeat of {self} {list(repeats)} times")
    sizes = (1,) * (len(repeats) - self.rank) + self.shape
    split = [n for size in sizes for n in (1, size)]
    wide = [n for times, size in zip(repeats, sizes, strict=True) for n in (times, size)]
    total = [times * size for times, size in zip(repeats, sizes, strict=True)]
    return b.reshape(b.expand(b.reshape(self, split), wide), total)


@target("aten.tile.default")
def tile(b: Builder, self: Value, dims: Sequence[Dim]) -> Value:
    """As `repeat`, where missing counts are 1."""
    return repeat(b, self, (1,) * (self.rank - len(dims)) + tuple(dims))


@target("aten.repeat_interleave.self_int")
def repeat_interleave(
    b: Builder, self: Value, repeats: Dim, dim: int | None = None, *, output_size: Dim | None = None
) -> Value:
    """Every element along a dimension `repeats` times in a row."""
    if dim is None:
        self, dim = b.call("aten.ravel.default", self), 0
    axis = normalize_axis(dim, self.rank)
    shape = (*self.shape[: axis + 1], repeats, *self.shape[axis + 1 :])
    wide = b.expand(b.unsqueeze(self, axis + 1), shape)
    return b.reshape(
        wide, (*self.shape[:axis], self.shape[axis] * repeats, *self.shape[axis + 1 :])
    )


def _repeated_positions(b: Builder, repeats: Value, output_size: Dim | None) -> Value:
    """Position i `repeats[i]` times in a row, for all i."""
    ends: Value = b.call("aten.cumsum.default", b.cast(repeats, DType.INT64), 0)
    if repeats.shape[0] == 0:
        return b.full((0,), 0, DType.INT64)
    total = output_size
    if total is None:
        total = b.read_symbol(b.select(ends, 0, repeats.shape[0] - 1), 0)
    return search(b, ends, b.iota(total), right=True)


@target("aten.repeat_interleave.Tensor")
def repeat_interleave_positions(
    b: Builder, repeats: Value, *, output_size: Dim | None = None
) -> Value:
    """Position i as often as element i of `repeats` says."""
    return b.cast(_repeated_positions(b, repeats, output_size), repeats.dtype)


@target("aten.repeat_interleave.self_Tensor")
def repeat_interleave_tensor(
    b: Builder,
    self: Value,
    repeats: Value,
    dim: int | None = None,
    *,
    output_size: Dim | None = None,
) -> Value:
    """Every element along a dimension as often as `repeats` says, in a row."""
    if dim is None:
        self, dim = b.call("aten.ravel.default", self), 0
    axis = normalize_axis(dim, self.rank)
    x = b.reshape(self, (1,)) if self.rank == 0 else self
    if repeats.rank == 0 or repeats.shape[0] == 1:
        repeats = b.expand(b.reshape(repeats, (1,)), (x.shape[axis],))
    positions = _repeated_positions(b, repeats, output_size)
    return b.emit1(AdvancedIndex((axis,), axis, False), x, positions)


@target("aten.flip.default")
def flip(b: Builder, self: Value, dims: Sequence[int]) -> Value:
    """Elements in reverse order along some dimensions."""
    return b.flip(self, [normalize_axis(axis, self.rank) for axis in dims] if self.rank else [])


@target("aten.fliplr.default")
def fliplr(b: Builder, self: Value) -> Value:
    """Reversed along the second dimension."""
    return flip(b, self, (1,))


@target("aten.flipud.default")
def flipud(b: Builder, self: Value) -> Value:
    """Reversed along the first dimension."""
    return flip(b, self, (0,))


@target("aten.rot90.default")
def rot90(b: Builder, self: Value, k: int = 1, dims: Sequence[int] = (0, 1)) -> Value:
    """Turned by a right angle `k` times, from the first of `dims` towards the second."""
    first, second = (normalize_axis(axis, self.rank) for axis in dims)
    match k % 4:
        case 1:
            return b.transpose(b.flip(self, (second,)), first, second)
        case 2:
            return b.flip(self, (first, second))
        case 3:
            return b.transpose(b.flip(self, (first,)), first, second)
    return self


@target("aten.roll.default")
def roll(b: Builder, self: Value, shifts: Sequence[Dim], dims: Sequence[int] = ()) -> Value:
    """Elements moved along dimensions; what leaves at the end comes back at the start."""
    if not dims:
        flat: Value = b.call("aten.ravel.default", self)
        return b.reshape(_rolled(b, flat, shifts[0], 0), self.shape)
    for shift, dim in zip(shifts, dims, strict=True):
        self = _rolled(b, self, shift, normalize_axis(dim, self.rank))
    return self


def _rolled(b: Builder, x: Value, shift: Dim, axis: int) -> Value:
    size = x.shape[axis]
    if size == 0 or x.rank == 0:
        return x
    moved = shapes.mod(shift, size)
    if moved == 0:
        return x
    tail = b.slice(x, axis, size - moved, moved)
    return b.concatenate((tail, b.slice(x, axis, 0, size - moved)), axis)


@target("aten.pad_sequence.default")
def pad_sequence(
    b: Builder,
    sequences: Sequence[Value],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Value:
    """Sequences [length, …] padded to the longest and stacked."""
    longest: Dim = 0
    for x in sequences:
        longest = shapes.maximum(longest, x.shape[0])
    parts = []
    for x in sequences:
        missing = longest - x.shape[0]
        ends: tuple[Dim, Dim] = (0, missing) if padding_side == "right" else (missing, 0)
        parts.append(b.pad(x, (ends, *((0, 0),) * (x.rank - 1)), padding_value))
    return stack(b, parts, 0 if batch_first else 1)
