"""What products, convolutions and attention have in common as C: operands, sizes and generated epilogues."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Origin
from ..ir.shapes import Dim
from ..kernels import Scalar
from ..lowering.program import Buffer, Element, Epilogue, Levels, StridedView, TileElement
from ..records import dataclass
from .expr import Expressions, Parameters
from .kernel_text import KernelCode, KernelText, describe, pointers
from .loops import StoreWriter
from .statements import Block, ForLoop, Statement, drop_unused, flatten
from .vectors import VectorStoreWriter, can_be_vectors


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
class Operand:
    """A pointer with an offset, and strides, as C."""

    pointer: str
    strides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the arguments of a kernel, and its value, as C."""

    name: str
    value: str


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


SOURCE = {
    DType.BFLOAT16: "CASTOFF_FROM_BF16", DType.FLOAT32: "CASTOFF_FROM_F32", DType.INT8: "CASTOFF_FROM_S8",
    DType.UINT8: "CASTOFF_FROM_U8",
}  # fmt: skip


def level_fields(levels: Levels, sizes: Sizes) -> tuple[Field, ...]:
    """The fields that say what levels stand for."""
    return (
        Field("zero", str(levels.zero)),
        Field("column_sums", sizes.pointer(levels.column_sums, 0)),
    )
