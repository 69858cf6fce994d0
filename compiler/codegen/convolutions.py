"""Convolutions as C: calls of the constant kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.shapes import Dim
from ..lowering.packing import is_depthwise
from ..lowering.program import ConvolutionStep
from ..records import dataclass
from ..targets import cpu
from .kernel_text import KernelCode, KernelText
from .product_writer import (
    GEMM_SUFFIX,
    SOURCE,
    Field,
    Operand,
    PlainStore,
    ProductWriter,
    Sizes,
    level_fields,
)
from .render import render

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ConvolutionSizes:
    """What every kernel of a convolution is told; spatial lists have three entries, missing axes first."""

    images: str
    groups: int
    in_channels: str
    out_channels: str
    in_sizes: tuple[str, ...]
    out_sizes: tuple[str, ...]
    kernel_sizes: tuple[str, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    x: Operand

    @staticmethod
    def of(
        step: ConvolutionStep, sizes: Sizes, in_channels: Dim, out_channels: Dim
    ) -> ConvolutionSizes:
        """The sizes of a convolution whose kernel counts channels like this."""
        attributes, x = step.attributes, sizes.operand(step.x)

        def space(shape: shapes.Shape) -> tuple[str, ...]:
            return three(tuple(sizes.dim(size) for size in shape), "1")

        return ConvolutionSizes(
            sizes.dim(step.output.shape[0]),
            attributes.groups,
            sizes.dim(in_channels),
            sizes.dim(out_channels),
            space(step.x.shape[1:-1]),
            space(step.output.shape[1:-1]),
            space(step.weight_type.shape[2:]),
            three(attributes.stride, 1),
            three(attributes.dilation, 1),
            three(tuple(before for before, _ in attributes.padding), 0),
            Operand(x.pointer, (x.strides[0], *three(x.strides[1:-1], "0"))),
        )


@dataclass(frozen=True, slots=True)
class ConvolutionText:
    """What `convolution.c.j2` needs."""

    kernel: KernelText
    suffix: str
    sizes: ConvolutionSizes
    weight: str
    is_packed: bool
    plain: PlainStore | None
    bounds: tuple[str, str] | None
    """Of the plain store, in C."""
    sources: tuple[Field, ...] = ()


def write_convolution(step: ConvolutionStep) -> KernelCode:
    """The code of a convolution."""
    suffix, header = _convolution_kernels(step)
    group = shapes.floordiv(step.output.shape[-1], step.attributes.groups)
    writer = ProductWriter(step.epilogue, group if suffix == "tiled_bf16" else 1)
    assert step.attributes.channels_last, "the CPU's convolutions have their channels last"
    plain = writer.plain()
    if plain is not None and (plain.bias_row or step.output.dtype.compute is not step.output.dtype):
        plain = None  # the kernel's bias is per channel, and narrow results are rounded by stores
    if suffix == "tiled_bf16" and plain is not None and plain.has_more_than_relu:
        plain = None
    sizes = ConvolutionSizes.of(step, writer.sizes, step.x.shape[-1], step.output.shape[-1])
    weight = writer.sizes.operand(step.weight)
    batch_stride = writer.sizes.dim(plain.batch_stride) if plain is not None else "0"
    sources: tuple[Field, ...] = ()
    weight_pointer = weight.pointer
    if step.levels is not None:
        weight_pointer = f"(const uint8_t *)({weight.pointer})"
        source = Field("x_from", SOURCE[step.x.buffer.dtype])
        sources = (source, *level_fields(step.levels, writer.sizes))
    kernel = writer.text(step.origins, plain)
    bounds: tuple[str, str] | None = None
    if plain is not None and plain.is_bounded:
        dtype = step.output.dtype
        bounds = cpu.literal_text(plain.low, dtype), cpu.literal_text(plain.high, dtype)
    if suffix == "tiled_bf16":
        sources = (Field("x_from", SOURCE[step.x.buffer.dtype]),)
        if not step.packed_weight:
            sources += (Field("weight_from", SOURCE[step.weight.buffer.dtype]),)
    text = ConvolutionText(
        replace(kernel, tile_type=cpu.C_TYPE[step.output.dtype.compute]), suffix, sizes, weight_pointer,
        step.packed_weight, plain, bounds, sources,
    )  # fmt: skip
    rendered = render("cpu/convolution.c.j2", c=text, batch_stride=batch_stride)
    return writer.code(step.name, rendered, kernel, (header,))


def may_be_depthwise(step: ConvolutionStep) -> bool:
    """Whether it is depthwise, or is for some values of symbols."""
    outer, inner = step.weight_type.shape[:2]
    groups = step.attributes.groups
    return (
        groups > 1
        and shapes.is_equal(inner, 1) is not False
        and shapes.is_equal(outer, groups) is not False
    )


def _convolution_kernels(step: ConvolutionStep) -> tuple[str, str]:
    """The suffix and the header of the kernels that compute a convolution."""
    if step.levels is not None:
        return "levels", "cpu/conv_levels.h"
    by_channel = is_depthwise(step.weight_type.shape, step.attributes.groups)
    if step.dtype is DType.BFLOAT16 and not by_channel:
        return "tiled_bf16", "cpu/conv_bf16.h"
    if step.by_transforms:
        return "winograd_f32", "cpu/conv_winograd.h"
    return GEMM_SUFFIX[step.output.dtype], "cpu/conv.h"


def three(values: tuple[T, ...], filler: T) -> tuple[T, ...]:
    """Something per spatial axis, for three of them: missing leading ones are filled in."""
    return (filler,) * (3 - len(values)) + values
