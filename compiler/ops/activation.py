"""Activation functions."""

from __future__ import annotations

import math

from ..ir import shapes
from ..ir.graph import Value
from ..kernels import Number
from .base import Builder, OperatorError, normalize_axis, target
from .pointwise import compute_operands


def number(b: Builder, value: Number, like: Value) -> Value:
    """A 0-d constant of the dtype of a value."""
    return b.full((), value, like.dtype)


def rectified(b: Builder, x: Value) -> Value:
    """max(x, 0), keeping NaN."""
    return b.apply("maximum", x, number(b, 0, x))


@target("aten.relu.default")
def relu(b: Builder, self: Value) -> Value:
    return rectified(b, self)


@target("aten.relu6.default")
def relu6(b: Builder, self: Value) -> Value:
    return b.apply("minimum", rectified(b, self), number(b, 6, self))


@target("aten.hardtanh.default")
def hardtanh(b: Builder, self: Value, min_val: Number = -1, max_val: Number = 1) -> Value:
    low = b.apply("maximum", self, number(b, min_val, self))
    return b.apply("minimum", low, number(b, max_val, self))


@target("aten.leaky_relu.default")
def leaky_relu(b: Builder, self: Value, negative_slope: Number = 0.01) -> Value:
    dtype, (x,) = compute_operands(b, self)
    below = b.apply("mul", x, number(b, negative_slope, x))
    return b.cast(b.where(b.apply("gt", x, number(b, 0, x)), x, below), dtype)


def _elu(b: Builder, x: Value, below: Value, scale: Number) -> Value:
    """scale * x for positive x, else `below`."""
    above = b.apply("mul", x, number(b, scale, x)) if scale != 1 else x
    return b.where(b.apply("gt", x, number(b, 0, x)), above, below)


@target("aten.elu.default")
def elu(
    b: Builder, self: Value, alpha: Number = 1, scale: Number = 1, input_scale: Number = 1
) -> Value:
    dtype, (x,) = compute_operands(b, self)
    inner = b.apply("mul", x, number(b, input_scale, x)) if input_scale != 1 else x
    below = b.apply("mul", b.apply("expm1", inner), number(b, alpha * scale, x))
    return b.cast(_elu(b, x, below, scale), dtype)


@target("aten.selu.default")
def selu(b: Builder, self: Value) -> Value:
    return elu(b, self, 1.6732632423543772, 1.0507009873554805)


@target("aten.celu.default")
def celu(b: Builder, self: Value, alpha: Number = 1.0) -> Value:
    if alpha == 0:
        raise OperatorError("celu with alpha 0 divides by zero")
    return elu(b, self, alpha, 1, 1.0 / float(alpha.real))


@target("aten.gelu.default")
def gelu(b: Builder, self: Value, approximate: str = "none") -> Value:
    dtype, (x,) = compute_operands(b, self)
    if approximate == "tanh":
        cube = b.apply("mul", b.apply("mul", x, x), x)
        inner = b.apply("add", x, b.apply("mul", cube, number(b, 0.044715, x)))
        curve = b.apply("tanh", b.apply("mul", inner, number(b, math.sqrt(2 / math.pi), x)))
        half = b.apply("mul", x, number(b, 0.5, x))
        return b.cast(b.apply("mul", half, b.apply("add", number(b, 1, x), curve)), dtype)
    if approximate == "none":
        return b.cast(b.apply("gelu", x), dtype)
    raise OperatorError(f'gelu: approximate is "none" or "tanh", got {approximate!r}')


@target("aten.silu.default")
def silu(b: Builder, self: Value) -> Value:
    dtype, (x,) = compute_operands(b, self)
    return b.cast(b.apply("mul", x, b.apply("sigmoid", x)), dtype)


@target("aten.mish.default")
def mish(b: Builder, self: Value) -> Value:
    dtype, (x,) = compute_operands(b, self)
    return b.cast(b.apply("mul", x, b.apply("tanh", softplus_of(b, x))), dtype)


def softplus_of(b: Builder, x: Value) -> Value:
    """log(1 + exp(x)) without overflow: max(x, 0) + log1p(exp(-|x|))."""
    small = b.apply("log1p", b.apply("exp", b.apply("neg", b.apply("abs", x))))
    return b.apply("add", rectified(b, x), small)


