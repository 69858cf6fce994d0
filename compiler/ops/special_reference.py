"""Special functions of Python floats, in double precision: what the NumPy reference calls.

Written for being right rather than fast: series, recurrences, and integrals that the trapezoidal
rule gets to full precision.
"""

from __future__ import annotations

import cmath
import math
from decimal import Decimal, localcontext

import numpy as np

EULER = 0.5772156649015329
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798)
"""B_2, B_4, …"""


# ------------------------------------------------------------------------------- gamma and kin


def lgamma(x: float) -> float:
    """log |gamma(x)|; infinite at the poles."""
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return math.inf
    return math.lgamma(x)


def digamma(x: float) -> float:
    """The derivative of log gamma."""
    if x == 0:
        return math.copysign(math.inf, -x)
    if x == -math.inf or (x < 0 and x == math.floor(x)):
        return math.nan
    if math.isinf(x) or math.isnan(x):
        return x
    if x < 0:
        return digamma(1 - x) - math.pi / math.tan(math.pi * math.fmod(x, 1.0))
    total = 0.0
    while x < 12:
        total -= 1 / x
        x += 1
    total += math.log(x) - 0.5 / x
    for k, bernoulli in enumerate(_BERNOULLI, start=1):
        total -= bernoulli / (2 * k * x ** (2 * k))
    return total


def zeta(s: float, q: float) -> float:
    """The Hurwitz zeta function: the sum of (q + k)**-s."""
    if s == 1:
        return math.inf
    if s < 1 or math.isnan(s) or math.isnan(q):
        return math.nan
    if q <= 0:
        if q == math.floor(q):
            return math.inf
        if s != math.floor(s):
            return math.nan
    total = 0.0
    while q < 12:  # Euler and Maclaurin's sum from here on
        total += math.pow(q, -s)
        q += 1
    total += math.pow(q, 1 - s) / (s - 1) + 0.5 * math.pow(q, -s)
    factor = s * math.pow(q, -s - 1)
    for k, bernoulli in enumerate(_BERNOULLI, start=1):
        total += bernoulli * factor / math.factorial(2 * k)
        factor *= (s + 2 * k - 1) * (s + 2 * k) / (q * q)
    return total


def igamma(a: float, x: float) -> float:
    """The regularised lower incomplete gamma function."""
    return _incomplete_gamma(a, x)[0]


def igammac(a: float, x: float) -> float:
    """The regularised upper incomplete gamma function."""
    return _incomplete_gamma(a, x)[1]


def _incomplete_gamma(a: float, x: float) -> tuple[float, float]:
    if math.isnan(a) or math.isnan(x) or a < 0 or x < 0:
        return math.nan, math.nan
    if a == 0:
        return (math.nan, math.nan) if x == 0 else (1.0, 0.0)
    if x == 0:
        return 0.0, 1.0
    if math.isinf(a):
        return (math.nan, math.nan) if math.isinf(x) else (0.0, 1.0)
    if math.isinf(x):
        return 1.0, 0.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, 100_000):
            term *= x / (a + n)
            total += term
            if term < total * 1e-17:
                break
        return scale * total, 1 - scale * total
    # Lentz's continued fraction.
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    h = d
    for n in range(1, 100_000):
        numerator = -n * (n - a)
        b += 2
        d = 1 / (numerator * d + b or tiny)
        c = b + numerator / c or tiny
        h *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return 1 - scale * h, scale * h


# ------------------------------------------------------------------------------ error functions


def erfcx(x: float) -> float:
    """exp(x * x) * erfc(x)."""
    if x < 25:
        if x < -26.7:
            return math.inf
        if x < 5:
            return math.exp(x * x) * math.erfc(x)
    if math.isinf(x):
        return 0.0
    # Continued fraction, from its tail.
    tail = 0.0
    for k in range(80, 0, -1):
        tail = k / 2 / (x + tail)
    return 1 / (math.sqrt(math.pi) * (x + tail))


def log_ndtr(x: float) -> float:
    """log of the normal distribution's cumulative function."""
    t = x / math.sqrt(2)
    if x < -1:
        return math.log(erfcx(-t) / 2) - t * t if x > -1e150 else -math.inf
    return math.log1p(-math.erfc(t) / 2)


