"""Special functions against identities and tabulated values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from .evaluation import evaluate

TABLE = {
    "special_bessel_j0": (2.5, -0.04838377646819815),
    "special_bessel_j1": (2.5, 0.4970941024642741),
    "special_bessel_y0": (2.5, 0.4980703596152319),
    "special_bessel_y1": (2.5, 0.14591813796678577),
    "special_modified_bessel_k0": (2.5, 0.0623475532003662),
    "special_modified_bessel_k1": (2.5, 0.07389081634774707),
    "special_i0": (2.5, 3.2898391440501227),
    "special_i1": (2.5, 2.5167162452886985),
    "special_erfcx": (2.5, 0.21080636640611437),
    "special_log_ndtr": (-2.5, -5.081648277278689),
    "special_ndtri": (0.99, 2.3263478740408408),
    "digamma": (-2.5, 1.103156640645243),
    "lgamma": (0.5, 0.5723649429247001),
}


@pytest.mark.parametrize("name", TABLE)
def test_values_from_tables(name: str) -> None:
    x, expected = TABLE[name]
    np.testing.assert_allclose(evaluate(f"aten.{name}.default", np.array([x]))[0], expected)


@pytest.mark.parametrize(
    ("x", "expected"), [(-5.0, 0.3507610090241143), (3.0, 0.006591139357460719)]
)
def test_airy(x: float, expected: float) -> None:
    np.testing.assert_allclose(evaluate("aten.special_airy_ai.default", np.array([x]))[0], expected)


def test_incomplete_gammas_add_to_one() -> None:
    a, x = np.array([0.5, 3.0, 20.0]), np.array([0.3, 8.0, 15.0])
    lower, upper = (evaluate(f"aten.{n}.default", a, x)[0] for n in ("igamma", "igammac"))
    np.testing.assert_allclose(lower + upper, np.ones(3))


def test_polygamma_is_the_derivative_of_digamma() -> None:
    x, step = np.array([0.7, 3.3]), 1e-5
    above, below = (evaluate("aten.digamma.default", x + s)[0] for s in (step, -step))
    (slope,) = evaluate("aten.polygamma.default", 1, x)
    np.testing.assert_allclose(slope, (above - below) / (2 * step), rtol=1e-8)


def test_chebyshev_polynomials_are_cosines() -> None:
    x, n = np.array([-0.9, 0.1, 0.6]), np.array([7.0])
    (result,) = evaluate("aten.special_chebyshev_polynomial_t.default", x, n)
    np.testing.assert_allclose(result, np.cos(7 * np.arccos(x)))
    (shifted,) = evaluate("aten.special_shifted_chebyshev_polynomial_t.default", (x + 1) / 2, n)
    np.testing.assert_allclose(shifted, result)


def test_erfinv_inverts_erf() -> None:
    x = np.array([-3.0, -0.5, 0.0, 1e-8, 2.0])
    (back,) = evaluate("aten.erfinv.default", np.array([math.erf(v) for v in x]))
    np.testing.assert_allclose(back, x, rtol=1e-9)


@pytest.mark.parametrize("periodic", [True, False])
def test_hann_window(periodic: bool) -> None:
    (window,) = evaluate("aten.hann_window.periodic", window_length=8, periodic=periodic)
    count = 8 if periodic else 7
    np.testing.assert_allclose(window, np.sin(np.pi * np.arange(8) / count) ** 2, atol=1e-6)
