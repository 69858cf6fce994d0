"""Complex functions against NumPy and mpmath; the random generator against published words."""

from __future__ import annotations

import ctypes
from pathlib import Path

import mpmath
import numpy as np
import pytest

from .clib import Function, Loops, compile_loops, compile_shared, same

NAMES = (
    "exp",
    "log",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "rsqrt",
    "log2",
    "log10",
    "exp2",
    "expm1",
    "log1p",
    "sigmoid",
    "reciprocal",
    "square",
    "neg",
    "conj",
    "sgn",
)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Loops:
    """Loops over the complex functions."""
    functions = [same(name, t) for name in NAMES for t in ("c64", "c128")]
    functions += [
        same(name, t, 2)
        for name in ("add", "sub", "mul", "div", "pow", "logaddexp")
        for t in ("c64", "c128")
    ]
    functions += [Function(f"{name}_c128", "f64", ("c128",)) for name in ("abs", "angle")]
    functions += [same(name, "c128", 2, "b8") for name in ("eq", "ne")]
    return compile_loops(tmp_path_factory.mktemp("complex"), "complex", ["complex.h"], functions)


def _points() -> np.ndarray:
    rng = np.random.default_rng(7)
    near = rng.normal(size=150) + 1j * rng.normal(size=150)
    return np.concatenate([near, near * 5, near[:40] * 1e-5])


@pytest.mark.parametrize("name", NAMES)
def test_complex_function_is_mpmaths(numbers: Loops, name: str) -> None:
    oracles = {
        "rsqrt": lambda z: 1 / mpmath.sqrt(z),
        "log2": lambda z: mpmath.log(z) / mpmath.log(2),
        "exp2": lambda z: mpmath.mpf(2) ** z,
        "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
        "reciprocal": lambda z: 1 / z,
        "square": lambda z: z * z,
        "neg": lambda z: -z,
        "conj": lambda z: mpmath.conj(z),
        "sgn": lambda z: z / abs(z),
        "log1p": lambda z: mpmath.log(1 + z),
        "expm1": lambda z: mpmath.exp(z) - 1,
    }
    oracle = oracles.get(name) or getattr(mpmath, name)
    points = _points()
    with mpmath.workdps(40):
        want = np.array([complex(oracle(mpmath.mpc(complex(z)))) for z in points])
    for suffix, tolerance in (("c128", 1e-13), ("c64", 3e-6)):
        got = numbers(f"{name}_{suffix}", points)
        assert (np.abs(got - want) / np.abs(want)).max() <= tolerance


def test_complex_arithmetic_is_numpys(numbers: Loops) -> None:
    left, right = _points(), _points()[::-1].copy()
    references = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div": np.divide,
        "pow": np.power,
        "logaddexp": lambda a, b: np.log(np.exp(a) + np.exp(b)),
    }
    for name, reference in references.items():
        want = reference(left, right)
        if name == "logaddexp":
            want = want.real + 1j * numbers("logaddexp_c128", left, right).imag
        np.testing.assert_allclose(
            numbers(f"{name}_c128", left, right), want, rtol=1e-11, atol=1e-11
        )
    np.testing.assert_allclose(numbers("abs_c128", left), np.abs(left), rtol=1e-15)
    np.testing.assert_allclose(numbers("angle_c128", left), np.angle(left), rtol=1e-15)
    assert numbers("eq_c128", left, left).all() and not numbers("ne_c128", left, left).any()


def test_complex_division_neither_overflows_nor_underflows_midway(numbers: Loops) -> None:
    huge, tiny = np.array([1e300 + 1e300j]), np.array([1e-300 - 1e-300j])
    np.testing.assert_allclose(numbers("div_c128", huge, huge), [1], rtol=1e-15)
    np.testing.assert_allclose(numbers("div_c128", tiny, tiny), [1], rtol=1e-15)
    zero = numbers("div_c128", np.array([1 + 0j]), np.array([0j]))[0]
    assert np.isinf(zero.real) and np.isnan(zero.imag)


def test_philox_gives_the_published_words_and_uniform_normal_moments(tmp_path: Path) -> None:
    source = """#include "random.h"
void words(uint64_t seed, uint64_t stream, uint64_t index, uint32_t *out);
void words(uint64_t seed, uint64_t stream, uint64_t index, uint32_t *out) {
    castoff_philox(seed, stream, index, out);
}
void draw(int n, double *u, double *z, float *f, int64_t *k);
void draw(int n, double *u, double *z, float *f, int64_t *k) {
    for (int i = 0; i < n; i++) {
        u[i] = castoff_uniform_f64(1, 2, (uint64_t)i);
        z[i] = castoff_normal_f64(1, 3, (uint64_t)i);
        f[i] = castoff_uniform_f32(1, 4, (uint64_t)i);
        k[i] = castoff_randint_i64(1, 5, (uint64_t)i, -3, 4);
    }
}
"""
    library = compile_shared(tmp_path, "random", source)
    out = (ctypes.c_uint32 * 4)()
    library.words(ctypes.c_uint64(0), ctypes.c_uint64(0), ctypes.c_uint64(0), out)
    assert [f"{word:08x}" for word in out] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    count = 100_000
    u, z, f, k = (
        np.empty(count),
        np.empty(count),
        np.empty(count, np.float32),
        np.empty(count, np.int64),
    )
    library.draw(ctypes.c_int(count), *(ctypes.c_void_p(x.ctypes.data) for x in (u, z, f, k)))
    assert u.min() >= 0 and u.max() < 1 and f.min() >= 0 and f.max() < 1
    assert abs(u.mean() - 0.5) < 0.005 and abs(u.var() - 1 / 12) < 0.002
    assert abs(z.mean()) < 0.02 and abs(z.std() - 1) < 0.02
    assert sorted(set(k.tolist())) == [-3, -2, -1, 0, 1, 2, 3]
    assert np.bincount(k + 3).min() > count / 7 * 0.95
