"""Elementwise kernels that read across the direction they write in: squares in shared memory."""

from __future__ import annotations

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph
from castoff.runtime.runner import aot_load
from tests.graphs import GraphBuilder, generated, size

from .building import DeviceBuilds

DTYPES = ("float32", "float16", "bfloat16", "float64", "int8", "complex128")
SIZES = {
    "whole squares": (128, 64),
    "parts of squares, whole pieces": (80, 48),
    "pieces to write only": (48, 67),
    "pieces to read only": (67, 48),
    "no pieces": (37, 51),
}


def turned(dtype: str, *sizes: tuple[int, int]) -> Graph:
    """2 x + y of pairs of matrices that lie across each other."""
    b = GraphBuilder()
    results = []
    for number, (rows, columns) in enumerate(sizes):
        x = b.input(f"x{number}", size("n"), rows, columns, dtype=DType(dtype))
        y = b.input(f"y{number}", columns, rows, dtype=DType(dtype))
        doubled = b.apply("add", x, x)
        results.append(b.apply("add", b.permute(doubled, (0, 2, 1)), y))
    return b.graph(*results)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matrices_are_turned(device_builds: DeviceBuilds, dtype: str) -> None:
    graph = turned(dtype, *SIZES.values())
    assert "square0" in generated(graph, device="cuda").tree.units[0].text
    program = aot_load(device_builds.build(graph), "cuda")
    rng = np.random.default_rng(0)
    inputs = []
    for rows, columns in SIZES.values():
        for shape in ((3, rows, columns), (columns, rows)):
            inputs.append(rng.integers(-9, 9, shape).astype(DType(dtype).numpy))
    results = program(*inputs)
    for name, x, y, got in zip(SIZES, inputs[::2], inputs[1::2], results, strict=True):
        by_hand = 2 * x.astype(np.complex128).transpose(0, 2, 1) + y.astype(np.complex128)
        np.testing.assert_array_equal(np.asarray(got).astype(np.complex128), by_hand, err_msg=name)


def test_operands_of_different_types_share_a_square_of_the_widest(
    device_builds: DeviceBuilds,
) -> None:
    b = GraphBuilder()
    x = b.input("x", 96, 80, dtype=DType.FLOAT16)
    y = b.input("y", 96, 80, dtype=DType.FLOAT64)
    total = b.apply("add", b.cast(b.permute(x, (1, 0)), DType.FLOAT64), b.permute(y, (1, 0)))
    program = aot_load(device_builds.build(b.graph(total)), "cuda")
    rng = np.random.default_rng(0)
    first = rng.standard_normal((96, 80)).astype(np.float16)
    second = rng.standard_normal((96, 80))
    got = np.asarray(program(first, second)[0])
    np.testing.assert_array_equal(got, first.T.astype(np.float64) + second.T)
