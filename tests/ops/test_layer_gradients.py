"""Derivatives of layers, where samples do not reach."""

from __future__ import annotations

import numpy as np

from .evaluation import evaluate

R = np.random.default_rng(0)


def test_an_infinite_gradient_stays_in_its_window() -> None:
    gradient = np.full((1, 1, 2, 2), 4, np.float32)
    gradient[..., 0, 0] = np.inf
    (result,) = evaluate(
        "aten._adaptive_avg_pool2d_backward.default", gradient, np.zeros((1, 1, 4, 4), np.float32)
    )
    wanted = np.ones((1, 1, 4, 4), np.float32)
    wanted[..., :2, :2] = np.inf
    np.testing.assert_array_equal(result, wanted)


def test_windows_over_fewer_elements_share_them() -> None:
    gradient = R.normal(size=(3, 7, 5))
    (result,) = evaluate(
        "aten._adaptive_avg_pool2d_backward.default", gradient, np.zeros((3, 4, 6))
    )
    wanted = np.zeros((3, 4, 6))
    for row in range(7):
        for column in range(5):
            rows = slice(row * 4 // 7, -(-(row + 1) * 4 // 7))
            columns = slice(column * 6 // 5, -(-(column + 1) * 6 // 5))
            area = (rows.stop - rows.start) * (columns.stop - columns.start)
            wanted[:, rows, columns] += gradient[:, row, column, None, None] / area
    np.testing.assert_allclose(result, wanted, rtol=1e-12)


def test_a_norm_without_bias_has_no_gradient_of_one() -> None:
    x, statistics = R.normal(size=(2, 4)), R.normal(size=(2, 1))
    target = "aten.native_layer_norm_backward.default"
    mask = [True, True, True]
    operands = (x, x, [4], statistics, statistics, np.ones(4))
    by_input, by_weight, by_bias = evaluate(target, *operands, np.ones(4), mask)
    np.testing.assert_allclose(by_bias, x.sum(0))
    without = evaluate(target, *operands, None, mask)
    for left, right in zip(without, (by_input, by_weight), strict=True):
        np.testing.assert_array_equal(left, right)
