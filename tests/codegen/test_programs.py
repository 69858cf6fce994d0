"""Programs of many kinds, built and run, against the NumPy reference of their graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph
from castoff.runtime.runner import aot_load

from ..graphs import GraphBuilder, build, generated, load, reference, size
from ..processor import needs_level
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


@pytest.mark.parametrize("level", ["x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("is_constant", [True, False], ids=["packed", "given"])
@pytest.mark.parametrize("rows", [1, 2, 5, 13, 30])
def test_products_find_the_kernels_their_unit_kept(
    rows: int, is_constant: bool, level: str, tmp_path: Path
) -> None:
    needs_level(level)
    random = np.random.default_rng(rows)
    left = random.standard_normal((rows, 40), np.float32)
    right = random.standard_normal((150, 40), np.float32)
    b = GraphBuilder()
    x = b.input("x", rows, 40)
    y = b.array(right) if is_constant else b.input("y", 150, 40)
    graph = b.graph(b.call("aten.linear.default", x, y))
    text = generated(graph).tree.units[0].text
    assert ("#define CASTOFF_GEMM_IS_PACKED 1" in text) is is_constant
    assert (f"#define CASTOFF_GEMM_MOST_ROWS {rows}" in text) is (rows < 14)
    arguments = [left] if is_constant else [left, right]
    (got,) = load(graph, tmp_path, target_cpu=level)(*arguments)
    np.testing.assert_allclose(got, left @ right.T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("heads", [2, 4], ids=["each", "grouped"])
@pytest.mark.parametrize("queries", [1, 4, 8, 9, "queries"])
def test_attention_finds_the_form_its_unit_kept(
    queries: int | str, heads: int, dtype: str, tmp_path: Path
) -> None:
    random = np.random.default_rng(heads)
    count = 5 if isinstance(queries, str) else queries
    b = GraphBuilder()
    x = b.input("x", 1, size(queries) if isinstance(queries, str) else queries, heads * 16)
    weight = b.array(random.standard_normal((heads * 16, heads * 16), np.float32) / 8)
    rows = b.call("aten.linear.default", x, weight)
    split = b.call("aten.reshape.default", rows, [1, -1, heads, 16])
    pair = [b.input(name, 1, 2, 40, 16) for name in ("k", "v")]
    operands = [b.cast(y, DType(dtype)) for y in (b.permute(split, (0, 2, 1, 3)), *pair)]
    y = b.call("aten.scaled_dot_product_attention.default", *operands, enable_gqa=heads > 2)
    graph = b.graph(b.cast(y, DType.FLOAT32))
    text = generated(graph).tree.units[0].text
    columns = f"COLUMNS {count * heads // 2}\n"
    assert (f"#define CASTOFF_ATTENTION_LEAST_{columns}" in text) is isinstance(queries, int)
    assert (f"#define CASTOFF_ATTENTION_MOST_{columns}" in text) is isinstance(queries, int)
    assert ("#define CASTOFF_GEMM_IS_PACKED 1" in text) is (dtype == "float32")
    arrays = [
        random.standard_normal(shape, np.float32)
        for shape in ((1, count, heads * 16), (1, 2, 40, 16), (1, 2, 40, 16))
    ]
    (want,) = reference(graph, *arrays)
    (got,) = load(graph, tmp_path)(*arrays)
    tolerance = 1e-4 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("rows", "columns", "is_large"),
    [
        (300, 1024, True),
        (200, 1537, True),
        ("rows", 1100, True),
        (20, 1537, False),
        (5000, 64, False),
    ],
)
def test_rows_that_lie_in_memory_are_asked_for_ahead(
    rows: int | str, columns: int, is_large: bool, tmp_path: Path
) -> None:
    b = GraphBuilder()
    x = b.input("x", size(rows) if isinstance(rows, str) else rows, columns)
    graph = b.graph(b.call("aten.softmax.int", x, -1))
    text = generated(graph).tree.units[0].text
    assert ("__builtin_prefetch(" in text) is is_large
    count = 7 if isinstance(rows, str) else rows
    array = np.random.default_rng(0).standard_normal((count, columns), np.float32) * 9
    (got,) = load(graph, tmp_path)(array)
    (want,) = reference(graph, array)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-7)


def test_a_classifier_keeps_the_product_kernels_of_its_last_layer_only(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    b = GraphBuilder()
    kernel = b.array(random.standard_normal((16, 3, 3, 3), np.float32))
    weight = b.array(random.standard_normal((10, 16), np.float32))
    y = b.call("aten.relu.default", b.call("aten.conv2d.default", b.input("x", 1, 3, 9, 9), kernel))
    y = b.call("aten.mean.dim", y, [-1, -2])
    graph = b.graph(b.call("aten.linear.default", y, weight))
    assert "#define CASTOFF_GEMM_MOST_ROWS 1" in generated(graph).tree.units[0].text
    array = random.standard_normal((1, 3, 9, 9), np.float32)
    (got,) = load(graph, tmp_path)(array)
    (want,) = reference(graph, array)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize(
    ("groups", "inner", "outer", "has_depthwise"),
    [(1, 1, 1, False), (1, 4, 6, False), (2, 3, 4, False), (6, 1, 12, False), (6, 1, 6, True)],
)
def test_convolutions_find_the_kernels_their_unit_kept(
    groups: int, inner: int, outer: int, has_depthwise: bool, level: str, tmp_path: Path
) -> None:
    needs_level(level)
    random = np.random.default_rng(outer)
    image = random.standard_normal((2, groups * inner, 9, 8), np.float32)
    b = GraphBuilder()
    kernel = b.array(random.standard_normal((outer, inner, 3, 3), np.float32))
    x = b.input("x", *image.shape)
    y = b.call("aten.conv2d.default", x, kernel, None, [1, 1], [1, 1], [1, 1], groups)
    graph = b.graph(y)
    text = generated(graph).tree.units[0].text
    assert ("#define CASTOFF_CONV_HAS_DEPTHWISE 0" not in text) is has_depthwise
    (want,) = reference(graph, image)
    (got,) = load(graph, tmp_path, target_cpu=level)(image)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16], ids=str)
@pytest.mark.parametrize(
    ("channels", "groups", "side"), [(64, 1, 1), (64, 1, 3), (64, 2, 1), (16, 16, 3)]
)
def test_convolutions_of_images_without_pixels_have_none(
    channels: int, groups: int, side: int, dtype: DType, threads: int, tmp_path: Path
) -> None:
    b = GraphBuilder()
    x = b.input("x", size("n"), channels, size("s0"), size("s1"), dtype=dtype)
    kernel = b.array(np.ones((channels, channels // groups, side, side), dtype.numpy))
    padding = [side // 2, side // 2]
    y = b.call("aten.conv2d.default", x, kernel, None, [1, 1], padding, [1, 1], groups)
    run = aot_load(build(b.graph(y), tmp_path), threads=threads)
    for shape in ((2, channels, 0, 5), (2, channels, 4, 0), (0, channels, 0, 0)):
        (got,) = run(np.zeros(shape, dtype.numpy))
        assert np.asarray(got).shape == shape


@pytest.mark.parametrize(
    ("target_cpu", "opt_level", "does_less"),
    [
        ("portable", 2, {"program.x86-64.o"}),
        ("portable", 3, set()),
        ("portable", 0, set()),
        ("x86-64", 2, set()),
    ],
)
def test_the_level_to_fall_back_on_is_compiled_with_less_effort(
    target_cpu: str, opt_level: int, does_less: set[str]
) -> None:
    b = GraphBuilder()
    graph = b.graph(b.call("aten.relu.default", b.input("x", 8)))
    units = generated(graph, target_cpu=target_cpu, opt_level=opt_level).tree.units
    kernels = [unit for unit in units if unit.path == "program.c"]
    assert {unit.output for unit in kernels if "-O1" in unit.flags} == does_less


def test_steps_of_an_unrolled_recurrence_share_their_kernels(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    b = GraphBuilder()
    x, h = b.input("x", 2, 9, 32), b.input("h", 2, 32)
    weights = [b.array(random.standard_normal((32, 32), np.float32)) for _ in range(2)]
    states = []
    for step in range(9):
        now = b.call("aten.linear.default", b.call("aten.select.int", x, 1, step), weights[0])
        before = b.call("aten.linear.default", h, weights[1])
        h = b.call("aten.tanh.default", b.apply("add", now, before))
        states.append(h)
    graph = b.graph(b.call("aten.stack.default", states, 1), h)
    assert generated(graph).tree.units[0].text.count("_arguments {") <= 6
    arrays = [random.standard_normal((2, 9, 32), np.float32), np.zeros((2, 32), np.float32)]
    for got, want in zip(load(graph, tmp_path)(*arrays), reference(graph, *arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["aten.relu.default", "aten.relu6.default"])
def test_what_is_bounded_before_it_is_stored_is_rounded_once(tmp_path: Path, name: str) -> None:
    b = GraphBuilder()
    x = b.input("x", 1000)
    graph = b.graph(b.call(name, b.cast(b.apply("mul", x, x), DType.BFLOAT16)))
    assert "castoff_rounded_bf16" not in generated(graph).tree.files()["program.c"]
    numbers = (4 * np.random.default_rng(0).standard_normal(1000)).astype(np.float32)
    numbers[3] = np.nan
    (want,) = reference(graph, numbers)
    (got,) = load(graph, tmp_path)(numbers)
    np.testing.assert_array_equal(got.astype(np.float32), want.astype(np.float32))
