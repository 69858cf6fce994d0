"""The benchmark harness on one small program, castoff alone, without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.case import Work, write_case
from bench.names import MODELS

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits"


def bench(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the harness as `build.py bench` does, with folders of its own."""
    folders = ["--cache", str(folder / "cache"), "--results", str(folder / "results")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "CASTOFF_TARGET_CPU": "x86-64"}
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments, *folders],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def write_digits(folder: Path, offset: float = 0.0) -> None:
    """The sample program as a case, with what PyTorch answered moved by an offset."""
    with np.load(DIGITS / "test_images.npz") as stored:
        images, logits = stored["images"], stored["logits"]
    calls = [([images[:size]], [logits[:size] + np.float32(offset)]) for size in (1, 5)]
    program = (DIGITS / "digits.pt2").read_bytes()
    write_case(folder / "cache" / "cases" / "digits", program, calls, Work(1000, 1000))


def test_compare_times_and_checks_every_call(tmp_path: Path) -> None:
    write_digits(tmp_path)
    asked = ["--model", "digits", "--engine", "castoff", "--seconds", "0.2", "--rounds", "3"]
    finished = bench(asked, tmp_path)
    assert finished.returncode == 0, finished.stderr
    record = json.loads((tmp_path / "results" / "compare-1-thread.json").read_text())
    (model,) = record["models"]
    assert len(model["times"]["castoff"]["wall"]) == 3
    assert all(seconds > 0 for seconds in model["times"]["castoff"]["wall"])
    assert model["errors"]["castoff"] < 1e-3
    assert not model["failures"]
    assert "torch" not in record["versions"]
    table = (tmp_path / "results" / "compare-1-thread.md").read_text()
    assert "| digits | castoff |" in table
    assert "- processor: " in table

    write_digits(tmp_path, offset=1.0)  # the artefact is there, only the answers are others
    finished = bench(asked, tmp_path)
    assert finished.returncode == 1
    assert "digits: castoff is off by" in finished.stderr


def test_unknown_names_are_answered_with_the_known_ones(tmp_path: Path) -> None:
    finished = bench(["--model", "resnet51"], tmp_path)
    assert finished.returncode != 0
    assert "no model resnet51" in finished.stderr
    assert "resnet50" in finished.stderr


def test_an_engine_that_is_not_installed_says_so(tmp_path: Path) -> None:
    hidden = (
        "import runpy, sys; sys.modules['onnxruntime'] = None; "
        "runpy.run_module('bench.worker', run_name='__main__', alter_sys=True)"
    )
    arguments = ["version", "onnxruntime", str(tmp_path), str(tmp_path), "1"]
    finished = subprocess.run(
        [sys.executable, "-c", hidden, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert "onnxruntime" in json.loads(finished.stdout)["error"]


def test_list_needs_no_torch(tmp_path: Path) -> None:
    finished = bench(["list"], tmp_path)
    assert finished.returncode == 0
    assert all(name in finished.stdout for name in MODELS)


@pytest.mark.torch
def test_every_listed_model_is_defined() -> None:
    pytest.importorskip("torch")
    from bench.models import SUBJECTS

    assert set(SUBJECTS) == set(MODELS)
