"""Convolutions of one to three spatial dimensions, transposed ones included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim
from ..kernels import Definition, Index
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError, target
from .matmul import fits_zero
from .pointwise import widen

_TILED = frozenset({DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16, DType.FLOAT16})
"""What the convolution kernel computes; other types are plain reductions."""


@dataclass(frozen=True, slots=True)
class Convolve(Op):
    """x [N, C, *spatial] with weight [O, C / groups, *kernel]; no bias.

    `padding` holds the zeros (before, after) every spatial dimension. Narrow floats accumulate in
    float32. With `channels_last`, x and the result are [N, *spatial, channels]. With `zero`, x is
    levels of 8 bits, that one standing for 0, in the padding too; weight is int8, the result int32.
    """

    stride: tuple[Dim, ...]
    padding: tuple[tuple[Dim, Dim], ...]
    dilation: tuple[Dim, ...]
    groups: int
    channels_last: bool = False
    zero: int | None = None

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x, weight = inputs
        rank = len(self.stride)
        channel = -1 if self.channels_last else 1
        if (
            not fits_zero(self.zero, x.dtype, weight.dtype)
            or x.rank != rank + 2
            or weight.rank != rank + 2
            or shapes.is_equal(x.shape[channel], weight.shape[1] * self.groups) is False
            or shapes.is_equal(shapes.mod(weight.shape[0], self.groups), 0) is False
        ):
            raise OperatorError(f"convolution of {x} with {weight} in {self.groups} groups")
        sizes = tuple(
            shapes.floordiv(size + before + after - dilation * (kernel - 1) - 1, stride) + 1
            for size, kernel, stride, (before, after), dilation in zip(
                x.shape[1:-1] if self.channels_last else x.shape[2:],
                weight.shape[2:],
                self.stride,
                self.padding,
                self.dilation,
                strict=True,
            )
        )
        if any(shapes.is_less(size, 0) is True for size in sizes):
            raise OperatorError(f"convolution of {x} with {weight}: the kernel is too large")
        dtype = x.dtype if self.zero is None else DType.INT32
        if self.channels_last:
            return (TensorType(dtype, (x.shape[0], *sizes, weight.shape[0])),)
        return (TensorType(dtype, (x.shape[0], weight.shape[0], *sizes)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        if self.zero is None:
            x, weight = (widen(array) for array in inputs)
        else:
            x, weight = (array.astype(np.int64) for array in inputs)
            x = x - self.zero
        rank = len(self.stride)
        if self.channels_last:
            x = np.moveaxis(x, -1, 1)
        stride, dilation = env.shape(self.stride), env.shape(self.dilation)
        pads = [(env.size(before), env.size(after)) for before, after in self.padding]
        x = np.pad(x, [(0, 0), (0, 0), *pads])
        axes = tuple(range(2, 2 + rank))
        reach = tuple((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True))
        windows = np.lib.stride_tricks.sliding_window_view(x, reach, axes)
        every = tuple(slice(None, None, step) for step in (*stride, *dilation))
        picked = (slice(None), slice(None), *every)
        windows = windows[picked]  # [N, C, *out, *kernel]
        inner, outer = weight.shape[1], weight.shape[0] // self.groups
        summed = [1, *range(2 + rank, 2 + 2 * rank)]
        parts = [
            np.tensordot(
                windows[:, group * inner : (group + 1) * inner],
                weight[group * outer : (group + 1) * outer],
                (summed, [1, *axes]),
            )
            for group in range(self.groups)
        ]
        y = np.concatenate(parts, axis=-1)
        if self.zero is not None:
            y = y.astype(np.int32)
        return (y if self.channels_last else np.moveaxis(y, -1, 1),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        x, weight = inputs
        stride = tuple(step for step in self.stride if isinstance(step, int))
        dilation = tuple(step for step in self.dilation if isinstance(step, int))
        padding = tuple(
            (p, q) for p, q in self.padding if isinstance(p, int) and isinstance(q, int)
        )
        is_static = len(stride) == len(dilation) == len(padding) == len(self.stride)
        if is_static and (x.dtype in _TILED or self.zero is not None):
            return (
                kernels.Convolution(
                    stride, padding, dilation, self.groups, self.channels_last, self.zero
                ),
            )
        assert self.zero is None, "levels are convolved by the kernel alone"
        inner = weight.shape[1]
        group_size = shapes.floordiv(weight.shape[0], self.groups)

        def body(index: Index, reduced: Index) -> kernels.Scalar:
            image, channel, *place = (
                (index[0], index[-1], *index[1:-1]) if self.channels_last else index
            )
            within, *point = reduced
            position = tuple(
                i * step + k * gap - before
                for i, k, step, gap, (before, _) in zip(
                    place, point, self.stride, self.dilation, self.padding, strict=True
                )
            )
            inside = [
                kernels.in_range(i, size)
                for i, size in zip(
                    position, x.shape[1:-1] if self.channels_last else x.shape[2:], strict=True
                )
            ]
            source = shapes.floordiv(channel, group_size) * inner + within
            pixel = (*position, source) if self.channels_last else (source, *position)
            product = kernels.load(x, (image, *pixel)) * kernels.load(
                weight, (channel, within, *point)
            )
            return kernels.masked(kernels.all_of(inside), product, kernels.literal(0, x.dtype))

        return (kernels.Reduction("sum", weight.shape[1:], body),)


# ---------------------------------------------------------------------------- building


def per_axis(values: Sequence[Dim] | Dim, count: int) -> tuple[Dim, ...]:
    """One number for each of `count` dimensions; a single one stands for all."""
    listed = (values,) if isinstance(values, (int, shapes.SymExpr)) else tuple(values)
    if len(listed) == 1:
        return listed * count
    if len(listed) != count:
        raise OperatorError(f"{list(listed)} for {count} dimensions")
    return listed


def _with_bias(b: Builder, y: Value, bias: Value | None) -> Value:
    if bias is None:
        return y
    return b.apply("add", y, b.reshape(bias, (*bias.shape, *(1,) * (y.rank - 2))))


def _batched(b: Builder, x: Value, rank: int) -> Value:
    if x.rank not in (rank + 1, rank + 2):
        raise OperatorError(f"convolution over {rank} dimensions of {x}")
    return x if x.rank == rank + 2 else b.unsqueeze(x, 0)


def convolve(
    b: Builder,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Sequence[Dim] | Dim = 1,
    padding: Sequence[Dim] | Dim | str = 0,
    dilation: Sequence[Dim] | Dim = 1,
    groups: int = 1,
) -> Value:
    """A convolution, with or without batch dimension; padding may be "same" or "valid"."""
    rank = weight.rank - 2
    batch = _batched(b, x, rank)
    gaps = per_axis(dilation, rank)
    if padding == "same":
        totals = [gap * (size - 1) for gap, size in zip(gaps, weight.shape[2:], strict=True)]
        pads = tuple((total // 2, total - total // 2) for total in totals)
    elif padding == "valid":
        pads = ((0, 0),) * rank
    elif isinstance(padding, str):
        raise OperatorError(f"convolution with padding {padding!r}: expected 'same' or 'valid'")
    else:
        pads = tuple((pad, pad) for pad in per_axis(padding, rank))
    op = Convolve(per_axis(stride, rank), pads, gaps, groups)
    y = _with_bias(b, b.emit1(op, batch, weight), bias)
    return y if x.rank == rank + 2 else b.squeeze(y, 0)


def _spread(b: Builder, x: Value, axis: int, stride: Dim) -> Value:
    """`stride - 1` zeros after every element along an axis."""
    if stride == 1:
        return x
    size = x.shape[axis]
    split = b.unsqueeze(x, axis + 1)
    padded = b.pad(split, [(0, stride - 1 if i == axis + 1 else 0) for i in range(split.rank)])
    return b.reshape(padded, (*x.shape[:axis], size * stride, *x.shape[axis + 1 :]))


def _phase_weight(b: Builder, weight: Value, groups: int, strides: Sequence[int]) -> Value:
    """[C, O / groups, *kernel] as the weight of a convolution with all phases as channels.

    Phase r of a dimension takes the kernel's elements r, r + stride, ...: the result is
    [O * phases, C / groups, *ceil(kernel / stride)], flipped, its channels ordered (O, *phases).
    """
    channels, outputs, *kernel = weight.shape
    inner = shapes.floordiv(channels, groups)
    taps = [shapes.ceildiv(k, s) for k, s in zip(kernel, strides, strict=True)]
    missing = [(0, n * s - k) for n, s, k in zip(taps, strides, kernel, strict=True)]
    if any(pair != (0, 0) for pair in missing):
        weight = b.pad(weight, [(0, 0), (0, 0), *missing])
    pairs = [size for pair in zip(taps, strides, strict=True) for size in pair]
    split = b.reshape(weight, (groups, inner, outputs, *pairs))
    tap_axes, phase_axes = range(3, split.rank, 2), range(4, split.rank, 2)
    ordered = b.permute(split, (0, 2, *phase_axes, 1, *tap_axes))
    phases = shapes.element_count(strides)
    merged = b.reshape(ordered, (outputs * groups * phases, inner, *taps))
    return b.flip(merged, range(2, merged.rank))


def _interleaved(b: Builder, y: Value, strides: Sequence[int]) -> Value:
    """[N, O * phases, *sizes] with the phases between the elements: [N, O, *sizes * strides]."""
    batch, channels, *sizes = y.shape
    rank = len(sizes)
    outputs = shapes.floordiv(channels, shapes.element_count(strides))
    split = b.reshape(y, (batch, outputs, *strides, *sizes))
    order = [axis for i in range(rank) for axis in (2 + rank + i, 2 + i)]
    merged = tuple(size * s for size, s in zip(sizes, strides, strict=True))
    return b.reshape(b.permute(split, (0, 1, *order)), (batch, outputs, *merged))


def _convolve_cropped(
    b: Builder,
    x: Value,
    weight: Value,
    padding: Sequence[tuple[Dim, Dim]],
    dilation: tuple[Dim, ...],
    groups: int,
) -> Value:
    """A convolution with stride 1 whose padding may be negative."""
    crop = [(shapes.minimum(before, 0), shapes.minimum(after, 0)) for before, after in padding]
    if any(pair != (0, 0) for pair in crop):
        x = b.pad(x, [(0, 0), (0, 0), *crop])
    grow = tuple((shapes.maximum(before, 0), shapes.maximum(after, 0)) for before, after in padding)
    return b.emit1(Convolve((1,) * len(dilation), grow, dilation, groups), x, weight)


def _by_phases(
    b: Builder,
    x: Value,
    weight: Value,
    strides: Sequence[int],
    padding: Sequence[Dim],
    sizes: Sequence[Dim],
    dilation: tuple[Dim, ...],
    groups: int,
) -> Value:
    """A transposed convolution as one with stride 1 that gives every phase of the result.

    Element q * stride + r of the result, counted from the start of the padding, sums the kernel's
    elements r + stride * j times the input's q - j: no zeros between the elements are multiplied.
    """
    pads: list[tuple[Dim, Dim]] = []
    first = [shapes.floordiv(pad, s) for pad, s in zip(padding, strides, strict=True)]
    for axis, stride in enumerate(strides):
        reach = dilation[axis] * (shapes.ceildiv(weight.shape[2 + axis], stride) - 1)
        end = shapes.ceildiv(padding[axis] + sizes[axis], stride)
        pads.append((reach - first[axis], end - x.shape[2 + axis]))
    kernel = _phase_weight(b, weight, groups, strides)
    y = _interleaved(b, _convolve_cropped(b, x, kernel, pads, dilation, groups), strides)
    for axis, stride in enumerate(strides):
        y = b.slice(y, 2 + axis, padding[axis] - first[axis] * stride, sizes[axis])
    return y


def convolve_transposed(
    b: Builder,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Sequence[Dim] | Dim = 1,
    padding: Sequence[Dim] | Dim = 0,
    output_padding: Sequence[Dim] | Dim = 0,
    groups: int = 1,
    dilation: Sequence[Dim] | Dim = 1,
) -> Value:
    """The adjoint of a convolution."""
    rank = weight.rank - 2
    batch = _batched(b, x, rank)
    if shapes.is_equal(batch.shape[1], weight.shape[0]) is False:
        raise OperatorError(f"transposed convolution of {x.type} with {weight.type}")
    steps, gaps = per_axis(stride, rank), per_axis(dilation, rank)
    edges, extra = per_axis(padding, rank), per_axis(output_padding, rank)
    strides = tuple(step for step in steps if isinstance(step, int))
    reaches = [gap * (k - 1) for gap, k in zip(gaps, weight.shape[2:], strict=True)]
    if len(strides) == rank and all(s == 1 or d == 1 for s, d in zip(strides, gaps, strict=True)):
        sizes = [
            (n - 1) * s - 2 * pad + reach + more + 1
            for n, s, pad, reach, more in zip(
                batch.shape[2:], strides, edges, reaches, extra, strict=True
            )
        ]
        y = _by_phases(b, batch, weight, strides, edges, sizes, gaps, groups)
    else:  # the flipped kernel over the input with zeros between its elements
        pads: list[tuple[Dim, Dim]] = []
        for i in range(rank):
            batch = _spread(b, batch, 2 + i, steps[i])
            before = reaches[i] - edges[i]
            pads.append((before, before + extra[i] - (steps[i] - 1)))
        kernel = _phase_weight(b, weight, groups, (1,) * rank)
        y = _convolve_cropped(b, batch, kernel, pads, gaps, groups)
    y = _with_bias(b, y, bias)
    return y if x.rank == rank + 2 else b.squeeze(y, 0)


# ---------------------------------------------------------------------------- targets


@target(
    "aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default",
    "aten.conv1d.padding", "aten.conv2d.padding", "aten.conv3d.padding",
)  # fmt: skip
def conv(
    b: Builder,
    input: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Sequence[Dim] = (1,),
    padding: Sequence[Dim] | str | None = None,
    dilation: Sequence[Dim] = (1,),
    groups: int = 1,
) -> Value:
    return convolve(
        b, input, weight, bias, stride, 0 if padding is None else padding, dilation, groups
    )


@target("aten._convolution_mode.default")
def convolution_mode(
    b: Builder, input: Value, weight: Value, bias: Value | None, stride: Sequence[Dim],
    padding: str, dilation: Sequence[Dim], groups: int,
) -> Value:  # fmt: skip
    return convolve(b, input, weight, bias, stride, padding, dilation, groups)


@target(
    "aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input",
)  # fmt: skip
def conv_transpose(
    b: Builder,
    input: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Sequence[Dim] = (1,),
    padding: Sequence[Dim] = (0,),
    output_padding: Sequence[Dim] = (0,),
    groups: int = 1,
    dilation: Sequence[Dim] = (1,),
) -> Value:
    return convolve_transposed(
        b, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@target("aten.convolution.default", "aten.convolution_overrideable.default")
def convolution(
    b: Builder,
    input: Value,
    weight: Value,
    bias: Value | None,
    stride: Sequence[Dim],
    padding: Sequence[Dim],
    dilation: Sequence[Dim],
    transposed: bool,
    output_padding: Sequence[Dim],
    groups: int,
) -> Value:
    if transposed:
        return convolve_transposed(
            b, input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    return convolve(b, input, weight, bias, stride, padding, dilation, groups)


@target("aten._convolution.default", "aten._convolution.deprecated")
def convolution_with_flags(
    b: Builder,
    input: Value,
    weight: Value,
    bias: Value | None,
    stride: Sequence[Dim],
    padding: Sequence[Dim],
    dilation: Sequence[Dim],
    transposed: bool,
    output_padding: Sequence[Dim],
    groups: int,
    benchmark: bool,
    deterministic: bool,
    cudnn_enabled: bool,
    allow_tf32: bool = False,
) -> Value:
    return convolution(
        b, input, weight, bias, stride, padding, dilation, transposed, output_padding, groups
    )


@target("aten.mkldnn_convolution.default")
def mkldnn_convolution(
    b: Builder, self: Value, weight: Value, bias: Value | None, padding: Sequence[Dim],
    stride: Sequence[Dim], dilation: Sequence[Dim], groups: int,
) -> Value:  # fmt: skip
    return convolve(b, self, weight, bias, stride, padding, dilation, groups)


@target(
    "aten.thnn_conv2d.default", "aten.slow_conv3d.default", "aten.slow_conv_dilated2d.default",
    "aten.slow_conv_dilated3d.default", "aten._slow_conv2d_forward.default",
    "aten.slow_conv3d_forward.default",
)  # fmt: skip
def slow_conv(
    b: Builder, self: Value, weight: Value, kernel_size: Sequence[Dim], bias: Value | None = None,
    stride: Sequence[Dim] = (1,), padding: Sequence[Dim] = (0,), dilation: Sequence[Dim] = (1,),
) -> Value:  # fmt: skip
    return convolve(b, self, weight, bias, stride, padding, dilation)


@target("aten._conv_depthwise2d.default", "aten.conv_depthwise3d.default")
def conv_depthwise(
    b: Builder, self: Value, weight: Value, kernel_size: Sequence[Dim], bias: Value | None,
    stride: Sequence[Dim], padding: Sequence[Dim], dilation: Sequence[Dim],
) -> Value:  # fmt: skip
    channels = self.shape[-1 - len(kernel_size)]
    if not isinstance(channels, int):
        raise OperatorError(f"depthwise convolution of {self}: the number of channels is symbolic")
    return convolve(b, self, weight, bias, stride, padding, dilation, channels)


@target("aten.slow_conv_transpose2d.default", "aten.slow_conv_transpose3d.default")
def slow_conv_transpose(
    b: Builder, self: Value, weight: Value, kernel_size: Sequence[Dim], bias: Value | None = None,
    stride: Sequence[Dim] = (1,), padding: Sequence[Dim] = (0,),
    output_padding: Sequence[Dim] = (0,), dilation: Sequence[Dim] = (1,),
) -> Value:  # fmt: skip
    return convolve_transposed(b, self, weight, bias, stride, padding, output_padding, 1, dilation)


@target("aten.conv_tbc.default")
def conv_tbc(b: Builder, self: Value, weight: Value, bias: Value, pad: Dim = 0) -> Value:
    """Time first: self [T, B, C], weight [kernel, C, O], bias [O]."""
    y = convolve(b, b.permute(self, (1, 2, 0)), b.permute(weight, (2, 1, 0)), bias, 1, pad)
    return b.permute(y, (2, 0, 1))
