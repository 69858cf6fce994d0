"""The example of a model written in NumPy, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import castoff

ROOT = Path(__file__).resolve().parents[2]


def test_the_model_is_captured_and_answers_as_numpy_does(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "numpy" / "run.py"), str(tmp_path)],
        env=dict(os.environ, PYTHONPATH=str(ROOT / "src")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "largest difference from NumPy" in finished.stdout
    program = castoff.load(tmp_path / "spectra.pt2")
    assert {"layers.0.weight", "window", "mean", "frames"} <= set(program.state_dict)
