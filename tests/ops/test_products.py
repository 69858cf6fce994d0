"""Matrix products, einsum, attention and recurrent layers against plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .evaluation import evaluate

R = np.random.default_rng(0)


def one(target: str, *operands: Any, **arguments: Any) -> np.ndarray:
    (result,) = evaluate(target, *operands, **arguments)
    return result


@pytest.mark.parametrize(
    ("left", "right"),
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 1, 2, 3), (6, 3, 4))],
)
def test_matmul_takes_every_rank(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    x, y = R.normal(size=left), R.normal(size=right)
    np.testing.assert_allclose(one("aten.matmul.default", x, y), np.matmul(x, y))


def test_beta_zero_hides_nan() -> None:
    base, x = np.full((2, 2), np.nan), np.eye(2)
    result = one("aten.addmm.default", base, x, x, beta=0, alpha=3)
    np.testing.assert_array_equal(result, 3 * x)


@pytest.mark.parametrize(
    "equation",
    ["bik,bkj->bij", "ij,jk,kl->il", "ii->i", "ij->", "i,j->ij", "...ij,...jk", "bhqd,bhkd->bhqk",
     "aab,bc->ac", "ijk,ilm,njm,nlk,abc->"],
)  # fmt: skip
def test_einsum_agrees_with_numpy(equation: str) -> None:
    sizes = {letter: size for size, letter in enumerate("abcdhijklmnq", 2)}
    operands = []
    for term in equation.split("->")[0].split(","):
        letters = term.replace("...", "")
        leading = (3,) if "..." in term else ()
        operands.append(R.normal(size=(*leading, *(sizes[x] % 4 + 1 for x in letters))))
    expected = np.einsum(equation, *operands)
    np.testing.assert_allclose(one("aten.einsum.default", equation, operands), expected)


def test_einsum_stretches_sizes_of_one() -> None:
    x, y = R.normal(size=(1, 3)), R.normal(size=(4, 3))
    result = one("aten.einsum.default", "ab,ab->a", [x, y])
    np.testing.assert_allclose(result, (x * y).sum(1))


def test_other_products_agree_with_numpy() -> None:
    x, y = R.normal(size=(4, 3)), R.normal(size=(4, 3))
    np.testing.assert_allclose(one("aten.kron.default", x, y), np.kron(x, y))
    np.testing.assert_allclose(one("aten.linalg_cross.default", x, y), np.cross(x, y))
    result = one("aten.tensordot.default", x, y, [0], [0])
    np.testing.assert_allclose(result, np.tensordot(x, y, ((0,), (0,))))
    np.testing.assert_allclose(
        one("aten.linalg_multi_dot.default", [x[0], x.T, y, y[0]]), x[0] @ x.T @ y @ y[0]
    )
    square = x[:3]
    result = one("aten.linalg_matrix_power.default", square, 5)
    np.testing.assert_allclose(result, np.linalg.matrix_power(square, 5))


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, seen: np.ndarray) -> np.ndarray:
    scores = np.where(seen, q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]), -np.inf)
    top = scores.max(-1, keepdims=True)
    powers = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = powers.sum(-1, keepdims=True)
    result: np.ndarray = powers / np.where(total == 0, 1, total) @ v
    return result


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attention_takes_masks_causality_and_groups(dtype: Any) -> None:
    q = R.normal(size=(2, 4, 3, 8)).astype(dtype)
    k, v = (R.normal(size=(2, 2, 5, n)).astype(dtype) for n in (8, 6))
    wide_k, wide_v = np.repeat(k, 2, 1), np.repeat(v, 2, 1)
    target = "aten.scaled_dot_product_attention.default"
    seen = R.random((2, 1, 3, 5)) > 0.3
    seen[0, 0, 1] = False
    result = one(target, q, k, v, seen, enable_gqa=True)
    np.testing.assert_allclose(result, attend(q, wide_k, wide_v, seen), atol=1e-5)
    result = one(target, q, wide_k, wide_v, is_causal=True)
    causal = np.tri(3, 5, dtype=bool)
    np.testing.assert_allclose(result, attend(q, wide_k, wide_v, causal), atol=1e-5)


def test_layers_over_time_are_their_cells_step_by_step() -> None:
    x, h, c = R.normal(size=(4, 2, 3)), R.normal(size=(2, 2, 5)), R.normal(size=(2, 2, 5))
    for target, cell, gates in [
        ("aten.lstm.input", "aten.lstm_cell.default", 4),
        ("aten.gru.input", "aten.gru_cell.default", 3),
        ("aten.rnn_tanh.input", "aten.rnn_tanh_cell.default", 1),
    ]:
        weights = [
            [R.normal(size=s) for s in ((gates * 5, 3), (gates * 5, 5), (gates * 5,), (gates * 5,))]
            for _ in range(2)
        ]
        state: Any = [h, c] if gates == 4 else h
        results = evaluate(
            target, x, state, [*weights[0], *weights[1]], True, 1, 0.0, False, True, False
        )
        for direction, steps in enumerate([range(4), range(3, -1, -1)]):
            now = [h[direction], c[direction]]
            for t in steps:
                before: Any = now if gates == 4 else now[0]
                after = evaluate(cell, x[t], before, *weights[direction])
                now = [*after, now[1]][:2]
                part = results[0][t, :, direction * 5 : direction * 5 + 5]
                np.testing.assert_allclose(part, now[0], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(results[1][direction], now[0], rtol=1e-5, atol=1e-6)


def test_grouped_product_uses_the_matrix_of_each_row() -> None:
    rows, matrices = R.normal(size=(5, 3)), R.normal(size=(3, 3, 2))
    ends = np.array([2, 2, 4], np.int32)
    result = one("aten._grouped_mm.default", rows, matrices, ends)
    expected = np.concatenate([rows[:2] @ matrices[0], rows[2:4] @ matrices[2], np.zeros((1, 2))])
    np.testing.assert_allclose(result, expected)
