"""Pooling: largest and mean elements of windows, adaptive and fractional forms, inverses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from .base import Builder, OperatorError, target
from .convolution import per_axis
from .window_reduction import (
    AdaptiveWindow,
    OverlapAdd,
    RegularWindow,
    WindowArgMax,
    WindowGeometry,
    WindowReduce,
    adaptive_window,
)  # fmt: skip

Sizes = Sequence[Dim]


def pooled_count(
    size: Dim, kernel: Dim, stride: Dim, padding: Dim, dilation: Dim, ceil_mode: bool
) -> Dim:
    """How many windows there are; with `ceil_mode` the last may reach past the padding."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return shapes.floordiv(room, stride) + 1
    count = shapes.ceildiv(room, stride) + 1
    return count - 1 + shapes.less((count - 1) * stride, size + padding)


def regular_windows(
    x: Value,
    rank: int,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes = (1,),
    ceil_mode: bool = False,
) -> tuple[RegularWindow, ...]:
    """The windows of a pooling operator's arguments; no stride means the kernel's size."""
    if x.rank not in (rank + 1, rank + 2):
        raise OperatorError(f"pooling over {rank} dimensions of {x}")
    kernels = per_axis(kernel_size, rank)
    steps = per_axis(stride, rank) if isinstance(stride, int) or len(stride) else kernels
    arguments = zip(
        x.shape[-rank:],
        kernels,
        steps,
        per_axis(padding, rank),
        per_axis(dilation, rank),
        strict=True,
    )
    return tuple(
        RegularWindow(pooled_count(size, k, s, p, d, ceil_mode), k, s, p, d)
        for size, k, s, p, d in arguments
    )


def largest(b: Builder, x: Value, windows: tuple[WindowGeometry, ...]) -> Value:
    """The largest element of every window."""
    return b.emit1(WindowReduce("max", windows), x)


def largest_with_places(
    b: Builder, x: Value, windows: tuple[WindowGeometry, ...]
) -> tuple[Value, Value]:
    """The largest element of every window, and where it is among the pooled dimensions."""
    values = largest(b, x, windows)
    return values, b.emit1(WindowArgMax(windows), x, values)


# --------------------------------------------------------------------------------------- max pools


def _register_max_pool(rank: int) -> None:
    @target(
        f"aten.max_pool{rank}d.default", *(["aten.mkldnn_max_pool2d.default"] if rank == 2 else [])
    )
    def max_pool(
        b: Builder, self: Value, kernel_size: Sizes, stride: Sizes = (), padding: Sizes = (0,),
        dilation: Sizes = (1,), ceil_mode: bool = False,
    ) -> Value:  # fmt: skip
        windows = regular_windows(self, rank, kernel_size, stride, padding, dilation, ceil_mode)
        return largest(b, self, windows)

    @target(f"aten.max_pool{rank}d_with_indices.default")
    def max_pool_with_indices(
        b: Builder, self: Value, kernel_size: Sizes, stride: Sizes = (), padding: Sizes = (0,),
        dilation: Sizes = (1,), ceil_mode: bool = False,
    ) -> tuple[Value, Value]:  # fmt: skip
        windows = regular_windows(self, rank, kernel_size, stride, padding, dilation, ceil_mode)
        return largest_with_places(b, self, windows)

    @target(f"aten.adaptive_max_pool{rank}d.default")
    def adaptive_max_pool(b: Builder, self: Value, output_size: Sizes) -> tuple[Value, Value]:
        return largest_with_places(b, self, _adaptive_windows(self, rank, output_size))


for _rank in (1, 2, 3):
    _register_max_pool(_rank)


def _flat(b: Builder, x: Value, rank: int) -> Value:
    """With the pooled dimensions as one."""
    return b.reshape(x, (*x.shape[:-rank], shapes.element_count(x.shape[-rank:])))


def _scatter_planes(b: Builder, sizes: Sizes, x: Value, indices: Value, name: str) -> Value:
    """Elements put ("scatter.src") or added ("scatter_add.default") at places of zero planes."""
    rank = len(sizes)
    zeros = b.full((*x.shape[:-rank], shapes.element_count(sizes)), 0, x.dtype)
    flat: Value = b.call(f"aten.{name}", zeros, -1, _flat(b, indices, rank), _flat(b, x, rank))
    return b.reshape(flat, (*x.shape[:-rank], *sizes))


@target("aten.max_unpool2d.default")
def max_unpool2d(b: Builder, self: Value, indices: Value, output_size: Sizes) -> Value:
    """The elements at the places their pooling noted, zeros elsewhere."""
    return _scatter_planes(b, per_axis(output_size, 2), self, indices, "scatter.src")


@target("aten.max_unpool3d.default")
def max_unpool3d(
    b: Builder, self: Value, indices: Value, output_size: Sizes, stride: Sizes, padding: Sizes
) -> Value:
    """As `max_unpool2d`, for volumes."""
    return _scatter_planes(b, per_axis(output_size, 3), self, indices, "scatter.src")


