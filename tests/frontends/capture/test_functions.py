"""NumPy's functions, captured, held against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .checks import assert_captured
from .function_cases import CASES, arguments_of, name_of


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_captured_functions_give_what_numpy_gives(case: Callable[..., Any]) -> None:
    assert_captured(case, *arguments_of(case))
