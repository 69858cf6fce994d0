"""Arithmetic of two or more operands: sums, products, quotients, powers, clamps."""

from __future__ import annotations

import math

import numpy as np

from ..ir.dtypes import DType
from ..ir.graph import Value
from ..kernels import Number
from .base import Builder, Operand, OperatorError, target
from .pointwise import (
    apply_promoted,
    compute_operands,
    plain_number,
    register_pointwise,
)


def _combine(b: Builder, name: str, left: Operand, right: Operand, alpha: Operand) -> Value:
    """left + alpha * right, or the difference."""
    dtype = b.result_type(left, right)
    if name == "sub" and dtype is DType.BOOL:
        raise OperatorError("subtraction of bool tensors: use logical_xor")
    if plain_number(alpha) == 1:
        return apply_promoted(b, name, left, right)
    inner = dtype.compute
    scaled = b.apply("mul", b.tensor(right, inner), b.tensor(alpha, inner))
    return b.cast(b.apply(name, b.tensor(left, inner), scaled), dtype)


@target("aten.add.Tensor", "aten.add.Scalar")
def add(b: Builder, self: Operand, other: Operand, alpha: Operand = 1) -> Value:
    return _combine(b, "add", self, other, alpha)


@target("aten._add_relu.Tensor", "aten._add_relu.Scalar")
def add_relu(b: Builder, self: Operand, other: Operand, alpha: Operand = 1) -> Value:
    return apply_promoted(b, "maximum", _combine(b, "add", self, other, alpha), 0)


@target("aten.sub.Tensor", "aten.sub.Scalar", "aten.subtract.Tensor", "aten.subtract.Scalar")
def sub(b: Builder, self: Operand, other: Operand, alpha: Operand = 1) -> Value:
    return _combine(b, "sub", self, other, alpha)


@target("aten.rsub.Tensor", "aten.rsub.Scalar")
def rsub(b: Builder, self: Operand, other: Operand, alpha: Operand = 1) -> Value:
    return _combine(b, "sub", other, self, alpha)


@target("aten.mul.Tensor", "aten.mul.Scalar", "aten.multiply.Tensor", "aten.multiply.Scalar")
def mul(b: Builder, self: Operand, other: Operand) -> Value:
    return apply_promoted(b, "mul", self, other)


# ------------------------------------------------------------------------------------- quotients


@target(
    "aten.div.Tensor", "aten.div.Scalar", "aten.div.Tensor_mode", "aten.div.Scalar_mode",
    "aten.divide.Tensor", "aten.divide.Scalar", "aten.divide.Tensor_mode",
    "aten.divide.Scalar_mode",
    "aten.true_divide.Tensor", "aten.true_divide.Scalar",
)  # fmt: skip
def div(b: Builder, self: Operand, other: Operand, rounding_mode: str | None = None) -> Value:
    if rounding_mode is None:
        return apply_promoted(b, "div", self, other, floating=True)
    if rounding_mode == "floor":
        return floor_divide(b, self, other)
    if rounding_mode != "trunc":
        raise OperatorError(f'rounding_mode: expected "trunc" or "floor", got {rounding_mode!r}')
    dtype = b.result_type(self, other)
    left, right = (b.tensor(operand, dtype.compute) for operand in (self, other))
    if not dtype.is_float:
        return b.apply("trunc_divide", left, right)
    # A narrow quotient is rounded to its dtype before it is truncated.
    return b.apply("trunc", b.cast(b.apply("div", left, right), dtype))


@target("aten.floor_divide.default", "aten.floor_divide.Scalar", "aten.floor_divide.Tensor")
def floor_divide(b: Builder, self: Operand, other: Operand) -> Value:
    return apply_promoted(b, "floor_divide", self, other)


@target("aten.remainder.Tensor", "aten.remainder.Scalar", "aten.remainder.Scalar_Tensor")
def remainder(b: Builder, self: Operand, other: Operand) -> Value:
    return apply_promoted(b, "remainder", self, other)


@target("aten.fmod.Tensor", "aten.fmod.Scalar")
def fmod(b: Builder, self: Operand, other: Operand) -> Value:
    return apply_promoted(b, "fmod", self, other)


