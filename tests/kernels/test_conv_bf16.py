"""Convolutions of bfloat16 by tiles, against direct loops in float64."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_void_p

import ml_dtypes
import numpy as np
import pytest

from castoff.compiler.lowering.packing import conv_pairs_size, pack_conv_pairs

from .test_conv import (
    ARGS,
    CASES,
    GUARD,
    Array,
    Case,
    Output,
    aligned,
    args_of,
    call,
    channels_last,
    convolve_reference,
)

BF16 = ml_dtypes.bfloat16
STEPS = {  # whole steps of channels: rows are read where they lie, or in copies with their padding
    "steps-1x1-of-27": Case(1, 64, 70, (1, 27), (1, 1)),
    "steps-1x1-of-35": Case(2, 96, 40, (5, 7), (1, 1)),
    "steps-1x1-stride-2": Case(1, 96, 40, (9, 33), (1, 1), stride=2),
    "steps-1x1-stride-3": Case(2, 512, 20, (7, 7), (1, 1), stride=3),
    "steps-3x3": Case(2, 64, 40, (9, 11), (3, 3), padding=1),
    "steps-3x3-blocks": Case(1, 256, 32, (60, 70), (3, 3), padding=1),
    "steps-3x3-stride-2": Case(2, 32, 48, (15, 70), (3, 3), stride=2, padding=1),
    "steps-3x3-stride-3-dilated": Case(
        1, 32, 17, (23, 19), (3, 3), stride=3, padding=2, dilation=2
    ),
    "steps-2x2-stride-4-dilated": Case(1, 32, 17, (23, 19), (2, 2), stride=4, dilation=3),
    "steps-groups": Case(2, 128, 64, (7, 9), (3, 3), padding=1, groups=2),
    "steps-1d": Case(2, 64, 33, (300,), (5,), padding=2),
    "steps-1d-stride-2": Case(1, 32, 33, (3001,), (4,), padding=1, stride=2),
    "steps-3d": Case(2, 32, 20, (5, 6, 7), (3, 2, 3), padding=1),
    "steps-3d-stride-2": Case(1, 64, 20, (6, 7, 9), (3, 3, 3), padding=1, stride=2),
    "steps-one-pixel": Case(1, 64, 20, (3, 3), (3, 3)),
    "steps-mostly-kernel": Case(1, 32, 20, (13, 13), (9, 9)),
    "steps-padding-past-the-kernel": Case(1, 32, 4, (3, 3), (2, 2), padding=4),
}
DENSE = {name: case for name, case in CASES.items() if case.in_channels != case.groups} | STEPS


class TiledArgs(ctypes.Structure):
    _fields_ = [*ARGS["f32"]._fields_, ("x_from", c_int32), ("weight_from", c_int32)]


def convolve(
    kernels: ctypes.CDLL,
    case: Case,
    x: Array,
    weight: Array,
    *,
    packed: bool = True,
    bias: Array | None = None,
    relu: bool = False,
    epilogue: bool = False,
    threads: int = 1,
) -> Array:
    """The convolution of x [N, *size, C]: [N, O, *out]."""
    out = case.out()
    pixels = int(np.prod(out))
    total = case.batch * case.out_channels * pixels
    y = aligned(total + GUARD, np.float32)
    y[:] = 77
    where = Output(y.ctypes.data, pixels, case.out_channels)
    args = TiledArgs(x_from=x.dtype == np.float32, weight_from=weight.dtype == np.float32)
    shared = args_of(case, x, ARGS["f32"])
    ctypes.memmove(ctypes.byref(args), ctypes.byref(shared), ctypes.sizeof(shared))
    if relu:
        args.is_bounded, args.low, args.high = 1, 0, np.inf
    if packed:
        pairs = pack_conv_pairs(weight.astype(BF16), case.groups)
        assert pairs.size == conv_pairs_size(weight.shape, case.groups)
        storage = aligned(pairs.size, BF16)
        storage[:] = pairs.ravel()
        args.weight_packed = storage.ctypes.data
    else:
        args.weight = weight.ctypes.data
    if bias is not None:
        args.bias = bias.ctypes.data
    if epilogue:
        args.epilogue = ctypes.cast(kernels.test_epilogue_f32, c_void_p).value
        args.epilogue_context = ctypes.addressof(where)
    else:
        args.y = y.ctypes.data
    call(kernels, "tiled_bf16", args, threads)
    assert (y[total:] == 77).all(), "wrote past the output"
    return np.moveaxis(y[:total].reshape(case.batch, *out, case.out_channels), -1, 1)


def operands(case: Case, dtype: type = BF16) -> tuple[Array, Array]:
    """The image, channels first, and the weight: bfloat16 numbers in `dtype`."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((case.batch, case.in_channels, *case.size))
    shape = (case.out_channels, case.in_channels // case.groups, *case.kernel)
    weight = rng.standard_normal(shape)
    return x.astype(BF16).astype(dtype), weight.astype(BF16).astype(dtype)


def check(case: Case, got: Array, x: Array, weight: Array, plus: Array | float = 0.0) -> None:
    want = convolve_reference(case, x, weight) + plus
    bound = convolve_reference(case, np.abs(x), np.abs(weight)) + np.abs(plus) + 1e-30
    depth = weight[0].size
    assert (np.abs(got - want) / bound).max(initial=0) < 2e-6 * max(1, depth**0.5 / 8)


@pytest.mark.parametrize("name", DENSE)
def test_convolution_of_every_kind(kernels: ctypes.CDLL, name: str) -> None:
    case = DENSE[name]
    x, weight = operands(case)
    for threads in (1, 3):
        check(case, convolve(kernels, case, channels_last(x), weight, threads=threads), x, weight)


@pytest.mark.parametrize(
    "name", ["1x1", "3x3", "3x3-stride-2", "7x7-stem", "groups", "3d-stride", *STEPS]
)
def test_float32_operands_and_weights_of_the_call(kernels: ctypes.CDLL, name: str) -> None:
    case = DENSE[name]
    x, weight = operands(case)
    wide_x, wide_weight = operands(case, np.float32)
    last, wide_last = channels_last(x), channels_last(wide_x)
    want = convolve(kernels, case, last, weight).tobytes()
    assert convolve(kernels, case, last, weight, packed=False).tobytes() == want
    assert convolve(kernels, case, wide_last, wide_weight, packed=False).tobytes() == want
    assert convolve(kernels, case, wide_last, weight).tobytes() == want


@pytest.mark.parametrize("name", ["1x1-wide", "3x3-stride-2", "groups", *STEPS])
def test_parts_of_images_bias_relu_and_epilogue(kernels: ctypes.CDLL, name: str) -> None:
    case = DENSE[name]
    x, weight = operands(case)
    last = channels_last(x)
    wide = np.full((*last.shape[:-1], case.in_channels + 5), np.nan, BF16)
    part = wide[..., 2 : 2 + case.in_channels]
    part[...] = last
    check(case, convolve(kernels, case, part, weight), x, weight)
    bias = np.arange(case.out_channels, dtype=np.float32)
    column = bias.reshape(-1, *(1,) * case.rank)
    check(case, convolve(kernels, case, last, weight, bias=bias), x, weight, column)
    below = convolve(kernels, case, last, weight, bias=-bias)
    rectified = convolve(kernels, case, last, weight, bias=-bias, relu=True)
    assert np.array_equal(rectified, np.maximum(below, 0))
    check(case, (convolve(kernels, case, last, weight, epilogue=True) - 1) / 2, x, weight)


@pytest.mark.parametrize("name", ["1x1-wide", "3x3-wide", "long-sum", "groups-of-4", *STEPS])
def test_same_bits_for_any_number_of_threads(kernels: ctypes.CDLL, name: str) -> None:
    case = DENSE[name]
    x, weight = operands(case)
    last = channels_last(x)
    alone = convolve(kernels, case, last, weight).tobytes()
    for threads in (2, 5, 16):
        assert convolve(kernels, case, last, weight, threads=threads).tobytes() == alone
