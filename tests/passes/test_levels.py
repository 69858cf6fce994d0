"""Products of quantised programs: levels are multiplied as they are, exactly, and give what floats give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import castoff
from castoff.compiler.exported.deserialize import load_program
from castoff.compiler.frontends.exported import import_program
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, Value
from castoff.compiler.ops.convolution import Convolve
from castoff.compiler.ops.matmul import MatMul

from ..graphs import GraphBuilder, load, optimized, reference

RANDOM = np.random.default_rng(7)
QUANTIZED = "quantized_decomposed"


def levels_of(*shape: int) -> np.ndarray:
    """Weights: every level but the lowest, which symmetric quantisation leaves out."""
    return RANDOM.integers(-127, 128, shape).astype(np.int8)


def scales_of(count: int) -> np.ndarray:
    return RANDOM.uniform(0.001, 0.02, count).astype(np.float32)


def dequantized(b: GraphBuilder, x: Value, scale: float, zero: int) -> Value:
    low, high = (-128, 127) if x.dtype is DType.INT8 else (0, 255)
    return b.call(f"{QUANTIZED}.dequantize_per_tensor.default", x, scale, zero, low, high, x.dtype)


def round_trip(b: GraphBuilder, x: Value, scale: float, zero: int, dtype: DType) -> Value:
    low, high = (-128, 127) if dtype is DType.INT8 else (0, 255)
    q = b.call(f"{QUANTIZED}.quantize_per_tensor.default", x, scale, zero, low, high, dtype)
    return dequantized(b, q, scale, zero)


def weight(b: GraphBuilder, levels: np.ndarray, zeros: np.ndarray | None = None) -> Value:
    scales = b.array(scales_of(levels.shape[0]), "scales")
    points = b.array(np.zeros(len(levels), np.int64) if zeros is None else zeros, "zeros")
    q = b.array(levels, "levels")
    return b.call(
        f"{QUANTIZED}.dequantize_per_channel.default", q, scales, points, 0, -128, 127, DType.INT8
    )


def products(graph: Graph) -> list[MatMul | Convolve]:
    return [node.op for node in graph.nodes if isinstance(node.op, (MatMul, Convolve))]


def assert_same(graph: Graph, folder: Path, *arrays: np.ndarray, levels: str) -> None:
    """The compiled program gives what the floats of the source program give."""
    (want,) = reference(graph, *arrays)
    (got,) = load(graph, folder, target_cpu=levels)(*arrays)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


def linear(dtype: DType, zero: int, rows: int, depth: int, columns: int) -> Graph:
    b = GraphBuilder()
    x = dequantized(b, b.input("x", rows, depth, dtype=dtype), 0.03, zero)
    w = weight(b, levels_of(columns, depth))
    bias = b.array(RANDOM.standard_normal(columns).astype(np.float32), "bias")
    return b.graph(b.call("aten.linear.default", x, w, bias))


CASES = [
    pytest.param(DType.UINT8, 0, 33, 70, 19, id="unsigned"),
    pytest.param(DType.UINT8, 131, 7, 256, 48, id="unsigned-with-zero"),
    pytest.param(DType.INT8, 0, 64, 64, 64, id="signed"),
    pytest.param(DType.INT8, -17, 1, 129, 100, id="signed-with-zero"),
    pytest.param(DType.INT8, 127, 40, 1000, 33, id="deep"),
]


@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3", "portable"])
@pytest.mark.parametrize(("dtype", "zero", "rows", "depth", "columns"), CASES)
def test_linear_layers_multiply_levels(
    dtype: DType, zero: int, rows: int, depth: int, columns: int, level: str, tmp_path: Path
) -> None:
    graph = linear(dtype, zero, rows, depth, columns)
    assert [op.zero for op in products(optimized(graph))] == [zero]
    info = np.iinfo(dtype.numpy)
    x = RANDOM.integers(info.min, info.max + 1, (rows, depth)).astype(dtype.numpy)
    assert_same(graph, tmp_path, x, levels=level)


@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3", "portable"])
@pytest.mark.parametrize("extreme", [0, 255])
def test_the_largest_levels_do_not_saturate(extreme: int, level: str, tmp_path: Path) -> None:
    b = GraphBuilder()
    x = dequantized(b, b.input("x", 3, 512, dtype=DType.UINT8), 1.0, 0)
    levels = np.full((32, 512), -127, np.int8)
    levels[::2] = 127
    graph = b.graph(b.call("aten.linear.default", x, weight(b, levels)))
    assert_same(graph, tmp_path, np.full((3, 512), extreme, np.uint8), levels=level)


@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3", "portable"])
@pytest.mark.parametrize(
    ("shape", "weights", "groups", "stride", "padding", "zero"),
    [
        pytest.param((2, 3, 11, 13), (20, 3, 3, 3), 1, 2, 1, 5, id="stem"),
        pytest.param((1, 32, 9, 9), (48, 32, 1, 1), 1, 1, 0, -3, id="1x1"),
        pytest.param((1, 24, 10, 10), (36, 8, 3, 3), 3, 1, 1, -128, id="grouped"),
        pytest.param((3, 16, 8, 8), (64, 16, 3, 3), 1, 1, 1, 7, id="3x3"),
    ],
)
def test_convolutions_multiply_levels(
    shape: tuple[int, ...], weights: tuple[int, ...], groups: int, stride: int, padding: int, zero: int,
    level: str, tmp_path: Path,
) -> None:  # fmt: skip
    b = GraphBuilder()
    x = round_trip(b, b.input("x", *shape), 0.02, zero, DType.INT8)
    w = weight(b, levels_of(*weights))
    bias = b.array(RANDOM.standard_normal(weights[0]).astype(np.float32), "bias")
    y = b.call(
        "aten.convolution.default", x, w, bias, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups
    )  # fmt: skip
    graph = b.graph(y)
    assert [op.zero for op in products(optimized(graph))] == [zero]
    assert_same(graph, tmp_path, RANDOM.standard_normal(shape).astype(np.float32), levels=level)


def test_a_chain_of_layers_keeps_its_levels(tmp_path: Path) -> None:
    b = GraphBuilder()
    x = round_trip(b, b.input("x", 4, 64), 0.02, 3, DType.UINT8)
    y = b.call("aten.relu.default", b.call("aten.linear.default", x, weight(b, levels_of(96, 64))))
    y = round_trip(b, y, 0.05, 0, DType.UINT8)
    graph = b.graph(b.call("aten.linear.default", y, weight(b, levels_of(10, 96))))
    assert [op.zero for op in products(optimized(graph))] == [3, 0]
    arrays = (RANDOM.standard_normal((4, 64)).astype(np.float32),)
    (want,) = reference(graph, *arrays)
    (got,) = load(graph, tmp_path, target_cpu="portable")(*arrays)
    # A sum of floats that is rounded otherwise may be a level away.
    assert np.abs(got - want).max() <= 2 * 0.05 * 127 * 0.02


def test_levels_the_run_chooses_are_multiplied_too(tmp_path: Path) -> None:
    b = GraphBuilder()
    x = b.input("x", 5, 80)
    scale, zero = b.call(f"{QUANTIZED}.choose_qparams.tensor", x, -128, 127, 1e-5, DType.INT8)
    limits = (-128, 127, DType.INT8)
    q = b.call(f"{QUANTIZED}.quantize_per_tensor.tensor", x, scale, zero, *limits)
    x = b.call(f"{QUANTIZED}.dequantize_per_tensor.tensor", q, scale, zero, *limits)
    graph = b.graph(b.call("aten.linear.default", x, weight(b, levels_of(40, 80))))
    assert [op.zero for op in products(optimized(graph))] == [0]
    arrays = RANDOM.standard_normal((5, 80)).astype(np.float32) + 0.7
    assert_same(graph, tmp_path, arrays, levels="portable")


def test_what_has_another_meaning_is_left_alone() -> None:
    b = GraphBuilder()
    x = dequantized(b, b.input("x", 4, 32, dtype=DType.INT8), 0.1, 1)
    shifted = weight(b, levels_of(8, 32), np.full(8, 2, np.int64))
    by_row = b.apply("mul", b.cast(b.array(levels_of(8, 32), "q"), DType.FLOAT32),
                     b.array(scales_of(32), "by_row"))  # fmt: skip
    given = dequantized(b, b.input("w", 8, 32, dtype=DType.INT8), 0.1, 0)
    outputs = [b.call("aten.linear.default", x, w) for w in (shifted, by_row, given)]
    assert [op.zero for op in products(optimized(b.graph(*outputs)))] == [None] * 3


@pytest.mark.torch
def test_what_torch_exports_quantised_multiplies_levels(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.ao.quantization.fx._decomposed")  # defines the operators
    ops = torch.ops.quantized_decomposed

    class Quantised(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator = torch.Generator().manual_seed(3)
            for name, shape in (("kernel", (24, 8, 3, 3)), ("matrix", (40, 24))):
                levels = torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)
                self.register_buffer(name, levels)
                self.register_buffer(f"{name}_scales", torch.rand(shape[0]) * 0.01 + 0.001)
                self.register_buffer(f"{name}_zeros", torch.zeros(shape[0], dtype=torch.int64))
            self.bias = torch.nn.Parameter(torch.randn(24))

        def round_trip(self, x: Any, scale: float, zero: int) -> Any:
            q = ops.quantize_per_tensor(x, scale, zero, -128, 127, torch.int8)
            return ops.dequantize_per_tensor(q, scale, zero, -128, 127, torch.int8)

        def weight(self, name: str) -> Any:
            scales, zeros = getattr(self, f"{name}_scales"), getattr(self, f"{name}_zeros")
            return ops.dequantize_per_channel(
                getattr(self, name), scales, zeros, 0, -128, 127, torch.int8
            )

        def forward(self, x: Any) -> Any:
            x = self.round_trip(x, 0.03, -4)
            x = torch.conv2d(x, self.weight("kernel"), self.bias, padding=1).relu()
            x = self.round_trip(x, 0.05, -128).mean((2, 3))
            return torch.nn.functional.linear(self.round_trip(x, 0.02, -128), self.weight("matrix"))

    module, x = Quantised().eval(), torch.randn(2, 8, 12, 12)
    with torch.no_grad():
        program = torch.export.export(module, (x,))
        want = module(x).numpy()
    torch.export.save(program, tmp_path / "quantised.pt2")
    imported = import_program(load_program(tmp_path / "quantised.pt2"))
    assert [op.zero for op in products(optimized(imported.graph))] == [-4, -128]
    artefact = castoff.aot_compile(tmp_path / "quantised.pt2", options={"target_cpu": "portable"})
    got = np.asarray(castoff.aot_load(artefact)(x.numpy()))
    # Where the sum of floats was rounded to the other side, one level of the last quantisation.
    assert np.abs(got - want).max() <= 2 * 0.02 * 127 * 0.011
    assert np.abs(got - want).mean() <= 1e-3 * np.abs(want).max()
