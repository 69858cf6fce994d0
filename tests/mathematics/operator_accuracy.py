"""The accuracy of operators: the largest error of each transcendental and special function, type by type.

Errors are in ulp, units in the last place of the result in its type: 0.5 is a correctly rounded result. The bounds
are for compiled programs over the whole of the domain given, float64 where the function is well conditioned.
`test_operator_accuracy.py` holds them against SciPy and mpmath; `python -m tests.mathematics.operator_accuracy`
writes them down in docs/accuracy.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import scipy.special as sp

PAGE = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"
NARROW = 0.51
"""float16 and bfloat16: computed in float32 and rounded once."""

Array = np.ndarray
INF = float("inf")


@dataclass(frozen=True, slots=True)
class Range:
    """An argument: numbers between two bounds, which are not among them, or whole numbers."""

    low: float
    high: float
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}" + (" whole" if self.whole else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One operator: its bounds, its domain, and what it is measured against."""

    float32: float
    float64: float
    domain: tuple[Range, ...]
    scipy: Callable[..., Array]
    mpmath: Callable[..., Any]
    before: tuple[int, ...] = ()
    """Arguments that stand before the tensors."""
    after: tuple[int, ...] = ()
    absolute: tuple[float, float] = (0, 0)
    """Errors of narrow types and of float32 that are none, however many ulp they are."""


def _of(
    float32: float,
    float64: float,
    low: float,
    high: float,
    scipy: Callable[..., Array],
    exact: Callable[..., Any],
) -> Row:
    return Row(float32, float64, (Range(low, high),), scipy, exact)


def _polynomial(
    float64: float,
    low: float,
    high: float,
    scipy: Callable[..., Array],
    exact: Callable[..., Any],
) -> Row:
    domain = (Range(low, high), Range(0, 12, whole=True))
    return Row(
        0.51, float64, domain, lambda x, n: scipy(n.astype(int), x), lambda x, n: exact(n, x)
    )


def _spherical(x: Array) -> Array:
    return np.where(x == 0, 1, np.sin(x) / np.where(x == 0, 1, x))


def _sinc(x: Array) -> Array:
    return np.where(x == np.round(x), x == 0, np.sinc(x))


def _third(n: Array, x: Array) -> Array:
    return sp.eval_chebyu(n, x) - sp.eval_chebyu(n - 1, x)


def _fourth(n: Array, x: Array) -> Array:
    return sp.eval_chebyu(n, x) + sp.eval_chebyu(n - 1, x)


def _mp_third(n: Any, x: Any) -> Any:
    angle = mpmath.acos(x)
    return mpmath.cos((n + mpmath.mpf(0.5)) * angle) / mpmath.cos(angle / 2)


def _mp_fourth(n: Any, x: Any) -> Any:
    angle = mpmath.acos(x)
    return mpmath.sin((n + mpmath.mpf(0.5)) * angle) / mpmath.sin(angle / 2)


def _mp_sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


def _mp_ndtr(x: Any) -> Any:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def _mp_ndtri(p: Any) -> Any:
    return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)


def _multigammaln(x: Array) -> Array:
    return np.array([sp.multigammaln(value, 3) for value in x])


def _mp_multigammaln(x: Any) -> Any:
    terms = [mpmath.loggamma(x - mpmath.mpf(i) / 2) for i in range(3)]
    return mpmath.log(mpmath.pi) * 3 / 2 + sum(terms)


def _trigamma(x: Array) -> Array:
    peak = np.pi / np.sin(np.pi * (x - np.round(x)))
    return np.where(x < 0.5, peak**2 - sp.zeta(2, 1 - x), sp.zeta(2, np.where(x < 0.5, 1, x)))


