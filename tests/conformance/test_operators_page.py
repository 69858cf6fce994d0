"""The page of supported operators is what the registry and the results say."""

from __future__ import annotations

from .operators import PAGE, page_text, read_results


def test_page_of_operators_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_text(read_results()), (
        "run `python -m tests.conformance.operators`"
    )
