"""Artefacts for CUDA from C: the example as it is, whose arrays lie on the host, and with pointers of the device."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import castoff
from tests.graphs import GraphBuilder

from .building import DeviceBuilds, device_options
from .machine import architecture

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits"


def test_the_c_example_classifies_on_the_device(
    device_builds: DeviceBuilds, tmp_path: Path
) -> None:
    compiler = next(filter(None, map(shutil.which, ("gcc", "clang", "cc"))), None)
    if compiler is None:
        pytest.skip("there is no C compiler")
    artefact = castoff.aot_compile(
        str(DIGITS / "digits.pt2"),
        options=device_options(device_builds.home),
        output=tmp_path / "digits.so",
    )
    (tmp_path / "castoff.h").write_text((tmp_path / "digits.h").read_text())
    program = tmp_path / "classify"
    source = ROOT / "examples" / "c" / "main.c"
    subprocess.run(
        [compiler, "-std=c11", "-I", str(tmp_path), str(source), "-o", str(program), "-ldl"],
        check=True,
    )
    with np.load(DIGITS / "test_images.npz") as arrays:
        images, logits = arrays["images"][:8], arrays["logits"][:8]
    done = subprocess.run(
        [str(program), artefact],
        input=images.astype(np.float32).tobytes(),
        stdout=subprocess.PIPE,
        env={**os.environ},
        check=True,
    )
    rows = np.array([line.split()[1:] for line in done.stdout.decode().splitlines()], np.float64)
    np.testing.assert_allclose(rows, logits, rtol=1e-3, atol=1e-3)


def test_pointers_of_the_device_are_passed_from_c(
    device_builds: DeviceBuilds, tmp_path: Path
) -> None:
    b = GraphBuilder()
    artefact = device_builds.build(b.graph(b.apply("neg", b.input("x", 4))))
    program, nvcc = tmp_path / "device_pointers", f"{device_builds.home}/bin/nvcc"
    source = Path(__file__).parent / "device_pointers.cu"
    flags = ("-std=c++20", f"-arch=sm_{architecture()}", "-I", str(ROOT / "templates" / "abi"))
    subprocess.run([nvcc, *flags, str(source), "-o", str(program), "-ldl"], check=True)
    done = subprocess.run(
        [str(program), str(artefact)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["-1 -2 -3 -4", "1 2 3 4"]