@target("aten.softplus.default")
def softplus(b: Builder, self: Value, beta: Number = 1, threshold: Number = 20) -> Value:
    dtype, (x,) = compute_operands(b, self)
    scaled = b.apply("mul", x, number(b, beta, x)) if beta != 1 else x
    curve = softplus_of(b, scaled)
    if beta != 1:
        curve = b.apply("div", curve, number(b, beta, x))
    straight = b.apply("gt", scaled, number(b, threshold, x))
    return b.cast(b.where(straight, x, curve), dtype)


@target("aten.log_sigmoid.default")
def log_sigmoid(b: Builder, self: Value) -> Value:
    dtype, (x,) = compute_operands(b, self)
    return b.cast(b.apply("neg", softplus_of(b, b.apply("neg", x))), dtype)


@target("aten.log_sigmoid_forward.default")
def log_sigmoid_forward(b: Builder, self: Value) -> tuple[Value, Value]:
    """The result, and what the CPU kernel keeps for the gradient: exp(-|x|)."""
    buffer = b.apply("exp", b.apply("neg", b.apply("abs", self)))
    return log_sigmoid(b, self), buffer


def _hard_gate(b: Builder, x: Value) -> Value:
    """clamp(x + 3, 0, 6) / 6."""
    shifted = b.apply("add", x, number(b, 3, x))
    clamped = b.apply("minimum", rectified(b, shifted), number(b, 6, x))
    return b.apply("mul", clamped, number(b, 1 / 6, x))


@target("aten.hardsigmoid.default")
def hardsigmoid(b: Builder, self: Value) -> Value:
    dtype, (x,) = compute_operands(b, self)
    return b.cast(_hard_gate(b, x), dtype)


@target("aten.hardswish.default")
def hardswish(b: Builder, self: Value) -> Value:
    dtype, (x,) = compute_operands(b, self)
    return b.cast(b.apply("mul", x, _hard_gate(b, x)), dtype)


@target("aten.threshold.default")
def threshold(b: Builder, self: Value, threshold: Number, value: Number) -> Value:
    below = b.apply("le", self, number(b, threshold, self))
    return b.where(below, number(b, value, self), self)


@target("aten.hardshrink.default")
def hardshrink(b: Builder, self: Value, lambd: Number = 0.5) -> Value:
    above = b.apply("ge", self, number(b, -lambd, self))
    inside = b.apply("logical_and", above, b.apply("le", self, number(b, lambd, self)))
    return b.where(inside, number(b, 0, self), self)


@target("aten.softshrink.default")
def softshrink(b: Builder, self: Value, lambd: Number = 0.5) -> Value:
    dtype, (x,) = compute_operands(b, self)
    edge = number(b, lambd, x)
    lowered, raised = b.apply("sub", x, edge), b.apply("add", x, edge)
    nothing = b.apply("mul", x, number(b, 0, x))  # keeps NaN
    inner = b.where(b.apply("lt", x, b.apply("neg", edge)), raised, nothing)
    return b.cast(b.where(b.apply("gt", x, edge), lowered, inner), dtype)


@target("aten.glu.default")
def glu(b: Builder, self: Value, dim: int = -1) -> Value:
    """The first half along `dim` times the sigmoid of the second."""
    axis = normalize_axis(dim, self.rank)
    size = self.shape[axis]
    if isinstance(size, int) and size % 2:
        raise OperatorError(f"glu: dimension {dim} of {self} is odd")
    half = shapes.floordiv(size, 2)
    dtype, (x,) = compute_operands(b, self)
    first, second = b.slice(x, axis, 0, half), b.slice(x, axis, half, half)
    return b.cast(b.apply("mul", first, b.apply("sigmoid", second)), dtype)


def _channel_weight(b: Builder, x: Value, weight: Value) -> Value:
    """One weight for each channel, shaped to broadcast over dimension 1."""
    if weight.rank == 0 or weight.shape == (1,) or x.rank < 2:
        return b.reshape(weight, (1,) * x.rank if weight.shape in ((), (1,)) else weight.shape)
    return b.reshape(weight, (1, weight.shape[0], *(1,) * (x.rank - 2)))


@target("aten.prelu.default")
def prelu(b: Builder, self: Value, weight: Value) -> Value:
    return prelu_kernel(b, self, _channel_weight(b, self, weight))


@target("aten._prelu_kernel.default")
def prelu_kernel(b: Builder, self: Value, weight: Value) -> Value:
    below = b.apply("mul", self, b.cast(weight, self.dtype))
    return b.where(b.apply("gt", self, number(b, 0, self)), self, below)
