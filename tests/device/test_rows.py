"""Rows that lanes share: read from memory once, and held until their last phase."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import castoff
from castoff.compiler.codegen.cuda_row_plan import MOST_SHARED_BYTES
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, Value
from castoff.runtime.runner import aot_load
from tests.graphs import GraphBuilder, generated, reference, size

from .building import DeviceBuilds
from .machine import architecture

TOLERANCE = {"float32": 2e-5, "float16": 4e-3, "float64": 1e-12, "bfloat16": 3e-2}


def standardized(x: np.ndarray, *axes: int) -> np.ndarray:
    deviation = x - x.mean(axes, keepdims=True)
    return np.asarray(deviation / np.sqrt(np.square(deviation).mean(axes, keepdims=True) + 1e-5))


def softmax_of(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))


def ramp(*shape: int) -> np.ndarray:
    return np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape)


@dataclass(frozen=True)
class Case:
    """A function of `x` [rows, *shape], and what it is by hand."""

    shape: tuple[int, ...]
    make: Callable[[GraphBuilder, Value], Value]
    by_hand: Callable[[np.ndarray], np.ndarray]


def layer_norm(length: int) -> Case:
    def make(b: GraphBuilder, x: Value) -> Value:
        weight, bias = (b.array(ramp(length).astype(x.dtype.numpy), n) for n in ("weight", "bias"))
        result: Value = b.call("aten.layer_norm.default", x, [length], weight, bias)
        return result

    return Case((length,), make, lambda x: standardized(x, -1) * ramp(length) + ramp(length))


def rms_norm(length: int) -> Case:
    def make(b: GraphBuilder, x: Value) -> Value:
        result: Value = b.call("aten.rms_norm.default", x, [length], None, 1e-5)
        return result

    return Case((length,), make, lambda x: x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-5))


def softmax(length: int) -> Case:
    def make(b: GraphBuilder, x: Value) -> Value:
        result: Value = b.call("aten.softmax.int", x, -1)
        return result

    return Case((length,), make, softmax_of)


def group_norm(channels: int, side: int, groups: int) -> Case:
    def make(b: GraphBuilder, x: Value) -> Value:
        scale = b.array(ramp(channels).astype(x.dtype.numpy), "scale")
        result: Value = b.call("aten.group_norm.default", x, groups, scale, scale)
        return result

    def by_hand(x: np.ndarray) -> np.ndarray:
        grouped = x.reshape(len(x), groups, -1)
        scale = ramp(channels)[:, None, None]
        return np.asarray(standardized(grouped, -1).reshape(x.shape) * scale + scale)

    return Case((channels, side, side), make, by_hand)


def across(a: int, b: int) -> Case:
    """A norm over two dimensions that do not lie side by side."""

    def make(builder: GraphBuilder, x: Value) -> Value:
        turned = builder.permute(x, (0, 2, 1))
        result: Value = builder.call("aten.layer_norm.default", turned, [b, a])
        return result

    return Case((a, b), make, lambda x: standardized(x.transpose(0, 2, 1), -1, -2))


def shifted(length: int) -> Case:
    """A softmax of what lies one element after a multiple of 16 bytes, then of every other element."""

    def make(b: GraphBuilder, x: Value) -> Value:
        inner = b.call("aten.slice.Tensor", x, 1, 1, length + 1)
        other = b.call("aten.slice.Tensor", x, 1, 0, 2 * length, 2)
        both: Value = b.apply("add", b.call("aten.softmax.int", inner, -1), other)
        result: Value = b.call("aten.softmax.int", both, -1)
        return result

    def by_hand(x: np.ndarray) -> np.ndarray:
        return softmax_of(softmax_of(x[:, 1 : length + 1]) + x[:, : 2 * length : 2])

    return Case((2 * length,), make, by_hand)


CASES: Mapping[str, Case] = {
    "a thread": layer_norm(10),
    "a thread, pieces of 16 bytes": softmax(16),
    "a warp, part of a turn": layer_norm(50),
    "a warp, whole turns": layer_norm(768),
    "a warp, the last turn for some": rms_norm(1000),
    "a warp, no whole pieces": softmax(257),
    "a block": layer_norm(1280),
    "a block, no whole pieces": softmax(1025),
    "a block, many turns": softmax(12000),
    "shared memory": layer_norm(20000),
    "shared memory and twice read": softmax(16380),
    "longer than a stack": softmax(17000),
    "longer than what there is": rms_norm(50004),
    "groups of channels": group_norm(32, 6, 8),
    "groups of a block": group_norm(32, 10, 2),
    "groups with odd sides": group_norm(6, 7, 2),
    "two dimensions across": across(12, 40),
    "slices": shifted(40),
}


def program_of(dtype: str, names: tuple[str, ...]) -> Graph:
    b = GraphBuilder()
    rows = size("rows", 1)
    results = []
    for number, name in enumerate(names):
        x = b.input(f"x{number}", rows, *CASES[name].shape, dtype=DType(dtype))
        results.append(CASES[name].make(b, x))
    return b.graph(*results)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_rows_are_what_they_are_by_hand(device_builds: DeviceBuilds, dtype: str) -> None:
    names = tuple(CASES)
    program = aot_load(device_builds.build(program_of(dtype, names)), "cuda")
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((11, *CASES[n].shape)).astype(DType(dtype).numpy) for n in names]
    for name, x, got in zip(names, inputs, program(*inputs), strict=True):
        tolerance = TOLERANCE[dtype]
        np.testing.assert_allclose(
            np.asarray(got, np.float64), CASES[name].by_hand(x.astype(np.float64)),
            rtol=tolerance, atol=tolerance, err_msg=name,
        )  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_with_one_that_is_no_number_are_those_of_the_reference(
    device_builds: DeviceBuilds, value: float
) -> None:
    names = ("a thread, pieces of 16 bytes", "a warp, no whole pieces", "a block, many turns")
    names += ("a warp, whole turns", "shared memory", "shared memory and twice read")
    graph = program_of("float32", names)
    program = aot_load(device_builds.build(graph), "cuda")
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((3, *CASES[n].shape)).astype(np.float32) for n in names]
    for x in inputs:
        x[1, x.shape[1] // 2] = value
        x[2] = value
    with np.errstate(invalid="ignore"):
        wanted = reference(graph, *inputs)
    for name, got, of_reference in zip(names, program(*inputs), wanted, strict=True):
        np.testing.assert_allclose(
            np.asarray(got), of_reference, rtol=2e-5, atol=2e-5, err_msg=name
        )


LENGTHS = {
    "one element": (5, 1),
    "a warp": (9, 300),
    "a warp, the most": (9, 1024),
    "a block": (5, 1025),
    "a block, the most": (2, 12288),
    "longer than what fits": (130, 30011),
    "shared by blocks": (3, 40003),
    "no rows": (0, 70),
}
"""Rows and lengths that are known when arrays are there."""


def test_rows_of_any_length_are_held_where_they_fit(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    rows = size("rows", 0)
    x = b.input("x", rows, size("length", 1, 1 << 20))
    y = b.input("y", rows, size("width", 1, 4000), dtype=DType.FLOAT64)
    graph = b.graph(
        b.call("aten.softmax.int", x, -1),
        b.call("aten.var.correction", x, [1], correction=0),
        b.call("aten.amax.default", b.apply("exp", x), [1]),
        b.call("aten.softmax.int", y, -1),
    )
    text = generated(graph, device="cuda").tree.units[0].text
    run = text[text.index("castoff_run_cuda") :]
    assert (
        len(re.findall(r"\bp\d\[i0 \* length \+ i1\] = ", text)) == 4
    )  # results alone, of four kernels
    assert re.search(r"if \(length <= 1024 && \S+ \* 128 <= 98304\)", run)
    assert re.search(r"if \(16384 <= length && rows <= 128\)", run)
    assert re.search(r"if \(\S+ \* 16 <= 98304\)", run)
    program = aot_load(device_builds.build(graph), "cuda")
    rng = np.random.default_rng(0)
    for name, (count, length) in LENGTHS.items():
        x_given = rng.standard_normal((count, length)).astype(np.float32)
        y_given = rng.standard_normal((count, min(length, 4000)))
        exponentials, variance, most, wide = map(np.asarray, program(x_given, y_given))
        exact = x_given.astype(np.float64)
        close = {"rtol": 2e-5, "atol": 1e-7, "err_msg": name}
        np.testing.assert_allclose(exponentials, softmax_of(exact), **close)
        np.testing.assert_allclose(variance, exact.var(-1), **close)
        np.testing.assert_allclose(most, np.exp(exact).max(-1, initial=0), **close)
        np.testing.assert_allclose(wide, softmax_of(y_given), rtol=1e-12, err_msg=name)


def test_what_a_kernel_may_share_does_not_depend_on_the_rows_of_a_run(
    device_builds: DeviceBuilds, tmp_path: Path
) -> None:
    program, templates = tmp_path / "row_launches", Path(castoff.__file__).parent / "templates"
    source = Path(__file__).parent / "row_launches.cu"
    nvcc = [f"{device_builds.home}/bin/nvcc", f"-arch=sm_{architecture()}", "-std=c++20"]
    command = [*nvcc, f"-I{templates}", f"-I{templates}/abi", str(source), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    libraries = {**os.environ, "LD_LIBRARY_PATH": f"{device_builds.home}/lib64"}
    done = subprocess.run([program], env=libraries, check=True, capture_output=True, text=True)
    first, *later = (int(line) for line in done.stdout.split())
    assert first >= MOST_SHARED_BYTES
    assert later == [first] * 3


def test_no_exponentials_are_written_for_rows_that_fit_no_stack() -> None:
    text = (
        generated(program_of("float32", ("longer than a stack",)), device="cuda").tree.units[0].text
    )
    assert "arena +" not in text[text.index("castoff_run_cuda") :]
    assert len(re.findall(r"\bp\d\[.*\] = ", text)) == 1  # the result alone


def test_a_row_that_is_stored_is_held_for_later_phases(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    x, y = (b.input(name, size("rows"), 300) for name in "xy")
    total = b.apply("add", x, y)
    graph = b.graph(b.call("aten.layer_norm.default", total, [300]), total)
    text = generated(graph, device="cuda").tree.units[0].text
    kernel = text[text.index("__global__") : text.index("castoff_run_cuda")]
    assert len(re.findall(r"= p\d\[", kernel)) == 2  # each operand once
    program = aot_load(device_builds.build(graph), "cuda")
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal((9, 300)).astype(np.float32) for _ in range(2))
    normed, added = (np.asarray(a) for a in program(first, second))
    np.testing.assert_array_equal(added, first + second)
    wanted = standardized(np.asarray(first + second, np.float64), -1)
    np.testing.assert_allclose(normed, wanted, rtol=2e-5, atol=2e-5)


def test_few_long_rows_are_shared_by_blocks(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    graph = b.graph(b.call("aten.layer_norm.default", b.input("x", 3, 40000), [40000]))
    text = generated(graph, device="cuda").tree.units[0].text
    assert "castoff_part_begin(part, parts, 10000)" in text  # pieces of four
    program = aot_load(device_builds.build(graph), "cuda")
    x = np.random.default_rng(0).standard_normal((3, 40000)).astype(np.float32)
    wanted = standardized(x.astype(np.float64), -1)
    np.testing.assert_allclose(np.asarray(program(x)[0]), wanted, rtol=2e-5, atol=2e-5)
