"""Verification finds what is wrong with a graph, all of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from castoff.compiler.ir import shapes
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import (
    Binding,
    Constant,
    Graph,
    Guard,
    Node,
    Origin,
    TensorType,
    Value,
)
from castoff.compiler.ir.text import graph_text
from castoff.compiler.ir.verify import InvalidGraphError, graph_problems, verify_graph
from castoff.compiler.ops.base import Builder
from castoff.compiler.ops.control_flow import Branch

BATCH = shapes.Symbol("batch", 0, 64)


def small_graph() -> Graph:
    b = Builder()
    x = Value(b.unique_name("x"), TensorType(DType.FLOAT32, (shapes.of_atom(BATCH), 3)))
    w = Value(b.unique_name("w"), TensorType(DType.FLOAT32, (3,)))
    state = Value(b.unique_name("state"), TensorType(DType.FLOAT32, ()))
    b.origin = Origin("model.py:7 in forward", "layers.0", "aten.add.Tensor")
    total = b.apply("add", x, w)
    b.origin = Origin()
    mean = b.reduce("sum", total, [0, 1])
    return Graph(
        "main", (x,), (total,), tuple(b.nodes),
        constants={w: Constant("layers.0.weight", np.zeros(3, np.float32))},
        buffers={state: Constant("seen", np.array(1.5, np.float32))},
        mutations=((state, mean),), symbols=(BATCH,), bindings=(Binding(BATCH, 0, 0),),
        guards=(Guard(shapes.less(shapes.of_atom(BATCH), 9), "x.shape[0] < 9"),),
    )  # fmt: skip


def test_a_sound_graph_passes() -> None:
    verify_graph(small_graph())


def test_all_problems_are_listed() -> None:
    graph = small_graph()
    add, *_ = graph.nodes
    stray = Value("stray", TensorType(DType.FLOAT32, (2,)))
    wrong = Node(add.op, (stray, stray), (Value("x", TensorType(DType.FLOAT32, (5,))),))
    broken = replace(
        graph, nodes=(*graph.nodes, wrong), symbols=(), bindings=(), mutations=((stray, stray),)
    )
    problems = "\n".join(graph_problems(broken))
    for expected in (
        "mentions the symbol batch",
        "reads %stray before it is defined",
        "inference gives (float32[2])",
        "two values are called %x",
        "%stray is stored to, but is no input",
    ):
        assert expected in problems


def test_the_error_names_the_pass() -> None:
    graph = replace(small_graph(), nodes=())
    with pytest.raises(InvalidGraphError, match="invalid after fold_constants"):
        verify_graph(graph, after="fold_constants")


def test_subgraphs_are_verified() -> None:
    x = Value("x", TensorType(DType.FLOAT32, (2,)))
    elsewhere = Value("elsewhere", TensorType(DType.FLOAT32, (2,)))
    good = Graph("good", (x,), (x,), ())
    bad = Graph("bad", (x,), (elsewhere,), ())
    b = Builder()
    flag = Value(b.unique_name("flag"), TensorType(DType.BOOL, ()))
    operand = Value(b.unique_name("operand"), TensorType(DType.FLOAT32, (2,)))
    result = b.emit1(Branch(good, bad), flag, operand)
    graph = Graph("main", (flag, operand), (result,), tuple(b.nodes))
    assert list(graph_problems(graph)) == ["Branch: the result %elsewhere is not defined"]


def test_text_shows_the_whole_graph() -> None:
    assert graph_text(small_graph()) == (
        "graph main(%x: float32[batch, 3]) -> (%pointwiseop)\n"
        "  symbol    batch in [0, 64] = x.shape[0]\n"
        "  guard     less(batch, 9)  # x.shape[0] < 9\n"
        "  constant  %w: float32[3]  layers.0.weight\n"
        "  buffer    %state: float32[]  seen  = 1.5\n"
        "  %pointwiseop: float32[batch, 3] = add(%x, %w)  # model.py:7 in forward\n"
        "  %reduce: float32[] = Reduce[kind=sum, axes=(0, 1)](%pointwiseop)\n"
        "  store     %state <- %reduce\n"
    )
