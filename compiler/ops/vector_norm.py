"""Norms of vectors, and distances made from them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..kernels import Number
from .base import Builder, OperatorError, normalize_axes, normalize_axis, target

Axes = Sequence[int] | int | None


def magnitude(b: Builder, x: Value) -> Value:
    """|x|, real; a bool or unsigned tensor is its own."""
    result: Value = b.call("aten.abs.default", x)
    return result


def power_sum(b: Builder, size: Value, order: float, axes: Sequence[int], keepdim: bool) -> Value:
    """The sum of size**order over axes, for size >= 0 of a type that arithmetic is done in."""
    if order == 0:
        counted = b.cast(b.apply("ne", size, b.full((), 0, size.dtype)), size.dtype)
        return b.reduce("sum", counted, axes, keepdim)
    if order == 1:
        return b.reduce("sum", size, axes, keepdim)
    if order == 2:
        return b.reduce("sum", b.apply("mul", size, size), axes, keepdim)
    raised = b.apply("pow", size, b.full((), order, size.dtype))
    return b.reduce("sum", raised, axes, keepdim)


def norm_of(
    b: Builder, x: Value, order: float, axes: Sequence[int], keepdim: bool = False
) -> Value:
    """The norm over axes of a tensor of a type that arithmetic is done in."""
    size = magnitude(b, x)
    if math.isinf(order):
        if any(x.shape[axis] == 0 for axis in axes):
            raise OperatorError(f"norm of order {order} over an empty dimension of {x}")
        return b.reduce("max" if order > 0 else "min", size, axes, keepdim)
    total = power_sum(b, size, order, axes, keepdim)
    if order in (0, 1):
        return total
    if order == 2:
        return b.apply("sqrt", total)
    return b.apply("pow", total, b.full((), 1 / order, total.dtype))


@target("aten.linalg_vector_norm.default")
def linalg_vector_norm(
    b: Builder, self: Value, ord: Number = 2, dim: Axes = None, keepdim: bool = False, *,
    dtype: DType | None = None,
) -> Value:  # fmt: skip
    x = b.cast(self, dtype or self.dtype)
    if not (x.dtype.is_float or x.dtype.is_complex):
        raise OperatorError(f"norm of {x}: expected a floating-point dtype")
    result = norm_of(b, b.widen(x), float(ord.real), normalize_axes(dim, x.rank), keepdim)
    return b.cast(result, x.dtype.real)


@target("aten.linalg__powsum.default")
def linalg_powsum(
    b: Builder, self: Value, ord: Number = 2, dim: Axes = None, keepdim: bool = False, *,
    dtype: DType | None = None,
) -> Value:  # fmt: skip
    x = b.cast(self, dtype or self.dtype)
    size = magnitude(b, b.widen(x))
    axes = normalize_axes(dim, x.rank)
    return b.cast(power_sum(b, size, float(ord.real), axes, keepdim), x.dtype.real)


@target(
    "aten.norm.Scalar", "aten.norm.ScalarOpt_dim", "aten.norm.ScalarOpt_dim_dtype",
    "aten.norm.ScalarOpt_dtype", "aten.native_norm.default", "aten.native_norm.ScalarOpt_dim_dtype",
)  # fmt: skip
def norm(
    b: Builder, self: Value, p: Number | None = 2, dim: Axes = None, keepdim: bool = False,
    dtype: DType | None = None,
) -> Value:  # fmt: skip
    return linalg_vector_norm(b, self, 2 if p is None else p, dim, keepdim, dtype=dtype)


@target("aten.frobenius_norm.dim")
def frobenius_norm(b: Builder, self: Value, dim: Axes, keepdim: bool = False) -> Value:
    return linalg_vector_norm(b, self, 2, dim, keepdim)


@target("aten.norm_except_dim.default")
def norm_except_dim(b: Builder, v: Value, pow: int = 2, dim: int = 0) -> Value:
    """The norm over every dimension but one, all of them kept; over all for `dim` -1."""
    if dim == -1:
        return linalg_vector_norm(b, v, pow)
    kept = normalize_axis(dim, v.rank)
    others = [axis for axis in range(v.rank) if axis != kept]
    if not others:
        return magnitude(b, v)
    return linalg_vector_norm(b, v, pow, others, True)


@target("aten._weight_norm.default")
def weight_norm(b: Builder, v: Value, g: Value, dim: int = 0) -> Value:
    return _weight_norm(b, v, g, dim)[0]


@target("aten._weight_norm_interface.default")
def weight_norm_interface(b: Builder, v: Value, g: Value, dim: int = 0) -> tuple[Value, Value]:
    return _weight_norm(b, v, g, dim)


def _weight_norm(b: Builder, v: Value, g: Value, dim: int) -> tuple[Value, Value]:
    """(v * (g / |v|), |v|), the norms of narrow floats in float32."""
    inner = v.dtype.compute
    norms = norm_except_dim(b, b.cast(v, inner), 2, dim)
    scale = b.apply("div", b.cast(g, inner), norms)
    return b.cast(b.apply("mul", b.cast(v, inner), scale), v.dtype), norms


@target("aten.renorm.default")
def renorm(b: Builder, self: Value, p: Number, dim: int, maxnorm: Number) -> Value:
    """Every slice along `dim` scaled down to the norm `maxnorm` where it has a larger one."""
    kept = normalize_axis(dim, self.rank)
    x = b.cast(self, self.dtype.compute)
    axes = [axis for axis in range(self.rank) if axis != kept]
    norms = norm_of(b, x, float(p.real), axes, True)
    limit = b.full((), maxnorm, norms.dtype)
    shrink = b.apply("div", limit, b.apply("add", norms, b.full((), 1e-7, norms.dtype)))
    factor = b.where(b.apply("gt", norms, limit), shrink, b.full((), 1, norms.dtype))
    return b.cast(b.apply("mul", x, b.cast(factor, x.dtype)), self.dtype)


# ------------------------------------------------------------------------------------- distances


@target("aten.dist.default")
def dist(b: Builder, self: Value, other: Value, p: Number = 2) -> Value:
    return linalg_vector_norm(b, b.call("aten.sub.Tensor", self, other), p)


@target("aten.cosine_similarity.default")
def cosine_similarity(b: Builder, x1: Value, x2: Value, dim: int = 1, eps: float = 1e-8) -> Value:
    first, second = b.promoted(x1, x2)
    dtype = first.dtype
    if not (dtype.is_float or dtype.is_complex):
        raise OperatorError(f"cosine similarity of {x1} and {x2}: expected floats")
    shape = shapes.broadcast_shapes(first.shape, second.shape)
    units = []
    axes = (normalize_axis(dim, len(shape)),) if shape else ()
    for x in (first, second):
        x = b.expand(b.cast(x, dtype.compute), shape)
        length = norm_of(b, x, 2, axes, True)
        length = b.apply("maximum", length, b.full((), eps, length.dtype))
        units.append(b.apply("div", x, b.cast(length, x.dtype)))
    return b.cast(b.reduce("sum", b.apply("mul", *units), axes), dtype)


@target("aten.pairwise_distance.default")
def pairwise_distance(
    b: Builder, x1: Value, x2: Value, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Value:
    first, second = b.promoted(x1, x2)
    dtype = first.dtype
    difference = b.apply("sub", b.cast(first, dtype.compute), b.cast(second, dtype.compute))
    if not (dtype.is_float or dtype.is_complex):  # `eps` makes floats of integers
        dtype = DType.FLOAT32
        difference = b.cast(difference, dtype)
    difference = b.apply("add", difference, b.full((), eps, difference.dtype))
    result = norm_of(b, difference, p, (difference.rank - 1,), keepdim)
    return b.cast(result, dtype.real)


@target("aten.cdist.default", "aten._cdist_forward.default")
def cdist(
    b: Builder, x1: Value, x2: Value, p: float = 2.0, compute_mode: int | None = None
) -> Value:
    """Distances between the rows of x1 [..., P, M] and those of x2 [..., R, M]: [..., P, R]."""
    batch = shapes.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    first, second = b.promoted(x1, x2)
    dtype = first.dtype
    rows, columns, width = first.shape[-2], second.shape[-2], first.shape[-1]
    if width == 0:
        return b.full((*batch, rows, columns), 0, dtype)
    left = b.unsqueeze(b.cast(first, dtype.compute), -2)
    right = b.unsqueeze(b.cast(second, dtype.compute), -3)
    difference = b.apply("sub", left, right)
    return b.cast(norm_of(b, difference, p, (difference.rank - 1,)), dtype)


@target("aten._euclidean_dist.default")
def euclidean_dist(b: Builder, x1: Value, x2: Value) -> Value:
    return cdist(b, x1, x2)


@target("aten.pdist.default", "aten._pdist_forward.default")
def pdist(b: Builder, self: Value, p: float = 2.0) -> Value:
    """Distances between the rows of a matrix: the upper triangle of `cdist`, row by row."""
    count = self.shape[0]
    pairs = b.call("aten.triu_indices.default", count, count, 1)
    if self.shape[1] == 0:
        return b.full((pairs.shape[1],), 0, self.dtype)
    x = b.cast(self, self.dtype.compute)
    left, right = (
        b.call("aten.index_select.default", x, 0, b.squeeze(b.slice(pairs, 0, i, 1), 0))
        for i in (0, 1)
    )
    return b.cast(norm_of(b, b.apply("sub", left, right), p, (1,)), self.dtype)