def ndtri(p: float) -> float:
    """The inverse of the normal distribution's cumulative function."""
    from .elementary import erfinv

    if p <= 0 or p >= 1:
        return -math.inf if p == 0 else math.inf if p == 1 else math.nan
    if p < 0.25 or p > 0.75:
        # Solved in the tail, where 2 p - 1 has no digits left.
        q = p if p < 0.5 else 1 - p
        x = -math.sqrt(max(-2 * math.log(q), 0.1))
        for _ in range(80):
            slope = math.exp(-x * x / 2 - 0.5 * math.log(2 * math.pi) - log_ndtr(x))
            step = (log_ndtr(x) - math.log(q)) / slope
            x -= step
            if abs(step) <= 1e-16 * abs(x):
                break
        return x if p < 0.5 else -x
    return math.sqrt(2) * erfinv(2 * p - 1)


# ------------------------------------------------------------------------------ Bessel functions


def _average(function: np.ndarray) -> float:
    """The mean over samples of a period: the trapezoidal rule, here exact to rounding."""
    return float(np.mean(function))


def i0e(x: float) -> float:
    """exp(-|x|) I0(x)."""
    return _scaled_i(0, abs(x))


def i1e(x: float) -> float:
    """exp(-|x|) I1(x)."""
    return math.copysign(_scaled_i(1, abs(x)), x)


def _scaled_i(order: int, x: float) -> float:
    if math.isinf(x):
        return 0.0
    if x > 5000:  # the first terms of the expansion at infinity
        u = 1 / (8 * x)
        mu = 4 * order * order
        series = 1 - (mu - 1) * u + (mu - 1) * (mu - 9) * u * u / 2
        return series / math.sqrt(2 * math.pi * x)
    t = np.arange(2048) * (2 * np.pi / 2048)
    return _average(np.exp(x * (np.cos(t) - 1)) * np.cos(order * t))


def i0(x: float) -> float:
    """The modified Bessel function of the first kind, order 0."""
    return i0e(x) * math.exp(abs(x)) if abs(x) < 700 else math.inf


def i1(x: float) -> float:
    """The modified Bessel function of the first kind, order 1."""
    return i1e(x) * math.exp(abs(x)) if abs(x) < 700 else math.copysign(math.inf, x)


def _scaled_k(order: float, x: float) -> float:
    """exp(x) K(x), as the integral of exp(-x (cosh t - 1)) cosh(order t)."""
    if x <= 0 or math.isnan(x):
        return math.inf if x == 0 else math.nan
    if math.isinf(x):
        return 0.0
    reach = math.acosh(1 + 750 / x)
    count = 4000
    t = np.linspace(0, reach, count + 1)
    values = np.exp(-x * (np.cosh(t) - 1)) * np.cosh(order * t)
    return float((values.sum() - (values[0] + values[-1]) / 2) * reach / count)


def scaled_modified_bessel_k0(x: float) -> float:
    """exp(x) K0(x)."""
    return _scaled_k(0, x)


def scaled_modified_bessel_k1(x: float) -> float:
    """exp(x) K1(x)."""
    return _scaled_k(1, x)


def modified_bessel_k0(x: float) -> float:
    """The modified Bessel function of the second kind, order 0."""
    return _scaled_k(0, x) * math.exp(-x) if x >= 0 else math.nan


def modified_bessel_k1(x: float) -> float:
    """The modified Bessel function of the second kind, order 1."""
    return _scaled_k(1, x) * math.exp(-x) if x >= 0 else math.nan


