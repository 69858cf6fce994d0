"""Builds the kernel headers into one shared object per CPU level, once a session."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from castoff.compiler.targets import cpu

from ..processor import FLAGS, needs_level

ROOT = Path(__file__).resolve().parents[2]
REQUEST_PERMISSION, TILE_DATA = 0x1023, 18


def may_use_tiles() -> bool:
    """Asks the kernel for the tile registers, which a process does not have from the start."""
    return ctypes.CDLL(None).syscall(158, REQUEST_PERMISSION, TILE_DATA) == 0


def compiler_command(level: str) -> list[str]:
    """How C that includes kernels is compiled for a level; skips the test where there is no compiler."""
    compiler = shutil.which(os.environ.get("CC", "gcc")) or pytest.skip(
        "needs a C compiler: set $CC or install gcc"
    )
    folders = [f"-I{ROOT / 'templates' / folder}" for folder in ("cpu", "abi")]
    return [compiler, "-std=c11", *cpu.LEVELS[level].flags, *folders]


@pytest.fixture(scope="session", params=FLAGS)
def kernels(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ctypes.CDLL:
    """The entry points of driver.c and driver_row.c, built for one CPU level."""
    level = request.param
    needs_level(level)
    if level == "x86-64-amx" and not may_use_tiles():
        pytest.skip("the kernel gives this process no tile registers")
    here = Path(__file__).parent
    out = tmp_path_factory.mktemp("kernels") / f"{level}.so"
    sanitize = os.environ.get("CASTOFF_TEST_SANITIZE", "").split()
    command = [*compiler_command(level), "-O2", *sanitize]
    command += ["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    sources = [here / name for name in ("driver.c", "driver_row.c", "pool.c")]
    subprocess.run([*command, *sources, "-o", out, "-lm"], check=True)
    return ctypes.CDLL(str(out))
