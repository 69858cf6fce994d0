"""Indexing, gathers, scatters, searches, histograms and distinct values against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from castoff.compiler.ops.base import OperatorError

from .evaluation import evaluate

R = np.random.default_rng(0)
X = R.normal(size=(3, 4, 5)).astype(np.float32)
I = np.array([[2, -1], [0, 1]])
J = np.array([3, -4])


def one(target: str, *operands: Any, **arguments: Any) -> np.ndarray:
    (result,) = evaluate(target, *operands, **arguments)
    return result


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ([I], X[I]),
        ([I, J], X[I, J]),
        ([None, I], X[:, I]),
        ([None, I, J], X[:, I, J]),
        ([I, None, J], X[I, :, J]),
        ([np.array(1)], X[1]),
        ([X > 0], X[X > 0]),
        ([X[:, :, 0] > 0, J[:1]], X[X[:, :, 0] > 0, J[0]]),
        ([None, np.array([True, False, True, True])], X[:, [0, 2, 3]]),
    ],
)
def test_index_follows_numpy(indices: list[np.ndarray | None], expected: np.ndarray) -> None:
    np.testing.assert_array_equal(one("aten.index.Tensor", X, indices), expected)


def test_index_put_stores_adds_and_takes_masks() -> None:
    expected = X.copy()
    expected[:, I] = 7
    value = np.array(7, np.float32)
    np.testing.assert_array_equal(one("aten.index_put.default", X, [None, I], value), expected)
    twice, ones = np.array([1, 1, 0]), np.ones(3, np.float32)
    added = one("aten.index_put.default", np.zeros(3, np.float32), [twice], ones, True)
    np.testing.assert_array_equal(added, [1, 2, 0])
    mask = X > 0
    values = np.arange(mask.sum(), dtype=np.float32)
    expected = X.copy()
    expected[mask] = values
    np.testing.assert_array_equal(one("aten.index_put.default", X, [mask], values), expected)
    np.testing.assert_array_equal(one("aten.masked_scatter.default", X, mask, values), expected)
    rows = X[:, 0, 0] > 0
    expected = X.copy()
    expected[rows] = X[0, 0]
    np.testing.assert_array_equal(one("aten.index_put.default", X, [rows], X[:1, :1]), np.where(
        rows[:, None, None], X[0, 0], X))  # fmt: skip


def test_index_outside_of_a_dimension_is_refused() -> None:
    for target, arguments in {
        "aten.index.Tensor": ([np.array([3])],),
        "aten.index_select.default": (0, np.array([-1])),
        "aten.gather.default": (0, np.full((1, 4, 5), 3)),
        "aten.embedding.default": (np.array([3]),),
    }.items():
        with pytest.raises(OperatorError, match="out of range"):
            evaluate(target, X, *arguments)


def test_gather_and_scatter_are_inverse() -> None:
    order = np.argsort(X, axis=1)
    gathered = one("aten.gather.default", X, 1, order)
    np.testing.assert_array_equal(gathered, np.sort(X, axis=1))
    back = one("aten.scatter.src", np.zeros_like(X), 1, order, gathered)
    np.testing.assert_array_equal(back, X)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce_combines_what_meets(reduce: str, include_self: bool) -> None:
    base = np.array([5.0, 2.0, -3.0])
    index, source = np.array([0, 0, 2]), np.array([1.0, 4.0, 10.0])
    functions: dict[str, Any] = {
        "sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min,
    }  # fmt: skip
    expected = []
    for i in range(3):
        met = [*([base[i]] if include_self or i == 1 else []), *source[index == i]]
        expected.append(functions[reduce](met))
    result = one(
        "aten.scatter_reduce.two", base, 0, index, source, reduce, include_self=include_self
    )
    np.testing.assert_allclose(result, expected)


def test_nonzero_static_cuts_and_fills() -> None:
    x = np.array([[1, 0], [0, 2]])
    np.testing.assert_array_equal(one("aten.nonzero.default", x), [[0, 0], [1, 1]])
    filled = one("aten.nonzero_static.default", x, size=3, fill_value=9)
    np.testing.assert_array_equal(filled, [[0, 0], [1, 1], [9, 9]])
    np.testing.assert_array_equal(one("aten.nonzero_static.default", x, size=1), [[0, 0]])


def test_searches_agree_with_numpy() -> None:
    edges, values = np.sort(R.normal(size=7)), np.append(R.normal(size=6), np.nan)
    for right in (False, True):
        found = one("aten.bucketize.Tensor", values, edges, right=right)
        expected = np.searchsorted(edges, values, "right" if right else "left")
        np.testing.assert_array_equal(found, expected)


def test_histogram_counts_the_last_edge() -> None:
    x, edges = np.array([0.0, 0.5, 1.0, 2.0, -1.0, np.nan]), np.array([0.0, 0.5, 1.0])
    counts, _ = evaluate("aten.histogram.bins_tensor", x, edges)
    np.testing.assert_array_equal(counts, [1, 2])
    np.testing.assert_array_equal(one("aten.histc.default", x, 2, 0, 1), [1, 2])


def test_embedding_bags_leave_padding_out() -> None:
    table = R.normal(size=(5, 3))
    indices, offsets = np.array([0, 2, 2, 4]), np.array([0, 1, 1])
    for mode in range(3):  # sum, mean, max: what is left of a bag is one row at most
        result, *_ = evaluate(
            "aten._embedding_bag.default", table, indices, offsets, mode=mode, padding_idx=2
        )
        np.testing.assert_allclose(result, [table[0], np.zeros(3), table[4]])


def test_distinct_values_come_with_groups_and_counts() -> None:
    x = np.array([[3, 1, 3], [1, 1, 2]])
    values, inverse, counts = evaluate("aten._unique2.default", x, True, True, True)
    expected = np.unique(x, return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(values, expected[0])
    np.testing.assert_array_equal(inverse, expected[1].reshape(x.shape))
    np.testing.assert_array_equal(counts, expected[2])
    rows = np.array([[1, 2], [0, 5], [1, 2], [0, 4]])
    distinct, inverse, counts = evaluate("aten.unique_dim.default", rows, 0, True, True, True)
    np.testing.assert_array_equal(distinct, [[0, 4], [0, 5], [1, 2]])
    np.testing.assert_array_equal(distinct[inverse], rows)
    np.testing.assert_array_equal(counts, [1, 1, 2])


def test_repeats_may_differ_for_every_element() -> None:
    repeats = np.array([2, 0, 1, 3])
    result = one("aten.repeat_interleave.self_Tensor", X, repeats, 1)
    np.testing.assert_array_equal(result, np.repeat(X, repeats, 1))


def test_segments_of_length_zero_give_the_start_value() -> None:
    x, lengths = np.array([1.0, 2.0, 5.0]), np.array([2, 0, 1])
    expectations = {"sum": [3, 0, 5], "max": [2, -np.inf, 5], "mean": [1.5, np.nan, 5]}
    for reduce, expected in expectations.items():
        result = one("aten.segment_reduce.default", x, reduce, lengths=lengths)
        np.testing.assert_array_equal(result, expected)


def test_order_puts_nan_last_and_keeps_ties() -> None:
    x = np.array([2.0, np.nan, 1.0, 2.0, -np.inf])
    values, indices = evaluate("aten.sort.default", x)
    np.testing.assert_array_equal(indices, [4, 2, 0, 3, 1])
    _, indices = evaluate("aten.sort.stable", x, stable=True, descending=True)
    np.testing.assert_array_equal(indices, [1, 0, 3, 2, 4])
    values, indices = evaluate("aten.topk.default", x, 2, 0, False)
    np.testing.assert_array_equal(values, [-np.inf, 1])
    assert np.isnan(evaluate("aten.median.dim", x, 0)[0])
    assert evaluate("aten.nanmedian.dim", x, 0)[0] == 1


@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles_agree_with_numpy(method: Any) -> None:
    x, q = R.normal(size=(4, 7)), np.array([0.0, 0.3, 0.9])
    result = one("aten.quantile.default", x, q, 1, True, interpolation=method)
    np.testing.assert_allclose(result, np.quantile(x, q, 1, keepdims=True, method=method))
    x[0, 2] = np.nan
    (result,) = evaluate("aten.nanquantile.default", x, q, 1, interpolation=method)
    np.testing.assert_allclose(result, np.nanquantile(x, q, 1, method=method))
