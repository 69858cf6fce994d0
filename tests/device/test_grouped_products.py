"""Products of groups of rows on the device: what groups there are it alone knows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph
from castoff.runtime.runner import aot_load
from tests.graphs import GraphBuilder, build, generated, load, size

from .building import DeviceBuilds

TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 2e-3, "bfloat16": 2e-2}
ENDS = {
    "groups of every length": (3, 3, 70, 200),
    "rows behind the last group": (10, 64, 65, 130),
    "ends that go back, and past the rows": (150, 20, 160, 999),
    "one group": (0, 0, 0, 200),
    "more groups than a warp": tuple(range(3, 203, 5)),
}
SIZES = {"copies of 16 bytes": (72, 136), "neither side in whole pieces": (37, 67)}


def grouped(dtype: str, inner: int, width: int) -> Graph:
    b = GraphBuilder()
    groups = size("groups", 1)
    rows = b.input("rows", size("n"), inner, dtype=DType(dtype))
    matrices = b.input("matrices", groups, inner, width, dtype=DType(dtype))
    ends = b.input("ends", groups, dtype=DType.INT32)
    return b.graph(b.call("aten._grouped_mm.default", rows, matrices, ends))


def by_hand(rows: np.ndarray, matrices: np.ndarray, ends: np.ndarray) -> np.ndarray:
    owners = [next((g for g, end in enumerate(ends) if end > t), None) for t in range(len(rows))]
    zero = np.zeros(matrices.shape[2])
    return np.stack([zero if g is None else rows[t] @ matrices[g] for t, g in enumerate(owners)])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", SIZES)
def test_each_row_has_the_matrix_of_its_group(
    device_builds: DeviceBuilds, dtype: str, sizes: str
) -> None:
    rng = np.random.default_rng(0)
    inner, width = SIZES[sizes]
    graph = grouped(dtype, inner, width)
    assert "castoff_host_call" not in generated(graph, device="cuda").tree.units[0].text
    program = aot_load(device_builds.build(graph), "cuda")
    rows = rng.standard_normal((200, inner)).astype(DType(dtype).numpy)
    for name, stops in ENDS.items():
        matrices = rng.standard_normal((len(stops), inner, width)).astype(DType(dtype).numpy)
        ends = np.array(stops, np.int32)
        got = np.asarray(program(rows, matrices, ends)[0], np.float64)
        wanted = by_hand(np.asarray(rows, np.float64), np.asarray(matrices, np.float64), ends)
        tolerance = TOLERANCE[dtype]
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * 20, err_msg=name)


DEPTHS = {
    "groups of every length": (3, 3, 70, 200),
    "what is behind the last group": (10, 64, 65, 130),
    "ends that go back, and past the end": (150, 20, 160, 999),
    "one group": (0, 0, 0, 200),
    "more groups than a block": tuple(range(1, 201)),
}


def grouped_depths(dtype: str, count: int, width: int) -> Graph:
    b = GraphBuilder()
    depth = size("depth")
    rows = b.input("rows", count, depth, dtype=DType(dtype))
    matrix = b.input("matrix", depth, width, dtype=DType(dtype))
    ends = b.input("ends", size("groups", 1), dtype=DType.INT32)
    return b.graph(b.call("aten._grouped_mm.default", rows, matrix, ends))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", SIZES)
def test_each_group_of_the_inner_dimension_has_a_product(
    device_builds: DeviceBuilds, tmp_path: Path, dtype: str, sizes: str
) -> None:
    rng = np.random.default_rng(0)
    count, width = SIZES[sizes]
    graph = grouped_depths(dtype, count, width)
    assert "castoff_device_grouped_depths" in generated(graph, device="cuda").tree.units[0].text
    program = aot_load(device_builds.build(graph), "cuda")
    on_host = load(graph, tmp_path)
    rows = rng.standard_normal((count, 200)).astype(DType(dtype).numpy)
    matrix = rng.standard_normal((200, width)).astype(DType(dtype).numpy)
    # What is of no group may be anything, and so may what is of another.
    for name, stops in {**DEPTHS, "an infinity": (10, 64, 130)}.items():
        if name == "an infinity":
            rows[5, 11] = np.inf
        ends = np.array(stops, np.int32)
        starts = np.maximum.accumulate(np.concatenate([[0], ends[:-1]]))
        wanted = np.stack(
            [
                np.asarray(rows[:, i:j], np.float64) @ np.asarray(matrix[i:j], np.float64)
                for i, j in zip(starts, ends, strict=True)
            ]
        )
        tolerance = TOLERANCE[dtype]
        for runner in (program, on_host):
            got = np.asarray(runner(rows, matrix, ends)[0], np.float64)
            np.testing.assert_allclose(
                got, wanted, rtol=tolerance, atol=tolerance * 20, err_msg=name
            )


@pytest.mark.nvcc
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("make", [grouped, grouped_depths])
def test_nvcc_builds_grouped_products(
    tmp_path: Path, dtype: str, make: Callable[[str, int, int], Graph]
) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    assert build(make(dtype, 64, 64), tmp_path, device="cuda", cuda_architectures=(80,)).exists()
