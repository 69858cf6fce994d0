"""Convolution kernels against direct loops in float64."""

from __future__ import annotations

import ctypes
from ctypes import Structure, byref, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from itertools import product

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from castoff.compiler.lowering.packing import pack_conv_weight, pack_conv_winograd

Array = NDArray[np.generic]
Triple = c_int64 * 3
GUARD = 64
HALF = {"bf16": ml_dtypes.bfloat16, "f16": np.float16}


def args_type(number: type[ctypes.c_float | ctypes.c_double]) -> type[Structure]:
    """The arguments of a convolution whose elements are these."""

    class Args(Structure):
        _fields_ = [
            *((name, c_int64) for name in ("batch", "groups", "in_channels", "out_channels")),
            *((name, Triple) for name in ("in_", "out", "kernel", "stride", "dilation", "padding")),
            ("x", c_void_p),
            ("x_batch", c_int64),
            ("x_space", Triple),
            ("weight", c_void_p),
            ("weight_packed", c_void_p),
            ("y", c_void_p),
            ("y_batch", c_int64),
            ("y_pixel", c_int64),
            ("bias", c_void_p),
            ("is_bounded", c_int32),
            ("low", number),
            ("high", number),
            ("epilogue", c_void_p),
            ("epilogue_context", c_void_p),
        ]

    return Args


ARGS = {"f64": args_type(ctypes.c_double), "f32": args_type(ctypes.c_float)}


class Output(Structure):
    _fields_ = [("out", c_void_p), ("rows", c_int64), ("cols", c_int64)]


@dataclass(frozen=True, slots=True)
class Case:
    batch: int
    in_channels: int
    out_channels: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def rank(self) -> int:
        return len(self.size)

    def out(self) -> tuple[int, ...]:
        return tuple(
            (s + 2 * self.padding - self.dilation * (k - 1) - 1) // self.stride + 1
            for s, k in zip(self.size, self.kernel, strict=True)
        )


CASES = {
    "1x1": Case(2, 5, 7, (6, 6), (1, 1)),
    "1x1-wide": Case(1, 64, 96, (9, 31), (1, 1)),
    "1x1-stride-2": Case(1, 20, 40, (9, 33), (1, 1), stride=2),
    "3x3": Case(1, 3, 8, (8, 8), (3, 3), padding=1),
    "3x3-wide": Case(1, 16, 33, (5, 56), (3, 3), padding=1),
    "3x3-tiny": Case(3, 40, 70, (7, 7), (3, 3), padding=1),
    "3x3-stride-2": Case(2, 20, 34, (15, 70), (3, 3), stride=2, padding=1),
    "3x3-stride-3": Case(1, 6, 5, (11, 40), (3, 3), stride=3, padding=2),
    "3x3-dilated": Case(1, 8, 8, (12, 21), (3, 3), padding=2, dilation=2),
    "7x7-stem": Case(1, 3, 64, (31, 40), (7, 7), stride=2, padding=3),
    "padding-past-the-kernel": Case(1, 4, 4, (3, 3), (2, 2), padding=4),
    "groups": Case(2, 12, 18, (7, 9), (3, 3), padding=1, groups=3),
    "groups-of-4": Case(1, 32, 32, (10, 20), (3, 3), padding=1, groups=8),
    "depthwise": Case(2, 9, 9, (11, 30), (3, 3), padding=1, groups=9),
    "depthwise-large": Case(1, 3, 3, (40, 37), (3, 3), padding=1, groups=3),
    "depthwise-5x5-stride-2": Case(1, 6, 6, (14, 14), (5, 5), stride=2, padding=2, groups=6),
    "depthwise-multiplier": Case(2, 4, 12, (7, 7), (3, 3), padding=1, groups=4),
    "depthwise-dilated": Case(1, 4, 4, (9, 40), (3, 3), padding=2, dilation=2, groups=4),
    "depthwise-lines": Case(2, 48, 48, (11, 30), (3, 3), padding=1, groups=48),
    "depthwise-lines-tiny": Case(2, 96, 96, (7, 7), (3, 3), padding=1, groups=96),
    "depthwise-lines-long": Case(1, 16, 16, (5, 300), (3, 3), padding=1, groups=16),
    "depthwise-lines-stride-2": Case(1, 80, 80, (15, 22), (3, 3), stride=2, padding=1, groups=80),
    "depthwise-lines-odd": Case(1, 48, 48, (8, 13), (3, 3), stride=2, padding=1, groups=48),
    "depthwise-lines-unpadded": Case(2, 16, 16, (9, 21), (3, 3), groups=16),
    "depthwise-padded-by-two": Case(1, 16, 16, (9, 13), (3, 3), padding=2, groups=16),
    "one-channel": Case(2, 1, 16, (12, 12), (3, 3), padding=1),
    "1d": Case(2, 6, 10, (50,), (5,), padding=2),
    "1d-long": Case(1, 80, 64, (300,), (3,), padding=1, stride=2),
    "1d-depthwise": Case(1, 8, 8, (100,), (4,), padding=3, groups=8),
    "3d": Case(1, 4, 6, (5, 6, 7), (3, 2, 3), padding=1),
    "3d-stride": Case(2, 3, 5, (7, 8, 9), (2, 3, 1), stride=2, padding=1),
    "3d-kernel-2": Case(2, 3, 5, (3, 4, 5), (2, 3, 2), stride=2, padding=1),
    "3d-depthwise": Case(1, 3, 3, (5, 6, 20), (3, 3, 3), padding=1, groups=3),
    "1x1-lines-on-one-set": Case(1, 1024, 40, (5, 5), (1, 1)),
    "1x1-stride-2-lines-on-one-set": Case(2, 512, 40, (5, 7), (1, 1), stride=2),
    "few-channels-unpadded": Case(2, 3, 20, (9, 21), (5, 5), stride=2),
    "one-to-one": Case(2, 1, 1, (9, 21), (3, 3)),
    "long-sum": Case(1, 520, 40, (4, 5), (3, 3), padding=1),
    "long-sum-of-channels": Case(1, 2100, 41, (7, 7), (1, 1)),
    "long-sum-of-groups": Case(1, 600, 66, (3, 7), (3, 3), padding=1, groups=2),
    "column": Case(1, 8, 8, (40, 1), (3, 1), padding=0),
    "kernel-as-large-as-the-image": Case(2, 3, 20, (8, 8), (8, 8), stride=8),
}


