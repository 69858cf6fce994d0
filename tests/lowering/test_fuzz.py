"""A fixed share of the random programs; `python -m tests.lowering.fuzz` makes more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .fuzz import check, make


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("batch", range(3))
def test_random_programs_agree_with_their_reference(
    batch: int, symbolic: bool, tmp_path: Path
) -> None:
    first = 50 * batch + 25 * symbolic
    assert check(make(range(first, first + 25), symbolic), tmp_path) == []
