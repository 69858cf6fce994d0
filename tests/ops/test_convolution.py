"""Convolutions against naive loops, and transposed ones as their adjoints."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from castoff.compiler.ops.base import OperatorError

from .evaluation import evaluate

RNG = np.random.default_rng(0)


def naive(
    x: np.ndarray,
    weight: np.ndarray,
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int = 1,
) -> np.ndarray:
    """The definition of a convolution, element by element."""
    x = np.pad(x, [(0, 0), (0, 0), *padding])
    kernel = weight.shape[2:]
    inner, outer = weight.shape[1], weight.shape[0] // groups
    sizes = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)
    ]
    y = np.zeros((x.shape[0], weight.shape[0], *sizes), x.dtype)
    for image, channel, *place in np.ndindex(*y.shape):
        first = channel // outer * inner
        for c, *point in product(range(inner), *map(range, kernel)):
            at = [i * s + k * d for i, s, k, d in zip(place, stride, point, dilation, strict=True)]
            source, tap = (image, first + c, *at), (channel, c, *point)
            y[image, channel][tuple(place)] += x[source] * weight[tap]
    return y


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_is_its_definition(rank: int, groups: int) -> None:
    x = RNG.standard_normal((2, 4, 7, 6, 5)[: 2 + rank])
    weight = RNG.standard_normal((6, 4 // groups, 3, 2, 2)[: 2 + rank])
    stride, dilation, pad = (2, 1, 1)[:rank], (1, 2, 1)[:rank], (1, 0, 1)[:rank]
    bias = RNG.standard_normal(6)
    (result,) = evaluate(
        f"aten.conv{rank}d.default", x, weight, bias, stride, pad, dilation, groups
    )
    expected = naive(x, weight, stride, tuple((p, p) for p in pad), dilation, groups)
    expected += bias.reshape(-1, *(1,) * rank)
    np.testing.assert_allclose(result, expected, rtol=1e-10)


def test_padding_same_keeps_the_size_and_pads_more_at_the_end() -> None:
    x, weight = RNG.standard_normal((1, 1, 9)), RNG.standard_normal((1, 1, 4))
    (result,) = evaluate("aten.conv1d.padding", x, weight, padding="same")
    np.testing.assert_allclose(result, naive(x, weight, (1,), ((1, 2),), (1,)))


def test_integers_are_convolved_exactly() -> None:
    x = RNG.integers(-9, 9, (3, 8, 8))
    weight = RNG.integers(-9, 9, (2, 3, 3, 3))
    (result,) = evaluate("aten.conv2d.default", x, weight)
    expected = naive(x[None], weight, (1, 1), ((0, 0), (0, 0)), (1, 1))[0]
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution_is_the_adjoint(groups: int) -> None:
    weight = RNG.standard_normal((4, 3, 3, 2))
    stride, padding, dilation = (2, 3), (1, 0), (2, 1)
    small = RNG.standard_normal((2, 4, 4, 3))
    (large,) = evaluate(
        "aten.conv_transpose2d.input",
        small,
        weight,
        None,
        stride,
        padding,
        (1, 2),
        groups,
        dilation,
    )
    probe = RNG.standard_normal(large.shape)
    pads = tuple((p, p) for p in padding)
    forward = naive(probe, weight, stride, pads, dilation, groups)
    assert forward.shape == small.shape
    np.testing.assert_allclose((forward * small).sum(), (probe * large).sum(), rtol=1e-10)


def test_padding_beyond_the_kernel_crops_a_transposed_convolution() -> None:
    x, weight = RNG.standard_normal((1, 1, 5)), RNG.standard_normal((1, 1, 2))
    (whole,) = evaluate("aten.conv_transpose1d.default", x, weight)
    (cropped,) = evaluate("aten.conv_transpose1d.default", x, weight, padding=(2,))
    np.testing.assert_allclose(cropped, whole[..., 2:-2])


def test_a_kernel_larger_than_the_input_is_refused() -> None:
    with pytest.raises(OperatorError, match="kernel"):
        evaluate("aten.conv1d.default", np.ones((1, 1, 2)), np.ones((1, 1, 5)))
