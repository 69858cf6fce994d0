"""Reductions over dimensions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..kernels import Definition, Index
from ..records import dataclass
from .base import Environment, Op, OperatorError
from .pointwise import widen


@dataclass(frozen=True, slots=True)
class Reduce(Op):
    """`kind` over `axes`, which disappear. dtype stays; any and all take and give bool.

    Sums of narrow floats are accumulated in float32. An empty box gives the neutral element.
    """

    kind: str
    axes: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if self.kind not in _FUNCTIONS or (self.kind in ("any", "all")) != (x.dtype is DType.BOOL):
            raise OperatorError(f"{self.kind} of {x}")
        if self.kind in ("max", "min") and x.dtype.is_complex:
            raise OperatorError(f"{self.kind} of {x}: complex numbers have no order")
        return (TensorType(x.dtype, kept_shape(x, self.axes)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x = widen(inputs[0])
        function: Any = _FUNCTIONS[self.kind]
        if self.kind in ("max", "min"):
            low = x.dtype.kind in "f"
            bound = (-np.inf if low else np.iinfo(x.dtype).min) if self.kind == "max" else (
                np.inf if low else np.iinfo(x.dtype).max
            )  # fmt: skip
            return (function(x, axis=self.axes, initial=bound),)
        if self.kind in ("sum", "prod"):
            return (function(x, axis=self.axes, dtype=x.dtype),)
        return (function(x, axis=self.axes),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        return (reduction(self.kind, inputs[0], self.axes),)


@dataclass(frozen=True, slots=True)
class ArgReduce(Op):
    """Row-major position, within the box of `axes`, of the first largest ("argmax") or smallest
    element; a NaN wins."""

    kind: str
    axes: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.dtype.is_complex:
            raise OperatorError(f"{self.kind} of {x}: complex numbers have no order")
        return (TensorType(DType.INT64, kept_shape(x, self.axes)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x = widen(inputs[0])
        kept = [axis for axis in range(x.ndim) if axis not in self.axes]
        count = math.prod(x.shape[axis] for axis in self.axes)
        rows = x.transpose([*kept, *self.axes]).reshape([*(x.shape[axis] for axis in kept), count])
        function = np.argmax if self.kind == "argmax" else np.argmin
        return (function(rows, axis=-1),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        return (reduction(self.kind, inputs[0], self.axes),)


def kept_shape(x: TensorType, axes: tuple[int, ...]) -> tuple[Any, ...]:
    """The sizes of the dimensions that are not reduced."""
    return tuple(size for axis, size in enumerate(x.shape) if axis not in axes)


def reduction(kind: str, x: Value, axes: tuple[int, ...]) -> kernels.Reduction:
    """The definition of a reduction of a value over axes."""

    def body(index: Index, reduced: Index) -> kernels.Scalar:
        kept, inner = iter(index), iter(reduced)
        position = tuple(next(inner) if axis in axes else next(kept) for axis in range(x.rank))
        load = kernels.load_rounded if kind.startswith("arg") else kernels.load
        return load(x, position)

    return kernels.Reduction(kind, tuple(x.shape[axis] for axis in axes), body)


_FUNCTIONS = {
    "sum": np.sum,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "any": np.any,
    "all": np.all,
    "xor": np.bitwise_xor.reduce,
}
