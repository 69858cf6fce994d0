"""What steps are said to cost, against numbers counted by hand."""

from __future__ import annotations

import numpy as np

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph
from castoff.compiler.lowering.work import Work, WorkingStep, work_of

from ..graphs import GraphBuilder, lowered, size


def works(graph: Graph) -> list[Work]:
    return [work_of(step) for step in lowered(graph).steps if isinstance(step, WorkingStep)]


def test_a_pointwise_loop_moves_each_operand_once() -> None:
    b = GraphBuilder()
    x, bias = b.input("x", 32, 64), b.input("bias", 64)
    (work,) = works(b.graph(b.apply("mul", b.apply("add", x, bias), x)))
    assert work == Work(4 * (32 * 64 + 64 + 32 * 64), 2 * 32 * 64)


def test_a_product_counts_multiply_adds_twice_and_its_epilogue_operands() -> None:
    b = GraphBuilder()
    weight = b.array(np.ones((16, 8), np.float32), "weight")
    y = b.call("aten.linear.default", b.input("x", 4, 8), weight, b.input("bias", 16))
    (work,) = works(b.graph(y))
    assert work == Work(4 * (4 * 8 + 8 * 16 + 16 + 4 * 16), 2 * 4 * 8 * 16)


def test_symbolic_sizes_stay_symbols() -> None:
    b = GraphBuilder()
    n = size("n", 1)
    (work,) = works(b.graph(b.apply("exp", b.input("x", n, 8))))
    assert work == Work(n * 64, n * 8)


def test_a_row_of_a_table_is_not_the_whole_table() -> None:
    b = GraphBuilder()
    table = b.array(np.ones((10_000, 4), np.float32), "table")
    y = b.call("aten.embedding.default", table, b.input("index", 3, dtype=DType.INT64))
    (work,) = works(b.graph(y))
    assert work.size_bytes == 3 * 8 + 3 * 4 * 4 + 3 * 4 * 4
