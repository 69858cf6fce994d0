"""Tensors without elements: nothing is read from them or written to them, whatever is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import castoff
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Value

from ..graphs import GraphBuilder, load, size


def rows_of(b: GraphBuilder, table: Value, places: Value) -> Value:
    return b.call("aten.index_select.default", table, 0, places)


def embedded(b: GraphBuilder, table: Value, places: Value) -> Value:
    return b.call("aten.embedding.default", table, places)


def added(b: GraphBuilder, table: Value, places: Value) -> Value:
    updates = b.full((size("count"), 1 << 20), 1.0, DType.FLOAT32)
    return b.call("aten.index_add.default", table, 0, places, updates)


@pytest.mark.parametrize("make", [rows_of, embedded, added])
def test_a_position_in_an_empty_table_is_refused_and_nothing_touched(
    make: object, tmp_path: Path
) -> None:
    b = GraphBuilder()
    table = b.input("table", size("rows"), 1 << 20)
    places = b.input("places", size("count"), dtype=DType.INT64)
    assert callable(make)
    program = load(b.graph(make(b, table, places)), tmp_path)
    with pytest.raises(castoff.CastoffError, match="index out of range"):
        program(np.zeros((0, 1 << 20), np.float32), np.array([0, 1]))


@pytest.mark.parametrize(("rows", "depth", "columns"), [(0, 3, 2), (3, 0, 2), (3, 2, 0)])
def test_matrix_products_of_sizes_that_turn_out_to_be_zero(
    rows: int, depth: int, columns: int, tmp_path: Path
) -> None:
    b = GraphBuilder()
    left = b.input("left", size("rows"), size("depth"))
    right = b.input("right", size("depth"), size("columns"))
    program = load(b.graph(b.matmul(left, right)), tmp_path, target_cpu="x86-64-v3")
    got = program(np.ones((rows, depth), np.float32), np.ones((depth, columns), np.float32))
    result = got[0] if isinstance(got, tuple) else got
    np.testing.assert_array_equal(result, np.zeros((rows, columns), np.float32))
