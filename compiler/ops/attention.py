"""Scaled dot-product attention, whole until lowering."""

from __future__ import annotations

import math

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..kernels import Definition
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError, target
from .pointwise import widen
from .softmax import shares


@dataclass(frozen=True, slots=True)
class Attention(Op):
    """softmax(scale * q k^T + mask) v. q [B…, Hq, L, E], k [B…, Hk, S, E], v [B…, Hk, S, V]; Hk
    divides Hq.

    An optional fourth input is a mask that broadcasts to [B…, Hq, L, S]: bool (true takes part) or
    float32 (added). `is_causal` lets row i see columns 0 to i. A row that sees nothing
    gives zeros.
    """

    scale: float
    is_causal: bool

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        q, k, v = inputs[:3]
        if not (q.rank == k.rank == v.rank >= 3) or not (q.dtype is k.dtype is v.dtype):
            raise OperatorError(f"attention of {q}, {k} and {v}")
        if len(inputs) == 4 and inputs[3].dtype not in (DType.BOOL, DType.FLOAT32):
            raise OperatorError(f"attention mask {inputs[3]} for {q}")
        return (TensorType(q.dtype, (*q.shape[:-1], v.shape[-1])),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        q, k, v = (widen(x) for x in inputs[:3])
        if k.shape[-3] != q.shape[-3]:
            groups = q.shape[-3] // max(k.shape[-3], 1)
            k, v = np.repeat(k, groups, axis=-3), np.repeat(v, groups, axis=-3)
        scores = np.matmul(q * q.dtype.type(self.scale), np.swapaxes(k, -1, -2))
        if self.is_causal:
            seen = np.tri(scores.shape[-2], scores.shape[-1], dtype=bool)
            scores = np.where(seen, scores, -np.inf)
        if len(inputs) == 4:
            mask = inputs[3]
            scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + widen(mask)
        top = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
        weights = np.exp(scores - np.where(top == -np.inf, 0, top))
        total = weights.sum(axis=-1, keepdims=True)
        weights = weights / np.where(total == 0, 1, total)
        return (np.matmul(weights.astype(q.dtype), v),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (output,) = outputs
        if 0 in output.shape or inputs[1].shape[-2] == 0:
            zero = kernels.literal(0, output.dtype)
            return (kernels.Pointwise(lambda index: zero),)
        return (kernels.Attention(self.scale, self.is_causal, len(inputs) == 4),)


def _scaled(b: Builder, query: Value, scale: float | None) -> tuple[Value, float]:
    """The queries, and what their products with the keys are multiplied by; a scale that the run decides is in them."""
    size = query.shape[-1]
    if scale is not None:
        return query, float(scale)
    if isinstance(size, int):
        return query, 1.0 / math.sqrt(size) if size else 1.0
    root = b.apply("rsqrt", b.dim(size, query.dtype.compute))
    scaled = b.apply("mul", b.widen(query), root)
    return b.cast(scaled, query.dtype), 1.0


def _with_common_batch(
    b: Builder, query: Value, key: Value, value: Value, enable_gqa: bool
) -> tuple[Value, Value, Value]:
    """The operands with equal leading dimensions; heads may differ where queries are grouped."""
    inner = 3 if enable_gqa else 2
    operands = (query, key, value)
    if min(x.rank for x in operands) < 2:
        raise OperatorError(f"attention of {query}, {key} and {value}: at least 2 dimensions")
    try:
        batch = shapes.broadcast_shapes(*(x.shape[:-inner] for x in operands))
    except ValueError as error:
        raise OperatorError(f"attention: {error}") from None
    if not batch and not enable_gqa:
        batch = (1,)
    return (
        b.expand(query, (*batch, *query.shape[-inner:])),
        b.expand(key, (*batch, *key.shape[-inner:])),
        b.expand(value, (*batch, *value.shape[-inner:])),
    )


def attention(
    b: Builder,
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    dropout_p: float = 0.0,
) -> Value:
    """Attention over operands as PyTorch takes them; of the weights a share `dropout_p` is dropped."""
    if mask is not None and is_causal:
        raise OperatorError("attention with both a mask and is_causal")
    query, factor = _scaled(b, query, scale)
    q, k, v = _with_common_batch(b, query, key, value, enable_gqa)
    whole = q.dtype in (DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16) and _is_compatible(q, mask)
    if whole and dropout_p == 0:
        result = _whole(b, q, k, v, mask, is_causal, factor)
    else:
        result, _ = _composed(b, q, k, v, mask, is_causal, factor, dropout_p)
    return b.squeeze(result, 0) if result.rank > max(query.rank, key.rank, value.rank) else result


def _whole(
    b: Builder, q: Value, k: Value, v: Value, mask: Value | None, is_causal: bool, scale: float
) -> Value:
    """One attention node over at most one batch dimension."""
    batch = q.shape[:-3]
    merged = (shapes.element_count(batch),)
    masks: tuple[Value, ...] = ()
    if mask is not None:
        masks = (mask if mask.dtype is DType.BOOL else b.cast(mask, DType.FLOAT32),)
    if len(batch) > 1:
        q, k, v = (b.reshape(x, (*merged, *x.shape[-3:])) for x in (q, k, v))
        if masks and masks[0].rank > 3:
            full = b.expand(masks[0], (*batch, *masks[0].shape[-3:]))
            masks = (b.reshape(full, (*merged, *full.shape[-3:])),)
    result = b.emit1(Attention(scale, is_causal), q, k, v, *masks)
    return b.reshape(result, (*batch, *result.shape[-3:]))


def _is_compatible(q: Value, mask: Value | None) -> bool:
    return mask is None or mask.dtype in (DType.BOOL, q.dtype)


def _composed(
    b: Builder,
    q: Value,
    k: Value,
    v: Value,
    mask: Value | None,
    is_causal: bool,
    scale: float,
    dropout_p: float,
) -> tuple[Value, Value]:
    """(attention, weights) from matrix products and a softmax."""
    k, v = _repeated_heads(b, k, q), _repeated_heads(b, v, q)
    weights, _ = _softmax(b, scores_of(b, q, k, mask, is_causal, scale))
    weights = b.call("aten.dropout.default", weights, dropout_p, True)
    return b.matmul(b.cast(weights, v.dtype), v), weights


def _repeated_heads(b: Builder, x: Value, q: Value) -> Value:
    if x.rank < 3 or x.shape[-3] == q.shape[-3]:
        return x
    *batch, heads, length, size = x.shape
    groups = shapes.floordiv(q.shape[-3], heads)
    wide = b.expand(b.unsqueeze(x, -3), (*batch, heads, groups, length, size))
    return b.reshape(wide, (*batch, q.shape[-3], length, size))


def scores_of(
    b: Builder, q: Value, k: Value, mask: Value | None, is_causal: bool, scale: float
) -> Value:
    product = b.matmul(b.apply("mul", q, b.full((), scale, q.dtype)), b.transpose(k, -1, -2))
    scores = b.widen(product)
    nothing = b.full((), -math.inf, scores.dtype)
    if is_causal:
        rows = b.unsqueeze(b.iota(q.shape[-2]), 1)
        seen = b.apply("le", b.iota(k.shape[-2]), rows)
        return b.where(seen, scores, nothing)
    if mask is None:
        return scores
    if mask.dtype is DType.BOOL:
        return b.where(mask, scores, nothing)
    return b.apply("add", scores, b.cast(mask, scores.dtype))


def _softmax(b: Builder, scores: Value) -> tuple[Value, Value]:
    """(softmax over the last dimension, its log-sum-exp); zeros where every score is -inf."""
    top = b.reduce("max", scores, (-1,), keepdim=True)
    hidden = b.apply("eq", top, b.full((), -math.inf, top.dtype))
    shift = b.where(hidden, b.full((), 0, top.dtype), top)
    powers = b.apply("exp_decay", b.apply("sub", scores, shift))
    total = b.reduce("sum", powers, (-1,), keepdim=True)
    divisor = b.where(hidden, b.full((), 1, top.dtype), total)
    logsumexp = b.apply("add", b.apply("log", total), shift)
    return shares(b, powers, divisor), b.squeeze(logsumexp, -1)


@target("aten.scaled_dot_product_attention.default")
def scaled_dot_product_attention(
    b: Builder,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    """Attention; heads of keys and values are shared by groups of queries with `enable_gqa`."""
    return attention(b, query, key, value, attn_mask, is_causal, scale, enable_gqa, dropout_p)


@target("aten._scaled_dot_product_attention_math.default")
def scaled_dot_product_attention_math(
    b: Builder,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    dropout_mask: Value | None = None,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Value, Value]:
    """(attention, weights); the run decides what is dropped, or `dropout_mask` says what stays."""
    query, factor = _scaled(b, query, scale)
    q, k, v = _with_common_batch(b, query, key, value, enable_gqa)
    if dropout_mask is None:
        result, weights = _composed(b, q, k, v, attn_mask, is_causal, factor, dropout_p)
    else:
        _, weights = _composed(b, q, k, v, attn_mask, is_causal, factor, 0.0)
        weights = b.where(dropout_mask, weights, b.full((), 0, weights.dtype))
        larger = b.call("aten.mul.Tensor", _repeated_heads(b, v, q), 1 / (1 - dropout_p))
        result = b.matmul(b.cast(weights, v.dtype), larger)
    weights = b.cast(weights, query.dtype)
    if result.rank > max(query.rank, key.rank, value.rank):
        return b.squeeze(result, 0), b.squeeze(weights, 0)
    return result, weights


def _with_logsumexp(
    b: Builder,
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None,
    is_causal: bool,
    scale: float | None,
    dropout_p: float,
) -> tuple[Value, Value]:
    query, factor = _scaled(b, query, scale)
    result = attention(b, query, key, value, mask, is_causal, factor, True, dropout_p)
    k = _repeated_heads(b, key, query)
    _, logsumexp = _softmax(b, scores_of(b, query, k, mask, is_causal, factor))
    return result, logsumexp


@target("aten._scaled_dot_product_flash_attention_for_cpu.default")
def flash_attention_for_cpu(
    b: Builder,
    query: Value,
    key: Value,
    value: Value,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Value | None = None,
    scale: float | None = None,
) -> tuple[Value, Value]:
    """(attention, logsumexp of the scores)."""
    return _with_logsumexp(b, query, key, value, attn_mask, is_causal, scale, dropout_p)


@target("aten._scaled_dot_product_efficient_attention.default")
def efficient_attention(
    b: Builder,
    query: Value,
    key: Value,
    value: Value,
    attn_bias: Value | None,
    compute_log_sumexp: bool,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Value, Value, Value, Value]:
    """(attention, logsumexp, seed, offset): the last two belong to dropout and are 0."""
    result, logsumexp = _with_logsumexp(
        b, query, key, value, attn_bias, is_causal, scale, dropout_p
    )
    zero = b.full((), 0, DType.INT64)
    return result, logsumexp, zero, zero


@target("aten._scaled_dot_product_flash_attention.default")
def flash_attention(
    b: Builder,
    query: Value,
    key: Value,
    value: Value,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,
    *,
    scale: float | None = None,
) -> tuple[object, ...]:
    """(attention, logsumexp, None, None, L, S, seed, offset, debug mask); the last three are not
    used.
    """
    result, logsumexp = _with_logsumexp(b, query, key, value, None, is_causal, scale, dropout_p)
    zero = b.full((), 0, DType.INT64)
    lengths = query.shape[-2], key.shape[-2]
    return result, logsumexp, None, None, *lengths, zero, zero, b.full((0,), 0, query.dtype)
