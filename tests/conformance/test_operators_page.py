"""The page of supported operators is what the registry, the results and the corpus say."""

from __future__ import annotations

import pytest

from .corpus import find_corpus
from .operators import PAGE, page_text, read_corpus, read_results


def test_page_of_operators_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_text(read_results()), (
        "run `python -m tests.conformance.operators`"
    )


def test_results_are_those_of_the_cases_that_pass() -> None:
    corpus = find_corpus()
    if corpus is None:
        pytest.skip("no conformance corpus: set CASTOFF_CORPUS to its folder")
    assert read_results() == read_corpus(corpus), (
        "run `python -m tests.conformance.operators --update`"
    )
