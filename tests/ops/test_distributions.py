"""Gamma, Dirichlet, Poisson and binomial draws: of the right distribution, and those of the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from castoff.compiler.ir.dtypes import DType

from ..graphs import GraphBuilder, load, reference

COUNT = 40000


def drawn(target: str, folder: Path, *parameters: float) -> np.ndarray:
    """Many draws with the same parameters, by a compiled program."""
    b = GraphBuilder()
    given = [b.input(name, 1, dtype=DType.FLOAT64) for name in "xy"[: len(parameters)]]
    wide = [b.expand(x, (COUNT,)) for x in given]
    (result,) = load(b.graph(b.call(target, *wide)), folder)(
        *(np.array([float(p)]) for p in parameters)
    )
    return np.asarray(result)


def assert_counts_fit(found: np.ndarray, mass: Callable[[np.ndarray], np.ndarray]) -> None:
    """Pearson's test of whole numbers against their probabilities, rare ones taken together."""
    values = np.arange(found.min(), found.max() + 1)
    expected = mass(values) * len(found)
    observed = np.bincount((found - values[0]).astype(np.int64), minlength=len(values))
    common = expected >= 5
    counts = np.append(observed[common], len(found) - observed[common].sum())
    wanted = np.append(expected[common], len(found) - expected[common].sum())
    kept = wanted > 1e-3 * len(found) ** 0.5
    statistic = float(((counts - wanted) ** 2 / np.maximum(wanted, 1e-9))[kept].sum())
    assert stats.chi2.sf(statistic, int(kept.sum()) - 1) > 1e-4
    assert counts[~kept].sum() <= 5


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.7, 150.0])
def test_gamma_draws_are_of_their_distribution(alpha: float, tmp_path: Path) -> None:
    found = drawn("aten._standard_gamma.default", tmp_path, alpha)
    assert stats.kstest(found, stats.gamma(alpha).cdf).pvalue > 1e-4


@pytest.mark.parametrize("rate", [0.3, 4.0, 9.9, 10.0, 60.0, 2000.0])
def test_poisson_draws_are_of_their_distribution(rate: float, tmp_path: Path) -> None:
    found = drawn("aten.poisson.default", tmp_path, rate)
    assert_counts_fit(found, stats.poisson(rate).pmf)


@pytest.mark.parametrize(
    ("count", "p"), [(1, 0.3), (20, 0.1), (20, 0.95), (60, 0.4), (500, 0.5), (500, 0.7)]
)
def test_binomial_draws_are_of_their_distribution(count: int, p: float, tmp_path: Path) -> None:
    found = drawn("aten.binomial.default", tmp_path, count, p)
    assert_counts_fit(found, stats.binom(count, p).pmf)


def test_parameters_at_their_ends_need_no_draw(tmp_path: Path) -> None:
    b = GraphBuilder()
    names = ("count", "p", "rate", "alpha")
    count, p, rate, alpha = (b.input(name, 6, dtype=DType.FLOAT64) for name in names)
    graph = b.graph(
        b.call("aten.binomial.default", count, p),
        b.call("aten.poisson.default", rate),
        b.call("aten._standard_gamma.default", alpha),
    )
    nan, inf = np.nan, np.inf
    counts, chances = [7.0, 7, 0, nan, 7, inf], [0.0, 1, 0.5, 0.5, nan, 0.5]
    ends = [0.0, nan, -1, inf, 0, -inf]
    arrays = [np.array(x) for x in (counts, chances, ends, ends)]
    for results in (reference(graph, *arrays), load(graph, tmp_path)(*arrays)):
        np.testing.assert_array_equal(results[0], [0, 7, 0, nan, nan, inf])
        for result, least in zip(results[1:], (0.0, np.finfo(np.float64).tiny), strict=True):
            np.testing.assert_array_equal(result, [least, nan, nan, inf, least, nan])


def test_shares_of_dirichlet_draws_are_one_together(tmp_path: Path) -> None:
    b = GraphBuilder()
    weights = b.input("weights", 2000, 3, dtype=DType.FLOAT64)
    graph = b.graph(b.call("aten._sample_dirichlet.default", weights))
    given = np.tile([1.0, 2.0, 5.0], (2000, 1))
    (found,) = load(graph, tmp_path)(given)
    np.testing.assert_allclose(np.asarray(found).sum(1), 1)
    for axis, alpha in enumerate((1, 2, 5)):
        assert stats.kstest(found[:, axis], stats.beta(alpha, 8 - alpha).cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", ["_standard_gamma", "poisson", "binomial"])
def test_draws_are_those_of_the_reference(name: str, tmp_path: Path) -> None:
    b = GraphBuilder()
    x, y = (b.input(name, 300, dtype=DType.FLOAT32) for name in "xy")
    given = (x, y) if name == "binomial" else (x,)
    random = np.random.default_rng(1)
    arrays = [random.uniform(0, 40, 300).round(1), random.uniform(0, 1, 300)]
    graph = b.graph(b.call(f"aten.{name}.default", *given), b.apply("add", x, y))
    given_arrays = [array.astype(np.float32) for array in arrays]
    want = reference(graph, *given_arrays)[0]
    np.testing.assert_allclose(load(graph, tmp_path)(*given_arrays)[0], want, rtol=1e-6)
