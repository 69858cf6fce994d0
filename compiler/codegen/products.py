"""Matrix products as C: calls of the constant kernels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.shapes import Dim
from ..lowering.program import AttentionStep, ConvolutionStep, ProductStep
from ..lowering.tuning import Cut
from ..records import dataclass
from ..targets import cpu
from .attention import ATTENTION_HEADER
from .convolutions import may_be_depthwise
from .kernel_text import KernelCode, KernelText
from .offsets import places_in, smallest_offsets
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

# Rows of the tallest register tile of any level: CASTOFF_MR.
_TALLEST_TILE = 14


@dataclass(frozen=True, slots=True)
class Axis:
    """A batch axis: its size and the strides of the operands, as C."""

    size: str
    a: str
    b: str
    c: str


@dataclass(frozen=True, slots=True)
class ProductText:
    """What `product.c.j2` needs."""

    kernel: KernelText
    suffix: str
    operands: tuple[Field, ...]
    is_packed: bool
    sizes: tuple[str, str, str]
    axes: tuple[Axis, ...]
    batch_count: str
    plain: PlainStore | None
    cuts: tuple[tuple[int, Cut], ...]


_PLAIN_GEMM = "cpu/gemm.h"


_MADE_OF_NO_PRODUCT = frozenset({_PLAIN_GEMM, "cpu/conv.h", "cpu/conv_winograd.h"})
"""Headers whose kernels use no tiles of products, but for the products themselves."""


_GEMM_HEADER = {
    DType.FLOAT32: _PLAIN_GEMM, DType.FLOAT64: _PLAIN_GEMM, DType.FLOAT16: _PLAIN_GEMM,
    DType.BFLOAT16: "cpu/gemm_bf16.h",
}  # fmt: skip


def write_product(step: ProductStep) -> KernelCode:
    """The code of a matrix product."""
    suffix, header = _product_kernels(step)
    writer = ProductWriter(step.epilogue, step.columns if suffix == "bf16" else 1)
    operands = ((view.buffer, view.offset) for view in (step.left, step.right))
    writer.parameters.offsets = smallest_offsets((*operands, *places_in(step.epilogue.stores)))
    plain = writer.plain()
    if plain is not None and plain.has_more_than_relu:
        plain = None
    left, right = writer.sizes.operand(step.left), writer.sizes.operand(step.right)
    c_stride: Dim = plain.batch_stride if plain is not None else 0
    axes: list[Axis] = []
    for axis in reversed(range(len(step.batch))):
        size = step.batch[axis]
        if size == 1:
            continue
        axes.append(
            Axis(
                writer.sizes.dim(size),
                left.strides[axis],
                right.strides[axis],
                writer.sizes.dim(c_stride),
            )
        )
        c_stride = c_stride * size
    sizes = (
        writer.sizes.dim(step.rows),
        writer.sizes.dim(step.columns),
        writer.sizes.dim(step.depth),
    )
    count = writer.sizes.dim(shapes.element_count(step.batch))
    fields = _operands(step, left, right, writer.sizes)
    kernel = writer.text(step.origins, plain)
    tile_type = cpu.C_TYPE[step.dtype.compute]
    text = ProductText(
        replace(kernel, tile_type=tile_type), suffix, fields, step.packed_right, sizes,
        tuple(reversed(axes)), count, plain, step.cuts,
    )  # fmt: skip
    if header == "cpu/gemm_exact.h" and plain is not None:
        raise AssertionError("exact products have no plain stores")
    return writer.code(step.name, render("cpu/product.c.j2", p=text), kernel, (header,))


def _operands(step: ProductStep, left: Operand, right: Operand, sizes: Sizes) -> tuple[Field, ...]:
    """The fields that say where the operands lie."""
    opaque = "(const void *)" if step.dtype.is_complex else ""
    fields = [
        Field("a", f"{opaque}({left.pointer})"),
        Field("a_row", left.strides[-2]),
        Field("a_col", left.strides[-1]),
    ]
    if step.levels is not None:
        panels = f"(const uint8_t *)({right.pointer})"
        source = Field("a_from", SOURCE[step.left.buffer.dtype])
        return (*fields, source, Field("b_packed", panels), *level_fields(step.levels, sizes))
    if step.coded_right is not None:
        coding = step.coded_right.coding
        fields += [
            Field("codes", right.pointer),
            Field("scales", sizes.pointer(step.coded_right.scales, 0)),
            Field("bits", str(coding.bits)),
            Field("group", str(coding.group)),
            Field("narrow", str(int(step.dtype is DType.BFLOAT16))),
        ]
    elif step.packed_right:
        fields.append(Field("b_packed", right.pointer))
    else:
        fields += [
            Field("b", f"{opaque}({right.pointer})"),
            Field("b_row", right.strides[-2]),
            Field("b_col", right.strides[-1]),
        ]
    if step.dtype is DType.BFLOAT16 or step.coded_right is not None:
        fields.append(Field("a_from", SOURCE[step.left.buffer.dtype]))
        if not step.packed_right:
            fields.append(Field("b_from", SOURCE[step.right.buffer.dtype]))
    return tuple(fields)


def _product_kernels(step: ProductStep) -> tuple[str, str]:
    """The suffix and the header of the kernels that compute a product."""
    if step.levels is not None:
        return "levels", "cpu/gemm_levels.h"
    if step.coded_right is not None:
        return "coded", "cpu/gemm_coded.h"
    return GEMM_SUFFIX[step.dtype], _GEMM_HEADER.get(step.dtype, "cpu/gemm_exact.h")


def kernel_limits(
    steps: Iterable[ProductStep | ConvolutionStep | AttentionStep], headers: Iterable[str]
) -> tuple[tuple[str, int], ...]:
    """What a unit that includes `headers` for `steps` says of its kernels, so that those none needs are left out.

    Before: `#include "cpu/gemm.h"`, for products of one row with constant right operands
    After: `#define CASTOFF_GEMM_MOST_ROWS 1`, `#define CASTOFF_GEMM_IS_PACKED 1`, then the header
    """
    steps = tuple(steps)
    products = [step for step in steps if isinstance(step, ProductStep)]
    convolutions = [step for step in steps if isinstance(step, ConvolutionStep)]
    attentions = [step for step in steps if isinstance(step, AttentionStep)]
    others = {header for header in headers if not header.startswith(("abi/", "common/"))}
    limits = []
    if _PLAIN_GEMM in others and others <= _MADE_OF_NO_PRODUCT:
        rows = [step.rows if isinstance(step.rows, int) else math.inf for step in products]
        if (most := max(rows, default=math.inf)) < _TALLEST_TILE:
            limits.append(("CASTOFF_GEMM_MOST_ROWS", int(most)))
    is_plain = _PLAIN_GEMM in others and others <= {*_MADE_OF_NO_PRODUCT, ATTENTION_HEADER}
    if is_plain and all(step.packed_right for step in products):
        limits.append(("CASTOFF_GEMM_IS_PACKED", 1))
    is_ours = all(header.startswith("cpu/") for header in others)
    if is_ours and convolutions and not any(map(may_be_depthwise, convolutions)):
        limits.append(("CASTOFF_CONV_HAS_DEPTHWISE", 0))
    columns = [step.columns for step in attentions]
    sizes = [size for size in columns if isinstance(size, int)]
    if sizes and len(sizes) == len(columns):
        limits.append(("CASTOFF_ATTENTION_LEAST_COLUMNS", min(sizes)))
        limits.append(("CASTOFF_ATTENTION_MOST_COLUMNS", max(sizes)))
    return tuple(limits)
