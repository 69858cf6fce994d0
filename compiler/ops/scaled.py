"""Matrix products of float8 with scales, as PyTorch's processor kernels compute them."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from .base import Builder, OperatorError, target

_FLOAT8 = (DType.FLOAT8_E4M3FN, DType.FLOAT8_E5M2)
_PER_TENSOR, _PER_ROW = 0, 1
"""`ScalingType`: one scale, or one for each row of the left and each column of the right."""


@target("aten._scaled_mm.default")
def scaled_mm(
    b: Builder,
    self: Value,
    mat2: Value,
    scale_a: Value,
    scale_b: Value,
    bias: Value | None = None,
    scale_result: Value | None = None,
    out_dtype: DType | None = None,
    use_fast_accum: object = False,
) -> Value:
    """self [M, K] times mat2 [K, N], both float8, times scales that are one number each or [M, 1]
    and [1, N], plus bias [N]: added up in float32, rounded once to `out_dtype` (that of `self`).

    A float8 `out_dtype` that is asked for divides by `scale_result` before it rounds.
    """
    if self.dtype not in _FLOAT8 or mat2.dtype not in _FLOAT8 or (self.rank, mat2.rank) != (2, 2):
        raise OperatorError(f"expected two matrices of float8, got {self} and {mat2}")
    numbers = [shapes.element_count(scale.shape) == 1 for scale in (scale_a, scale_b)]
    per_row = (scale_a.rank, scale_b.rank) == (2, 2)
    if not all(numbers) and not per_row:
        raise OperatorError(
            f"scales are two numbers or [M, 1] and [1, N], got {scale_a}, {scale_b}"
        )
    product = b.matmul(b.cast(self, DType.FLOAT32), b.cast(mat2, DType.FLOAT32))
    for scale in (scale_a, scale_b):
        number = shapes.element_count(scale.shape) == 1
        factor = b.reshape(scale, ()) if number else scale
        product = b.apply("mul", product, b.cast(factor, DType.FLOAT32))
    if bias is not None:
        product = b.apply("add", product, b.cast(bias, DType.FLOAT32))
    if scale_result is not None and out_dtype in _FLOAT8:
        product = b.apply("div", product, b.reshape(scale_result, ()))
    return b.cast(product, out_dtype or self.dtype)


@target("aten._scaled_mm_v2.default")
def scaled_mm_v2(
    b: Builder,
    self: Value,
    mat2: Value,
    scale_a: Sequence[Value],
    recipe_a: Sequence[int],
    swizzle_a: Sequence[int],
    scale_b: Sequence[Value],
    recipe_b: Sequence[int],
    swizzle_b: Sequence[int],
    bias: Value | None = None,
    out_dtype: DType | None = None,
    contraction_dim: Sequence[int] = (),
    use_fast_accum: object = False,
) -> Value:
    """The same where recipes say what the scales are for; scales of blocks are for GPUs alone."""
    recipes = (*recipe_a, *recipe_b)
    if (
        len(recipes) != 2
        or not set(recipes) <= {_PER_TENSOR, _PER_ROW}
        or any((*swizzle_a, *swizzle_b))
    ):
        raise OperatorError(
            f"expected a scale per tensor or per row on either side, got recipes {list(recipe_a)} "
            f"and {list(recipe_b)} with swizzles {list(swizzle_a)} and {list(swizzle_b)}"
        )
    return scaled_mm(b, self, mat2, scale_a[0], scale_b[0], bias, None, out_dtype)
