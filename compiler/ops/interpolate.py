"""Changing the size of images: nearest, linear and cubic interpolation, with antialiasing too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..records import dataclass
from .base import Builder, OperatorError, target
from .convolution import per_axis
from .formula import Formula, count_up, evaluated, precomputed, size_formula
from .resample import Resample, TakeAlong

Sizes = Sequence[Dim]


@dataclass(frozen=True, slots=True)
class Scaling:
    """How positions along one dimension of the result lie in the input."""

    size: Dim
    count: Dim
    factor: float | None
    """The scale factor the program names, else that of the sizes counts."""
    align_corners: bool = False
    exact: tuple[int, ...] = ()
    """Times the size at which the result counts as just so often as large, whatever the factor."""

    def step(self, b: Builder, dtype: DType) -> Formula:
        """Input elements between neighbours of the result."""
        if self.align_corners:
            if self.count == 1:
                return Formula(b, b.full((), 0, dtype))
            gaps = size_formula(b, self.count - 1, dtype).apply("maximum", 1)
            return size_formula(b, self.size - 1, dtype) / gaps
        if self.factor is not None and self.factor > 0:
            step = Formula(b, b.full((), 1.0 / self.factor, dtype))
            for times in self.exact:
                step = self._step_where_exact(b, times, step)
            return step
        return size_formula(b, self.size, dtype) / size_formula(b, self.count, dtype)

    def _step_where_exact(self, b: Builder, times: int, otherwise: Formula) -> Formula:
        is_exact = shapes.is_equal(self.count, self.size * times)
        if is_exact is False:
            return otherwise
        step = Formula(b, b.full((), 1.0 / times, otherwise.value.dtype))
        if is_exact:
            return step
        count = size_formula(b, self.count, DType.INT64)
        size = size_formula(b, self.size * times, DType.INT64)
        return step.where(count.apply("eq", size), otherwise)

    def position(self, b: Builder, dtype: DType) -> Formula:
        """Where the elements of the result lie in the input; before its first element too."""
        index = count_up(b, self.count, dtype)
        if self.align_corners:
            return index * self.step(b, dtype)
        return self.step(b, dtype) * (index + 0.5) - 0.5


def _scalings(
    x: Value,
    output_size: Sizes | None,
    factors: Sequence[float | None],
    align_corners: bool,
    exact: tuple[int, ...] = (),
) -> list[Scaling]:
    rank = x.rank - 2
    scales = list(factors) or [None] * rank
    if output_size is None:
        if any(scale is None for scale in scales):
            raise OperatorError(f"resizing of {x}: neither sizes nor scale factors")
        output_size = [shapes.scaled(n, s or 1.0) for n, s in zip(x.shape[2:], scales, strict=True)]
    counts = per_axis(output_size, rank)
    return [
        Scaling(size, count, scale, align_corners, exact)
        for size, count, scale in zip(x.shape[2:], counts, scales, strict=True)
    ]


# ----------------------------------------------------------------------------------------- nearest


def nearest_positions(b: Builder, scaling: Scaling, offset: float, dtype: DType) -> Value:
    index = count_up(b, scaling.count, dtype)
    place = (index + offset if offset else index) * scaling.step(b, dtype)
    last = size_formula(b, scaling.size - 1, DType.INT64)
    return place.apply("floor").cast(DType.INT64).apply("minimum", last).value


def _repeated(b: Builder, x: Value, axis: int, times: int) -> Value:
    """Every element along an axis `times` times: views alone."""
    size = x.shape[axis]
    split = b.unsqueeze(x, axis + 1)
    shape = (*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
    merged = (*x.shape[:axis], size * times, *x.shape[axis + 1 :])
    return b.reshape(b.expand(split, shape), merged)


def _whole_factor(scaling: Scaling) -> int | None:
    """How often every element is repeated, where it is the same for all."""
    quotient = shapes.floordiv(scaling.count, scaling.size) if scaling.size != 0 else 0
    is_whole = isinstance(quotient, int) and quotient * scaling.size == scaling.count
    if not is_whole or not isinstance(quotient, int) or quotient < 1:
        return None
    return quotient if scaling.factor is None or scaling.factor == quotient else None


def resize_nearest(b: Builder, x: Value, scalings: Sequence[Scaling], offset: float) -> Value:
    """The element at or before the place; with `offset` 0.5, the one the place's middle is in."""
    # Places are computed in float32 at least, as for the elements themselves.
    dtype = x.dtype.compute if x.dtype.is_float else DType.FLOAT32
    for axis, scaling in enumerate(scalings, start=2):
        times = _whole_factor(scaling)
        if not shapes.is_static((scaling.size, scaling.count)):
            if times is not None:
                x = _repeated(b, x, axis, times)
                continue
            x = b.emit1(TakeAlong(axis), x, nearest_positions(b, scaling, offset, dtype))
            continue

        def build(scratch: Builder, scaling: Scaling = scaling) -> tuple[Value, ...]:
            return (nearest_positions(scratch, scaling, offset, dtype),)

        (positions,) = evaluated(build)
        if times is not None and np.array_equal(positions, np.arange(positions.size) // times):
            x = x if times == 1 else _repeated(b, x, axis, times)
        else:
            x = b.emit1(TakeAlong(axis), x, b.array(positions, "positions"))
    return x


# ---------------------------------------------------------------------------------------- weighted

Tables = tuple[Value, Value]
"""Positions (int64) and weights, both [count, taps]."""
TableMaker = Callable[[Builder, Scaling, DType], Tables]


def _linear_tables(b: Builder, scaling: Scaling, dtype: DType) -> Tables:
    place = scaling.position(b, dtype).apply("maximum", 0)
    last = size_formula(b, scaling.size - 1, DType.INT64)
    first = place.cast(DType.INT64).apply("minimum", last)
    weight = (place - first.cast(dtype)).clamp(0, 1)
    following = (first + 1).apply("minimum", last)
    return _columns(b, [first, following]), _columns(b, [1 - weight, weight])


def _columns(b: Builder, parts: list[Formula]) -> Value:
    columns = [b.unsqueeze(part.value, 1) for part in parts]
    return b.concatenate(columns, 1)


def cubic_weights(t: Formula, a: float = -0.75) -> list[Formula]:
    """The weights of the four neighbours of a place `t` past the second, by cubic convolution
    (R. Keys, "Cubic convolution interpolation for digital image processing", 1981)."""

    def near(x: Formula) -> Formula:
        return (x * (a + 2) - (a + 3)) * x * x + 1

    def far(x: Formula) -> Formula:
        return ((x * a - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _cubic_tables(b: Builder, scaling: Scaling, dtype: DType) -> Tables:
    place = scaling.position(b, dtype)
    last = size_formula(b, scaling.size - 1, DType.INT64)
    whole = place.apply("floor")
    weights = cubic_weights((place - whole).clamp(0, 1))
    start = whole.cast(DType.INT64)
    positions = [(start + shift).clamp(0, last) for shift in (-1, 0, 1, 2)]
    return _columns(b, positions), _columns(b, weights)


def _triangle(x: Formula) -> Formula:
    return (1 - x).apply("maximum", 0)


def _keys_filter(x: Formula) -> Formula:
    a = -0.5
    near = (x * (a + 2) - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    zero = Formula(x.b, x.b.full((), 0, x.value.dtype))
    return near.where(x.apply("lt", 1), far.where(x.apply("lt", 2), zero))


def _lanczos_filter(x: Formula) -> Formula:
    def sinc(y: Formula) -> Formula:
        scaled = y * math.pi
        safe = scaled.where(y.apply("ne", 0), 1)
        return (safe.apply("sin") / safe).where(y.apply("ne", 0), 1)

    zero = Formula(x.b, x.b.full((), 0, x.value.dtype))
    return (sinc(x) * sinc(x / 3)).where(x.apply("lt", 3), zero)


def _antialiased(width: int, weigh: Callable[[Formula], Formula]) -> TableMaker:
    """Tables of a filter `width` wide that is stretched where the image shrinks."""

    def tables(b: Builder, scaling: Scaling, dtype: DType) -> Tables:
        step = scaling.step(b, dtype)
        stretch = step.apply("maximum", 1)
        support = stretch * (width * 0.5)
        center = (count_up(b, scaling.count, dtype) + 0.5) * step
        size = size_formula(b, scaling.size, DType.INT64)
        first = (center - support + 0.5).cast(DType.INT64).apply("maximum", 0)
        end = (center + support + 0.5).cast(DType.INT64).apply("minimum", size)
        taps = _tap_count(scaling, width)
        offset = count_up(b, taps, DType.INT64).reshape(1, taps)
        positions = first.reshape(scaling.count, 1) + offset
        distance = positions.cast(dtype) - center.reshape(scaling.count, 1) + 0.5
        weights = weigh((distance / stretch).apply("abs"))
        weights = weights.where(positions.apply("lt", end.reshape(scaling.count, 1)), 0)
        total = Formula(b, b.reduce("sum", weights.value, (1,), keepdim=True))
        weights = weights / total.where(total.apply("ne", 0), 1)
        return positions.apply("minimum", size - 1).value, weights.value

    return tables


def _tap_count(scaling: Scaling, width: int) -> Dim:
    """An upper bound of how many elements one element of the result is made of."""
    if not scaling.align_corners and scaling.factor is not None and scaling.factor > 0:
        return math.ceil(max(1.0, 1.0 / scaling.factor) * width * 0.5) * 2 + 1
    if isinstance(scaling.size, int) and isinstance(scaling.count, int):
        step = scaling.size / max(scaling.count, 1)
        if scaling.align_corners:
            step = (scaling.size - 1) / (scaling.count - 1) if scaling.count > 1 else 0.0
        return math.ceil(max(1.0, step) * width * 0.5) * 2 + 1
    span = shapes.ceildiv(scaling.size * width, 2 * scaling.count) * 2 + 3
    return shapes.maximum(span, width + 1)


FILTERS: dict[str, TableMaker] = {
    "linear": _linear_tables,
    "cubic": _cubic_tables,
    "linear_aa": _antialiased(2, _triangle),
    "cubic_aa": _antialiased(4, _keys_filter),
    "lanczos_aa": _antialiased(6, _lanczos_filter),
}


def resize_weighted(b: Builder, x: Value, scalings: Sequence[Scaling], kind: str) -> Value:
    """Weighted sums along one dimension after the other, the last first."""
    if x.dtype is DType.UINT8:
        return _resize_bytes(b, x, scalings, kind)
    dtype = x.dtype.compute
    result = b.cast(x, dtype)
    for axis, scaling in reversed(list(enumerate(scalings, start=2))):

        def build(builder: Builder, scaling: Scaling = scaling) -> tuple[Value, ...]:
            return FILTERS[kind](builder, scaling, dtype)

        positions, weights = precomputed(b, (scaling.size, scaling.count), build)
        result = b.emit1(Resample(axis), result, positions, weights)
    return b.cast(result, x.dtype)


def _resize_bytes(b: Builder, x: Value, scalings: Sequence[Scaling], kind: str) -> Value:
    """Bytes are weighted in fixed point and rounded after every dimension, as PyTorch does."""
    result = x
    for axis, scaling in reversed(list(enumerate(scalings, start=2))):

        def build(builder: Builder, scaling: Scaling = scaling) -> tuple[Value, ...]:
            positions, weights = FILTERS[kind](builder, scaling, DType.FLOAT64)
            return (positions, *_fixed_point(builder, positions, weights))

        positions, weights, scale = precomputed(b, (scaling.size, scaling.count), build)
        total = Formula(b, b.emit1(Resample(axis), b.cast(result, DType.INT32), positions, weights))
        unit = Formula(b, scale)
        shifted = (total + unit.apply("floor_divide", 2)).apply("floor_divide", unit)
        result = shifted.clamp(0, 255).cast(DType.UINT8).value
    return result


def _fixed_point(b: Builder, positions: Value, weights: Value) -> tuple[Value, Value]:
    """(weights as 16-bit integers, what stands for 1): as many fractional bits as the largest weight allows.

    Weights of equal places are added up first, at the first of them.
    """
    places = b.iota(positions.shape[-1])
    is_equal = b.apply("eq", b.unsqueeze(positions, 2), b.unsqueeze(positions, 1))
    is_earlier = b.apply("lt", places, b.unsqueeze(places, 1))
    repeats = b.cast(b.apply("logical_and", is_equal, is_earlier), DType.INT64)
    is_first = b.apply("eq", b.reduce("sum", repeats, (2,)), b.full((), 0, DType.INT64))
    zero = b.full((), 0, DType.FLOAT64)
    sums = b.reduce("sum", b.where(is_equal, b.unsqueeze(weights, 1), zero), (2,))
    merged = Formula(b, b.where(is_first, sums, zero))
    largest = Formula(b, b.reduce("max", merged.value, (0, 1)))
    scale = Formula(b, b.full((), 1, DType.FLOAT64))
    for bits in range(1, 23):
        fits = (largest * (1 << bits) + 0.5).apply("lt", 1 << 15)
        scale = Formula(b, b.full((), 1 << bits, DType.FLOAT64)).where(fits, scale)
    scaled = merged * scale
    rounded = (scaled + Formula(b, b.full((), 0.5, DType.FLOAT64)).apply("copysign", scaled)).apply(
        "trunc"
    )
    return rounded.cast(DType.INT32).value, scale.cast(DType.INT32).value


# ----------------------------------------------------------------------------------------- targets


def _register_nearest(rank: int, name: str, offset: float) -> None:
    @target(f"aten.{name}{rank}d.vec")
    def vec(
        b: Builder, input: Value, output_size: Sizes | None,
        scale_factors: Sequence[float] | None = None,
    ) -> Value:  # fmt: skip
        scalings = _scalings(input, output_size, scale_factors or (), False)
        return resize_nearest(b, input, scalings, offset)

    def resize(b: Builder, self: Value, output_size: Sizes, *scales: float | None) -> Value:
        return resize_nearest(b, self, _scalings(self, output_size, scales, False), offset)

    _register_by_rank(f"aten.{name}{rank}d.default", rank, resize)


ByScales = Callable[..., Value]


def _register_by_rank(name: str, rank: int, resize: ByScales) -> None:
    """The overload whose scale factors are arguments of their own."""
    if rank == 1:

        @target(name)
        def one(b: Builder, self: Value, output_size: Sizes, scales: float | None = None) -> Value:
            return resize(b, self, output_size, scales)

    elif rank == 2:

        @target(name)
        def two(
            b: Builder, self: Value, output_size: Sizes, scales_h: float | None = None,
            scales_w: float | None = None,
        ) -> Value:  # fmt: skip
            return resize(b, self, output_size, scales_h, scales_w)

    else:

        @target(name)
        def three(
            b: Builder, self: Value, output_size: Sizes, scales_d: float | None = None,
            scales_h: float | None = None, scales_w: float | None = None,
        ) -> Value:  # fmt: skip
            return resize(b, self, output_size, scales_d, scales_h, scales_w)


def _register_weighted(name: str, kind: str) -> None:
    exact = () if kind == "cubic" else (1,)

    @target(f"aten.{name}.vec")
    def vec(
        b: Builder, input: Value, output_size: Sizes | None, align_corners: bool,
        scale_factors: Sequence[float] | None = None,
    ) -> Value:  # fmt: skip
        scalings = _scalings(input, output_size, scale_factors or (), align_corners, exact)
        return resize_weighted(b, input, scalings, kind)

    @target(f"aten.{name}.default")
    def resize(
        b: Builder, self: Value, output_size: Sizes, align_corners: bool,
        scales_d: float | None = None, scales_h: float | None = None,
        scales_w: float | None = None, scales: float | None = None,
    ) -> Value:  # fmt: skip
        listed = [[scales], [scales_h, scales_w], [scales_d, scales_h, scales_w]][self.rank - 3]
        scalings = _scalings(self, output_size, listed, align_corners, exact)
        return resize_weighted(b, self, scalings, kind)


OFFSETS = {"upsample_nearest": 0.0, "_upsample_nearest_exact": 0.5}
WEIGHTED = {
    "upsample_linear1d": "linear",
    "upsample_bilinear2d": "linear",
    "upsample_trilinear3d": "linear",
    "upsample_bicubic2d": "cubic",
    "_upsample_bilinear2d_aa": "linear_aa",
    "_upsample_bicubic2d_aa": "cubic_aa",
    "_upsample_lanczos2d_aa": "lanczos_aa",
}
"""What PyTorch calls the ways of resizing, without the rank where there is one of each rank."""

for _rank in (1, 2, 3):
    for _name, _offset in OFFSETS.items():
        _register_nearest(_rank, _name, _offset)
for _name, _kind in WEIGHTED.items():
    _register_weighted(_name, _kind)
