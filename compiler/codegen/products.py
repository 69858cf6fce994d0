"""Matrix products, convolutions and attention as C: calls of the constant kernels, with generated epilogues."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Origin
from ..ir.shapes import Dim
from ..kernels import Scalar
from ..lowering.packing import is_depthwise
from ..lowering.program import (
    AttentionStep,
    Buffer,
    ConvolutionStep,
    Element,
    Epilogue,
    Levels,
    ProductStep,
    StridedView,
    TileElement,
)  # fmt: skip
from ..lowering.tuning import Cut
from ..records import dataclass
from ..targets import cpu
from .expr import Expressions, Parameters
from .kernel_text import KernelCode, KernelText, describe, pointers
from .loops import StoreWriter
from .offsets import places_in, smallest_offsets
from .render import render
from .statements import Block, ForLoop, Statement, drop_unused, flatten
from .vectors import VectorStoreWriter, can_be_vectors

T = TypeVar("T")

# Rows of the tallest register tile of any level: CASTOFF_MR.
_TALLEST_TILE = 14


@dataclass(frozen=True, slots=True)
class PlainStore:
    """An epilogue the kernels have built in: a store with unit column stride, a bias and bounds where wanted."""

    output: str
    row_stride: str
    batch_stride: Dim
    bias_row: str = ""
    bias_column: str = ""
    low: float = -math.inf
    high: float = math.inf

    @property
    def relu(self) -> bool:
        return self.low == 0

    @property
    def is_bounded(self) -> bool:
        return (self.low, self.high) != (-math.inf, math.inf)

    @property
    def has_more_than_relu(self) -> bool:
        """Whether there are bounds other than 0 from below."""
        return self.is_bounded and (self.low, self.high) != (0, math.inf)


@dataclass(frozen=True, slots=True)
class Axis:
    """A batch axis: its size and the strides of the operands, as C."""

    size: str
    a: str
    b: str
    c: str


@dataclass(frozen=True, slots=True)
class Operand:
    """A pointer with an offset, and strides, as C."""

    pointer: str
    strides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the arguments of a kernel, and its value, as C."""

    name: str
    value: str


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


