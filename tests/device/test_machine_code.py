"""What nvcc makes of kernels that have to be fast: accesses of 16 bytes, and no registers kept in memory."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, Value
from tests.graphs import GraphBuilder, generated

pytestmark = pytest.mark.nvcc


def nvcc(graph: Graph, folder: Path, *arguments: str, **options: str) -> str:
    """What nvcc says of the device code of a program, compiled for one architecture with these arguments."""
    compiler = shutil.which("nvcc")
    if compiler is None:
        pytest.skip("nvcc is not installed")
    tree = generated(graph, device="cuda", cuda_architectures=(80,), **options).tree
    for path, text in {**tree.headers, **{unit.path: unit.text for unit in tree.units}}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (unit,) = (unit for unit in tree.units if unit.path == "program.cu")
    flags = [flag for flag in unit.flags if not flag.startswith("-gencode")]
    done = subprocess.run(
        [compiler, *flags, "-I.", "-arch=sm_80", *arguments, "program.cu"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def accesses(assembly: str, kernel: str) -> Mapping[str, int]:
    """The accesses of global memory of the kernel with a word in its name, by kind."""
    (body,) = re.findall(rf"\.entry \w*{kernel}\w*\((.*?)\n\}}", assembly, re.DOTALL)
    return Counter(re.findall(r"\b(?:ld|st)\.global\S*", body))


def test_elementwise_kernels_read_and_write_16_bytes(tmp_path: Path) -> None:
    b = GraphBuilder()
    shapes = {"x": (64, 32, 128), "y": (64, 1, 128), "z": (128,)}
    x, y, z = (b.input(name, *shape, dtype=DType.FLOAT16) for name, shape in shapes.items())
    total = b.call("aten.add.Tensor", b.call("aten.add.Tensor", x, y), z)
    graph = b.graph(b.call("aten.silu.default", total))
    nvcc(graph, tmp_path, "-ptx", "-o", "program.ptx")
    found = accesses((tmp_path / "program.ptx").read_text(), "arguments")
    assert found == {"ld.global.v4.u32": 3, "st.global.v4.u32": 1}


def convolutions(dtype: DType) -> Graph:
    """A convolution for each tile, with a residual, and a depthwise one."""
    rng = np.random.default_rng(0)
    b = GraphBuilder()

    def conv(x: Value, channels: int, size: int, groups: int = 1, stride: int = 1) -> Value:
        inner = x.shape[1]
        assert isinstance(inner, int)
        shape = (channels, inner // groups, size, size)
        weight = b.array(rng.standard_normal(shape).astype(dtype.numpy), "weight")
        y = b.call("aten.conv2d.default", x, weight, None, stride, size // 2, 1, groups)
        result: Value = b.call("aten.relu.default", y)
        return result

    x = b.input("x", 32, 64, 56, 56, dtype=dtype)
    y = conv(conv(x, 64, 3), 256, 1)
    z = conv(conv(y, 64, 1), 256, 3)
    y = conv(b.call("aten.add.Tensor", y, z), 256, 5, 256, 2)
    return b.graph(conv(conv(conv(y, 24, 1), 64, 3, 1, 4), 512, 3, 1, 7))


@pytest.mark.parametrize(
    ("dtype", "compute"),
    [(DType.FLOAT16, "f32"), (DType.FLOAT32, "f32"), (DType.FLOAT32, "tf32")],
    ids=["float16", "float32", "tf32"],
)
def test_convolutions_spill_no_registers(dtype: DType, compute: str, tmp_path: Path) -> None:
    said = nvcc(
        convolutions(dtype),
        tmp_path,
        "-cubin",
        "-Xptxas=-v",
        "-o",
        "program.cubin",
        compute=compute,
    )
    spills = re.findall(
        r"Function properties for \w*(castoff_(?:convolve|finish)\w*)\n.*?(\d+) bytes spill stores",
        said,
    )
    assert len(spills) >= 6
    assert not [name for name, stored in spills if stored != "0"]
