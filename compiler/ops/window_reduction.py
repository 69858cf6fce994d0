"""Primitives that reduce windows of the trailing dimensions: what pooling is made of.

A window geometry says, for one dimension, which input positions an output position sees. Windows of
all outputs have the same box of positions; those outside the input, or past the window's own end,
do not count.
"""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim
from ..kernels import Definition, Index, Scalar
from ..records import dataclass
from .base import Environment, Op, OperatorError
from .pointwise import widen


@dataclass(frozen=True, slots=True)
class RegularWindow:
    """`kernel` positions, `dilation` apart; windows `stride` apart, the first at `-padding`."""

    count: Dim
    kernel: Dim
    stride: Dim
    padding: Dim
    dilation: Dim = 1

    def position(self, window: Dim, offset: Dim, size: Dim) -> Dim:
        """The input position at an offset of a window; it may be outside the input."""
        return window * self.stride + offset * self.dilation - self.padding

    def contains(self, window: Dim, offset: Dim, size: Dim) -> Scalar:
        """Whether the offset is in the window and the input."""
        return kernels.in_range(self.position(window, offset, size), size)


@dataclass(frozen=True, slots=True)
class AdaptiveWindow:
    """The input cut into `count` windows of sizes as equal as can be; they may overlap."""

    count: Dim
    kernel: Dim
    """The size of the largest window."""

    def position(self, window: Dim, offset: Dim, size: Dim) -> Dim:
        """The input position at an offset of a window."""
        return shapes.floordiv(window * size, self.count) + offset

    def contains(self, window: Dim, offset: Dim, size: Dim) -> Scalar:
        """Whether the offset is in the window."""
        end = shapes.ceildiv((window + 1) * size, self.count)
        return kernels.compare("lt", self.position(window, offset, size), end)


WindowGeometry = RegularWindow | AdaptiveWindow


