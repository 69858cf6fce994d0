"""Special functions: gamma and kin, Bessel, orthogonal polynomials, the normal distribution."""

from __future__ import annotations

import math

from ..ir.dtypes import DType
from ..ir.graph import Value
from . import polynomial_reference, special_reference
from .base import Builder, Operand, OperatorError, target
from .elementary import apply_floating
from .pointwise import apply_promoted, compute_operands, elementwise, register_pointwise

_UNARY: dict[str, tuple[str, ...]] = {
    "lgamma": ("lgamma", "special_gammaln"),
    "digamma": ("digamma", "special_digamma", "special_psi"),
    "i0": ("i0", "special_i0", "special_modified_bessel_i0"),
    "i0e": ("special_i0e",),
    "i1": ("special_i1", "special_modified_bessel_i1"),
    "i1e": ("special_i1e",),
    "bessel_j0": ("special_bessel_j0",),
    "bessel_j1": ("special_bessel_j1",),
    "bessel_y0": ("special_bessel_y0",),
    "bessel_y1": ("special_bessel_y1",),
    "modified_bessel_k0": ("special_modified_bessel_k0",),
    "modified_bessel_k1": ("special_modified_bessel_k1",),
    "scaled_modified_bessel_k0": ("special_scaled_modified_bessel_k0",),
    "scaled_modified_bessel_k1": ("special_scaled_modified_bessel_k1",),
    "spherical_bessel_j0": ("special_spherical_bessel_j0",),
    "airy_ai": ("special_airy_ai",),
    "erfcx": ("special_erfcx",),
    "log_ndtr": ("special_log_ndtr",),
    "ndtri": ("special_ndtri",),
}
"""Primitive -> the names PyTorch has for it."""

_OPERAND_X = frozenset({
    "airy_ai", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "spherical_bessel_j0",
})  # fmt: skip

_BINARY: dict[str, tuple[str, ...]] = {
    "zeta": ("special_zeta.default", "special_zeta.other_scalar", "special_zeta.self_scalar"),
    "igamma": ("igamma.default", "special_gammainc.default"),
    "igammac": ("igammac.default", "special_gammaincc.default"),
}

_POLYNOMIALS = (
    "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v",
    "chebyshev_polynomial_w", "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v", "shifted_chebyshev_polynomial_w", "hermite_polynomial_h",
    "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p",
)  # fmt: skip


def _register_unary(primitive: str, names: tuple[str, ...]) -> None:
    register_pointwise(primitive, elementwise(getattr(special_reference, primitive)), cost=40)

    def of_self(b: Builder, self: Value) -> Value:
        return apply_floating(b, primitive, self)

    def of_x(b: Builder, x: Value) -> Value:  # the younger schemas call the operand x
        return apply_floating(b, primitive, x)

    target(*(f"aten.{name}.default" for name in names))(
        of_x if primitive in _OPERAND_X else of_self
    )


def _register_binary(primitive: str, names: tuple[str, ...]) -> None:
    register_pointwise(primitive, elementwise(getattr(special_reference, primitive)), cost=60)

    @target(*(f"aten.{name}" for name in names))
    def function(b: Builder, self: Operand, other: Operand) -> Value:
        return apply_promoted(b, primitive, self, other, floating=True)


def _register_polynomial(primitive: str) -> None:
    register_pointwise(primitive, elementwise(getattr(polynomial_reference, primitive)), cost=60)
    overloads = ("default", "n_scalar", "x_scalar")

    @target(*(f"aten.special_{primitive}.{overload}" for overload in overloads))
    def function(b: Builder, x: Operand, n: Operand) -> Value:
        return apply_promoted(b, primitive, x, n, floating=True)


for _primitive, _names in _UNARY.items():
    _register_unary(_primitive, _names)
for _primitive, _names in _BINARY.items():
    _register_binary(_primitive, _names)
for _primitive in _POLYNOMIALS:
    _register_polynomial(_primitive)


@target("aten.polygamma.default", "aten.special_polygamma.default")
def polygamma(b: Builder, n: int, self: Value) -> Value:
    """The n-th derivative of digamma: (-1)**(n+1) n! zeta(n + 1, x)."""
    if n < 0:
        raise OperatorError(f"polygamma of order {n}: expected 0 or more")
    if n == 0:
        return apply_floating(b, "digamma", self)
    dtype, (x,) = compute_operands(b, self, floating=True)
    if n == 1:
        return b.cast(_trigamma(b, b.cast(x, DType.FLOAT64)), dtype)
    tail = b.apply("zeta", b.full((), n + 1, x.dtype), x)
    factor = math.exp(math.lgamma(n + 1)) * (1 if n % 2 else -1)
    return b.cast(b.apply("mul", tail, b.full((), factor, x.dtype)), dtype)


def _trigamma(b: Builder, x: Value) -> Value:
    """zeta(2, x), by reflection below one half: its poles are what rounding makes of them."""
    two, one = b.full((), 2, x.dtype), b.full((), 1, x.dtype)
    reflected = b.apply("lt", x, b.full((), 0.5, x.dtype))
    tail = b.apply("zeta", two, b.where(reflected, b.apply("sub", one, x), x))
    turn = b.full((), math.pi, x.dtype)
    peak = b.apply("div", turn, b.apply("sin", b.apply("mul", turn, x)))
    return b.where(reflected, b.apply("sub", b.apply("mul", peak, peak), tail), tail)


@target("aten.mvlgamma.default", "aten.special_multigammaln.default")
def mvlgamma(b: Builder, self: Value, p: int) -> Value:
    """The logarithm of the gamma function of p dimensions."""
    dtype, (x,) = compute_operands(b, self, floating=True)
    x = b.cast(x, DType.FLOAT64)
    total = b.full((), p * (p - 1) / 4 * math.log(math.pi), x.dtype)
    for i in range(p):
        total = b.apply("add", total, b.apply("lgamma", _shifted(b, x, -i / 2)))
    return b.cast(total, dtype)


def _shifted(b: Builder, x: Value, offset: float) -> Value:
    return b.apply("add", x, b.full((), offset, x.dtype)) if offset else x


@target("aten.special_entr.default")
def entr(b: Builder, self: Value) -> Value:
    """-x log(x): 0 at 0, minus infinity below, NaN for NaN."""
    dtype, (x,) = compute_operands(b, self, floating=True)
    zero = b.full((), 0, x.dtype)
    inside = b.apply("neg", b.apply("mul", x, b.apply("log", x)))
    outside = b.where(b.apply("eq", x, zero), zero, b.full((), -math.inf, x.dtype))
    result = b.where(b.apply("gt", x, zero), inside, outside)
    return b.cast(b.where(b.apply("isnan", x), x, result), dtype)
