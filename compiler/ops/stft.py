"""Short-time Fourier transforms and their inverse."""

from __future__ import annotations

from ..ir import shapes
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..records import dataclass
from .base import Builder, OperatorError, target
from .fft import Scale, transform_complex, transform_real, transform_to_real
from .window_reduction import OverlapAdd, RegularWindow
from .windows import Unfold


def _window(b: Builder, window: Value | None, like: Value, n_fft: int, length: int) -> Value | None:
    """The window with zeros on both sides up to `n_fft`; None where it is ones throughout."""
    if window is None:
        if length == n_fft:
            return None
        window = b.full((length,), 1, like.dtype)
    if length == n_fft:
        return window
    before = (n_fft - length) // 2
    return b.pad(window, [(before, n_fft - length - before)])


@dataclass(frozen=True, slots=True)
class Frames:
    """How a signal is cut: pieces of `n_fft`, `hop` apart, under a window of `length`."""

    n_fft: int
    hop: int
    length: int


def _frames(n_fft: int, hop_length: int | None, win_length: int | None) -> Frames:
    frames = Frames(n_fft, n_fft // 4 if hop_length is None else hop_length, win_length or n_fft)
    if frames.hop < 1 or not 0 < frames.length <= n_fft:
        raise OperatorError(f"short-time transform of {n_fft} with {hop_length}, {win_length}")
    return frames


def _transformed(
    b: Builder, x: Value, frames: Frames, window: Value | None, scale: Scale, onesided: bool | None
) -> Value:
    """The spectrum [batch, frequency, frame] of signals [batch, time]."""
    pieces = b.emit1(Unfold(1, frames.n_fft, frames.hop), x)
    taper = _window(b, window, x, frames.n_fft, frames.length)
    if taper is not None:
        dtype = b.result_type(pieces, taper)
        pieces = b.apply("mul", b.cast(pieces, dtype), b.cast(taper, dtype))
    is_complex = pieces.dtype.is_complex
    if is_complex or onesided is False:
        pieces = b.cast(pieces, pieces.dtype.complex) if not is_complex else pieces
        spectrum = transform_complex(b, pieces, (2,), scale, True)
    else:
        spectrum = transform_real(b, pieces, (2,), scale)
    return b.transpose(spectrum, 1, 2)


@target("aten.stft.default")
def stft(
    b: Builder,
    self: Value,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Value | None = None,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Value:
    """Transforms of pieces of a signal [batch, time]; pairs of reals unless `return_complex`."""
    if align_to_window:
        raise OperatorError("stft with align_to_window=True")
    frames = _frames(n_fft, hop_length, win_length)
    x = b.unsqueeze(self, 0) if self.rank == 1 else self
    result = _transformed(b, x, frames, window, Scale(0.5 if normalized else 0), onesided)
    result = b.squeeze(result, 0) if self.rank == 1 else result
    if return_complex or (return_complex is None and self.dtype.is_complex):
        return result
    pairs: Value = b.call("aten.view_as_real.default", result)
    return pairs


@target("aten.stft.center")
def stft_center(
    b: Builder,
    self: Value,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Value | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Value:
    """As `stft`, of a signal padded so that the pieces are centred on their times."""
    x = self
    if center:
        half = n_fft // 2
        x = b.unsqueeze(self, 0) if self.rank == 1 else self
        x = b.call("aten.pad.default", x, [half, half], pad_mode)
        x = b.squeeze(x, 0) if self.rank == 1 else x
    return stft(
        b, x, n_fft, hop_length, win_length, window, normalized, onesided, return_complex,
        align_to_window,
    )  # fmt: skip


@target("aten.istft.default")
def istft(
    b: Builder,
    self: Value,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Value | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: Dim | None = None,
    return_complex: bool = False,
) -> Value:
    """The signal of a spectrum: pieces added where they lie, divided by the windows' squares."""
    frames = _frames(n_fft, hop_length, win_length)
    x = b.unsqueeze(self, 0) if self.rank == 2 else self
    x = b.transpose(x, 1, 2)
    scale = Scale(0.5 if normalized else 1)
    if return_complex:
        pieces = transform_complex(b, x, (2,), scale, False)
    else:
        is_half = onesided if onesided is not None else x.shape[2] != n_fft
        half = x if is_half else b.slice(x, 2, 0, n_fft // 2 + 1)
        pieces = transform_to_real(b, half, (2,), scale, n_fft)
    taper = _window(b, window, pieces, n_fft, frames.length)
    weight = b.full((n_fft,), 1, pieces.dtype) if taper is None else b.cast(taper, pieces.dtype)
    count = pieces.shape[1]
    total = n_fft + frames.hop * (count - 1)
    overlap = OverlapAdd((RegularWindow(count, n_fft, frames.hop, 0),), (total,))
    added = b.emit1(overlap, b.transpose(b.apply("mul", pieces, weight), 1, 2))
    squares = b.expand(b.unsqueeze(b.apply("mul", weight, weight), 1), (n_fft, count))
    envelope = b.emit1(overlap, squares)
    start: Dim = n_fft // 2 if center else 0
    if length is not None:
        kept = shapes.minimum(length, total - start)
    else:
        kept = total - 2 * start
    signal = b.apply("div", b.slice(added, 1, start, kept), b.slice(envelope, 0, start, kept))
    if length is not None:
        signal = b.pad(signal, [(0, 0), (0, length - kept)])
    return b.squeeze(signal, 0) if self.rank == 2 else signal
