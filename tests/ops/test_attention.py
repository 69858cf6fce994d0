"""Attention whose weights are dropped, which is random."""

from __future__ import annotations

import numpy as np
import pytest

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
