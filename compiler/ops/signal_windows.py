"""Signal windows."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from .base import Builder, target

Ignored = object
Phase = Callable[[Builder, Value, Value], Value]


def _window(b: Builder, length: Dim, periodic: bool, dtype: DType | None, shape: Phase) -> Value:
    """`shape` of the sample positions, given the number of intervals they lie in; a single sample is 1.

    Periodic windows are symmetric ones with one more sample, which is left out.
    """
    result = dtype or DType.FLOAT32
    one = b.full((length,), 1, result)
    if isinstance(length, int) and length <= 1:
        return one
    inner = result.compute
    intervals = b.dim(length if periodic else shapes.maximum(length - 1, 1), inner)
    window = b.cast(shape(b, b.iota(length, inner), intervals), result)
    if isinstance(length, int):
        return window
    return b.where(b.apply("eq", b.dim(length), b.full((), 1, DType.INT64)), one, window)


def _cosines(*weights: float) -> Phase:
    """weights[0] - weights[1] cos(t) + weights[2] cos(2 t) - … over one turn."""

    def shape(b: Builder, positions: Value, intervals: Value) -> Value:
        total = b.full(positions.shape, weights[0], positions.dtype)
        for order, weight in enumerate(weights[1:], start=1):
            turn = b.apply("div", b.full((), 2 * math.pi * order, positions.dtype), intervals)
            wave = b.apply("cos", b.apply("mul", positions, turn))
            signed = b.full((), weight if order % 2 == 0 else -weight, positions.dtype)
            total = b.apply("add", total, b.apply("mul", wave, signed))
        return total

    return shape


@target("aten.hann_window.default", "aten.hann_window.periodic")
def hann_window(
    b: Builder, window_length: Dim, periodic: bool = True, dtype: DType | None = None,
    layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    return _window(b, window_length, periodic, dtype, _cosines(0.5, 0.5))


@target("aten.hamming_window.default", "aten.hamming_window.periodic",
        "aten.hamming_window.periodic_alpha",
        "aten.hamming_window.periodic_alpha_beta")  # fmt: skip
def hamming_window(
    b: Builder, window_length: Dim, periodic: bool = True, alpha: float = 0.54,
    beta: float = 0.46, dtype: DType | None = None, layout: Ignored = None,
    device: Ignored = None, pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    return _window(b, window_length, periodic, dtype, _cosines(alpha, beta))


@target("aten.blackman_window.default", "aten.blackman_window.periodic")
def blackman_window(
    b: Builder, window_length: Dim, periodic: bool = True, dtype: DType | None = None,
    layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    return _window(b, window_length, periodic, dtype, _cosines(0.42, 0.5, 0.08))


@target("aten.bartlett_window.default", "aten.bartlett_window.periodic")
def bartlett_window(
    b: Builder, window_length: Dim, periodic: bool = True, dtype: DType | None = None,
    layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    def triangle(b: Builder, positions: Value, intervals: Value) -> Value:
        two = b.full((), 2, positions.dtype)
        rising = b.apply("mul", positions, b.apply("div", two, intervals))
        return b.apply("minimum", rising, b.apply("sub", two, rising))

    return _window(b, window_length, periodic, dtype, triangle)


@target("aten.kaiser_window.default", "aten.kaiser_window.periodic", "aten.kaiser_window.beta")
def kaiser_window(
    b: Builder, window_length: Dim, periodic: bool = True, beta: float = 12.0,
    dtype: DType | None = None, layout: Ignored = None, device: Ignored = None,
    pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    def bessel(b: Builder, positions: Value, intervals: Value) -> Value:
        dtype = positions.dtype
        one = b.full((), 1, dtype)
        gap = b.apply("div", b.full((), 2, dtype), intervals)
        centred = b.apply("sub", b.apply("mul", positions, gap), one)
        inside = b.apply("sub", one, b.apply("mul", centred, centred))
        radius = b.apply("sqrt", b.apply("maximum", inside, b.full((), 0, dtype)))
        factor = b.full((), beta, dtype)
        return b.apply("div", b.apply("i0", b.apply("mul", radius, factor)), b.apply("i0", factor))

    return _window(b, window_length, periodic, dtype, bessel)
