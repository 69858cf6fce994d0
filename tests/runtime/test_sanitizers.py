"""The ABI layer and its pool under the thread, address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import handmade
import pytest

PROGRAMS = handmade.HERE / "programs"
DRIVERS = {
    "drive_affine.c": ("affine.c", handmade.append_affine),
    "drive_pool.c": ("affine.c", handmade.append_affine),
    "drive_processors.c": ("affine.c", handmade.append_affine),
    "drive_state.c": ("state.c", handmade.append_state),
}
SANITIZERS = {
    "none": [],
    "thread": ["-fsanitize=thread"],
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
}


def can_sanitize(flags: list[str], folder: Path) -> bool:
    source = folder / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    probe = folder / "probe"
    command = [handmade.COMPILER, *flags, str(source), "-o", str(probe)]
    built = subprocess.run(command, capture_output=True, check=False)
    return built.returncode == 0 and subprocess.run([str(probe)], check=False).returncode == 0


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_abi_layer_runs_clean(driver: str, sanitizer: str, tmp_path: Path) -> None:
    if not handmade.COMPILER:
        pytest.skip("no C compiler")
    flags = SANITIZERS[sanitizer]
    if not can_sanitize(flags, tmp_path):
        pytest.skip(f"{handmade.COMPILER} cannot build or run with {' '.join(flags)}")
    program = tmp_path / "driver"
    source, append = DRIVERS[driver]
    handmade.compile_library(source, program, flags, [PROGRAMS / driver])
    append(program)
    arguments = [] if sanitizer == "none" else ["no-fork"]
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "CASTOFF_CPU_LEVEL": ""}
    done = subprocess.run(
        [str(program), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
