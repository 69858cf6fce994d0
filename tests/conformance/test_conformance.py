"""What passed of the conformance corpus still passes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.emulation.home import default_home

from . import check
from .check import MODES, check_case, on_device
from .corpus import FAMILIES, Family, find_corpus
from .run import listed_as_passing, run_cases

SAMPLE = 12
"""About how many cases of each family are run without being asked for all."""


def corpus_folder() -> Path:
    corpus = find_corpus()
    if corpus is None:
        pytest.skip("no conformance corpus: set CASTOFF_CORPUS to its folder")
    return corpus


def assert_passing(family: str, mode: str, names: Sequence[str], *, jobs: int) -> None:
    if not names:
        pytest.skip(f"no case of {family} is listed for the mode {mode}")
    report = run_cases(corpus_folder(), family, mode, names, jobs=jobs)
    assert not report.failed, "\n".join(f"{name}: {why}" for name, why in report.failed.items())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_sample_of_what_passed_still_passes(family: str, mode: str) -> None:
    names = listed_as_passing(family, mode)
    assert_passing(family, mode, names[:: max(len(names) // SAMPLE, 1)], jobs=1)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_cases_that_passed_still_pass(family: str, mode: str) -> None:
    assert_passing(family, mode, listed_as_passing(family, mode), jobs=os.cpu_count() or 1)


def test_a_program_for_cuda_has_little_beside_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checked with whatever is built for it; the emulation's files are smaller than those of nvcc."""
    monkeypatch.setenv("CUDA_HOME", str(default_home()))
    case = Family(corpus_folder(), "structure").load(listed_as_passing("structure", "compiled")[0])
    assert check_case(case, "built", on_device()) is None
    monkeypatch.setattr(check, "MOST_CODE_BYTES", 1000)
    said = check_case(case, "built", on_device())
    assert said is not None
    assert re.fullmatch(r"the file has \d+ bytes beside its weights, of at most 1000", said)
