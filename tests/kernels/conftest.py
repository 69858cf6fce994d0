"""Builds the kernel headers into one shared object per CPU level, once a session."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEVELS = {
    "x86-64": (),
    "x86-64-v3": ("avx2", "fma", "f16c"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512dq", "avx512vl"),
}


def cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {
        flag for line in lines if line.startswith("flags") for flag in line.split(":")[1].split()
    }


@pytest.fixture(scope="session", params=LEVELS)
def kernels(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ctypes.CDLL:
    """The entry points of driver.c, built for one CPU level."""
    level = request.param
    missing = set(LEVELS[level]) - cpu_flags()
    if missing:
        pytest.skip(f"this processor lacks {', '.join(sorted(missing))}")
    compiler = shutil.which(os.environ.get("CC", "gcc")) or pytest.skip(
        "needs a C compiler: set $CC or install gcc"
    )
    here = Path(__file__).parent
    out = tmp_path_factory.mktemp("kernels") / f"{level}.so"
    width = ["-mprefer-vector-width=512"] if level == "x86-64-v4" else []
    sanitize = os.environ.get("CASTOFF_TEST_SANITIZE", "").split()
    command = [compiler, "-std=c11", "-O2", f"-march={level}", *width, *sanitize]
    command += ["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    command += [f"-I{ROOT / 'templates' / folder}" for folder in ("cpu", "abi")]
    subprocess.run([*command, here / "driver.c", here / "pool.c", "-o", out, "-lm"], check=True)
    return ctypes.CDLL(str(out))