def aligned(count: int, dtype: type) -> Array:
    size = count * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype)


def convolve_reference(case: Case, x: Array, weight: Array) -> Array:
    """The definition, kernel point by kernel point, in float64."""
    pad = [(0, 0), (0, 0)] + [(case.padding, case.padding)] * case.rank
    padded = np.pad(x.astype(np.float64), pad)
    out = case.out()
    y = np.zeros((case.batch, case.groups, case.out_channels // case.groups, *out))
    wide = weight.astype(np.float64).reshape(
        case.groups, case.out_channels // case.groups, -1, *case.kernel
    )
    for point in product(*map(range, case.kernel)):
        window = tuple(
            slice(p * case.dilation, p * case.dilation + (o - 1) * case.stride + 1, case.stride)
            for p, o in zip(point, out, strict=True)
        )
        part = padded[(slice(None), slice(None), *window)]
        part = part.reshape(case.batch, case.groups, -1, *out)
        y += np.einsum("bgi...,goi->bgo...", part, wide[(slice(None),) * 3 + point])
    return y.reshape(case.batch, case.out_channels, *out)


def three(values: tuple[int, ...], fill: int) -> Triple:
    return Triple(*((fill,) * (3 - len(values)) + tuple(values)))


def args_of(case: Case, x: Array, kind: type[Structure]) -> Structure:
    """The arguments of a case but for weight, output and epilogue; x is [N, *size, C]."""
    out = case.out()
    strides = [s // x.itemsize for s in x.strides]
    return kind(
        batch=case.batch,
        groups=case.groups,
        in_channels=case.in_channels,
        out_channels=case.out_channels,
        in_=three(case.size, 1),
        out=three(out, 1),
        kernel=three(case.kernel, 1),
        stride=three((case.stride,) * case.rank, 1),
        dilation=three((case.dilation,) * case.rank, 1),
        padding=three((case.padding,) * case.rank, 0),
        x=x.ctypes.data,
        x_batch=strides[0],
        x_space=three(tuple(strides[1:-1]), 0),
        y_batch=case.out_channels * int(np.prod(out)),
        y_pixel=case.out_channels,
    )


def call(kernels: ctypes.CDLL, name: str, args: Structure, threads: int) -> None:
    """Runs a kernel with scratch memory that it must not write past."""
    scratch_size = getattr(kernels, f"test_conv_{name}_scratch")
    scratch_size.restype = c_int64
    size = scratch_size(byref(args), threads)
    scratch = aligned(size + GUARD, np.uint8)
    scratch[:] = 0xFF
    getattr(kernels, f"test_conv_{name}")(byref(args), threads, c_void_p(scratch.ctypes.data))
    assert (scratch[size:] == 0xFF).all(), "wrote past the scratch memory"


def run(
    kernels: ctypes.CDLL,
    case: Case,
    x: Array,
    weight: Array,
    *,
    name: str = "f32",
    packed: bool = True,
    bias: Array | None = None,
    bounds: tuple[float, float] | None = None,
    epilogue: bool = False,
    threads: int = 1,
) -> Array:
    """The convolution of x [N, *size, C]: [N, O, *out]."""
    out = case.out()
    pixels = int(np.prod(out))
    total = case.batch * case.out_channels * pixels
    dtype = np.float64 if name == "f64" else np.float32
    y = aligned(total + GUARD, dtype)
    y[:] = 77
    where = Output(y.ctypes.data, pixels, case.out_channels)
    args = args_of(case, x, ARGS.get(name, ARGS["f32"]))
    if bounds is not None:
        args.is_bounded, args.low, args.high = 1, *bounds
    if packed:
        panels = (
            pack_conv_winograd(weight)
            if name == "winograd_f32"
            else pack_conv_weight(weight.astype(dtype), case.groups)
        )
        storage = aligned(panels.size, dtype)
        storage[:] = panels
        args.weight_packed = storage.ctypes.data
    else:
        args.weight = weight.ctypes.data
    if bias is not None:
        args.bias = bias.ctypes.data
    if epilogue:
        entry = getattr(kernels, f"test_epilogue_{'f64' if name == 'f64' else 'f32'}")
        args.epilogue = ctypes.cast(entry, c_void_p).value
        args.epilogue_context = ctypes.addressof(where)
    else:
        args.y = y.ctypes.data
    call(kernels, name, args, threads)
    assert (y[total:] == 77).all(), "wrote past the output"
    return np.moveaxis(y[:total].reshape(case.batch, *out, case.out_channels), -1, 1)


def operands(case: Case) -> tuple[Array, Array, Array]:
    random = np.random.default_rng(case.in_channels)
    x = random.standard_normal((case.batch, case.in_channels, *case.size)).astype(np.float32)
    shape = (case.out_channels, case.in_channels // case.groups, *case.kernel)
    weight = random.standard_normal(shape).astype(np.float32)
    return x, weight, random.standard_normal(case.out_channels).astype(np.float32)


def channels_last(x: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def close(got: Array, want: Array, size: float | None = None) -> bool:
    """Whether the answers agree, for sums of the given size."""
    size = np.abs(want).max(initial=0) if size is None else size
    return bool(np.abs(got - want).max(initial=0) <= 8e-6 * (size + 1))


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "runtime"])
@pytest.mark.parametrize("name", CASES)
def test_convolution(kernels: ctypes.CDLL, name: str, packed: bool) -> None:
    case = CASES[name]
    x, weight, bias = operands(case)
    want = convolve_reference(case, x, weight)
    last = channels_last(x)
    assert close(run(kernels, case, last, weight, packed=packed), want)
    biased = want + bias.reshape((-1,) + (1,) * case.rank)
    for low, high in ((0, np.inf), (-1, 2)):
        got = run(kernels, case, last, weight, packed=packed, bias=bias, bounds=(low, high))
        assert close(got, np.clip(biased, low, high), np.abs(biased).max(initial=0))
    assert close(run(kernels, case, last, weight, packed=packed, epilogue=True), 2 * want + 1)


def test_bounds_let_nan_pass(kernels: ctypes.CDLL) -> None:
    for name in ("1x1", "depthwise"):
        case = CASES[name]
        x, weight, _ = operands(case)
        x[0, 0, 0, 0] = np.nan
        got = run(kernels, case, channels_last(x), weight, bounds=(0, 6))
        assert np.isnan(got[0, 0, 0, 0]) and (got[1] >= 0).all() and (got[1] <= 6).all()


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "runtime"])
@pytest.mark.parametrize(
    "case_name", ["groups", "3x3-stride-2", "depthwise", "depthwise-lines", "3d", "1x1-wide"]
)
def test_convolution_of_doubles(kernels: ctypes.CDLL, case_name: str, packed: bool) -> None:
    case = CASES[case_name]
    x, weight, bias = (array.astype(np.float64) for array in operands(case))
    want = convolve_reference(case, x, weight)
    last, options = channels_last(x), {"packed": packed, "threads": 2}
    got = run(kernels, case, last, weight, name="f64", bias=bias, bounds=(-3, 2), **options)
    wanted = np.clip(want + bias.reshape((-1,) + (1,) * case.rank), -3, 2)
    np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "runtime"])
