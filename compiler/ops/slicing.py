"""Targets that show or replace part of a tensor: slices, splits, windows, strided views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.graph import Node, Value
from ..ir.shapes import Dim
from .base import Builder, OperatorError, normalize_axis, target
from .creation import Full
from .view import AsStrided, AsStridedScatter, Expand, Permute, Reshape, Slice, SliceScatter
from .windows import Diagonal, Unfold


def counted_from_front(position: Dim, size: Dim) -> Dim:
    """A position where negative numbers count from the end."""
    if shapes.is_nonnegative(position):
        return position
    return position + size * shapes.less(position, 0)


def slice_bounds(size: Dim, start: Dim | None, end: Dim | None, step: int) -> tuple[Dim, Dim]:
    """(first position, number of elements) of `[start:end:step]`, clamped as Python does."""
    if step < 1:
        raise OperatorError(f"slice with step {step}: it must be positive")
    first: Dim = 0
    if start is not None:
        first = shapes.minimum(shapes.maximum(counted_from_front(start, size), 0), size)
    last = size
    if end is not None:
        last = shapes.minimum(counted_from_front(end, size), size)
    return first, shapes.ceildiv(shapes.maximum(last - first, 0), step)


def _slice_arguments(
    self: Value, dim: int, start: Dim | None, end: Dim | None, step: int
) -> tuple[int, Dim, Dim]:
    axis = normalize_axis(dim, self.rank)
    if self.rank == 0:
        raise OperatorError("slice of a tensor without dimensions")
    return (axis, *slice_bounds(self.shape[axis], start, end, step))


@target("aten.slice.Tensor", alias=True)
@target("aten.slice_copy.Tensor")
def slice_(
    b: Builder,
    self: Value,
    dim: int = 0,
    start: Dim | None = None,
    end: Dim | None = None,
    step: int = 1,
) -> Value:
    """Every `step`-th element along a dimension from `start` up to `end`."""
    axis, first, length = _slice_arguments(self, dim, start, end, step)
    return b.slice(self, axis, first, length, step)


@target("aten.slice_scatter.default")
def slice_scatter(
    b: Builder,
    self: Value,
    src: Value,
    dim: int = 0,
    start: Dim | None = None,
    end: Dim | None = None,
    step: int = 1,
) -> Value:
    """`self` with the slice replaced by `src`."""
    axis, first, length = _slice_arguments(self, dim, start, end, step)
    shape = (*self.shape[:axis], length, *self.shape[axis + 1 :])
    updated = b.expand(b.cast(src, self.dtype), shape)
    return b.emit1(SliceScatter(axis, first, length, step), self, updated)


def _position(self: Value, axis: int, index: Dim) -> Dim:
    size = self.shape[axis]
    position = counted_from_front(index, size)
    if shapes.is_less(position, size) is False or shapes.is_less(position, 0) is True:
        raise OperatorError(f"index {index} is outside dimension {axis} of {self}")
    return shapes.maximum(shapes.minimum(position, size - 1), 0)


@target("aten.select.int", alias=True)
@target("aten.select_copy.int")
def select(b: Builder, self: Value, dim: int, index: Dim) -> Value:
    """One position along a dimension, which disappears."""
    if self.rank == 0:
        raise OperatorError("select from a tensor without dimensions")
    axis = normalize_axis(dim, self.rank)
    return b.select(self, axis, _position(self, axis, index))


@target("aten.select_scatter.default")
def select_scatter(b: Builder, self: Value, src: Value, dim: int, index: Dim) -> Value:
    """`self` with one position along a dimension replaced by `src`."""
    axis = normalize_axis(dim, self.rank)
    updated = b.unsqueeze(b.cast(src, self.dtype), axis)
    return b.emit1(SliceScatter(axis, _position(self, axis, index), 1), self, updated)


@target("aten.narrow.default", alias=True)
@target("aten.narrow_copy.default")
def narrow(b: Builder, self: Value, dim: int, start: Dim, length: Dim) -> Value:
    """`length` elements along a dimension from `start` on."""
    axis = normalize_axis(dim, self.rank)
    size = self.shape[axis]
    first = counted_from_front(start, size)
    if shapes.is_less(size, first + length) is True or shapes.is_less(length, 0) is True:
        raise OperatorError(
            f"narrow to {length} elements from {start} of dimension {dim} of {self}"
        )
    return b.slice(self, axis, shapes.maximum(shapes.minimum(first, size - length), 0), length)


@target("aten.narrow.Tensor", alias=True)
def narrow_tensor(b: Builder, self: Value, dim: int, start: Value, length: Dim) -> Value:
    """As `narrow`, from a position held in a tensor."""
    return narrow(b, self, dim, b.read_symbol(start, -shapes.INFINITY), length)


# ------------------------------------------------------------------------------------------ parts


def split_sizes(size: Dim, part: Dim, *, expected: int | None = None) -> list[Dim]:
    """Sizes of the parts when `size` is cut into pieces of `part`, the last one maybe shorter."""
    count = shapes.ceildiv(size, part) if part != 0 else 1
    if not isinstance(count, int):
        if expected is None:
            raise OperatorError(f"number of parts of size {part} in {size} is not known")
        count = expected
    count = max(count, 1)
    return [part] * (count - 1) + [size - part * (count - 1)]


def _parts(b: Builder, x: Value, axis: int, sizes: Sequence[Dim]) -> list[Value]:
    parts: list[Value] = []
    start: Dim = 0
    for size in sizes:
        parts.append(b.slice(x, axis, start, size))
        start = start + size
    return parts


@target("aten.split.Tensor", alias=True)
@target("aten.split_copy.Tensor", "aten.unsafe_split.Tensor")
def split(b: Builder, self: Value, split_size: Dim, dim: int = 0) -> list[Value]:
    """Pieces of `split_size` along a dimension."""
    axis = normalize_axis(dim, self.rank)
    return _parts(b, self, axis, split_sizes(self.shape[axis], split_size))


@target("aten.split_with_sizes.default", "aten.split.default", alias=True)
@target("aten.split_with_sizes_copy.default", "aten.unsafe_split_with_sizes.default")
def split_with_sizes(
    b: Builder, self: Value, split_sizes: Sequence[Dim], dim: int = 0
) -> list[Value]:
    """Pieces of given sizes along a dimension."""
    axis = normalize_axis(dim, self.rank)
    total: Dim = 0
    for size in split_sizes:
        total = total + size
    if shapes.is_equal(total, self.shape[axis]) is False:
        raise OperatorError(f"parts {list(split_sizes)} do not add up to dimension {dim} of {self}")
    return _parts(b, self, axis, split_sizes)


@target("aten.split.sizes", alias=True)
def split_by_sizes(b: Builder, self: Value, split_size: Sequence[Dim], dim: int = 0) -> list[Value]:
    """Pieces of given sizes along a dimension."""
    return split_with_sizes(b, self, split_size, dim)


@target("aten.chunk.default", alias=True)
@target("aten.unsafe_chunk.default")
def chunk(b: Builder, self: Value, chunks: int, dim: int = 0) -> list[Value]:
    """At most `chunks` pieces of equal size, the last one maybe shorter."""
    axis = normalize_axis(dim, self.rank)
    size = self.shape[axis]
    if size == 0:  # PyTorch then gives all the chunks, each empty
        return _parts(b, self, axis, [0] * chunks)
    part = shapes.ceildiv(size, chunks)
    return _parts(b, self, axis, split_sizes(size, part, expected=chunks))


@target("aten.tensor_split.sections", alias=True)
def tensor_split(b: Builder, self: Value, sections: int, dim: int = 0) -> list[Value]:
    """Exactly `sections` pieces, the first ones longer by one where it does not come out even."""
    axis = normalize_axis(dim, self.rank)
    size = self.shape[axis]
    part, longer = shapes.floordiv(size, sections), shapes.mod(size, sections)
    return _parts(b, self, axis, [part + shapes.less(i, longer) for i in range(sections)])


@target("aten.tensor_split.indices", alias=True)
def tensor_split_indices(
    b: Builder, self: Value, indices: Sequence[Dim], dim: int = 0
) -> list[Value]:
    """Pieces between the given positions, as slices of Python."""
    axis = normalize_axis(dim, self.rank)
    starts: list[Dim | None] = [0, *indices]
    ends: list[Dim | None] = [*indices, None]
    return [slice_(b, self, axis, start, end) for start, end in zip(starts, ends, strict=True)]


@target("aten.tensor_split.tensor_indices_or_sections", alias=True)
def tensor_split_tensor(
    b: Builder, self: Value, tensor_indices_or_sections: Value, dim: int = 0
) -> list[Value]:
    """As the other forms, with the number of pieces or the positions in a tensor."""
    where = tensor_indices_or_sections
    if where.rank == 0:
        known = constant_elements(b, where)
        if known is None:
            raise OperatorError("tensor_split into a number of parts that only the run decides")
        return tensor_split(b, self, int(known), dim)
    positions = constant_elements(b, where)
    if positions is not None:
        return tensor_split_indices(b, self, [int(i) for i in positions], dim)
    (count,) = where.shape
    if not isinstance(count, int):
        raise OperatorError("tensor_split into a number of parts that only the run decides")
    symbols = [b.read_symbol(b.select(where, 0, i), -shapes.INFINITY) for i in range(count)]
    return tensor_split_indices(b, self, symbols, dim)


def constant_elements(b: Builder, x: Value) -> np.ndarray | None:
    """The elements of a value that is a constant of the program, if it is one."""
    if x in b.constants:
        return b.constants[x].array
    node = b.producer(x)
    if node is None:
        return None
    if isinstance(node.op, Full) and shapes.is_static(node.op.shape):
        return np.full(tuple(int(str(n)) for n in node.op.shape), node.op.value)
    return None


def _register_split(name: str, axis_of: Callable[[int], int], least: int) -> None:
    @target(f"aten.{name}.int", alias=True)
    def by_sections(b: Builder, self: Value, sections: int) -> list[Value]:
        """Equal pieces."""
        axis = _axis(self)
        if isinstance(self.shape[axis], int) and shapes.mod(self.shape[axis], sections) != 0:
            raise OperatorError(f"{name} of {self} into {sections} equal parts")
        return tensor_split(b, self, sections, axis)

    @target(f"aten.{name}.array", alias=True)
    def by_indices(b: Builder, self: Value, indices: Sequence[int]) -> list[Value]:
        """Pieces between positions."""
        return tensor_split_indices(b, self, indices, _axis(self))

    def _axis(self: Value) -> int:
        if self.rank < least:
            raise OperatorError(f"{name} of {self}: at least {least} dimensions")
        return axis_of(self.rank)


_register_split("hsplit", lambda rank: 0 if rank == 1 else 1, 1)
_register_split("vsplit", lambda rank: 0, 2)
_register_split("dsplit", lambda rank: 2, 3)


@target("aten.unbind.int", alias=True)
@target("aten.unbind_copy.int")
def unbind(b: Builder, self: Value, dim: int = 0) -> list[Value]:
    """Every position along a dimension, which disappears."""
    axis = normalize_axis(dim, self.rank)
    count = self.shape[axis]
    if not isinstance(count, int):
        raise OperatorError(f"unbind of dimension {dim} of {self}: its size is not known")
    return [b.select(self, axis, i) for i in range(count)]


# ---------------------------------------------------------------------------------- strided views


@target("aten.unfold.default", alias=True)
@target("aten.unfold_copy.default")
def unfold(b: Builder, self: Value, dimension: int, size: int, step: int) -> Value:
    """Windows of `size` elements along a dimension, `step` apart, as the last dimension."""
    if self.rank == 0:
        self = b.reshape(self, (1,))
        return b.reshape(unfold(b, self, 0, size, step), (size,))
    return b.emit1(Unfold(normalize_axis(dimension, self.rank), size, step), self)


def _keeps_storage(node: Node) -> bool:
    """Whether the result shows the memory of the first input, as PyTorch's does."""
    if isinstance(node.op, Reshape):  # of others it depends on strides; a reshape may be a copy
        old, new = node.inputs[0].shape, node.outputs[0].shape
        return [size for size in old if size != 1] == [size for size in new if size != 1]
    return isinstance(node.op, (Slice, Permute, Expand, Unfold, Diagonal))


