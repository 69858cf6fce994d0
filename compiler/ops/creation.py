"""Tensors made from nothing: constants, sizes, counts; ranges are in `ranges.py`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import kernels
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim, Shape
from ..kernels import Definition, Number
from ..records import dataclass
from .base import Builder, Environment, Op, Operand, _promotion_level, target
from .pointwise import plain_number


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

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
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

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        return (kernels.Pointwise(lambda index: kernels.index_value(self.expression)),)


@dataclass(frozen=True, slots=True)
class Iota(Op):
    """0, 1, …, length - 1 as int64."""

    length: Dim

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.INT64, (self.length,)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.arange(env.size(self.length), dtype=np.int64),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        return (kernels.Pointwise(lambda index: kernels.index_value(index[0])),)


# --------------------------------------------------------------------------------------- targets

Ignored = object


def filled(b: Builder, shape: Sequence[Dim], value: Operand, dtype: DType) -> Value:
    """A tensor of one number, which may be symbolic."""
    number = plain_number(value)
    if number is not None:
        return b.full(shape, number, dtype)
    return b.expand(b.tensor(value, dtype), shape)


def number_dtype(*numbers: Operand) -> DType:
    """The dtype of a new tensor of these numbers: int64, float32 where one is a float, …"""
    kinds = [_promotion_level(number)[1] for number in numbers]
    return max(kinds, key=lambda dtype: dtype.kind)


def _register_constant(name: str, value: int) -> None:
    @target(f"aten.{name}.default")
    def make(
        b: Builder, size: Sequence[Dim], dtype: DType | None = None, layout: Ignored = None,
        device: Ignored = None, pin_memory: Ignored = None,
    ) -> Value:  # fmt: skip
        return b.full(size, value, dtype or DType.FLOAT32)

    @target(f"aten.{name}_like.default")
    def make_like(
        b: Builder, self: Value, dtype: DType | None = None, layout: Ignored = None,
        device: Ignored = None, pin_memory: Ignored = None, memory_format: Ignored = None,
    ) -> Value:  # fmt: skip
        return b.full(self.shape, value, dtype or self.dtype)

    @target(f"aten.new_{name}.default")
    def make_new(
        b: Builder, self: Value, size: Sequence[Dim], dtype: DType | None = None,
        layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
    ) -> Value:  # fmt: skip
        return b.full(size, value, dtype or self.dtype)


_register_constant("zeros", 0)
_register_constant("ones", 1)


@target("aten.empty.memory_format")
def empty(
    b: Builder, size: Sequence[Dim], dtype: DType | None = None, layout: Ignored = None,
    device: Ignored = None, pin_memory: Ignored = None, memory_format: Ignored = None,
) -> Value:  # fmt: skip
    """Zeros: memory that nobody wrote would make runs differ."""
    return b.full(size, 0, dtype or DType.FLOAT32)


@target("aten.empty_permuted.default", "aten.empty_strided.default")
def empty_strided(
    b: Builder, size: Sequence[Dim], stride: Ignored = None, dtype: DType | None = None,
    layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
    physical_layout: Ignored = None,
) -> Value:  # fmt: skip
    return b.full(size, 0, dtype or DType.FLOAT32)


@target("aten.empty_like.default")
def empty_like(
    b: Builder, self: Value, dtype: DType | None = None, layout: Ignored = None,
    device: Ignored = None, pin_memory: Ignored = None, memory_format: Ignored = None,
) -> Value:  # fmt: skip
    return b.full(self.shape, 0, dtype or self.dtype)


@target("aten.new_empty.default", "aten.new_empty_strided.default")
def new_empty(
    b: Builder, self: Value, size: Sequence[Dim], stride: Ignored = None,
    dtype: DType | None = None, layout: Ignored = None, device: Ignored = None,
    pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    return b.full(size, 0, dtype or self.dtype)


@target("aten.full.default")
def full(
    b: Builder, size: Sequence[Dim], fill_value: Operand, dtype: DType | None = None,
    layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    return filled(b, size, fill_value, dtype or number_dtype(fill_value))


@target("aten.full_like.default")
def full_like(
    b: Builder, self: Value, fill_value: Operand, dtype: DType | None = None,
    layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
    memory_format: Ignored = None,
) -> Value:  # fmt: skip
    return filled(b, self.shape, fill_value, dtype or self.dtype)


@target("aten.new_full.default")
def new_full(
    b: Builder, self: Value, size: Sequence[Dim], fill_value: Operand, dtype: DType | None = None,
    layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    return filled(b, size, fill_value, dtype or self.dtype)


@target("aten.scalar_tensor.default", "prims.scalar_tensor.default")
def scalar_tensor(
    b: Builder, s: Operand, dtype: DType | None = None, layout: Ignored = None,
    device: Ignored = None, pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    return b.tensor(s, dtype or (DType.BOOL if isinstance(s, bool) else DType.FLOAT32))


@target("aten.eye.default", "aten.eye.m")
def eye(
    b: Builder, n: Dim, m: Dim | None = None, dtype: DType | None = None, layout: Ignored = None,
    device: Ignored = None, pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    rows = b.reshape(b.iota(n), (n, 1))
    columns = b.reshape(b.iota(n if m is None else m), (1, n if m is None else m))
    return b.cast(b.apply("eq", rows, columns), dtype or DType.FLOAT32)