def adaptive_window(size: Dim, count: Dim) -> WindowGeometry:
    """The windows of adaptive pooling; plain ones where the sizes divide."""
    if shapes.is_equal(shapes.mod(size, count), 0) is True and count != 0:
        kernel = shapes.floordiv(size, count)
        return RegularWindow(count, kernel, kernel, 0)
    if isinstance(size, int) and isinstance(count, int):
        spans = [-(-(i + 1) * size // count) - i * size // count for i in range(count)]
        return AdaptiveWindow(count, max(spans, default=1))
    return AdaptiveWindow(count, shapes.floordiv(size - 1, count) + 2)


def window_positions(
    env: Environment, window: WindowGeometry, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Input positions [count, kernel] of a geometry, and which of them count."""
    count, kernel = env.size(window.count), env.size(window.kernel)
    index, offset = np.arange(count)[:, None], np.arange(kernel)[None]
    if isinstance(window, RegularWindow):
        positions = index * env.size(window.stride) - env.size(window.padding)
        positions = positions + offset * env.size(window.dilation)
        return positions, (positions >= 0) & (positions < size)
    positions = index * size // max(count, 1) + offset
    return positions, positions < -(-(index + 1) * size // max(count, 1))


def gathered_windows(
    env: Environment, windows: tuple[WindowGeometry, ...], x: np.ndarray, filler: object
) -> np.ndarray:
    """The windows of the trailing dimensions: [..., *counts, *kernels], filled up with `filler`."""
    lead, rank = x.ndim - len(windows), len(windows)
    for axis, window in enumerate(windows):
        size = x.shape[lead + axis]
        positions, inside = window_positions(env, window, size)
        if size == 0:
            x = np.full((*x.shape[: lead + axis], 1, *x.shape[lead + axis + 1 :]), filler, x.dtype)
            inside = np.zeros_like(inside)
        picked = np.take(x, np.clip(positions, 0, x.shape[lead + axis] - 1), axis=lead + axis)
        mask = inside.reshape(inside.shape + (1,) * (picked.ndim - lead - axis - 2))
        picked = np.where(mask, picked, np.asarray(filler, x.dtype))
        x = np.moveaxis(picked, lead + axis + 1, lead + rank + axis)
    return x


def lowest(dtype: DType) -> float | int:
    """The smallest number of a type: the neutral element of `max`."""
    if dtype.is_float:
        return float("-inf")
    return int(np.iinfo(dtype.numpy).min)


@dataclass(frozen=True, slots=True)
class WindowReduce(Op):
    """A "sum" or "max" over windows of the trailing dimensions; max propagates NaN."""

    kind: str
    windows: tuple[WindowGeometry, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(inputs[0].dtype, _pooled_shape(inputs[0], self.windows)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x = widen(inputs[0])
        box = tuple(range(-len(self.windows), 0))
        if self.kind == "sum":
            return (gathered_windows(env, self.windows, x, 0).sum(axis=box, dtype=x.dtype),)
        bound = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        return (gathered_windows(env, self.windows, x, bound).max(axis=box, initial=bound),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        bound = kernels.literal(0 if self.kind == "sum" else lowest(x.dtype), x.dtype)

        def body(index: Index, offset: Index) -> Scalar:
            inside, position = _place(self.windows, x, index, offset)
            return kernels.masked(inside, kernels.load(x, position), bound)

        return (kernels.Reduction(self.kind, tuple(w.kernel for w in self.windows), body),)


@dataclass(frozen=True, slots=True)
class WindowArgMax(Op):
    """Where, among the trailing dimensions of input 0, each window's largest element is first.

    Input 1 holds the largest elements. A NaN equals NaN.
    """

    windows: tuple[WindowGeometry, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.INT64, _pooled_shape(inputs[0], self.windows)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x, largest = inputs
        rank = len(self.windows)
        places = np.arange(int(np.prod(x.shape[-rank:]))).reshape(x.shape[-rank:])
        places = gathered_windows(env, self.windows, places, _NOWHERE)
        elements = gathered_windows(env, self.windows, x, 0)
        largest = largest.reshape(largest.shape + (1,) * rank)
        is_found = (elements == largest) | (elements != elements)
        box = tuple(range(-rank, 0))
        return (np.where(is_found, places, _NOWHERE).min(axis=box, initial=_NOWHERE),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        x, largest = inputs
        nowhere = kernels.literal(_NOWHERE, DType.INT64)
        rank = len(self.windows)

        def body(index: Index, offset: Index) -> Scalar:
            inside, position = _place(self.windows, x, index, offset)
            element = kernels.load_rounded(x, position)
            is_found = kernels.apply("eq", element, kernels.load_rounded(largest, index))
            if x.dtype.is_float:
                is_found = kernels.apply("logical_or", is_found, kernels.apply("isnan", element))
            place = shapes.flatten_index(position[-rank:], x.shape[-rank:])
            found = kernels.where(is_found, kernels.index_value(place), nowhere)
            return kernels.masked(inside, found, nowhere)

        return (kernels.Reduction("min", tuple(w.kernel for w in self.windows), body),)


_NOWHERE = (1 << 63) - 1


def _pooled_shape(x: TensorType, windows: tuple[WindowGeometry, ...]) -> shapes.Shape:
    if x.rank < len(windows):
        raise OperatorError(f"pooling over {len(windows)} dimensions of {x}")
    if any(shapes.is_less(window.count, 0) is True for window in windows):
        raise OperatorError(f"pooling of {x}: the window is larger than the input")
    return (*x.shape[: x.rank - len(windows)], *(window.count for window in windows))


def _place(
    windows: tuple[WindowGeometry, ...], x: Value, index: Index, offset: Index
) -> tuple[Scalar, Index]:
    """Whether an offset of the windows at an output index counts, and the input index it is at."""
    lead = x.rank - len(windows)
    steps = list(zip(windows, index[lead:], offset, x.shape[lead:], strict=True))
    inside = [window.contains(i, k, size) for window, i, k, size in steps]
    position = tuple(window.position(i, k, size) for window, i, k, size in steps)
    return kernels.all_of(inside), (*index[:lead], *position)


@dataclass(frozen=True, slots=True)
class OverlapAdd(Op):
    """Windows [..., *kernel, *count] added where they lie in [..., *sizes]."""

    windows: tuple[RegularWindow, ...]
    sizes: tuple[Dim, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        box = (*(w.kernel for w in self.windows), *(w.count for w in self.windows))
        lead = x.rank - len(box)
        if lead < 0 or any(
            shapes.is_equal(size, expected) is False
            for size, expected in zip(x.shape[lead:], box, strict=True)
        ):
            raise OperatorError(f"overlapping sum of {x} as windows {list(box)}")
        return (TensorType(x.dtype, (*x.shape[:lead], *self.sizes)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x = widen(inputs[0])
        rank, sizes = len(self.windows), env.shape(self.sizes)
        lead = x.shape[: x.ndim - 2 * rank]
        result = np.zeros((int(np.prod(lead)), *sizes), x.dtype)
        flat = x.reshape(-1, *x.shape[len(lead) :])
        positions = [
            window_positions(env, w, size) for w, size in zip(self.windows, sizes, strict=True)
        ]
        for offset in np.ndindex(*x.shape[len(lead) : len(lead) + rank]):
            kept = [inside[:, k] for (_, inside), k in zip(positions, offset, strict=True)]
            where = [p[keep, k] for (p, _), keep, k in zip(positions, kept, offset, strict=True)]
            source, place = (slice(None), *np.ix_(*kept)), (slice(None), *np.ix_(*where))
            window = (slice(None), *offset)
            result[place] += flat[window][source]
        return (result.reshape(*lead, *sizes),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        rank = len(self.windows)
        zero = kernels.literal(0, x.dtype)

        def body(index: Index, offset: Index) -> Scalar:
            lead, place = index[: len(index) - rank], index[len(index) - rank :]
            conditions, window_index = [], []
            for window, i, k in zip(self.windows, place, offset, strict=True):
                start = i + window.padding - k * window.dilation
                number = shapes.floordiv(start, window.stride)
                conditions.append(kernels.compare("eq", shapes.mod(start, window.stride), 0))
                conditions.append(kernels.in_range(number, window.count))
                window_index.append(number)
            element = kernels.load(x, (*lead, *offset, *window_index))
            return kernels.masked(kernels.all_of(conditions), element, zero)

        return (kernels.Reduction("sum", tuple(w.kernel for w in self.windows), body),)
