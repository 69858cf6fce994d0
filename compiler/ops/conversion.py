"""Conversions of dtype, copies, and operators that only pass their argument on."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.dtypes import DType
from ..ir.graph import Value
from .base import Builder, OperatorError, target
from .pointwise import BitCast, CastTo
from .reinterpret import Reinterpret
from .view import Reshape, Slice

Ignored = object
"""Where a tensor lies (device, layout, pinning) and in what order is decided by the compiler."""


def converted(b: Builder, x: Value, dtype: DType | None, copy: bool) -> Value:
    """`x` as a dtype: `x` itself where it has it, unless a copy is asked for."""
    dtype = dtype or x.dtype
    if dtype is DType.COMPLEX32:
        raise OperatorError("complex32 tensors are not supported")
    if x.dtype is dtype and not copy:
        return x
    return b.emit1(CastTo(dtype), x)


@target("aten.to.dtype", alias=True)
def to_dtype(
    b: Builder, self: Value, dtype: DType, non_blocking: bool = False, copy: bool = False,
    memory_format: Ignored = None,
) -> Value:  # fmt: skip
    return converted(b, self, dtype, copy)


@target("aten.to.device", alias=True)
def to_device(
    b: Builder, self: Value, device: Ignored, dtype: DType, non_blocking: bool = False,
    copy: bool = False, memory_format: Ignored = None,
) -> Value:  # fmt: skip
    return converted(b, self, dtype, copy)


@target("aten.to.dtype_layout", alias=True)
def to_dtype_layout(
    b: Builder, self: Value, dtype: DType | None = None, layout: Ignored = None,
    device: Ignored = None, pin_memory: Ignored = None, non_blocking: bool = False,
    copy: bool = False, memory_format: Ignored = None,
) -> Value:  # fmt: skip
    return converted(b, self, dtype, copy)


@target("aten.to.prim_Device", "aten.to.prim_dtype", "aten.to.prim_other", alias=True)
def to_prim(
    b: Builder, self: Value, device: Ignored = None, dtype: DType | None = None,
    non_blocking: bool = False, copy: bool = False,
) -> Value:  # fmt: skip
    return converted(b, self, dtype, copy)


@target("aten.to.other", alias=True)
def to_other(
    b: Builder, self: Value, other: Value, non_blocking: bool = False, copy: bool = False,
    memory_format: Ignored = None,
) -> Value:  # fmt: skip
    return converted(b, self, other.dtype, copy)


@target("aten.type_as.default", alias=True)
def type_as(b: Builder, self: Value, other: Value) -> Value:
    return converted(b, self, other.dtype, False)


@target("aten._to_copy.default")
def to_copy(
    b: Builder, self: Value, dtype: DType | None = None, layout: Ignored = None,
    device: Ignored = None, pin_memory: Ignored = None, non_blocking: bool = False,
    memory_format: Ignored = None,
) -> Value:  # fmt: skip
    return converted(b, self, dtype, False)


@target("prims.convert_element_type.default")
def convert_element_type(b: Builder, a: Value, dtype: DType) -> Value:
    return converted(b, a, dtype, False)


@target("aten._to_cpu.default")
def to_cpu(b: Builder, tensors: Sequence[Value]) -> list[Value]:
    return list(tensors)


_NAMED_CASTS = {
    "Byte": DType.UINT8, "Char": DType.INT8, "Double": DType.FLOAT64, "Float": DType.FLOAT32,
    "Half": DType.FLOAT16, "Int": DType.INT32, "Long": DType.INT64, "Short": DType.INT16,
}  # fmt: skip


def _register_named_cast(name: str, dtype: DType) -> None:
    @target(f"aten._cast_{name}.default")
    def cast(b: Builder, self: Value, non_blocking: bool = False) -> Value:
        return converted(b, self, dtype, False)


for _name, _dtype in _NAMED_CASTS.items():
    _register_named_cast(_name, _dtype)


@target("aten._autocast_to_reduced_precision.default")
def autocast_to_reduced_precision(
    b: Builder,
    self: Value,
    cuda_enabled: bool,
    cpu_enabled: bool,
    cuda_dtype: DType,
    cpu_dtype: DType,
) -> Value:
    return converted(
        b, self, cpu_dtype if cpu_enabled and self.dtype is DType.FLOAT32 else None, False
    )


@target("aten._autocast_to_full_precision.default")
def autocast_to_full_precision(
    b: Builder, self: Value, cuda_enabled: bool, cpu_enabled: bool
) -> Value:
    narrow = self.dtype in (DType.FLOAT16, DType.BFLOAT16)
    return converted(b, self, DType.FLOAT32 if cpu_enabled and narrow else None, False)


# ---------------------------------------------------------------------------------------- copies


@target("aten.clone.default", "prims.clone.default")
def clone(b: Builder, self: Value, memory_format: Ignored = None) -> Value:
    return self


@target("aten.lift.default", "aten.lift_fresh_copy.default", "aten.alias_copy.default",
        "aten.detach_copy.default", "aten._lazy_clone.default")  # fmt: skip
def copied(b: Builder, self: Value) -> Value:
    return self


@target("aten.alias.default", "aten.detach.default", "aten.lift_fresh.default", "aten.data.default",
        alias=True)  # fmt: skip
def same(b: Builder, self: Value) -> Value:
    return self


@target("aten.pin_memory.default", "aten._pin_memory.default")
def pin_memory(b: Builder, self: Value, device: Ignored = None) -> Value:
    return self


@target("aten._fw_primal.default", alias=True)
def fw_primal(b: Builder, self: Value, level: int) -> Value:
    return self


@target("prims.view_of.default", alias=True)
def view_of(b: Builder, a: Value) -> Value:
    return a


@target("prims.device_put.default")
def device_put(b: Builder, a: Value, device: Ignored, non_blocking: bool = False) -> Value:
    return a


@target("aten.contiguous.default", alias=True)
def contiguous(b: Builder, self: Value, memory_format: Ignored = 0) -> Value:
    """Shares memory where the elements already lie in order, as far as the chain of views tells."""
    return self if _is_contiguous(b, self) else b.emit1(CastTo(self.dtype), self)


def _is_contiguous(b: Builder, x: Value) -> bool:
    node = b.producer(x)
    if node is None or not node.op.is_view:
        return True
    match node.op:
        case Reshape() | BitCast() | Reinterpret():
            return _is_contiguous(b, node.inputs[0])
        case Slice(axis=axis, step=1):
            leading = node.inputs[0].shape[:axis]
            return all(size == 1 for size in leading) and _is_contiguous(b, node.inputs[0])
    return False


@target("aten._saturate_weight_to_fp16.default")
def saturate_weight_to_fp16(b: Builder, weight: Value) -> Value:
    limit = b.full((), 65504.0, weight.dtype)
    low = b.apply("maximum", weight, b.apply("neg", limit))
    return b.apply("minimum", low, limit)


@target("aten._shape_as_tensor.default")
def shape_as_tensor(b: Builder, self: Value) -> Value:
    if not self.rank:
        return b.full((0,), 0, DType.INT64)
    return b.concatenate([b.reshape(b.dim(size), (1,)) for size in self.shape], 0)
