"""A spread of programs over what code generation can be asked for: each a graph and its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from ml_dtypes import bfloat16

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, Value

from ..graphs import GraphBuilder, size

Case = Callable[[], tuple[Graph, list[np.ndarray]]]


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _whole(*shape: int) -> np.ndarray:
    """Small whole numbers: their sums of products are exact in bfloat16."""
    return np.rint(_random(*shape))


def pointwise_chain() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x, y = b.input("x", 7, 33), b.input("y", 33)
    z = b.apply("tanh", b.apply("add", x, b.apply("exp", y)))
    return b.graph(b.apply("mul", z, x)), [_random(7, 33), _random(33)]


def softmax() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.input("x", size("rows"), size("columns", 1))
    return b.graph(b.call("aten.softmax.int", x, -1)), [_random(5, 37)]


def layer_norm() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.input("x", 6, 40)
    weight, bias = b.array(_random(40), "weight"), b.array(_random(40) + 1, "bias")
    y = b.call("aten.layer_norm.default", x, [40], weight, bias)
    return b.graph(y), [_random(6, 40)]


def linear_gelu() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.input("x", size("batch"), 19)
    weight, bias = b.array(_random(23, 19), "weight"), b.array(_random(23), "bias")
    y = b.call("aten.gelu.default", b.call("aten.linear.default", x, weight, bias))
    return b.graph(y), [_random(9, 19)]


def linear_bfloat16() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.cast(b.input("x", size("batch"), 40), DType.BFLOAT16)
    weight, bias = (b.array(_whole(*shape).astype(bfloat16)) for shape in ((23, 40), (23,)))
    y = b.call("aten.relu.default", b.call("aten.linear.default", x, weight, bias))
    return b.graph(b.cast(y, DType.FLOAT32)), [_whole(33, 40)]


def _dequantized_weight(b: GraphBuilder, *shape: int) -> Value:
    levels = b.array(
        (np.arange(np.prod(shape)).reshape(shape) * 37 % 255 - 127).astype(np.int8), "levels"
    )
    scales = b.array(np.linspace(0.01, 0.02, shape[0], dtype=np.float32), "scales")
    dequantize = "quantized_decomposed.dequantize_per_channel.default"
    return b.call(dequantize, levels, scales, None, 0, -128, 127, DType.INT8)


def quantised_layers() -> tuple[Graph, list[np.ndarray]]:
    """A convolution and a linear layer that multiply levels of 8 bits."""
    b = GraphBuilder()
    limits = (0.37113, 3, 0, 255, DType.UINT8)  # no sum lies just between two levels
    q = b.input("q", size("batch"), 5, 9, 8, dtype=DType.UINT8)
    x = b.call("quantized_decomposed.dequantize_per_tensor.default", q, *limits)
    x = b.call("aten.conv2d.default", x, _dequantized_weight(b, 20, 5, 3, 3), None, 1, 1)
    q = b.call("quantized_decomposed.quantize_per_tensor.default", x, *limits)
    x = b.call("quantized_decomposed.dequantize_per_tensor.default", q, *limits)
    y = b.call("aten.linear.default", x, _dequantized_weight(b, 7, 8))
    levels = np.arange(2 * 5 * 9 * 8).reshape(2, 5, 9, 8) % 7
    return b.graph(y), [levels.astype(np.uint8)]


def convolution_by_transforms() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.input("x", size("batch"), 16, 29, 28)
    weight, bias = b.array(_random(16, 16, 3, 3), "weight"), b.array(_random(16), "bias")
    y = b.call("aten.conv2d.default", x, weight, bias, 1, 1)
    return b.graph(b.apply("add", b.call("aten.silu.default", y), x)), [_random(2, 16, 29, 28) / 64]


def convolution_bfloat16() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.cast(b.input("x", 2, 3, 9, 8), DType.BFLOAT16)
    weight = b.array(_whole(5, 3, 3, 3).astype(bfloat16))
    y = b.call("aten.conv2d.default", x, weight, None, [2, 1], [1, 1])
    return b.graph(b.cast(b.call("aten.relu.default", y), DType.FLOAT32)), [_whole(2, 3, 9, 8)]


def convolution() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.input("x", 2, 3, 9, 8)
    weight, bias = b.array(_random(5, 3, 3, 3), "weight"), b.array(_random(5), "bias")
    y = b.call("aten.conv2d.default", x, weight, bias, [2, 1], [1, 1])
    return b.graph(b.call("aten.relu.default", y)), [_random(2, 3, 9, 8)]


def attention() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    q, k, v = (b.input(name, 2, 3, 11, 16) for name in "qkv")
    y = b.call("aten.scaled_dot_product_attention.default", q, k, v, is_causal=True)
    return b.graph(y), [_random(2, 3, 11, 16) + i for i in range(3)]


def strided_reductions() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.input("x", 4, 13, 6)
    total = b.reduce("sum", x, [1])
    largest = b.reduce("max", b.apply("exp", x), [0, 2], keepdim=True)
    return b.graph(total, largest), [_random(4, 13, 6)]


def joined_views() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x, y = b.input("x", 3, 8), b.input("y", 5, 3)
    flipped = b.flip(b.slice(x, 1, 1, 5, 1), [1])
    y = b.transpose(y, 0, 1)
    joined = b.concatenate([b.apply("neg", flipped), y], 1)
    return b.graph(joined), [_random(3, 8), _random(5, 3)]


def gather_and_scatter() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    table = b.array(_random(10, 4), "table")
    ids = b.input("ids", size("n"), dtype=DType.INT64)
    rows = b.call("aten.embedding.default", table, ids)
    base = b.input("base", 6, 4)
    place = b.input("place", size("n"), dtype=DType.INT64)
    y = b.call("aten.index_add.default", base, 0, place, rows)
    return b.graph(y), [np.array([1, 9, 3]), _random(6, 4), np.array([5, 0, 5])]


def sort_and_cumulate() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.input("x", 3, 17)
    values, _ = b.call("aten.sort.default", x)
    return b.graph(b.call("aten.cumsum.default", values, -1)), [_random(3, 17)]


def integers_and_masks() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.input("x", 12, dtype=DType.INT32)
    y = b.call("aten.remainder.Scalar", x, 5)
    kept = b.call("aten.where.ScalarOther", b.call("aten.gt.Scalar", y, 1), x, 0)
    return b.graph(kept), [np.arange(-6, 6, dtype=np.int32)]


def unsigned_and_zero() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.input("x", 3, 5, dtype=DType.UINT8)
    zero = b.full((), 0, DType.UINT8)
    outputs = [b.apply(name, x, zero) for name in ("lt", "ge", "gt", "le")]
    outputs += [b.apply(name, zero, x) for name in ("gt", "le", "lt", "ge")]
    return b.graph(*outputs), [np.arange(15, dtype=np.uint8).reshape(3, 5) % 4]


def narrow_floats() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.input("x", 4, 9, dtype=DType.FLOAT16)
    y = b.call("aten.softmax.int", b.call("aten.mul.Scalar", x, 3.0), -1)
    return b.graph(b.cast(y, DType.FLOAT32)), [_random(4, 9).astype(np.float16)]


def counter() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x = b.input("x", 3)
    seen = b.buffer("seen", np.zeros(3, np.float32))
    total = b.apply("add", seen, x)
    return b.graph(b.apply("mul", total, x), mutations=[(seen, total)]), [_random(3)]


def batched_product() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    batch = size("batch")
    x, y = b.input("x", batch, 6, 10), b.input("y", batch, 7, 10)
    product = b.matmul(x, b.transpose(y, 1, 2))
    return b.graph(b.apply("exp", product)), [_random(3, 6, 10) / 4, _random(3, 7, 10) / 4]


def empty_tensors() -> tuple[Graph, list[np.ndarray]]:
    b = GraphBuilder()
    x, y = b.input("x", 2, 0, 3), b.input("y", size("n"), 4)
    total = b.reduce("sum", x, [1])
    joined = b.concatenate([b.reshape(x, (0, 4)), b.apply("exp", y)], 0)
    return b.graph(b.apply("exp", x), total, joined), [_random(2, 0, 3), _random(0, 4)]


SPREAD: Mapping[str, Case] = {
    make.__name__: make
    for make in (
        pointwise_chain, softmax, layer_norm, linear_gelu, convolution, convolution_by_transforms, attention,
        linear_bfloat16, convolution_bfloat16, quantised_layers,
        strided_reductions, joined_views, gather_and_scatter, sort_and_cumulate,
        integers_and_masks, unsigned_and_zero, narrow_floats, counter, batched_product, empty_tensors,
    )
}  # fmt: skip
