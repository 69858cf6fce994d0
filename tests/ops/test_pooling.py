"""Pooling against naive loops over windows."""

from __future__ import annotations

import numpy as np
import pytest

from .evaluation import evaluate

RNG = np.random.default_rng(1)


def test_max_pool_notes_where_the_largest_elements_are() -> None:
    x = RNG.permutation(36).reshape(1, 1, 6, 6).astype(np.float32)
    values, places = evaluate("aten.max_pool2d_with_indices.default", x, [2, 3], [2, 3])
    blocks = x.reshape(3, 2, 2, 3)
    np.testing.assert_array_equal(values[0, 0], blocks.max(axis=(1, 3)))
    np.testing.assert_array_equal(x.reshape(-1)[places], values)


def test_padding_of_a_max_pool_is_never_chosen() -> None:
    x = np.full((1, 1, 3), -np.inf, np.float32)
    values, places = evaluate("aten.max_pool1d_with_indices.default", x, [2], [2], [1])
    assert np.all(values == -np.inf)
    np.testing.assert_array_equal(places, [[[0, 1]]])


def test_max_pool_of_nan_is_nan() -> None:
    x = np.array([[1.0, np.nan, 2.0, 3.0]], np.float32)
    values, places = evaluate("aten.max_pool1d_with_indices.default", x, [2])
    np.testing.assert_array_equal(values, [[np.nan, 3.0]])
    np.testing.assert_array_equal(places, [[1, 3]])


@pytest.mark.parametrize(("ceil_mode", "count"), [(False, 2), (True, 3)])
def test_ceil_mode_keeps_a_window_that_starts_inside(ceil_mode: bool, count: int) -> None:
    x = np.arange(6.0).reshape(1, 6)
    (result,) = evaluate("aten.max_pool1d.default", x, [3], [2], [0], [1], ceil_mode)
    np.testing.assert_array_equal(result, [[2, 4, 5][:count]])


@pytest.mark.parametrize(
    ("include", "divisor", "expected"),
    [
        (True, None, [1 / 3, 3.0, 2.5]),
        (False, None, [0.5, 3.0, 5.0]),
        (True, 2, [0.5, 4.5, 2.5]),
    ],
)
def test_average_pool_counts_padding_as_asked(
    include: bool, divisor: int | None, expected: list[float]
) -> None:
    x = np.arange(6.0).reshape(1, 1, 6)
    arguments = ([1, 3], [1, 3], [0, 1], True, include, divisor)
    (result,) = evaluate("aten.avg_pool2d.default", x, *arguments)
    np.testing.assert_allclose(result, [[expected]])


def test_integer_means_are_truncated() -> None:
    x = np.array([[-3, -4, 5, 6]])
    (result,) = evaluate("aten.avg_pool1d.default", x, [2])
    np.testing.assert_array_equal(result, [[-3, 5]])


def test_adaptive_windows_overlap_where_sizes_do_not_divide() -> None:
    x = RNG.standard_normal((2, 7, 5))
    (result,) = evaluate("aten.adaptive_avg_pool2d.default", x, [3, 5])
    rows = [x[:, i * 7 // 3 : -(-(i + 1) * 7 // 3)].mean(axis=1) for i in range(3)]
    np.testing.assert_allclose(result, np.stack(rows, axis=1))


def test_unpooling_puts_elements_back() -> None:
    x = RNG.standard_normal((1, 2, 4, 4)).astype(np.float32)
    values, places = evaluate("aten.max_pool2d_with_indices.default", x, [2, 2])
    (result,) = evaluate("aten.max_unpool2d.default", values, places, [4, 4])
    assert np.count_nonzero(result) == values.size
    np.testing.assert_array_equal(result[result != 0], x[result != 0])


def test_gradients_of_an_average_are_shared_out() -> None:
    gradient = RNG.standard_normal((1, 1, 2, 2))
    x = np.zeros((1, 1, 3, 3))
    arguments = ([2, 2], [1, 1], [0, 0], False, True, None)
    (result,) = evaluate("aten.avg_pool2d_backward.default", gradient, x, *arguments)
    expected = np.zeros((3, 3))
    for i, j in np.ndindex(2, 2):
        expected[i : i + 2, j : j + 2] += gradient[0, 0, i, j] / 4
    np.testing.assert_allclose(result[0, 0], expected)


def test_fractional_windows_follow_their_samples() -> None:
    x = RNG.standard_normal((1, 1, 5, 7))
    samples = np.array([[[0.25, 0.75]]])
    values, places = evaluate("aten.fractional_max_pool2d.default", x, [2, 2], [2, 3], samples)

    def starts(sample: float, size: int, count: int) -> list[int]:
        step = (size - 2) / (count - 1)
        return [int((i + sample) * step) - int(sample * step) for i in range(count - 1)] + [
            size - 2
        ]

    rows, columns = starts(0.75, 5, 2), starts(0.25, 7, 3)
    for i, j in np.ndindex(2, 3):
        window = x[0, 0, rows[i] : rows[i] + 2, columns[j] : columns[j] + 2]
        assert values[0, 0, i, j] == window.max()
    np.testing.assert_array_equal(x.reshape(-1)[places], values)