@pytest.mark.parametrize("case_name", ["groups", "3x3-stride-2", "depthwise", "3d"])
@pytest.mark.parametrize("name", HALF)
def test_convolution_of_halves(
    kernels: ctypes.CDLL, name: str, case_name: str, packed: bool
) -> None:
    case = CASES[case_name]
    x, weight, bias = operands(case)
    x, weight = x.astype(HALF[name]), weight.astype(HALF[name])
    want = convolve_reference(case, x, weight) + bias.reshape((-1,) + (1,) * case.rank)
    last = channels_last(x)
    got = run(kernels, case, last, weight, name=name, packed=packed, bias=bias, threads=2)
    assert close(got, want)


@pytest.mark.parametrize("name", CASES)
def test_same_bits_for_any_number_of_threads(kernels: ctypes.CDLL, name: str) -> None:
    case = CASES[name]
    x, weight, _ = operands(case)
    last = channels_last(x)
    alone = run(kernels, case, last, weight)
    for threads in (2, 5, 16):
        assert run(kernels, case, last, weight, threads=threads).tobytes() == alone.tobytes()


@pytest.mark.parametrize("name", CASES)
def test_images_that_are_parts_of_larger_ones(kernels: ctypes.CDLL, name: str) -> None:
    case = CASES[name]
    x, weight, _ = operands(case)
    wide = np.full(
        (case.batch + 1, *(size + 3 for size in case.size), case.in_channels + 5), np.nan
    )
    part = wide.astype(np.float32)[tuple(slice(1, 1 + n) for n in (case.batch, *case.size))]
    part = part[..., 2 : 2 + case.in_channels]
    part[...] = channels_last(x)
    assert close(run(kernels, case, part, weight), convolve_reference(case, x, weight))


