"""Builds `driver.c` and runs artefacts with it, under sanitizers and on emulated processors."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ABI = HERE.parents[1] / "templates" / "abi"
COMPILER = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang") or ""


@dataclass(frozen=True)
class Outcome:
    """How a run of the driver ended: negative statuses are signals."""

    status: int
    results: tuple[np.ndarray, ...]
    said: str


def can_build_and_run(flags: Sequence[str], folder: Path) -> bool:
    """Whether the compiler makes programs with these flags that start."""
    if not COMPILER:
        return False
    source = folder / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [COMPILER, *flags, str(source), "-o", str(folder / "probe")]
    built = subprocess.run(command, capture_output=True, check=False).returncode == 0
    return built and subprocess.run([str(folder / "probe")], check=False).returncode == 0


def build_driver(folder: Path, *flags: str) -> Path:
    """The driver, compiled with these flags."""
    output = folder / "driver"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    command = [COMPILER, "-std=gnu11", "-g", "-O1", *warnings, *flags, f"-I{ABI}"]
    source = str(HERE / "driver.c")
    subprocess.run([*command, source, "-o", str(output), "-ldl", "-lpthread"], check=True)
    return output


def drive(
    command: Sequence[str | Path],
    artefact: Path,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    *,
    threads: int = 0,
    repeats: int = 1,
    environment: dict[str, str] | None = None,
) -> Outcome:
    """One run of the driver; the results have the dtypes and shapes of `outputs`."""
    file = artefact.with_suffix(".inputs")
    with file.open("wb") as stream:
        for array in inputs:
            stream.write(np.array([array.ndim, *array.shape], np.int64).tobytes())
            stream.write(np.ascontiguousarray(array).tobytes())
    arguments = [str(artefact), str(threads), str(repeats), str(file)]
    done = subprocess.run(
        [*map(str, command), *arguments],
        capture_output=True,
        timeout=600,
        env={**os.environ, "CASTOFF_CPU_LEVEL": "", **(environment or {})},
        check=False,
    )
    results, position = [], 0
    for expected in outputs:
        piece = done.stdout[position : position + expected.nbytes]
        position += expected.nbytes
        if len(piece) == expected.nbytes:
            results.append(np.frombuffer(piece, expected.dtype).reshape(expected.shape))
    return Outcome(done.returncode, tuple(results), done.stderr.decode(errors="replace"))
