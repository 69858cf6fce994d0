"""Products of integers and complex numbers against NumPy."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_int32, c_int64, c_void_p

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[np.generic]
EXACT = {
    "i8": np.int8,
    "u8": np.uint8,
    "i16": np.int16,
    "u16": np.uint16,
    "i32": np.int32,
    "u32": np.uint32,
    "i64": np.int64,
    "u64": np.uint64,
    "c64": np.complex64,
    "c128": np.complex128,
}


class Axis(Structure):
    _fields_ = [(name, c_int64) for name in ("size", "a", "b", "c")]


class Product(Structure):
    _fields_ = [
        *((name, c_int64) for name in "mnk"),
        ("a", c_void_p),
        ("a_row", c_int64),
        ("a_col", c_int64),
        ("b", c_void_p),
        ("b_row", c_int64),
        ("b_col", c_int64),
        ("batch_rank", c_int32),
        ("batch_axes", POINTER(Axis)),
        ("c", c_void_p),
        ("c_row", c_int64),
        ("epilogue", c_void_p),
        ("epilogue_context", c_void_p),
    ]


def random(shape: tuple[int, ...], dtype: type, seed: int) -> Array:
    generator = np.random.default_rng(seed + sum(shape))
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    values = generator.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        values = values + 1j * generator.standard_normal(shape)
    return values.astype(dtype)


def agree(got: Array, want: Array) -> bool:
    if np.issubdtype(want.dtype, np.integer):
        return bool((got == want).all())
    tolerance = 1e-5 if want.dtype in (np.complex64, np.float32) else 1e-12
    return bool(np.abs(got - want).max(initial=0) <= tolerance * (1 + np.abs(want).max(initial=0)))


def strides(x: Array) -> list[int]:
    return [s // x.itemsize for s in x.strides]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", EXACT)
def test_exact_product(kernels: ctypes.CDLL, name: str, threads: int) -> None:
    dtype = EXACT[name]
    for m, n, k in [(1, 1, 1), (5, 17, 9), (7, 32, 0), (4, 40, 33)]:
        a = np.swapaxes(random((3, k, m), dtype, 1), 1, 2)
        b = random((1, k, n), dtype, 2)
        c = np.zeros((3, m, n), dtype)
        axis = Axis(3, strides(a)[0], 0, m * n)
        args = Product(
            m,
            n,
            k,
            a.ctypes.data,
            *strides(a)[1:],
            b.ctypes.data,
            *strides(b)[1:],
            1,
            ctypes.pointer(axis),
        )
        args.c, args.c_row = c.ctypes.data, n
        size = getattr(kernels, f"test_gemm_{name}_scratch")
        size.restype = c_int64
        scratch = np.zeros(size(*map(c_int64, (3, m, n, k)), 0, threads) + 64, np.uint8)
        getattr(kernels, f"test_gemm_{name}")(byref(args), threads, c_void_p(scratch.ctypes.data))
        assert agree(c, a @ b)
