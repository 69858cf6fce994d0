"""Batch norm in evaluation disappears into the convolution before it."""

from __future__ import annotations

import numpy as np
import pytest

from castoff.compiler.ir.graph import Graph, Value
from castoff.compiler.ir.verify import verify_graph
from castoff.compiler.passes.scale import fold_channel_scales

from ..graphs import GraphBuilder, reference

RANDOM = np.random.default_rng(3)
IMAGE = RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32)


def weights(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def operators(graph: Graph) -> list[str]:
    return [str(node.op).partition("[")[0] for node in graph.nodes]


def scaled(b: GraphBuilder, x: Value, scale: np.ndarray, *, bias: bool = True) -> Value:
    weight = b.array(weights(4, 3, 3, 3), "weight")
    y = b.call("aten.conv2d.default", x, weight)
    if bias:
        y = b.apply("add", y, b.array(weights(4, 1, 1), "bias"))
    return b.apply("mul", y, b.array(scale, "scale"))


def assert_folds(graph: Graph, folds: bool = True) -> None:
    folded = fold_channel_scales(graph)
    verify_graph(folded)
    assert ("mul" in operators(folded)) is not folds
    for got, want in zip(reference(folded, IMAGE), reference(graph, IMAGE), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (4, 1, 1), ()])
def test_a_scale_per_channel_is_folded(shape: tuple[int, ...], bias: bool) -> None:
    b = GraphBuilder()
    x = b.input("x", 2, 3, 6, 6)
    y = scaled(
        b, x, weights(*shape) if shape else np.float32(3) * np.ones((), np.float32), bias=bias
    )
    assert_folds(b.graph(y))


def test_two_convolutions_of_one_weight_are_both_folded() -> None:
    b = GraphBuilder()
    x = b.input("x", 2, 3, 6, 6)
    weight, scale = b.array(weights(4, 3, 3, 3), "weight"), b.array(weights(4, 1, 1), "scale")
    first = b.apply("mul", b.call("aten.conv2d.default", x, weight), scale)
    second = b.apply("mul", b.call("aten.conv2d.default", b.apply("neg", x), weight), scale)
    assert_folds(b.graph(first, second))


def test_a_scale_that_differs_inside_a_channel_stays() -> None:
    b = GraphBuilder()
    x = b.input("x", 2, 3, 6, 6)
    assert_folds(b.graph(scaled(b, x, weights(4, 4, 1))), folds=False)


def test_a_convolution_that_is_a_result_itself_stays() -> None:
    b = GraphBuilder()
    x = b.input("x", 2, 3, 6, 6)
    y = b.call("aten.conv2d.default", x, b.array(weights(4, 3, 3, 3), "weight"))
    z = b.apply("add", y, b.array(weights(4, 1, 1), "bias"))
    z = b.apply("mul", z, b.array(weights(4, 1, 1), "scale"))
    assert_folds(b.graph(y, z), folds=False)


def test_an_infinite_scale_stays() -> None:
    b = GraphBuilder()
    x = b.input("x", 2, 3, 6, 6)
    assert_folds(b.graph(scaled(b, x, np.full((4, 1, 1), np.inf, np.float32))), folds=False)
