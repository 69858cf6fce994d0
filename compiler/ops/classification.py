"""Losses against class labels: negative log likelihood and cross entropy."""

from __future__ import annotations

from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..records import dataclass
from .activation import number
from .base import Builder, OperatorError, target
from .loss import MEAN, NONE, SUM, class_axis, reduced, sample_count
from .softmax import log_softmax_of


@dataclass(frozen=True, slots=True)
class Labels:
    """Class labels with those to be ignored made harmless."""

    safe: Value
    """The labels, 0 where ignored."""
    used: Value
    """bool: not ignored."""
    weight: Value
    """The weight of each label's class, 0 where ignored."""


def _labels(
    b: Builder, target: Value, weight: Value | None, ignore_index: Dim, dtype: DType
) -> Labels:
    label = b.cast(target, DType.INT64)
    used = b.apply("ne", label, b.dim(ignore_index))
    safe = b.where(used, label, b.full((), 0, DType.INT64))
    zero = b.full((), 0, dtype)
    if weight is None:
        return Labels(safe, used, b.where(used, b.full((), 1, dtype), zero))
    flat = b.reshape(safe, (_count(safe),))
    chosen = b.call("aten.index_select.default", b.cast(weight, dtype), 0, flat)
    return Labels(safe, used, b.where(used, b.reshape(chosen, safe.shape), zero))


def _count(x: Value) -> Dim:
    total: Dim = 1
    for size in x.shape:
        total = total * size
    return total


def _picked(b: Builder, x: Value, labels: Labels) -> Value:
    """The score of each label's class."""
    axis = class_axis(x)
    if labels.safe.rank == x.rank:  # a single sample with a target of one element
        return b.reshape(b.call("aten.gather.default", x, axis, labels.safe), labels.safe.shape)
    index = b.unsqueeze(labels.safe, axis)
    return b.reshape(b.call("aten.gather.default", x, axis, index), labels.safe.shape)


def _likelihood(
    b: Builder, x: Value, target: Value, weight: Value | None, reduction: int, ignore_index: Dim
) -> tuple[Value, Value]:
    """(loss, total weight) for scores of a type that arithmetic is done in."""
    labels = _labels(b, target, weight, ignore_index, x.dtype)
    weighted = b.apply("neg", b.apply("mul", _picked(b, x, labels), labels.weight))
    loss = b.where(labels.used, weighted, number(b, 0, x))
    total = b.reduce("sum", labels.weight, range(labels.weight.rank))
    if reduction == NONE:
        return loss, number(b, 0, x)
    loss = b.reduce("sum", loss, range(loss.rank))
    return (b.apply("div", loss, total) if reduction == MEAN else loss), total


@target("aten.nll_loss_forward.default", "aten.nll_loss2d_forward.default")
def nll_loss_forward(
    b: Builder, self: Value, target: Value, weight: Value | None, reduction: int, ignore_index: Dim
) -> tuple[Value, Value]:
    x = b.cast(self, self.dtype.compute)
    loss, total = _likelihood(b, x, target, weight, reduction, ignore_index)
    return b.cast(loss, self.dtype), b.cast(total, self.dtype)


@target("aten.nll_loss.default", "aten.nll_loss2d.default", "aten.nll_loss_nd.default")
def nll_loss(
    b: Builder, self: Value, target: Value, weight: Value | None = None, reduction: int = MEAN,
    ignore_index: Dim = -100,
) -> Value:  # fmt: skip
    return nll_loss_forward(b, self, target, weight, reduction, ignore_index)[0]


def _class_weights(b: Builder, x: Value, weight: Value) -> Value:
    axis = class_axis(x)
    wide = tuple(weight.shape[0] if i == axis else 1 for i in range(x.rank))
    return b.reshape(b.cast(weight, x.dtype), wide)


@target("aten.cross_entropy_loss.default")
def cross_entropy_loss(
    b: Builder, self: Value, target: Value, weight: Value | None = None, reduction: int = MEAN,
    ignore_index: Dim = -100, label_smoothing: float = 0.0,
) -> Value:  # fmt: skip
    """Against class labels, or against probabilities where `target` has floats."""
    axis = class_axis(self)
    scores = log_softmax_of(b, b.widen(self), (axis,))
    if target.dtype.is_float:
        loss = _against_probabilities(b, scores, target, weight, reduction, label_smoothing)
    else:
        loss, _ = _likelihood(b, scores, target, weight, reduction, ignore_index)
        if label_smoothing:
            smooth = _smoothing(b, scores, target, weight, reduction, ignore_index)
            spread = b.apply(
                "div", number(b, label_smoothing, loss), b.dim(self.shape[axis], loss.dtype)
            )
            kept = b.apply("mul", loss, number(b, 1 - label_smoothing, loss))
            loss = b.apply("add", kept, b.apply("mul", smooth, spread))
    return b.cast(loss, self.dtype)


