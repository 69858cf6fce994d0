"""Functions of one operand: exponentials, trigonometry, rounding, signs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..ir.dtypes import DType, Kind
from ..ir.graph import Value
from .base import Builder, OperatorError, target
from .pointwise import compute_operands, elementwise, register_pointwise

_FLOAT_ONLY: dict[str, tuple[str, ...]] = {
    "exp": ("exp",),
    "exp2": ("exp2", "special_exp2"),
    "expm1": ("expm1", "special_expm1"),
    "log": ("log",),
    "log2": ("log2",),
    "log10": ("log10",),
    "log1p": ("log1p", "special_log1p"),
    "sqrt": ("sqrt",),
    "rsqrt": ("rsqrt",),
    "reciprocal": ("reciprocal",),
    "sigmoid": ("sigmoid", "special_expit"),
    "sin": ("sin",),
    "cos": ("cos",),
    "tan": ("tan",),
    "asin": ("asin", "arcsin"),
    "acos": ("acos", "arccos"),
    "atan": ("atan", "arctan"),
    "sinh": ("sinh",),
    "cosh": ("cosh",),
    "tanh": ("tanh",),
    "asinh": ("asinh", "arcsinh"),
    "acosh": ("acosh", "arccosh"),
    "atanh": ("atanh", "arctanh"),
    "sinc": ("sinc", "special_sinc"),
    "erf": ("erf", "special_erf"),
    "erfc": ("erfc", "special_erfc"),
    "erfinv": ("erfinv", "special_erfinv"),
    "ndtr": ("special_ndtr",),
}
"""Primitive -> the names PyTorch has for it. Integers become float32 first."""


def apply_floating(b: Builder, name: str, x: Value) -> Value:
    """A primitive of a tensor whose integers become float32."""
    (operand,) = b.promoted(x, floating=True)
    return b.apply(name, operand)


def _register_floating(primitive: str, names: tuple[str, ...]) -> None:
    @target(*(f"aten.{name}.default" for name in names))
    def function(b: Builder, self: Value) -> Value:
        return apply_floating(b, primitive, self)


for _primitive, _names in _FLOAT_ONLY.items():
    _register_floating(_primitive, _names)


@target("aten.neg.default", "aten.negative.default")
def neg(b: Builder, self: Value) -> Value:
    if self.dtype is DType.BOOL:
        raise OperatorError("negation of a bool tensor: use logical_not")
    return b.apply("neg", self)


@target("aten.positive.default", alias=True)
def positive(b: Builder, self: Value) -> Value:
    return self


@target("aten.abs.default", "aten.absolute.default")
def absolute(b: Builder, self: Value) -> Value:
    return self if self.dtype is DType.BOOL or not self.dtype.is_signed else b.apply("abs", self)


# -------------------------------------------------------------------------------------- rounding


def _register_rounding(primitive: str, *names: str) -> None:
    @target(*(f"aten.{name}.default" for name in names))
    def function(b: Builder, self: Value) -> Value:
        return self if self.dtype.kind < Kind.FLOAT else b.apply(primitive, self)


_register_rounding("floor", "floor")
_register_rounding("ceil", "ceil")
_register_rounding("trunc", "trunc", "fix")
_register_rounding("round", "round")


@target("aten.round.decimals")
def round_decimals(b: Builder, self: Value, *, decimals: int) -> Value:
    """To a number of decimals, halves to even; negative numbers round to tens, hundreds, …"""
    if not self.dtype.is_float:
        return self
    if decimals == 0:
        return b.apply("round", self)
    scale = b.full((), 10.0 ** abs(decimals), self.dtype)
    first, last = ("mul", "div") if decimals > 0 else ("div", "mul")
    return b.apply(last, b.apply("round", b.apply(first, self, scale)), scale)


@target("aten.special_round.default")
def special_round(b: Builder, self: Value, *, decimals: int = 0) -> Value:
    return round_decimals(b, self, decimals=decimals)


@target("aten.frac.default")
def frac(b: Builder, self: Value) -> Value:
    return b.apply("sub", self, b.apply("trunc", self))


# ----------------------------------------------------------------------------------------- signs


@target("aten.sign.default", "prims.sign.default")
def sign(b: Builder, self: Value) -> Value:
    return self if self.dtype is DType.BOOL else b.apply("sign", self)


@target("aten.sgn.default")
def sgn(b: Builder, self: Value) -> Value:
    """The sign; of a complex number the unit number of its direction, 0 for 0."""
    return b.apply("sgn", self) if self.dtype.is_complex else sign(b, self)


# ---------------------------------------------------------------------------------------- others


@target("aten.deg2rad.default")
def deg2rad(b: Builder, self: Value) -> Value:
    return _scaled(b, self, math.pi / 180)


@target("aten.rad2deg.default")
def rad2deg(b: Builder, self: Value) -> Value:
    return _scaled(b, self, 180 / math.pi)


def _scaled(b: Builder, x: Value, factor: float) -> Value:
    dtype, (operand,) = compute_operands(b, x, floating=True)
    return b.cast(b.apply("mul", operand, b.full((), factor, operand.dtype)), dtype)


@target("aten.logit.default", "aten.special_logit.default")
def logit(b: Builder, self: Value, eps: float | None = None) -> Value:
    """log(x / (1 - x)), in double: in float32 nothing would be left of it near one half."""
    dtype, (x,) = compute_operands(b, self, floating=True)
    if eps is not None:
        x = b.apply("maximum", x, b.full((), eps, x.dtype))
        x = b.apply("minimum", x, b.full((), 1 - eps, x.dtype))
    if x.dtype.is_float:
        x = b.cast(x, DType.FLOAT64)
    rest = b.apply("sub", b.full((), 1, x.dtype), x)
    return b.cast(b.apply("log", b.apply("div", x, rest)), dtype)


@target("aten.frexp.Tensor", "prims.frexp.default")
def frexp(b: Builder, self: Value) -> tuple[Value, Value]:
    """(mantissa in [0.5, 1), int32 exponent) with self = mantissa * 2**exponent."""
    if not self.dtype.is_float:
        raise OperatorError(f"frexp of {self.dtype.value}: only floats have an exponent")
    return b.apply("frexp_mantissa", self), b.apply("frexp_exponent", self)


def _sign(x: np.ndarray) -> np.ndarray:
    """0 for NaN, as PyTorch has it."""
    return np.subtract(x > 0, x < 0, dtype=np.int8).astype(x.dtype)


def _sgn(x: np.ndarray) -> np.ndarray:
    if not np.iscomplexobj(x):
        return _sign(x)
    size = np.abs(x)
    unit = x / np.where(size == 0, np.ones_like(size), size)
    return np.where(size == 0, np.zeros_like(x), unit)


def _sinc(x: np.ndarray) -> np.ndarray:
    angle = x * np.array(np.pi, x.dtype)
    return np.where(x == 0, 1, np.sin(angle) / np.where(x == 0, 1, angle)).astype(x.dtype)


_ERF_STEP = 1 / 128
_ERF_END = 6.0
"""From here on the error function is 1 in double precision."""


def _erf(x: np.ndarray) -> np.ndarray:
    """Taylor's series about the nearest of many points, where `math.erf` gives the value.

    The one special function that models apply to large arrays: `elementwise` would take seconds.
    """
    points = np.arange(round(_ERF_END / _ERF_STEP) + 1) * _ERF_STEP
    values = np.array([math.erf(point) for point in points])
    slopes = 2 / math.sqrt(math.pi) * np.exp(-points * points)
    size = np.minimum(np.abs(x.astype(np.float64)), _ERF_END)
    unknown = np.isnan(size)
    nearest = np.rint(np.where(unknown, 0, size) / _ERF_STEP).astype(np.int64)
    c, h = points[nearest], size - points[nearest]
    square = c * c
    series = (-4 * square * square + 20 * square - 15) * c / 90
    series = (4 * square * square - 12 * square + 3) / 30 + h * series
    series = (0.5 - square / 3) * c + h * series
    series = (2 * square - 1) / 3 + h * series
    series = 1 + h * (-c + h * series)
    result = values[nearest] + slopes[nearest] * h * series
    return np.asarray(np.copysign(result, x), x.dtype)


def _ndtr(x: np.ndarray) -> np.ndarray:
    """The area under the normal density; where the error function is near -1, half of erfc."""
    z = x.astype(np.float64) * math.sqrt(0.5)
    area = np.asarray(0.5 + 0.5 * _erf(z))
    small = z < -0.5
    area[small] = [0.5 * math.erfc(-each) for each in z[small].tolist()]
    return area.astype(x.dtype)


def erfinv(p: float) -> float:
    """The inverse of the error function: a rational start, then Newton steps."""
    if not -1 < p < 1:
        return math.copysign(math.inf, p) if abs(p) == 1 else math.nan
    if p == 0:
        return p
    if abs(p) > 0.5:  # solve erfc(x) = q in the tail, where erf has no digits left
        return math.copysign(_erfc_inverse(1 - abs(p)), p)
    x = p * math.sqrt(math.pi) / 2
    for _ in range(30):
        step = (math.erf(x) - p) / (2 / math.sqrt(math.pi) * math.exp(-x * x))
        x -= step
        if abs(step) <= 1e-17 * abs(x):
            break
    return x


def _erfc_inverse(q: float) -> float:
    x = math.sqrt(max(-math.log(q), 0.05))
    for _ in range(80):  # Newton on log erfc, which is nearly a parabola
        slope = -2 / math.sqrt(math.pi) * math.exp(-x * x) / math.erfc(x)
        step = (math.log(math.erfc(x)) - math.log(q)) / slope
        x -= step
        if abs(step) <= 1e-16 * abs(x):
            break
    return x


_ROWS: dict[str, tuple[Callable[..., np.ndarray], int, str]] = {
    "exp2": (np.exp2, 12, "fc"),
    "expm1": (np.expm1, 16, "fc"),
    "log2": (np.log2, 12, "fc"),
    "log10": (np.log10, 12, "fc"),
    "log1p": (np.log1p, 16, "fc"),
    "tan": (np.tan, 20, "fc"),
    "asin": (np.arcsin, 16, "fc"),
    "acos": (np.arccos, 16, "fc"),
    "atan": (np.arctan, 16, "fc"),
    "sinh": (np.sinh, 16, "fc"),
    "cosh": (np.cosh, 16, "fc"),
    "asinh": (np.arcsinh, 16, "fc"),
    "acosh": (np.arccosh, 16, "fc"),
    "atanh": (np.arctanh, 16, "fc"),
    "sinc": (_sinc, 16, "fc"),
    "erf": (_erf, 16, "f"),
    "erfc": (elementwise(math.erfc), 20, "f"),
    "erfinv": (elementwise(erfinv), 24, "f"),
    "ndtr": (_ndtr, 24, "f"),
    "gelu": (lambda x: x * _ndtr(x), 20, "f"),
    "sign": (_sign, 2, "if"),
    "sgn": (_sgn, 4, "ifc"),
}
for _row, (_reference, _cost, _kinds) in _ROWS.items():
    register_pointwise(_row, _reference, cost=_cost, kinds=_kinds, is_step=_row in ("sign", "sgn"))
register_pointwise("frexp_mantissa", lambda x: np.frexp(x)[0], cost=4, is_step=True)
register_pointwise("frexp_exponent", lambda x: np.frexp(x)[1], "int32", cost=4, is_step=True)
