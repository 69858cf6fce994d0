"""What passed of the conformance corpus still passes."""

from __future__ import annotations

import os

import pytest

from .check import MODES
from .corpus import FAMILIES, find_corpus
from .run import listed_as_passing, run_cases


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_cases_that_passed_still_pass(family: str, mode: str) -> None:
    corpus = find_corpus()
    if corpus is None:
        pytest.skip("no conformance corpus: set CASTOFF_CORPUS to its folder")
    names = listed_as_passing(family, mode)
    if not names:
        pytest.skip(f"no case of {family} is listed for the mode {mode}")
    report = run_cases(corpus, family, mode, names, jobs=os.cpu_count() or 1)
    assert not report.failed, "\n".join(f"{name}: {why}" for name, why in report.failed.items())
