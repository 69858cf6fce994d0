"""Derivatives of layers, where samples do not reach."""

from __future__ import annotations

import numpy as np
import pytest

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


@pytest.mark.parametrize("mode", [0, 1], ids=["sum", "mean"])
def test_gradients_of_bags_are_shared_out_by_how_often_a_row_was_taken(mode: int) -> None:
    indices, bags = np.array([2, 0, 2, 2, 1, 0]), np.array([0, 0, 0, 1, 1, 1])
    gradient = R.normal(size=(2, 3))
    (result,) = evaluate(
        "aten._embedding_bag_backward.default", gradient, indices, np.array([0, 3]), bags,
        np.array([3, 3]), np.array([3, 3]), 4, True, mode, False, None,
    )  # fmt: skip
    wanted = np.zeros((4, 3))
    for row, bag in zip(indices, bags, strict=True):
        wanted[row] += gradient[bag] / (3 if mode else 1) / (indices == row).sum()
    np.testing.assert_allclose(result, wanted)
