"""A toolkit that all tests of the emulation share, and how they build and run a program."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from .home import make_cuda_home

PROGRAMS = Path(__file__).resolve().parent / "programs"


@dataclass(frozen=True, slots=True)
class Emulation:
    """Builds programs once and runs them in processes of their own."""

    home: Path
    folder: Path

    def build(self, name: str, flags: tuple[str, ...] = (), file: str | None = None) -> Path:
        program = self.folder / (file or Path(name).name)
        if not program.exists():
            nvcc = str(self.home / "bin" / "nvcc")
            source = str(PROGRAMS / f"{name}.cu")
            command = [
                nvcc,
                "-arch=sm_90",
                "-std=c++20",
                *flags,
                source,
                "-o",
                str(program),
                "-ldl",
            ]
            built = subprocess.run(command, capture_output=True, text=True, check=False)
            assert built.returncode == 0, built.stderr
        return program

    def run(
        self, name: str, *arguments: str, settings: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CASTOFF_EMULATION")}
        return subprocess.run(
            [str(self.build(name)), *arguments],
            env={**environment, "LD_LIBRARY_PATH": str(self.home / "lib64"), **(settings or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="session")
def emulation(tmp_path_factory: pytest.TempPathFactory) -> Emulation:
    folder = tmp_path_factory.mktemp("emulation")
    return Emulation(make_cuda_home(folder / "cuda"), folder)