def _integer_safe(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The divisor with zeros, which the compiled code answers with 0, made harmless."""
    return np.where(y == 0, np.ones_like(y), y) if x.dtype.kind in "iu" else y


def _trunc_divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    safe = _integer_safe(x, y)
    quotient = np.floor_divide(x, safe)
    negative = (np.remainder(x, safe) != 0) & ((x < 0) != (safe < 0))
    return np.asarray(np.where(y == 0, 0, quotient + negative), x.dtype)


def _floor_divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind in "iu":
        return np.where(y == 0, 0, np.floor_divide(x, _integer_safe(x, y))).astype(x.dtype)
    # As PyTorch: exact where x is a multiple of y, rounded towards minus infinity elsewhere.
    rest = np.fmod(x, y)
    quotient = (x - rest) / y
    quotient = np.where((rest != 0) & ((y < 0) != (rest < 0)), quotient - 1, quotient)
    floored = np.floor(quotient)
    floored = np.where(quotient - floored > 0.5, floored + 1, floored)
    zero = np.copysign(np.zeros_like(quotient), x / y)
    return np.asarray(np.where(y == 0, x / y, np.where(quotient != 0, floored, zero)), x.dtype)


def _remainder(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind in "iu":
        return np.where(y == 0, 0, np.remainder(x, _integer_safe(x, y))).astype(x.dtype)
    rest = np.fmod(x, y)
    wraps = (rest != 0) & ((rest < 0) != (y < 0))
    return np.asarray(np.where(wraps, rest + y, rest), x.dtype)


def _fmod(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind in "iu":
        return np.where(y == 0, 0, np.fmod(x, _integer_safe(x, y))).astype(x.dtype)
    return np.asarray(np.fmod(x, y))


# ---------------------------------------------------------------------------------------- powers


@target("aten.pow.Tensor_Scalar", "aten.pow.Tensor_Tensor", "aten.pow.Scalar", "aten.pow.Tensor")
def power(b: Builder, self: Operand, exponent: Operand) -> Value:
    number = plain_number(exponent)
    dtype = b.result_type(self, exponent)
    if number is not None and isinstance(self, Value):
        if isinstance(number, int) and number < 0 and dtype.kind < DType.FLOAT32.kind:
            raise OperatorError("integers to negative integer powers are not allowed")
        short = _short_power(b, b.cast(self, dtype.compute), number)
        if short is not None:
            return b.cast(short, dtype)
    return apply_promoted(b, "pow", self, exponent)


def _short_power(b: Builder, x: Value, exponent: Number) -> Value | None:
    """x**exponent without a call of pow, for the few exponents that models use."""
    floating = x.dtype.is_float or x.dtype.is_complex
    if exponent == 1:
        return x
    if exponent == 2:
        return b.apply("mul", x, x)
    if exponent == 3:
        return b.apply("mul", b.apply("mul", x, x), x)
    if exponent == 0.5 and x.dtype.is_float:
        return b.apply("sqrt", x)
    if exponent == -0.5 and x.dtype.is_float:
        return b.apply("rsqrt", x)
    if exponent == -1 and floating:
        return b.apply("reciprocal", x)
    if exponent == -2 and floating:
        return b.apply("reciprocal", b.apply("mul", x, x))
    return None


@target("aten.float_power.Tensor_Scalar", "aten.float_power.Tensor_Tensor",
        "aten.float_power.Scalar",
        "aten.float_power.Tensor")  # fmt: skip
def float_power(b: Builder, self: Operand, exponent: Operand) -> Value:
    is_complex = b.result_type(self, exponent).is_complex
    dtype = DType.COMPLEX128 if is_complex else DType.FLOAT64
    number = plain_number(exponent)
    if number is not None:
        short = _short_power(b, b.tensor(self, dtype), number)
        if short is not None:
            return short
    return apply_promoted(b, "pow", self, exponent, dtype=dtype)


@target("aten.ldexp.Tensor")
def ldexp(b: Builder, self: Operand, other: Operand) -> Value:
    two = power(b, 2.0, other)
    return mul(b, self, two)


@target("aten.square.default")
def square(b: Builder, self: Value) -> Value:
    return power(b, self, 2)


# ------------------------------------------------------------------------------- two-operand math

_PROMOTED = {
    "atan2": True, "hypot": False, "gcd": False, "lcm": False, "nextafter": False, "copysign": True,
    "logaddexp": True, "logaddexp2": True, "maximum": False, "minimum": False, "fmax": False,
    "fmin": False,
}  # fmt: skip
"""Operators that are one primitive of promoted operands -> whether integers become float32."""

_OVERLOADS = {"copysign": ("Tensor", "Scalar")}


def _extreme(b: Builder, name: str, left: Operand, right: Operand) -> Value:
    dtype = b.result_type(left, right)
    if dtype.is_complex:
        raise OperatorError(f"{name}: complex numbers have no order")
    if dtype is DType.BOOL:
        name = "logical_or" if "max" in name else "logical_and"
    return apply_promoted(b, name, left, right)


def _register_promoted(name: str, floating: bool) -> None:
    targets = [f"aten.{name}.{overload}" for overload in _OVERLOADS.get(name, ("default",))]

    def build(b: Builder, self: Operand, other: Operand) -> Value:
        if name in ("maximum", "minimum", "fmax", "fmin"):
            return _extreme(b, name, self, other)
        return apply_promoted(b, name, self, other, floating=floating)

    target(*targets)(build)


for _name, _floating in _PROMOTED.items():
    _register_promoted(_name, _floating)


@target("aten.arctan2.default")
def arctan2(b: Builder, self: Operand, other: Operand) -> Value:
    return apply_promoted(b, "atan2", self, other, floating=True)


@target(
    "aten.xlogy.Tensor", "aten.xlogy.Scalar_Other", "aten.xlogy.Scalar_Self",
    "aten.special_xlogy.default", "aten.special_xlogy.other_scalar",
    "aten.special_xlogy.self_scalar",
)  # fmt: skip
def xlogy(b: Builder, self: Operand, other: Operand) -> Value:
    return _times_log(b, "log", self, other)


@target(
    "aten.special_xlog1py.default", "aten.special_xlog1py.other_scalar",
    "aten.special_xlog1py.self_scalar",
)  # fmt: skip
def xlog1py(b: Builder, self: Operand, other: Operand) -> Value:
    return _times_log(b, "log1p", self, other)


def _times_log(b: Builder, log: str, left: Operand, right: Operand) -> Value:
    """x * log(y), 0 where x is 0, NaN where y is."""
    dtype, (x, y) = compute_operands(b, left, right, floating=True)
    zero = b.full((), 0, x.dtype)
    product = b.apply("mul", x, b.apply(log, y))
    product = b.where(b.apply("eq", x, zero), zero, product)
    not_a_number = b.full((), math.nan, x.dtype)
    return b.cast(b.where(b.apply("isnan", y), not_a_number, product), dtype)


@target("aten.heaviside.default")
def heaviside(b: Builder, self: Operand, values: Operand) -> Value:
    x, at_zero = b.promoted(self, values)
    zero = b.full((), 0, x.dtype)
    step = b.cast(b.apply("gt", x, zero), x.dtype)
    return b.where(b.apply("eq", x, zero), at_zero, step)


@target("aten.max.other")
def max_other(b: Builder, self: Operand, other: Operand) -> Value:
    return _extreme(b, "maximum", self, other)


@target("aten.min.other")
def min_other(b: Builder, self: Operand, other: Operand) -> Value:
    return _extreme(b, "minimum", self, other)


@target("aten.addcmul.default")
def addcmul(b: Builder, self: Value, tensor1: Value, tensor2: Value, value: Number = 1) -> Value:
    dtype, (x, y, z) = compute_operands(b, self, tensor1, tensor2)
    product = b.apply("mul", y, z)
    if plain_number(value) != 1:
        product = b.apply("mul", b.apply("mul", b.tensor(value, dtype.compute), y), z)
    return b.cast(b.apply("add", x, product), dtype)


@target("aten.addcdiv.default")
def addcdiv(b: Builder, self: Value, tensor1: Value, tensor2: Value, value: Number = 1) -> Value:
    dtype, (x, y, z) = compute_operands(b, self, tensor1, tensor2)
    if plain_number(value) != 1:
        y = b.apply("mul", b.tensor(value, dtype.compute), y)
    return b.cast(b.apply("add", x, b.apply("div", y, z)), dtype)


@target("aten.lerp.Scalar", "aten.lerp.Tensor")
def lerp(b: Builder, self: Value, end: Value, weight: Operand) -> Value:
    dtype, (start, stop) = compute_operands(b, self, end)
    amount = b.tensor(weight, dtype.compute)
    difference = b.apply("sub", stop, start)
    one = b.full((), 1, amount.dtype)
    low = b.apply("add", start, b.apply("mul", amount, difference))
    high = b.apply("sub", stop, b.apply("mul", difference, b.apply("sub", one, amount)))
    number = plain_number(weight)
    if number is not None:
        return b.cast(low if abs(number) < 0.5 else high, dtype)
    size = b.apply("abs", amount)
    near = b.apply("lt", size, b.full((), 0.5, size.dtype))
    return b.cast(b.where(near, low, high), dtype)


# ---------------------------------------------------------------------------------------- clamps


@target("aten.clamp.default", "aten.clamp.Tensor", "aten.clip.default", "aten.clip.Tensor")
def clamp(b: Builder, self: Value, min: Operand | None = None, max: Operand | None = None) -> Value:
    bounds = [bound for bound in (min, max) if bound is not None]
    if not bounds:
        raise OperatorError("clamp needs a minimum or a maximum")
    dtype = b.result_type(self, *bounds)
    larger, smaller = (
        ("logical_or", "logical_and") if dtype is DType.BOOL else ("maximum", "minimum")
    )
    result = b.tensor(self, dtype)
    if min is not None:
        result = b.apply(larger, result, b.tensor(min, dtype))
    if max is not None:
        result = b.apply(smaller, result, b.tensor(max, dtype))
    return result


@target("aten.clamp_min.default", "aten.clamp_min.Tensor")
def clamp_min(b: Builder, self: Value, min: Operand) -> Value:
    return clamp(b, self, min, None)


@target("aten.clamp_max.default", "aten.clamp_max.Tensor")
def clamp_max(b: Builder, self: Value, max: Operand) -> Value:
    return clamp(b, self, None, max)


@target("aten.nan_to_num.default")
def nan_to_num(
    b: Builder,
    self: Value,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Value:
    dtype = self.dtype
    if dtype.is_complex:
        parts = [
            nan_to_num(b, b.apply(part, self), nan, posinf, neginf) for part in ("real", "imag")
        ]
        return b.apply("complex", *parts)
    if not dtype.is_float:
        return self
    largest = largest_finite(dtype)
    high = b.full((), largest if posinf is None else posinf, dtype)
    low = b.full((), -largest if neginf is None else neginf, dtype)
    result = b.where(b.apply("eq", self, b.full((), math.inf, dtype)), high, self)
    result = b.where(b.apply("eq", self, b.full((), -math.inf, dtype)), low, result)
    return b.where(b.apply("isnan", self), b.full((), nan or 0.0, dtype), result)


def largest_finite(dtype: DType) -> float:
    """The largest finite number of a float dtype."""
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype.numpy).max)  # type: ignore[no-untyped-call]


def _register_rows() -> None:
    register_pointwise("trunc_divide", _trunc_divide, cost=8, kinds="if", is_step=True)
    register_pointwise("floor_divide", _floor_divide, cost=8, kinds="if", is_step=True)
    register_pointwise("remainder", _remainder, cost=8, kinds="if", is_step=True)
    register_pointwise("fmod", _fmod, cost=12, kinds="if", is_step=True)
    register_pointwise("atan2", np.arctan2, cost=16)
    register_pointwise("hypot", np.hypot, cost=4)
    register_pointwise("gcd", np.gcd, cost=30, kinds="i")
    register_pointwise("lcm", np.lcm, cost=30, kinds="i")
    register_pointwise("nextafter", np.nextafter, cost=4, is_step=True)
    register_pointwise("copysign", np.copysign)
    register_pointwise("logaddexp", _logaddexp, cost=20, kinds="fc")
    register_pointwise("logaddexp2", np.logaddexp2, cost=20)


def _logaddexp(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if not np.iscomplexobj(x):
        return np.asarray(np.logaddexp(x, y))
    larger = np.where(x.real >= y.real, x, y)
    smaller = np.where(x.real >= y.real, y, x)
    same = np.isinf(larger.real) & (larger == smaller)
    return np.where(same, larger, larger + np.log1p(np.exp(smaller - larger))).astype(x.dtype)


_register_rows()
