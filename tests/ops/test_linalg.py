"""Linear algebra through the identities that define it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from castoff.compiler.ir.graph import Graph
from castoff.compiler.ops.base import Builder, Environment, OperatorError
from castoff.compiler.ops.interpret import run_graph
from castoff.compiler.ops.symbols import RuntimeCheckError

from .evaluation import evaluate

RNG = np.random.default_rng(4)
DTYPES = [np.float64, np.complex128]


def matrices(*shape: int, dtype: type = np.float64) -> np.ndarray:
    x = RNG.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        x = x + 1j * RNG.standard_normal(shape)
    result: np.ndarray = x.astype(dtype)
    return result


def positive(*shape: int, dtype: type = np.float64) -> np.ndarray:
    x = matrices(*shape, dtype=dtype)
    result: np.ndarray = x @ adjoint(x) + np.eye(shape[-1])
    return result


def adjoint(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = x.conj().swapaxes(-1, -2)
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 4, 4), (3, 5), (5, 3)])
def test_lu_multiplies_to_the_matrix(dtype: type, shape: tuple[int, ...]) -> None:
    a = matrices(*shape, dtype=dtype)
    p, l, u = evaluate("aten.linalg_lu.default", a)
    np.testing.assert_allclose(p @ l @ u, a, atol=1e-12)
    np.testing.assert_array_equal(l, np.tril(l))
    np.testing.assert_array_equal(u, np.triu(u))
    assert np.abs(l).max() <= 1 + 1e-12 or np.issubdtype(dtype, np.complexfloating)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("left", [False, True])
def test_solve_multiplies_to_the_right_hand_side(dtype: type, left: bool) -> None:
    a, b = matrices(2, 3, 3, dtype=dtype), matrices(2, 3, 3, dtype=dtype)
    (x,) = evaluate("aten.linalg_solve.default", a, b, left=left)
    np.testing.assert_allclose(a @ x if left else x @ a, b, atol=1e-10)


def test_solving_for_a_batch_of_vectors() -> None:
    a, b = matrices(2, 3, 3), matrices(2, 3)
    (x,) = evaluate("aten.linalg_solve.default", a, b)
    np.testing.assert_allclose((a @ x[..., None])[..., 0], b, atol=1e-10)


def test_a_singular_matrix_is_refused_or_reported() -> None:
    a = np.zeros((2, 2))
    with pytest.raises(OperatorError, match="singular"):
        evaluate("aten.linalg_inv.default", a)
    _, info = evaluate("aten.linalg_inv_ex.default", a)
    assert info == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("adjoint_of", [False, True])
def test_factors_solve_for_the_matrix_and_its_adjoint(dtype: type, adjoint_of: bool) -> None:
    a, b = matrices(4, 4, dtype=dtype), matrices(2, 4, 3, dtype=dtype)
    lu, pivots = evaluate("aten.linalg_lu_factor.default", a)
    (x,) = evaluate("aten.linalg_lu_solve.default", lu, pivots, b, adjoint=adjoint_of)
    np.testing.assert_allclose((adjoint(a) if adjoint_of else a) @ x, b, atol=1e-10)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_triangular_systems(upper: bool, left: bool, unit: bool) -> None:
    full = matrices(3, 3) + 3 * np.eye(3)
    a = np.triu(full) if upper else np.tril(full)
    used = a - np.diag(np.diag(a)) + np.eye(3) if unit else a
    b = matrices(2, 3, 3)
    (x,) = evaluate(
        "aten.linalg_solve_triangular.default", full, b, upper=upper, left=left, unitriangular=unit
    )
    np.testing.assert_allclose(used @ x if left else x @ used, b, atol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_and_what_uses_it(dtype: type, upper: bool) -> None:
    a = positive(2, 3, 3, dtype=dtype)
    (factor,) = evaluate("aten.linalg_cholesky.default", a, upper=upper)
    whole = adjoint(factor) @ factor if upper else factor @ adjoint(factor)
    np.testing.assert_allclose(whole, a, atol=1e-10)
    (inverse,) = evaluate("aten.cholesky_inverse.default", factor, upper)
    np.testing.assert_allclose(inverse @ a, np.broadcast_to(np.eye(3), a.shape), atol=1e-10)


def test_a_matrix_that_is_not_positive_definite_is_refused() -> None:
    with pytest.raises(OperatorError, match="positive"):
        evaluate("aten.linalg_cholesky.default", -np.eye(2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 4), (2, 5, 3), (3, 5)])
@pytest.mark.parametrize("mode", ["reduced", "complete"])
def test_qr_is_orthogonal_times_triangular(dtype: type, shape: tuple[int, ...], mode: str) -> None:
    a = matrices(*shape, dtype=dtype)
    q, r = evaluate("aten.linalg_qr.default", a, mode)
    np.testing.assert_allclose(q @ r, a, atol=1e-10)
    np.testing.assert_array_equal(r, np.triu(r))
    identity = np.broadcast_to(np.eye(q.shape[-1]), (*q.shape[:-2], q.shape[-1], q.shape[-1]))
    np.testing.assert_allclose(adjoint(q) @ q, identity, atol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transpose", [False, True])
def test_ormqr_multiplies_by_the_square_q(dtype: type, transpose: bool) -> None:
    a, c = matrices(4, 2, dtype=dtype), matrices(4, 3, dtype=dtype)
    packed, tau = evaluate("aten.geqrf.default", a)
    q, _ = evaluate("aten.linalg_qr.default", a, "complete")
    (result,) = evaluate("aten.ormqr.default", packed, tau, c, True, transpose)
    np.testing.assert_allclose(result, (adjoint(q) if transpose else q) @ c, atol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_determinants(dtype: type) -> None:
    a = matrices(3, 4, 4, dtype=dtype)
    (det,) = evaluate("aten.linalg_det.default", a)
    np.testing.assert_allclose(det, np.linalg.det(a))
    sign, logs = evaluate("aten.linalg_slogdet.default", a)
    np.testing.assert_allclose(sign * np.exp(logs), det)


def test_the_logarithm_of_a_negative_determinant_is_nan() -> None:
    (result,) = evaluate("aten.logdet.default", np.diag([-1.0, 2.0]))
    assert np.isnan(result)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hermitian", [False, True])
def test_pseudo_inverses_satisfy_penrose(dtype: type, hermitian: bool) -> None:
    a = matrices(5, 2, dtype=dtype) @ matrices(2, 4, dtype=dtype)
    a = a[:4] @ adjoint(a[:4]) if hermitian else a
    (p,) = evaluate("aten.linalg_pinv.default", a, 1e-9, hermitian)
    np.testing.assert_allclose(a @ p @ a, a, atol=1e-9)
    np.testing.assert_allclose(p @ a @ p, p, atol=1e-9)
    np.testing.assert_allclose(adjoint(a @ p), a @ p, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("aten.linalg_matrix_rank.default", {"tol": 1e-9}),
        ("aten.linalg_matrix_rank.atol_rtol_float", {}),
        ("aten.linalg_matrix_rank.atol_rtol_float", {"atol": 1e-9, "rtol": 0.0}),
    ],
)
def test_the_rank_counts_what_is_not_nearly_zero(name: str, arguments: dict[str, float]) -> None:
    a = matrices(2, 5, 2) @ matrices(2, 2, 5)
    (rank,) = evaluate(name, a, **arguments)
    np.testing.assert_array_equal(rank, [2, 2])


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf")])
def test_matrix_norms(order: Any) -> None:
    a = matrices(3, 4)
    overload = "str_ord" if isinstance(order, str) else "default"
    (result,) = evaluate(f"aten.linalg_matrix_norm.{overload}", a, order)
    np.testing.assert_allclose(result, np.linalg.norm(a, order))
    (kept,) = evaluate(f"aten.linalg_matrix_norm.{overload}", a[None], order, (1, 2), True)
    assert kept.shape == (1, 1, 1)


@pytest.mark.parametrize("order", [None, 1, 2, -2, "fro", "nuc"])
def test_condition_numbers(order: Any) -> None:
    a = matrices(4, 4)
    overload = "p_str" if isinstance(order, str) else "default"
    (result,) = evaluate(f"aten.linalg_cond.{overload}", a, order)
    np.testing.assert_allclose(result, np.linalg.cond(a, order))


def test_matrix_exp_of_commuting_parts() -> None:
    angle = 10.0
    (rotation,) = evaluate("aten.linalg_matrix_exp.default", np.array([[0, -angle], [angle, 0]]))
    cosine, sine = np.cos(angle), np.sin(angle)
    np.testing.assert_allclose(rotation, [[cosine, -sine], [sine, cosine]], atol=1e-12)


def test_tensorsolve_undoes_tensordot() -> None:
    a, x = matrices(2, 3, 6), matrices(6)
    (result,) = evaluate("aten.linalg_tensorsolve.default", a, np.tensordot(a, x, 1))
    np.testing.assert_allclose(result, x, atol=1e-10)


@pytest.mark.parametrize("driver", [None, "gelsd"])
def test_least_squares_leave_an_orthogonal_error(driver: str | None) -> None:
    a, right = matrices(6, 3), matrices(6, 2)
    x, residuals, rank, values = evaluate("aten.linalg_lstsq.default", a, right, driver=driver)
    error = a @ x - right
    np.testing.assert_allclose(a.T @ error, 0, atol=1e-10)
    assert rank == 3
    if driver == "gelsd":
        np.testing.assert_allclose(residuals, (error**2).sum(axis=0))
        assert values.shape == (3,)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hermitian", [False, True])
def test_ldl_solves_indefinite_systems(dtype: type, hermitian: bool) -> None:
    a = matrices(3, 6, 6, dtype=dtype)
    a = a + (adjoint(a) if hermitian else a.swapaxes(-1, -2))
    a[1, range(6), range(6)] = 0  # blocks of two rows are needed
    b = matrices(3, 6, 2, dtype=dtype)
    packed, pivots = evaluate("aten.linalg_ldl_factor.default", a, hermitian=hermitian)
    assert np.any(pivots[1] < 0)
    (x,) = evaluate("aten.linalg_ldl_solve.default", packed, pivots, b, hermitian=hermitian)
    np.testing.assert_allclose(a @ x, b, atol=1e-9)


def test_a_reported_error_makes_the_run_fail() -> None:
    builder = Builder()
    info = builder.array(np.array([0, 2], np.int32))
    builder.call("aten._linalg_check_errors.default", info, "linalg.inv", is_matrix=False)
    graph = Graph("test", (), (), tuple(builder.nodes), builder.constants)
    with pytest.raises(RuntimeCheckError, match=r"linalg\.inv"):
        run_graph(graph, [], Environment())