@target(
    "aten.max_pool2d_with_indices_backward.default",
    "aten.max_pool3d_with_indices_backward.default",
)
def max_pool_backward(
    b: Builder, grad_output: Value, self: Value, kernel_size: Sizes, stride: Sizes, padding: Sizes,
    dilation: Sizes, ceil_mode: bool, indices: Value,
) -> Value:  # fmt: skip
    """Gradients added at the places of the largest elements."""
    sizes = self.shape[-len(kernel_size) :]
    return _scatter_planes(b, sizes, grad_output, indices, "scatter_add.default")


def _register_adaptive_max_pool_backward(rank: int) -> None:
    @target(f"aten.adaptive_max_pool{rank}d_backward.default")
    def backward(b: Builder, grad_output: Value, self: Value, indices: Value) -> Value:
        """Gradients added at the places of the largest elements."""
        return _scatter_planes(b, self.shape[-rank:], grad_output, indices, "scatter_add.default")


for _rank in (2, 3):
    _register_adaptive_max_pool_backward(_rank)


# ----------------------------------------------------------------------------------- average pools


def _span_lengths(
    b: Builder, window: WindowGeometry, size: Dim, padded: bool, dtype: DType
) -> Value:
    """How many positions of each window of one dimension count; with `padded`, padding does too."""
    count = window.count
    if isinstance(window, AdaptiveWindow):
        indices = range(count) if isinstance(count, int) else ()
        starts = [shapes.floordiv(i * size, count) for i in indices]
        ends = [shapes.ceildiv((i + 1) * size, count) for i in indices]
        spans = [end - start for start, end in zip(starts, ends, strict=True)]
        if isinstance(count, int) and shapes.is_static(spans):
            return b.array(np.array(spans, dtype.compute.numpy), "window_sizes")
        index, sizes, counts = b.iota(count), b.dim(size), b.dim(count)
        begin = b.apply("floor_divide", b.apply("mul", index, sizes), counts)
        following = b.apply("mul", b.apply("add", index, b.dim(1)), sizes)
        end = b.apply("floor_divide", b.apply("add", following, b.dim(count - 1)), counts)
        return b.cast(b.apply("sub", end, begin), dtype)
    low, high = (-window.padding, size + window.padding) if padded else (0, size)
    first = b.apply("mul", b.iota(count), b.dim(window.stride))
    first = b.apply("sub", first, b.dim(window.padding))
    last = b.apply("minimum", b.apply("add", first, b.dim(window.kernel)), b.dim(high))
    length = b.apply("sub", last, b.apply("maximum", first, b.dim(low)))
    return b.cast(b.apply("maximum", length, b.dim(1)), dtype)


def _are_full(window: WindowGeometry, size: Dim, padded: bool) -> bool:
    """Whether every position of every window counts."""
    if isinstance(window, AdaptiveWindow):
        return False
    end = (window.count - 1) * window.stride + window.kernel
    if padded:
        return shapes.is_less(size + 2 * window.padding, end) is False
    return window.padding == 0 and shapes.is_less(size, end) is False


def _divisor(
    b: Builder, sizes: Sizes, windows: tuple[WindowGeometry, ...], padded: bool, dtype: DType
) -> Value:
    """How many elements each window has, broadcastable to the result."""
    total: Value | None = None
    whole: Dim = 1
    for axis, (window, size) in enumerate(zip(windows, sizes, strict=True)):
        if _are_full(window, size, padded):
            whole = whole * window.kernel
            continue
        lengths = _span_lengths(b, window, size, padded, dtype)
        lengths = b.reshape(lengths, (window.count, *(1,) * (len(windows) - axis - 1)))
        total = lengths if total is None else b.apply("mul", total, lengths)
    if total is None:
        return b.dim(whole, dtype)
    return total if whole == 1 else b.apply("mul", total, b.dim(whole, dtype))


def mean_of_windows(
    b: Builder,
    x: Value,
    windows: tuple[WindowGeometry, ...],
    *,
    padded: bool = False,
    divisor: int | None = None,
) -> Value:
    """The mean of every window; integers are divided with truncation."""
    inner = x.dtype.compute
    total = b.emit1(WindowReduce("sum", windows), b.cast(x, inner))
    if divisor is not None:
        count = b.full((), divisor, inner)
    else:
        count = _divisor(b, x.shape[-len(windows) :], windows, padded, inner)
    return b.cast(b.apply("trunc_divide" if inner.is_integer else "div", total, count), x.dtype)


