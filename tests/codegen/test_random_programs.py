"""Operators in combinations nobody thought of: random graphs, compiled, against the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ..graphs import load, reference
from .random_graphs import inputs_of, random_graph


@pytest.mark.parametrize("seed", range(1000, 1008))
def test_random_graphs_give_what_the_reference_gives(seed: int, tmp_path: Path) -> None:
    graph = random_graph(seed)
    run = load(graph, tmp_path)
    for n in (7, 1):
        arrays = inputs_of(graph, n)
        got = run(*arrays)
        assert isinstance(got, tuple)
        for result, expected in zip(got, reference(graph, *arrays), strict=True):
            np.testing.assert_allclose(result, expected, rtol=2e-3, atol=2e-3)
