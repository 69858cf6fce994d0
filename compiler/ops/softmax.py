"""Softmax in its forms: max, difference, exp, sum, quotient, which lowering makes one loop nest."""

from __future__ import annotations

import math

from ..ir.dtypes import DType
from ..ir.graph import Value
from .base import Builder, OperatorError, normalize_axis, target


def _prepared(x: Value, dim: int, dtype: DType | None) -> tuple[DType, tuple[int, ...]]:
    """The dtype of the result, and the axis it is normalised along."""
    dtype = dtype or x.dtype
    if not dtype.is_float:
        raise OperatorError(f"softmax of {x}: expected a floating-point dtype")
    axis = normalize_axis(dim, x.rank)
    return dtype, ((axis,) if x.rank else ())


def softmax_of(b: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    """exp(x - max) / sum, of a tensor of a type that arithmetic is done in."""
    exponentials = b.apply("exp_decay", b.apply("sub", x, b.reduce("max", x, axes, True)))
    return shares(b, exponentials, b.reduce("sum", exponentials, axes, True))


def shares(b: Builder, exponentials: Value, total: Value) -> Value:
    """exponentials / total, of a total that is at least 1: one quotient, then a product an element."""
    return b.apply("mul", exponentials, b.apply("reciprocal", total))


def log_softmax_of(b: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    """x - max - log(sum(exp(x - max))), of a tensor of a type that arithmetic is done in."""
    shifted = b.apply("sub", x, b.reduce("max", x, axes, True))
    total = b.reduce("sum", b.apply("exp_decay", shifted), axes, True)
    return b.apply("sub", shifted, b.apply("log", total))


@target("aten.softmax.int", "aten.special_softmax.default")
def softmax(b: Builder, self: Value, dim: int, dtype: DType | None = None) -> Value:
    result, axes = _prepared(self, dim, dtype)
    return b.cast(softmax_of(b, b.widen(self, result), axes), result)


@target("aten._softmax.default")
def core_softmax(b: Builder, self: Value, dim: int, half_to_float: bool) -> Value:
    return softmax(b, self, dim, DType.FLOAT32 if half_to_float else None)


@target("aten.log_softmax.int", "aten.special_log_softmax.default")
def log_softmax(b: Builder, self: Value, dim: int, dtype: DType | None = None) -> Value:
    result, axes = _prepared(self, dim, dtype)
    return b.cast(log_softmax_of(b, b.widen(self, result), axes), result)


@target("aten._log_softmax.default")
def core_log_softmax(b: Builder, self: Value, dim: int, half_to_float: bool) -> Value:
    return log_softmax(b, self, dim, DType.FLOAT32 if half_to_float else None)


@target("aten._safe_softmax.default")
def safe_softmax(b: Builder, self: Value, dim: int, dtype: DType | None = None) -> Value:
    """Softmax that gives zeros where a whole row is minus infinity."""
    result, axes = _prepared(self, dim, dtype)
    x = b.widen(self, result)
    largest = b.reduce("max", x, axes, True)
    is_masked = b.apply("eq", largest, b.full((), -math.inf, x.dtype))
    zero = b.full((), 0, x.dtype)
    shift = b.where(is_masked, zero, largest)
    exponentials = b.apply("exp_decay", b.apply("sub", x, shift))
    total = b.reduce("sum", exponentials, axes, True)
    total = b.where(is_masked, b.full((), 1, x.dtype), total)
    return b.cast(shares(b, exponentials, total), result)


@target("aten._masked_softmax.default")
def masked_softmax(
    b: Builder, self: Value, mask: Value, dim: int | None = None, mask_type: int | None = None
) -> Value:
    """Softmax without the positions where `mask` is true.

    `mask_type` 0: a mask [L, L] for scores [B, heads, L, L]; 1: [B, L]; 2: of the scores' shape.
    """
    if mask_type == 1 and mask.rank == 2 and self.rank == 4:
        mask = b.reshape(mask, (mask.shape[0], 1, 1, mask.shape[1]))
    hidden = b.where(b.cast(mask, DType.BOOL), b.full((), -math.inf, self.dtype), self)
    return softmax(b, hidden, -1 if dim is None else dim)


@target("aten._softmax_backward_data.default")
def softmax_backward(
    b: Builder, grad_output: Value, output: Value, dim: int, input_dtype: DType
) -> Value:
    axes = (normalize_axis(dim, output.rank),) if output.rank else ()
    inner = grad_output.dtype.compute
    gradient, y = b.cast(grad_output, inner), b.cast(output, inner)
    weighted = b.apply("mul", gradient, y)
    total = b.reduce("sum", weighted, axes, True)
    return b.cast(b.apply("sub", weighted, b.apply("mul", y, total)), input_dtype)


@target("aten._log_softmax_backward_data.default")
def log_softmax_backward(
    b: Builder, grad_output: Value, output: Value, dim: int, input_dtype: DType
) -> Value:
    axes = (normalize_axis(dim, output.rank),) if output.rank else ()
    inner = grad_output.dtype.compute
    gradient, y = b.cast(grad_output, inner), b.cast(output, inner)
    total = b.reduce("sum", gradient, axes, True)
    scaled = b.apply("mul", b.apply("exp", y), total)
    return b.cast(b.apply("sub", gradient, scaled), input_dtype)
