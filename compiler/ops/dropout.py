"""Dropout and the activation that is random in training. Outside of training they do nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..kernels import Number
from .activation import number
from .base import Builder, OperatorError, target
from .random import affine_of, uniform

Ignored = object


def _kept(b: Builder, shape: Sequence[Dim], p: float) -> Value:
    """bool: what dropout with probability `p` leaves."""
    return b.apply("ge", uniform(b, shape, DType.FLOAT32), b.full((), p, DType.FLOAT32))


def _dropped(b: Builder, x: Value, kept: Value, p: float) -> Value:
    if p == 1:  # not zeros: PyTorch multiplies by a mask of zeros, which keeps NaN
        nothing: Value = b.call("aten.mul.Tensor", x, 0)
        return nothing
    scaled = b.call("aten.mul.Tensor", x, 1 / (1 - p))
    return b.where(kept, scaled, b.full((), 0, scaled.dtype))


@target("aten.dropout.default", alias=True)
def dropout(b: Builder, input: Value, p: float, train: bool) -> Value:
    if not train or p == 0:
        return input
    return _dropped(b, input, _kept(b, input.shape, p), p)


@target("aten.feature_dropout.default", alias=True)
def feature_dropout(b: Builder, input: Value, p: float, train: bool) -> Value:
    """Whole channels are dropped."""
    if not train or p == 0:
        return input
    return _dropped(b, input, _kept(b, _channels(input), p), p)


@target("aten.native_dropout.default")
def native_dropout(b: Builder, input: Value, p: float, train: bool | None) -> tuple[Value, Value]:
    if train is False or p == 0:
        return input, b.full(input.shape, True, DType.BOOL)
    kept = _kept(b, input.shape, p)
    return _dropped(b, input, kept, p), kept


@target("aten.alpha_dropout.default", alias=True)
def alpha_dropout(b: Builder, input: Value, p: float, train: bool) -> Value:
    """Dropout that keeps mean and variance of what selu gives."""
    return _saturated(b, input, input.shape, p) if train and p != 0 else input


@target("aten.feature_alpha_dropout.default", alias=True)
def feature_alpha_dropout(b: Builder, input: Value, p: float, train: bool) -> Value:
    """The same with whole channels."""
    return _saturated(b, input, _channels(input), p) if train and p != 0 else input


def _channels(x: Value) -> tuple[Dim, ...]:
    """The shape of what says one thing of each channel."""
    return (*x.shape[:2], *(1,) * (x.rank - 2))


def _saturated(b: Builder, input: Value, shape: Sequence[Dim], p: float) -> Value:
    if p == 1:
        return _dropped(b, input, input, p)
    saturation = 1.7580993408473766
    scale = 1 / math.sqrt((saturation * saturation * p + 1) * (1 - p))
    kept = _kept(b, shape, p)
    floor = b.full((), -saturation, input.dtype)
    return affine_of(b, b.where(kept, input, floor), scale, saturation * p * scale, input.dtype)


@target("aten.native_dropout_backward.default")
def native_dropout_backward(b: Builder, grad_output: Value, mask: Value, scale: float) -> Value:
    masked = b.call("aten.mul.Tensor", grad_output, mask)
    result: Value = b.call("aten.mul.Tensor", masked, scale)
    return result


@target("aten._masked_scale.default")
def masked_scale(b: Builder, self: Value, mask: Value, scale: float) -> Value:
    return native_dropout_backward(b, self, mask, scale)


@target("aten.rrelu.default")
def rrelu(
    b: Builder, self: Value, lower: Number = 0.125, upper: Number = 1 / 3, training: bool = False,
    generator: Ignored = None,
) -> Value:  # fmt: skip
    return _rrelu(b, self, lower, upper, training)[0]


@target("aten.rrelu_with_noise.default")
def rrelu_with_noise(
    b: Builder, self: Value, noise: Value, lower: Number = 0.125, upper: Number = 1 / 3,
    training: bool = False, generator: Ignored = None,
) -> Value:  # fmt: skip
    result, slopes = _rrelu(b, self, lower, upper, training)
    if training:
        b.write(noise, b.cast(slopes, noise.dtype))
    return result


@target("aten.rrelu_with_noise_functional.default")
def rrelu_with_noise_functional(
    b: Builder, self: Value, noise: Value, lower: Number = 0.125, upper: Number = 1 / 3,
    training: bool = False, generator: Ignored = None,
) -> tuple[Value, Value]:  # fmt: skip
    result, slopes = _rrelu(b, self, lower, upper, training)
    return result, b.cast(slopes, noise.dtype) if training else noise


def _rrelu(
    b: Builder, x: Value, lower: Number, upper: Number, training: bool
) -> tuple[Value, Value]:
    """(result, slopes): negative elements times a slope, the mean of the bounds in evaluation."""
    if isinstance(lower, complex) or isinstance(upper, complex):
        raise OperatorError("rrelu: the bounds must be real")
    if training:
        draw = uniform(b, x.shape, x.dtype.compute)
        slope = affine_of(b, draw, upper - lower, lower, x.dtype)
    else:
        slope = b.full((), (lower + upper) / 2, x.dtype)
    positive = b.apply("gt", x, number(b, 0, x))
    slopes = b.where(positive, number(b, 1, x), slope)
    return b.where(positive, x, b.apply("mul", x, slope)), slopes
