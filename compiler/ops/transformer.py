"""Layers that PyTorch fuses for inference: multi-head attention with one weight for q, k and v, and a
transformer encoder's layer around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import shapes
from ..ir.graph import Value
from .attention import scaled_dot_product_attention
from .base import Builder, OperatorError, target
from .matmul import linear
from .normalization import layer_norm
from .softmax import masked_softmax


def _heads(b: Builder, x: Value, count: int) -> Value:
    """[B, T, D] as [B, heads, T, D / heads]."""
    batch, length, size = x.shape
    return b.transpose(b.reshape(x, (batch, length, count, shapes.floordiv(size, count))), 1, 2)


def _thirds(b: Builder, x: Value, axis: int) -> list[Value]:
    size = shapes.floordiv(x.shape[axis], 3)
    return [b.slice(x, axis, i * size, size) for i in range(3)]


def _head_size(x: Value) -> int:
    size = x.shape[-1]
    if not isinstance(size, int) or size == 0:
        raise OperatorError(
            f"attention with heads of {size} elements: expected a size that is known"
        )
    return size


@target(
    "aten._transform_bias_rescale_qkv.default",
    samples=["(T[2, 3, 12], T[12], 2) | float32 float64"],
)
def transform_bias_rescale_qkv(
    b: Builder, qkv: Value, qkv_bias: Value, num_heads: int
) -> tuple[Value, Value, Value]:
    """Queries over the root of a head's size, keys, values: each [B, heads, T, D / heads]."""
    q, k, v = (_heads(b, x, num_heads) for x in _thirds(b, b.apply("add", qkv, qkv_bias), 2))
    return b.call("aten.div.Tensor", q, math.sqrt(_head_size(q))), k, v


def _projected(
    b: Builder, sources: Sequence[Value], weight: Value, bias: Value, heads: int
) -> list[Value]:
    """Queries, keys and values: one product where they come of one tensor."""
    query, key, value = sources
    if query is key and key is value:
        parts = _thirds(b, linear(b, query, weight, bias), 2)
    else:
        rows = zip(sources, _thirds(b, weight, 0), _thirds(b, bias, 0), strict=True)
        parts = [linear(b, *row) for row in rows]
    return [_heads(b, part, heads) for part in parts]


@target(
    "aten._native_multi_head_attention.default",
    samples=[
        "(T[2, 3, 4], T[2, 3, 4], T[2, 3, 4], 4, 2, T[12, 4], T[12], T[4, 4], T[4], None, False) | float32",
        "(T[2, 3, 4], T[2, 3, 4], T[2, 3, 4], 4, 2, T[12, 4], T[12], T[4, 4], T[4]) | float32 float64",
    ],
)
def native_multi_head_attention(
    b: Builder, query: Value, key: Value, value: Value, embed_dim: int, num_head: int,
    qkv_weight: Value, qkv_bias: Value, proj_weight: Value, proj_bias: Value,
    mask: Value | None = None, need_weights: bool = True, average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Value, Value | None]:  # fmt: skip
    """(attention [B, T, D], its weights where needed); what a bool `mask` marks takes no part."""
    q, k, v = _projected(b, (query, key, value), qkv_weight, qkv_bias, num_head)
    weights = None
    if mask is None and not need_weights:
        mixed = scaled_dot_product_attention(b, q, k, v)
    else:
        scores = b.matmul(
            b.call("aten.div.Tensor", q, math.sqrt(_head_size(q))), b.transpose(k, 2, 3)
        )
        if mask is None:
            weights = b.call("aten.softmax.int", scores, -1)
        else:
            weights = masked_softmax(b, scores, mask, 3, mask_type)
        mixed = b.matmul(weights, v)
    batch, _, length, _ = q.shape
    joined = b.reshape(b.transpose(mixed, 1, 2), (batch, length, embed_dim))
    result = linear(b, joined, proj_weight, proj_bias)
    if not need_weights:
        return result, None
    if average_attn_weights:
        weights = b.call("aten.mean.dim", weights, [1])
    return result, weights


@target(
    "aten._transformer_encoder_layer_fwd.default",
    samples=[
        "(T[2, 3, 4], 4, 2, T[12, 4], T[12], T[4, 4], T[4], False, False, 1e-5, T[4], T[4], T[4], T[4],"
        " T[6, 4], T[6], T[4, 6], T[4]) | float32 float64",
        "(T[2, 3, 4], 4, 2, T[12, 4], T[12], T[4, 4], T[4], True, True, 1e-5, T[4], T[4], T[4], T[4],"
        " T[6, 4], T[6], T[4, 6], T[4]) | float32",
    ],
)
def transformer_encoder_layer(
    b: Builder, src: Value, embed_dim: int, num_heads: int, qkv_weight: Value, qkv_bias: Value,
    proj_weight: Value, proj_bias: Value, use_gelu: bool, norm_first: bool, eps: float,
    norm_weight_1: Value, norm_bias_1: Value, norm_weight_2: Value, norm_bias_2: Value,
    ffn_weight_1: Value, ffn_bias_1: Value, ffn_weight_2: Value, ffn_bias_2: Value,
    mask: Value | None = None, mask_type: int | None = None,
) -> Value:  # fmt: skip
    """Attention and two linear layers, each with what it is added to, and norms before or after."""

    def norm(x: Value, weight: Value, bias: Value) -> Value:
        return layer_norm(b, x, [embed_dim], weight, bias, eps)

    x = norm(src, norm_weight_1, norm_bias_1) if norm_first else src
    attended, _ = native_multi_head_attention(
        b, x, x, x, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask,
        need_weights=False, mask_type=mask_type,
    )  # fmt: skip
    x = b.apply("add", attended, src)
    if not norm_first:
        x = norm(x, norm_weight_1, norm_bias_1)
    inner = norm(x, norm_weight_2, norm_bias_2) if norm_first else x
    activation = "aten.gelu.default" if use_gelu else "aten.relu.default"
    hidden = b.call(activation, linear(b, inner, ffn_weight_1, ffn_bias_1))
    x = b.apply("add", linear(b, hidden, ffn_weight_2, ffn_bias_2), x)
    return x if norm_first else norm(x, norm_weight_2, norm_bias_2)
