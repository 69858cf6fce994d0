"""What this processor offers of the levels that code is compiled for."""

from __future__ import annotations

from pathlib import Path

import pytest

FLAGS = {
    "x86-64": (),
    "x86-64-v3": ("avx2", "fma", "f16c"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512dq", "avx512vl"),
    "x86-64-bf16": ("avx512_vnni", "avx512_bf16"),
    "x86-64-amx": ("avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"),
}


def needs_level(level: str) -> None:
    """Skips a test where the processor lacks instructions of a level."""
    if missing := missing_flags(level):
        pytest.skip(f"this processor lacks {', '.join(missing)}")


def missing_flags(level: str) -> list[str]:
    """What the processor lacks of a level, as /proc/cpuinfo names it; everything where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = {
        flag for line in lines if line.startswith("flags") for flag in line.split(":")[1].split()
    }
    return [flag for flag in FLAGS[level] if flag not in flags]
