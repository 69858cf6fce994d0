"""Special functions against SciPy and mpmath, and at the edges against what PyTorch gives."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import scipy.special as sp

from .clib import Function, Loops, compile_loops, same

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
INF, NAN = math.inf, math.nan

POLYNOMIALS: dict[str, Callable[..., np.ndarray]] = {
    "chebyshev_polynomial_t": sp.eval_chebyt,
    "chebyshev_polynomial_u": sp.eval_chebyu,
    "shifted_chebyshev_polynomial_t": sp.eval_sh_chebyt,
    "shifted_chebyshev_polynomial_u": sp.eval_sh_chebyu,
    "hermite_polynomial_h": sp.eval_hermite,
    "hermite_polynomial_he": sp.eval_hermitenorm,
    "laguerre_polynomial_l": sp.eval_laguerre,
    "legendre_polynomial_p": sp.eval_legendre,
}
UNARY: dict[str, tuple[Callable[..., np.ndarray], float, float, float]] = {
    # oracle, relative error, range
    "lgamma": (sp.gammaln, 1e-13, -20, 200),
    "digamma": (sp.digamma, 2e-12, -20, 200),
    "erfcx": (sp.erfcx, 2e-14, -20, 100),
    "erfinv": (sp.erfinv, 2e-14, -1, 1),
    "ndtr": (sp.ndtr, 5e-14, -30, 10),
    "ndtri": (sp.ndtri, 1e-11, 0, 1),
    "log_ndtr": (sp.log_ndtr, 2e-14, -100, 10),
    "i0": (sp.i0, 1e-14, -600, 600),
    "i0e": (sp.i0e, 1e-14, -600, 600),
    "i1": (sp.i1, 1e-14, -600, 600),
    "i1e": (sp.i1e, 1e-14, -600, 600),
    "modified_bessel_i0": (sp.i0, 1e-14, -60, 60),
    "modified_bessel_i1": (sp.i1, 1e-14, -60, 60),
    "modified_bessel_k0": (sp.k0, 1e-14, 0, 100),
    "modified_bessel_k1": (sp.k1, 1e-14, 0, 100),
    "scaled_modified_bessel_k0": (sp.k0e, 1e-14, 0, 100),
    "scaled_modified_bessel_k1": (sp.k1e, 1e-14, 0, 100),
    "spherical_bessel_j0": (lambda x: sp.spherical_jn(0, x), 1e-13, 0, 20),
    "entr": (sp.entr, 1e-15, -3, 30),
}
BINARY: dict[str, tuple[Callable[..., np.ndarray], float, float]] = {
    "igamma": (sp.gammainc, 1e-11, 60),
    "igammac": (sp.gammaincc, 1e-11, 60),
    "xlogy": (sp.xlogy, 1e-15, 50),
    "xlog1py": (sp.xlog1py, 1e-15, 50),
}
OTHERS = ("airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "trigamma")


@pytest.fixture(scope="module")
def special(tmp_path_factory: pytest.TempPathFactory) -> Loops:
    """Loops that stop at undefined behaviour."""
    names = (*UNARY, *OTHERS)
    functions = [
        same(name, t)
        for name in names
        for t in ("f32", "f64")
        if (name, t) not in {("trigamma", "f32"), ("erfinv", "f32"), ("ndtr", "f32")}
    ]
    kinds = (
        *POLYNOMIALS,
        "chebyshev_polynomial_v",
        "chebyshev_polynomial_w",
        "shifted_chebyshev_polynomial_v",
        "shifted_chebyshev_polynomial_w",
    )
    functions += [
        same(name, t, 2) for name in (*BINARY, "zeta", *kinds, "logit") for t in ("f32", "f64")
    ]
    functions += [Function(f"polygamma_{t}", t, ("i64", t)) for t in ("f32", "f64")]
    functions += [Function(f"mvlgamma_{t}", t, (t, "i64")) for t in ("f32", "f64")]
    flags = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    return compile_loops(
        tmp_path_factory.mktemp("special"), "special", ["special.h"], functions, *flags
    )


def _assert_close(
    got: np.ndarray, want: np.ndarray, tolerance: float, *arguments: np.ndarray
) -> None:
    error = np.abs(got - want) / np.maximum(np.abs(want), 1e-280)
    error = np.where(got == want, 0, error)
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    assert error[worst] <= tolerance, ([x[worst] for x in arguments], got[worst], want[worst])


@pytest.mark.parametrize("name", UNARY)
def test_function_of_one_argument_is_scipys(special: Loops, name: str) -> None:
    oracle, tolerance, low, high = UNARY[name]
    rng = np.random.default_rng(4)
    points = np.concatenate(
        [rng.uniform(low, high, 4000), rng.uniform(max(low, -3), min(high, 3), 4000)]
    )
    if name in ("lgamma", "digamma"):  # their zeros are ill conditioned for both
        points = points[np.abs(oracle(points)) > 0.01]
    got = special(f"{name}_f64", points)
    _assert_close(got, oracle(points), tolerance, points)
    if name not in ("erfinv", "ndtr"):  # these are functions of math_f32.h
        single = special(f"{name}_f32", points.astype(np.float32))
        want = special(f"{name}_f64", points.astype(np.float32).astype(np.float64)).astype(
            np.float32
        )
        assert np.array_equal(single, want, equal_nan=True)


@pytest.mark.parametrize("name", BINARY)
def test_function_of_two_arguments_is_scipys(special: Loops, name: str) -> None:
    oracle, tolerance, high = BINARY[name]
    rng = np.random.default_rng(5)
    left, right = rng.uniform(0, high, 6000), rng.uniform(0, high, 6000)
    _assert_close(special(f"{name}_f64", left, right), oracle(left, right), tolerance, left, right)


def test_incomplete_gamma_holds_for_tiny_and_huge_shapes(special: Loops) -> None:
    cases = [
        (1e-8, 0.5),
        (0.05, 0.7),
        (1e-3, 1e-5),
        (300, 310),
        (5e4, 5.01e4),
        (2e6, 2.001e6),
        (3e6, 2.999e6),
    ]
    with mpmath.workdps(30):
        for a, x in cases:
            lower = (
                float(mpmath.gammainc(a, 0, x, regularized=True))
                if a < 1e6
                else float(sp.gammainc(a, x))
            )
            upper = (
                float(mpmath.gammainc(a, x, mpmath.inf, regularized=True))
                if a < 1e6
                else float(sp.gammaincc(a, x))
            )
            assert special("igamma_f64", np.array([a]), np.array([x]))[0] == pytest.approx(
                lower, rel=1e-8
            )
            assert special("igammac_f64", np.array([a]), np.array([x]))[0] == pytest.approx(
                upper, rel=1e-8
            )


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("airy_ai", 1e-12),
        ("bessel_j0", 1e-13),
        ("bessel_j1", 1e-13),
        ("bessel_y0", 1e-13),
        ("bessel_y1", 1e-13),
    ],
)
def test_oscillating_function_is_mpmaths(special: Loops, name: str, tolerance: float) -> None:
    oracles = {
        "airy_ai": mpmath.airyai,
        "bessel_j0": mpmath.j0,
        "bessel_j1": mpmath.j1,
        "bessel_y0": lambda x: mpmath.bessely(0, x),
        "bessel_y1": lambda x: mpmath.bessely(1, x),
    }
    low = 0.05 if "_y" in name else -40.0
    points = np.concatenate([np.linspace(low, 40, 161), np.linspace(max(low, -10.6), 10.6, 97)])
    want = np.array([float(oracles[name](mpmath.mpf(float(x)))) for x in points])
    error = np.abs(special(f"{name}_f64", points) - want) / np.maximum(
        np.abs(want), 1e-3 if low < 1 else 0
    )
    if name == "airy_ai":  # decays on the right, where the relative error counts
        error[points > 0] = np.abs(
            special("airy_ai_f64", points[points > 0]) / want[points > 0] - 1
        )
    assert error.max() <= tolerance, points[int(np.argmax(error))]


def test_zeta_and_polygamma_are_mpmaths(special: Loops) -> None:
    orders, points = np.meshgrid(
        [1.01, 1.5, 2, 3, 5.5, 10, 20, 21.5, 50, 150], [0.01, 0.3, 1, 2.5, 9.9, 10, 33, 1e4]
    )
    with mpmath.workdps(400):  # of tiny sums mpmath keeps absolute digits
        want = np.array(
            [
                float(mpmath.zeta(float(x), float(q)))
                for x, q in zip(orders.ravel(), points.ravel(), strict=True)
            ]
        )
    _assert_close(
        special("zeta_f64", orders.ravel(), points.ravel()),
        want,
        1e-13,
        orders.ravel(),
        points.ravel(),
    )
    for n in range(5):
        xs = np.array([-7.3, -0.4, 0.01, 0.5, 1, 3.7, 12, 400])
        want = np.array([float(mpmath.psi(n, float(x))) for x in xs])
        if n > 1:
            xs, want = xs[xs > 0], want[xs > 0]
        _assert_close(special("polygamma_f64", np.full(xs.shape, n), xs), want, 1e-12, xs)


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomial_is_scipys(special: Loops, name: str) -> None:
    rng = np.random.default_rng(6)
    degrees = rng.integers(0, 25, 2000).astype(np.float64)
    x = rng.uniform(-1.1, 1.1, 2000)
    want = POLYNOMIALS[name](degrees.astype(int), x)
    error = np.abs(special(f"{name}_f64", x, degrees) - want) / np.maximum(np.abs(want), 1)
    assert error.max() <= 1e-9
    assert list(special(f"{name}_f64", np.array([0.3, 0.3, 0.3]), np.array([-1.0, -7.0, 0.0]))) == [
        0,
        0,
        1,
    ]


def test_third_and_fourth_chebyshev_kinds_satisfy_their_definition(special: Loops) -> None:
    angle = np.linspace(0.05, 3.0, 60)
    for n in (0, 1, 2, 5, 8, 9, 30):
        degree = np.full(angle.shape, float(n))
        third = np.cos((n + 0.5) * angle) / np.cos(angle / 2)
        fourth = np.sin((n + 0.5) * angle) / np.sin(angle / 2)
        for prefix, x in (("", np.cos(angle)), ("shifted_", (np.cos(angle) + 1) / 2)):
            np.testing.assert_allclose(
                special(f"{prefix}chebyshev_polynomial_v_f64", x, degree),
                third,
                rtol=1e-9,
                atol=1e-9,
            )
            np.testing.assert_allclose(
                special(f"{prefix}chebyshev_polynomial_w_f64", x, degree),
                fourth,
                rtol=1e-9,
                atol=1e-9,
            )


@pytest.mark.parametrize(
    ("name", "arguments", "want"),
    [
        ("digamma", (0.0,), -INF),
        ("digamma", (-0.0,), INF),
        ("digamma", (-3.0,), NAN),
        ("digamma", (INF,), INF),
        ("lgamma", (0.0,), INF),
        ("lgamma", (-2.0,), INF),
        ("lgamma", (-INF,), INF),
        ("zeta", (1.0, 2.0), INF),
        ("zeta", (0.5, 2.0), NAN),
        ("zeta", (3.0, -2.0), INF),
        ("zeta", (2.5, -0.5), NAN),
        ("igamma", (0.0, 0.0), NAN),
        ("igamma", (0.0, 1.0), 1.0),
        ("igamma", (1.0, 0.0), 0.0),
        ("igamma", (-1.0, 1.0), NAN),
        ("igamma", (2.0, INF), 1.0),
        ("igamma", (INF, 2.0), 0.0),
        ("igamma", (INF, INF), NAN),
        ("igammac", (0.0, 1.0), 0.0),
        ("igammac", (1.0, 0.0), 1.0),
        ("igammac", (2.0, INF), 0.0),
        ("igammac", (INF, 2.0), 1.0),
        ("ndtri", (0.0,), -INF),
        ("ndtri", (1.0,), INF),
        ("ndtri", (1.5,), NAN),
        ("ndtri", (0.5,), 0.0),
        ("erfinv", (1.0,), INF),
        ("erfinv", (-1.0,), -INF),
        ("erfinv", (2.0,), NAN),
        ("entr", (0.0,), 0.0),
        ("entr", (-1.0,), -INF),
        ("entr", (NAN,), NAN),
        ("xlogy", (0.0, 0.0), 0.0),
        ("xlogy", (0.0, INF), 0.0),
        ("xlogy", (0.0, NAN), NAN),
        ("xlogy", (1.0, 0.0), -INF),
        ("xlog1py", (0.0, -1.0), 0.0),
        ("xlog1py", (0.0, NAN), NAN),
        ("modified_bessel_k0", (0.0,), INF),
        ("modified_bessel_k0", (-1.0,), NAN),
        ("modified_bessel_k1", (INF,), 0.0),
        ("bessel_y0", (0.0,), -INF),
        ("bessel_y1", (0.0,), -INF),
        ("bessel_y0", (-1.0,), NAN),
        ("spherical_bessel_j0", (INF,), 0.0),
        ("airy_ai", (NAN,), NAN),
        ("erfcx", (-30.0,), INF),
        ("erfcx", (INF,), 0.0),
        ("log_ndtr", (-INF,), -INF),
        ("hermite_polynomial_h", (0.5, 600.0), NAN),
        ("logit", (0.0, -1.0), -INF),
        ("logit", (1.0, -1.0), INF),
        ("logit", (2.0, 0.25), math.log(3)),
    ],
)
def test_edges_are_pytorchs(
    special: Loops, name: str, arguments: tuple[float, ...], want: float
) -> None:
    if name == "log_ndtr" and arguments == (-INF,):
        assert special("log_ndtr_f64", np.array([-1e200]))[0] == -INF
        return
    got = special(f"{name}_f64", *(np.array([x]) for x in arguments))[0]
    assert (math.isnan(got) and math.isnan(want)) or got == pytest.approx(want, rel=1e-15)


def test_multivariate_log_gamma_is_scipys(special: Loops) -> None:
    x = np.linspace(3, 40, 50)
    for p in (1, 2, 5):
        want = np.array([sp.multigammaln(value, p) for value in x])
        np.testing.assert_allclose(
            special("mvlgamma_f64", x, np.full(x.shape, p)), want, rtol=1e-13
        )
