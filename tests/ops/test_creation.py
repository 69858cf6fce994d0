"""Ranges, conversions, complex numbers, activations, scans of odd types."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ops.base import OperatorError

from ..graphs import GraphBuilder, reference, size
from .evaluation import evaluate


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"end": 4}, np.arange(4)),
        ({"start": 1, "end": 2, "step": 0.25}, np.arange(1, 2, 0.25, np.float32)),
        ({"start": 5, "end": 0, "step": -2}, np.arange(5, 0, -2)),
        ({"start": 0.5, "end": 4.0, "dtype": DType.INT64}, np.arange(0, 4)),
    ],
)
def test_arange(arguments: dict[str, object], expected: np.ndarray) -> None:
    (result,) = evaluate("aten.arange.start_step", **arguments)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


def test_a_range_that_runs_away_is_refused() -> None:
    with pytest.raises(OperatorError, match="steps of"):
        evaluate("aten.arange.start_step", start=0, end=5, step=-1)


@pytest.mark.parametrize("steps", [0, 1, 2, 7])
def test_linspace_meets_both_ends(steps: int) -> None:
    (result,) = evaluate("aten.linspace.default", start=-1, end=2.5, steps=steps)
    np.testing.assert_allclose(result, np.linspace(-1, 2.5, steps, dtype=np.float32), rtol=1e-6)


@pytest.mark.parametrize("as_bound", [float, lambda x: np.array(x, np.float32)])
def test_bounds_of_integers_lose_their_fractions_first(as_bound: Callable[[float], object]) -> None:
    overload = "default" if as_bound is float else "Tensor_Tensor"
    bounds = as_bound(4.3), as_bound(-1.8)
    (line,) = evaluate(f"aten.linspace.{overload}", *bounds, 6, dtype=DType.INT64)
    np.testing.assert_array_equal(line, [4, 3, 2, 1, 0, -1])
    (powers,) = evaluate(f"aten.logspace.{overload}", *bounds, 6, 2.0, dtype=DType.INT64)
    np.testing.assert_array_equal(powers, [16, 8, 4, 2, 1, 0])


def test_logspace_and_vander_are_powers() -> None:
    (result,) = evaluate("aten.logspace.default", start=0, end=3, steps=4, base=2.0)
    np.testing.assert_allclose(result, [1, 2, 4, 8])
    x = np.array([2.0, 3.0])
    np.testing.assert_allclose(evaluate("aten.vander.default", x, N=4)[0], np.vander(x, 4))


def test_full_takes_its_dtype_from_the_number() -> None:
    for number, dtype in ((True, bool), (3, np.int64), (0.5, np.float32), (1j, np.complex64)):
        (result,) = evaluate("aten.full.default", size=(2,), fill_value=number)
        assert result.dtype == dtype and (result == number).all()


def test_conversion_truncates_and_tests_for_zero() -> None:
    x = np.array([-1.5, 0.0, 2.9], np.float32)
    (whole,) = evaluate("aten.to.dtype", x, DType.INT32)
    (flags,) = evaluate("aten.to.dtype", x, DType.BOOL)
    np.testing.assert_array_equal(whole, [-1, 0, 2])
    np.testing.assert_array_equal(flags, [True, False, True])


def test_complex_numbers_come_apart_and_together() -> None:
    z = np.array([3 + 4j, -1j], np.complex64)
    (pairs,) = evaluate("aten.view_as_real.default", z)
    np.testing.assert_array_equal(pairs, [[3, 4], [0, -1]])
    np.testing.assert_array_equal(evaluate("aten.view_as_complex.default", pairs)[0], z)
    np.testing.assert_allclose(evaluate("aten.abs.default", z)[0], [5, 1])
    np.testing.assert_allclose(evaluate("aten.angle.default", z)[0], np.angle(z), rtol=1e-6)
    size, angle = np.abs(z), np.angle(z)
    np.testing.assert_allclose(evaluate("aten.polar.default", size, angle)[0], z, atol=1e-6)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "log_sigmoid": lambda x: -np.log1p(np.exp(-x)),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "relu6": lambda x: np.clip(x, 0, 6),
    "softshrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "hardshrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    x = np.linspace(-9, 9, 37)
    (result,) = evaluate(f"aten.{name}.default", x)
    np.testing.assert_allclose(result, ACTIVATIONS[name](x), rtol=1e-10, atol=1e-12)


def test_log_sigmoid_and_softplus_survive_large_numbers() -> None:
    x = np.array([-1e4, 1e4], np.float32)
    np.testing.assert_array_equal(evaluate("aten.log_sigmoid.default", x)[0], [-1e4, 0])
    np.testing.assert_array_equal(evaluate("aten.softplus.default", x)[0], [0, 1e4])


def test_glu_gates_the_first_half_by_the_second() -> None:
    x = np.arange(8.0).reshape(2, 4)
    (result,) = evaluate("aten.glu.default", x, 1)
    np.testing.assert_allclose(result, x[:, :2] / (1 + np.exp(-x[:, 2:])))


def test_covariance_agrees_with_numpy() -> None:
    x = np.random.default_rng(0).normal(size=(3, 6))
    repeats, weights = np.array([1, 2, 1, 3, 1, 1]), np.linspace(0.1, 1, 6)
    (result,) = evaluate("aten.cov.default", x, correction=1, fweights=repeats, aweights=weights)
    np.testing.assert_allclose(result, np.cov(x, fweights=repeats, aweights=weights))
    np.testing.assert_allclose(evaluate("aten.corrcoef.default", x)[0], np.corrcoef(x))


def test_dropout_in_training_keeps_the_mean() -> None:
    x = np.ones(10_000, np.float32)
    (result,) = evaluate("aten.dropout.default", x, 0.25, True)
    assert set(np.unique(result)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(result.mean() - 1) < 0.03
    (result,) = evaluate("aten.dropout.default", x, 0.25, False)
    np.testing.assert_array_equal(result, x)


def test_alpha_dropout_of_features_drops_whole_channels() -> None:
    x = np.ones((40, 50, 3), np.float32)
    (result,) = evaluate("aten.feature_alpha_dropout.default", x, 0.25, True)
    assert (result == result[:, :, :1]).all() and len(np.unique(result)) == 2
    (each,) = evaluate("aten.alpha_dropout.default", x, 0.25, True)
    assert (each != each[:, :, :1]).any()


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize(
    ("window", "oracle"),
    [("hann", np.hanning), ("blackman", np.blackman), ("bartlett", np.bartlett)],
)
def test_windows_of_a_length_that_the_run_decides(
    window: str, oracle: Callable[[int], np.ndarray], length: int
) -> None:
    b = GraphBuilder()
    x = b.input("x", size("n"))
    graph = b.graph(b.call(f"aten.{window}_window.periodic", x.shape[0], False))
    (got,) = reference(graph, np.zeros(length, np.float32))
    np.testing.assert_allclose(got, oracle(length), atol=1e-6)


@pytest.mark.parametrize("offset", [-9, -2, -1, 0, 1, 3, 9])
def test_triangles_of_sizes_that_the_run_decides(offset: int) -> None:
    b = GraphBuilder()
    rows, columns = b.input("x", size("rows"), size("columns")).shape
    graph = b.graph(
        b.call("aten.triu_indices.default", rows, columns, offset),
        b.call("aten.tril_indices.default", rows, columns, offset),
    )
    for shape in ((0, 3), (1, 1), (3, 3), (2, 6), (6, 2)):
        upper, lower = reference(graph, np.zeros(shape, np.float32))
        np.testing.assert_array_equal(upper, np.triu_indices(shape[0], offset, shape[1]))
        np.testing.assert_array_equal(lower, np.tril_indices(shape[0], offset, shape[1]))


def test_pairs_and_grids_of_sizes_that_the_run_decides() -> None:
    b = GraphBuilder()
    x = b.input("x", size("n"))
    theta = b.array(np.array([[[1, 0, 0], [0, 1, 0]]], np.float32))
    shape = (1, 1, x.shape[0], 2)
    graph = b.graph(
        b.call("aten.combinations.default", x, 2, True),
        b.call("aten.affine_grid_generator.default", theta, shape, True),
        b.call("aten.range.step", 1, x.shape[0], 2),
    )
    for n in (1, 4):
        values = np.arange(n, dtype=np.float32)
        pairs, grid, odd = reference(graph, values)
        assert pairs.tolist() == [[i, j] for i in range(n) for j in range(i, n)]
        expected = [0.0] if n == 1 else np.linspace(-1, 1, n)
        np.testing.assert_allclose(grid[0, :, 0, 1], expected, atol=1e-6)
        assert odd.tolist() == list(range(1, n + 1, 2))
