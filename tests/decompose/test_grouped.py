"""Products of groups become whole products of what is of each group."""

from __future__ import annotations

import numpy as np
import pytest

from castoff.compiler.decompose.composites import COMPOSITES
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ops.base import Environment
from castoff.compiler.ops.grouped import GroupedDepthMatMul, GroupedMatMul
from castoff.compiler.ops.interpret import run_graph

from ..graphs import GraphBuilder


@pytest.mark.parametrize(
    "ends", [(2, 4, 6), (4, 2, 6), (-1, 6, 6), (6, 6, 6), (1, 3, 5)], ids=lambda ends: str(ends)
)
def test_the_products_are_those_of_the_operator(ends: tuple[int, ...]) -> None:
    b = GraphBuilder()
    rows, matrix = b.input("rows", 3, 6), b.input("matrix", 6, 2)
    stops = b.input("ends", len(ends), dtype=DType.INT64)
    op = GroupedDepthMatMul()
    graph = b.graph(*COMPOSITES[GroupedDepthMatMul](b, op, rows, matrix, stops))
    dice = np.random.default_rng(1)
    left = dice.standard_normal((3, 6)).astype(np.float32)
    right = dice.standard_normal((6, 2)).astype(np.float32)
    left[1, 5], right[5, 1] = np.inf, np.nan  # of the last group, or of none
    arrays = [left, right, np.array(ends, np.int64)]
    environment = Environment({})
    (want,) = op.reference(environment, *arrays)
    (got,) = run_graph(graph, arrays, environment)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ends", [(2, 4, 6), (4, 2, 6), (-1, 6, 6), (1, 3, 5)], ids=str)
def test_the_rows_are_those_of_the_operator(ends: tuple[int, ...]) -> None:
    b = GraphBuilder()
    rows, matrices = b.input("rows", 6, 3), b.input("matrices", len(ends), 3, 2)
    stops = b.input("ends", len(ends), dtype=DType.INT64)
    op = GroupedMatMul()
    graph = b.graph(*COMPOSITES[GroupedMatMul](b, op, rows, matrices, stops))
    dice = np.random.default_rng(1)
    shapes = (6, 3), (len(ends), 3, 2)
    arrays = [dice.standard_normal(shape).astype(np.float32) for shape in shapes]
    arrays.append(np.array(ends, np.int64))
    environment = Environment({})
    (want,) = op.reference(environment, *arrays)
    (got,) = run_graph(graph, arrays, environment)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
