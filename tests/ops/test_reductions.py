"""Sums, variances, norms, softmax, normalisation, scans."""

from __future__ import annotations

import math

import numpy as np
import pytest

from castoff.compiler.ops.base import OperatorError

from .evaluation import evaluate

X = np.random.default_rng(0).normal(size=(3, 4, 5))


def test_sums_of_integers_are_int64_and_empty_dims_mean_all() -> None:
    (result,) = evaluate("aten.sum.dim_IntList", np.full((2, 3), 100, np.int8), [])
    assert result.dtype == np.int64 and result == 600


def test_mean_of_integers_is_refused() -> None:
    with pytest.raises(OperatorError, match="floating"):
        evaluate("aten.mean.default", np.arange(3))


def test_narrow_means_accumulate_in_float32() -> None:
    x = np.full(100_000, 0.1, np.float16)
    (result,) = evaluate("aten.mean.default", x)
    assert result == np.float16(0.1)


@pytest.mark.parametrize("correction", [0, 1, 2.5])
def test_variance_subtracts_its_correction(correction: float) -> None:
    variance, mean = evaluate(
        "aten.var_mean.correction", X, [1], correction=correction, keepdim=True
    )
    centred = X - X.mean(1, keepdims=True)
    np.testing.assert_allclose(variance, (centred**2).sum(1, keepdims=True) / (4 - correction))
    np.testing.assert_allclose(mean, X.mean(1, keepdims=True))


def test_max_along_a_dimension_gives_the_first_position_and_lets_nan_win() -> None:
    x = np.array([[1.0, 3.0, 3.0], [1.0, np.nan, 5.0]], np.float32)
    values, positions = evaluate("aten.max.dim", x, 1)
    np.testing.assert_array_equal(values, [3, np.nan])
    np.testing.assert_array_equal(positions, [1, 1])


def test_logsumexp_survives_large_and_infinite_numbers() -> None:
    x = np.array([[1000.0, 1000.0], [-np.inf, -np.inf], [np.inf, 0.0]])
    (result,) = evaluate("aten.logsumexp.default", x, [1])
    np.testing.assert_allclose(result, [1000 + math.log(2), -np.inf, np.inf])


@pytest.mark.parametrize("order", [0, 1, 2, 3.5, math.inf, -math.inf])
def test_vector_norms(order: float) -> None:
    (result,) = evaluate("aten.linalg_vector_norm.default", X, order, [2])
    expected = np.apply_along_axis(lambda row: np.linalg.norm(row, order), 2, X)
    np.testing.assert_allclose(result, expected)


def test_softmax_is_stable_and_sums_to_one() -> None:
    x = X.astype(np.float32) + 1e4
    (result,) = evaluate("aten.softmax.int", x, -1)
    np.testing.assert_allclose(result.sum(-1), np.ones((3, 4)), rtol=1e-6)


def test_safe_softmax_gives_zeros_for_a_masked_row() -> None:
    x = np.array([[-np.inf, -np.inf], [0.0, -np.inf]], np.float32)
    np.testing.assert_array_equal(
        evaluate("aten._safe_softmax.default", x, -1)[0], [[0, 0], [1, 0]]
    )


def test_layer_norm_is_affine_of_the_standardised_rows() -> None:
    weight, bias = np.arange(5.0), np.ones(5)
    (result,) = evaluate("aten.layer_norm.default", X, [5], weight, bias, 1e-3)
    centred = X - X.mean(-1, keepdims=True)
    standard = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(result, standard * weight + bias)


def test_batch_norm_in_training_writes_running_statistics() -> None:
    running_mean, running_var = np.zeros(4), np.ones(4)
    output, mean, variance = evaluate(
        "aten.batch_norm.default", X, None, None, running_mean=running_mean,
        running_var=running_var, training=True, momentum=0.1, eps=1e-5, cudnn_enabled=False,
    )  # fmt: skip
    np.testing.assert_allclose(mean, 0.1 * X.mean((0, 2)))
    np.testing.assert_allclose(variance, 0.9 + 0.1 * X.var((0, 2), ddof=1))
    np.testing.assert_allclose(output.mean((0, 2)), np.zeros(4), atol=1e-12)


def test_group_norm_standardises_each_group() -> None:
    (result,) = evaluate("aten.group_norm.default", X, 2)
    groups = result.reshape(3, 2, 10)
    np.testing.assert_allclose(groups.mean(-1), np.zeros((3, 2)), atol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_running_sums_and_products(axis: int) -> None:
    np.testing.assert_allclose(evaluate("aten.cumsum.default", X, axis)[0], X.cumsum(axis))
    np.testing.assert_allclose(evaluate("aten.cumprod.default", X, axis)[0], X.cumprod(axis))


def test_running_maximum_takes_the_last_of_equals_and_keeps_nan() -> None:
    x = np.array([1.0, 3.0, 3.0, np.nan, 5.0], np.float32)
    values, positions = evaluate("aten.cummax.default", x, 0)
    np.testing.assert_array_equal(values, [1, 3, 3, np.nan, np.nan])
    np.testing.assert_array_equal(positions, [0, 1, 2, 3, 3])


def test_running_log_sums_accumulate_stably() -> None:
    x = np.array([-np.inf, 1000.0, 1000.0])
    (result,) = evaluate("aten.logcumsumexp.default", x, 0)
    np.testing.assert_allclose(result, [-np.inf, 1000, 1000 + math.log(2)])


def test_numerical_gradient_agrees_with_numpy() -> None:
    where = np.array([0.0, 1.0, 3.0, 6.0, 10.0])
    for order in (1, 2):
        (result,) = evaluate(
            "aten.gradient.tensorarray", X, spacing=[where], dim=[2], edge_order=order
        )
        np.testing.assert_allclose(result, np.gradient(X, where, axis=2, edge_order=order))


def test_pairwise_distances() -> None:
    rows = X[0]
    (table,) = evaluate("aten.cdist.default", rows, rows, 3.0)
    (condensed,) = evaluate("aten.pdist.default", rows, 3.0)
    expected = [[np.linalg.norm(a - c, 3) for c in rows] for a in rows]
    np.testing.assert_allclose(table, expected)
    np.testing.assert_allclose(condensed, table[np.triu_indices(4, 1)])
