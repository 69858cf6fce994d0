"""What is built: without warnings, and twice the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from castoff.compiler.errors import CompilerNotFoundError
from castoff.compiler.toolchain.compilers import find_compiler

from ..graphs import build, generated
from .spread import SPREAD

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", SPREAD)
def test_generated_c_compiles_without_a_warning(name: str, tmp_path: Path) -> None:
    try:
        compiler = find_compiler(os.environ.get("CC"))
    except CompilerNotFoundError as error:
        pytest.skip(str(error))
    tree = generated(SPREAD[name]()[0]).tree
    for path, text in tree.files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    for unit in tree.units:
        if unit.path.startswith("abi/"):
            continue  # the same in every artefact; tests/runtime builds them with -Werror
        flags = compiler.adapt_flags(("-O1", "-fPIC", *unit.flags))
        warnings = ("-Wall", "-Wextra", "-Werror")
        command = (*compiler.command, *warnings, *flags, "-I.", "-c", unit.path)
        done = subprocess.run(
            [*command, "-o", "object.o"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.parametrize("name", ["linear_gelu", "counter"])
def test_two_builds_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    graph = SPREAD[name]()[0]
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    built = build(graph, first, cache=False), build(graph, second, cache=False)
    assert built[0].read_bytes() == built[1].read_bytes()
    headers = [path.with_suffix(".h").read_bytes() for path in built]
    assert headers[0] == headers[1]


def test_the_order_of_hashes_does_not_reach_the_text(tmp_path: Path) -> None:
    source = (
        "import hashlib, sys\n"
        "from tests.codegen.spread import SPREAD\n"
        "from tests.graphs import generated\n"
        "for name in ('attention', 'gather_and_scatter', 'linear_gelu'):\n"
        "    for path, text in generated(SPREAD[name]()[0]).tree.files().items():\n"
        "        print(path, hashlib.sha256(text.encode()).hexdigest())\n"
    )
    printed = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "src"}
        done = subprocess.run(
            [sys.executable, "-c", source],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        printed.add(done.stdout)
    assert len(printed) == 1
