"""What becomes one kernel: counted in the steps of lowered programs."""

from __future__ import annotations

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph
from castoff.compiler.lowering.program import (
    AttentionStep,
    ConvolutionStep,
    LoopKernel,
    ProductStep,
    Program,
    Space,
    Store,
)

from ..graphs import GraphBuilder, lowered, size


def step_kinds(program: Program) -> list[str]:
    return [type(step).__name__ for step in program.steps]


def only_kernel(graph: Graph) -> LoopKernel:
    program = lowered(graph)
    assert step_kinds(program) == ["LoopKernel"]
    (kernel,) = program.steps
    assert isinstance(kernel, LoopKernel)
    return kernel


def stores(kernel: LoopKernel) -> list[Store]:
    return [
        statement
        for phase in kernel.phases
        for statement in (*phase.before, *phase.body)
        if isinstance(statement, Store)
    ]


def weights(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_a_chain_of_pointwise_operators_is_one_kernel_with_one_store() -> None:
    b = GraphBuilder()
    x, y = b.input("x", 8, 16), b.input("y", 16)
    z = b.apply("exp", b.apply("add", x, y))
    kernel = only_kernel(b.graph(b.apply("mul", b.apply("tanh", z), x)))
    assert len(stores(kernel)) == 1


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
def test_softmax_is_one_kernel_of_three_phases_or_less(symbolic: bool) -> None:
    b = GraphBuilder()
    shape = (size("rows"), size("columns", 1)) if symbolic else (16, 128)
    y = b.call("aten.softmax.int", b.input("x", *shape), -1)
    kernel = only_kernel(b.graph(y))
    assert len(kernel.phases) <= 3
    assert lowered(b.graph(y)).static_bytes == 0


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
def test_layer_norm_is_one_kernel(symbolic: bool) -> None:
    b = GraphBuilder()
    x = b.input("x", size("batch") if symbolic else 4, 12, 64)
    weight, bias = b.array(weights(64), "weight"), b.array(weights(64), "bias")
    kernel = only_kernel(b.graph(b.call("aten.layer_norm.default", x, [64], weight, bias)))
    assert len(stores(kernel)) == 1


def test_rms_norm_with_its_residual_is_one_kernel() -> None:
    b = GraphBuilder()
    x, residual = b.input("x", 6, 32), b.input("residual", 6, 32)
    total = b.apply("add", x, residual)
    mean = b.call("aten.mean.dim", b.apply("mul", total, total), [-1], True)
    y = b.apply("mul", total, b.apply("rsqrt", mean))
    only_kernel(b.graph(y))


def test_linear_bias_and_gelu_are_a_product_with_an_epilogue() -> None:
    b = GraphBuilder()
    x = b.input("x", size("batch"), 32)
    weight, bias = b.array(weights(48, 32), "weight"), b.array(weights(48), "bias")
    y = b.call("aten.gelu.default", b.call("aten.linear.default", x, weight, bias))
    program = lowered(b.graph(y))
    (step,) = program.steps
    assert isinstance(step, ProductStep)
    assert step.packed_right
    (store,) = step.epilogue.stores
    assert store.buffer.space is Space.OUTPUT


def test_convolution_bias_and_relu_are_one_step() -> None:
    b = GraphBuilder()
    x = b.permute(b.input("x", 1, 8, 8, 3), (0, 3, 1, 2))
    weight, bias = b.array(weights(4, 3, 3, 3), "weight"), b.array(weights(4), "bias")
    y = b.call("aten.relu.default", b.call("aten.conv2d.default", x, weight, bias))
    (step,) = lowered(b.graph(b.permute(y, (0, 2, 3, 1)))).steps
    assert isinstance(step, ConvolutionStep)


def test_attention_is_one_step_that_reads_its_operands_where_they_lie() -> None:
    b = GraphBuilder()
    batch = size("batch")
    packed = b.input("qkv", batch, 10, 3, 4, 16)
    q, k, v = (b.transpose(b.select(packed, 2, part), 1, 2) for part in range(3))
    y = b.call("aten.scaled_dot_product_attention.default", q, k, v)
    program = lowered(b.graph(y))
    assert step_kinds(program) == ["AttentionStep"]
    (step,) = program.steps
    assert isinstance(step, AttentionStep)
    assert step.query.buffer.space is Space.INPUT


def test_views_cost_no_kernel() -> None:
    b = GraphBuilder()
    x = b.input("x", 4, 6, 10)
    y = b.transpose(b.reshape(b.slice(x, 2, 1, 5, 2), (4, 30)), 0, 1)
    y = b.flip(b.expand(b.unsqueeze(y, 0), (3, 30, 4)), [1])
    kernel = only_kernel(b.graph(b.apply("exp", y)))
    assert len(stores(kernel)) == 1


def test_a_transposed_operand_of_a_product_is_not_copied() -> None:
    b = GraphBuilder()
    x, y = b.input("x", 8, 12), b.input("y", 20, 12)
    program = lowered(b.graph(b.matmul(x, b.transpose(y, 0, 1))))
    assert step_kinds(program) == ["ProductStep"]


def test_a_concatenation_is_written_in_place_by_its_producers() -> None:
    b = GraphBuilder()
    x, y = b.input("x", 5, 8), b.input("y", 5, 3)
    joined = b.concatenate([b.apply("exp", x), b.apply("neg", y)], 1)
    program = lowered(b.graph(joined))
    written = {s.buffer for step in program.steps if isinstance(step, LoopKernel)
               for s in stores(step)}  # fmt: skip
    assert {buffer.space for buffer in written} == {Space.OUTPUT}
    assert program.static_bytes == 0


def test_a_product_writes_its_part_of_a_concatenation() -> None:
    b = GraphBuilder()
    x, y = b.input("x", 5, 8), b.input("y", 8, 3)
    joined = b.concatenate([b.matmul(x, y), x], 1)
    program = lowered(b.graph(joined))
    assert program.static_bytes == 0
    assert sorted(step_kinds(program)) == ["LoopKernel", "ProductStep"]


def test_a_reduction_along_strides_keeps_a_tile_of_accumulators() -> None:
    b = GraphBuilder()
    x = b.input("x", 64, 256)
    kernel = only_kernel(b.graph(b.reduce("sum", x, [0])))
    assert kernel.tile is not None


def test_values_read_at_other_places_are_stored_first() -> None:
    b = GraphBuilder()
    x = b.input("x", 32, 32)
    y = b.call("aten.softmax.int", x, -1)
    program = lowered(b.graph(b.apply("add", y, b.transpose(y, 0, 1))))
    assert step_kinds(program) == ["LoopKernel", "LoopKernel"]
    assert program.static_bytes >= 32 * 32 * 4


def test_an_embedding_is_index_arithmetic_in_its_consumer() -> None:
    b = GraphBuilder()
    table = b.array(weights(100, 16), "table")
    ids = b.input("ids", size("n"), dtype=DType.INT64)
    y = b.call("aten.embedding.default", table, ids)
    only_kernel(b.graph(b.apply("exp", y)))


def test_an_output_that_is_an_input_is_one_copy() -> None:
    b = GraphBuilder()
    x = b.input("x", 4)
    assert step_kinds(lowered(b.graph(x))) == ["CopyStep"]


def test_equal_steps_of_repeated_layers_share_a_kernel() -> None:
    from ..graphs import generated

    b = GraphBuilder()
    x = b.input("x", 7, 16)
    for layer in range(4):
        weight = b.array(np.full((16, 16), layer, np.float32), f"weight{layer}")
        x = b.call("aten.softmax.int", b.call("aten.linear.default", x, weight), -1)
    text = next(u.text for u in generated(b.graph(x)).tree.units if u.path == "program.c")
    # Of the first layer's neighbours the input lies elsewhere, but no kernel knows where.
    assert text.count("\nstatic void ") <= 4


def test_a_reduction_runs_along_memory_though_a_row_is_added_across() -> None:
    b = GraphBuilder()
    x, scale = b.input("x", 4, 32, 100), b.array(weights(32, 1), "scale")
    kernel = only_kernel(b.graph(b.reduce("max", b.apply("add", x, scale), [1])))
    assert kernel.tile is not None
    assert kernel.tile.extent == 100


def test_transposing_runs_in_blocks() -> None:
    b = GraphBuilder()
    x, y = b.input("x", 64, 48), b.input("y", 48, 64)
    kernel = only_kernel(b.graph(b.apply("add", b.permute(x, (1, 0)), y)))
    assert kernel.tile is not None
    assert kernel.tile.extent == 48
    assert not kernel.rows


def test_operands_side_by_side_need_no_blocks() -> None:
    b = GraphBuilder()
    x, y = b.input("x", 64, 48), b.input("y", 64, 1)
    kernel = only_kernel(b.graph(b.apply("tanh", b.apply("add", x, y))))
    assert kernel.tile is None
