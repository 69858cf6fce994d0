"""Reading images at computed places: grids of coordinates, and affine ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..records import dataclass
from .base import Builder, OperatorError, target
from .formula import Formula, RoundedFormula, count_up, size_formula
from .interpolate import cubic_weights
from .resample import TakePoints

_BILINEAR, _NEAREST, _BICUBIC = range(3)
_ZEROS, _BORDER, _REFLECTION = range(3)


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of the sampled image, and how coordinates outside it are treated.

    Places are computed with the precision of the grid and in PyTorch's order, which is another one for planes than for
    volumes: the last bit decides which of two elements is the nearest.
    """

    size: Dim
    padding: int
    align_corners: bool
    is_of_plane: bool

    def place(self, coordinate: Formula) -> Formula:
        """A coordinate in [-1, 1] as a place among the elements."""
        size = size_formula(coordinate.b, self.size, coordinate.value.dtype)
        if self.is_of_plane:
            scale = (size - 1 if self.align_corners else size) / 2
            scaled = (coordinate + 1) * scale
            return scaled if self.align_corners else scaled - 0.5
        if self.align_corners:
            return (coordinate + 1) / 2 * (size - 1)
        return ((coordinate + 1) * size - 1) / 2

    def padded(self, place: Formula) -> Formula:
        """A place moved inside as the padding mode says."""
        if self.padding == _ZEROS:
            return place
        last = size_formula(place.b, self.size - 1, place.value.dtype)
        if self.padding == _REFLECTION:
            place = self._reflected(place)
        return place.clamp(0, last)

    def _reflected(self, place: Formula) -> Formula:
        """Mirrored at the edges: at the middles of the outer elements where corners are aligned."""
        low = 0.0 if self.align_corners else -0.5
        span = size_formula(place.b, self.size, place.value.dtype)
        span = span - 1 if self.align_corners else span
        zero = Formula(place.b, place.b.full((), 0, place.value.dtype))
        is_point = span.apply("eq", 0)
        safe = (zero + 1).where(is_point, span)
        distance = (place - low).apply("abs")
        extra = distance.apply("fmod", safe)
        flips = (distance / safe).apply("floor")
        is_even = flips.apply("fmod", 2).apply("eq", 0)
        mirrored = (extra + low).where(is_even, span - extra + low)
        return zero.where(is_point, mirrored)


Weighted = list[tuple[Formula, Formula | None]]
"""Places along one dimension, whole numbers, with their weights; None is 1."""


def _plain(place: Formula) -> Formula:
    """The place as weights are computed from it: no step is rounded."""
    return Formula(place.b, place.value)


def _nearest_taps(axis: Axis, coordinate: Formula) -> Weighted:
    return [(_plain(axis.padded(axis.place(coordinate))).apply("round"), None)]


def _linear_taps(axis: Axis, coordinate: Formula) -> Weighted:
    place = _plain(axis.padded(axis.place(coordinate)))
    first = place.apply("floor")
    weight = place - first
    return [(first, 1 - weight), (first + 1, weight)]


def _cubic_taps(axis: Axis, coordinate: Formula) -> Weighted:
    place = _plain(axis.place(coordinate))
    first = place.apply("floor")
    weights = cubic_weights(place - first)
    return [
        (axis.padded(first + shift), weight)
        for shift, weight in zip((-1, 0, 1, 2), weights, strict=True)
    ]


_TAPS: tuple[Callable[[Axis, Formula], Weighted], ...] = (_linear_taps, _nearest_taps, _cubic_taps)


def sample_grid(
    b: Builder, x: Value, grid: Value, mode: int, padding: int, align_corners: bool
) -> Value:
    """x [N, C, *sizes] at the places grid [N, *, dimensions] names, the last dimension first."""
    rank = x.rank - 2
    if grid.rank != x.rank or grid.shape[-1] != rank or mode not in range(3 if rank == 2 else 2):
        raise OperatorError(f"sampling of {x} at {grid} with interpolation {mode}")
    dtype = x.dtype.compute
    taps = []
    for axis, size in enumerate(x.shape[2:]):
        chosen = b.select(grid, -1, rank - 1 - axis)
        coordinate = RoundedFormula(b, b.cast(chosen, chosen.dtype.compute), chosen.dtype)
        taps.append(_TAPS[mode](Axis(size, padding, align_corners, rank == 2), coordinate))
    image = b.cast(x, dtype)
    total: Formula | None = None
    for corner in product(*taps):
        positions = [place.cast(DType.INT64).value for place, _ in corner]
        term = Formula(b, b.emit1(TakePoints(), image, *positions))
        for _, weight in corner:
            if weight is not None:
                term = term * Formula(b, b.unsqueeze(weight.value, 1))
        total = term if total is None else total + term
    assert total is not None, "there is a corner"
    return total.cast(x.dtype).value


@target(
    "aten.grid_sampler.default", "aten.grid_sampler_2d.default", "aten.grid_sampler_3d.default",
    "aten._grid_sampler_2d_cpu_fallback.default",
)  # fmt: skip
def grid_sampler(
    b: Builder,
    input: Value,
    grid: Value,
    interpolation_mode: int,
    padding_mode: int,
    align_corners: bool,
) -> Value:
    return sample_grid(b, input, grid, interpolation_mode, padding_mode, align_corners)


def _coordinates(b: Builder, size: Dim, align_corners: bool, dtype: DType) -> Formula:
    """Evenly spaced numbers in [-1, 1]: the edges, or the middles of `size` equal parts."""
    if size == 1:
        return Formula(b, b.full((1,), 0, dtype))
    inner = DType.FLOAT32 if dtype.is_integer else dtype
    index = count_up(b, size, inner)
    last = size_formula(b, size - 1, inner)
    if not isinstance(size, int):  # a single place, should it be one, lies in the middle
        several = size_formula(b, shapes.minimum(size - 1, 1), inner)
        corner = (index * 2 / size_formula(b, shapes.maximum(size - 1, 1), inner) - 1) * several
    else:
        corner = index * 2 / last - 1
    if dtype.is_integer:  # PyTorch has the grid in the type of the maps
        corner = Formula(b, b.cast(b.cast(corner.value, dtype), inner))
    if not align_corners:
        corner = corner * last / size_formula(b, size, inner)
    return Formula(b, b.cast(corner.value, dtype))


@target("aten.affine_grid_generator.default")
def affine_grid_generator(
    b: Builder, theta: Value, size: Sequence[Dim], align_corners: bool
) -> Value:
    """Places [N, *sizes, dimensions] of a grid moved by the affine maps theta [N, d, d + 1]."""
    rank = len(size) - 2
    sizes = tuple(size[2:])
    dtype = theta.dtype.compute
    matrix = b.cast(theta, dtype)
    rows: list[Value] = []
    for row in range(rank):
        total: Formula | None = None
        for column in range(rank + 1):
            entry = b.select(b.select(matrix, 1, row), 1, column)
            term = Formula(b, b.reshape(entry, (theta.shape[0], *(1,) * rank)))
            if column < rank:
                axis = rank - 1 - column
                line = _coordinates(b, sizes[axis], align_corners, dtype)
                shape = tuple(n if i == axis else 1 for i, n in enumerate(sizes))
                term = term * line.reshape(1, *shape)
            total = term if total is None else total + term
        assert total is not None, "a map has at least a translation"
        rows.append(b.unsqueeze(b.expand(total.value, (theta.shape[0], *sizes)), rank + 1))
    stacked = b.concatenate(rows, len(sizes) + 1)
    return b.cast(stacked, theta.dtype)
