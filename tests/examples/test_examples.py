"""The examples as a user runs them: from Python without the compiler, and from C with the header
alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import castoff

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits"


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("digits") / "digits.so"
    return Path(castoff.aot_compile(str(DIGITS / "digits.pt2"), output=str(output)))


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(DIGITS / "test_images.npz") as arrays:
        return dict(arrays)


def run(command: list[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "src"))
    return subprocess.run(command, input=stdin, capture_output=True, env=environment, check=False)


def test_sample_is_small_enough_to_be_checked_in() -> None:
    assert (DIGITS / "digits.pt2").stat().st_size < 300_000


def test_sample_answers_as_pytorch_did(tmp_path: Path) -> None:
    finished = run([sys.executable, str(DIGITS / "run.py"), str(tmp_path)])
    printed = finished.stdout.decode()
    assert finished.returncode == 0, printed + finished.stderr.decode()
    for label in ("accuracy", "latency", "file size", "links to", "equal to PyTorch's"):
        assert label in printed


def test_sample_notices_other_answers(tmp_path: Path, artefact: Path) -> None:
    for name in ("classify.py", "test_images.npz"):
        shutil.copy(DIGITS / name, tmp_path / name)
    with np.load(tmp_path / "test_images.npz") as arrays:
        changed = dict(arrays)
    changed["logits"][7, 3] += 0.01
    np.savez(tmp_path / "test_images.npz", **changed)  # type: ignore[arg-type]
    finished = run([sys.executable, str(tmp_path / "classify.py"), str(artefact)])
    assert finished.returncode == 1
    assert b"DIFFER" in finished.stdout


def test_artefact_links_to_libc_and_libm_only(artefact: Path) -> None:
    printed = run(["ldd", str(artefact)]).stdout.decode()
    names = {Path(line.split()[0]).name for line in printed.splitlines()}
    allowed = {"linux-vdso.so.1", "libc.so.6", "libm.so.6", "libpthread.so.0"}
    assert {name for name in names - allowed if not name.startswith("ld-linux")} == set()


def test_two_builds_of_the_sample_give_equal_bytes(artefact: Path, tmp_path: Path) -> None:
    other = castoff.aot_compile(
        str(DIGITS / "digits.pt2"), output=str(tmp_path / "digits.so"), options={"cache": False}
    )
    assert Path(other).read_bytes() == artefact.read_bytes()


@pytest.fixture(scope="module")
def classify(artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The C example, built against the artefact's header and nothing else."""
    compiler = next(filter(None, map(shutil.which, ("gcc", "clang", "cc"))), None)
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    folder = tmp_path_factory.mktemp("c")
    shutil.copy(artefact.with_suffix(".h"), folder / "castoff.h")
    program = str(folder / "classify")
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-I", str(folder)]
    subprocess.run(
        [compiler, *flags, str(ROOT / "examples/c/main.c"), "-o", program, "-ldl"], check=True
    )
    return program


def test_c_program_gives_the_same_answers(
    classify: str, artefact: Path, stored: dict[str, np.ndarray]
) -> None:
    finished = run([classify, str(artefact)], stored["images"].tobytes())
    assert finished.returncode == 0, finished.stderr.decode()
    rows = np.array([line.split() for line in finished.stdout.decode().splitlines()], np.float64)
    np.testing.assert_allclose(rows[:, 1:], stored["logits"], rtol=1e-4, atol=1e-4)
    assert np.array_equal(rows[:, 0], stored["logits"].argmax(1))


def test_c_program_refuses_what_is_no_artefact(classify: str, tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no library")
    finished = run([classify, str(tmp_path / "text.so")])
    assert finished.returncode == 1
    assert finished.stderr
