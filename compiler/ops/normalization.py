"""Normalisation by statistics of the activations: layer, RMS, group, batch and instance norm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..records import dataclass
from .base import Builder, OperatorError, target
from .statistics import element_total, mean_of


@dataclass(frozen=True, slots=True)
class Normalized:
    """x less its mean, times the reciprocal deviation; all in the type arithmetic is done in."""

    output: Value
    mean: Value
    variance: Value
    reciprocal_deviation: Value


def normalized(b: Builder, x: Value, axes: Sequence[int], eps: float) -> Normalized:
    """`x` with mean 0 and variance 1 over axes; statistics keep those axes with size 1."""
    mean = mean_of(b, x, axes)
    centred = b.apply("sub", x, mean)
    variance = mean_of(b, b.apply("mul", centred, centred), axes)
    deviation = b.apply("rsqrt", b.apply("add", variance, b.full((), eps, x.dtype)))
    return Normalized(b.apply("mul", centred, deviation), mean, variance, deviation)


def affine(b: Builder, x: Value, weight: Value | None, bias: Value | None) -> Value:
    """x * weight + bias, in the dtype of x."""
    if weight is not None:
        x = b.apply("mul", x, b.cast(weight, x.dtype))
    return x if bias is None else b.apply("add", x, b.cast(bias, x.dtype))


def _trailing_axes(x: Value, normalized_shape: Sequence[Dim]) -> tuple[int, ...]:
    first = x.rank - len(normalized_shape)
    pairs = zip(x.shape[max(first, 0) :], normalized_shape, strict=False)
    if first < 0 or any(shapes.is_equal(a, n) is False for a, n in pairs):
        raise OperatorError(f"normalisation over {list(normalized_shape)} of {x}")
    return tuple(range(first, x.rank))


@target("aten.native_layer_norm.default")
def native_layer_norm(
    b: Builder, input: Value, normalized_shape: Sequence[Dim], weight: Value | None,
    bias: Value | None, eps: float,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """(result, mean, 1 / deviation)."""
    axes = _trailing_axes(input, normalized_shape)
    result = normalized(b, b.widen(input), axes, eps)
    output = b.cast(affine(b, result.output, weight, bias), input.dtype)
    statistics_dtype = input.dtype if weight is None else weight.dtype
    mean, deviation = result.mean, result.reciprocal_deviation
    return output, b.cast(mean, statistics_dtype), b.cast(deviation, statistics_dtype)


@target("aten.layer_norm.default")
def layer_norm(
    b: Builder, input: Value, normalized_shape: Sequence[Dim], weight: Value | None = None,
    bias: Value | None = None, eps: float = 1e-5, cudnn_enable: bool = True,
) -> Value:  # fmt: skip
    return native_layer_norm(b, input, normalized_shape, weight, bias, eps)[0]


@target("aten._fused_rms_norm.default")
def fused_rms_norm(
    b: Builder, input: Value, normalized_shape: Sequence[Dim], weight: Value | None,
    eps: float | None,
) -> tuple[Value, Value]:  # fmt: skip
    """(result, reciprocal root of the mean square)."""
    axes = _trailing_axes(input, normalized_shape)
    x = b.widen(input)
    if eps is None:
        eps = float(np.finfo(x.dtype.numpy).eps)
    mean_square = mean_of(b, b.apply("mul", x, x), axes)
    scale = b.apply("rsqrt", b.apply("add", mean_square, b.full((), eps, x.dtype)))
    result = affine(b, b.apply("mul", x, scale), weight, None)
    return b.cast(result, input.dtype), scale


@target("aten.rms_norm.default")
def rms_norm(
    b: Builder, input: Value, normalized_shape: Sequence[Dim], weight: Value | None = None,
    eps: float | None = None,
) -> Value:  # fmt: skip
    return fused_rms_norm(b, input, normalized_shape, weight, eps)[0]


def per_channel(b: Builder, values: Value, rank: int) -> Value:
    """One number for each channel, shaped to broadcast over dimension 1 of a tensor of a rank."""
    return b.reshape(values, (1, *values.shape, *(1,) * (rank - 2)))


def channel_affine(b: Builder, x: Value, weight: Value | None, bias: Value | None) -> Value:
    """x * weight + bias, for one weight and bias for each channel."""
    wide = (None if value is None else per_channel(b, value, x.rank) for value in (weight, bias))
    return affine(b, x, *wide)


@target("aten.native_group_norm.default")
def native_group_norm(
    b: Builder, input: Value, weight: Value | None, bias: Value | None, N: Dim, C: Dim, HxW: Dim,  # noqa: N803
    group: int, eps: float,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """(result, mean [N, group], 1 / deviation [N, group])."""
    x = b.widen(input)
    members = shapes.floordiv(C, group) * HxW
    result = normalized(b, b.reshape(x, (N, group, members)), (2,), eps)
    output = b.reshape(result.output, input.shape)
    output = b.cast(channel_affine(b, output, weight, bias), input.dtype)
    dtype = input.dtype if weight is None else weight.dtype
    statistics = (result.mean, result.reciprocal_deviation)
    mean, deviation = (b.cast(b.reshape(s, (N, group)), dtype) for s in statistics)
    return output, mean, deviation


@target("aten.group_norm.default")
def group_norm(
    b: Builder, input: Value, num_groups: int, weight: Value | None = None,
    bias: Value | None = None, eps: float = 1e-5, cudnn_enabled: bool = True,
) -> Value:  # fmt: skip
    channels = input.shape[1]
    if isinstance(channels, int) and channels % num_groups:
        raise OperatorError(f"group_norm of {input}: {channels} channels in {num_groups} groups")
    inner = shapes.element_count(input.shape[2:])
    return native_group_norm(
        b, input, weight, bias, input.shape[0], channels, inner, num_groups, eps
    )[0]


# ------------------------------------------------------------------------------------ batch norm


def batch_norm_by_running(
    b: Builder, x: Value, weight: Value | None, bias: Value | None, mean: Value, variance: Value,
    eps: float,
) -> Value:  # fmt: skip
    """x * scale + shift for each channel, both of them constants where the weights are."""
    inner = x.dtype.compute
    spread = b.apply("add", b.cast(variance, inner), b.full((), eps, inner))
    scale = b.apply("rsqrt", spread)
    if weight is not None:
        scale = b.apply("mul", scale, b.cast(weight, inner))
    shift = b.apply("neg", b.apply("mul", b.cast(mean, inner), scale))
    if bias is not None:
        shift = b.apply("add", shift, b.cast(bias, inner))
    return b.cast(channel_affine(b, b.cast(x, inner), scale, shift), x.dtype)


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """What batch norm in training gives besides its result, one number for each channel."""

    output: Value
    mean: Value
    variance: Value
    reciprocal_deviation: Value
    count: Dim


def batch_norm_by_batch(
    b: Builder, x: Value, weight: Value | None, bias: Value | None, eps: float
) -> BatchStatistics:
    """Normalised by the statistics of the batch itself."""
    axes = tuple(axis for axis in range(x.rank) if axis != 1)
    result = normalized(b, b.widen(x), axes, eps)
    output = b.cast(channel_affine(b, result.output, weight, bias), x.dtype)
    channels = (x.shape[1],)
    mean, variance, deviation = (
        b.reshape(s, channels) for s in (result.mean, result.variance, result.reciprocal_deviation)
    )
    return BatchStatistics(output, mean, variance, deviation, element_total(x, axes))


def updated_running(
    b: Builder, running: Value, batch: Value, momentum: float, correction: Dim | None = None
) -> Value:
    """(1 - momentum) * running + momentum * batch.

    `correction`: the count of elements, given for a variance to make it unbiased.
    """
    inner = running.dtype.compute
    fresh = b.cast(batch, inner)
    if correction is not None:
        fresh = b.apply("mul", fresh, b.dim(correction, inner))
        fresh = b.apply("div", fresh, b.dim(correction - 1, inner))
    kept = b.apply("mul", b.cast(running, inner), b.full((), 1 - momentum, inner))
    added = b.apply("mul", fresh, b.full((), momentum, inner))
    return b.cast(b.apply("add", kept, added), running.dtype)


def _in_training(
    b: Builder, x: Value, weight: Value | None, bias: Value | None, running_mean: Value | None,
    running_var: Value | None, momentum: float, eps: float,
) -> tuple[BatchStatistics, Value | None, Value | None]:  # fmt: skip
    result = batch_norm_by_batch(b, x, weight, bias, eps)
    mean = variance = None
    if running_mean is not None:
        mean = updated_running(b, running_mean, result.mean, momentum)
    if running_var is not None:
        variance = updated_running(b, running_var, result.variance, momentum, result.count)
    return result, mean, variance


def _native(
    b: Builder, x: Value, weight: Value | None, bias: Value | None, running_mean: Value | None,
    running_var: Value | None, training: bool, momentum: float, eps: float,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """(result, batch mean, 1 / deviation), the last two empty in evaluation.

    Running statistics are written back.
    """
    if (
        x.rank < 2
    ):  # there is no channel dimension: PyTorch gives an empty tensor back, nothing else
        if shapes.is_equal(shapes.element_count(x.shape), 0) is not True:
            raise OperatorError(f"batch norm of {x}: expected at least two dimensions")
        nothing = b.full((0,), 0, x.dtype)
        return x, nothing, nothing
    if not training:
        if running_mean is None or running_var is None:
            raise OperatorError("batch norm in evaluation needs running statistics")
        nothing = b.full((0,), 0, x.dtype if weight is None else weight.dtype)
        output = batch_norm_by_running(b, x, weight, bias, running_mean, running_var, eps)
        return output, nothing, nothing
    result, mean, variance = _in_training(
        b, x, weight, bias, running_mean, running_var, momentum, eps
    )
    if running_mean is not None and mean is not None:
        b.write(running_mean, mean)
    if running_var is not None and variance is not None:
        b.write(running_var, variance)
    mean, deviation = _saved(b, x, weight, result)
    return result.output, mean, deviation


def _saved(
    b: Builder, x: Value, weight: Value | None, result: BatchStatistics
) -> tuple[Value, Value]:
    """The statistics in the dtype PyTorch keeps them in: that of the weights."""
    dtype = x.dtype if weight is None else weight.dtype
    return b.cast(result.mean, dtype), b.cast(result.reciprocal_deviation, dtype)


@target("aten.batch_norm.default")
def batch_norm(
    b: Builder, input: Value, weight: Value | None, bias: Value | None,
    running_mean: Value | None, running_var: Value | None, training: bool, momentum: float,
    eps: float, cudnn_enabled: bool,
) -> Value:  # fmt: skip
    return _native(b, input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


@target("aten.native_batch_norm.default", "aten._native_batch_norm_legit.default")
def native_batch_norm(
    b: Builder, input: Value, weight: Value | None, bias: Value | None,
    running_mean: Value | None, running_var: Value | None, training: bool, momentum: float,
    eps: float,
) -> tuple[Value, Value, Value]:  # fmt: skip
    return _native(b, input, weight, bias, running_mean, running_var, training, momentum, eps)


@target("aten._native_batch_norm_legit.no_stats")
def native_batch_norm_without_state(
    b: Builder, input: Value, weight: Value | None, bias: Value | None, training: bool,
    momentum: float, eps: float,
) -> tuple[Value, Value, Value]:  # fmt: skip
    return _native(b, input, weight, bias, None, None, True, momentum, eps)


@target("aten._native_batch_norm_legit_no_training.default")
def native_batch_norm_no_training(
    b: Builder, input: Value, weight: Value | None, bias: Value | None, running_mean: Value,
    running_var: Value, momentum: float, eps: float,
) -> tuple[Value, Value, Value]:  # fmt: skip
    return _native(b, input, weight, bias, running_mean, running_var, False, momentum, eps)


@target("aten._native_batch_norm_legit_functional.default")
def native_batch_norm_functional(
    b: Builder, input: Value, weight: Value | None, bias: Value | None, running_mean: Value,
    running_var: Value, training: bool, momentum: float, eps: float,
) -> tuple[Value, ...]:  # fmt: skip
    if not training:
        output = _native(b, input, weight, bias, running_mean, running_var, False, momentum, eps)
        return (*output, running_mean, running_var)
    # The functional form gives narrow running statistics back in float32.
    running_mean = b.cast(running_mean, running_mean.dtype.compute)
    running_var = b.cast(running_var, running_var.dtype.compute)
    result, mean, variance = _in_training(
        b, input, weight, bias, running_mean, running_var, momentum, eps
    )
    assert mean is not None and variance is not None, "both running statistics were given"
    return result.output, *_saved(b, input, weight, result), mean, variance


@target("aten._batch_norm_with_update.default")
def batch_norm_with_update(
    b: Builder, input: Value, weight: Value | None, bias: Value | None, running_mean: Value,
    running_var: Value, momentum: float, eps: float,
) -> tuple[Value, ...]:  # fmt: skip
    results = _native(b, input, weight, bias, running_mean, running_var, True, momentum, eps)
    return (*results, b.full((0,), 0, DType.UINT8))


@target("aten._batch_norm_with_update_functional.default", misdescribed=True)
def batch_norm_with_update_functional(
    b: Builder, input: Value, weight: Value | None, bias: Value | None, running_mean: Value,
    running_var: Value, momentum: float, eps: float,
) -> tuple[Value, ...]:  # fmt: skip
    results = native_batch_norm_functional(
        b, input, weight, bias, running_mean, running_var, True, momentum, eps
    )
    mean, variance = (b.cast(value, running_mean.dtype) for value in results[3:])
    return (*results[:3], b.full((0,), 0, DType.UINT8), mean, variance)


@target("aten._batch_norm_no_update.default")
def batch_norm_no_update(
    b: Builder, input: Value, weight: Value | None, bias: Value | None,
    running_mean: Value | None, running_var: Value | None, momentum: float, eps: float,
) -> tuple[Value, ...]:  # fmt: skip
    results = _native(b, input, weight, bias, running_mean, running_var, False, momentum, eps)
    return (*results, b.full((0,), 0, DType.UINT8))


@target("aten._batch_norm_impl_index.default")
def batch_norm_impl_index(
    b: Builder, input: Value, weight: Value | None, bias: Value | None,
    running_mean: Value | None, running_var: Value | None, training: bool, momentum: float,
    eps: float, cudnn_enabled: bool,
) -> tuple[Value | int, ...]:  # fmt: skip
    results = _native(b, input, weight, bias, running_mean, running_var, training, momentum, eps)
    return (*results, b.full((0,), 0, DType.UINT8), 0)


@target("aten.instance_norm.default")
def instance_norm(
    b: Builder, input: Value, weight: Value | None, bias: Value | None,
    running_mean: Value | None, running_var: Value | None, use_input_stats: bool, momentum: float,
    eps: float, cudnn_enabled: bool,
) -> Value:  # fmt: skip
    """Batch norm of each instance; running statistics take the mean over the instances."""
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise OperatorError("instance norm needs running statistics or those of its input")
        return batch_norm_by_running(b, input, weight, bias, running_mean, running_var, eps)
    axes = tuple(range(2, input.rank))
    result = normalized(b, b.widen(input), axes, eps)
    channels = input.shape[:2]
    count = element_total(input, axes)
    if running_mean is not None:
        mean = mean_of(b, b.reshape(result.mean, channels), (0,), keepdim=False)
        b.write(running_mean, updated_running(b, running_mean, mean, momentum))
    if running_var is not None:
        variance = mean_of(b, b.reshape(result.variance, channels), (0,), keepdim=False)
        b.write(running_var, updated_running(b, running_var, variance, momentum, count))
    return b.cast(channel_affine(b, result.output, weight, bias), input.dtype)
