"""Epilogues of bfloat16 products and convolutions, written in whole vectors where their columns fill these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ml_dtypes import bfloat16

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph

from ..graphs import GraphBuilder, generated, load, reference
from ..processor import needs_level

LEVELS = ("x86-64", "x86-64-v3", "x86-64-v4", "x86-64-bf16")
VECTOR = "j += CASTOFF_VF32_LANES"


def residual_block(channels: int, activation: str = "aten.relu.default") -> Graph:
    """A convolution, its scale and shift, and a scaled image added: what ends a block of a ResNet.

    The convolution and the products are exact in bfloat16, many of the sums after them are not.
    """
    b = GraphBuilder()
    x = b.cast(b.input("x", 2, 5, 7, 6), DType.BFLOAT16)
    image = b.cast(b.input("image", 2, 7, 6, channels), DType.BFLOAT16)
    image = b.permute(image, (0, 3, 1, 2))
    random = np.random.default_rng(channels)
    weight = b.array(random.integers(-1, 2, (channels, 5, 3, 3)).astype(bfloat16))
    scale = b.array(random.choice([2, 4], (channels, 1, 1)).astype(bfloat16))
    shift = b.array(random.integers(-3, 4, (channels, 1, 1)).astype(bfloat16))
    y = b.call("aten.conv2d.default", x, weight, None, [1, 1], [1, 1])
    y = b.apply("add", b.apply("mul", y, scale), shift)
    y = b.call(activation, b.apply("add", y, b.apply("mul", image, scale)))
    return b.graph(b.permute(y, (0, 2, 3, 1)))


def images(channels: int) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    shapes = (2, 5, 7, 6), (2, 7, 6, channels)
    return [random.integers(-4, 5, shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("channels", [16, 33, 48, 80])
def test_a_residual_block_in_bfloat16_is_that_of_the_reference(
    channels: int, level: str, tmp_path: Path
) -> None:
    needs_level(level)
    graph = residual_block(channels)
    (want,) = reference(graph, *images(channels))
    (got,) = load(graph, tmp_path, target_cpu=level)(*images(channels))
    np.testing.assert_array_equal(np.asarray(got).astype(np.float32), want.astype(np.float32))


def test_nan_passes_a_bound_and_a_rounding_of_vectors(tmp_path: Path) -> None:
    graph = residual_block(32)
    x, image = images(32)
    image[1, 2, 1, 3] = np.nan
    (got,) = load(graph, tmp_path)(x, image)
    (place,) = np.argwhere(np.isnan(np.asarray(got).astype(np.float32)))
    assert place.tolist() == [1, 2, 1, 3]


def test_columns_that_fill_no_vector_keep_their_loop() -> None:
    assert VECTOR in generated(residual_block(48)).tree.units[0].text
    assert VECTOR not in generated(residual_block(33)).tree.units[0].text


def test_an_operation_without_a_vector_form_keeps_its_loop() -> None:
    text = generated(residual_block(48, "aten.gelu.default")).tree.units[0].text
    assert VECTOR not in text
