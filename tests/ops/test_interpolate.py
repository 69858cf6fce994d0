"""Resizing, grids and patches against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from castoff.compiler.ops.base import OperatorError

from .evaluation import evaluate

RNG = np.random.default_rng(2)


def test_nearest_repeats_elements_for_whole_factors() -> None:
    x = RNG.standard_normal((1, 2, 3, 2)).astype(np.float32)
    (result,) = evaluate("aten.upsample_nearest2d.vec", x, None, [2.0, 3.0])
    np.testing.assert_array_equal(result, x.repeat(2, axis=2).repeat(3, axis=3))


def test_nearest_exact_takes_the_middle() -> None:
    x = np.arange(9, dtype=np.float32).reshape(1, 1, 9)
    (plain,) = evaluate("aten.upsample_nearest1d.default", x, [3])
    (exact,) = evaluate("aten._upsample_nearest_exact1d.default", x, [3])
    np.testing.assert_array_equal(plain, [[[0, 3, 6]]])
    np.testing.assert_array_equal(exact, [[[1, 4, 7]]])


@pytest.mark.parametrize("align_corners", [False, True])
def test_linear_interpolation_keeps_straight_lines(align_corners: bool) -> None:
    x = np.arange(5.0).reshape(1, 1, 5)
    (result,) = evaluate("aten.upsample_linear1d.default", x, [9], align_corners)
    places = np.linspace(0, 4, 9) if align_corners else (np.arange(9) + 0.5) * 5 / 9 - 0.5
    np.testing.assert_allclose(result[0, 0], np.clip(places, 0, 4))


def test_cubic_interpolation_of_an_impulse_is_the_kernel() -> None:
    x = np.zeros((1, 1, 1, 9))
    x[..., 4] = 1
    (result,) = evaluate("aten.upsample_bicubic2d.default", x, [1, 27], False)
    distance = np.abs((np.arange(27) + 0.5) / 3 - 0.5 - 4)
    near = 1.25 * distance**3 - 2.25 * distance**2 + 1
    far = -0.75 * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    expected = np.where(distance < 1, near, np.where(distance < 2, far, 0))
    np.testing.assert_allclose(result[0, 0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("name", ["bilinear", "bicubic", "lanczos"])
def test_antialiased_weights_sum_to_one(name: str) -> None:
    x = np.ones((1, 1, 11, 13))
    (result,) = evaluate(f"aten._upsample_{name}2d_aa.default", x, [4, 5], False)
    np.testing.assert_allclose(result, 1)


def test_bytes_round_after_every_dimension() -> None:
    x = np.array([[[[0, 255]]]], np.uint8)
    (result,) = evaluate("aten.upsample_bilinear2d.default", x, [1, 4], False)
    np.testing.assert_array_equal(result, [[[[0, 64, 191, 255]]]])


def identity_grid(height: int, width: int) -> np.ndarray:
    rows, columns = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
    return np.stack(np.meshgrid(columns, rows), axis=-1)[None]


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_an_identity_grid_gives_the_image(mode: int, padding: int) -> None:
    x = RNG.standard_normal((1, 3, 4, 5))
    (result,) = evaluate(
        "aten.grid_sampler_2d.default", x, identity_grid(4, 5), mode, padding, True
    )
    np.testing.assert_allclose(result, x, atol=1e-12)


@pytest.mark.parametrize(("padding", "expected"), [(0, 0.0), (1, 3.0), (2, 1.0)])
def test_places_outside_follow_the_padding_mode(padding: int, expected: float) -> None:
    x = np.arange(4.0).reshape(1, 1, 1, 4)
    grid = np.array([[[[7 / 3, 0.0]]]])  # two elements past the last
    (result,) = evaluate("aten.grid_sampler_2d.default", x, grid, 0, padding, True)
    np.testing.assert_allclose(result, [[[[expected]]]], atol=1e-12)


def test_the_identity_map_gives_the_identity_grid() -> None:
    theta = np.eye(2, 3)[None]
    (result,) = evaluate("aten.affine_grid_generator.default", theta, [1, 3, 4, 5], True)
    np.testing.assert_allclose(result, identity_grid(4, 5), atol=1e-12)


def test_columns_hold_patches_and_add_up_again() -> None:
    x = RNG.standard_normal((2, 3, 5, 6))
    arguments = ([2, 3], [1, 2], [1, 0], [2, 1])
    (columns,) = evaluate("aten.im2col.default", x, *arguments)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (0, 0)])
    first = padded[:, :, 0:2, 0:5:2].reshape(2, 18)
    np.testing.assert_array_equal(columns[:, :, 0], first)
    (counts,) = evaluate("aten.im2col.default", np.ones_like(x), *arguments)
    (added,) = evaluate("aten.col2im.default", columns, [5, 6], *arguments)
    (weights,) = evaluate("aten.col2im.default", counts, [5, 6], *arguments)
    np.testing.assert_allclose(added, x * weights)


@pytest.mark.parametrize("name", ["upsample_nearest2d", "upsample_bilinear2d"])
def test_an_infinite_gradient_goes_to_the_elements_it_came_from(name: str) -> None:
    gradient = np.ones((1, 1, 8, 8), np.float32)
    gradient[..., 0, 0] = np.inf
    corners = () if "nearest" in name else (False,)
    (result,) = evaluate(f"aten.{name}_backward.default", gradient, [8, 8], [1, 1, 4, 4], *corners)
    assert np.isinf(result[0, 0, 0, 0])
    assert np.isfinite(result[0, 0, 2:]).all() and np.isfinite(result[..., 2:]).all()


def test_gradients_of_other_sizes_than_the_result_are_refused() -> None:
    with pytest.raises(OperatorError, match="resized to"):
        evaluate(
            "aten.upsample_nearest2d_backward.default", np.ones((1, 1, 8, 8)), [8, 6], [1, 1, 4, 4]
        )


@pytest.mark.parametrize("name", ["upsample_bilinear2d", "_upsample_bilinear2d_aa"])
def test_an_image_whose_size_stays_stays_as_it_is_whatever_the_factor(name: str) -> None:
    x = RNG.normal(size=(1, 2, 5, 3)).astype(np.float32)
    (result,) = evaluate(f"aten.{name}.vec", x, None, False, [1.15, 1.3])
    np.testing.assert_array_equal(result, x)
