"""torchao's quantisation by blocks against its definition, written out block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ops.base import OperatorError

from .evaluation import evaluate

X = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)
BLOCKS = pytest.mark.parametrize("block", [(1, 3), (1, 6), (4, 6), (2, 2), (4, 1), (1, 1)], ids=str)


def blocks_of(x: np.ndarray, block: Sequence[int]) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """The place of each block, and its elements, a view."""
    for place in product(*(range(n // size) for n, size in zip(x.shape, block, strict=True))):
        yield place, x[tuple(slice(p * n, p * n + n) for p, n in zip(place, block, strict=True))]


def counts(block: Sequence[int]) -> tuple[int, ...]:
    return tuple(n // size for n, size in zip(X.shape, block, strict=True))


@BLOCKS
@pytest.mark.parametrize("mapping", ["ASYMMETRIC", "SYMMETRIC", "SYMMETRIC_NO_CLIPPING_ERR"])
def test_parameters_are_those_of_each_block(mapping: str, block: tuple[int, ...]) -> None:
    low, high = -8, 7
    scales, zeros = evaluate(
        "torchao.choose_qparams_affine.default", X, mapping, block, DType.INT8, low, high,
        scale_dtype=DType.FLOAT64, zero_point_dtype=DType.INT8, keepdim=True,
    )  # fmt: skip
    assert scales.shape == zeros.shape == counts(block)
    assert scales.dtype == np.float64 and zeros.dtype == np.int8
    for place, part in blocks_of(X, block):
        least, most = min(part.min(), 0), max(part.max(), 0)
        if mapping == "ASYMMETRIC":
            scale = (most - least) / 15
            zero = np.clip(low - np.round(least / scale), low, high)
        else:
            zero = 0
            symmetric = mapping == "SYMMETRIC"
            scale = max(-least, most) / 7.5 if symmetric else max(least / low, most / high)
        np.testing.assert_allclose(scales[place], scale, rtol=1e-6)
        assert zeros[place] == zero


def test_dimensions_that_lie_in_one_block_are_dropped_unless_kept() -> None:
    for block, shape in (((1, 3), (4, 2)), ((1, 6), (4,)), ((4, 6), ()), ((4, 1), (6,))):
        scales, zeros = evaluate(
            "torchao.choose_qparams_affine.default", X, "ASYMMETRIC", block, DType.UINT8
        )
        assert scales.shape == zeros.shape == shape
        assert scales.dtype == np.float32 and zeros.dtype == np.int32


@BLOCKS
@pytest.mark.parametrize("with_zero", [True, False])
def test_levels_and_back(block: tuple[int, ...], with_zero: bool) -> None:
    random = np.random.default_rng(4)
    scales = random.uniform(0.1, 0.5, counts(block)).astype(np.float32)
    zeros = random.integers(-3, 3, counts(block)).astype(np.int8) if with_zero else None
    (levels,) = evaluate(
        "torchao.quantize_affine.default", X, block, scales, zeros, DType.INT8, -8, 7
    )
    (back,) = evaluate(
        "torchao.dequantize_affine.default", levels, block, scales, zeros, DType.INT8, -8, 7
    )
    assert levels.dtype == np.int8 and back.dtype == np.float32
    wanted, real = np.empty_like(levels), np.empty_like(X)
    for (place, part), (_, level), (_, value) in zip(
        blocks_of(X, block), blocks_of(wanted, block), blocks_of(real, block), strict=True
    ):
        zero = 0 if zeros is None else int(zeros[place])
        level[...] = np.clip(np.round(part * (1 / scales[place])) + zero, -8, 7)
        value[...] = (level.astype(np.float32) - zero) * scales[place]
    np.testing.assert_array_equal(levels, wanted)
    np.testing.assert_allclose(back, real, rtol=1e-6)


def test_blocks_that_do_not_fill_a_tensor_are_refused() -> None:
    with pytest.raises(OperatorError, match="blocks"):
        evaluate(
            "torchao.quantize_affine.default", X, (1, 4), np.ones((4, 1), np.float32), None,
            DType.INT8,
        )  # fmt: skip