class Sizes:
    """Sizes, strides and pointers that a kernel is called with, and the statements they need."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.statements: list[Statement] = []
        self._expressions = Expressions(parameters)
        self._expressions.push(self.statements)

    def dim(self, expression: Dim) -> str:
        """A size as C."""
        return self._expressions.dim(expression)

    def operand(self, view: StridedView) -> Operand:
        """A strided operand: pointer and the strides of all its axes."""
        strides = tuple(self.dim(stride) for stride in view.strides)
        return Operand(self.pointer(view.buffer, view.offset), strides)

    def pointer(self, buffer: Buffer, offset: Dim) -> str:
        """A pointer into a buffer."""
        pointer = self.parameters.pointer(buffer)
        text = self.dim(self.parameters.address(buffer, offset))
        return pointer if text == "0" else f"{pointer} + ({text})"


class ProductWriter:
    """Collects the parameters of one product while its epilogue is written."""

    def __init__(self, epilogue: Epilogue, vector_columns: Dim = 1) -> None:
        """`vector_columns`: a divisor of every tile's first column and number of columns."""
        self.epilogue = epilogue
        self.parameters = Parameters()
        self.parameters.written.update(store.buffer for store in epilogue.stores)
        self.by_vectors = can_be_vectors(epilogue, vector_columns)
        self.stores = (
            VectorStoreWriter(self.parameters, epilogue)
            if self.by_vectors
            else StoreWriter(self.parameters)
        )
        self.expressions = self.stores.expressions
        self.expressions.push([])
        self.sizes = Sizes(self.parameters)

    def plain(self, dtypes: Sequence[DType] = (DType.FLOAT32, DType.FLOAT64)) -> PlainStore | None:
        """The epilogue as a store in one of these types that kernels have built in, or None."""
        epilogue = self.epilogue
        if len(epilogue.stores) != 1:
            return None
        (store,) = epilogue.stores
        strides = [
            shapes.stride_along(store.address, loop.variable)
            for loop in (epilogue.batch, epilogue.row, epilogue.column)
        ]
        batch_stride, row_stride, column_stride = strides
        if (
            store.buffer.dtype not in dtypes
            or store.value.dtype is not store.buffer.dtype.compute
            or store.combine != "set"
            or store.condition is not None
            or batch_stride is None
            or row_stride is None
            or column_stride != 1
        ):
            return None
        matched = _match_plain(store.value, epilogue, store.buffer.dtype)
        if matched is None:
            return None
        offset = shapes.substitute(
            store.address,
            {loop.variable: 0 for loop in (epilogue.batch, epilogue.row, epilogue.column)},
        )
        return PlainStore(
            self.sizes.pointer(store.buffer, offset),
            self.sizes.dim(row_stride),
            batch_stride,
            self.sizes.pointer(*matched.bias_row) if matched.bias_row else "",
            self.sizes.pointer(*matched.bias_column) if matched.bias_column else "",
            matched.low,
            matched.high,
        )

    def lines(self) -> list[Statement]:
        """The loops of the epilogue function."""
        epilogue, expressions = self.epilogue, self.expressions
        rows = ForLoop("i", "0", "rows", "")
        expressions.push(rows.body)
        expressions.bind("i")
        rows.body.append(f"const int64_t {epilogue.row.variable} = row0 + i;")
        expressions.bind(str(epilogue.row.variable))
        columns: ForLoop | Block = ForLoop("j", "0", "cols", "#pragma omp simd")
        tile = "tile[i * tile_stride + j]"
        if self.by_vectors:
            columns = Block("for (int64_t j = 0; j < cols; j += CASTOFF_VF32_LANES)")
            tile = "castoff_load_f32(tile + i * tile_stride + j)"
        expressions.push(columns.body)
        expressions.bind("j")
        columns.body.append(f"const int64_t {epilogue.column.variable} = col0 + j;")
        expressions.bind(str(epilogue.column.variable))
        expressions.tile_text = expressions.declare(tile, "i", "j")
        for store in epilogue.stores:
            self.stores.store(columns.body, store)
        expressions.pop()
        rows.body.append(columns)
        expressions.pop()
        statements = [*expressions.scopes[0].statements, rows]
        drop_unused(statements)
        return statements

    def text(self, origins: tuple[Origin, ...], plain: PlainStore | None) -> KernelText:
        """What all products give their template."""
        statements: list[Statement] = []
        if plain is None:
            self.expressions.bind(str(self.epilogue.batch.variable))
            statements = self.lines()
        return KernelText(
            describe(origins),
            pointers(self.parameters),
            tuple(self.parameters.symbols),
            self.parameters.has_fault,
            tuple(flatten(statements, 1)),
            tuple(self.parameters.headers),
            setup=tuple(flatten(self.sizes.statements, 1)),
        )

    def code(
        self, hint: str, text: str, kernel: KernelText, headers: tuple[str, ...]
    ) -> KernelCode:
        """The finished kernel."""
        return KernelCode(
            text, hint, tuple(self.parameters.buffers), tuple(self.parameters.buffers.values()),
            kernel.symbols, kernel.has_fault, (*headers, *kernel.headers), self.parameters.offsets,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Finish:
    """What is done to an element before it is stored: a bias is added, bounds are kept."""

    bias_row: tuple[Buffer, Dim] | None = None
    bias_column: tuple[Buffer, Dim] | None = None
    low: float = -math.inf
    high: float = math.inf

    def bounded(self, name: str, bound: float) -> _Finish | None:
        """With another bound, or None for NaN and where the two would be in the wrong order."""
        if math.isnan(bound):
            return None
        low, high = self.low, self.high
        low, high = (max(low, bound), high) if name == "maximum" else (low, min(high, bound))
        return replace(self, low=low, high=high) if low <= high else None


def _match_plain(value: Scalar, epilogue: Epilogue, stored: DType) -> _Finish | None:
    """What is done to the tile where it is no more than the kernels have built in."""
    if isinstance(value, TileElement):
        return _Finish()
    if not isinstance(value, kernels.Apply):
        return None
    if value.name in ("maximum", "minimum"):
        operand, bound = value.args
        if not isinstance(bound, kernels.Literal) or not isinstance(bound.value, float):
            return None
        inner = _match_plain(operand, epilogue, stored)
        return inner and inner.bounded(value.name, bound.value)
    if value.name != "add":
        return None
    for tile, other in (value.args, value.args[::-1]):
        if not (isinstance(tile, TileElement) and isinstance(other, Element)):
            continue
        if other.buffer.dtype is not stored:
            return None
        for position, loop in enumerate((epilogue.row, epilogue.column)):
            offset = other.address - shapes.of_atom(loop.variable)
            if isinstance(offset, int) and offset >= 0:
                bias = (other.buffer, offset)
                return _Finish(bias_row=bias) if position == 0 else _Finish(bias_column=bias)
    return None


GEMM_SUFFIX = {
    DType.FLOAT32: "f32", DType.FLOAT64: "f64", DType.BFLOAT16: "bf16", DType.FLOAT16: "f16",
    DType.INT8: "i8", DType.UINT8: "u8", DType.INT16: "i16", DType.UINT16: "u16", DType.INT32: "i32",
    DType.UINT32: "u32", DType.INT64: "i64", DType.UINT64: "u64",
    DType.COMPLEX64: "c64", DType.COMPLEX128: "c128",
}  # fmt: skip


_PLAIN_GEMM = "cpu/gemm.h"
_PLAIN_ATTENTION = "cpu/attention.h"
_MADE_OF_NO_PRODUCT = frozenset({_PLAIN_GEMM, "cpu/conv.h", "cpu/conv_winograd.h"})
"""Headers whose kernels use no tiles of products, but for the products themselves."""
_GEMM_HEADER = {
    DType.FLOAT32: _PLAIN_GEMM, DType.FLOAT64: _PLAIN_GEMM, DType.FLOAT16: _PLAIN_GEMM,
    DType.BFLOAT16: "cpu/gemm_bf16.h",
}  # fmt: skip


def _product_kernels(step: ProductStep) -> tuple[str, str]:
    """The suffix and the header of the kernels that compute a product."""
    if step.levels is not None:
        return "levels", "cpu/gemm_levels.h"
    if step.coded_right is not None:
        return "coded", "cpu/gemm_coded.h"
    return GEMM_SUFFIX[step.dtype], _GEMM_HEADER.get(step.dtype, "cpu/gemm_exact.h")


def kernel_limits(
    products: Sequence[ProductStep],
    attentions: Sequence[AttentionStep],
    headers: Iterable[str],
) -> tuple[tuple[str, int], ...]:
    """What a unit that includes `headers` says of its kernels, so that those none needs are left out.

    Before: `#include "cpu/gemm.h"`, for products of one row with constant right operands
    After: `#define CASTOFF_GEMM_MOST_ROWS 1`, `#define CASTOFF_GEMM_IS_PACKED 1`, then the header
    """
    others = {header for header in headers if not header.startswith(("abi/", "common/"))}
    limits = []
    if _PLAIN_GEMM in others and others <= _MADE_OF_NO_PRODUCT:
        rows = [step.rows if isinstance(step.rows, int) else math.inf for step in products]
        if (most := max(rows, default=math.inf)) < _TALLEST_TILE:
            limits.append(("CASTOFF_GEMM_MOST_ROWS", int(most)))
    is_plain = _PLAIN_GEMM in others and others <= {*_MADE_OF_NO_PRODUCT, _PLAIN_ATTENTION}
    if is_plain and all(step.packed_right for step in products):
        limits.append(("CASTOFF_GEMM_IS_PACKED", 1))
    columns = [step.columns for step in attentions]
    sizes = [size for size in columns if isinstance(size, int)]
    if sizes and len(sizes) == len(columns):
        limits.append(("CASTOFF_ATTENTION_LEAST_COLUMNS", min(sizes)))
        limits.append(("CASTOFF_ATTENTION_MOST_COLUMNS", max(sizes)))
    return tuple(limits)


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
        source = Field("a_from", _SOURCE[step.left.buffer.dtype])
        return (*fields, source, Field("b_packed", panels), *_levels(step.levels, sizes))
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
        fields.append(Field("a_from", _SOURCE[step.left.buffer.dtype]))
        if not step.packed_right:
            fields.append(Field("b_from", _SOURCE[step.right.buffer.dtype]))
    return tuple(fields)


_SOURCE = {
    DType.BFLOAT16: "CASTOFF_FROM_BF16", DType.FLOAT32: "CASTOFF_FROM_F32", DType.INT8: "CASTOFF_FROM_S8",
    DType.UINT8: "CASTOFF_FROM_U8",
}  # fmt: skip


def _levels(levels: Levels, sizes: Sizes) -> tuple[Field, ...]:
    """The fields that say what levels stand for."""
    return (
        Field("zero", str(levels.zero)),
        Field("column_sums", sizes.pointer(levels.column_sums, 0)),
    )


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


def three(values: tuple[T, ...], filler: T) -> tuple[T, ...]:
    """Something per spatial axis, for three of them: missing leading ones are filled in."""
    return (filler,) * (3 - len(values)) + values


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
        source = Field("x_from", _SOURCE[step.x.buffer.dtype])
        sources = (source, *_levels(step.levels, writer.sizes))
    kernel = writer.text(step.origins, plain)
    bounds: tuple[str, str] | None = None
    if plain is not None and plain.is_bounded:
        dtype = step.output.dtype
        bounds = cpu.literal_text(plain.low, dtype), cpu.literal_text(plain.high, dtype)
    if suffix == "tiled_bf16":
        sources = (Field("x_from", _SOURCE[step.x.buffer.dtype]),)
        if not step.packed_weight:
            sources += (Field("weight_from", _SOURCE[step.weight.buffer.dtype]),)
    text = ConvolutionText(
        replace(kernel, tile_type=cpu.C_TYPE[step.output.dtype.compute]), suffix, sizes, weight_pointer,
        step.packed_weight, plain, bounds, sources,
    )  # fmt: skip
    rendered = render("cpu/convolution.c.j2", c=text, batch_stride=batch_stride)
    return writer.code(step.name, rendered, kernel, (header,))


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


@dataclass(frozen=True, slots=True)
class KeysText:
    """Keys and their values: how many, and where they lie."""

    keys: str
    key: Operand
    value: Operand


@dataclass(frozen=True, slots=True)
class AttentionText:
    """What `attention.c.j2` needs. `keys`: of all; `tail`: those that lie elsewhere."""

    kernel: KernelText
    suffix: str
    sizes: Mapping[str, str]
    keys: str
    query: Operand
    key: Operand
    value: Operand
    is_wide: bool
    """Keys and values but those are float32, and rounded as they are read."""
    tail: KeysText | None
    mask: Operand | None
    mask_kind: str
    scale: str
    is_causal: bool
    plain: PlainStore | None
    batch_stride: str
    head_stride: str


def write_attention(step: AttentionStep) -> KernelCode:
    """The code of fused attention."""
    writer = ProductWriter(step.epilogue)
    plain = writer.plain()
    if plain is not None and (plain.is_bounded or plain.bias_row or plain.bias_column):
        plain = None
    query, key, value = (writer.sizes.operand(v) for v in (step.query, step.key, step.value))
    mask = writer.sizes.operand(step.mask) if step.mask is not None else None
    sizes = {
        "batch": step.query.shape[0], "heads": step.query.shape[1], "kv_heads": step.key.shape[1],
        "queries": step.query.shape[2], "depth": step.query.shape[3],
        "value_depth": step.value.shape[3],
    }  # fmt: skip
    texts = {name: writer.sizes.dim(size) for name, size in sizes.items()}
    keys = writer.sizes.dim(step.keys)
    tail: KeysText | None = None
    if step.tail is not None:
        length = writer.sizes.dim(step.tail[0].shape[2])
        tail = KeysText(length, *(writer.sizes.operand(view) for view in step.tail))
    head_stride: Dim = plain.batch_stride if plain is not None else 0
    strides = [
        writer.sizes.dim(stride) for stride in (head_stride * step.query.shape[1], head_stride)
    ]
    kernel = writer.text(step.origins, plain)
    is_bool = step.mask is not None and step.mask.buffer.dtype is DType.BOOL
    suffix, header = GEMM_SUFFIX[step.dtype], _PLAIN_ATTENTION
    if step.dtype is DType.BFLOAT16:
        suffix, header = "tiled_bf16", "cpu/attention_bf16.h"
    text = AttentionText(
        kernel, suffix, texts, keys, query, key, value, step.key.buffer.dtype is not step.dtype,
        tail, mask,
        "CASTOFF_MASK_KEEP" if is_bool else "CASTOFF_MASK_ADD",
        cpu.literal_text(step.attributes.scale, DType.FLOAT32), step.attributes.is_causal, plain, strides[0],
        strides[1],
    )  # fmt: skip
    return writer.code(step.name, render("cpu/attention.c.j2", a=text), kernel, (header,))
