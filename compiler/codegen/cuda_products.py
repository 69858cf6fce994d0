"""Matrix products and attention as CUDA: calls of the constant kernels, with generated epilogues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.shapes import Dim
from ..lowering.program import AttentionStep, CodedRight, ConvolutionStep, Epilogue, ProductStep
from ..lowering.storage import estimate
from ..records import dataclass
from ..targets import cpu
from .kernel_text import KernelCode, KernelText
from .offsets import aligned_offsets, places_in
from .product_writer import Operand, ProductWriter
from .products import Axis
from .render import render
from .statements import Statement, drop_unused

_BLAS_TYPES = (DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16)
_BLAS_LEAST = 1 << 15
"""Multiply-adds of a product, at least, that cuBLASLt is asked for: smaller ones are one launch either way."""
_SMALL_SIZE, _SMALL_DEPTH = 256, 64
"""Elements of a result, and of the depth, at most, of products that have a thread to an element."""
FEW = 8
"""Rows or columns of `skinny.cuh`, at most."""
_MANY_ROWS = 1 << 30
"""More rows than any kernel is only for."""


@dataclass(frozen=True, slots=True)
class LibraryStore:
    """A `castoff_blas_store`: an epilogue that cuBLASLt has."""

    output: str
    batch_stride: str
    row_stride: str
    bias: str
    is_stored_type: bool


@dataclass(frozen=True, slots=True)
class DeviceProductText:
    """What `product.cu.j2` needs. `store`: what the library can do itself, where `uses_library`."""

    kernel: KernelText
    element: str
    left: Operand
    right: Operand
    sizes: tuple[str, str, str]
    axes: tuple[Axis, ...]
    batch_count: str
    uses_library: bool
    is_small: bool
    """Whether a thread makes one element of the result."""
    may_be_few: bool
    """Whether rows or columns are as few as kernels of their own take."""
    store: LibraryStore | None


@dataclass(frozen=True, slots=True)
class CodedProductText:
    """What `coded_product.cu.j2` needs. `row_bounds`: how few and how many rows there can be."""

    kernel: KernelText
    element: str
    left: Operand
    codes: str
    scales: str
    bits: int
    sizes: tuple[str, str, str]
    row_bounds: tuple[int, int]


@dataclass(frozen=True, slots=True)
class DeviceAttentionText:
    """What `attention.cu.j2` needs. `head`, `rows`: 0 where only the run knows."""

    kernel: KernelText
    element: str
    sizes: Mapping[str, str]
    query: Operand
    key: Operand
    value: Operand
    mask: Operand | None
    mask_kind: str
    scale: str
    is_causal: bool
    head: int
    """Elements of a head of keys or values, whichever has more."""
    rows: int
    """Query rows that read one key head."""


class DeviceProductWriter(ProductWriter):
    """Writes an epilogue that takes one element at a time, `tile` at (b, m, n)."""

    def __init__(self, epilogue: Epilogue) -> None:
        super().__init__(epilogue)
        for loop, name in zip(
            (epilogue.batch, epilogue.row, epilogue.column), ("b", "m", "n"), strict=True
        ):
            assert str(loop.variable) == name, "the templates name the loops of an epilogue"
            self.expressions.bind(name)

    def lines(self) -> list[Statement]:
        """The body of the epilogue."""
        statements: list[Statement] = []
        self.expressions.push(statements)
        self.expressions.tile_text = self.expressions.declare("tile", "m", "n")
        for store in self.epilogue.stores:
            self.stores.store(statements, store)
        self.expressions.pop()
        written = [*self.expressions.scopes[0].statements, *statements]
        drop_unused(written)
        return written

    def device_text(self, step: ProductStep | ConvolutionStep | AttentionStep) -> KernelText:
        """What all products give their template."""
        dtype = step.output.dtype if isinstance(step, ConvolutionStep) else step.dtype
        text = self.text(step.origins, None)
        return replace(text, tile_type=cpu.C_TYPE[dtype.compute])


def element_type(dtype: DType, *, is_tf32: bool = False) -> str:
    """The C++ type that says how elements are stored and what they are computed as. `is_tf32`: float32
    may be multiplied as TF32.
    """
    match dtype:
        case DType.FLOAT32 if is_tf32:
            return "castoff_tf32"
        case DType.FLOAT16:
            return "castoff_half"
        case DType.BFLOAT16:
            return "castoff_brain"
        case _:
            return f"castoff_plain<{cpu.C_TYPE[dtype]}>"


def write_product(step: ProductStep, *, is_tf32: bool) -> KernelCode:
    """The code of a matrix product; large ones of floats are cuBLASLt's, in TF32 where it `is_tf32`."""
    if step.coded_right is not None:
        return _write_coded(step, step.coded_right)
    assert not step.packed_right, "constants are packed for a device as codes only"
    writer = DeviceProductWriter(step.epilogue)
    operands = ((view.buffer, view.offset) for view in (step.left, step.right))
    writer.parameters.offsets = aligned_offsets((*operands, *places_in(step.epilogue.stores)))
    left, right = writer.sizes.operand(step.left), writer.sizes.operand(step.right)
    axes = tuple(
        Axis(writer.sizes.dim(size), left.strides[axis], right.strides[axis], "")
        for axis, size in enumerate(step.batch)
        if size != 1
    )
    sizes = (
        writer.sizes.dim(step.rows),
        writer.sizes.dim(step.columns),
        writer.sizes.dim(step.depth),
    )
    count = writer.sizes.dim(shapes.element_count(step.batch))
    work = estimate((*step.batch, step.rows, step.columns, step.depth))
    is_small = _is_small(step)
    uses_library = step.dtype in _BLAS_TYPES and work >= _BLAS_LEAST and not is_small
    store = _library_store(writer, step.dtype) if uses_library else None
    may_be_few = min(map(shapes.lower_bound, (step.rows, step.columns))) <= FEW
    text = DeviceProductText(
        writer.device_text(step),
        element_type(step.dtype, is_tf32=is_tf32 and uses_library),
        left, right, sizes, axes, count,
        uses_library, is_small, may_be_few, store,
    )  # fmt: skip
    rendered = render("cuda/product.cu.j2", p=text)
    header = "cuda/blas_product.cuh" if uses_library else "cuda/product.cuh"
    return writer.code(step.name, rendered, text.kernel, (header,))


