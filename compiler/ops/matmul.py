"""Matrix products."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..kernels import Definition
from ..records import dataclass
from .base import Builder, Environment, Op, Operand, OperatorError, target
from .pointwise import widen

LEVELS: Mapping[DType, tuple[int, int]] = {DType.INT8: (-128, 127), DType.UINT8: (0, 255)}
"""The types of levels, with the lowest and the highest."""


def fits_zero(zero: int | None, left: DType, right: DType) -> bool:
    """Whether a product with this `zero` takes operands of these types."""
    if zero is None:
        return left is right
    low, high = LEVELS.get(left, (1, 0))
    return right is DType.INT8 and low <= zero <= high


@dataclass(frozen=True, slots=True)
class MatMul(Op):
    """left [..., M, K] times right [..., K, N] with broadcast batch dimensions; one dtype, float32
    accumulation for narrow floats.

    With `zero`, left is levels of 8 bits, signed or not, that one standing for 0; right is int8, and
    the result int32, exact.
    """

    zero: int | None = None

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        left, right = inputs
        if (
            not fits_zero(self.zero, left.dtype, right.dtype)
            or min(left.rank, right.rank) < 2
            or shapes.is_equal(left.shape[-1], right.shape[-2]) is False
        ):
            raise OperatorError(f"matrix product of {left} and {right}")
        try:
            batch = shapes.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        except ValueError:
            raise OperatorError(f"matrix product of {left} and {right}") from None
        dtype = left.dtype if self.zero is None else DType.INT32
        return (TensorType(dtype, (*batch, left.shape[-2], right.shape[-1])),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        if self.zero is not None:
            left, right = (x.astype(np.int64) for x in inputs)
            return (np.matmul(left - self.zero, right).astype(np.int32),)
        left, right = (widen(x) for x in inputs)
        if left.dtype == bool:
            return (np.matmul(left.astype(np.int64), right.astype(np.int64)) != 0,)
        return (np.matmul(left, right),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (output,) = outputs
        if 0 in output.shape or inputs[0].shape[-1] == 0:
            zero = kernels.literal(0, output.dtype)
            return (kernels.Pointwise(lambda index: zero),)
        return (kernels.MatrixProduct(zero=self.zero),)


# ------------------------------------------------------------------------------------------ targets


def scaled(b: Builder, x: Value, factor: Operand) -> Value:
    """`x` times a number, kept in its dtype; `x` itself for 1."""
    if isinstance(factor, (bool, int, float, complex)) and factor == 1:
        return x
    return b.apply("mul", x, b.tensor(factor, x.dtype))


def plus_scaled(b: Builder, self: Value, product: Value, beta: Operand, alpha: Operand) -> Value:
    """beta * self + alpha * product; with beta 0 nothing of `self` comes through, not even NaN."""
    product = scaled(b, product, alpha)
    if isinstance(beta, (bool, int, float, complex)) and beta == 0:
        return product
    return b.apply("add", scaled(b, b.cast(self, product.dtype), beta), product)


@target("aten.mm.default", "aten.bmm.default")
def mm(b: Builder, self: Value, mat2: Value) -> Value:
    """The product of two matrices, or of two batches of them."""
    return b.matmul(self, mat2)


@target("aten.mm.dtype", "aten.bmm.dtype")
def mm_dtype(b: Builder, self: Value, mat2: Value, out_dtype: DType) -> Value:
    """As `mm`, with the result in a wider type."""
    return b.matmul(b.cast(self, out_dtype), b.cast(mat2, out_dtype))


@target("aten._int_mm.default")
def int_mm(b: Builder, self: Value, mat2: Value) -> Value:
    """int8 matrices multiplied in int32."""
    return b.matmul(b.cast(self, DType.INT32), b.cast(mat2, DType.INT32))


@target("aten._weight_int8pack_mm.default")
def weight_int8pack_mm(b: Builder, self: Value, mat2: Value, scales: Value) -> Value:
    """self [M, K] times the transpose of mat2 [N, K] of int8, each column times its scale [N]: in
    float32, rounded once."""
    columns = b.transpose(b.cast(mat2, DType.FLOAT32), 0, 1)
    product = b.matmul(b.cast(self, DType.FLOAT32), columns)
    return b.cast(b.apply("mul", product, b.cast(scales, DType.FLOAT32)), self.dtype)


@target("aten.matmul.default", "aten.linalg_matmul.default")
def matmul(b: Builder, self: Value, other: Value) -> Value:
    """NumPy's matmul: vectors are rows on the left, columns on the right, and disappear again."""
    if not self.rank or not other.rank:
        raise OperatorError(f"matmul of {self} and {other}: both need at least 1 dimension")
    left = b.unsqueeze(self, 0) if self.rank == 1 else self
    right = b.unsqueeze(other, 1) if other.rank == 1 else other
    result = b.matmul(left, right)
    if other.rank == 1:
        result = b.squeeze(result, -1)
    if self.rank == 1:
        result = b.squeeze(result, -1 if other.rank == 1 else -2)
    return result


@target("aten.mv.default")
def mv(b: Builder, self: Value, vec: Value) -> Value:
    """Matrix times vector."""
    return matmul(b, self, vec)


