"""Fourier transforms of many lengths, axes and types against NumPy's."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from .clib import compile_shared

SOURCE = """#include "fft.h"
#define SIZES int64_t a, int64_t n, int64_t b
#define EXPORT(s, r, C, T) \\
    void c2c_##s(C *o, const C *x, SIZES, int64_t forward, double scale, void *w); \\
    void c2c_##s(C *o, const C *x, SIZES, int64_t forward, double scale, void *w) { \\
        castoff_fft_##s(o, x, a, n, b, forward, scale, w); } \\
    void r2c_##s(C *o, const T *x, SIZES, int64_t kept, double scale, void *w); \\
    void r2c_##s(C *o, const T *x, SIZES, int64_t kept, double scale, void *w) { \\
        castoff_rfft_##r(o, x, a, n, b, kept, scale, w); } \\
    void c2r_##s(T *o, const C *x, SIZES, double scale, void *w); \\
    void c2r_##s(T *o, const C *x, SIZES, double scale, void *w) { \\
        castoff_irfft_##r(o, x, a, n, b, scale, w); }
EXPORT(c64, f32, castoff_c64, float)
EXPORT(c128, f64, castoff_c128, double)
int64_t scratch_bytes(int64_t n);
int64_t scratch_bytes(int64_t n) { return castoff_fft_scratch_bytes(n); }
"""
LENGTHS = [
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    11,
    12,
    13,
    16,
    29,
    31,
    37,
    41,
    60,
    64,
    74,
    97,
    101,
    128,
    240,
    243,
    1009,
    1024,
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The transforms, exported; they stop at undefined behaviour."""
    flags = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    found = compile_shared(tmp_path_factory.mktemp("fft"), "fft", SOURCE, *flags)
    found.scratch_bytes.restype = ctypes.c_int64
    return found


def _call(
    library: ctypes.CDLL, name: str, out: np.ndarray, x: np.ndarray, length: int, *rest: int | float
) -> None:
    size = library.scratch_bytes(ctypes.c_int64(length))
    scratch = np.full(size + 16, 7, np.uint8)
    offset = -scratch.ctypes.data % 16
    numbers = [
        ctypes.c_int64(v) if isinstance(v, int) else ctypes.c_double(v)
        for v in (x.shape[0], length, x.shape[2], *rest)
    ]
    function = getattr(library, name)
    function(
        ctypes.c_void_p(out.ctypes.data),
        ctypes.c_void_p(x.ctypes.data),
        *numbers,
        ctypes.c_void_p(scratch.ctypes.data + offset),
    )
    assert (scratch[size + offset :] == 7).all(), "wrote past its scratch"


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(("suffix", "tolerance"), [("c64", 5e-7), ("c128", 1e-14)])
def test_transforms_are_numpys(
    library: ctypes.CDLL, length: int, suffix: str, tolerance: float
) -> None:
    rng = np.random.default_rng(length)
    dtype, real = (np.complex64, np.float32) if suffix == "c64" else (np.complex128, np.float64)
    x = (rng.normal(size=(2, length, 3)) + 1j * rng.normal(size=(2, length, 3))).astype(dtype)
    wide = x.astype(np.complex128)
    out = np.empty_like(x)
    for forward, want in ((1, np.fft.fft(wide, axis=1)), (0, np.fft.ifft(wide, axis=1) * length)):
        _call(library, f"c2c_{suffix}", out, x, length, forward, 1.0)
        assert np.abs(out - want).max() <= tolerance * np.abs(want).max()
    kept = length // 2 + 1
    spectrum = np.empty((2, kept, 3), dtype)
    _call(library, f"r2c_{suffix}", spectrum, np.ascontiguousarray(x.real), length, kept, 0.5)
    want = np.fft.rfft(wide.real, axis=1) * 0.5
    assert np.abs(spectrum - want).max() <= tolerance * np.abs(want).max()
    back = np.empty((2, length, 3), real)
    half = np.ascontiguousarray(x[:, :kept])
    _call(library, f"c2r_{suffix}", back, half, length, 1.0 / length)
    want_real = np.fft.irfft(half.astype(np.complex128), length, axis=1)
    assert np.abs(back - want_real).max() <= tolerance * np.abs(want_real).max()


def test_a_transform_may_overwrite_its_input(library: ctypes.CDLL) -> None:
    x = np.random.default_rng(1).normal(size=(1, 24, 2)) + 0j
    want = np.fft.fft(x, axis=1)
    _call(library, "c2c_c128", x, x, 24, 1, 1.0)
    np.testing.assert_allclose(x, want, atol=1e-12)