OPERATORS: Mapping[str, Row] = {
    # exponentials and logarithms
    "exp": _of(1.1, 1.0, -87, 88, np.exp, mpmath.exp),
    "exp2": _of(1.3, 1.0, -126, 127, np.exp2, lambda x: mpmath.mpf(2) ** x),
    "expm1": _of(0.51, 1.0, -87, 88, np.expm1, mpmath.expm1),
    "log": _of(1.0, 1.0, 0, 1e30, np.log, mpmath.log),
    "log2": _of(0.51, 1.0, 0, 1e30, np.log2, lambda x: mpmath.log(x, 2)),
    "log10": _of(0.51, 2.0, 0, 1e30, np.log10, mpmath.log10),
    "log1p": _of(0.51, 1.0, -1, 1e30, np.log1p, mpmath.log1p),
    "sigmoid": _of(2.5, 2.5, -80, 80, sp.expit, _mp_sigmoid),
    "log_sigmoid": _of(
        2.0, 2.0, -80, 80, sp.log_expit, lambda x: -mpmath.log1p(mpmath.exp(-x))
    ),
    "logit": _of(0.51, 10.0, 0, 1, sp.logit, lambda x: mpmath.log(x / (1 - x))),
    "special_entr": _of(2.0, 2.0, 0, 30, sp.entr, lambda x: -x * mpmath.log(x)),
    # powers and roots
    "sqrt": _of(0.5, 0.5, 0, 1e30, np.sqrt, mpmath.sqrt),
    "rsqrt": _of(1.5, 1.5, 0, 1e30, lambda x: 1 / np.sqrt(x), lambda x: 1 / mpmath.sqrt(x)),
    # trigonometric and hyperbolic
    "sin": _of(1.6, 1.0, -1000, 1000, np.sin, mpmath.sin),
    "cos": _of(1.6, 1.0, -1000, 1000, np.cos, mpmath.cos),
    "tan": _of(0.51, 1.0, -1000, 1000, np.tan, mpmath.tan),
    "asin": _of(0.51, 1.0, -1, 1, np.arcsin, mpmath.asin),
    "acos": _of(0.51, 1.0, -1, 1, np.arccos, mpmath.acos),
    "atan": _of(0.51, 1.0, -1000, 1000, np.arctan, mpmath.atan),
    "sinh": _of(0.51, 2.5, -80, 80, np.sinh, mpmath.sinh),
    "cosh": _of(0.51, 2.0, -80, 80, np.cosh, mpmath.cosh),
    "tanh": _of(1.5, 2.5, -20, 20, np.tanh, mpmath.tanh),
    "asinh": _of(0.51, 2.0, -1e9, 1e9, np.arcsinh, mpmath.asinh),
    "acosh": _of(0.51, 2.0, 1, 1e9, np.arccosh, mpmath.acosh),
    "atanh": _of(0.51, 2.0, -1, 1, np.arctanh, mpmath.atanh),
    "sinc": _of(2.5, 3.0, -20, 20, _sinc, mpmath.sincpi),
    # the error function and the normal distribution
    "erf": _of(1.9, 1.0, -6, 6, sp.erf, mpmath.erf),
    "erfc": _of(0.51, 4.0, -6, 9, sp.erfc, mpmath.erfc),
    "erfinv": _of(0.9, 3.0, -1, 1, sp.erfinv, mpmath.erfinv),
    "special_erfcx": _of(
        0.51, 8.0, -9, 100, sp.erfcx, lambda x: mpmath.exp(x * x) * mpmath.erfc(x)
    ),
    "special_ndtr": _of(3.5, 25.0, -12, 8, sp.ndtr, _mp_ndtr),
    "gelu": Row(
        4.0, 25.0, (Range(-12, 8),), lambda x: x * sp.ndtr(x), lambda x: x * _mp_ndtr(x),
        absolute=(4e-11, 5e-8),
    ),
    "special_ndtri": _of(0.51, 21.0, 0, 1, sp.ndtri, _mp_ndtri),
    "special_log_ndtr": _of(
        0.51, 16.0, -100, 8, sp.log_ndtr, lambda x: mpmath.log(_mp_ndtr(x))
    ),
    # gamma and kin
    "lgamma": _of(0.51, 8.0, -20, 1000, sp.gammaln, lambda x: mpmath.loggamma(x).real),
    "digamma": _of(0.51, 80.0, -20, 1000, sp.digamma, mpmath.digamma),
    # Bessel's functions and Airy's
    "i0": _of(0.51, 8.0, -80, 80, sp.i0, lambda x: mpmath.besseli(0, x)),
    "special_i1": _of(0.51, 10.0, -80, 80, sp.i1, lambda x: mpmath.besseli(1, x)),
    "special_i0e": _of(
        0.51, 8.0, -600, 600, sp.i0e, lambda x: mpmath.besseli(0, x) * mpmath.exp(-abs(x))
    ),
    "special_i1e": _of(
        0.51, 8.0, -600, 600, sp.i1e, lambda x: mpmath.besseli(1, x) * mpmath.exp(-abs(x))
    ),
    "special_bessel_j0": _of(0.51, 8.0, -40, 40, sp.j0, mpmath.j0),
    "special_bessel_j1": _of(0.51, 8.0, -40, 40, sp.j1, mpmath.j1),
    "special_bessel_y0": _of(0.51, 8.0, 0, 40, sp.y0, lambda x: mpmath.bessely(0, x)),
    "special_bessel_y1": _of(0.51, 8.0, 0, 40, sp.y1, lambda x: mpmath.bessely(1, x)),
    "special_modified_bessel_k0": _of(0.51, 16.0, 0, 80, sp.k0, lambda x: mpmath.besselk(0, x)),
    "special_modified_bessel_k1": _of(0.51, 16.0, 0, 80, sp.k1, lambda x: mpmath.besselk(1, x)),
    "special_scaled_modified_bessel_k0": _of(
        0.51, 16.0, 0, 600, sp.k0e, lambda x: mpmath.besselk(0, x) * mpmath.exp(x)
    ),
    "special_scaled_modified_bessel_k1": _of(
        0.51, 16.0, 0, 600, sp.k1e, lambda x: mpmath.besselk(1, x) * mpmath.exp(x)
    ),
    "special_spherical_bessel_j0": _of(
        0.51, 8.0, -20, 20, _spherical, lambda x: mpmath.sin(x) / x
    ),
    "special_airy_ai": _of(0.51, 8.0, -10, 10, lambda x: sp.airy(x)[0], mpmath.airyai),
    # of two arguments
    "pow": Row(0.51, 1.0, (Range(0, 50), Range(-5, 5)), np.power, mpmath.power),
    "atan2": Row(0.51, 1.0, (Range(-50, 50), Range(-50, 50)), np.arctan2, mpmath.atan2),
    "hypot": Row(0.51, 1.0, (Range(-50, 50), Range(-50, 50)), np.hypot, mpmath.hypot),
    "logaddexp": Row(
        0.51, 10.0, (Range(-50, 50), Range(-50, 50)), np.logaddexp,
        lambda x, y: mpmath.log(mpmath.exp(x) + mpmath.exp(y)),
    ),
    "logaddexp2": Row(
        0.51, 20.0, (Range(-50, 50), Range(-50, 50)), np.logaddexp2,
        lambda x, y: mpmath.log(mpmath.mpf(2) ** x + mpmath.mpf(2) ** y, 2),
    ),
    "xlogy": Row(
        2.0, 2.0, (Range(-50, 50), Range(0, 50)), sp.xlogy, lambda x, y: x * mpmath.log(y)
    ),
    "special_xlog1py": Row(
        2.0, 2.0, (Range(-50, 50), Range(-1, 50)), sp.xlog1py, lambda x, y: x * mpmath.log1p(y)
    ),
    "special_zeta": Row(
        0.51, 8.0, (Range(1, 20), Range(0, 50)), sp.zeta, lambda x, q: mpmath.zeta(x, q)
    ),
    "igamma": Row(
        0.51, 100.0, (Range(0, 60), Range(0, 60)), sp.gammainc,
        lambda a, x: mpmath.gammainc(a, 0, x, regularized=True),
    ),
    "igammac": Row(
        0.51, 1000.0, (Range(0, 60), Range(0, 60)), sp.gammaincc,
        lambda a, x: mpmath.gammainc(a, x, INF, regularized=True),
    ),
    "polygamma": Row(
        0.51, 32.0, (Range(-6, 40),), _trigamma, lambda x: mpmath.psi(1, x), before=(1,)
    ),
    "mvlgamma": Row(
        0.51, 8.0, (Range(1.5, 40),), _multigammaln, _mp_multigammaln, after=(3,)
    ),
    # orthogonal polynomials
    "special_chebyshev_polynomial_t": _polynomial(300.0, -1, 1, sp.eval_chebyt, mpmath.chebyt),
    "special_chebyshev_polynomial_u": _polynomial(200.0, -1, 1, sp.eval_chebyu, mpmath.chebyu),
    "special_chebyshev_polynomial_v": _polynomial(100.0, -0.99, 0.99, _third, _mp_third),
    "special_chebyshev_polynomial_w": _polynomial(100.0, -0.99, 0.99, _fourth, _mp_fourth),
    "special_shifted_chebyshev_polynomial_t": _polynomial(
        300.0, 0, 1, sp.eval_sh_chebyt, lambda n, x: mpmath.chebyt(n, 2 * x - 1)
    ),
    "special_shifted_chebyshev_polynomial_u": _polynomial(
        100.0, 0, 1, sp.eval_sh_chebyu, lambda n, x: mpmath.chebyu(n, 2 * x - 1)
    ),
    "special_hermite_polynomial_h": _polynomial(16.0, -3, 3, sp.eval_hermite, mpmath.hermite),
    "special_hermite_polynomial_he": _polynomial(
        16.0, -3, 3, sp.eval_hermitenorm,
        lambda n, x: mpmath.hermite(n, x / mpmath.sqrt(2)) * mpmath.mpf(2) ** (-n / 2),
    ),
    "special_laguerre_polynomial_l": _polynomial(
        60.0, 0, 10, sp.eval_laguerre, lambda n, x: mpmath.laguerre(n, 0, x)
    ),
    "special_legendre_polynomial_p": _polynomial(16.0, -1, 1, sp.eval_legendre, mpmath.legendre),
}  # fmt: skip


