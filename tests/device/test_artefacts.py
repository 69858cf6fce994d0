"""What a real nvcc makes of a program: no GPU is needed to build, and nothing but the driver to run."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.errors import CompilerFailedError, CompilerNotFoundError
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph
from castoff.runtime.manifest import read_manifest
from tests.graphs import GraphBuilder, build, generated, size

from .building import DeviceBuilds


def program() -> Graph:
    b = GraphBuilder()
    x = b.input("x", size("n"), 8)
    return b.graph(b.apply("exp", b.apply("neg", x)))


@pytest.fixture
def nvcc_home() -> str:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    return str(Path(nvcc).resolve().parent)


def needed_libraries(artefact: Path) -> set[str]:
    text = subprocess.run(
        ["readelf", "--dynamic", str(artefact)], capture_output=True, text=True, check=True
    ).stdout
    return {line.split("[")[1].rstrip("]") for line in text.splitlines() if "(NEEDED)" in line}


def exported_names(artefact: Path) -> list[str]:
    text = subprocess.run(
        ["nm", "-D", "--defined-only", str(artefact)], capture_output=True, text=True, check=True
    ).stdout
    return [line.split()[-1] for line in text.splitlines()]


def device_code(artefact: Path) -> set[tuple[str, int, bool]]:
    """What a file has for GPUs, as its fat binaries say: kind, architecture, whether it is compressed."""
    data, found = artefact.read_bytes(), set()
    for match in re.finditer(struct.pack("<IHH", 0xBA55ED50, 1, 16), data):
        at = match.end() + 8
        end = at + struct.unpack_from("<Q", data, match.end())[0]
        while at < end:
            kind, _, header, size, compressed = struct.unpack_from("<HHIQI", data, at)
            (architecture,) = struct.unpack_from("<I", data, at + 28)
            is_compressed = 0 < compressed < struct.unpack_from("<Q", data, at + 56)[0]
            found.add(({1: "PTX", 2: "machine code"}[kind], architecture, is_compressed))
            at += header + size
    return found


def test_code_is_made_for_common_gpus_and_for_those_to_come() -> None:
    units = generated(program(), device="cuda").tree.units
    (flags,) = (unit.flags for unit in units if unit.path == "program.cu")
    codes = [flag.rpartition("code=")[2] for flag in flags if flag.startswith("-gencode")]
    assert codes == ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.mark.nvcc
@pytest.mark.usefixtures("nvcc_home")
def test_nvcc_builds_equal_bytes_that_need_no_cuda_library(tmp_path: Path) -> None:
    options = {"device": "cuda", "cuda_architectures": (80, 90), "cache": False}
    artefacts = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        artefacts.append(build(program(), tmp_path / name, **options))
    first, second = artefacts
    assert first.read_bytes() == second.read_bytes()
    assert device_code(first) == {
        ("machine code", 80, True),
        ("machine code", 90, True),
        ("PTX", 90, True),
    }
    assert needed_libraries(first) <= {
        "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "ld-linux-x86-64.so.2",
    }  # fmt: skip
    assert exported_names(first) == ["castoff_get_api"]
    manifest = read_manifest(first)
    assert (manifest.device, manifest.levels) == ("cuda", ("sm_80", "sm_90"))
    assert "nvcc V" in manifest.compiler
    assert first.stat().st_size < 4 << 20


@pytest.mark.nvcc
@pytest.mark.usefixtures("nvcc_home")
@pytest.mark.parametrize("weights", ["full", "int8", "int4"])
def test_nvcc_builds_products_with_every_kind_of_weights(tmp_path: Path, weights: str) -> None:
    b = GraphBuilder()
    x = b.input("x", size("rows", 1), 256, dtype=DType.BFLOAT16)
    weight = b.array(np.ones((64, 256), DType.BFLOAT16.numpy), "weight")
    graph = b.graph(b.call("aten.linear.default", x, weight))
    options = {"device": "cuda", "cuda_architectures": (80,), "weights": weights}
    manifest = read_manifest(build(graph, tmp_path, **options))
    assert manifest.libraries == (("cublasLt",) if weights == "full" else ())


def test_the_cache_knows_the_toolkit(device_builds: DeviceBuilds, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    for _ in range(2):
        device_builds.build(program(), cache_folder=cache)
    kept = sum(path.is_file() for path in Path(cache).rglob("*"))
    assert kept == len(generated(program(), device="cuda").tree.units)


def test_a_toolkit_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CompilerNotFoundError, match=r"has no bin/nvcc; install the CUDA toolkit"):
        build(program(), tmp_path, device="cuda", cuda_home=str(tmp_path))


def test_what_nvcc_refuses_is_shown_with_its_origin(
    device_builds: DeviceBuilds, tmp_path: Path
) -> None:
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    real = Path(device_builds.home) / "bin" / "nvcc"
    nvcc.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *" -c "*) echo "program.cu(4): error: no" >&2; exit 1 ;; esac\nexec {real} "$@"\n'
    )
    nvcc.chmod(0o755)
    for name in ("include", "lib64"):
        (tmp_path / name).symlink_to(Path(device_builds.home) / name)
    with pytest.raises(CompilerFailedError, match=r"program.cu\(4\): error: no"):
        device_builds.build(program(), cuda_home=str(tmp_path), cache=False)
