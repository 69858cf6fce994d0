"""Recurrent layers on the device, a launch to a step of time."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph
from castoff.runtime.runner import aot_load
from tests.graphs import GraphBuilder, build, generated, reference, size

from .building import DeviceBuilds

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
TOLERANCE = {DType.FLOAT32: 2e-6, DType.FLOAT64: 1e-13, DType.FLOAT16: 2e-3}


def layers(
    kind: str,
    hidden: int,
    dtype: DType = DType.FLOAT32,
    projected: int | None = None,
    largest: float = 0.3,
) -> Graph:
    """A bidirectional layer over x [time, batch, 5], with states given and weights up to `largest`."""
    rng = np.random.default_rng(hidden)
    b = GraphBuilder()
    batch, out = size("batch", 1), projected or hidden
    x = b.input("x", size("time", 0), batch, 5, dtype=dtype)
    h0 = b.input("h0", 2, batch, out, dtype=dtype)
    width = GATES[kind] * hidden
    shapes = [(width, 5), (width, out), (width,), (width,)]
    shapes += [(out, hidden)] if projected else []
    weights = [
        b.array(rng.uniform(-largest, largest, shape).astype(dtype.numpy))
        for shape in (*shapes, *shapes)
    ]
    states = [h0, b.input("c0", 2, batch, hidden, dtype=dtype)] if kind == "lstm" else h0
    target = f"aten.{kind}.input"
    return b.graph(*b.call(target, x, states, weights, True, 1, 0.0, False, True, False))


@pytest.mark.parametrize(
    ("kind", "hidden", "dtype", "projected"),
    [
        ("lstm", 40, DType.FLOAT32, None),
        ("lstm", 7, DType.FLOAT64, None),
        ("lstm", 32, DType.FLOAT16, None),
        ("lstm", 40, DType.FLOAT32, 9),
        ("gru", 65, DType.FLOAT32, None),
        ("rnn_tanh", 33, DType.FLOAT32, None),
        ("rnn_relu", 64, DType.FLOAT64, None),
    ],
)
def test_layers_are_those_of_the_reference(
    device_builds: DeviceBuilds, kind: str, hidden: int, dtype: DType, projected: int | None
) -> None:
    graph = layers(kind, hidden, dtype, projected)
    assert "castoff_host_call" not in generated(graph, device="cuda").tree.units[0].text
    program = aot_load(device_builds.build(graph), "cuda")
    rng = np.random.default_rng(3)
    for time, batch in ((6, 1), (5, 27), (1, 8), (0, 3)):
        shapes = [(time, batch, 5), (2, batch, projected or hidden), (2, batch, hidden)]
        given = [rng.standard_normal(s).astype(dtype.numpy) for s in shapes]
        given = given[: 3 if kind == "lstm" else 2]
        for got, wanted in zip(program(*given), reference(graph, *given), strict=True):
            wide = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
            np.testing.assert_allclose(*wide, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.nvcc
@pytest.mark.parametrize("kind", GATES)
def test_nvcc_builds_recurrent_layers(tmp_path: Path, kind: str) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    assert build(layers(kind, 64), tmp_path, device="cuda", cuda_architectures=(80,)).exists()
