"""Sorting, what follows from it, scans, searches and selections on the device: nothing is left to the host."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph
from castoff.runtime.errors import ProgramError
from castoff.runtime.runner import aot_load
from tests.graphs import GraphBuilder, build, generated, reference, size

from .building import DeviceBuilds

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTEGERS = ("int64", "int8", "uint8", "bool")
# The sorted axis inside, outside and alone; rows for threads, warps, blocks, and several blocks each.
SHAPES = ((3, 40, 1), (2, 9, 5), (1, 30, 40), (2, 700, 1), (1, 9000, 1), (0, 4, 1))


def values(dtype: str, shape: tuple[int, ...], *, is_distinct: bool = False) -> np.ndarray:
    rng = np.random.default_rng(len(dtype) + sum(shape))
    numpy_type = DType(dtype).numpy
    if is_distinct:
        count = int(np.prod(shape))
        return (rng.permutation(count) - count // 2).reshape(shape).astype(numpy_type)
    if dtype not in FLOATS:
        return rng.integers(-40, 60, shape).astype(numpy_type)
    x = np.round(rng.standard_normal(shape) * 8) / 4  # with equal ones
    flat = x.reshape(-1)
    flat[1::17], flat[2::19] = -0.0, 0.0
    return x.astype(numpy_type)


def with_special(x: np.ndarray) -> np.ndarray:
    flat = x.reshape(-1)
    flat[3::23], flat[4::29], flat[5::31] = np.nan, np.inf, -np.inf
    return x


def program(target: str, dtype: str, *arguments: Any, **named: Any) -> Graph:
    b = GraphBuilder()
    x = b.input("x", *(size(name, 0, 9000) for name in ("n", "m", "k")), dtype=DType(dtype))
    return b.graph(*as_tuple(b.call(target, x, *arguments, **named)))


def as_tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def check(
    device_builds: DeviceBuilds, graph: Graph, given: list[np.ndarray], tolerance: float = 0
) -> list[tuple[np.ndarray, ...]]:
    """What the device gives for each input, which is what the reference gives."""
    assert "castoff_host_call" not in generated(graph, device="cuda").tree.units[0].text
    loaded = aot_load(device_builds.build(graph), "cuda")
    answers = [loaded(x) for x in given]
    for x, answer in zip(given, answers, strict=True):
        for got, wanted in zip(answer, reference(graph, x), strict=True):
            assert np.asarray(got).dtype == np.asarray(wanted).dtype
            kind = np.complex128 if np.iscomplexobj(wanted) else np.float64
            wide = np.asarray(got, kind), np.asarray(wanted, kind)
            np.testing.assert_allclose(*wide, rtol=tolerance, atol=tolerance, err_msg=str(x.shape))
    return answers


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
@pytest.mark.parametrize("descending", [False, True])
def test_sort_is_stable_and_puts_nan_last(
    device_builds: DeviceBuilds, dtype: str, descending: bool
) -> None:
    graph = program("aten.sort.stable", dtype, stable=True, dim=1, descending=descending)
    given = [values(dtype, shape) for shape in SHAPES]
    if dtype in FLOATS:
        given = [with_special(x) for x in given]
    check(device_builds, graph, given, 0)


@pytest.mark.parametrize(("dtype", "kept"), [("float32", 3), ("int64", 400), ("bfloat16", 5)])
@pytest.mark.parametrize("largest", [False, True])
def test_top_k(device_builds: DeviceBuilds, dtype: str, largest: bool, kept: int) -> None:
    graph = program("aten.topk.default", dtype, kept, 1, largest, True)
    shapes = [(2, 100, 1), (1, 70, 3)] if dtype == "bfloat16" else [(3, 420, 1), (1, 400, 2)]
    check(device_builds, graph, [values(dtype, s, is_distinct=True) for s in shapes], 0)


@pytest.mark.parametrize("target", ["aten.median.dim", "aten.nanmedian.dim"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
def test_medians(device_builds: DeviceBuilds, target: str, dtype: str) -> None:
    graph = program(target, dtype, 1)
    given = [values(dtype, s, is_distinct=True) for s in ((3, 40, 1), (2, 9, 5), (4, 7, 1))]
    if dtype != "int32":
        given[0].reshape(-1)[5] = np.nan
    check(device_builds, graph, given, 0)


def test_more_elements_than_there_are_is_an_error(device_builds: DeviceBuilds) -> None:
    for target, arguments in (("topk", (5, 1, True, True)), ("kthvalue", (5, 1))):
        graph = program(f"aten.{target}.default", "float32", *arguments)
        loaded = aot_load(device_builds.build(graph), "cuda")
        with pytest.raises(ProgramError, match="5 of m elements"):
            loaded(values("float32", (2, 4, 1)))


def test_kth_value(device_builds: DeviceBuilds) -> None:
    graph = program("aten.kthvalue.default", "float64", 4, 0)
    given = [values("float64", shape, is_distinct=True) for shape in ((9, 5, 8), (50, 1, 1))]
    check(device_builds, graph, given, 0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "complex64"])
@pytest.mark.parametrize("target", ["cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"])
def test_scans(device_builds: DeviceBuilds, target: str, dtype: str) -> None:
    if target in ("cummax", "cummin") and dtype == "complex64":
        pytest.skip("complex numbers have no order")
    if target == "logcumsumexp" and dtype == "int64":
        pytest.skip("integers become float32")
    graph = program(f"aten.{target}.default", dtype, 1)
    if dtype == "complex64":
        given = [values("float32", s) * np.complex64(0.3 + 0.2j) for s in SHAPES]
    elif target == "cumprod":
        given = [(1 + values("float32", s) / 1000).astype(DType(dtype).numpy) for s in SHAPES]
    else:
        given = [values(dtype, shape) for shape in SHAPES]
    if target.startswith("cumm") and dtype in FLOATS:
        given.append(with_special(values(dtype, (2, 300, 1))))
    tolerance = {"float16": 1e-3, "bfloat16": 1e-2, "float32": 1e-6, "complex64": 1e-5}
    check(device_builds, graph, given, tolerance.get(dtype, 1e-12))


@pytest.mark.parametrize("right", [False, True])
def test_searches(device_builds: DeviceBuilds, right: bool) -> None:
    b = GraphBuilder()
    sequence = b.input("sequence", 3, size("n"), dtype=DType.FLOAT32)
    wanted = b.input("wanted", 3, size("m"), dtype=DType.FLOAT32)
    graph = b.graph(b.call("aten.searchsorted.Tensor", sequence, wanted, right=right))
    assert "castoff_host_call" not in generated(graph, device="cuda").tree.units[0].text
    rows = np.sort(values("float32", (3, 33)), axis=1)
    asked = values("float32", (3, 20))
    asked[0, 3] = np.nan
    (got,) = aot_load(device_builds.build(graph), "cuda")(rows, asked)
    np.testing.assert_array_equal(got, reference(graph, rows, asked)[0])


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
def test_mode_is_the_smallest_of_the_most_frequent(device_builds: DeviceBuilds, dtype: str) -> None:
    program = device_builds.load(mode_of(dtype))
    for shape in ((3, 40, 1), (2, 9, 5), (1, 9000, 1), (4, 1, 2)):
        x = np.abs(values(dtype, shape))
        if dtype in FLOATS and shape[1] > 1:
            x[:, 3::7] = np.nan
        if shape[1] == 9000:
            x[:, 100:7000] = x[:, 100:101]
        got, positions = (np.asarray(result) for result in program(x))
        for row in np.ndindex(shape[0], shape[2]):
            own = x[row[0], :, row[1]]
            found, counts = np.unique(own[own == own], return_counts=True)
            assert got[row] == found[counts.argmax()]
            assert positions[row] == np.flatnonzero(own == got[row])[-1]


def mode_of(dtype: str) -> Graph:
    graph = program("aten.mode.default", dtype, 1)
    assert "castoff_host_call" not in generated(graph, device="cuda").tree.units[0].text
    return graph


def test_nan_is_the_mode_of_nothing_else(device_builds: DeviceBuilds) -> None:
    loaded = device_builds.load(mode_of("float32"))
    assert np.isnan(loaded(np.full((2, 5, 1), np.nan, np.float32))[0]).all()


@pytest.mark.parametrize("shape", [(3, 40, 1), (20, 30, 40), (1, 9000, 1), (0, 4, 1), (3, 0, 2)])
def test_true_elements_are_found_in_order(
    device_builds: DeviceBuilds, shape: tuple[int, int, int]
) -> None:
    b = GraphBuilder()
    x = b.input("x", *(size(name, 0, 9000) for name in ("n", "m", "k")), dtype=DType.FLOAT32)
    found = b.call("aten.nonzero.default", x)
    kept = b.call("aten.masked_select.default", x, b.apply("gt", x, b.full((), 1.0, DType.FLOAT32)))
    few = b.call("aten.nonzero_static.default", x, size=100, fill_value=-7)
    graph = b.graph(found, kept, few)
    given = np.maximum(values("float32", shape), 0)
    results = check(device_builds, graph, [given])
    np.testing.assert_array_equal(results[0][0], np.argwhere(given))
    np.testing.assert_array_equal(results[0][1], given[given > 1])


def test_distinct_slices(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    x = b.input("x", size("n"), 3, 2, dtype=DType.FLOAT32)
    graph = b.graph(*b.call("aten.unique_dim.default", x, 0, True, True, True))
    given = np.random.default_rng(1).integers(-1, 2, (400, 3, 2)).astype(np.float32)
    ((rows, inverse, counts),) = check(device_builds, graph, [given])
    wanted = np.unique(given, axis=0, return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(rows, wanted[0])
    np.testing.assert_array_equal(inverse, wanted[1].reshape(-1))
    np.testing.assert_array_equal(counts, wanted[2])


def test_bits_are_seen_as_another_type(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    x = b.input("x", size("n"), 6, dtype=DType.FLOAT32)
    graph = b.graph(*(b.call("aten.view.dtype", x, d) for d in (DType.INT32, DType.UINT8)))
    check(device_builds, graph, [values("float32", (5, 6))])


@pytest.mark.nvcc
@pytest.mark.parametrize(
    "target",
    ["aten.sort.default", "aten.cumsum.default", "aten.cummax.default", "aten.mode.default"],
)
def test_nvcc_builds_orders(tmp_path: Path, target: str) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    graph = program(target, "bfloat16", 1)
    assert build(graph, tmp_path, device="cuda", cuda_architectures=(80,)).exists()
