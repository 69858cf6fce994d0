"""Fourier transforms over any dimensions, with every normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..records import dataclass
from .base import Builder, OperatorError, normalize_axis, target
from .formula import Formula, count_up, size_formula
from .fourier import Fourier, FourierOfReal, FourierToReal

Sizes = Sequence[Dim]
Axes = Sequence[int]


# ---------------------------------------------------------------------------------- normalisation


@dataclass(frozen=True, slots=True)
class Scale:
    """What a transform is divided by: count ** exponent, for the product of the sizes."""

    exponent: float

    def of(self, count: Dim) -> float | None:
        """The factor, where the count is static."""
        if count == 0:
            raise OperatorError("the transform of an axis without elements is not defined")
        if self.exponent == 0:
            return 1.0
        if not isinstance(count, int):
            return None
        return 1.0 / count**self.exponent if self.exponent != 0.5 else 1.0 / math.sqrt(count)

    def apply(self, b: Builder, x: Value, count: Dim) -> Value:
        """x times the factor, for a symbolic count."""
        real = size_formula(b, count, x.dtype.real)
        divisor = real if self.exponent == 1 else real.apply("sqrt")
        return b.apply("div", x, b.cast(divisor.value, x.dtype))


_BY_NUMBER = (Scale(0), Scale(0.5), Scale(1))


def _scale_named(norm: str | None, forward: bool) -> Scale:
    if norm == "ortho":
        return Scale(0.5)
    if norm in (None, "backward"):
        return Scale(0 if forward else 1)
    if norm == "forward":
        return Scale(1 if forward else 0)
    raise OperatorError(f"norm: expected 'forward', 'backward' or 'ortho', got {norm!r}")


# -------------------------------------------------------------------------------------- transforms


def _scaled(b: Builder, count: Dim, scale: Scale, transform: Callable[[float], Value]) -> Value:
    """A transform whose last step scales, or, for a symbolic count, is followed by a division."""
    factor = scale.of(count)
    if factor is not None:
        return transform(factor)
    return scale.apply(b, transform(1.0), count)


def transform_complex(b: Builder, x: Value, axes: Axes, scale: Scale, forward: bool) -> Value:
    """Complex to complex over axes."""
    if not axes:
        return x
    count = shapes.element_count(x.shape[axis] for axis in axes)

    def run(factor: float) -> Value:
        result = x
        for number, axis in enumerate(axes):
            op = Fourier(axis, forward, factor if number == 0 else 1.0)
            result = b.emit1(op, result)
        return result

    return _scaled(b, count, scale, run)


def transform_of_real(b: Builder, x: Value, axes: Axes, scale: Scale, forward: bool) -> Value:
    """Complex to complex, of a real tensor: along the last axis the second half mirrors the first."""
    if not axes:
        return b.cast(x, x.dtype.complex)
    *outer, axis = axes
    count = shapes.element_count(x.shape[axis] for axis in axes)

    def run(factor: float) -> Value:
        half = b.emit1(FourierOfReal(axis, factor), x)
        mirrored = b.slice(half, axis, 1, x.shape[axis] - half.shape[axis])
        whole = b.concatenate([half, b.flip(_conjugate(b, mirrored), [axis])], axis)
        return transform_complex(b, whole, tuple(outer), Scale(0), True)

    result = _scaled(b, count, scale, run)
    return result if forward else _conjugate(b, result)


def transform_real(b: Builder, x: Value, axes: Axes, scale: Scale) -> Value:
    """Real to complex over axes; the last one is halved."""
    count = shapes.element_count(x.shape[axis] for axis in axes)

    def run(factor: float) -> Value:
        half = b.emit1(FourierOfReal(axes[-1], factor), x)
        return transform_complex(b, half, axes[:-1], Scale(0), True)

    return _scaled(b, count, scale, run)


def transform_to_real(b: Builder, x: Value, axes: Axes, scale: Scale, length: Dim) -> Value:
    """Complex, halved along the last axis, to real: the inverse transform."""
    count = shapes.element_count(x.shape[axis] for axis in axes[:-1]) * length

    def run(factor: float) -> Value:
        whole = transform_complex(b, x, axes[:-1], Scale(0), False)
        return b.emit1(FourierToReal(axes[-1], length, factor), whole)

    return _scaled(b, count, scale, run)


def _floating(b: Builder, x: Value) -> Value:
    """As float32 or wider."""
    if x.dtype.is_float or x.dtype.is_complex:
        return b.cast(x, x.dtype.compute)
    return b.cast(x, DType.FLOAT32)


def _complex(b: Builder, x: Value) -> Value:
    x = _floating(b, x)
    return b.cast(x, x.dtype.complex)


def _conjugate(b: Builder, x: Value) -> Value:
    result: Value = b.call("aten._conj_physical.default", x)
    return result


def _resized(b: Builder, x: Value, axes: Axes, sizes: Sizes) -> Value:
    """Cut or filled with zeros at the end of axes."""
    padding: list[tuple[Dim, Dim]] = [(0, 0)] * x.rank
    for axis, size in zip(axes, sizes, strict=True):
        padding[axis] = (0, size - x.shape[axis])
    return x if all(pair == (0, 0) for pair in padding) else b.pad(x, padding)


@dataclass(frozen=True, slots=True)
class Extent:
    """The axes of a transform and the sizes it has along them."""

    axes: tuple[int, ...]
    sizes: tuple[Dim, ...]
    is_last_given: bool


def _extent(x: Value, s: Sizes | None, dim: Axes | None) -> Extent:
    if dim is not None:
        axes = tuple(normalize_axis(axis, x.rank) for axis in dim)
    elif s is not None:
        axes = tuple(range(x.rank - len(s), x.rank))
    else:
        axes = tuple(range(x.rank))
    if len(set(axes)) != len(axes) or (s is not None and len(s) != len(axes)):
        raise OperatorError(f"transform of {x} over dimensions {dim} with sizes {s}")
    given = [-1] * len(axes) if s is None else list(s)
    sizes = tuple(
        x.shape[axis] if size == -1 else size for axis, size in zip(axes, given, strict=True)
    )
    return Extent(axes, sizes, bool(given) and given[-1] != -1)


# ------------------------------------------------------------------------------ one and more axes


def fft_over(b: Builder, x: Value, extent: Extent, norm: str | None, forward: bool) -> Value:
    """fftn or ifftn."""
    x = _resized(b, _floating(b, x), extent.axes, extent.sizes)
    transform = transform_complex if x.dtype.is_complex else transform_of_real
    return transform(b, x, extent.axes, _scale_named(norm, forward), forward)


def rfft_over(b: Builder, x: Value, extent: Extent, norm: str | None) -> Value:
    """rfftn."""
    x = _resized(b, _floating(b, x), extent.axes, extent.sizes)
    return transform_real(b, x, extent.axes, _scale_named(norm, True))


def _halved(x: Value, extent: Extent) -> tuple[Extent, Dim]:
    """The sizes a halved input has, and the size of the real result along the last axis."""
    last = extent.axes[-1]
    length = extent.sizes[-1] if extent.is_last_given else 2 * (x.shape[last] - 1)
    sizes = (*extent.sizes[:-1], shapes.floordiv(length, 2) + 1)
    return Extent(extent.axes, sizes, True), length


def irfft_over(b: Builder, x: Value, extent: Extent, norm: str | None) -> Value:
    """irfftn."""
    half, length = _halved(x, extent)
    x = _resized(b, _complex(b, x), half.axes, half.sizes)
    return transform_to_real(b, x, half.axes, _scale_named(norm, False), length)


def hfft_over(b: Builder, x: Value, extent: Extent, norm: str | None) -> Value:
    """hfftn: forward to real, of a halved hermitian input."""
    half, length = _halved(x, extent)
    x = _conjugate(b, _resized(b, _complex(b, x), half.axes, half.sizes))
    return transform_to_real(b, x, half.axes, _scale_named(norm, True), length)


def ihfft_over(b: Builder, x: Value, extent: Extent, norm: str | None) -> Value:
    """ihfftn: inverse of a real input, halved along the last axis."""
    x = _resized(b, _floating(b, x), extent.axes, extent.sizes)
    return _conjugate(b, transform_real(b, x, extent.axes, _scale_named(norm, False)))


Transform = Callable[[Builder, Value, Extent, "str | None"], Value]


def _register(name: str, transform: Transform) -> None:
    @target(f"aten.fft_{name}.default")
    def one(
        b: Builder, self: Value, n: Dim | None = None, dim: int = -1, norm: str | None = None
    ) -> Value:
        sizes = None if n is None else (n,)
        return transform(b, self, _extent(self, sizes, (dim,)), norm)

    @target(f"aten.fft_{name}2.default")
    def two(
        b: Builder, self: Value, s: Sizes | None = None, dim: Axes = (-2, -1),
        norm: str | None = None,
    ) -> Value:  # fmt: skip
        return transform(b, self, _extent(self, s, dim), norm)

    @target(f"aten.fft_{name}n.default")
    def several(
        b: Builder, self: Value, s: Sizes | None = None, dim: Axes | None = None,
        norm: str | None = None,
    ) -> Value:  # fmt: skip
        return transform(b, self, _extent(self, s, dim), norm)


_register("fft", lambda b, x, extent, norm: fft_over(b, x, extent, norm, True))
_register("ifft", lambda b, x, extent, norm: fft_over(b, x, extent, norm, False))
_register("rfft", rfft_over)
_register("irfft", irfft_over)
_register("hfft", hfft_over)
_register("ihfft", ihfft_over)


# ---------------------------------------------------------------------------------- the core forms


def _axes_of(x: Value, dim: Axes) -> tuple[int, ...]:
    return tuple(normalize_axis(axis, x.rank) for axis in dim)


@target("aten._fft_c2c.default")
def fft_c2c(b: Builder, self: Value, dim: Axes, normalization: int, forward: bool) -> Value:
    """Complex to complex; normalization 0 is none, 1 by the root of the count, 2 by the count."""
    return transform_complex(b, self, _axes_of(self, dim), _BY_NUMBER[normalization], forward)


@target("aten._fft_r2c.default")
def fft_r2c(b: Builder, self: Value, dim: Axes, normalization: int, onesided: bool) -> Value:
    """Real to complex, halved along the last dimension where `onesided`."""
    axes, scale = _axes_of(self, dim), _BY_NUMBER[normalization]
    if onesided:
        return transform_real(b, self, axes, scale)
    return transform_of_real(b, self, axes, scale, True)


@target("aten._fft_c2r.default")
def fft_c2r(b: Builder, self: Value, dim: Axes, normalization: int, last_dim_size: Dim) -> Value:
    """Complex, halved along the last dimension, to real."""
    axes = _axes_of(self, dim)
    half = shapes.floordiv(last_dim_size, 2) + 1
    x = _resized(b, self, axes[-1:], (half,))
    return transform_to_real(b, x, axes, _BY_NUMBER[normalization], last_dim_size)


# -------------------------------------------------------------------------------------- frequencies


def _shifted(b: Builder, x: Value, dim: Axes | int | None, *, extra: int) -> Value:
    axes = range(x.rank) if dim is None else (dim,) if isinstance(dim, int) else dim
    shifts = [shapes.floordiv(x.shape[axis] + extra, 2) for axis in axes]
    if not shifts:
        return x
    result: Value = b.call("aten.roll.default", x, shifts, list(axes))
    return result


@target("aten.fft_fftshift.default")
def fftshift(b: Builder, self: Value, dim: Axes | None = None) -> Value:
    """The zero frequency in the middle."""
    return _shifted(b, self, dim, extra=0)


@target("aten.fft_ifftshift.default")
def ifftshift(b: Builder, self: Value, dim: Axes | None = None) -> Value:
    """The zero frequency first again."""
    return _shifted(b, self, dim, extra=1)


def _frequency_step(b: Builder, n: Dim, d: float, dtype: DType) -> Formula:
    if isinstance(n, int):
        return Formula(b, b.full((), 1.0 / (n * d), dtype))
    one = Formula(b, b.full((), 1, dtype))
    return one / (size_formula(b, n, dtype) * d)


@target("aten.fft_fftfreq.default")
def fftfreq(
    b: Builder, n: Dim, d: float = 1.0, *, dtype: DType | None = None, layout: object = None,
    device: object = None, pin_memory: object = None,
) -> Value:  # fmt: skip
    """The frequencies of a transform's elements: 0 up, then the negative ones."""
    result = dtype or DType.FLOAT32
    index = count_up(b, n, DType.INT64)
    half = size_formula(b, shapes.floordiv(n + 1, 2), DType.INT64)
    signed = index.where(index.apply("lt", half), index - size_formula(b, n, DType.INT64))
    step = _frequency_step(b, n, d, result.compute)
    return (signed.cast(result.compute) * step).cast(result).value


@target("aten.fft_rfftfreq.default")
def rfftfreq(
    b: Builder, n: Dim, d: float = 1.0, *, dtype: DType | None = None, layout: object = None,
    device: object = None, pin_memory: object = None,
) -> Value:  # fmt: skip
    """The frequencies of the elements of a halved transform."""
    result = dtype or DType.FLOAT32
    index = count_up(b, shapes.floordiv(n, 2) + 1, result.compute)
    return (index * _frequency_step(b, n, d, result.compute)).cast(result).value
