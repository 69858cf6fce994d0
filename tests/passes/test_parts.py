"""Conversions follow slices where parts alone are read."""

from __future__ import annotations

import numpy as np

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, Value
from castoff.compiler.ir.verify import verify_graph
from castoff.compiler.passes.parts import convert_parts

from ..graphs import GraphBuilder, reference

NUMBERS = np.random.default_rng(2).standard_normal((3, 5, 4)).astype(np.float32)


def parts(b: GraphBuilder, x: Value, numbers: list[int]) -> list[Value]:
    return [b.call("aten.select.int", x, 0, number) for number in numbers]


def sum_of(b: GraphBuilder, values: list[Value]) -> Value:
    total = values[0]
    for value in values[1:]:
        total = b.apply("add", total, value)
    return total


def converted_shapes(graph: Graph) -> list[tuple[object, ...]]:
    return [node.outputs[0].shape for node in graph.nodes if str(node.op).startswith("CastTo")]


def assert_same_answers(graph: Graph) -> Graph:
    changed = convert_parts(graph)
    verify_graph(changed)
    for got, want in zip(reference(changed, NUMBERS), reference(graph, NUMBERS), strict=True):
        np.testing.assert_array_equal(got, want)
    return changed


def test_each_part_is_converted_where_it_is_read() -> None:
    b = GraphBuilder()
    narrow = b.cast(b.input("x", 3, 5, 4), DType.BFLOAT16)
    graph = b.graph(sum_of(b, parts(b, narrow, [0, 1, 2])))
    changed = assert_same_answers(graph)
    assert [shape for shape in converted_shapes(changed) if len(shape) == 3] == [(1, 5, 4)] * 3


def test_what_is_read_as_a_whole_or_twice_is_converted_once() -> None:
    b = GraphBuilder()
    narrow = b.cast(b.input("x", 3, 5, 4), DType.BFLOAT16)
    whole = b.graph(sum_of(b, parts(b, narrow, [0, 1])), b.apply("neg", narrow))
    assert assert_same_answers(whole) is whole
    b = GraphBuilder()
    narrow = b.cast(b.input("x", 3, 5, 4), DType.BFLOAT16)
    pairs = [b.call("aten.slice.Tensor", narrow, 0, start, start + 2) for start in (0, 1)]
    twice = b.graph(sum_of(b, pairs))
    assert assert_same_answers(twice) is twice


def test_what_gets_wider_is_converted_as_a_whole() -> None:
    b = GraphBuilder()
    wide = b.cast(b.input("x", 3, 5, 4), DType.FLOAT64)
    graph = b.graph(sum_of(b, parts(b, wide, [0, 1, 2])))
    assert assert_same_answers(graph) is graph
