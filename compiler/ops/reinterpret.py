"""The bytes of a tensor seen as elements of another type."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..kernels import Definition
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError, target
from .pointwise import BitCast


@dataclass(frozen=True, slots=True)
class Reinterpret(Op):
    """The same bytes as another dtype; where sizes of elements differ, the last dimension grows or
    shrinks.
    """

    is_view: ClassVar[bool] = True

    dtype: DType

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        old, new = x.dtype.itemsize, self.dtype.itemsize
        if x.rank == 0 and old != new:
            raise OperatorError(f"{x} seen as {self.dtype.value}: it has no dimension to change")
        if old >= new:
            return (TensorType(self.dtype, (*x.shape[:-1], x.shape[-1] * (old // new))),)
        last = x.shape[-1]
        if isinstance(last, int) and last % (new // old):
            raise OperatorError(
                f"{x} seen as {self.dtype.value}: the last dimension does not divide"
            )
        return (TensorType(self.dtype, (*x.shape[:-1], shapes.floordiv(last, new // old))),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.ascontiguousarray(inputs[0]).view(self.dtype.numpy),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        size_bytes = shapes.element_count(inputs[0].shape) * inputs[0].dtype.itemsize
        arguments = (kernels.Out(0), kernels.In(0), kernels.Size(size_bytes))
        return (kernels.LibraryCall("castoff_copy_bytes", ("common/copy.h",), arguments),)

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return builder.emit1(Reinterpret(base.dtype), updated)


@target("aten.view_copy.dtype")
def view_copy_dtype(b: Builder, self: Value, dtype: DType) -> Value:
    """The bytes as another dtype, in memory of its own."""
    return view_dtype(b, self, dtype)


@target("aten.view.dtype", alias=True)
def view_dtype(b: Builder, self: Value, dtype: DType) -> Value:
    """The bytes as another dtype."""
    if self.dtype is dtype:
        return self
    if self.dtype.itemsize == dtype.itemsize:
        return b.emit1(BitCast(dtype), self)
    return b.emit1(Reinterpret(dtype), self)
