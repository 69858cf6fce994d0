"""Reductions down columns: many threads share each, and give the same bits every time."""

from __future__ import annotations

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, Value
from castoff.runtime.runner import aot_load
from tests.graphs import GraphBuilder, generated, reference

from .building import DeviceBuilds

CALLS = {
    "sum": lambda b, x: b.call("aten.sum.dim_IntList", x, [0]),
    "mean": lambda b, x: b.call("aten.mean.dim", x, [0], True),
    "max": lambda b, x: b.call("aten.amax.default", x, [0]),
    "argmax": lambda b, x: b.call("aten.argmax.default", x, 0),
    "softmax": lambda b, x: b.call("aten._softmax.default", x, 0, False),
    "variance": lambda b, x: b.call("aten.var.correction", x, [0], correction=1),
    "two axes": lambda b, x: b.call("aten.sum.dim_IntList", b.reshape(x, (30, 30, 37)), [0, 1]),
}


def columns(name: str) -> Graph:
    b = GraphBuilder()
    x: Value = b.input("x", 900, 37, dtype=DType.FLOAT32)
    return b.graph(CALLS[name](b, x))


@pytest.mark.parametrize("name", CALLS)
def test_columns_are_shared_by_threads(device_builds: DeviceBuilds, name: str) -> None:
    graph = columns(name)
    assert "castoff_column_part_count" in generated(graph, device="cuda").tree.units[0].text
    program = aot_load(device_builds.build(graph), "cuda")
    x = np.random.default_rng(0).standard_normal((900, 37)).astype(np.float32)
    x[5:9, 3] = np.max(x) + 1  # of equal ones the first
    if name in ("max", "argmax"):
        x[700, 11] = np.nan
    first, again = (np.asarray(program(x)[0]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, reference(graph, x)[0], rtol=2e-5, atol=2e-5)


def test_short_columns_have_a_thread_each() -> None:
    b = GraphBuilder()
    graph = b.graph(b.call("aten.sum.dim_IntList", b.input("x", 100, 37), [0]))
    assert "castoff_column_part_count" not in generated(graph, device="cuda").tree.units[0].text
