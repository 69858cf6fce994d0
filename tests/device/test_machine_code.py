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
from tests.graphs import GraphBuilder, generated, size

from .test_attention import Case, attention
from .test_grouped_products import grouped, grouped_depths
from .test_recurrent import layers
from .test_rows import program_of
from .test_transposes import turned

pytestmark = pytest.mark.nvcc


def nvcc(
    graph: Graph, folder: Path, *arguments: str, architecture: int = 80, **options: str
) -> str:
    """What nvcc says of the device code of a program, compiled for one architecture with these arguments."""
    compiler = shutil.which("nvcc")
    if compiler is None:
        pytest.skip("nvcc is not installed")
    tree = generated(graph, device="cuda", cuda_architectures=(architecture,), **options).tree
    for path, text in {**tree.headers, **{unit.path: unit.text for unit in tree.units}}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (unit,) = (unit for unit in tree.units if unit.path == "program.cu")
    flags = [flag for flag in unit.flags if not flag.startswith("-gencode")]
    done = subprocess.run(
        [compiler, *flags, "-I.", f"-arch=sm_{architecture}", *arguments, "program.cu"],
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


def rows(name: str, dtype: str = "float32") -> Graph:
    return program_of(dtype, (name,))


READ_ONCE = {
    "layer norm": (rows("a warp, whole turns"), {"ld.global.v4.f32": 18, "st.global.v4.f32": 6}),
    "layer norm of float16": (
        rows("a warp, whole turns", "float16"),
        {"ld.global.v4.u32": 3, "ld.global.v4.f32": 12, "st.global.v4.u32": 3},
    ),
    "rms norm": (
        rows("a warp, the last turn for some"),
        {"ld.global.v4.f32": 8, "st.global.v4.f32": 8},
    ),
    "softmax": (rows("a block, many turns"), {"ld.global.v4.f32": 12, "st.global.v4.f32": 12}),
    "softmax of a thread": (
        rows("a thread, pieces of 16 bytes"),
        {"ld.global.v4.f32": 4, "st.global.v4.f32": 4},
    ),
    "group norm": (
        rows("groups of a block"),
        {"ld.global.v4.f32": 2, "ld.global.f32": 2, "st.global.v4.f32": 2},
    ),
}
"""Programs, and the accesses of a lane: pieces of a row, of weights and of the result."""


@pytest.mark.parametrize("name", READ_ONCE)
def test_rows_are_read_once_in_16_bytes(name: str, tmp_path: Path) -> None:
    graph, wanted = READ_ONCE[name]
    nvcc(graph, tmp_path, "-ptx", "-o", "program.ptx")
    assert accesses((tmp_path / "program.ptx").read_text(), "arguments") == wanted


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [
        ("float32", {"ld.global.v4.f32", "st.global.v4.f32"}),
        ("bfloat16", {"ld.global.v4.u32", "st.global.v4.u32"}),
    ],
)
def test_transposes_read_and_write_16_bytes(dtype: str, wanted: set[str], tmp_path: Path) -> None:
    nvcc(turned(dtype, (128, 64)), tmp_path, "-ptx", "-o", "program.ptx")
    assert set(accesses((tmp_path / "program.ptx").read_text(), "arguments")) == wanted


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
    [
        (DType.FLOAT16, "f32"),
        (DType.BFLOAT16, "f32"),
        (DType.FLOAT32, "f32"),
        (DType.FLOAT32, "tf32"),
    ],
    ids=["float16", "bfloat16", "float32", "tf32"],
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


def decoding(heads: int, kv_heads: int, queries: int = 1, size: int = 128) -> Graph:
    return attention(Case(queries, 300, size, heads=heads, kv_heads=kv_heads), DType.BFLOAT16)


def prefill(size: int) -> Graph:
    return attention(Case(80, 80, size, is_causal=True), DType.BFLOAT16)


