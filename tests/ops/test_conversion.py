"""Conversions between dtypes."""

from __future__ import annotations

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType

from .evaluation import evaluate

_NUMBERS = [448, 464, 465, 57344, 61440, 1e9, np.inf, 0, 0.1, 1.5, 3, 7, 2.0**-10, 3 * 2.0**-10]


@pytest.mark.torch
@pytest.mark.parametrize("name", ["e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e8m0fnu"])
def test_what_does_not_fit_8_bits_becomes_what_pytorch_makes_of_it(name: str) -> None:
    torch = pytest.importorskip("torch")
    x = np.array([*_NUMBERS, *(-number for number in _NUMBERS), np.nan], np.float32)
    dtype = DType(f"float8_{name}")
    (narrow,) = evaluate("aten._to_copy.default", x, dtype=dtype)
    expected = torch.from_numpy(x).to(getattr(torch, f"float8_{name}"))
    np.testing.assert_array_equal(narrow.astype(np.float32), expected.float())
