"""Artefacts for CUDA answer as the reference does, with arrays of the host."""

from __future__ import annotations

import re

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.runtime.errors import ProgramError
from tests.graphs import GraphBuilder, generated, reference, size

from .building import DeviceBuilds


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def test_a_pointwise_program_runs_with_every_size_of_its_symbol(
    device_builds: DeviceBuilds,
) -> None:
    b = GraphBuilder()
    n = size("n")
    x, y = b.input("x", n, 8), b.input("y", n, 8)
    graph = b.graph(b.apply("add", x, b.apply("sin", y)))
    program = device_builds.load(graph)
    assert program.device == "cuda:0"
    for count in (3, 1, 0, 300):
        given = arrays((count, 8), (count, 8))
        np.testing.assert_allclose(
            program(*given)[0], reference(graph, *given)[0], rtol=1e-6, atol=1e-6
        )


def test_constants_lie_on_the_device_and_are_replaced_there(device_builds: DeviceBuilds) -> None:
    weight, other, x = arrays((4, 8), (4, 8), (4, 8))
    b = GraphBuilder()
    graph = b.graph(b.apply("mul", b.input("x", 4, 8), b.array(weight, "weight")))
    program, second = device_builds.load(graph), None
    second = program.fresh()
    np.testing.assert_array_equal(program(x)[0], x * weight)
    np.testing.assert_array_equal(program.read_constant("weight"), weight)
    program.replace_constants({"weight": other})
    np.testing.assert_array_equal(program(x)[0], x * other)
    np.testing.assert_array_equal(second(x)[0], x * weight)


def test_buffers_keep_their_state_on_the_device(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    x = b.input("x", 4)
    total = b.buffer("total", np.zeros(4, np.float32))
    updated = b.apply("add", total, x)
    graph = b.graph(updated, mutations=[(total, updated)])
    program = device_builds.load(graph)
    (given,) = arrays((4,))
    program(given)
    np.testing.assert_array_equal(program(given)[0], given + given)
    np.testing.assert_array_equal(program.read_buffer("total"), given + given)
    program.write_buffer("total", given)
    np.testing.assert_array_equal(program(given)[0], given + given)
    program.reset_buffers()
    np.testing.assert_array_equal(program(given)[0], given)


def test_an_index_out_of_range_is_reported_and_forgotten(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    table = b.input("table", 4, 2)
    index = b.input("index", 3, dtype=DType.INT64)
    graph = b.graph(b.call("aten.embedding.default", table, index))
    program = device_builds.load(graph)
    (given,) = arrays((4, 2))
    with pytest.raises(ProgramError, match="index out of range"):
        program(given, np.array([0, 9, 1]))
    np.testing.assert_array_equal(program(given, np.array([3, 0, 1]))[0], given[[3, 0, 1]])


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.COMPLEX128], ids=str)
def test_many_operands_may_lie_across(device_builds: DeviceBuilds, dtype: DType) -> None:
    b = GraphBuilder()
    total, *others = (
        b.call("aten.t.default", b.input(f"x{number}", 70, 40, dtype=dtype)) for number in range(4)
    )
    for other in others:
        total = b.apply("add", total, other)
    graph = b.graph(total)
    given = [x.astype(dtype.numpy) for x in arrays(*[(70, 40)] * 4)]
    np.testing.assert_allclose(
        device_builds.load(graph)(*given)[0], reference(graph, *given)[0], rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [DType.FLOAT8_E4M3FN, DType.FLOAT8_E5M2], ids=str)
def test_floats_of_8_bits_are_stored(device_builds: DeviceBuilds, dtype: DType) -> None:
    b = GraphBuilder()
    x, where = b.input("x", size("n"), 16, dtype=dtype), b.input("where", 3, dtype=DType.INT64)
    wide = b.call("aten._to_copy.default", x, dtype=DType.FLOAT32)
    graph = b.graph(
        b.call("aten._to_copy.default", b.apply("mul", wide, wide), dtype=dtype),
        b.call("aten.clone.default", b.call("aten.t.default", x)),
        b.call("aten.index_select.default", x, 0, where),
        wide,
    )
    (values,) = arrays((40, 16))
    given = values.astype(dtype.numpy), np.array([3, 39, 0])
    for got, wanted in zip(
        device_builds.load(graph)(*given), reference(graph, *given), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(got, np.float32), np.asarray(wanted, np.float32))


def test_parts_of_a_buffer_share_a_kernel(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    shapes = (3, 3, 8), (8, 8), (3, 3, 7), (7, 7)
    x, square, odd, other = (b.input(f"x{i}", *shape) for i, shape in enumerate(shapes))
    graph = b.graph(
        *(
            b.call("aten.matmul.default", b.call("aten.select.int", whole, 0, i), right)
            for whole, right in ((x, square), (odd, other))
            for i in range(3)
        )
    )
    text = generated(graph, device="cuda").tree.units[0].text
    # Parts that begin at no multiple of 16 bytes have kernels of their own.
    assert len(re.findall(r"static int \w+_run\(", text)) == 1 + 3
    assert "(frame->inputs[0]) + 24" in text
    assert "(frame->inputs[2]) + 20" in text
    given = arrays(*shapes)
    for got, wanted in zip(
        device_builds.load(graph)(*given), reference(graph, *given), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


def test_strided_and_misplaced_arrays_are_copied(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    graph = b.graph(b.apply("neg", b.input("x", 4, 6)))
    program = device_builds.load(graph)
    (given,) = arrays((6, 8))
    view = given.T[2:6, ::1]
    np.testing.assert_array_equal(program(view)[0], -view)
    out = np.zeros((6, 4), np.float32)
    program(view, out=(out.T,))
    np.testing.assert_array_equal(out.T, -view)