def ordered(target: str, dtype: DType, *arguments: object) -> Graph:
    b = GraphBuilder()
    x = b.input("x", size("rows", 1), size("length", 1), dtype=dtype)
    results = b.call(target, x, *arguments)
    return b.graph(*(results if isinstance(results, tuple) else (results,)))


def products(*shapes: tuple[int, ...]) -> Graph:
    b = GraphBuilder()
    x, y = (b.input(n, *s, dtype=DType.BFLOAT16) for n, s in zip("xy", shapes, strict=True))
    return b.graph(b.call("aten.matmul.default", x, y))


KERNELS = {
    "attention, head of 64": (prefill(64), "flash|attention_kernel"),
    "attention, head of 128": (prefill(128), "flash|attention_kernel"),
    "attention, head of 256": (prefill(256), "flash|attention_kernel"),
    "decoding, a row": (decoding(4, 4), "decode"),
    "decoding, four rows": (decoding(8, 2), "decode"),
    "decoding, eight rows": (decoding(8, 8, queries=8), "decode"),
    "decoding, eight rows of 256": (decoding(8, 1, size=256), "decode"),
    "groups of float32": (grouped("float32", 64, 64), "grouped"),
    "groups of bfloat16": (grouped("bfloat16", 64, 64), "grouped"),
    "groups of depths of float32": (grouped_depths("float32", 64, 64), "grouped"),
    "groups of depths of bfloat16": (grouped_depths("bfloat16", 64, 64), "grouped"),
    "sort of float32": (ordered("aten.sort.default", DType.FLOAT32), "sort|take"),
    "medians of float64": (ordered("aten.median.dim", DType.FLOAT64, 1), "sort"),
    "running sums of bfloat16": (ordered("aten.cumsum.default", DType.BFLOAT16, 1), "scan"),
    "running sums of complex64": (ordered("aten.cumsum.default", DType.COMPLEX64, 1), "scan"),
    "running extremes of int64": (ordered("aten.cummax.default", DType.INT64, 1), "scan"),
    "modes of float32": (ordered("aten.mode.default", DType.FLOAT32, 1), "mode"),
    "true elements": (ordered("aten.nonzero.default", DType.FLOAT32), "selection"),
    "lstm of float64": (layers("lstm", 64, DType.FLOAT64), "recurrent"),
    "lstm of float32": (layers("lstm", 64), "recurrent"),
    "gru of float32": (layers("gru", 64), "recurrent"),
    "gru of float64": (layers("gru", 64, DType.FLOAT64), "recurrent"),
    "tanh of float64": (layers("rnn_tanh", 64, DType.FLOAT64), "recurrent"),
    "a product of few rows": (products((4, 256), (256, 64)), "skinny|tiled"),
    "rows in registers": (rows("shared memory and twice read"), "softmax|max_exp"),
    "rows of any length": (ordered("aten.softmax.int", DType.BFLOAT16, 1), "max_exp"),
    "rows of float64": (rows("a warp, whole turns", "float64"), "sum_div"),
    "rows in shared memory": (rows("shared memory"), "sum_div"),
    "transposes": (turned("float16", (128, 64)), "add"),
    "small products": (products((40, 6, 9), (40, 9, 7)), "small"),
}
"""Programs, and what their kernels have in their names."""


@pytest.mark.parametrize(
    "architecture",
    [80, *(pytest.param(number, marks=pytest.mark.slow) for number in (90, 100, 120))],
)
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_of_templates_spill_no_registers(
    name: str, architecture: int, tmp_path: Path
) -> None:
    graph, kernels = KERNELS[name]
    said = nvcc(
        graph, tmp_path, "-cubin", "-Xptxas=-v", "-o", "program.cubin", architecture=architecture
    )
    spills = re.findall(r"Function properties for (\w+)\n.*?(\d+) bytes spill stores", said)
    assert any(re.search(kernels, entry) for entry, _ in spills)
    assert not [name for name, stored in spills if stored != "0"]