def _is_small(step: ProductStep) -> bool:
    """Whether each matrix of the batch is too small for a tile, or for a library."""
    size = shapes.upper_bound(step.rows) * shapes.upper_bound(step.columns)
    return size <= _SMALL_SIZE and shapes.upper_bound(step.depth) <= _SMALL_DEPTH


def _write_coded(step: ProductStep, coded: CodedRight) -> KernelCode:
    """The code of a product whose right operand is kept as codes."""
    writer = DeviceProductWriter(step.epilogue)
    assert not step.batch, "one product for all that the codes are multiplied with"
    left, codes = writer.sizes.operand(step.left), writer.sizes.pointer(step.right.buffer, 0)
    scales = writer.sizes.pointer(coded.scales, 0)
    sizes = (
        writer.sizes.dim(step.rows),
        writer.sizes.dim(step.columns),
        writer.sizes.dim(step.depth),
    )
    bounds = shapes.lower_bound(step.rows), min(shapes.upper_bound(step.rows), _MANY_ROWS)
    text = CodedProductText(
        writer.device_text(step), element_type(step.dtype), left, codes, scales, coded.coding.bits,
        sizes, bounds,
    )  # fmt: skip
    rendered = render("cuda/coded_product.cu.j2", p=text)
    return writer.code(step.name, rendered, text.kernel, ("cuda/coded.cuh",))


def _library_store(writer: DeviceProductWriter, dtype: DType) -> LibraryStore | None:
    """The epilogue as cuBLASLt has it, or None: its relu is not PyTorch's, it knows no other bounds, and it adds no
    bias to rows.
    """
    plain = writer.plain((dtype, dtype.compute))
    if plain is None or plain.is_bounded or plain.bias_row:
        return None
    (store,) = writer.epilogue.stores
    return LibraryStore(
        plain.output,
        writer.sizes.dim(plain.batch_stride),
        plain.row_stride,
        plain.bias_column,
        store.buffer.dtype is dtype,
    )


def _attention_bounds(sizes: Mapping[str, Dim]) -> tuple[int, int]:
    """Elements of the larger head, and query rows of a key head; 0 for what is not known."""
    depth, value_depth = sizes["depth"], sizes["value_depth"]
    head = max(depth, value_depth) if isinstance(depth, int) and isinstance(value_depth, int) else 0
    heads, kv_heads, queries = sizes["heads"], sizes["kv_heads"], sizes["queries"]
    if not (isinstance(heads, int) and isinstance(kv_heads, int) and isinstance(queries, int)):
        return head, 0
    return head, heads // max(kv_heads, 1) * queries


def write_attention(step: AttentionStep) -> KernelCode:
    """The code of fused attention."""
    assert step.tail is None, "keys are split for the CPU alone"
    writer = DeviceProductWriter(step.epilogue)
    query, key, value = (writer.sizes.operand(v) for v in (step.query, step.key, step.value))
    mask = writer.sizes.operand(step.mask) if step.mask is not None else None
    sizes = {
        "batch": step.query.shape[0],
        "heads": step.query.shape[1],
        "kv_heads": step.key.shape[1],
        "queries": step.query.shape[2],
        "keys": step.key.shape[2],
        "depth": step.query.shape[3],
        "value_depth": step.value.shape[3],
    }
    texts = {name: writer.sizes.dim(size) for name, size in sizes.items()}
    is_bool = step.mask is not None and step.mask.buffer.dtype is DType.BOOL
    text = DeviceAttentionText(
        writer.device_text(step),
        element_type(step.dtype),
        texts,
        query,
        key,
        value,
        mask,
        "CASTOFF_MASK_KEEP" if is_bool else "CASTOFF_MASK_ADD",
        cpu.literal_text(step.attributes.scale, DType.FLOAT32),
        step.attributes.is_causal,
        *_attention_bounds(sizes),
    )
    rendered = render("cuda/attention.cu.j2", a=text)
    return writer.code(step.name, rendered, text.kernel, ("cuda/attention.cuh",))
