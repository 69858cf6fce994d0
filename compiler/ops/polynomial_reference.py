"""Orthogonal polynomials in Python's double precision: the reference of `special_polynomial.h`."""

from __future__ import annotations


def _recurrence(x: float, order: float, first: float, step: str) -> float:
    """The polynomial of an order by its three-term recurrence; 0 for negative orders."""
    n = int(order)
    if n < 0:
        return 0.0
    previous, current = 1.0, first
    if n == 0:
        return previous
    for k in range(1, n):
        match step:
            case "chebyshev":
                following = 2 * x * current - previous
            case "hermite_h":
                following = 2 * x * current - 2 * k * previous
            case "hermite_he":
                following = x * current - k * previous
            case "laguerre":
                following = ((2 * k + 1 - x) * current - k * previous) / (k + 1)
            case _:
                following = ((2 * k + 1) * x * current - k * previous) / (k + 1)
        previous, current = current, following
    return current


def chebyshev_polynomial_t(x: float, n: float) -> float:
    """Chebyshev's polynomial of the first kind."""
    return _recurrence(x, n, x, "chebyshev")


def chebyshev_polynomial_u(x: float, n: float) -> float:
    """Chebyshev's polynomial of the second kind."""
    return _recurrence(x, n, 2 * x, "chebyshev")


def chebyshev_polynomial_v(x: float, n: float) -> float:
    """Chebyshev's polynomial of the third kind."""
    return _recurrence(x, n, 2 * x - 1, "chebyshev")


def chebyshev_polynomial_w(x: float, n: float) -> float:
    """Chebyshev's polynomial of the fourth kind."""
    return _recurrence(x, n, 2 * x + 1, "chebyshev")


def shifted_chebyshev_polynomial_t(x: float, n: float) -> float:
    """Chebyshev's polynomial of the first kind on [0, 1]."""
    return chebyshev_polynomial_t(2 * x - 1, n)


def shifted_chebyshev_polynomial_u(x: float, n: float) -> float:
    """Chebyshev's polynomial of the second kind on [0, 1]."""
    return chebyshev_polynomial_u(2 * x - 1, n)


def shifted_chebyshev_polynomial_v(x: float, n: float) -> float:
    """Chebyshev's polynomial of the third kind on [0, 1]."""
    return chebyshev_polynomial_v(2 * x - 1, n)


def shifted_chebyshev_polynomial_w(x: float, n: float) -> float:
    """Chebyshev's polynomial of the fourth kind on [0, 1]."""
    return chebyshev_polynomial_w(2 * x - 1, n)


def hermite_polynomial_h(x: float, n: float) -> float:
    """Hermite's polynomial, as physicists have it."""
    return _recurrence(x, n, 2 * x, "hermite_h")


def hermite_polynomial_he(x: float, n: float) -> float:
    """Hermite's polynomial, as statisticians have it."""
    return _recurrence(x, n, x, "hermite_he")


def laguerre_polynomial_l(x: float, n: float) -> float:
    """Laguerre's polynomial."""
    return _recurrence(x, n, 1 - x, "laguerre")


def legendre_polynomial_p(x: float, n: float) -> float:
    """Legendre's polynomial."""
    return _recurrence(x, n, x, "legendre")