def _bessel_orders(x: float) -> np.ndarray:
    """J_0(x), J_1(x), …: the Fourier coefficients of exp(i x sin t)."""
    count = 1 << max(8, math.ceil(math.log2(4 * x + 64)))
    t = np.arange(count) * (2 * np.pi / count)
    return np.fft.fft(np.exp(1j * x * np.sin(t))).real[: count // 2] / count


def _far_bessel(order: int, x: float) -> complex:
    """J + i Y by the expansion at infinity."""
    mu, u = 4 * order * order, 1 / (8 * x)
    p = 1 - (mu - 1) * (mu - 9) * u * u / 2
    q = (mu - 1) * u - (mu - 1) * (mu - 9) * (mu - 25) * u**3 / 6
    phase = cmath.exp(1j * (x - order * math.pi / 2 - math.pi / 4))
    return math.sqrt(2 / (math.pi * x)) * (p + 1j * q) * phase


_FAR = 2000.0


def bessel_j0(x: float) -> float:
    """The Bessel function of the first kind, order 0."""
    if math.isinf(x):
        return 0.0
    x = abs(x)
    return _far_bessel(0, x).real if x > _FAR else float(_bessel_orders(x)[0])


def bessel_j1(x: float) -> float:
    """The Bessel function of the first kind, order 1."""
    if math.isinf(x):
        return 0.0
    size = abs(x)
    value = _far_bessel(1, size).real if size > _FAR else float(_bessel_orders(size)[1])
    return math.copysign(1, x) * value


def bessel_y0(x: float) -> float:
    """The Bessel function of the second kind, order 0."""
    if x <= 0 or math.isnan(x) or math.isinf(x):
        return -math.inf if x == 0 else 0.0 if x == math.inf else math.nan
    if x > _FAR:
        return _far_bessel(0, x).imag
    orders = _bessel_orders(x)
    k = np.arange(1, (len(orders) - 1) // 2 + 1)
    series = float(np.sum((-1.0) ** k * orders[2 * k] / k))
    return 2 / math.pi * ((math.log(x / 2) + EULER) * float(orders[0]) - 2 * series)


def bessel_y1(x: float) -> float:
    """The Bessel function of the second kind, order 1."""
    if x <= 0 or math.isnan(x) or math.isinf(x):
        return -math.inf if x == 0 else 0.0 if x == math.inf else math.nan
    if x > _FAR:
        return _far_bessel(1, x).imag
    orders = _bessel_orders(x)
    k = np.arange(1, (len(orders) - 2) // 2 + 1)
    k = k[2 * k + 1 < len(orders)]
    series = float(np.sum((-1.0) ** k * (2 * k + 1) / (k * (k + 1)) * orders[2 * k + 1]))
    logarithmic = (math.log(x / 2) + EULER - 1) * float(orders[1])
    return 2 / math.pi * (logarithmic - float(orders[0]) / x - series)


def spherical_bessel_j0(x: float) -> float:
    """sin(x) / x."""
    if math.isinf(x):
        return 0.0
    return 1.0 if x == 0 else math.sin(x) / x


def airy_ai(x: float) -> float:
    """The Airy function Ai."""
    if math.isinf(x) or math.isnan(x):
        return math.nan
    if x > 103.892:
        return 0.0
    if x > 2:
        z = 2 / 3 * x * math.sqrt(x)
        return math.sqrt(x / 3) / math.pi * _scaled_k(1 / 3, z) * math.exp(-z)
    if x > -30:
        return _airy_series(x)
    z = 2 / 3 * -x * math.sqrt(-x)
    p, q = 1 - 385 / 4608 / z**2, 5 / 72 / z - 85085 / 663552 / z**3
    phase = z + math.pi / 4
    size = math.sqrt(math.pi * math.sqrt(-x))
    return (p * math.sin(phase) - q * math.cos(phase)) / size


def _airy_series(x: float) -> float:
    """Maclaurin's series, with digits to spare for what cancels."""
    with localcontext() as context:
        context.prec = 120
        cube = Decimal(x) ** 3
        f = term = Decimal(1)
        g = other = Decimal(x)
        for k in range(1, 1000):
            term = term * cube / ((3 * k - 1) * (3 * k))
            other = other * cube / ((3 * k) * (3 * k + 1))
            f, g = f + term, g + other
            if abs(term) + abs(other) < Decimal("1e-60"):
                break
        at_zero = Decimal("0.3550280538878172392600631860041831763979791741991778")
        slope = Decimal("0.2588194037928067984051835601892039634790911383549345")
        return float(at_zero * f - slope * g)
