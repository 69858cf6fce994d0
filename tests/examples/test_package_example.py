"""The archive of the example: made, served without what made it, and used from C."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "package"


def run(*command: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(part) for part in command],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "digits-package.pt2"
    made = run(sys.executable, EXAMPLE / "make.py", path)
    assert made.returncode == 0, made.stderr.decode()
    assert b"the three artefacts alone have" in made.stdout
    return path


def test_everything_is_served_from_the_archive(archive: Path, tmp_path: Path) -> None:
    served = tmp_path / "examples" / "package" / "serve.py"
    served.parent.mkdir(parents=True)
    shutil.copy(EXAMPLE / "serve.py", served)  # away from digit_reader.py
    (tmp_path / "examples" / "digits").symlink_to(ROOT / "examples" / "digits")
    done = run(sys.executable, served, archive)
    printed = done.stdout.decode()
    assert done.returncode == 0, printed + done.stderr.decode()
    assert "sure," in printed
    assert "nothing but castoff and NumPy" in printed


def test_c_programs_use_what_is_extracted(archive: Path, tmp_path: Path) -> None:
    compiler = next(filter(None, map(shutil.which, ("gcc", "clang", "cc"))), None)
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    command = (sys.executable, "-m", "castoff.compiler.cli", "package", "extract")
    extracted = run(*command, archive, "x86-64", "-o", tmp_path / "castoff.so")
    assert extracted.returncode == 0, extracted.stderr.decode()
    program = tmp_path / "classify"
    built = run(
        *(compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", tmp_path),
        *(ROOT / "examples/c/main.c", "-o", program, "-ldl"),
    )
    assert built.returncode == 0, built.stderr.decode()
    with np.load(ROOT / "examples/digits/test_images.npz") as stored:
        images, logits = stored["images"], stored["logits"]
    done = run(program, tmp_path / "castoff.so", input=images.tobytes())
    rows = np.array([line.split() for line in done.stdout.decode().splitlines()], np.float64)
    np.testing.assert_allclose(rows[:, 1:], logits, rtol=1e-4, atol=1e-4)
