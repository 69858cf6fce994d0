"""Losses of numbers and pairs: squared, absolute, entropies, margins, embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..kernels import Number
from .activation import number, rectified, softplus_of
from .base import Builder, OperatorError, target
from .pointwise import compute_operands
from .statistics import mean_of

NONE, MEAN, SUM = range(3)
"""PyTorch's codes for what becomes of the elements of a loss."""


def reduced(b: Builder, loss: Value, reduction: int) -> Value:
    """The elements themselves, their mean, or their sum."""
    axes = range(loss.rank)
    if reduction == NONE:
        return loss
    if reduction == MEAN:
        return mean_of(b, loss, axes, keepdim=False)
    if reduction == SUM:
        return b.reduce("sum", loss, axes)
    raise OperatorError(f"reduction {reduction}: expected 0 (none), 1 (mean) or 2 (sum)")


def _difference(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    """(what has the result's dtype, |x - y|)."""
    dtype, (left, right) = compute_operands(b, x, y)
    return b.full((), 0, dtype.real), b.apply("abs", b.apply("sub", left, right))


@target("aten.mse_loss.default")
def mse_loss(b: Builder, self: Value, target: Value, reduction: int = MEAN) -> Value:
    like, distance = _difference(b, self, target)
    return b.cast(reduced(b, b.apply("mul", distance, distance), reduction), like.dtype)


@target("aten.l1_loss.default")
def l1_loss(b: Builder, self: Value, target: Value, reduction: int = MEAN) -> Value:
    like, distance = _difference(b, self, target)
    return b.cast(reduced(b, distance, reduction), like.dtype)


def _half_square(b: Builder, x: Value) -> Value:
    return b.apply("mul", b.apply("mul", x, x), number(b, 0.5, x))


@target("aten.smooth_l1_loss.default")
def smooth_l1_loss(
    b: Builder, self: Value, target: Value, reduction: int = MEAN, beta: float = 1.0
) -> Value:
    if beta == 0:
        return l1_loss(b, self, target, reduction)
    like, distance = _difference(b, self, target)
    near = b.apply("div", _half_square(b, distance), number(b, beta, distance))
    far = b.apply("sub", distance, number(b, 0.5 * beta, distance))
    loss = b.where(b.apply("lt", distance, number(b, beta, distance)), near, far)
    return b.cast(reduced(b, loss, reduction), like.dtype)


@target("aten.huber_loss.default")
def huber_loss(
    b: Builder, self: Value, target: Value, reduction: int = MEAN, delta: float = 1.0
) -> Value:
    like, distance = _difference(b, self, target)
    far = b.apply("sub", distance, number(b, 0.5 * delta, distance))
    far = b.apply("mul", far, number(b, delta, distance))
    near = b.apply("le", distance, number(b, delta, distance))
    loss = b.where(near, _half_square(b, distance), far)
    return b.cast(reduced(b, loss, reduction), like.dtype)


# -------------------------------------------------------------------------------------- entropies


def _weighted(b: Builder, loss: Value, weight: Value | None) -> Value:
    return loss if weight is None else b.apply("mul", loss, b.cast(weight, loss.dtype))


@target("aten.binary_cross_entropy.default")
def binary_cross_entropy(
    b: Builder, self: Value, target: Value, weight: Value | None = None, reduction: int = MEAN
) -> Value:
    """Logarithms are held above -100, as PyTorch's are."""
    dtype, (x, y) = compute_operands(b, self, target)
    floor = number(b, -100, x)
    log_hit = b.apply("maximum", b.apply("log", x), floor)
    log_miss = b.apply("maximum", b.apply("log1p", b.apply("neg", x)), floor)
    miss = b.apply("mul", b.apply("sub", y, number(b, 1, y)), log_miss)
    loss = b.apply("sub", miss, b.apply("mul", y, log_hit))
    return b.cast(reduced(b, _weighted(b, loss, weight), reduction), dtype)


@target("aten.binary_cross_entropy_with_logits.default")
def binary_cross_entropy_with_logits(
    b: Builder, self: Value, target: Value, weight: Value | None = None,
    pos_weight: Value | None = None, reduction: int = MEAN,
) -> Value:  # fmt: skip
    dtype, (x, y) = compute_operands(b, self, target)
    one = number(b, 1, x)
    log_odds = softplus_of(b, b.apply("neg", x))  # -log(sigmoid(x))
    if pos_weight is not None:
        extra = b.apply("sub", b.cast(pos_weight, x.dtype), one)
        factor = b.apply("add", b.apply("mul", extra, y), one)
        log_odds = b.apply("mul", factor, log_odds)
    loss = b.apply("add", b.apply("mul", b.apply("sub", one, y), x), log_odds)
    return b.cast(reduced(b, _weighted(b, loss, weight), reduction), dtype)


@target("aten.kl_div.default")
def kl_div(
    b: Builder, self: Value, target: Value, reduction: int = MEAN, log_target: bool = False
) -> Value:
    dtype, (x, y) = compute_operands(b, self, target)
    if log_target:
        loss = b.apply("mul", b.apply("exp", y), b.apply("sub", y, x))
    else:
        loss = b.apply("sub", b.call("aten.xlogy.Tensor", y, y), b.apply("mul", y, x))
    return b.cast(reduced(b, loss, reduction), dtype)


@target("aten.poisson_nll_loss.default")
def poisson_nll_loss(
    b: Builder, input: Value, target: Value, log_input: bool, full: bool, eps: float, reduction: int
) -> Value:
    dtype, (x, y) = compute_operands(b, input, target, floating=True)
    if log_input:
        loss = b.apply("sub", b.apply("exp", x), b.apply("mul", y, x))
    else:
        logarithm = b.apply("log", b.apply("add", x, number(b, eps, x)))
        loss = b.apply("sub", x, b.apply("mul", y, logarithm))
    if full:  # Stirling's approximation of log(y!)
        stirling = b.apply("sub", b.apply("mul", y, b.apply("log", y)), y)
        root = b.apply("log", b.apply("mul", y, number(b, 2 * math.pi, y)))
        stirling = b.apply("add", stirling, b.apply("mul", root, number(b, 0.5, y)))
        large = b.apply("gt", y, number(b, 1, y))
        loss = b.apply("add", loss, b.where(large, stirling, number(b, 0, y)))
    return b.cast(reduced(b, loss, reduction), dtype)


# ---------------------------------------------------------------------------------------- margins


@target("aten.hinge_embedding_loss.default")
def hinge_embedding_loss(
    b: Builder, self: Value, target: Value, margin: float = 1.0, reduction: int = MEAN
) -> Value:
    dtype, (x, y) = compute_operands(b, self, target)
    one, zero = number(b, 1, y), number(b, 0, x)
    missed = rectified(b, b.apply("sub", number(b, margin, x), x))
    below = b.where(b.apply("ne", y, one), missed, zero)
    above = b.where(b.apply("ne", y, b.apply("neg", one)), x, zero)
    return b.cast(reduced(b, b.apply("add", below, above), reduction), dtype)


@target("aten.soft_margin_loss.default")
def soft_margin_loss(b: Builder, self: Value, target: Value, reduction: int = MEAN) -> Value:
    dtype, (x, y) = compute_operands(b, self, target)
    # The exponential is rounded to the dtype and may overflow, as PyTorch's does.
    growth = b.cast(b.apply("exp", b.apply("neg", b.apply("mul", x, y))), dtype)
    loss = b.apply("log1p", b.cast(growth, x.dtype))
    return b.cast(reduced(b, loss, reduction), dtype)


@target("aten.margin_ranking_loss.default")
def margin_ranking_loss(
    b: Builder, input1: Value, input2: Value, target: Value, margin: float = 0.0,
    reduction: int = MEAN,
) -> Value:  # fmt: skip
    dtype, (first, second, y) = compute_operands(b, input1, input2, target)
    gap = b.apply("mul", b.apply("neg", y), b.apply("sub", first, second))
    if not dtype.is_float:  # the margin makes floats of integers
        dtype = DType.FLOAT32
        gap = b.cast(gap, dtype)
    loss = rectified(b, b.apply("add", gap, number(b, margin, gap)))
    return b.cast(reduced(b, loss, reduction), dtype)


@target("aten.cosine_embedding_loss.default")
def cosine_embedding_loss(
    b: Builder, input1: Value, input2: Value, target: Value, margin: float = 0.0,
    reduction: int = MEAN,
) -> Value:  # fmt: skip
    dtype, (first, second) = compute_operands(b, input1, input2, floating=True)
    axes = (min(target.rank, 1),)

    def dot(left: Value, right: Value) -> Value:
        product = b.apply("mul", left, right)
        return b.reduce("sum", product, axes)

    tiny = number(b, 1e-12, first)
    sizes = [b.apply("add", dot(x, x), tiny) for x in (first, second)]
    length = b.apply("sqrt", b.apply("mul", *sizes))
    cosine = b.apply("div", dot(first, second), length)
    one, zero = number(b, 1, cosine), number(b, 0, cosine)
    apart = rectified(b, b.apply("sub", cosine, number(b, margin, cosine)))
    sign = b.cast(target, cosine.dtype)
    alike = b.where(b.apply("eq", sign, one), b.apply("sub", one, cosine), zero)
    unlike = b.where(b.apply("eq", sign, b.apply("neg", one)), apart, zero)
    return b.cast(reduced(b, b.apply("add", alike, unlike), reduction), dtype)


@target("aten.triplet_margin_loss.default")
def triplet_margin_loss(
    b: Builder, anchor: Value, positive: Value, negative: Value, margin: float = 1.0,
    p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: int = MEAN,
) -> Value:  # fmt: skip
    dtype = b.result_type(anchor, positive, negative).real
    if not dtype.is_float:
        dtype = DType.FLOAT32

    def distance(left: Value, right: Value) -> Value:
        result: Value = b.call("aten.pairwise_distance.default", left, right, p, eps)
        return b.cast(result, dtype.compute)

    to_far = distance(anchor, negative)
    if swap:
        to_far = b.apply("minimum", to_far, distance(positive, negative))
    gap = b.apply("sub", distance(anchor, positive), to_far)
    loss = rectified(b, b.apply("add", gap, number(b, margin, gap)))
    return b.cast(reduced(b, loss, reduction), dtype)


@target("aten.multi_margin_loss.default")
def multi_margin_loss(
    b: Builder, self: Value, target: Value, p: Number = 1, margin: Number = 1,
    weight: Value | None = None, reduction: int = MEAN,
) -> Value:  # fmt: skip
    """The mean over classes of max(0, margin - x[target] + x[class])**p, the target left out."""
    inner = self.dtype.compute
    classes = self.shape[-1] if self.rank else 1
    rows = self.shape[0] if self.rank > 1 else 1
    x = b.reshape(b.cast(self, inner), (rows, classes))
    label = b.reshape(b.cast(target, DType.INT64), (rows, 1))
    held = b.call("aten.gather.default", x, 1, label)
    slack = b.apply("add", b.apply("sub", number(b, margin, x), held), x)
    slack = rectified(b, slack)
    if p == 2:
        slack = b.apply("mul", slack, slack)
    elif p != 1:
        raise OperatorError(f"multi_margin_loss: expected p 1 or 2, got {p}")
    if weight is not None:
        chosen = b.call(
            "aten.index_select.default", b.cast(weight, inner), 0, b.reshape(label, (rows,))
        )
        slack = b.apply("mul", slack, b.reshape(chosen, (rows, 1)))
    others = b.apply("ne", b.reshape(b.iota(classes), (1, classes)), label)
    slack = b.where(others, slack, number(b, 0, slack))
    loss = mean_of(b, slack, (1,), keepdim=False)
    if self.rank < 2:
        loss = b.reshape(loss, ())
    return b.cast(reduced(b, loss, reduction), self.dtype)


@target("aten.multilabel_margin_loss.default")
def multilabel_margin_loss(b: Builder, self: Value, target: Value, reduction: int = MEAN) -> Value:
    return multilabel_margin_loss_forward(b, self, target, reduction)[0]


@target("aten.multilabel_margin_loss_forward.default")
def multilabel_margin_loss_forward(
    b: Builder, self: Value, target: Value, reduction: int
) -> tuple[Value, Value]:
    """(loss, which classes are targets). A row's targets end before its first negative one."""
    inner = self.dtype.compute
    classes = self.shape[-1] if self.rank else 1
    rows = self.shape[0] if self.rank > 1 else 1
    x = b.reshape(b.cast(self, inner), (rows, classes))
    label = b.reshape(target, (rows, classes))
    zero = b.full((), 0, label.dtype)
    ended = b.cast(b.apply("lt", label, zero), label.dtype)
    counted = b.apply("eq", b.call("aten.cumsum.default", ended, 1), zero)
    safe = b.where(counted, label, zero)
    # [row, target, class]
    matches = b.apply("eq", b.unsqueeze(safe, 2), b.reshape(b.iota(classes), (1, 1, classes)))
    matches = b.apply("logical_and", matches, b.unsqueeze(counted, 2))
    is_target = b.reduce("any", matches, (1,))
    held = b.call("aten.gather.default", x, 1, safe)
    gap = b.apply("sub", b.unsqueeze(x, 1), b.unsqueeze(held, 2))
    slack = rectified(b, b.apply("add", gap, number(b, 1, gap)))
    others = b.apply("logical_not", b.unsqueeze(is_target, 1))
    used = b.apply("logical_and", b.unsqueeze(counted, 2), others)
    slack = b.where(used, slack, number(b, 0, slack))
    loss = b.apply("div", b.reduce("sum", slack, (1, 2)), b.dim(classes, inner))
    if self.rank < 2:
        loss = b.reshape(loss, ())
    marks = b.reshape(b.cast(is_target, self.dtype), target.shape)
    return b.cast(reduced(b, loss, reduction), self.dtype), marks


def class_axis(x: Value) -> int:
    """The dimension that counts classes: 1, or the only one."""
    return 1 if x.rank > 1 else 0


def sample_count(x: Value) -> shapes.Dim:
    """How many predictions a tensor of class scores holds."""
    axis = class_axis(x)
    kept: Sequence[shapes.Dim] = [size for i, size in enumerate(x.shape) if i != axis]
    return shapes.element_count(kept)