def page_text() -> str:
    """The page."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# Accuracy"
    yield ""
    yield "Made by `python -m tests.mathematics.operator_accuracy` from the table that"
    yield "`tests/mathematics/test_operator_accuracy.py` holds compiled programs against. Do not edit it."
    yield ""
    yield "The largest error of each function in ulp, units in the last place of its result: 0.5 is a"
    yield "correctly rounded result. float16 and bfloat16 are computed in float32 and rounded once."
    yield "float32 and the narrow types hold over the whole domain, against SciPy in double precision;"
    yield "float64 where the function is well conditioned (a relative change of its argument changes"
    yield "its value at most twentyfold), against mpmath. Sums, products, quotients and square roots are"
    yield "IEEE's; what sums many terms accumulates in float32 or wider. Where a number follows, errors"
    yield "that are no larger than it may be more ulp: to the left of -1 gelu is the small product of a"
    yield "number and a power whose exponent was rounded."
    yield ""
    yield "What is computed in one loop need not be rounded to a narrow type between two smooth functions of"
    yield "that type. What shows the difference sees rounded numbers: conversions to other types and operands"
    yield "of wider ones, comparisons, positions of extremes, floor and its kin, remainders."
    yield ""
    yield "| operator | domain | float16, bfloat16 | float32 | float64 |"
    yield "|---|---|---|---|---|"
    for name, row in OPERATORS.items():
        given = [*map(str, row.before), *map(str, row.domain), *map(str, row.after)]
        narrow, float32 = (f", or {each:g}" if each else "" for each in row.absolute)
        bounds = f"{NARROW:g}{narrow} | {row.float32:g}{float32} | {row.float64:g}"
        yield f"| `aten.{name}` | {'; '.join(given)} | {bounds} |"


def main() -> int:
    """Writes the page; returns the exit status."""
    PAGE.write_text(page_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
