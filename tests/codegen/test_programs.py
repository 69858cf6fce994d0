"""Programs of many kinds, built and run, against the NumPy reference of their graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.ir.graph import Graph

from ..graphs import load, reference
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