def place_in_memory(b: Builder, x: Value) -> tuple[Dim, tuple[Dim, ...]]:
    """Where a tensor begins in its memory, and by how much each axis steps, in elements; 0 where that has no
    second one."""

    def place(axis: int | None) -> Dim:
        return _storage(b, x, tuple(int(i == axis) for i in range(x.rank)))[1]

    start = place(None)
    steps = (0 if size in (0, 1) else place(axis) - start for axis, size in enumerate(x.shape))
    return start, tuple(steps)


def _storage(b: Builder, x: Value, index: tuple[Dim, ...]) -> tuple[Value, Dim]:
    """The contiguous tensor a view shows part of, and where its element at an index lies in it."""
    node = b.producer(x)
    while node is not None and _keeps_storage(node):
        (definition,) = node.op.define(node.inputs, node.outputs)
        assert isinstance(definition, kernels.Pointwise), "a view is a pointwise definition"
        element = definition.body(index)
        assert isinstance(element, kernels.Load), "the body of a view is a load"
        x, index = element.value, element.index
        node = b.producer(x)
    return x, shapes.flatten_index(index, x.shape)


def _strided(
    b: Builder, x: Value, stride: Sequence[Dim], offset: Dim | None
) -> tuple[Value, tuple[Dim, ...], Dim]:
    base, start = _storage(b, x, (0,) * x.rank)
    return base, tuple(stride), start if offset is None else offset


