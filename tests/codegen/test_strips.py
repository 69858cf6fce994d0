"""Reductions of long rows, in strips with accumulators of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ..graphs import GraphBuilder, generated, load, reference
from ..processor import needs_level

LEVELS = ["x86-64", "x86-64-v3", "x86-64-v4"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("columns", "is_cut"), [(256, True), (1024, True), (1000, False)])
@pytest.mark.parametrize(
    "reduction", ["sum.dim_IntList", "mean.dim", "prod.dim_int", "amax.default", "amin.default"]
)
def test_a_long_row_is_reduced_in_strips(
    reduction: str, columns: int, is_cut: bool, level: str, tmp_path: Path
) -> None:
    needs_level(level)
    b = GraphBuilder()
    x = b.input("x", 5, columns)
    axes = -1 if reduction == "prod.dim_int" else [-1]
    graph = b.graph(b.call(f"aten.{reduction}", x, axes))
    text = generated(graph).tree.units[0].text
    assert ("strip" in text) is is_cut
    array = np.random.default_rng(columns).uniform(0.9, 1.1, (5, columns)).astype(np.float32)
    (got,) = load(graph, tmp_path, target_cpu=level)(array)
    (want,) = reference(graph, array)
    np.testing.assert_allclose(got, want, rtol=2e-5)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("position", [0, 70, 129, 255])
@pytest.mark.parametrize("reduction", ["amax", "amin"])
def test_a_nan_of_any_strip_is_found(
    reduction: str, position: int, level: str, tmp_path: Path
) -> None:
    needs_level(level)
    b = GraphBuilder()
    graph = b.graph(b.call(f"aten.{reduction}.default", b.input("x", 3, 256), [-1]))
    array = np.random.default_rng(1).standard_normal((3, 256), np.float32)
    array[0, position] = np.nan
    array[1, position] = 7.0 if reduction == "amax" else -7.0
    (got,) = load(graph, tmp_path, target_cpu=level)(array)
    np.testing.assert_array_equal(got, getattr(np, reduction)(array, -1))


@pytest.mark.parametrize("columns", [1024, 1536, 1280])
def test_pieces_that_ask_for_the_next_row_are_cut_too(columns: int, tmp_path: Path) -> None:
    b = GraphBuilder()
    x = b.input("x", 300, columns)
    weight, bias = (b.array(np.full(columns, value, np.float32)) for value in (1.5, 0.25))
    y = b.call("aten.layer_norm.default", x, [columns], weight, bias)
    graph = b.graph(y)
    text = generated(graph).tree.units[0].text
    assert ("= piece + strip" in text) is (columns % 512 == 0)
    assert (
        text.count("__builtin_prefetch(") == 2
    )  # of the next row of x, and of this row of the result
    array = np.random.default_rng(0).standard_normal((300, columns), np.float32)
    (got,) = load(graph, tmp_path)(array)
    (want,) = reference(graph, array)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