def _register_average_pool(rank: int) -> None:
    @target(f"aten.avg_pool{rank}d.default")
    def avg_pool(
        b: Builder, self: Value, kernel_size: Sizes, stride: Sizes = (), padding: Sizes = (0,),
        ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Value:  # fmt: skip
        windows = regular_windows(self, rank, kernel_size, stride, padding, (1,), ceil_mode)
        return mean_of_windows(b, self, windows, padded=count_include_pad, divisor=divisor_override)

    names = [f"aten.adaptive_avg_pool{rank}d.default", f"aten._adaptive_avg_pool{rank}d.default"]
    if rank == 2:
        names.append("aten.mkldnn_adaptive_avg_pool2d.default")

    @target(*names)
    def adaptive_avg_pool(b: Builder, self: Value, output_size: Sizes) -> Value:
        return mean_of_windows(b, self, _adaptive_windows(self, rank, output_size))


for _rank in (1, 2, 3):
    _register_average_pool(_rank)


def _adaptive_windows(x: Value, rank: int, output_size: Sizes) -> tuple[WindowGeometry, ...]:
    if x.rank not in (rank + 1, rank + 2):
        raise OperatorError(f"pooling over {rank} dimensions of {x}")
    counts = per_axis(output_size, rank)
    return tuple(
        adaptive_window(size, count) for size, count in zip(x.shape[-rank:], counts, strict=True)
    )


@target("aten.avg_pool2d_backward.default", "aten.avg_pool3d_backward.default")
def avg_pool_backward(
    b: Builder, grad_output: Value, self: Value, kernel_size: Sizes, stride: Sizes, padding: Sizes,
    ceil_mode: bool, count_include_pad: bool, divisor_override: int | None,
) -> Value:  # fmt: skip
    """Every gradient shared out equally over its window."""
    rank = len(kernel_size)
    windows = regular_windows(self, rank, kernel_size, stride, padding, (1,), ceil_mode)
    sizes = self.shape[-rank:]
    inner = self.dtype.compute
    if divisor_override is not None:
        count = b.full((), divisor_override, inner)
    else:
        count = _divisor(b, sizes, windows, count_include_pad, inner)
    mode = "trunc" if inner.is_integer else None
    share: Value = b.call("aten.div.Tensor_mode", b.cast(grad_output, inner), count, mode)
    lead, counts = share.shape[:-rank], share.shape[-rank:]
    box = tuple(window.kernel for window in windows)
    spread = b.expand(b.reshape(share, (*lead, *(1,) * rank, *counts)), (*lead, *box, *counts))
    return b.cast(b.emit1(OverlapAdd(windows, sizes), spread), self.dtype)


# -------------------------------------------------------------------------------- fractional pools


def _fractional_starts(b: Builder, sample: Value, size: Dim, count: Dim, kernel: Dim) -> Value:
    """First positions [..., count] of windows, from a sample in [0, 1) for each plane."""
    dtype = sample.dtype
    last = b.expand(b.dim(size - kernel), (*sample.shape, 1))
    if count == 1:
        return last
    step = b.apply("div", b.dim(size - kernel, dtype), b.dim(count - 1, dtype))
    index = b.iota(count - 1, dtype)
    offset = b.unsqueeze(sample, sample.rank)
    shifted = b.cast(b.apply("mul", b.apply("add", index, offset), step), DType.INT64)
    base = b.cast(b.apply("mul", offset, step), DType.INT64)
    return b.concatenate([b.apply("sub", shifted, base), last], -1)


@target("aten.fractional_max_pool2d.default", "aten.fractional_max_pool3d.default")
def fractional_max_pool(
    b: Builder, self: Value, kernel_size: Sizes, output_size: Sizes, random_samples: Value
) -> tuple[Value, Value]:
    """The largest elements of windows whose places depend on random samples [N, C, dimensions]."""
    rank = len(kernel_size)
    x = self if self.rank == rank + 2 else b.unsqueeze(self, 0)
    planes, sizes = x.shape[:2], x.shape[2:]
    random_samples = b.slice(random_samples, 0, 0, planes[0])  # there may be more
    place: Value | None = None
    for axis, (size, kernel, count) in enumerate(zip(sizes, kernel_size, output_size, strict=True)):
        # Samples of planes are listed from the last dimension, those of volumes from the first.
        sample = b.select(random_samples, 2, rank - 1 - axis if rank == 2 else axis)
        starts = _fractional_starts(b, b.expand(sample, planes), size, count, kernel)
        shape: list[Dim] = [1] * (2 * rank)
        shape[axis] = count
        starts = b.reshape(starts, (*planes, *shape))
        offset_shape: list[Dim] = [1] * (2 * rank)
        offset_shape[rank + axis] = kernel
        position = b.apply("add", starts, b.reshape(b.iota(kernel), offset_shape))
        if place is not None:
            position = b.apply("add", b.apply("mul", place, b.dim(size)), position)
        place = position
    assert place is not None, "there is a dimension to pool"
    box = (shapes.element_count(output_size), shapes.element_count(kernel_size))
    flat_place = b.reshape(place, (*planes, box[0] * box[1]))
    picked: Value = b.call("aten.gather.default", _flat(b, x, rank), -1, flat_place)
    picked = b.reshape(picked, (*planes, *box))
    values, where = b.call("aten.max.dim", picked, -1, True)
    places = b.call("aten.gather.default", b.reshape(place, (*planes, *box)), -1, where)
    shape_out = (*planes, *output_size) if self.rank == rank + 2 else (planes[1], *output_size)
    return b.reshape(values, shape_out), b.reshape(places, shape_out)
