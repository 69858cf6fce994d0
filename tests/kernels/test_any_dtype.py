"""Products and convolutions of integers, complex numbers, doubles and halves against NumPy."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_int32, c_int64, c_void_p

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from castoff.compiler.lowering.packing import pack_conv_weight

from . import test_conv

Array = NDArray[np.generic]
Triple = c_int64 * 3
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
HALF = {"bf16": ml_dtypes.bfloat16, "f16": np.float16}


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


SIZES = [(name, c_int64) for name in ("batch", "groups", "in_channels", "out_channels")] + [
    (name, Triple) for name in ("in_", "out", "kernel", "stride", "dilation", "padding")
]
INPUT = [("x", c_void_p), ("x_batch", c_int64), ("x_channel", c_int64), ("x_space", Triple)]
OUTPUT = [("y", c_void_p), ("y_batch", c_int64), ("y_channel", c_int64)]
EPILOGUE = [("epilogue", c_void_p), ("epilogue_context", c_void_p)]


class Convolution(Structure):
    _fields_ = [*SIZES, *INPUT, ("weight", c_void_p), *OUTPUT, *EPILOGUE]


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


def convolve(case: test_conv.Case, x: Array, weight: Array, dtype: type, transposed: bool) -> Array:
    """The reference, exact for integers: modulo 2^64 for every width, then cut to the type."""
    wide = np.dtype(np.uint64) if np.issubdtype(dtype, np.integer) else np.dtype(np.complex128)
    out = case.transposed_out() if transposed else case.out()
    y = np.zeros((case.batch, case.out_channels, *out), wide)
    grouped_in, grouped_out = case.in_channels // case.groups, case.out_channels // case.groups
    x, weight = x.astype(wide), weight.astype(wide)
    for point in np.ndindex(*case.kernel):
        for position in np.ndindex(*(case.size if transposed else out)):
            other = tuple(
                p * case.stride + k * case.dilation - case.padding
                for p, k in zip(position, point, strict=True)
            )
            limits = out if transposed else case.size
            if any(o < 0 or o >= s for o, s in zip(other, limits, strict=True)):
                continue
            source, target = (position, other) if transposed else (other, position)
            for group in range(case.groups):
                ins = slice(group * grouped_in, (group + 1) * grouped_in)
                outs = slice(group * grouped_out, (group + 1) * grouped_out)
                matrix = (
                    weight[(ins, slice(None), *point)].T
                    if transposed
                    else weight[(outs, slice(None), *point)]
                )
                y[(slice(None), outs, *target)] += x[(slice(None), ins, *source)] @ matrix.T
    if np.issubdtype(dtype, np.floating):
        return y.real.astype(dtype)
    return y.astype(dtype)


def args_of(kind: type, case: test_conv.Case, x: Array, out: tuple[int, ...]) -> Structure:
    pixels = int(np.prod(out))
    step = strides(x)
    return kind(
        batch=case.batch,
        groups=case.groups,
        in_channels=case.in_channels,
        out_channels=case.out_channels,
        in_=test_conv.three(case.size, 1),
        out=test_conv.three(out, 1),
        kernel=test_conv.three(case.kernel, 1),
        stride=test_conv.three((case.stride,) * case.rank, 1),
        dilation=test_conv.three((case.dilation,) * case.rank, 1),
        padding=test_conv.three((case.padding,) * case.rank, 0),
        x=x.ctypes.data,
        x_batch=step[0],
        x_channel=step[1],
        x_space=test_conv.three(tuple(step[2:]), 0),
        y_batch=case.out_channels * pixels,
        y_channel=pixels,
    )


SMALL = ["3x3", "groups", "1d", "3d-kernel-2", "depthwise-multiplier"]


@pytest.mark.parametrize("transposed", [False, True], ids=["plain", "transposed"])
@pytest.mark.parametrize("case_name", SMALL)
@pytest.mark.parametrize("name", ["f64", "i8", "i32", "i64", "c64", "c128"])
def test_convolution_of_any_dtype(
    kernels: ctypes.CDLL, name: str, case_name: str, transposed: bool
) -> None:
    case, dtype = test_conv.CASES[case_name], {**EXACT, "f64": np.float64}[name]
    x = random((case.batch, case.in_channels, *case.size), dtype, 1)
    first, second = case.out_channels, case.in_channels // case.groups
    if transposed:
        first, second = case.in_channels, case.out_channels // case.groups
    weight = random((first, second, *case.kernel), dtype, 2)
    out = case.transposed_out() if transposed else case.out()
    y = np.zeros((case.batch, case.out_channels, *out), dtype)
    args = args_of(Convolution, case, x, out)
    args.weight, args.y = weight.ctypes.data, y.ctypes.data
    getattr(kernels, f"test_conv_{'transposed_' if transposed else ''}{name}")(byref(args), 3)
    assert agree(y, convolve(case, x, weight, dtype, transposed))


@pytest.mark.parametrize("form", ["packed", "runtime", "transposed"])
@pytest.mark.parametrize("name", HALF)
def test_convolution_of_halves(kernels: ctypes.CDLL, name: str, form: str) -> None:
    case = test_conv.CASES["groups"]
    transposed = form == "transposed"
    x, weight, bias = test_conv.operands(case, transposed)
    x, weight = x.astype(HALF[name]), weight.astype(HALF[name])
    reference = test_conv.transposed_reference if transposed else test_conv.convolve_reference
    want = reference(case, x, weight) + bias.reshape(-1, 1, 1)
    y = np.zeros(want.shape, np.float32)
    args = args_of(test_conv.Args, case, x, want.shape[2:])
    panels = np.ascontiguousarray(pack_conv_weight(weight.astype(np.float32), case.groups))
    if form == "packed":
        args.weight_packed = panels.ctypes.data
    else:
        args.weight = weight.ctypes.data
    args.bias, args.y = bias.ctypes.data, y.ctypes.data
    entry = f"test_conv_{'transposed_' if transposed else ''}{name}"
    size = getattr(kernels, f"{entry}_scratch")
    size.restype = c_int64
    scratch = test_conv.aligned(size(byref(args), 2), np.uint8)
    getattr(kernels, entry)(byref(args), 2, c_void_p(scratch.ctypes.data))
    assert test_conv.close(y, want)
