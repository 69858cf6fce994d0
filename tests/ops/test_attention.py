"""Attention whose weights are dropped, which is random."""

from __future__ import annotations

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType

from .evaluation import evaluate

QUERY, KEY = np.zeros((1, 1, 4, 2), np.float32), np.zeros((1, 1, 2000, 2), np.float32)


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("scaled_dot_product_attention", (None, 0.25)),
        ("_scaled_dot_product_attention_math", (None, 0.25)),
        ("_scaled_dot_product_flash_attention_for_cpu", (0.25,)),
        ("_scaled_dot_product_efficient_attention", (None, False, 0.25)),
    ],
)
def test_dropped_weights_leave_the_mean(target: str, arguments: tuple[object, ...]) -> None:
    result = evaluate(f"aten.{target}.default", QUERY, KEY, KEY + 1, *arguments)[0]
    assert not np.array_equal(result, np.ones_like(result))
    np.testing.assert_allclose(result, 1, atol=0.1)


def test_a_mask_says_which_weights_stay() -> None:
    mask = np.arange(2000) % 4 != 0
    result, weights = evaluate(
        "aten._scaled_dot_product_attention_math.default",
        QUERY, KEY, KEY + 1, dropout_p=0.25, dropout_mask=np.broadcast_to(mask, (1, 1, 4, 2000)),
    )  # fmt: skip
    np.testing.assert_allclose(result, 1, rtol=1e-5)
    np.testing.assert_allclose(weights[..., 0], 0)


@pytest.mark.parametrize("has_weights", [False, True])
@pytest.mark.parametrize(("dtype", "bound"), [(DType.BFLOAT16, 1e-2), (DType.FLOAT16, 3e-3)])
def test_gradients_of_narrow_attention_are_rounded_once(
    dtype: DType, bound: float, has_weights: bool
) -> None:
    """Relative to the largest, and to the derivatives of the same operands in float64."""
    random = np.random.default_rng(0)
    shapes = {"q": (2, 2, 5, 8), "k": (2, 2, 7, 8), "v": (2, 2, 7, 8), "gradient": (2, 2, 5, 8)}
    amplitude = {"q": 3, "k": 3}
    narrow = {
        name: (amplitude.get(name, 1) * random.normal(size=shape)).astype(dtype.numpy)
        for name, shape in shapes.items()
    }
    q, k, v, gradient = (x.astype(np.float64) for x in narrow.values())
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(8)
    logsumexp = np.log(np.exp(scores).sum(-1))
    weights = np.exp(scores - logsumexp[..., None])
    out = weights @ v
    by_weights = gradient @ v.swapaxes(-1, -2)
    by_scores = weights * (by_weights - (gradient * out).sum(-1, keepdims=True)) / np.sqrt(8)
    wanted = (
        by_scores @ k, by_scores.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ gradient,
    )  # fmt: skip
    kept = (weights if has_weights else logsumexp).astype(np.float32)
    got = evaluate(
        "aten._scaled_dot_product_flash_attention_for_cpu_backward.default",
        narrow["gradient"], narrow["q"], narrow["k"], narrow["v"], out.astype(dtype.numpy), kept,
        0.0, False,
    )  # fmt: skip
    for left, right in zip(got, wanted, strict=True):
        assert left.dtype == dtype.numpy
        assert np.abs(left.astype(np.float64) - right).max() < bound * np.abs(right).max()
