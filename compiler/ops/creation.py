"""Tensors made from nothing: constants, ranges, sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import kernels
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim, Shape
from ..kernels import Definition, Number
from .base import Environment, Op


@dataclass(frozen=True, slots=True)
class Full(Op):
    """A tensor of one number."""

    shape: Shape
    value: Number
    dtype: DType

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(self.dtype, self.shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        value = kernels.literal(self.value, self.dtype).value
        return (np.full(env.shape(self.shape), value).astype(self.dtype.numpy),)

    def define(self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]) -> tuple[Definition, ...]:
        element = kernels.literal(self.value, self.dtype)
        if self.dtype.compute is not self.dtype:  # as a narrow float holds it
            rounded = np.array(element.value).astype(self.dtype.numpy)
            element = kernels.literal(rounded.astype(np.float32).item(), self.dtype)
        return (kernels.Pointwise(lambda index: element),)

    def __str__(self) -> str:  # nan == nan must not make two equal graphs print differently
        return f"Full[{self.value!r}, {self.dtype.value}]"


@dataclass(frozen=True, slots=True)
class DimValue(Op):
    """A symbolic integer as a 0-d int64 tensor."""

    expression: Dim

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.INT64, ()),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.array(env.size(self.expression), np.int64),)

    def define(self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]) -> tuple[Definition, ...]:
        return (kernels.Pointwise(lambda index: kernels.index_value(self.expression)),)


@dataclass(frozen=True, slots=True)
class Iota(Op):
    """0, 1, …, length - 1 as int64."""

    length: Dim

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.INT64, (self.length,)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.arange(env.size(self.length), dtype=np.int64),)

    def define(self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]) -> tuple[Definition, ...]:
        return (kernels.Pointwise(lambda index: kernels.index_value(index[0])),)
