"""Products with weights in int8 and int4, against NumPy in float64 with the weights decoded."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_int32, c_int64, c_void_p

import ml_dtypes
import numpy as np
import pytest

from castoff.compiler.lowering.coding import GROUP, Coded, Coding, encode, relative_error

from .test_gemm import GUARD, Array, Output, aligned, random

BF16 = ml_dtypes.bfloat16
SHAPES = [
    (1, 40, 96), (1, 64, 768), (1, 129, 65), (2, 70, 131), (3, 16, 64), (7, 100, 200), (8, 33, 300),
    (9, 40, 97), (40, 70, 130), (33, 200, 512),
]  # fmt: skip
CODINGS = {"int8": lambda k: Coding(8, k), "int4": lambda k: Coding(4, GROUP)}


class Args(ctypes.Structure):
    _fields_ = [
        ("m", c_int64),
        ("n", c_int64),
        ("k", c_int64),
        ("a", c_void_p),
        ("a_row", c_int64),
        ("a_col", c_int64),
        ("a_from", c_int32),
        ("bits", c_int32),
        ("narrow", c_int32),
        ("codes", c_void_p),
        ("group", c_int64),
        ("scales", c_void_p),
        ("c", c_void_p),
        ("c_row", c_int64),
        ("bias_row", c_void_p),
        ("bias_col", c_void_p),
        ("relu", c_int32),
        ("epilogue", c_void_p),
        ("epilogue_context", c_void_p),
    ]


def multiply(
    kernels: ctypes.CDLL,
    a: Array,
    coded: Coded,
    *,
    narrow: bool = False,
    bias: Array | None = None,
    relu: bool = False,
    epilogue: bool = False,
    threads: int = 1,
) -> Array:
    """a times the coded matrix, by the kernel."""
    m, k = a.shape
    n = coded.codes.shape[1]
    codes, scales = coded.packed_codes(), coded.packed_scales()
    assert codes.nbytes == coded.coding.code_bytes(k, n)
    assert scales.size == coded.coding.scale_count(k, n)
    out = aligned(m * n + GUARD, np.float32)
    out[:] = 77
    where = Output(out.ctypes.data, m, n)
    args = Args(
        m=m, n=n, k=k, a=a.ctypes.data, a_row=a.strides[0] // a.itemsize,
        a_col=a.strides[1] // a.itemsize, a_from=a.dtype == np.float32, bits=coded.coding.bits,
        narrow=narrow, codes=codes.ctypes.data, group=coded.coding.group, scales=scales.ctypes.data,
        c_row=n, relu=relu,
    )  # fmt: skip
    if bias is not None:
        args.bias_col = bias.ctypes.data
    if epilogue:
        args.epilogue = ctypes.cast(kernels.test_epilogue_f32, c_void_p).value
        args.epilogue_context = ctypes.addressof(where)
    else:
        args.c = out.ctypes.data
    scratch_size = kernels.test_gemm_coded_scratch
    scratch_size.restype = c_int64
    size = scratch_size(*map(c_int64, (1, m, n, k)), 1, threads)
    scratch = aligned(size + GUARD, np.uint8)
    scratch[:] = 0xFF
    kernels.test_gemm_coded(byref(args), threads, c_void_p(scratch.ctypes.data))
    assert (scratch[size:] == 0xFF).all(), "wrote past the scratch memory"
    assert (out[m * n :] == 77).all(), "wrote past the output"
    return out[: m * n].reshape(m, n)


def check(got: Array, a: Array, coded: Coded, narrow: bool, extra: Array | float = 0.0) -> None:
    wide, weight = a.astype(np.float64), coded.decoded().astype(np.float64)
    bound = np.abs(wide) @ np.abs(weight) + np.abs(extra) + 1e-30
    tolerance = 2.0**-8 if narrow else 4e-6 * max(1, a.shape[1] ** 0.5 / 8)
    # 4 bits: the 8 that codes are raised by is taken away after summing.
    raised = np.abs(wide).sum(1, keepdims=True) * 8 * np.abs(coded.scales).max(0)
    assert (np.abs(got - (wide @ weight + extra)) <= tolerance * bound + 1e-6 * raised).all()


@pytest.mark.parametrize("narrow", [False, True], ids=["f32", "bf16"])
@pytest.mark.parametrize("name", CODINGS)
def test_products_of_every_height(kernels: ctypes.CDLL, name: str, narrow: bool) -> None:
    for m, n, k in SHAPES:
        coded = encode(random((k, n), np.float32, 1), CODINGS[name](k))
        a = random((m, k), np.float32)
        for operand in (a, a.astype(BF16), np.asfortranarray(a)):
            if narrow or operand.dtype == np.float32:
                got = multiply(kernels, operand, coded, narrow=narrow, threads=2)
                check(got, operand, coded, narrow)


@pytest.mark.parametrize("name", CODINGS)
@pytest.mark.parametrize("m", [1, 30])
def test_bias_relu_and_epilogue(kernels: ctypes.CDLL, name: str, m: int) -> None:
    k, n = 200, 75
    coded = encode(random((k, n), np.float32, 1), CODINGS[name](k))
    a, bias = random((m, k), np.float32), random((n,), np.float32, 2)
    biased = multiply(kernels, a, coded, bias=bias)
    check(biased, a, coded, False, bias.astype(np.float64))
    rectified = multiply(kernels, a, coded, bias=bias, relu=True)
    assert np.array_equal(rectified, np.maximum(biased, 0))
    check((multiply(kernels, a, coded, epilogue=True) - 1) / 2, a, coded, False)


@pytest.mark.parametrize("narrow", [False, True], ids=["f32", "bf16"])
@pytest.mark.parametrize("name", CODINGS)
@pytest.mark.parametrize("shape", [(1, 1000, 300), (5, 300, 130), (70, 300, 130)])
def test_same_bits_for_any_number_of_threads(
    kernels: ctypes.CDLL, name: str, shape: tuple[int, int, int], narrow: bool
) -> None:
    m, n, k = shape
    coded = encode(random((k, n), np.float32, 1), CODINGS[name](k))
    a = random((m, k), np.float32)
    alone = multiply(kernels, a, coded, narrow=narrow).tobytes()
    for threads in (2, 3, 16):
        assert multiply(kernels, a, coded, narrow=narrow, threads=threads).tobytes() == alone


# Rounding to steps of s is off by s / sqrt(12) on average; the largest of 300 normal numbers is about 3, of 64
# about 2.4, so that steps are 3 / 127 and 2.4 / 7.5: errors of 0.0068 and 0.092.
@pytest.mark.parametrize(("name", "most"), [("int8", 0.0075), ("int4", 0.1)])
def test_codes_are_near_what_they_stand_for(name: str, most: float) -> None:
    weight = random((300, 70), np.float32)
    assert relative_error(weight, encode(weight, CODINGS[name](300))) < most
    weight[:, 3], weight[7, 4] = 0, 100
    coded = encode(weight, CODINGS[name](300))
    assert (coded.decoded()[:, 3] == 0).all()
    assert abs(coded.decoded()[7, 4] - 100) < 1e-3
    step = np.abs(np.repeat(coded.scales, coded.coding.group, 0)[:300])
    # Half a step, but for what 4 bits cut off on the side where they have one code less.
    assert (np.abs(coded.decoded() - weight) <= step * (0.501 if name == "int8" else 1.001)).all()
