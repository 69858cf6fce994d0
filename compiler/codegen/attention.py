"""Attention as C: calls of the constant kernels."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.dtypes import DType
from ..ir.shapes import Dim
from ..lowering.program import AttentionStep
from ..records import dataclass
from ..targets import cpu
from .kernel_text import KernelCode, KernelText
from .product_writer import GEMM_SUFFIX, Operand, PlainStore, ProductWriter
from .render import render

ATTENTION_HEADER = "cpu/attention.h"


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
    suffix, header = GEMM_SUFFIX[step.dtype], ATTENTION_HEADER
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
