"""Complex numbers: their parts, conjugates, and views as pairs of real numbers."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..kernels import Definition
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError, target
from .pointwise import register_pointwise


@dataclass(frozen=True, slots=True)
class RealPart(Op):
    """The real (or, where `is_imaginary`, the imaginary) parts of a complex tensor."""

    is_view: ClassVar[bool] = True
    is_imaginary: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if not x.dtype.is_complex:
            raise OperatorError(f"parts of {x}: not complex")
        return (TensorType(x.dtype.real, x.shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (inputs[0].imag if self.is_imaginary else inputs[0].real,)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        name = "imag" if self.is_imaginary else "real"
        dtype = outputs[0].dtype.compute
        return (kernels.Pointwise(lambda i: kernels.apply(name, kernels.load(x, i), dtype=dtype)),)

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        other = builder.emit1(RealPart(not self.is_imaginary), base)
        parts = (other, updated) if self.is_imaginary else (updated, other)
        return builder.apply("complex", *parts)


@dataclass(frozen=True, slots=True)
class Conjugate(Op):
    """The complex conjugates."""

    is_view: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return inputs

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.conj(inputs[0]),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        return (kernels.Pointwise(lambda i: kernels.apply("conj", kernels.load(x, i))),)

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return builder.emit1(self, updated)


@dataclass(frozen=True, slots=True)
class ViewAsReal(Op):
    """A complex tensor as a real one with a last dimension of 2: real and imaginary part."""

    is_view: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if not x.dtype.is_complex:
            raise OperatorError(f"view_as_real of {x}: not complex")
        return (TensorType(x.dtype.real, (*x.shape, 2)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.stack([inputs[0].real, inputs[0].imag], axis=-1),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        dtype = outputs[0].dtype.compute

        def body(index: kernels.Index) -> kernels.Scalar:
            element = kernels.load(x, index[:-1])
            real = kernels.apply("real", element, dtype=dtype)
            imag = kernels.apply("imag", element, dtype=dtype)
            return kernels.where(kernels.compare("eq", index[-1], 0), real, imag)

        return (kernels.Pointwise(body),)

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return builder.emit1(ViewAsComplex(), updated)


@dataclass(frozen=True, slots=True)
class ViewAsComplex(Op):
    """A real tensor whose last dimension holds real and imaginary parts as a complex one."""

    is_view: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        pairs = x.rank > 0 and shapes.is_equal(x.shape[-1], 2) is not False
        if not x.dtype.is_float or not pairs:
            raise OperatorError(f"view_as_complex of {x}: the last dimension must have size 2")
        return (TensorType(x.dtype.complex, x.shape[:-1]),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x = inputs[0]
        return (_make_complex(x[..., 0], x[..., 1]),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        dtype = outputs[0].dtype

        def body(index: kernels.Index) -> kernels.Scalar:
            parts = (kernels.load(x, (*index, part)) for part in (0, 1))
            return kernels.apply("complex", *parts, dtype=dtype)

        return (kernels.Pointwise(body),)

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return builder.emit1(ViewAsReal(), updated)


@target("aten.real.default", "prims.real.default", alias=True)
def real(b: Builder, self: Value) -> Value:
    return b.emit1(RealPart(), self) if self.dtype.is_complex else self


@target("aten.imag.default", "prims.imag.default", alias=True)
def imag(b: Builder, self: Value) -> Value:
    return b.emit1(RealPart(is_imaginary=True), self)


@target("aten.conj.default", "aten._conj.default", alias=True)
def conj(b: Builder, self: Value) -> Value:
    return b.emit1(Conjugate(), self) if self.dtype.is_complex else self


@target(
    "aten.conj_physical.default", "aten._conj_physical.default", "aten._conj_copy.default",
    "prims.conj_physical.default",
)  # fmt: skip
def conj_physical(b: Builder, self: Value) -> Value:
    return conj(b, self)


@target("aten.resolve_conj.default", "aten.resolve_neg.default", alias=True)
def resolve_conj(b: Builder, self: Value) -> Value:
    return self


@target("aten._neg_view.default", "aten._neg_view_copy.default")
def neg_view(b: Builder, self: Value) -> Value:
    return b.apply("neg", self)


@target("aten.view_as_real.default", alias=True)
def view_as_real(b: Builder, self: Value) -> Value:
    return b.emit1(ViewAsReal(), self)


@target("aten.view_as_complex.default", alias=True)
def view_as_complex(b: Builder, self: Value) -> Value:
    return b.emit1(ViewAsComplex(), self)


@target("aten.view_as_real_copy.default")
def view_as_real_copy(b: Builder, self: Value) -> Value:
    return view_as_real(b, self)


@target("aten.view_as_complex_copy.default")
def view_as_complex_copy(b: Builder, self: Value) -> Value:
    return view_as_complex(b, self)


@target("aten.complex.default")
def make_complex(b: Builder, real: Value, imag: Value) -> Value:
    if real.dtype is not imag.dtype or not real.dtype.is_float:
        raise OperatorError(f"complex of {real} and {imag}: both must be floats of one dtype")
    return b.apply("complex", real, imag)


@target("aten.polar.default")
def polar(b: Builder, abs: Value, angle: Value) -> Value:
    real = b.apply("mul", abs, b.apply("cos", angle))
    imag = b.apply("mul", abs, b.apply("sin", angle))
    return b.apply("complex", real, imag)


@target("aten.angle.default")
def angle(b: Builder, self: Value) -> Value:
    """The argument of a complex number; 0 or pi for real ones, NaN for NaN."""
    if self.dtype.is_complex:
        return b.apply("atan2", b.apply("imag", self), b.apply("real", self))
    dtype = self.dtype if self.dtype.is_float else DType.FLOAT32
    if not (self.dtype.is_float or self.dtype.is_signed):
        return b.full(self.shape, 0, dtype)
    negative = b.apply("lt", self, b.full((), 0, self.dtype))
    half_turn = b.where(negative, b.full((), math.pi, dtype), b.full((), 0, dtype))
    if not self.dtype.is_float:
        return half_turn
    return b.where(b.apply("isnan", self), self, half_turn)


def _make_complex(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    real, imag = np.broadcast_arrays(real, imag)
    result = np.empty(real.shape, np.complex128 if real.dtype == np.float64 else np.complex64)
    result.real, result.imag = real, imag
    return result


register_pointwise("real", np.real, "real", kinds="c")
register_pointwise("imag", np.imag, "real", kinds="c")
register_pointwise("complex", _make_complex, "complex")
