"""How convolutions are cut for threads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ..processor import needs_level
from .conftest import compiler_command


@pytest.mark.parametrize("level", ["x86-64-v3", "x86-64-v4"])
def test_two_threads_get_about_half_of_a_convolution_each(tmp_path: Path, level: str) -> None:
    needs_level(level)
    here, program = Path(__file__).parent, tmp_path / "plans"
    sources = [here / "conv_plans.c", here / "pool.c"]
    subprocess.run([*compiler_command(level), *sources, "-o", program, "-lm"], check=True)
    done = subprocess.run([program], check=True, capture_output=True, text=True)
    shares = {line.rsplit(" ", 1)[0]: float(line.split()[2]) for line in done.stdout.splitlines()}
    assert len(shares) == 20
    assert max(shares.values()) <= 1.2, shares