@target("aten.dot.default")
def dot(b: Builder, self: Value, tensor: Value) -> Value:
    """The sum of the products of two vectors."""
    return matmul(b, self, tensor)


@target("aten.vdot.default")
def vdot(b: Builder, self: Value, other: Value) -> Value:
    """As `dot`, with the first vector conjugated."""
    return matmul(b, conjugated(b, self), other)


def conjugated(b: Builder, x: Value) -> Value:
    """The complex conjugate; real values as they are."""
    if not x.dtype.is_complex:
        return x
    result: Value = b.call("aten.conj_physical.default", x)
    return result


@target("aten.addmm.default")
def addmm(
    b: Builder, self: Value, mat1: Value, mat2: Value, *, beta: Operand = 1, alpha: Operand = 1
) -> Value:
    """beta * self + alpha * (product of two matrices)."""
    return plus_scaled(b, self, b.matmul(mat1, mat2), beta, alpha)


@target("aten.baddbmm.default")
def baddbmm(
    b: Builder, self: Value, batch1: Value, batch2: Value, *, beta: Operand = 1, alpha: Operand = 1
) -> Value:
    """beta * self + alpha * (products of two batches of matrices)."""
    return plus_scaled(b, self, b.matmul(batch1, batch2), beta, alpha)


@target("aten.addmm.dtype")
def addmm_dtype(
    b: Builder,
    self: Value,
    mat1: Value,
    mat2: Value,
    out_dtype: DType,
    *,
    beta: Operand = 1,
    alpha: Operand = 1,
) -> Value:
    """As `addmm`, with the product in a wider type."""
    return plus_scaled(b, self, mm_dtype(b, mat1, mat2, out_dtype), beta, alpha)


@target("aten.baddbmm.dtype")
def baddbmm_dtype(
    b: Builder,
    self: Value,
    batch1: Value,
    batch2: Value,
    out_dtype: DType,
    *,
    beta: Operand = 1,
    alpha: Operand = 1,
) -> Value:
    """As `baddbmm`, with the product in a wider type."""
    return plus_scaled(b, self, mm_dtype(b, batch1, batch2, out_dtype), beta, alpha)


@target("aten._addmm_activation.default")
def addmm_activation(
    b: Builder,
    self: Value,
    mat1: Value,
    mat2: Value,
    *,
    beta: Operand = 1,
    alpha: Operand = 1,
    use_gelu: bool = False,
) -> Value:
    """`addmm` followed by relu or gelu."""
    total = plus_scaled(b, self, b.matmul(mat1, mat2), beta, alpha)
    result: Value = b.call("aten.gelu.default" if use_gelu else "aten.relu.default", total)
    return result


@target("aten.addmv.default")
def addmv(
    b: Builder, self: Value, mat: Value, vec: Value, *, beta: Operand = 1, alpha: Operand = 1
) -> Value:
    """beta * self + alpha * (matrix times vector)."""
    return plus_scaled(b, self, matmul(b, mat, vec), beta, alpha)


@target("aten.addr.default")
def addr(
    b: Builder, self: Value, vec1: Value, vec2: Value, *, beta: Operand = 1, alpha: Operand = 1
) -> Value:
    """beta * self + alpha * (outer product of two vectors)."""
    dtype = b.result_type(self, vec1, vec2)
    if dtype is DType.BOOL:
        return _bool_addr(b, self, vec1, vec2, beta, alpha)
    product = b.apply("mul", b.unsqueeze(b.cast(vec1, dtype), 1), b.cast(vec2, dtype))
    return plus_scaled(b, self, product, beta, alpha)


def _bool_addr(
    b: Builder, self: Value, vec1: Value, vec2: Value, beta: Operand, alpha: Operand
) -> Value:
    product = b.apply("logical_and", b.unsqueeze(vec1, 1), vec2)
    product = b.apply("logical_and", product, b.tensor(alpha, DType.BOOL))
    return b.apply("logical_or", b.apply("logical_and", self, b.tensor(beta, DType.BOOL)), product)


@target("aten.addbmm.default")
def addbmm(
    b: Builder, self: Value, batch1: Value, batch2: Value, *, beta: Operand = 1, alpha: Operand = 1
) -> Value:
    """beta * self + alpha * (sum over the batch of matrix products)."""
    count, rows, inner = batch1.shape
    left = b.reshape(b.transpose(batch1, 0, 1), (rows, count * inner))
    right = b.reshape(batch2, (count * inner, batch2.shape[2]))
    return plus_scaled(b, self, b.matmul(left, right), beta, alpha)


@target("aten.linear.default")
def linear(b: Builder, input: Value, weight: Value, bias: Value | None = None) -> Value:
    """input times the transpose of `weight`, plus `bias`.

    The weight stays a permutation of what the program holds: lowering packs it once.
    """
    if weight.rank == 1:
        result = matmul(b, input, weight)
    else:
        rows = b.unsqueeze(input, 0) if input.rank == 1 else input
        result = b.matmul(rows, b.transpose(weight, 0, 1))
        result = b.squeeze(result, 0) if input.rank == 1 else result
    return result if bias is None else b.apply("add", result, bias)
