"""The example with real weights, as a user runs it: exported by PyTorch, searched without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sentences"
pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def fetched() -> None:
    """Skips, with pip's reason, where the model cannot be had."""
    for needed in ("torch", "safetensors", "tokenizers"):
        pytest.importorskip(needed)
    command = [sys.executable, "-c", "from fetch import fetch_model; fetch_model()"]
    finished = subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, check=False)
    if "FetchError" in finished.stderr:
        pytest.skip(finished.stderr.strip().splitlines()[-1])
    assert finished.returncode == 0, finished.stderr


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, PYTHONPATH=str(EXAMPLE.parents[1] / "src"))
    command = [sys.executable, str(EXAMPLE / script), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentences")
    finished = run("run.py", folder, "--no-latency")
    (folder / "printed.txt").write_text(finished.stdout)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder


def test_every_question_finds_its_sentence_with_pytorchs_embeddings(built: Path) -> None:
    printed = (built / "printed.txt").read_text()
    assert "right answers  10 of 10" in printed
    assert "differ from PyTorch's by" in printed


def test_other_embeddings_are_noticed(built: Path, tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "sentences.so").symlink_to(built / "sentences.so")
    with np.load(built / "embeddings.npz") as stored:
        changed = dict(stored)
    changed["questions"][2, 5] += 1e-3
    np.savez(tmp_path / "embeddings.npz", **changed)
    finished = run("search.py", tmp_path)
    assert finished.returncode == 1, finished.stderr
    assert "differ from PyTorch's by 1.0e-03" in finished.stdout


def test_latency_is_printed_for_one_question_and_for_many_sentences(built: Path) -> None:
    finished = run("latency.py", "castoff", built)
    assert finished.returncode == 0, finished.stderr
    assert "one question" in finished.stdout and "sentences" in finished.stdout
