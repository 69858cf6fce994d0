"""`mylib::soft_shrink` for castoff: its schema, its type, its C source, its NumPy reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import castoff

SOURCE = Path(__file__).with_name("soft_shrink.c")


def infer(x: castoff.TensorType, threshold: float) -> castoff.TensorType:
    """The type of the result."""
    if x.dtype is not castoff.DType.FLOAT32:
        raise TypeError(f"soft_shrink of {x}: it takes float32")
    return x


def reference(x: np.ndarray, threshold: float) -> np.ndarray:
    """What the C source computes, with NumPy."""
    return np.sign(x) * np.maximum(np.abs(x) - np.float32(threshold), 0)


def register() -> None:
    """Makes the operator known; the entry point of a package would be this function."""
    castoff.register_custom_op(
        "mylib::soft_shrink",
        "mylib::soft_shrink(Tensor x, float threshold=0.5) -> Tensor",
        infer,
        c_source=SOURCE.read_text(encoding="utf-8"),
        reference=reference,
    )
