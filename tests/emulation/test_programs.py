"""Hand-written CUDA programs compute what CUDA would, in every order of threads; the real nvcc accepts them too."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import PROGRAMS, Emulation

ALL = sorted(path.stem for path in PROGRAMS.glob("*.cu"))
ORDERS = ("forward", "reverse", "random:1", "random:2")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ALL)
def test_a_program_holds_what_it_expects_in_every_order(
    emulation: Emulation, name: str, order: str
) -> None:
    done = emulation.run(name, settings={"CASTOFF_EMULATION_ORDER": order})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ALL)
def test_a_program_holds_what_it_expects_when_streams_are_deferred(
    emulation: Emulation, name: str
) -> None:
    done = emulation.run(name, settings={"CASTOFF_EMULATION_STREAMS": "deferred"})
    assert (done.returncode, done.stderr) == (0, "")


_LOAD_AND_RUN = """
import ctypes, sys

def mappings():
    with open("/proc/self/maps") as lines:
        return sum(1 for _ in lines)

counts = []
for path in sys.argv[1:]:
    assert ctypes.CDLL(path).main() == 0
    counts.append(mappings())
print(counts[-1] - counts[0])
"""


def test_libraries_share_the_stacks_of_the_threads_of_a_block(
    emulation: Emulation, tmp_path: Path
) -> None:
    """A process has some 65 thousand mappings; a block of 256 threads that wait needs 512."""
    library = emulation.build("reduction", ("-shared", "-Xcompiler", "-fPIC"), "libreduction.so")
    copies = [shutil.copy(library, tmp_path / f"{i}.so") for i in range(8)]
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_AND_RUN, *copies], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20 * len(copies)


@pytest.mark.nvcc
@pytest.mark.parametrize("name", ALL)
def test_nvcc_accepts_what_the_emulation_accepts(name: str, tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    command = [nvcc, "-arch=sm_90", "-std=c++20", "-c", str(PROGRAMS / f"{name}.cu"), "-o"]
    built = subprocess.run(
        [*command, str(tmp_path / "program.o")], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
