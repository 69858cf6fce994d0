"""The options that narrow products: what they change in answers, and what they leave as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.errors import OptionError
from castoff.compiler.ir.graph import Graph
from castoff.compiler.options import CompileOptions
from castoff.runtime.manifest import read_manifest

from ..graphs import GraphBuilder, build, load, reference


def linears(rows: int) -> tuple[Graph, np.ndarray]:
    """Two linears, the second with a weight too small to be worth compressing."""
    rng = np.random.default_rng(3)
    b = GraphBuilder()
    x = b.input("x", rows, 128)
    first = b.array((rng.standard_normal((256, 128)) / 11).astype(np.float32), "first")
    second = b.array((rng.standard_normal((8, 256)) / 16).astype(np.float32), "second")
    y = b.call("aten.relu.default", b.call("aten.linear.default", x, first))
    y = b.call("aten.linear.default", y, second)
    return b.graph(y), rng.standard_normal((rows, 128)).astype(np.float32)


def images() -> tuple[Graph, np.ndarray]:
    """A convolution and a depthwise one."""
    rng = np.random.default_rng(4)
    b = GraphBuilder()
    x = b.input("x", 2, 8, 9, 7)
    dense = b.array(rng.standard_normal((16, 8, 3, 3)).astype(np.float32) / 8, "dense")
    deep = b.array(rng.standard_normal((16, 1, 3, 3)).astype(np.float32) / 3, "deep")
    y = b.call("aten.conv2d.default", x, dense, None, [1, 1], [1, 1])
    y = b.call("aten.hardtanh.default", y, 0.0, 0.5)
    y = b.call("aten.conv2d.default", y, deep, None, [1, 1], [1, 1], [1, 1], 16)
    return b.graph(y), rng.standard_normal((2, 8, 9, 7)).astype(np.float32)


def relative_error(graph: Graph, x: np.ndarray, folder: Path, **options: str) -> float:
    """How far the compiled answer is from the reference, relative to its largest value."""
    (want,) = reference(graph, x)
    (got,) = load(graph, folder, **options)(x)
    assert got.dtype == np.float32
    return float(np.abs(got - want).max() / np.abs(want).max())


@pytest.mark.parametrize("rows", [1, 5, 33])
@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        ({}, 0, 2e-6),
        ({"compute": "bf16"}, 1e-4, 1e-2),
        ({"weights": "int8"}, 1e-4, 2e-2),
        ({"weights": "int4"}, 1e-3, 2e-1),
        ({"compute": "bf16", "weights": "int8"}, 1e-4, 3e-2),
    ],
    ids=["as-is", "bf16", "int8", "int4", "bf16-int8"],
)
def test_linears_are_as_exact_as_the_option_says(
    rows: int, options: dict[str, str], least: float, most: float, tmp_path: Path
) -> None:
    graph, x = linears(rows)
    assert least <= relative_error(graph, x, tmp_path, **options) <= most


def test_convolutions_are_multiplied_in_bfloat16_but_for_depthwise_ones(tmp_path: Path) -> None:
    graph, x = images()
    assert 1e-4 < relative_error(graph, x, tmp_path, compute="bf16") < 1e-2


@pytest.mark.parametrize(("weights", "ratio"), [("int8", 0.26), ("int4", 0.15)])
def test_the_file_has_the_smaller_weights_and_says_what_they_lost(
    weights: str, ratio: float, tmp_path: Path
) -> None:
    graph, _ = linears(1)
    manifest = read_manifest(build(graph, tmp_path, weights=weights))
    names = [constant.name for constant in manifest.constants]
    assert {"first.codes", "first.scales", "second.panels"} <= set(names)
    size = sum(c.size_bytes for c in manifest.constants if c.name.startswith("first."))
    assert size <= ratio * 256 * 128 * 4
    assert manifest.weights_report.startswith(f"1 matrix in {weights}, off by ")
    assert manifest.weights_report.endswith("(first)")


def test_weights_that_are_not_finite_stay_as_they_are(tmp_path: Path) -> None:
    b = GraphBuilder()
    x = b.input("x", 1, 128)
    weight = np.ones((256, 128), np.float32)
    weight[3, 5] = np.inf
    graph = b.graph(b.call("aten.linear.default", x, b.array(weight, "weight")))
    ones = np.ones((1, 128), np.float32)
    (got,) = load(graph, tmp_path, weights="int8")(ones)
    assert np.array_equal(got, reference(graph, ones)[0])


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OptionError, match=r'compute = .bf32.: expected "f32", "bf16" or "tf32"'):
        CompileOptions(compute="bf32")
    with pytest.raises(OptionError, match='weights = 8: expected "full", "int8" or "int4"'):
        CompileOptions(weights=8)  # type: ignore[arg-type]
    for device, compute in (("cuda", "bf16"), ("cpu", "tf32")):
        with pytest.raises(OptionError, match=f"{device}.: it does not multiply as .{compute}"):
            CompileOptions(device=device, compute=compute)
