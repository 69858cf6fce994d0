"""Derivatives that programs hold as plain operators: those of activations and losses."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..kernels import Number
from .activation import number
from .base import Builder, normalize_axis, target
from .complex import conj
from .loss import MEAN, NONE
from .pointwise import compute_operands


def _chained(b: Builder, gradient: Value, x: Value, derivative: Callable[[Value], Value]) -> Value:
    """gradient * derivative(x), in float32 for narrow floats."""
    dtype, (wide, point) = compute_operands(b, gradient, x)
    return b.cast(b.apply("mul", wide, derivative(point)), dtype)


def _one_minus(b: Builder, x: Value) -> Value:
    return b.apply("sub", number(b, 1, x), x)


@target("aten.tanh_backward.default")
def tanh_backward(b: Builder, grad_output: Value, output: Value) -> Value:
    return _chained(b, grad_output, output, lambda y: conj(b, _one_minus(b, b.apply("mul", y, y))))


@target("aten.sigmoid_backward.default")
def sigmoid_backward(b: Builder, grad_output: Value, output: Value) -> Value:
    return _chained(b, grad_output, output, lambda y: conj(b, b.apply("mul", y, _one_minus(b, y))))


@target("aten.threshold_backward.default")
def threshold_backward(b: Builder, grad_output: Value, self: Value, threshold: Number) -> Value:
    below = b.apply("le", self, number(b, threshold, self))
    return b.where(below, number(b, 0, grad_output), grad_output)


@target("aten.leaky_relu_backward.default")
def leaky_relu_backward(
    b: Builder, grad_output: Value, self: Value, negative_slope: Number, self_is_result: bool
) -> Value:
    scaled = b.call("aten.mul.Tensor", grad_output, negative_slope)
    return b.where(b.apply("gt", self, number(b, 0, self)), grad_output, scaled)


@target("aten.elu_backward.default")
def elu_backward(
    b: Builder, grad_output: Value, alpha: Number, scale: Number, input_scale: Number,
    is_result: bool, self_or_result: Value,
) -> Value:  # fmt: skip
    def derivative(x: Value) -> Value:
        if is_result:
            below = b.apply("add", x, number(b, alpha * scale, x))
            below = b.apply("mul", below, number(b, input_scale, x))
        else:
            raised = b.apply("exp", b.apply("mul", x, number(b, input_scale, x)))
            below = b.apply("mul", raised, number(b, alpha * scale * input_scale, x))
        return b.where(b.apply("le", x, number(b, 0, x)), below, number(b, scale, x))

    return _chained(b, grad_output, self_or_result, derivative)


@target("aten.gelu_backward.default")
def gelu_backward(b: Builder, grad_output: Value, self: Value, approximate: str = "none") -> Value:
    def exact(x: Value) -> Value:
        area = b.call("aten.special_ndtr.default", x)
        half_square = b.apply("mul", b.apply("mul", x, x), number(b, -0.5, x))
        density = b.apply(
            "mul", b.apply("exp", half_square), number(b, 1 / math.sqrt(2 * math.pi), x)
        )
        return b.apply("add", area, b.apply("mul", x, density))

    def by_tanh(x: Value) -> Value:
        factor, square = math.sqrt(2 / math.pi), b.apply("mul", x, x)
        cubic = b.apply("add", number(b, 1, x), b.apply("mul", square, number(b, 0.044715, x)))
        curve = b.apply("tanh", b.apply("mul", b.apply("mul", x, cubic), number(b, factor, x)))
        slope = b.apply("mul", square, number(b, 3 * 0.044715 * factor, x))
        slope = b.apply("add", slope, number(b, factor, x))
        steep = b.apply("mul", _one_minus(b, b.apply("mul", curve, curve)), slope)
        total = b.apply("add", b.apply("add", number(b, 1, x), curve), b.apply("mul", x, steep))
        return b.apply("mul", total, number(b, 0.5, x))

    return _chained(b, grad_output, self, by_tanh if approximate == "tanh" else exact)


@target("aten.silu_backward.default")
def silu_backward(b: Builder, grad_output: Value, self: Value) -> Value:
    def derivative(x: Value) -> Value:
        gate = b.apply("sigmoid", x)
        inner = b.apply("add", number(b, 1, x), b.apply("mul", x, _one_minus(b, gate)))
        return b.apply("mul", gate, inner)

    return _chained(b, grad_output, self, derivative)


def _inside(b: Builder, x: Value, low: Number, high: Number) -> Value:
    above = b.apply("gt", x, number(b, low, x))
    return b.apply("logical_and", above, b.apply("lt", x, number(b, high, x)))


@target("aten.hardtanh_backward.default")
def hardtanh_backward(
    b: Builder, grad_output: Value, self: Value, min_val: Number, max_val: Number
) -> Value:
    return b.where(_inside(b, self, min_val, max_val), grad_output, number(b, 0, grad_output))


@target("aten.hardsigmoid_backward.default")
def hardsigmoid_backward(b: Builder, grad_output: Value, self: Value) -> Value:
    scaled = b.call("aten.mul.Tensor", grad_output, 1 / 6)
    return b.where(_inside(b, self, -3, 3), scaled, number(b, 0, grad_output))


@target("aten.hardswish_backward.default")
def hardswish_backward(b: Builder, grad_output: Value, self: Value) -> Value:
    def derivative(x: Value) -> Value:
        middle = b.apply("add", b.apply("mul", x, number(b, 1 / 3, x)), number(b, 0.5, x))
        above = b.apply("lt", x, number(b, 3, x))
        sloped = b.where(above, middle, number(b, 1, x))
        return b.where(b.apply("lt", x, number(b, -3, x)), number(b, 0, x), sloped)

    return _chained(b, grad_output, self, derivative)


@target("aten.softplus_backward.default")
def softplus_backward(
    b: Builder, grad_output: Value, self: Value, beta: Number, threshold: Number
) -> Value:
    def derivative(x: Value) -> Value:
        scaled = b.apply("mul", x, number(b, beta, x))
        straight = b.apply("gt", scaled, number(b, threshold, x))
        return b.where(straight, number(b, 1, x), b.apply("sigmoid", scaled))

    return _chained(b, grad_output, self, derivative)


@target("aten.log_sigmoid_backward.default")
def log_sigmoid_backward(b: Builder, grad_output: Value, self: Value, buffer: Value) -> Value:
    return _chained(b, grad_output, self, lambda x: b.apply("sigmoid", b.apply("neg", x)))


@target("aten.mish_backward.default")
def mish_backward(b: Builder, grad_output: Value, self: Value) -> Value:
    def derivative(x: Value) -> Value:
        gate = b.apply("sigmoid", x)
        curve = b.apply("tanh", b.call("aten.softplus.default", x))
        steep = b.apply("mul", b.apply("mul", x, gate), _one_minus(b, b.apply("mul", curve, curve)))
        return b.apply("add", curve, steep)

    return _chained(b, grad_output, self, derivative)


@target("aten.hardshrink_backward.default", "aten.softshrink_backward.default")
def shrink_backward(
    b: Builder, self: Value, lambd: Number, grad_out: Value | None = None,
    grad_output: Value | None = None,
) -> Value:  # fmt: skip
    """The two schemas differ in the name of the gradient."""
    gradient = grad_out if grad_out is not None else grad_output
    assert gradient is not None, "one of the two schemas"
    above = b.apply("ge", self, number(b, -lambd, self))
    inside = b.apply("logical_and", above, b.apply("le", self, number(b, lambd, self)))
    return b.where(inside, number(b, 0, gradient), gradient)


@target("aten.glu_backward.default")
def glu_backward(b: Builder, grad_output: Value, self: Value, dim: int) -> Value:
    axis = normalize_axis(dim, self.rank)
    half = shapes.floordiv(self.shape[axis], 2)
    dtype, (gradient, x) = compute_operands(b, grad_output, self)
    first, second = b.slice(x, axis, 0, half), b.slice(x, axis, half, half)
    gate = b.apply("sigmoid", second)
    left = b.apply("mul", gradient, gate)
    right = b.apply("mul", b.apply("mul", left, _one_minus(b, gate)), first)
    return b.cast(b.concatenate([left, right], axis), dtype)


@target("aten._prelu_kernel_backward.default")
def prelu_backward(
    b: Builder, grad_output: Value, self: Value, weight: Value
) -> tuple[Value, Value]:
    positive = b.apply("gt", self, number(b, 0, self))
    below = b.apply("mul", grad_output, weight)
    zero = number(b, 0, self)
    for_weight = b.where(positive, zero, b.apply("mul", self, grad_output))
    return b.where(positive, grad_output, below), for_weight


@target("aten.logit_backward.default")
def logit_backward(b: Builder, grad_output: Value, self: Value, eps: float | None = None) -> Value:
    dtype, (gradient, x) = compute_operands(b, grad_output, self)
    slope = b.apply("div", gradient, b.apply("mul", x, _one_minus(b, x)))
    low, high = (0.0, 1.0) if eps is None else (eps, 1 - eps)
    above = b.apply("ge", x, number(b, low, x))
    inside = b.apply("logical_and", above, b.apply("le", x, number(b, high, x)))
    outside = number(b, math.nan if eps is None else 0.0, x)
    return b.cast(b.where(inside, slope, outside), dtype)


# ---------------------------------------------------------------------------------------- losses


def _shared(b: Builder, gradient: Value, like: Value, reduction: int) -> Value:
    """The gradient of each element of a loss, given that of its reduction."""
    if reduction == NONE:
        return gradient
    wide = b.expand(gradient, like.shape)
    if reduction != MEAN:
        return wide
    return b.apply("div", wide, b.dim(shapes.element_count(like.shape), wide.dtype))


@target("aten.mse_loss_backward.default")
def mse_loss_backward(
    b: Builder, grad_output: Value, self: Value, target: Value, reduction: int
) -> Value:
    dtype, (gradient, x, y) = compute_operands(b, grad_output, self, target)
    difference = b.apply("sub", x, y)
    slope = b.apply("mul", difference, number(b, 2, difference))
    return b.cast(b.apply("mul", slope, _shared(b, gradient, slope, reduction)), dtype)


def _clipped_backward(
    b: Builder, gradient: Value, x: Value, y: Value, reduction: int, limit: float, factor: float
) -> Value:
    """factor * the difference clipped to +-limit, times the gradient."""
    dtype, (wide, left, right) = compute_operands(b, gradient, x, y)
    if dtype.is_integer:  # C's arithmetic on narrow integers is wide and signed, and so PyTorch's
        wide, left, right = (b.cast(value, DType.INT64) for value in (wide, left, right))
    difference = b.apply("sub", left, right)
    clipped = b.apply("maximum", difference, number(b, -limit, difference))
    clipped = b.apply("minimum", clipped, number(b, limit, difference))
    slope = b.apply("mul", clipped, number(b, factor, clipped))
    return b.cast(b.apply("mul", slope, _shared(b, wide, slope, reduction)), dtype)


@target("aten.smooth_l1_loss_backward.default")
def smooth_l1_loss_backward(
    b: Builder, grad_output: Value, self: Value, target: Value, reduction: int, beta: float
) -> Value:
    return _clipped_backward(b, grad_output, self, target, reduction, beta, 1 / beta)


@target("aten.huber_loss_backward.default")
def huber_loss_backward(
    b: Builder, grad_output: Value, self: Value, target: Value, reduction: int, delta: float
) -> Value:
    return _clipped_backward(b, grad_output, self, target, reduction, delta, 1.0)


@target("aten.binary_cross_entropy_backward.default")
def binary_cross_entropy_backward(
    b: Builder, grad_output: Value, self: Value, target: Value, weight: Value | None = None,
    reduction: int = MEAN,
) -> Value:  # fmt: skip
    dtype, (gradient, x, y) = compute_operands(b, grad_output, self, target)
    spread = b.apply("maximum", b.apply("mul", x, _one_minus(b, x)), number(b, 1e-12, x))
    slope = b.apply("div", b.apply("sub", x, y), spread)
    if weight is not None:
        slope = b.apply("mul", slope, b.cast(weight, slope.dtype))
    return b.cast(b.apply("mul", slope, _shared(b, gradient, slope, reduction)), dtype)


@target("aten.soft_margin_loss_backward.default")
def soft_margin_loss_backward(
    b: Builder, grad_output: Value, self: Value, target: Value, reduction: int
) -> Value:
    dtype, (gradient, x, y) = compute_operands(b, grad_output, self, target)
    miss = b.apply("sigmoid", b.apply("neg", b.apply("mul", x, y)))
    slope = b.apply("neg", b.apply("mul", y, miss))
    return b.cast(b.apply("mul", slope, _shared(b, gradient, slope, reduction)), dtype)


@target(
    "aten.fake_quantize_per_tensor_affine_cachemask_backward.default",
    "aten.fake_quantize_per_channel_affine_cachemask_backward.default",
)
def fake_quantize_backward(b: Builder, grad: Value, mask: Value) -> Value:
    return b.where(b.cast(mask, DType.BOOL), grad, number(b, 0, grad))