WINOGRAD = {
    "padded": Case(2, 32, 48, (13, 30), (3, 3), padding=1),
    "unpadded": Case(1, 16, 80, (8, 9), (3, 3)),
    "far-padded": Case(1, 48, 16, (5, 6), (3, 3), padding=2),
    "wide-output": Case(1, 16, 160, (9, 9), (3, 3), padding=1),
    "large": Case(1, 64, 64, (56, 56), (3, 3), padding=1),
}


@pytest.mark.parametrize("name", WINOGRAD)
def test_convolution_by_transforms(kernels: ctypes.CDLL, name: str) -> None:
    case = WINOGRAD[name]
    x, weight, bias = operands(case)
    want = convolve_reference(case, x, weight)
    last, size = channels_last(x), np.abs(want).max()
    scheme = {"name": "winograd_f32"}
    alone = run(kernels, case, last, weight, **scheme)
    assert close(alone, want)
    biased = want + bias.reshape(-1, 1, 1)
    got = run(kernels, case, last, weight, bias=bias, bounds=(-1, 6), **scheme)
    assert close(got, np.clip(biased, -1, 6), size)
    assert close(run(kernels, case, last, weight, epilogue=True, **scheme), 2 * want + 1)
    for threads in (2, 5):
        again = run(kernels, case, last, weight, threads=threads, **scheme)
        assert again.tobytes() == alone.tobytes()