def _against_probabilities(
    b: Builder, scores: Value, target: Value, weight: Value | None, reduction: int, smoothing: float
) -> Value:
    axis = class_axis(scores)
    wanted = b.cast(target, scores.dtype)
    if smoothing:
        spread = b.apply(
            "div", number(b, smoothing, wanted), b.dim(scores.shape[axis], wanted.dtype)
        )
        wanted = b.apply("add", b.apply("mul", wanted, number(b, 1 - smoothing, wanted)), spread)
    product = b.apply("mul", scores, wanted)
    if weight is not None:
        product = b.apply("mul", product, _class_weights(b, scores, weight))
    loss = b.apply("neg", b.reduce("sum", product, (axis,)))
    if reduction != MEAN:
        return reduced(b, loss, reduction)
    total = b.reduce("sum", loss, range(loss.rank))
    return b.apply("div", total, b.dim(sample_count(scores), loss.dtype))


def _smoothing(
    b: Builder,
    scores: Value,
    target: Value,
    weight: Value | None,
    reduction: int,
    ignore_index: Dim,
) -> Value:
    """The loss against a uniform distribution over classes."""
    labels = _labels(b, target, weight, ignore_index, scores.dtype)
    weighted = scores
    if weight is not None:
        weighted = b.apply("mul", scores, _class_weights(b, scores, weight))
    loss = b.apply("neg", b.reduce("sum", weighted, (class_axis(scores),)))
    loss = b.where(labels.used, loss, number(b, 0, loss))
    if reduction != MEAN:
        return reduced(b, loss, reduction)
    total = b.reduce("sum", labels.weight, range(labels.weight.rank))
    return b.apply("div", b.reduce("sum", loss, range(loss.rank)), total)


def _of_linear(
    b: Builder, x: Value, linear_weight: Value, linear_bias: Value | None
) -> tuple[DType, Value]:
    """(the result's dtype, class scores): the scores in the type arithmetic is done in."""
    inner = x.dtype.compute
    bias = None if linear_bias is None else b.cast(linear_bias, inner)
    scores: Value = b.call(
        "aten.linear.default", b.cast(x, inner), b.cast(linear_weight, inner), bias
    )
    return x.dtype, scores


@target("torch_nn._linear_cross_entropy_batch_chunked_no_reduction.default")
def linear_cross_entropy_elements(
    b: Builder, input: Value, linear_weight: Value, target: Value, linear_bias: Value | None,
    weight: Value | None, ignore_index: Dim, batch_chunk_size: Dim, acc_policy: str,
    acc_dtype: DType,
) -> Value:  # fmt: skip
    """The cross entropy of each row of a linear layer; cutting the batch changes nothing."""
    dtype, scores = _of_linear(b, input, linear_weight, linear_bias)
    loss = cross_entropy_loss(b, scores, target, weight, NONE, ignore_index)
    return b.cast(loss, dtype)


@target("torch_nn._linear_cross_entropy_batch_chunked.default")
def linear_cross_entropy(
    b: Builder, input: Value, linear_weight: Value, target: Value, linear_bias: Value | None,
    weight: Value | None, reduction: str, ignore_index: Dim, label_smoothing: float,
    batch_chunk_size: Dim, acc_policy: str, acc_dtype: DType, allow_retain_graph: bool,
    compute_input_grad: bool, compute_linear_weight_grad: bool, compute_linear_bias_grad: bool,
) -> tuple[Value, Value, Value, Value]:  # fmt: skip
    """(loss, and three gradients, which are empty where they are not asked for)."""
    if compute_input_grad or compute_linear_weight_grad or compute_linear_bias_grad:
        raise OperatorError("linear_cross_entropy with gradients: export under torch.no_grad()")
    dtype, scores = _of_linear(b, input, linear_weight, linear_bias)
    kind = {"mean": MEAN, "sum": SUM}[reduction]
    loss = cross_entropy_loss(b, scores, target, weight, kind, ignore_index, label_smoothing)
    nothing, no_bias = b.full((0, 0), 0, dtype), b.full((0,), 0, dtype)
    return b.cast(loss, dtype), nothing, nothing, no_bias
