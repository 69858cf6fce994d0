"""Views that are not a reshape, permutation or slice: diagonals and sliding windows."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim
from ..kernels import Definition, Index
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError
from .view import replace_axis, view_of


@dataclass(frozen=True, slots=True)
class Unfold(Op):
    """Windows of `size` elements along `axis`, `step` apart; the window is the last dimension."""

    is_view: ClassVar[bool] = True
    axis: int
    size: int
    step: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        room = x.shape[self.axis] - self.size
        if shapes.is_less(room, 0) is True or self.step < 1:
            raise OperatorError(f"windows of {self.size}, {self.step} apart, of {x}")
        count = shapes.floordiv(room, self.step) + 1
        return (TensorType(x.dtype, (*replace_axis(x.shape, self.axis, count), self.size)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        starts = np.arange(0, x.shape[self.axis] - self.size + 1, self.step)
        windows = np.take(x, starts[:, None] + np.arange(self.size), self.axis)
        return (np.moveaxis(windows, self.axis + 1, -1),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        def position(index: Index) -> Index:
            *front, inner = index
            return replace_axis(tuple(front), self.axis, front[self.axis] * self.step + inner)

        return view_of(inputs[0], position)

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return builder.emit1(UnfoldScatter(self.axis, self.size, self.step), base, updated)


@dataclass(frozen=True, slots=True)
class UnfoldScatter(Op):
    """Input 0 with the elements that `Unfold` shows replaced by input 1."""

    axis: int
    size: int
    step: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (inputs[0],)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        base, updated = inputs
        flat = np.arange(base.size).reshape(base.shape)
        (positions,) = Unfold(self.axis, self.size, self.step).reference(env, flat)
        result = base.reshape(-1).copy()
        result[positions.reshape(-1)] = updated.reshape(-1)
        return (result.reshape(base.shape),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        base, updated = inputs

        def position(index: Index) -> Index:
            *front, inner = index
            return replace_axis(tuple(front), self.axis, front[self.axis] * self.step + inner)

        return (
            kernels.Scatter(
                lambda i: kernels.load(base, i),
                updated.shape,
                position,
                lambda i: kernels.load(updated, i),
            ),
        )


def diagonal_length(rows: Dim, columns: Dim, offset: int) -> Dim:
    """Number of elements of the diagonal `offset` above the main one."""
    if offset >= 0:
        return shapes.maximum(shapes.minimum(rows, columns - offset), 0)
    return shapes.maximum(shapes.minimum(rows + offset, columns), 0)


@dataclass(frozen=True, slots=True)
class Diagonal(Op):
    """The elements with column - row = `offset` of the last two dimensions, which become one."""

    is_view: ClassVar[bool] = True
    offset: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.rank < 2:
            raise OperatorError(f"diagonal of {x}: at least 2 dimensions")
        length = diagonal_length(x.shape[-2], x.shape[-1], self.offset)
        return (TensorType(x.dtype, (*x.shape[:-2], length)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.diagonal(inputs[0], self.offset, -2, -1),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        def position(index: Index) -> Index:
            *front, i = index
            return (*front, i + max(-self.offset, 0), i + max(self.offset, 0))

        return view_of(inputs[0], position)

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return builder.emit1(DiagonalScatter(self.offset), base, updated)


@dataclass(frozen=True, slots=True)
class DiagonalScatter(Op):
    """Input 0 with the elements that `Diagonal` shows replaced by input 1."""

    offset: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        base, updated = inputs
        (diagonal,) = Diagonal(self.offset).infer(base)
        mismatch = any(
            shapes.is_equal(a, b) is False
            for a, b in zip(diagonal.shape, updated.shape, strict=False)
        )
        if diagonal.rank != updated.rank or mismatch or base.dtype is not updated.dtype:
            raise OperatorError(f"{updated} written into diagonal {self.offset} of {base}")
        return (base,)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        base, updated = inputs
        result = base.copy()
        i = np.arange(updated.shape[-1])
        result[..., i + max(-self.offset, 0), i + max(self.offset, 0)] = updated
        return (result,)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        base, updated = inputs

        def body(index: Index) -> kernels.Scalar:
            *front, row, column = index
            on_diagonal = kernels.compare("eq", column - row, self.offset)
            element = kernels.load(updated, (*front, row - max(-self.offset, 0)))
            return kernels.masked(on_diagonal, element, kernels.load(base, index))

        return (kernels.Pointwise(body),)
