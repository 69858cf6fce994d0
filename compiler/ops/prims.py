"""The `prims` targets of decomposed programs: operators of `aten` without promotion."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..kernels import Number
from .base import Builder, Operand, target
from .creation import filled

Ignored = object

_UNARY = {
    "abs": "abs", "acos": "acos", "acosh": "acosh", "asin": "asin", "asinh": "asinh",
    "atan": "atan", "atanh": "atanh", "bessel_i0": "i0", "bessel_i0e": "special_i0e",
    "bessel_i1": "special_i1", "bessel_i1e": "special_i1e", "bessel_j0": "special_bessel_j0",
    "bessel_j1": "special_bessel_j1", "ceil": "ceil", "cos": "cos", "cosh": "cosh",
    "digamma": "digamma", "erf": "erf", "erf_inv": "erfinv", "erfc": "erfc",
    "erfcx": "special_erfcx", "exp": "exp", "exp2": "exp2", "expm1": "expm1", "floor": "floor",
    "lgamma": "lgamma", "log": "log", "log10": "log10", "log1p": "log1p", "log2": "log2",
    "ndtri": "special_ndtri", "neg": "neg", "reciprocal": "reciprocal", "round": "round",
    "rsqrt": "rsqrt", "sin": "sin", "sinh": "sinh",
    "spherical_bessel_j0": "special_spherical_bessel_j0",
    "sqrt": "sqrt", "tan": "tan", "tanh": "tanh", "trunc": "trunc",
}  # fmt: skip
"""`prims` name -> `aten` name."""

_BINARY = {
    "add": "add.Tensor", "sub": "sub.Tensor", "mul": "mul.Tensor", "atan2": "atan2.default",
    "bitwise_and": "bitwise_and.Tensor", "bitwise_or": "bitwise_or.Tensor",
    "bitwise_xor": "bitwise_xor.Tensor", "eq": "eq.Tensor", "ne": "ne.Tensor", "lt": "lt.Tensor",
    "le": "le.Tensor", "gt": "gt.Tensor", "ge": "ge.Tensor", "fmax": "fmax.default",
    "fmin": "fmin.default", "fmod": "fmod.Tensor", "gcd": "gcd.default", "hypot": "hypot.default",
    "igamma": "igamma.default", "igammac": "igammac.default", "maximum": "maximum.default",
    "minimum": "minimum.default", "nextafter": "nextafter.default", "pow": "pow.Tensor_Tensor",
    "remainder": "remainder.Tensor", "shift_left": "bitwise_left_shift.Tensor",
    "shift_right_arithmetic": "bitwise_right_shift.Tensor", "zeta": "special_zeta.default",
}  # fmt: skip


def _register_unary(name: str, function: str) -> None:
    @target(f"prims.{name}.default")
    def unary(b: Builder, self: Value) -> Value:
        result: Value = b.call(f"aten.{function}.default", self)
        return result


def _register_binary(name: str, function: str) -> None:
    @target(f"prims.{name}.default")
    def binary(b: Builder, self: Operand, other: Operand) -> Value:
        result: Value = b.call(f"aten.{function}", self, other)
        return result


for _name, _function in _UNARY.items():
    _register_unary(_name, _function)
for _name, _function in _BINARY.items():
    _register_binary(_name, _function)


@target("prims.div.default")
def div(b: Builder, self: Operand, other: Operand) -> Value:
    """Of integers: rounded towards zero."""
    mode = "trunc" if b.result_type(self, other).is_integer else None
    result: Value = b.call("aten.div.Tensor_mode", self, other, mode)
    return result


@target("prims.cbrt.default")
def cbrt(b: Builder, self: Value) -> Value:
    size = b.call("aten.pow.Tensor_Scalar", b.call("aten.abs.default", self), 1 / 3)
    return b.apply("mul", b.cast(b.call("aten.sign.default", self), size.dtype), size)


@target("prims.where.default")
def where(builder: Builder, /, pred: Value, a: Value, b: Value) -> Value:
    return builder.where(pred, a, b)


@target("prims.conj.default", alias=True)
def conj(b: Builder, a: Value) -> Value:
    result: Value = b.call("aten.conj.default", a)
    return result


@target("prims.sum.default")
def sum(
    b: Builder, inp: Value, dims: Sequence[int] | None, output_dtype: DType | None = None
) -> Value:
    """Of integers in int64, as everywhere in PyTorch, unless a dtype is given."""
    result: Value = b.call("aten.sum.dim_IntList", inp, dims, dtype=output_dtype)
    return result


@target("prims.prod.default")
def prod(
    b: Builder, inp: Value, dims: Sequence[int] | None, output_dtype: DType | None = None
) -> Value:
    result: Value = b.call("aten.prod.default", inp, dims, dtype=output_dtype)
    return result


def _register_extremum(name: str) -> None:
    @target(f"prims.{name}.default")
    def extremum(
        b: Builder, inp: Value, dims: Sequence[int] | None, output_dtype: DType | None = None
    ) -> Value:
        result: Value = b.call(f"aten.{name}.default", inp, () if dims is None else dims)
        return result if output_dtype is None else b.cast(result, output_dtype)


for _name in ("amax", "amin"):
    _register_extremum(_name)


@target("prims.xor_sum.default")
def xor_sum(
    b: Builder, inp: Value, dims: Sequence[int] | None, output_dtype: DType | None = None
) -> Value:
    result = b.reduce("xor", inp, range(inp.rank) if dims is None else dims)
    return result if output_dtype is None else b.cast(result, output_dtype)


@target("prims.var.default")
def var(
    b: Builder, inp: Value, dims: Sequence[int] | None, correction: float | None = 1,
    output_dtype: DType | None = None,
) -> Value:  # fmt: skip
    result: Value = b.call("aten.var.correction", inp, dims, correction=correction)
    return result if output_dtype is None else b.cast(result, output_dtype)


@target("prims.fill.default")
def fill(b: Builder, self: Value, value: Operand) -> Value:
    return filled(b, self.shape, value, self.dtype)


@target("prims.full.default")
def full(
    b: Builder, shape: Sequence[Dim], fill_value: Operand, dtype: DType, device: Ignored = None,
    requires_grad: bool = False,
) -> Value:  # fmt: skip
    return filled(b, shape, fill_value, dtype)


@target("prims.full_like.default")
def full_like(
    b: Builder, a: Value, fill_value: Operand, dtype: DType, device: Ignored = None,
    requires_grad: bool = False,
) -> Value:  # fmt: skip
    return filled(b, a.shape, fill_value, dtype)


@target("prims.empty.default", "prims.empty_strided.default", "prims.empty_permuted.default")
def empty(
    b: Builder, shape: Sequence[Dim], dtype: DType, strides: Ignored = None,
    physical_layout: Ignored = None, device: Ignored = None, requires_grad: bool = False,
) -> Value:  # fmt: skip
    return b.full(shape, 0, dtype)


@target("prims.broadcast_in_dim.default", alias=True)
def broadcast_in_dim(
    b: Builder, a: Value, shape: Sequence[Dim], broadcast_dimensions: Sequence[int]
) -> Value:
    """Dimension i of `a` becomes dimension `broadcast_dimensions[i]`."""
    wide: list[Dim] = [1] * len(shape)
    for size, axis in zip(a.shape, broadcast_dimensions, strict=True):
        wide[axis] = size
    return b.expand(b.reshape(a, wide), shape)


@target("prims.squeeze.default", alias=True)
def squeeze(b: Builder, a: Value, dimensions: Sequence[int]) -> Value:
    return b.reshape(a, tuple(s for axis, s in enumerate(a.shape) if axis not in dimensions))


@target("prims.transpose.default", alias=True)
def transpose(b: Builder, a: Value, permutation: Sequence[int]) -> Value:
    return b.permute(a, permutation)


@target("prims.reshape.default", alias=True)
def reshape(b: Builder, a: Value, shape: Sequence[Dim]) -> Value:
    return b.reshape(a, tuple(shape))


@target("prims.collapse.default", "prims.collapse_view.default", alias=True)
def collapse(b: Builder, a: Value, start: int, end: int) -> Value:
    """Dimensions `start` to `end`, both of them included, become one."""
    joined = shapes.element_count(a.shape[start : end + 1])
    return b.reshape(a, (*a.shape[:start], joined, *a.shape[end + 1 :]))


@target("prims.split_dim.default", alias=True)
def split_dim(b: Builder, a: Value, dim: int, outer_length: Dim) -> Value:
    inner = shapes.floordiv(a.shape[dim], outer_length)
    return b.reshape(a, (*a.shape[:dim], outer_length, inner, *a.shape[dim + 1 :]))


@target("prims.rev.default")
def rev(b: Builder, a: Value, dims: Sequence[int]) -> Value:
    return b.flip(a, dims)


@target("prims.cat.default")
def cat(b: Builder, tensors: Sequence[Value], dim: int) -> Value:
    return b.concatenate(tensors, dim)


@target("prims.copy_strided.default")
def copy_strided(b: Builder, a: Value, stride: Ignored = None) -> Value:
    return a


@target("prims.normal.default")
def normal(
    b: Builder, shape: Sequence[Dim], mean: Number, std: Number, dtype: DType,
    device: Ignored = None, requires_grad: bool = False, generator: Ignored = None,
) -> Value:  # fmt: skip
    result: Value = b.call("aten.normal.float_float", mean, std, shape, dtype=dtype)
    return result


@target("prims.uniform.default")
def uniform(
    b: Builder, shape: Sequence[Dim], low: float, high: float, dtype: DType,
    device: Ignored = None, stride: Ignored = None, generator: Ignored = None,
) -> Value:  # fmt: skip
    result: Value = b.call(
        "aten.uniform.default", b.full(shape, 0, dtype), to=high, **{"from": low}
    )
    return result


@target("prims.view_of_dtype.default", alias=True)
def view_of_dtype(b: Builder, a: Value, dtype: DType) -> Value:
    result: Value = b.call("aten.view.dtype", a, dtype)
    return result


@target("prims.as_strided_scatter.default")
def as_strided_scatter(
    b: Builder, self: Value, src: Value, size: Sequence[Dim], stride: Sequence[Dim],
    storage_offset: Dim,
) -> Value:  # fmt: skip
    result: Value = b.call(
        "aten.as_strided_scatter.default", self, src, size, stride, storage_offset
    )
    return result


@target("prims.resize.default", alias=True)
def resize(b: Builder, a: Value, shape: Sequence[Dim]) -> Value:
    result: Value = b.call("aten.resize.default", a, shape)
    return result
