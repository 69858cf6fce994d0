"""Which arrays share memory, and which are numbers that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import castoff

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def swapped(x: Any) -> Any:
    y = x.copy()
    kept = y[1, 0]
    y[1, 0] = y[1, 3]
    y[1, 3] = kept
    return y


def shifted(x: Any) -> Any:
    v = x[0].copy()
    carry = v[0]
    for i in range(1, 4):
        carry, v[i] = v[i], carry
    return v, carry


def counted(x: Any) -> Any:
    largest = x.max()
    before = largest
    largest += 1
    total = np.add(x[0, 0], 1)
    other = total
    total *= 3
    return before, largest, other, total


def added_to_a_number(x: Any) -> Any:
    y = x.copy()
    first = y[0, 0]
    first += 5
    for each in y[1]:
        each += 1
    return y, first


def added_to_an_array_without_axes(x: Any) -> Any:
    chosen = np.where(x[0, 0] > 1, x[0, 1], x[0, 2])
    same = chosen
    chosen += 1
    return same


def results(value: Any) -> list[np.ndarray]:
    return [np.asarray(each) for each in (value if isinstance(value, tuple) else (value,))]


@pytest.mark.parametrize(
    "function",
    [swapped, shifted, counted, added_to_a_number, added_to_an_array_without_axes],
)
def test_numbers_and_views_are_those_of_numpy(function: Callable[[Any], Any]) -> None:
    got = castoff.export(function, (X.copy(),)).module()(X.copy())
    for mine, numpys in zip(results(got), results(function(X.copy())), strict=True):
        np.testing.assert_array_equal(mine, numpys)


def test_a_view_without_axes_is_written_through() -> None:
    def through(x: Any) -> Any:
        y = x.copy()
        place = y[0, 0, ...]
        place += 5
        row = y[1]
        row *= 2
        return y, place

    got = castoff.export(through, (X.copy(),)).module()(X.copy())
    for mine, numpys in zip(results(got), results(through(X.copy())), strict=True):
        np.testing.assert_array_equal(mine, numpys)


class Overlapping(castoff.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("whole", np.zeros(4, np.float32))
        self.register_buffer("part", self.whole[1:])

    def forward(self, x: Any) -> Any:
        self.whole += x
        return self.part * 2


def test_buffers_in_each_others_memory_are_refused() -> None:
    with pytest.raises(castoff.CaptureError, match="lies in the memory of"):
        castoff.export(Overlapping(), (np.ones(4, np.float32),))


def test_ravel_copies_what_does_not_lie_in_a_row() -> None:
    def f(x: Any) -> Any:
        y = x.copy()
        y[:, 0].ravel()[...] = 5  # a copy
        y[1].ravel()[...] = 6  # a view
        y[:, 2].reshape(-1)[...] = 7  # a view
        return y

    np.testing.assert_array_equal(np.asarray(castoff.export(f, (X,)).module()(X)), f(X))


def test_einsum_that_sums_nothing_shows_memory() -> None:
    def f(x: Any) -> Any:
        y = x.copy()
        np.einsum("ij->ji", y)[0] = 7
        corner = y[:3, :3]
        np.einsum("ii->i", corner)[...] = np.einsum("ij->i", y)
        return y

    np.testing.assert_array_equal(np.asarray(castoff.export(f, (X,)).module()(X)), f(X))


def test_parts_of_complex_numbers_are_written() -> None:
    def f(x: Any) -> Any:
        y = x * (1 + 2j)
        y.imag += 1
        y[1].real = 5
        return y

    np.testing.assert_array_equal(np.asarray(castoff.export(f, (X,)).module()(X)), f(X))
