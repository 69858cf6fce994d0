"""Primitives that read elements at computed places: along an axis with weights, or in planes."""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.graph import TensorType, Value
from ..kernels import Definition, Index, Scalar
from ..records import dataclass
from .base import Environment, Op, OperatorError
from .pointwise import widen
from .view import replace_axis

_UNROLLED = 4
"""Up to so many taps are written out in one expression."""


@dataclass(frozen=True, slots=True)
class Resample(Op):
    """Along `axis`, element i is the sum over k of weights[i, k] * x[positions[i, k]].

    Inputs: x, positions (int64, in range) and weights [size, taps] of the dtype of x.
    """

    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x, positions, weights = inputs
        if positions.rank != 2 or weights.dtype is not x.dtype:
            raise OperatorError(f"resampling of {x} at {positions} with {weights}")
        shape = replace_axis(x.shape, self.axis, positions.shape[0])
        return (TensorType(x.dtype, shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x, positions, weights = inputs
        x = np.moveaxis(widen(x), self.axis, -1)
        total = (x[..., positions] * widen(weights)).sum(-1, dtype=x.dtype)
        return (np.moveaxis(total, -1, self.axis),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        x, positions, weights = inputs
        taps = positions.shape[1]

        def term(index: Index, tap: shapes.Dim) -> Scalar:
            place = (index[self.axis], tap)
            at = kernels.clamped_index(kernels.load(positions, place), x.shape[self.axis])
            element = kernels.load(x, replace_axis(index, self.axis, at))
            return element * kernels.load(weights, place)

        if not isinstance(taps, int) or taps > _UNROLLED:
            return (kernels.Reduction("sum", (taps,), lambda index, k: term(index, k[0])),)

        def body(index: Index) -> Scalar:
            total = term(index, 0)
            for tap in range(1, taps):
                total = total + term(index, tap)
            return total

        return (kernels.Pointwise(body),)


@dataclass(frozen=True, slots=True)
class TakeAlong(Op):
    """Along `axis`, element i is x[positions[i]]; input 1 holds the positions, all in range."""

    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x, positions = inputs
        shape = replace_axis(x.shape, self.axis, positions.shape[0])
        return (TensorType(x.dtype, shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.take(inputs[0], inputs[1], axis=self.axis),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        x, positions = inputs

        def body(index: Index) -> Scalar:
            place = kernels.load(positions, (index[self.axis],))
            at = kernels.clamped_index(place, x.shape[self.axis])
            return kernels.load(x, replace_axis(index, self.axis, at))

        return (kernels.Pointwise(body),)


@dataclass(frozen=True, slots=True)
class TakePoints(Op):
    """out[n, c, …] = x[n, c, *(p[n, …] for p in positions)]; 0 where a position is outside.

    Inputs: x [N, C, *sizes], then positions int64 [N, …], one for every size.
    """

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x, *positions = inputs
        if len(positions) != x.rank - 2 or len({p.shape for p in positions}) != 1:
            raise OperatorError(f"points {', '.join(map(str, positions))} of {x}")
        return (TensorType(x.dtype, (*x.shape[:2], *positions[0].shape[1:])),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x, *positions = inputs
        inside = np.ones(positions[0].shape, bool)
        for p, size in zip(positions, x.shape[2:], strict=True):
            inside &= (p >= 0) & (p < size)
        batch = np.arange(x.shape[0]).reshape((-1,) + (1,) * (positions[0].ndim - 1))
        safe = tuple(np.where(inside, p, 0) for p in positions)
        place = (batch, *safe)
        picked = np.moveaxis(x, 1, -1)[place]
        picked = np.where(inside[..., None], picked, np.zeros((), x.dtype))
        return (np.moveaxis(picked, -1, 1),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        x, *positions = inputs

        def body(index: Index) -> Scalar:
            image, channel, *rest = index
            conditions, place = [], []
            for p, size in zip(positions, x.shape[2:], strict=True):
                scalar = kernels.load(p, (image, *rest))
                end = kernels.index_value(size)
                zero = kernels.index_value(0)
                conditions.append(kernels.apply("ge", scalar, zero))
                conditions.append(kernels.apply("lt", scalar, end))
                place.append(kernels.clamped_index(scalar, size))
            element = kernels.load(x, (image, channel, *place))
            nothing = kernels.literal(0, x.dtype)
            return kernels.masked(kernels.all_of(conditions), element, nothing)

        return (kernels.Pointwise(body),)
