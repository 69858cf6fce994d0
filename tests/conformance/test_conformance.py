"""What passed of the conformance corpus still passes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from .check import MODES
from .corpus import FAMILIES, find_corpus
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
