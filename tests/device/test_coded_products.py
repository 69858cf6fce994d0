"""Products with weights kept as int8 or int4 codes: few rows, many, split sums, every type of activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph
from castoff.compiler.ir.shapes import Dim
from castoff.compiler.lowering.coding import coding_of, encode
from castoff.runtime.manifest import read_manifest
from castoff.runtime.runner import aot_load
from tests.graphs import GraphBuilder, reference, size

from .building import DeviceBuilds

TOLERANCE = {"float32": 2e-6, "float16": 1e-3, "bfloat16": 8e-3}


@dataclass(frozen=True)
class Layer:
    """A linear layer with gelu; `padding` elements lie between the rows of its input."""

    depth: int
    channels: int
    padding: int = 0

    def weight(self, dtype: DType) -> np.ndarray:
        rng = np.random.default_rng(self.depth)
        return (rng.standard_normal((self.channels, self.depth)) / 16).astype(dtype.numpy)

    def bias(self, dtype: DType) -> np.ndarray:
        return np.linspace(-1, 1, self.channels).astype(dtype.numpy)

    def input(self, rows: int, dtype: DType) -> np.ndarray:
        rng = np.random.default_rng(rows)
        return rng.standard_normal((rows, self.depth + self.padding)).astype(dtype.numpy)


SPLIT = Layer(4096, 16)
LAYERS = (SPLIT, Layer(200, 37), Layer(1500, 130), Layer(256, 20, padding=3))


def linears(
    layers: Sequence[Layer], rows: Dim, dtype: DType, weights: Sequence[np.ndarray]
) -> Graph:
    """One product for each layer, of an input of its own."""
    b = GraphBuilder()
    results = []
    for i, (layer, weight) in enumerate(zip(layers, weights, strict=True)):
        x = b.input(f"x{i}", rows, layer.depth + layer.padding, dtype=dtype)
        if layer.padding:
            x = b.call("aten.slice.Tensor", x, 1, 0, layer.depth)
        bias = b.array(layer.bias(dtype), f"bias{i}")
        y = b.call("aten.linear.default", x, b.array(weight, f"weight{i}"), bias)
        results.append(b.call("aten.gelu.default", y))
    return b.graph(*results)


def rounded(weight: np.ndarray, weights: str) -> np.ndarray:
    """What the codes stand for."""
    coding = coding_of(weights, weight.shape[1])
    assert coding is not None
    return encode(weight.T, coding).decoded().T


def wanted(layer: Layer, dtype: DType, weights: str, x: np.ndarray) -> np.ndarray:
    """The reference in float32 over the rounded weights."""
    weight = rounded(layer.weight(dtype), weights)
    graph = linears([layer], x.shape[0], DType.FLOAT32, [weight])
    result: np.ndarray = reference(graph, x.astype(np.float32))[0]
    return result


def assert_close(got: object, want: np.ndarray, dtype: DType) -> None:
    error = np.abs(np.asarray(got, np.float32) - want).max() / np.abs(want).max()
    assert error <= TOLERANCE[dtype.value]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_products_are_those_of_the_rounded_weights(
    device_builds: DeviceBuilds, weights: str, dtype: str
) -> None:
    element = DType(dtype)
    graph = linears(LAYERS, size("rows", 1), element, [layer.weight(element) for layer in LAYERS])
    path = device_builds.build(graph, weights=weights)
    manifest = read_manifest(path)
    assert {"weight0.codes", "weight3.scales"} <= {c.name for c in manifest.constants}
    assert manifest.libraries == ()
    program = aot_load(path, "cuda")
    for rows in (1, 5, 8, 12, 70):
        given = [layer.input(rows, element) for layer in LAYERS]
        for layer, x, got in zip(LAYERS, given, program(*given), strict=True):
            assert_close(got, wanted(layer, element, weights, x), element)


@pytest.mark.parametrize("rows", [2, 20])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_known_to_be_few_or_many_have_only_their_kernel(
    device_builds: DeviceBuilds, rows: int, dtype: str
) -> None:
    element = DType(dtype)
    graph = linears([SPLIT], rows, element, [SPLIT.weight(element)])
    x = SPLIT.input(rows, element)
    (got,) = aot_load(device_builds.build(graph, weights="int4"), "cuda")(x)
    assert_close(got, wanted(SPLIT, element, "int4", x), element)


def test_elements_that_are_not_finite_stay_in_their_rows(device_builds: DeviceBuilds) -> None:
    layer = Layer(200, 32)
    graph = linears([layer], 3, DType.FLOAT16, [layer.weight(DType.FLOAT16)])
    program = aot_load(device_builds.build(graph, weights="int8"), "cuda")
    x = np.ones((3, 200), np.float16)
    x[1, 7] = np.nan
    (result,) = program(x)
    assert np.isfinite(result[[0, 2]]).all()
    assert np.isnan(result[1]).all()


def test_the_file_has_the_smaller_weights_and_says_what_they_lost(
    device_builds: DeviceBuilds,
) -> None:
    layer = Layer(512, 64)
    weight = layer.weight(DType.FLOAT32)
    manifest = read_manifest(
        device_builds.build(linears([layer], 1, DType.FLOAT32, [weight]), weights="int4")
    )
    sizes = {c.name: c.size_bytes for c in manifest.constants}
    assert sizes["weight0.codes"] == weight.size // 2
    assert sizes["weight0.scales"] == weight.size // 64 * 4
    assert "weight0" not in sizes
    assert manifest.weights_report.startswith("1 matrix in int4, off by ")
