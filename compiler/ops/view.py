"""Primitives that rearrange elements: views, concatenation, padding.

Views cost nothing: what they do to indices is folded into whoever reads them. Each knows its
`inverse`, from which the importer makes writes through views functional.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim, Shape
from ..kernels import Definition, Index, Number
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError


def view_of(x: Value, position: Callable[[Index], Index]) -> tuple[Definition, ...]:
    """The definition of a view: the element at an index is that of `x` at `position(index)`."""
    return (kernels.Pointwise(lambda index: kernels.load(x, position(index)), is_view=True),)


@dataclass(frozen=True, slots=True)
class Reshape(Op):
    """The elements in row-major order under another shape."""

    is_view: ClassVar[bool] = True
    shape: Shape

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        old, new = shapes.element_count(x.shape), shapes.element_count(self.shape)
        if shapes.is_equal(old, new) is False:
            raise OperatorError(f"{x} has {old} elements: it cannot become {list(self.shape)}")
        return (TensorType(x.dtype, self.shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (inputs[0].reshape(env.shape(self.shape)),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        return view_of(x, lambda index: reshaped_index(index, self.shape, x.shape))

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return builder.reshape(updated, base.shape)


def reshaped_index(index: Index, shape: Shape, target: Shape) -> Index:
    """The index in `target` of the element with this index in `shape`, both in row-major order.

    Dimensions that the two shapes share are matched up from both ends first, so that only what
    really changes goes through division: (b, h, w) -> (b, h*w) touches nothing of b.
    """
    if 0 in target:
        return (0,) * len(target)  # nothing will be read
    front: list[Dim] = []
    index, shape, target = tuple(index), tuple(shape), tuple(target)
    while shape and target and (shape[0] == target[0] or shape[0] == 1 or target[0] == 1):
        if shape[0] == target[0]:
            front.append(index[0])
            index, shape, target = index[1:], shape[1:], target[1:]
        elif shape[0] == 1:
            index, shape = index[1:], shape[1:]
        else:
            front.append(0)
            target = target[1:]
    back: list[Dim] = []
    while shape and target and (shape[-1] == target[-1] or shape[-1] == 1 or target[-1] == 1):
        if shape[-1] == target[-1]:
            back.append(index[-1])
            index, shape, target = index[:-1], shape[:-1], target[:-1]
        elif shape[-1] == 1:
            index, shape = index[:-1], shape[:-1]
        else:
            back.append(0)
            target = target[:-1]
    middle = shapes.unflatten_index(shapes.flatten_index(index, shape), target)
    return (*front, *middle, *reversed(back))


@dataclass(frozen=True, slots=True)
class Permute(Op):
    """Dimension `i` of the result is dimension `order[i]` of the input."""

    is_view: ClassVar[bool] = True
    order: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if sorted(self.order) != list(range(x.rank)):
            raise OperatorError(f"permutation {list(self.order)} of {x}")
        return (TensorType(x.dtype, tuple(x.shape[axis] for axis in self.order)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (inputs[0].transpose(self.order),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        back = self._inverse_order()
        return view_of(inputs[0], lambda index: tuple(index[axis] for axis in back))

    def _inverse_order(self) -> tuple[int, ...]:
        return tuple(self.order.index(axis) for axis in range(len(self.order)))

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return builder.permute(updated, self._inverse_order())


@dataclass(frozen=True, slots=True)
class Expand(Op):
    """Broadcast to a shape."""

    is_view: ClassVar[bool] = True
    shape: Shape

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        tail = self.shape[len(self.shape) - x.rank :]
        if len(self.shape) < x.rank or any(
            old != 1 and shapes.is_equal(old, new) is False
            for old, new in zip(x.shape, tail, strict=False)
        ):
            raise OperatorError(f"{x} does not broadcast to {list(self.shape)}")
        return (TensorType(x.dtype, self.shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.broadcast_to(inputs[0], env.shape(self.shape)),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        return (kernels.Pointwise(lambda i: kernels.load_broadcast(inputs[0], i), is_view=True),)


@dataclass(frozen=True, slots=True)
class Slice(Op):
    """`length` elements along `axis` from `start` on, every `step`-th; all of them are inside."""

    is_view: ClassVar[bool] = True
    axis: int
    start: Dim
    length: Dim
    step: int = 1

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        size = x.shape[self.axis]
        last = self.start + (self.length - 1) * self.step
        if self.length != 0 and (
            shapes.is_less(last, size) is False or shapes.is_less(self.start, 0) is True
        ):
            raise OperatorError(f"slice [{self.start}, {last}] of dimension {self.axis} of {x}")
        return (TensorType(x.dtype, replace_axis(x.shape, self.axis, self.length)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        start, length = env.size(self.start), env.size(self.length)
        picked = [slice(None)] * inputs[0].ndim
        picked[self.axis] = slice(start, start + length * self.step, self.step)
        return (inputs[0][tuple(picked)],)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        def position(index: Index) -> Index:
            return replace_axis(index, self.axis, self.start + index[self.axis] * self.step)

        return view_of(inputs[0], position)

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return builder.emit1(
            SliceScatter(self.axis, self.start, self.length, self.step), base, updated
        )


def replace_axis(items: tuple[Dim, ...], axis: int, item: Dim) -> tuple[Dim, ...]:
    """`items` with the one at `axis` exchanged."""
    return (*items[:axis], item, *items[axis + 1 :])


@dataclass(frozen=True, slots=True)
class SliceScatter(Op):
    """Input 0 with the elements that `Slice` shows replaced by input 1."""

    axis: int
    start: Dim
    length: Dim
    step: int = 1

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        base, updated = inputs
        expected = replace_axis(base.shape, self.axis, self.length)
        mismatch = any(
            shapes.is_equal(a, b) is False for a, b in zip(expected, updated.shape, strict=False)
        )
        if base.dtype is not updated.dtype or updated.rank != base.rank or mismatch:
            raise OperatorError(f"{updated} written into {list(expected)} of {base}")
        return (base,)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        base, updated = inputs
        result = base.copy()
        start, length = env.size(self.start), env.size(self.length)
        picked = [slice(None)] * base.ndim
        picked[self.axis] = slice(start, start + length * self.step, self.step)
        result[tuple(picked)] = updated
        return (result,)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        base, updated = inputs

        def body(index: Index) -> kernels.Scalar:
            offset = index[self.axis] - self.start
            inside = kernels.in_range(offset, self.length * self.step)
            if self.step != 1:
                aligned = kernels.compare("eq", shapes.mod(offset, self.step), 0)
                inside = kernels.all_of([inside, aligned])
            position = replace_axis(index, self.axis, shapes.floordiv(offset, self.step))
            return kernels.masked(
                inside, kernels.load(updated, position), kernels.load(base, index)
            )

        return (kernels.Pointwise(body),)


@dataclass(frozen=True, slots=True)
class Flip(Op):
    """Reverse order along some axes."""

    is_view: ClassVar[bool] = True
    axes: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return inputs

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.flip(inputs[0], self.axes),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        sizes = inputs[0].shape

        def position(index: Index) -> Index:
            return tuple(
                sizes[axis] - 1 - i if axis in self.axes else i for axis, i in enumerate(index)
            )

        return view_of(inputs[0], position)

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return builder.emit1(self, updated)


@dataclass(frozen=True, slots=True)
class AsStrided(Op):
    """Element `index` is the one at `offset + sum(index * strides)` of the input in row-major
    order.
    """

    is_view: ClassVar[bool] = True
    shape: Shape
    strides: tuple[Dim, ...]
    offset: Dim

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(inputs[0].dtype, self.shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        flat = inputs[0].reshape(-1)
        shape, strides = env.shape(self.shape), env.shape(self.strides)
        position = np.full(shape, env.size(self.offset), np.int64)
        for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
            steps = np.arange(size) * stride
            position += steps.reshape((-1,) + (1,) * (len(shape) - axis - 1))
        return (flat[position],)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs

        def position(index: Index) -> Index:
            flat = self.offset
            for i, stride in zip(index, self.strides, strict=True):
                flat = flat + i * stride
            return shapes.unflatten_index(flat, x.shape)

        return view_of(x, position)

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return builder.emit1(AsStridedScatter(self.strides, self.offset), base, updated)


@dataclass(frozen=True, slots=True)
class AsStridedScatter(Op):
    """Input 0 with the elements that `AsStrided` shows replaced by input 1 (the last one wins)."""

    strides: tuple[Dim, ...]
    offset: Dim

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (inputs[0],)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        base, updated = inputs
        flat = np.arange(base.size).reshape(base.shape)
        view = AsStrided(updated.shape, self.strides, self.offset)
        (position,) = view.reference(env, flat)
        result = base.reshape(-1).copy()
        result[position.reshape(-1)] = updated.reshape(-1)
        return (result.reshape(base.shape),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        base, updated = inputs

        def position(index: Index) -> Index:
            flat = self.offset
            for i, stride in zip(index, self.strides, strict=True):
                flat = flat + i * stride
            return shapes.unflatten_index(flat, base.shape)

        return (
            kernels.Scatter(
                lambda i: kernels.load(base, i),
                updated.shape,
                position,
                lambda i: kernels.load(updated, i),
            ),
        )


@dataclass(frozen=True, slots=True)
class Concatenate(Op):
    """The inputs one after the other along an axis."""

    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        first = inputs[0]
        total: Dim = 0
        for x in inputs:
            others = zip(
                replace_axis(x.shape, self.axis, 0),
                replace_axis(first.shape, self.axis, 0),
                strict=False,
            )
            if (
                x.dtype is not first.dtype
                or x.rank != first.rank
                or any(shapes.is_equal(a, b) is False for a, b in others)
            ):
                raise OperatorError(f"concatenation of {', '.join(map(str, inputs))}")
            total = total + x.shape[self.axis]
        return (TensorType(first.dtype, replace_axis(first.shape, self.axis, total)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.concatenate(inputs, self.axis),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        ends: list[Dim] = [0]
        for x in inputs:
            ends.append(ends[-1] + x.shape[self.axis])

        def body(index: Index) -> kernels.Scalar:
            i = index[self.axis]
            element: kernels.Scalar | None = None
            for x, start in zip(reversed(inputs), reversed(ends[:-1]), strict=False):
                if x.shape[self.axis] == 0:
                    continue
                here = kernels.load(x, replace_axis(index, self.axis, i - start))
                if element is None:
                    element = here
                else:
                    end = start + x.shape[self.axis]
                    element = kernels.masked(kernels.compare("lt", i, end), here, element)
            return kernels.literal(0, outputs[0].dtype) if element is None else element

        return (kernels.Pointwise(body),)


@dataclass(frozen=True, slots=True)
class Pad(Op):
    """`padding[axis]` = (before, after) elements of one number; negative counts crop."""

    padding: tuple[tuple[Dim, Dim], ...]
    value: Number

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        sizes = tuple(
            before + size + after
            for size, (before, after) in zip(x.shape, self.padding, strict=True)
        )
        if any(shapes.is_less(size, 0) is True for size in sizes):
            raise OperatorError(f"padding {self.padding} of {x} leaves nothing")
        return (TensorType(x.dtype, sizes),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        counts = [(env.size(before), env.size(after)) for before, after in self.padding]
        cropped = x[
            tuple(
                slice(max(-b, 0), n - max(-a, 0))
                for (b, a), n in zip(counts, x.shape, strict=False)
            )
        ]
        widths = [(max(b, 0), max(a, 0)) for b, a in counts]
        return (np.pad(cropped, widths, constant_values=np.asarray(self.value).astype(x.dtype)),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs

        def body(index: Index) -> kernels.Scalar:
            position = tuple(
                i - before for i, (before, _) in zip(index, self.padding, strict=False)
            )
            inside = [
                kernels.in_range(i, size)
                for i, size, pad in zip(position, x.shape, self.padding, strict=False)
                if pad != (0, 0)
            ]
            filler = kernels.literal(self.value, x.dtype)
            return kernels.masked(kernels.all_of(inside), kernels.load(x, position), filler)

        return (kernels.Pointwise(body),)
