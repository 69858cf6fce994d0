"""Losses and quantisation against their definitions, written out."""

from __future__ import annotations

import numpy as np
import pytest

from .evaluation import evaluate

RANDOM = np.random.default_rng(1)
SCORES = RANDOM.normal(size=(4, 3))
LABELS = np.array([2, 0, -100, 1])
WEIGHT = np.array([0.5, 1.0, 2.0])


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(1, keepdims=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_against_labels(smoothing: float, weighted: bool) -> None:
    weight = WEIGHT if weighted else None
    (loss,) = evaluate(
        "aten.cross_entropy_loss.default", SCORES, LABELS, weight, label_smoothing=smoothing
    )
    logs, factors = log_softmax(SCORES), WEIGHT if weighted else np.ones(3)
    rows = [i for i in range(4) if LABELS[i] >= 0]
    total = sum(factors[LABELS[i]] for i in rows)
    hit = -sum(factors[LABELS[i]] * logs[i, LABELS[i]] for i in rows)
    spread = -sum((factors * logs[i]).sum() for i in rows)
    expected = ((1 - smoothing) * hit + smoothing / 3 * spread) / total
    np.testing.assert_allclose(loss, expected)


def test_cross_entropy_against_probabilities() -> None:
    target = np.full((4, 3), 1 / 3)
    (loss,) = evaluate("aten.cross_entropy_loss.default", SCORES, target)
    np.testing.assert_allclose(loss, -log_softmax(SCORES).mean())


def test_binary_cross_entropies_agree() -> None:
    target = RANDOM.uniform(size=(4, 3))
    (plain,) = evaluate("aten.binary_cross_entropy.default", 1 / (1 + np.exp(-SCORES)), target)
    (logits,) = evaluate("aten.binary_cross_entropy_with_logits.default", SCORES, target)
    np.testing.assert_allclose(plain, logits)


def test_multilabel_margin_loss_stops_at_the_first_negative_label() -> None:
    x = np.array([[0.1, 0.2, 0.4, 0.8]])
    target = np.array([[3, 0, -1, 1]])
    (loss,) = evaluate("aten.multilabel_margin_loss.default", x, target)
    expected = sum(max(0.0, 1 - (x[0, t] - x[0, i])) for t in (3, 0) for i in (1, 2)) / 4
    np.testing.assert_allclose(loss, expected)


def test_multi_margin_loss_leaves_the_label_out() -> None:
    labels = np.array([2, 0, 1, 1])
    (loss,) = evaluate("aten.multi_margin_loss.default", SCORES, labels, 2, 0.5)
    terms = [
        max(0.0, 0.5 - SCORES[n, y] + SCORES[n, c]) ** 2 / 3
        for n, y in enumerate(labels)
        for c in range(3)
        if c != y
    ]
    np.testing.assert_allclose(loss, sum(terms) / 4)


def test_quantisation_and_back_is_within_half_a_step() -> None:
    x = RANDOM.uniform(-1, 1, 100).astype(np.float32)
    scale, zero = 2 / 255, 128
    (levels,) = evaluate(
        "quantized_decomposed.quantize_per_tensor.default", x, scale, zero, 0, 255,
        dtype=_uint8(),
    )  # fmt: skip
    (back,) = evaluate(
        "quantized_decomposed.dequantize_per_tensor.default", levels, scale, zero, 0, 255,
        dtype=_uint8(),
    )  # fmt: skip
    assert np.abs(back - x).max() <= scale / 2 + 1e-6


def _uint8() -> object:
    from castoff.compiler.ir.dtypes import DType

    return DType.UINT8


def test_random_numbers_are_reproducible_and_spread() -> None:
    (first,), (again,) = (evaluate("aten.rand.default", size=(1000,)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.min() >= 0 and first.max() < 1 and abs(first.mean() - 0.5) < 0.05
    (normal,) = evaluate("aten.randn.default", size=(1000,))
    assert abs(normal.mean()) < 0.15 and abs(normal.std() - 1) < 0.1
    (order,) = evaluate("aten.randint.low", high=-3, size=(1000,), low=-5)
    assert set(order.tolist()) == {-5, -4}
