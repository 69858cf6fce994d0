"""Convolutions and what is between them with channels last: the same answers, and copies only at the edges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Value
from castoff.compiler.ir.shapes import Dim
from castoff.compiler.ir.verify import verify_graph
from castoff.compiler.lowering.channels_last import carry_channels_last
from castoff.compiler.lowering.program import ConvolutionStep, LoopKernel, Program, Space
from castoff.compiler.ops.convolution import Convolve

from ..graphs import GraphBuilder, lowered, reference, size

RNG = np.random.default_rng(0)


def weight(b: GraphBuilder, *shape: int) -> Value:
    return b.array(RNG.standard_normal(shape).astype(np.float32), "weight")


def conv(b: GraphBuilder, x: Value, outputs: int, kernel: int = 3, **options: int) -> Value:
    channels = x.shape[1]
    assert isinstance(channels, int)
    shape = (outputs, channels // options.get("groups", 1), *(kernel,) * (x.rank - 2))
    name = f"aten.conv{x.rank - 2}d.default"
    y: Value = b.call(name, x, weight(b, *shape), padding=kernel // 2, **options)
    return y


def residual(b: GraphBuilder, x: Value) -> Value:
    first = b.call("aten.relu.default", conv(b, x, 20))
    second = b.apply("add", conv(b, first, 20), weight(b, 20, 1, 1))
    return b.call("aten.relu.default", b.apply("add", second, first))


def joined(b: GraphBuilder, x: Value) -> Value:
    y = b.concatenate([conv(b, x, 6), x, conv(b, x, 3, 1)], 1)
    return conv(b, y, 5)


def pooled(b: GraphBuilder, x: Value) -> Value:
    y: Value = b.call("aten.max_pool2d.default", conv(b, x, 6), [3, 3], [2, 2], [1, 1])
    return b.call("aten.avg_pool2d.default", y, [2, 2])


def averaged(b: GraphBuilder, x: Value) -> Value:
    y = conv(b, x, 6)
    gate = b.apply("sigmoid", b.call("aten.mean.dim", y, [2, 3], True))
    return b.apply("mul", y, conv(b, gate, 6, 1))


def over_channels(b: GraphBuilder, x: Value) -> Value:
    y = conv(b, x, 6)
    return b.apply("add", b.reduce("max", y, [1]), b.reduce("sum", y, [1]))


def reduced_to_columns(b: GraphBuilder, x: Value) -> Value:
    return b.reduce("sum", conv(b, x, 6), [2])


def padded_and_sliced(b: GraphBuilder, x: Value) -> Value:
    y = b.pad(conv(b, x, 8), [(0, 0), (0, 0), (2, 1), (-1, 3)], 0.5)
    return conv(b, b.slice(y, 1, 2, 4), 4, groups=2)


def flattened(b: GraphBuilder, x: Value) -> Value:
    y = conv(b, x, 6)
    batch, channels, height, width = y.shape
    tokens = b.transpose(b.reshape(y, (batch, channels, height * width)), 1, 2)
    return b.matmul(tokens, weight(b, 6, 5))


def selected(b: GraphBuilder, x: Value) -> Value:
    y = conv(b, x, 3)
    return b.where(b.apply("gt", y, x), b.cast(b.cast(y, DType.FLOAT64), DType.FLOAT32), x)


NETWORKS: tuple[Callable[[GraphBuilder, Value], Value], ...] = (
    residual, joined, pooled, averaged, over_channels, reduced_to_columns, padded_and_sliced,
    flattened, selected,
)  # fmt: skip


@pytest.mark.parametrize("pads_rows", [False, True], ids=["four channels", "rows"])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda function: function.__name__)
def test_the_answers_stay(
    network: Callable[[GraphBuilder, Value], Value], dynamic: bool, pads_rows: bool
) -> None:
    b = GraphBuilder()
    shape = (size("batch", 1), 3, size("height", 8), 9) if dynamic else (2, 3, 10, 9)
    graph = b.graph(network(b, b.input("x", *shape)))
    changed = carry_channels_last(graph, pads_rows=pads_rows)
    verify_graph(changed)
    assert all(node.op.channels_last for node in changed.nodes if isinstance(node.op, Convolve))
    x = RNG.standard_normal((2, 3, 10, 9)).astype(np.float32)
    for got, wanted in zip(reference(changed, x), reference(graph, x), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_any_number_of_dimensions(rank: int) -> None:
    b = GraphBuilder()
    graph = b.graph(conv(b, conv(b, b.input("x", 2, 3, *(7, 6, 5)[:rank]), 4), 2))
    changed = carry_channels_last(graph, pads_rows=True)
    verify_graph(changed)
    x = RNG.standard_normal((2, 3, *(7, 6, 5)[:rank])).astype(np.float32)
    np.testing.assert_allclose(
        reference(changed, x)[0], reference(graph, x)[0], rtol=1e-5, atol=1e-5
    )


def test_a_graph_without_convolutions_is_left_alone() -> None:
    b = GraphBuilder()
    graph = b.graph(b.apply("exp", b.input("x", 2, 3, 4, 5)))
    assert carry_channels_last(graph, pads_rows=True) is graph


def copies(program: Program) -> list[LoopKernel]:
    """The loops that do nothing but put elements into another order."""
    return [
        step
        for step in program.steps
        if isinstance(step, LoopKernel) and step.name in ("permute", "pad")
    ]


def network_program(function: Callable[[GraphBuilder, Value], Value]) -> Program:
    b = GraphBuilder()
    return lowered(b.graph(function(b, b.input("x", 1, 24, 10, 9))))


def test_images_are_turned_at_the_edges_only() -> None:
    program = network_program(residual)
    assert len(program.steps) == 4
    first, *middle, last = program.steps
    assert all(isinstance(step, ConvolutionStep) for step in middle)
    assert copies(program) == [first, last]


def test_a_classifier_turns_its_input_only() -> None:
    program = network_program(
        lambda b, x: b.matmul(b.reduce("sum", conv(b, x, 20), [2, 3]), weight(b, 20, 10))
    )
    assert copies(program) == [program.steps[0]]


def test_tokens_are_the_pixels_of_a_convolution_as_they_lie() -> None:
    program = network_program(flattened)
    assert copies(program) == [program.steps[0]]


def test_a_slice_of_channels_is_read_where_it_lies() -> None:
    program = network_program(lambda b, x: conv(b, b.slice(conv(b, x, 16), 1, 2, 8), 4))
    assert len(copies(program)) == 2


def test_a_row_of_the_kernel_is_one_piece_where_channels_are_few() -> None:
    b = GraphBuilder()
    graph = carry_channels_last(b.graph(conv(b, b.input("x", 1, 3, 10, 9), 4)), pads_rows=True)
    (op,) = (node.op for node in graph.nodes if isinstance(node.op, Convolve))
    assert op.padding == ((1, 1), (0, 0))


def test_three_channels_of_an_image_become_four_where_rows_are_not_padded() -> None:
    b = GraphBuilder()
    graph = carry_channels_last(
        b.graph(conv(b, conv(b, b.input("x", 1, 3, 10, 9), 7), 5)), pads_rows=False
    )
    first, second = (node for node in graph.nodes if isinstance(node.op, Convolve))
    assert [value.shape for value in first.inputs] == [(1, 10, 9, 4), (7, 4, 3, 3)]
    assert second.inputs[1].shape == (5, 7, 3, 3), "what convolutions give is not copied for it"


def test_an_image_with_channels_last_is_not_copied() -> None:
    b = GraphBuilder()
    x = b.input("x", 1, 10, 9, 24)
    y = b.permute(conv(b, b.permute(x, (0, 3, 1, 2)), 8), (0, 2, 3, 1))
    (step,) = lowered(b.graph(y)).steps
    assert isinstance(step, ConvolutionStep)
    assert step.x.buffer.space is Space.INPUT


def layouts(program: Program) -> list[str]:
    return [type(constant.layout).__name__ for _, constant in program.constants]


def test_a_large_3x3_convolution_is_computed_by_transforms() -> None:
    def layout_of(*shape: Dim, channels: int = 16, **options: int) -> list[str]:
        b = GraphBuilder()
        return layouts(lowered(b.graph(conv(b, b.input("x", *shape), channels, **options))))

    assert layout_of(1, 16, 14, 14) == ["ConvolutionWinograd"]
    assert layout_of(size("batch", 1), 32, 30, 40) == ["ConvolutionWinograd"]
    assert layout_of(1, 16, 13, 14) == ["ConvolutionPanels"]
    assert layout_of(1, 16, size("height", 28), 28) == ["ConvolutionPanels"]
    assert layout_of(1, 16, 56, 56, stride=2) == ["ConvolutionPanels"]
    assert layout_of(1, 32, 28, 28, groups=2) == ["ConvolutionPanels"]
    assert layout_of(1, 16, 28, 28, channels=20) == ["ConvolutionPanels"]
    assert layout_of(1, 16, 28, 28, kernel=5) == ["ConvolutionPanels"]
