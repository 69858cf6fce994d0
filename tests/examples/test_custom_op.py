"""The example of a custom operator, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import castoff
from castoff.compiler.errors import UnsupportedOperatorError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "custom_op"


def test_custom_operator_answers_as_pytorch_did(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, str(EXAMPLE / "run.py"), str(tmp_path / "model.so")],
        env=dict(os.environ, PYTHONPATH=str(ROOT / "src")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "largest difference" in finished.stdout


def test_without_registration_the_error_says_how_to_register(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        castoff.aot_compile(str(EXAMPLE / "model.pt2"), output=str(tmp_path / "model.so"))
    assert 'castoff.register_custom_op("mylib::soft_shrink", …) adds it' in str(caught.value)
    assert "export.py" in str(caught.value)
