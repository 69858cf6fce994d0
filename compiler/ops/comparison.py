"""Comparisons, logical operators, selects and tests of kind (finite, NaN, …)."""

from __future__ import annotations

import math

import numpy as np

from ..ir.dtypes import DType
from ..ir.graph import Value
from .base import Builder, Operand, OperatorError, target
from .pointwise import broadcast, register_pointwise

_COMPARISONS = {
    "eq": ("eq",),
    "ne": ("ne", "not_equal"),
    "lt": ("lt", "less"),
    "le": ("le", "less_equal"),
    "gt": ("gt", "greater"),
    "ge": ("ge", "greater_equal"),
}
"""Primitive -> the names PyTorch has for it."""


def _register_comparison(primitive: str, names: tuple[str, ...]) -> None:
    @target(*(f"aten.{name}.{kind}" for name in names for kind in ("Tensor", "Scalar")))
    def compare(b: Builder, self: Operand, other: Operand) -> Value:
        return b.apply(primitive, *b.promoted(self, other))


for _primitive, _names in _COMPARISONS.items():
    _register_comparison(_primitive, _names)


def truth(b: Builder, x: Operand) -> Value:
    """x != 0."""
    return b.tensor(x, DType.BOOL)


@target("aten.logical_and.default")
def logical_and(b: Builder, self: Value, other: Value) -> Value:
    return b.apply("logical_and", truth(b, self), truth(b, other))


@target("aten.logical_or.default")
def logical_or(b: Builder, self: Value, other: Value) -> Value:
    return b.apply("logical_or", truth(b, self), truth(b, other))


@target("aten.logical_xor.default")
def logical_xor(b: Builder, self: Value, other: Value) -> Value:
    return b.apply("logical_xor", truth(b, self), truth(b, other))


@target("aten.logical_not.default")
def logical_not(b: Builder, self: Value) -> Value:
    return b.apply("logical_not", truth(b, self))


# ------------------------------------------------------------------------------------ kind tests


def _parts_test(b: Builder, name: str, x: Value, combine: str) -> Value:
    """A float test of a tensor of any dtype; complex numbers combine the tests of their parts."""
    if x.dtype.is_complex:
        real, imag = b.apply("real", x), b.apply("imag", x)
        return b.apply(combine, b.apply(name, real), b.apply(name, imag))
    if x.dtype.is_float:
        return b.apply(name, x)
    return b.full(x.shape, name == "isfinite", DType.BOOL)


@target("aten.isnan.default")
def isnan(b: Builder, self: Value) -> Value:
    return _parts_test(b, "isnan", self, "logical_or")


@target("aten.isinf.default")
def isinf(b: Builder, self: Value) -> Value:
    return _parts_test(b, "isinf", self, "logical_or")


@target("aten.isfinite.default", "prims.isfinite.default")
def isfinite(b: Builder, self: Value) -> Value:
    return _parts_test(b, "isfinite", self, "logical_and")


def _is_infinity(b: Builder, x: Value, value: float) -> Value:
    if x.dtype.is_complex:
        raise OperatorError("isposinf and isneginf take no complex tensors")
    if not x.dtype.is_float:
        return b.full(x.shape, False, DType.BOOL)
    return b.apply("eq", x, b.full((), value, x.dtype))


@target("aten.isposinf.default")
def isposinf(b: Builder, self: Value) -> Value:
    return _is_infinity(b, self, math.inf)


@target("aten.isneginf.default")
def isneginf(b: Builder, self: Value) -> Value:
    return _is_infinity(b, self, -math.inf)


@target("aten.isreal.default")
def isreal(b: Builder, self: Value) -> Value:
    if not self.dtype.is_complex:
        return b.full(self.shape, True, DType.BOOL)
    imag = b.apply("imag", self)
    return b.apply("eq", imag, b.full((), 0, imag.dtype))


@target("aten.signbit.default", "prims.signbit.default")
def signbit(b: Builder, self: Value) -> Value:
    if not self.dtype.is_signed:
        return b.full(self.shape, False, DType.BOOL)
    if self.dtype.is_float:
        return b.apply("signbit", self)
    return b.apply("lt", self, b.full((), 0, self.dtype))


@target("aten.isclose.default")
def isclose(
    b: Builder,
    self: Value,
    other: Value,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> Value:
    if self.dtype is not other.dtype:
        raise OperatorError(f"isclose of {self.dtype.value} and {other.dtype.value}")
    close = b.apply("eq", self, other)
    if equal_nan and self.dtype.kind >= DType.FLOAT32.kind:
        both = b.apply("logical_and", isnan(b, self), isnan(b, other))
        close = b.apply("logical_or", close, both)
    if rtol == 0 and atol == 0:
        return close
    floating = self.dtype.is_float or self.dtype.is_complex
    inner = self.dtype.compute if floating else DType.FLOAT32
    x, y = b.cast(self, inner), b.cast(other, inner)
    size = b.apply("abs", y)
    scaled = b.apply("mul", size, b.full((), rtol, size.dtype))
    allowed = b.apply("add", scaled, b.full((), atol, size.dtype))
    actual = b.apply("abs", b.apply("sub", x, y))
    near = b.apply("logical_and", b.apply("isfinite", actual), b.apply("le", actual, allowed))
    return b.apply("logical_or", close, near)


@target("aten.allclose.default")
def allclose(
    b: Builder,
    self: Value,
    other: Value,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> Value:
    close = isclose(b, self, other, rtol, atol, equal_nan)
    return b.reduce("all", close, range(close.rank))


@target("aten.equal.default")
def equal(b: Builder, self: Value, other: Value) -> Value:
    if self.rank != other.rank:
        return b.full((), False, DType.BOOL)
    same = b.apply("eq", *b.promoted(self, other))
    return b.reduce("all", same, range(same.rank))


# --------------------------------------------------------------------------------------- selects


@target("aten.where.self", "aten.where.Scalar", "aten.where.ScalarOther", "aten.where.ScalarSelf")
def where(b: Builder, condition: Value, self: Operand, other: Operand) -> Value:
    then, otherwise = b.promoted(self, other)
    return b.where(truth(b, condition), then, otherwise)


@target("aten.masked_fill.Scalar", "aten.masked_fill.Tensor")
def masked_fill(b: Builder, self: Value, mask: Value, value: Operand) -> Value:
    filled = b.where(truth(b, mask), b.tensor(value, self.dtype), self)
    return b.expand(filled, broadcast("masked_fill", self.type, mask.type))


register_pointwise("signbit", np.signbit, "bool", kinds="if")
