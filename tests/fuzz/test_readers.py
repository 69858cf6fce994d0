"""The readers of hostile bytes survive what once broke them, and what mutations make."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import pytest

from .readers import FINDINGS, READERS
from .trees import mutated_tree

ROOT = Path(__file__).resolve().parents[2]
INPUTS = 5_000
"""To each reader, where atheris is installed; CONTRIBUTING has the command for more."""


@pytest.mark.parametrize("name", READERS)
def test_what_mutations_start_from_is_read(name: str) -> None:
    reader = READERS[name]
    for seed in reader.seeds():
        assert reader.repaired(seed) == seed
        if name != "symbols":  # of which each is an expression or a guard, and refused as the other
            reader.read(seed)


def test_findings_are_survived() -> None:
    for path in sorted(FINDINGS.glob("*/*")):
        READERS[path.parent.name].survives(path.read_bytes())


@pytest.mark.parametrize("name", READERS)
def test_random_mutations_are_survived(name: str) -> None:
    reader, dice = READERS[name], random.Random(name)
    for seed in reader.seeds():
        for number in range(60):
            data = mutated_tree(seed, number) if reader.is_json else None
            if data is None:
                changed = bytearray(seed)
                for _ in range(dice.choice((1, 2, 8))):
                    changed[dice.randrange(len(changed))] = dice.randrange(256)
                data = bytes(changed)
            reader.survives(reader.repaired(data))


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed (extra `fuzz`): no coverage-guided inputs",
)
def test_coverage_guided_inputs_are_survived() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--fresh", "--inputs", str(INPUTS)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count(f": {INPUTS} inputs, nothing found") == len(READERS), run.stdout