@target("aten.as_strided.default", alias=True)
@target("aten.as_strided_copy.default")
def as_strided(
    b: Builder,
    self: Value,
    size: Sequence[Dim],
    stride: Sequence[Dim],
    storage_offset: Dim | None = None,
) -> Value:
    """Any view of the memory of a tensor."""
    base, strides, offset = _strided(b, self, stride, storage_offset)
    return b.emit1(AsStrided(tuple(size), strides, offset), base)


@target("aten.resize.default", alias=True)
def resize(
    b: Builder, self: Value, size: Sequence[Dim], *, memory_format: str | None = None
) -> Value:
    """As many elements of the memory of `self` as a new shape has, from its first one on; the same
    tensor where the shape is its own.

    What lies behind the end of the memory is whatever is there in PyTorch, zero here.
    """
    if memory_format not in (None, "contiguous_format", "preserve_format"):
        raise OperatorError(f"resize to {memory_format}")
    shape = tuple(size)
    if self.shape == shape:
        return self
    base, _, offset = _strided(b, self, (), None)
    memory = shapes.element_count(base.shape)
    lacking = shapes.element_count(shape) + offset - memory
    low, high = shapes.bounds(lacking)
    if low > 0:
        rest = b.full((lacking,), 0, self.dtype)
        base = b.concatenate([b.reshape(base, (memory,)), rest], 0)
    elif high > 0:
        raise OperatorError(f"resize of {self} to {list(size)}: which is larger is not known")
    return b.emit1(AsStrided(shape, shapes.contiguous_strides(shape), offset), base)


@target("aten.resize_as.default", alias=True)
def resize_as(
    b: Builder, self: Value, the_template: Value, *, memory_format: str | None = None
) -> Value:
    """`resize` to the shape of another tensor."""
    return resize(b, self, the_template.shape, memory_format=memory_format)


@target("aten.as_strided_scatter.default")
def as_strided_scatter(
    b: Builder,
    self: Value,
    src: Value,
    size: Sequence[Dim],
    stride: Sequence[Dim],
    storage_offset: Dim | None = None,
) -> Value:
    """`self` with what `as_strided` shows of it replaced by `src`."""
    updated = b.expand(b.cast(src, self.dtype), size)
    scatter: Any = AsStridedScatter(tuple(stride), 0 if storage_offset is None else storage_offset)
    return b.emit1(scatter, self, updated)
