"""Programs of many kinds, built and run, against the NumPy reference of their graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.ir.graph import Graph

from ..graphs import GraphBuilder, load, reference
from .spread import SPREAD


@pytest.mark.parametrize("make", SPREAD.values(), ids=SPREAD.keys())
def test_answers_are_those_of_the_reference(
    make: Callable[[], tuple[Graph, list[np.ndarray]]], tmp_path: Path
) -> None:
    graph, arrays = make()
    want = reference(graph, *arrays)
    got = load(graph, tmp_path)(*arrays)
    assert isinstance(got, tuple)
    for result, expected in zip(got, want, strict=True):
        np.testing.assert_allclose(result, expected, rtol=2e-5, atol=2e-6)


def test_a_bound_that_is_nan_is_no_bound_of_a_convolution(tmp_path: Path) -> None:
    b = GraphBuilder()
    x = b.input("x", 1, 3, 5, 5)
    y = b.call("aten.conv2d.default", x, b.array(np.ones((4, 3, 3, 3), np.float32)))
    y = b.call("aten.clamp.default", y, float("nan"), 2.0)
    graph = b.graph(b.permute(y, (0, 2, 3, 1)))  # as the kernel stores it
    (got,) = load(graph, tmp_path, target_cpu="x86-64")(np.ones((1, 3, 5, 5), np.float32))
    assert np.isnan(got).all()
