"""Fourier transforms against the defining sum, and through their identities."""

from __future__ import annotations

import numpy as np
import pytest

from castoff.compiler.ops.base import OperatorError

from .evaluation import evaluate

RNG = np.random.default_rng(3)


def dft(x: np.ndarray, sign: int = -1) -> np.ndarray:
    """The transform of a vector by its definition."""
    n = x.shape[-1]
    result: np.ndarray = x @ np.exp(sign * 2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)
    return result


def signal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


@pytest.mark.parametrize(
    ("norm", "factor"), [(None, 1.0), ("backward", 1.0), ("ortho", 6**-0.5), ("forward", 1 / 6)]
)
def test_fft_is_the_defining_sum(norm: str | None, factor: float) -> None:
    x = signal(3, 6)
    (result,) = evaluate("aten.fft_fft.default", x, norm=norm)
    np.testing.assert_allclose(result, dft(x) * factor)


def test_a_longer_transform_fills_with_zeros_and_a_shorter_one_cuts() -> None:
    x = signal(5)
    (longer,) = evaluate("aten.fft_fft.default", x, 8)
    (shorter,) = evaluate("aten.fft_fft.default", x, 3)
    np.testing.assert_allclose(longer, dft(np.pad(x, (0, 3))))
    np.testing.assert_allclose(shorter, dft(x[:3]))


def test_integers_become_single_precision() -> None:
    (result,) = evaluate("aten.fft_rfft.default", np.arange(4))
    assert result.dtype == np.complex64
    np.testing.assert_allclose(result, [6, -2 + 2j, -2], atol=1e-6)


@pytest.mark.parametrize("length", [6, 7])
@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
def test_irfftn_undoes_rfftn(length: int, norm: str | None) -> None:
    x = RNG.standard_normal((2, 4, length))
    (spectrum,) = evaluate("aten.fft_rfftn.default", x, None, [1, 2], norm)
    assert spectrum.shape == (2, 4, length // 2 + 1)
    (back,) = evaluate("aten.fft_irfftn.default", spectrum, [4, length], [1, 2], norm)
    np.testing.assert_allclose(back, x, atol=1e-12)


def test_hfft_is_the_transform_of_a_hermitian_signal() -> None:
    half = signal(4)
    half[0] = half[0].real
    half[3] = half[3].real
    whole = np.concatenate([half, half[2:0:-1].conj()])
    (result,) = evaluate("aten.fft_hfft.default", half)
    np.testing.assert_allclose(result, dft(whole).real, atol=1e-12)
    (back,) = evaluate("aten.fft_ihfft.default", result)
    np.testing.assert_allclose(back, half, atol=1e-12)


def test_shifts_undo_each_other() -> None:
    x = np.arange(15).reshape(3, 5)
    (shifted,) = evaluate("aten.fft_fftshift.default", x)
    assert shifted[1, 2] == 0
    (back,) = evaluate("aten.fft_ifftshift.default", shifted)
    np.testing.assert_array_equal(back, x)


def test_frequencies_count_up_then_from_below() -> None:
    (result,) = evaluate("aten.fft_fftfreq.default", 5, 0.5)
    np.testing.assert_allclose(result, np.array([0, 1, 2, -2, -1]) / 2.5, rtol=1e-6)
    (half,) = evaluate("aten.fft_rfftfreq.default", 5, 0.5)
    np.testing.assert_allclose(half, np.array([0, 1, 2]) / 2.5, rtol=1e-6)


def test_short_time_transforms_are_transforms_of_pieces() -> None:
    x, window = RNG.standard_normal(20), np.hanning(8)
    (result,) = evaluate("aten.stft.default", x, 8, 3, 8, window, False, True, return_complex=True)
    pieces = np.stack([x[i : i + 8] * window for i in range(0, 13, 3)])
    np.testing.assert_allclose(result, dft(pieces)[:, :5].T, atol=1e-12)


@pytest.mark.parametrize("normalized", [False, True])
def test_istft_undoes_stft(normalized: bool) -> None:
    x, window = RNG.standard_normal((2, 32)), np.hamming(8)
    (spectrum,) = evaluate(
        "aten.stft.center", x, 8, 2, None, window, normalized=normalized, return_complex=True
    )
    (back,) = evaluate(
        "aten.istft.default", spectrum, 8, 2, None, window, normalized=normalized, length=32
    )
    np.testing.assert_allclose(back, x, atol=1e-12)


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(OperatorError, match="ortho"):
        evaluate("aten.fft_fft.default", signal(4), norm="sideways")


@pytest.mark.parametrize("name", ["fft_fft", "fft_ifft", "fft_rfft"])
def test_an_axis_without_elements_is_refused(name: str) -> None:
    with pytest.raises(OperatorError, match="without elements"):
        evaluate(f"aten.{name}.default", np.zeros((2, 0)))
