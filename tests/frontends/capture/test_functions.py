"""NumPy's functions, captured, held against NumPy."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .checks import assert_captured, assert_compiled
from .function_cases import CASES, arguments_of, name_of


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_captured_functions_give_what_numpy_gives(case: Callable[..., Any]) -> None:
    assert_captured(case, *arguments_of(case))


@pytest.mark.parametrize("start", range(0, len(CASES), 12))
def test_compiled_functions_give_what_numpy_gives(start: int, tmp_path: Path) -> None:
    cases = CASES[start : start + 12]

    def f(*flat: Any) -> list[Any]:
        given = iter(flat)
        return [case(*(next(given) for _ in inspect.signature(case).parameters)) for case in cases]

    assert_compiled(f, *(x for case in cases for x in arguments_of(case)), folder=tmp_path)
