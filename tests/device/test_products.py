"""Matrix products on the device: by cuBLASLt where it takes them, with every kind of epilogue."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from castoff.compiler.codegen import cuda_products
from castoff.compiler.codegen.render import TEMPLATES
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, Value
from castoff.runtime.manifest import read_manifest
from castoff.runtime.runner import aot_load
from tests.graphs import GraphBuilder, reference, size

from .building import DeviceBuilds
from .machine import has_gpu

Make = Callable[[GraphBuilder, Value, Value], Value]


def random(*shape: int, dtype: str = "float32") -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return rng.standard_normal(shape).astype(DType(dtype).numpy)


def product(left: tuple[int, ...], right: tuple[int, ...], make: Make, dtype: str) -> Graph:
    b = GraphBuilder()
    x, y = (
        b.input(name, *shape, dtype=DType(dtype)) for name, shape in (("x", left), ("y", right))
    )
    return b.graph(make(b, x, y))


def matmul(b: GraphBuilder, x: Value, y: Value) -> Value:
    result: Value = b.call("aten.matmul.default", x, y)
    return result


def gelu(b: GraphBuilder, x: Value, y: Value) -> Value:
    result: Value = b.call("aten.gelu.default", matmul(b, x, y))
    return result


def relu(b: GraphBuilder, x: Value, y: Value) -> Value:
    result: Value = b.call("aten.relu.default", matmul(b, x, y))
    return result


def clamp(b: GraphBuilder, x: Value, y: Value) -> Value:
    result: Value = b.call("aten.clamp.default", matmul(b, x, y), -0.5, 0.5)
    return result


def linear(b: GraphBuilder, x: Value, y: Value) -> Value:
    bias = b.array(random(y.shape[0], dtype=y.dtype.value), "bias")
    result: Value = b.call("aten.linear.default", x, y, bias)
    return result


def shifted_linear(b: GraphBuilder, x: Value, y: Value) -> Value:
    bias = b.array(random(y.shape[0] + 1, dtype=y.dtype.value), "bias")
    result: Value = b.call("aten.linear.default", x, y, b.call("aten.slice.Tensor", bias, 0, 1))
    return result


def repeated(b: GraphBuilder, x: Value, y: Value) -> Value:
    many = b.call("aten.expand.default", x, [5, 1, 257])
    matrices = b.call("aten.expand.default", y, [5, 257, 199])
    result: Value = b.call("aten.bmm.default", many, matrices)
    return result


def transposed(b: GraphBuilder, x: Value, y: Value) -> Value:
    result: Value = b.call("aten.transpose.int", matmul(b, x, y), 0, 1)
    return result


CASES = {
    "rows by columns": ((40, 48), (48, 40), matmul),
    "a batch": ((3, 40, 33), (3, 33, 40), matmul),
    "one matrix for a batch": ((3, 40, 33), (33, 40), matmul),
    "two batch axes, one broadcast": ((2, 3, 40, 24), (2, 1, 24, 40), matmul),
    "one row": ((1, 256), (256, 200), matmul),
    "one column": ((200, 256), (256, 1), matmul),
    "few rows, side by side along the depth": ((5, 512), (70, 512), linear),
    "a batch of few rows": ((3, 8, 64), (3, 64, 72), matmul),
    "a few columns": ((130, 256), (256, 8), matmul),
    "few rows that copies do not reach": ((3, 300), (300, 41), matmul),
    "a linear layer": ((5, 20, 40), (30, 40), linear),
    "a bias that begins between multiples of 16 bytes": ((100, 40), (30, 40), shifted_linear),
    "one row and one matrix, repeated": ((1, 1, 257), (1, 257, 199), repeated),
    "many tiles of rows and columns": ((400, 7), (7, 300), matmul),
    "gelu": ((40, 48), (48, 40), gelu),
    "relu": ((40, 48), (48, 40), relu),
    "bounds": ((40, 48), (48, 40), clamp),
    "a transposed result": ((40, 48), (48, 36), transposed),
}
TOLERANCE = {"float32": 2e-5, "float64": 1e-12, "float16": 2e-3, "bfloat16": 2e-2}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_large_products_are_those_of_the_reference(
    device_builds: DeviceBuilds, name: str, dtype: str
) -> None:
    left, right, make = CASES[name]
    graph = product(left, right, make, dtype)
    path = device_builds.build(graph)
    assert read_manifest(path).libraries == ("cublasLt",)
    given = random(*left, dtype=dtype), random(*right, dtype=dtype)
    got = np.asarray(aot_load(path, "cuda")(*given)[0], np.float64)
    wanted = np.asarray(reference(graph, *given)[0], np.float64)
    np.testing.assert_allclose(got, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 20)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "complex64"])
def test_a_batch_of_small_products_needs_no_library(
    device_builds: DeviceBuilds, dtype: str
) -> None:
    left, right = (40, 3, 6, 9), (3, 9, 7)
    graph = product(left, right, matmul, dtype)
    path = device_builds.build(graph)
    assert read_manifest(path).libraries == ()
    x, y = (random(*shape).astype(DType(dtype).numpy) for shape in (left, right))
    got, wanted = aot_load(path, "cuda")(x, y)[0], reference(graph, x, y)[0]
    kind = np.complex128 if dtype == "complex64" else np.float64
    tolerance = 2e-2 if dtype == "bfloat16" else 1e-5
    np.testing.assert_allclose(
        np.asarray(got, kind), np.asarray(wanted, kind), rtol=tolerance, atol=tolerance
    )


def test_nan_passes_relu_after_a_product(device_builds: DeviceBuilds) -> None:
    program = device_builds.load(product((40, 48), (48, 40), relu, "float32"))
    x, y = random(40, 48), random(48, 40)
    x[3] = np.nan
    assert np.isnan(program(x, y)[0][3]).all()


def test_sizes_may_be_symbols(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    rows = size("rows", 1)
    graph = b.graph(linear(b, b.input("x", rows, 64), b.array(random(48, 64), "weight")))
    program = device_builds.load(graph)
    for count in (1, 2, 50, 1):
        x = random(count, 64)
        np.testing.assert_allclose(program(x)[0], reference(graph, x)[0], rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("kind", ["small", "integers", "complex"])
def test_other_products_need_no_library(device_builds: DeviceBuilds, kind: str) -> None:
    dtype = {"small": "float32", "integers": "int32", "complex": "complex64"}[kind]
    n = 4 if kind == "small" else 40
    path = device_builds.build(product((n, n), (n, n), matmul, dtype))
    assert read_manifest(path).libraries == ()
    x, y = (np.arange(n * n).reshape(n, n) % 7 - 3).astype(dtype), np.eye(n, dtype=dtype)
    np.testing.assert_array_equal(aot_load(path, "cuda")(x, y)[0], x)


def said_on_loading(path: Path, home: Path, packages: Path) -> str:
    """What a new process says that loads and calls a program, with packages beside those that are installed."""
    places = [str(packages), *sys.path]
    environment = {**os.environ, "CUDA_HOME": str(home), "PYTHONPATH": os.pathsep.join(places)}
    body = (
        "import castoff, numpy as np\n"
        f"program = castoff.aot_load({str(path)!r}, 'cuda')\n"
        "print(program(np.ones((40, 48), np.float32), np.ones((48, 40), np.float32))[0].sum())"
    )
    done = subprocess.run(  # this process may have the library already
        [sys.executable, "-c", body], env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_a_missing_library_is_named_when_the_program_is_loaded(
    device_builds: DeviceBuilds, tmp_path: Path
) -> None:
    path = device_builds.build(product((40, 48), (48, 40), matmul, "float32"))
    said = said_on_loading(path, tmp_path, tmp_path)
    assert "DeviceError" in said
    assert "needs cuBLASLt" in said
    assert "pip install nvidia-cublas" in said


def test_the_library_is_found_in_the_wheel(device_builds: DeviceBuilds, tmp_path: Path) -> None:
    path = device_builds.build(product((40, 48), (48, 40), matmul, "float32"))
    folder = tmp_path / "nvidia" / "cu13" / "lib"
    folder.mkdir(parents=True)
    name = "libcublasLt.so.13"
    (folder / name).symlink_to(Path(device_builds.home) / "lib64" / name)
    assert said_on_loading(path, tmp_path, tmp_path).strip() == str(40.0 * 40 * 48)


@pytest.mark.skipif(has_gpu(), reason="only the emulated library counts what it is asked")
def test_how_a_product_is_computed_is_asked_once_for_each_shape(
    device_builds: DeviceBuilds,
) -> None:
    b = GraphBuilder()
    weight = b.array(random(48, 72), "weight")
    path = device_builds.build(b.graph(linear(b, b.input("x", size("rows", 1), 72), weight)))
    programs = [aot_load(path, "cuda"), aot_load(path, "cuda", cuda_graphs=True)]
    library = ctypes.CDLL(f"{device_builds.home}/lib64/libcublasLt.so.13")
    asked = []
    for rows in (41, 41, 43, 41, 43):
        before = library.castoff_emulation_choices()
        for program in programs:
            program(random(rows, 72))
        asked.append(library.castoff_emulation_choices() - before)
    assert asked == [1, 0, 1, 0, 0]


def test_bfloat16_sums_are_float32(device_builds: DeviceBuilds) -> None:
    n = 4096
    program = device_builds.load(product((1, n), (n, 40), matmul, "bfloat16"))
    ones = np.ones((1, n), ml_dtypes.bfloat16), np.ones((n, 40), ml_dtypes.bfloat16)
    assert (np.asarray(program(*ones)[0], np.float32) == n).all()


def test_tf32_has_ten_bits_of_fraction(device_builds: DeviceBuilds) -> None:
    graph = product((40, 48), (48, 40), matmul, "float32")
    given = np.full((40, 48), 1 + 2**-11, np.float32), np.ones((48, 40), np.float32)
    for compute, wanted in (("f32", 48 + 48 * 2**-11), ("tf32", 48 + 48 * 2**-10)):
        path = device_builds.build(graph, compute=compute)
        assert (aot_load(path, "cuda")(*given)[0] == wanted).all()


def test_few_means_the_same_to_the_compiler_and_to_the_kernels() -> None:
    header = (TEMPLATES / "cuda" / "skinny.cuh").read_text()
    assert f"#define CASTOFF_SKINNY_FEW {cuda_products.FEW}\n" in header
