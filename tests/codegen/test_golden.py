"""Generated C and CUDA, one feature each, as reviewed text: `pytest tests/codegen --update-golden` rewrites it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph

from ..device.test_recurrent import layers
from ..graphs import GraphBuilder, generated, size

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def pointwise() -> Graph:
    b = GraphBuilder()
    x, y = b.input("x", 8, 16), b.input("y", 16)
    return b.graph(b.apply("mul", b.apply("add", x, y), x))


def softmax() -> Graph:
    b = GraphBuilder()
    x = b.input("x", size("rows"), 64)
    return b.graph(b.call("aten.softmax.int", x, -1))


def rows_of_any_length() -> Graph:
    b = GraphBuilder()
    x = b.input("x", 5, size("length", 1, 1 << 20))
    return b.graph(b.call("aten.softmax.int", x, -1))


def attention() -> Graph:
    b = GraphBuilder()
    queries, keys = ((2, 4, size("queries", 1), 64), (2, 2, size("keys", 1), 64))
    q, k, v = (
        b.input(name, *shape, dtype=DType.BFLOAT16)
        for name, shape in zip("qkv", (queries, keys, keys), strict=True)
    )
    target = "aten.scaled_dot_product_attention.default"
    return b.graph(b.call(target, q, k, v, None, enable_gqa=True))


def sum_of_columns() -> Graph:
    b = GraphBuilder()
    return b.graph(b.reduce("sum", b.input("x", 32, 48), [0]))


def linear_with_epilogue() -> Graph:
    b = GraphBuilder()
    x = b.input("x", size("batch"), 16)
    weight = b.array(np.ones((8, 16), np.float32), "weight")
    bias = b.array(np.ones(8, np.float32), "bias")
    return b.graph(b.call("aten.sigmoid.default", b.call("aten.linear.default", x, weight, bias)))


def coded_linear() -> Graph:
    b = GraphBuilder()
    weight = b.array(np.ones((64, 128), np.float32), "weight")
    return b.graph(b.call("aten.linear.default", b.input("x", size("batch"), 128), weight))


def joined_in_place() -> Graph:
    b = GraphBuilder()
    x, y = b.input("x", 4, 6), b.input("y", 4, 2)
    return b.graph(b.concatenate([b.apply("neg", x), y], 1))


def embedding() -> Graph:
    b = GraphBuilder()
    table = b.array(np.ones((10, 4), np.float32), "table")
    ids = b.input("ids", size("n"), dtype=DType.INT64)
    return b.graph(b.call("aten.embedding.default", table, ids))


def convolution() -> Graph:
    b = GraphBuilder()
    x = b.input("x", 2, 8, 9, 10, dtype=DType.FLOAT16)
    weight = b.array(np.ones((40, 8, 3, 3), np.float16), "weight")
    bias = b.array(np.arange(40).astype(np.float16), "bias")
    y = b.call("aten.conv2d.default", x, weight, bias, [2, 1], [1, 1])
    return b.graph(b.permute(b.call("aten.relu.default", y), (0, 2, 3, 1)))


def grouped_product() -> Graph:
    b = GraphBuilder()
    rows = b.input("rows", size("n"), 16, dtype=DType.BFLOAT16)
    matrices = b.input("matrices", 4, 16, 8, dtype=DType.BFLOAT16)
    ends = b.input("ends", 4, dtype=DType.INT64)
    return b.graph(b.call("aten._grouped_mm.default", rows, matrices, ends))


def state() -> Graph:
    b = GraphBuilder()
    x = b.input("x", 4)
    seen = b.buffer("seen", np.zeros(4, np.float32))
    total = b.apply("add", seen, x)
    return b.graph(total, mutations=[(seen, total)])


def layer_norm() -> Graph:
    b = GraphBuilder()
    weight, bias = (b.array(np.ones(192, np.float32), name) for name in ("weight", "bias"))
    x = b.input("x", size("rows"), 192)
    return b.graph(b.call("aten.layer_norm.default", x, [192], weight, bias))


def group_norm() -> Graph:
    b = GraphBuilder()
    scale = b.array(np.ones(8, np.float32), "scale")
    x = b.input("x", size("n"), 8, 6, 6)
    return b.graph(b.call("aten.group_norm.default", x, 2, scale, scale))


def rms_norm_in_shared_memory() -> Graph:
    b = GraphBuilder()
    x = b.input("x", size("rows"), 20000)
    return b.graph(b.call("aten.rms_norm.default", x, [20000], None, 1e-5))


def transpose() -> Graph:
    b = GraphBuilder()
    return b.graph(b.apply("neg", b.permute(b.input("x", size("n"), 96, 64), (0, 2, 1))))


def tall_columns() -> Graph:
    b = GraphBuilder()
    return b.graph(b.call("aten.mean.dim", b.input("x", 900, 40), [0], True))


def selection() -> Graph:
    b = GraphBuilder()
    x = b.input("x", size("rows"), 7)
    found = b.call("aten.nonzero.default", x)
    chosen = b.call("aten.masked_select.default", x, b.call("aten.gt.Scalar", x, 0.5))
    return b.graph(found, chosen)


def unique() -> Graph:
    b = GraphBuilder()
    values, inverse, _ = b.call("aten._unique2.default", b.input("x", size("n")), True, True)
    return b.graph(values, inverse)


def lstm() -> Graph:
    return layers("lstm", 8)


PROGRAMS: Mapping[str, Callable[[], Graph]] = {
    make.__name__: make
    for make in (
        pointwise, softmax, sum_of_columns, linear_with_epilogue, coded_linear, joined_in_place, embedding,
        convolution, grouped_product, state, layer_norm, group_norm, rms_norm_in_shared_memory, transpose, tall_columns,
        selection, unique, lstm, rows_of_any_length, attention,
    )
}  # fmt: skip
OPTIONS: Mapping[str, Mapping[str, str]] = {"coded_linear": {"weights": "int4"}}
"""Of the programs that are not compiled by default."""


HOST_ONLY = ("joined_in_place",)
DEVICE_ONLY = (
    "layer_norm", "group_norm", "rms_norm_in_shared_memory", "transpose", "tall_columns", "selection", "unique", "lstm",
    "rows_of_any_length", "attention",
)  # fmt: skip
TARGETS: Mapping[str, tuple[str, ...]] = {
    "c": tuple(name for name in PROGRAMS if name not in DEVICE_ONLY),
    "cu": tuple(name for name in PROGRAMS if name not in HOST_ONLY),
}
"""The programs of each target, by the suffix of its units."""

CASES = [(name, suffix) for suffix, names in TARGETS.items() for name in names]


def program_text(name: str, suffix: str) -> str:
    device = {"c": "cpu", "cu": "cuda"}[suffix]
    units = generated(PROGRAMS[name](), device=device, **OPTIONS.get(name, {})).tree.units
    (text,) = {unit.text for unit in units if unit.path == f"program.{suffix}"}
    return text


@pytest.mark.parametrize(("name", "suffix"), CASES)
def test_generated_text_is_the_reviewed_one(
    name: str, suffix: str, request: pytest.FixtureRequest
) -> None:
    text = program_text(name, suffix)
    file = GOLDEN / f"{name}.{suffix}"
    if request.config.getoption("--update-golden"):
        file.write_text(text)
    assert file.exists(), f"{file.name} is missing: run pytest with --update-golden and review it"
    assert text == file.read_text()


@pytest.mark.parametrize(("name", "suffix"), CASES)
def test_generating_twice_gives_the_same_text(name: str, suffix: str) -> None:
    assert program_text(name, suffix) == program_text(name, suffix)
