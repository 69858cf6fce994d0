"""Products of tensors that come down to a matrix product or to an elementwise one."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from .base import Builder, OperatorError, normalize_axis, target
from .matmul import conjugated


@target("aten.outer.default", "aten.ger.default")
def outer(b: Builder, self: Value, vec2: Value) -> Value:
    """Every product of an element of one vector and one of the other."""
    left, right = b.promoted(self, vec2)
    return b.apply("mul", b.unsqueeze(left, 1), right)


@target("aten.inner.default")
def inner(b: Builder, self: Value, other: Value) -> Value:
    """Sums of products over the last dimension of both."""
    if self.rank == 0 or other.rank == 0:
        return b.apply("mul", self, other)
    return tensordot(b, self, other, (-1,), (-1,))


@target("aten.tensordot.default")
def tensordot(
    b: Builder, self: Value, other: Value, dims_self: Sequence[int], dims_other: Sequence[int]
) -> Value:
    """Sums of products over pairs of dimensions; what is left of `self` comes first."""
    left_axes = [normalize_axis(axis, self.rank) for axis in dims_self]
    right_axes = [normalize_axis(axis, other.rank) for axis in dims_other]
    if len(left_axes) != len(right_axes):
        raise OperatorError(f"tensordot over {list(dims_self)} and {list(dims_other)}")
    for i, j in zip(left_axes, right_axes, strict=True):  # a size of 1 meets any other
        if self.shape[i] == 1 and other.shape[j] != 1:
            other = b.reduce("sum", other, (j,), keepdim=True)
        elif other.shape[j] == 1 and self.shape[i] != 1:
            self = b.reduce("sum", self, (i,), keepdim=True)
    left_kept = [axis for axis in range(self.rank) if axis not in left_axes]
    right_kept = [axis for axis in range(other.rank) if axis not in right_axes]
    rows = tuple(self.shape[axis] for axis in left_kept)
    columns = tuple(other.shape[axis] for axis in right_kept)
    inner_size = shapes.element_count(self.shape[axis] for axis in left_axes)
    left = b.reshape(
        b.permute(self, [*left_kept, *left_axes]), (shapes.element_count(rows), inner_size)
    )
    right = b.reshape(
        b.permute(other, [*right_axes, *right_kept]), (inner_size, shapes.element_count(columns))
    )
    return b.reshape(b.matmul(left, right), (*rows, *columns))


@target("aten.linalg_vecdot.default")
def vecdot(b: Builder, x: Value, y: Value, *, dim: int = -1) -> Value:
    """Sums of conj(x) * y over a dimension, broadcasting the others."""
    left, right = b.promoted(conjugated(b, x), y)
    product = b.apply("mul", left, right)
    return b.reduce("sum", product, (normalize_axis(dim, product.rank),))


@target("aten.bilinear.default")
def bilinear(
    b: Builder, input1: Value, input2: Value, weight: Value, bias: Value | None = None
) -> Value:
    """out[…, k] = sum of input1[…, i] * weight[k, i, j] * input2[…, j], plus bias."""
    outputs, size1, size2 = weight.shape
    batch = input1.shape[:-1]
    rows = shapes.element_count(batch)
    flat = b.reshape(b.permute(weight, (1, 0, 2)), (size1, outputs * size2))
    half = b.reshape(b.matmul(b.reshape(input1, (rows, size1)), flat), (rows, outputs, size2))
    result = b.matmul(half, b.reshape(input2, (rows, size2, 1)))
    result = b.reshape(result, (*batch, outputs))
    return result if bias is None else b.apply("add", result, bias)


@target("aten._trilinear.default")
def trilinear(
    b: Builder,
    i1: Value,
    i2: Value,
    i3: Value,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> Value:
    """The product of three tensors, each given new dimensions first, summed over `sumdim`."""
    factors = []
    for x, added in ((i1, expand1), (i2, expand2), (i3, expand3)):
        for axis in sorted(added):
            x = b.unsqueeze(x, axis)
        factors.append(x)
    product = b.apply("mul", b.apply("mul", factors[0], factors[1]), factors[2])
    if not sumdim:
        return product
    total: Value = b.call("aten.sum.dim_IntList", product, sumdim)
    return b.cast(total, product.dtype)


@target("aten.chain_matmul.default")
def chain_matmul(b: Builder, matrices: Sequence[Value]) -> Value:
    """The product of several matrices."""
    return _multiply_chain(b, list(matrices))


@target("aten.linalg_multi_dot.default")
def multi_dot(b: Builder, tensors: Sequence[Value]) -> Value:
    """The product of several matrices, of which the first and last may be vectors."""
    chain = list(tensors)
    is_row, is_column = chain[0].rank == 1, chain[-1].rank == 1
    if is_row:
        chain[0] = b.unsqueeze(chain[0], 0)
    if is_column:
        chain[-1] = b.unsqueeze(chain[-1], 1)
    result = _multiply_chain(b, chain)
    if is_column:
        result = b.squeeze(result, 1)
    return b.squeeze(result, 0) if is_row else result


def _multiply_chain(b: Builder, chain: list[Value]) -> Value:
    """The product in the order that costs least, where the sizes are known."""
    sizes: list[Dim] = [chain[0].shape[0], *(x.shape[1] for x in chain)]
    known = [size if isinstance(size, int) else 1 for size in sizes]
    count = len(chain)
    cost = [[0] * count for _ in range(count)]
    cut = [[0] * count for _ in range(count)]
    for length in range(2, count + 1):
        for i in range(count - length + 1):
            j = i + length - 1
            options = (
                (cost[i][k] + cost[k + 1][j] + known[i] * known[k + 1] * known[j + 1], k)
                for k in range(i, j)
            )
            cost[i][j], cut[i][j] = min(options)

    def product(i: int, j: int) -> Value:
        if i == j:
            return chain[i]
        return b.matmul(product(i, cut[i][j]), product(cut[i][j] + 1, j))

    return product(0, count - 1)


@target("aten.kron.default")
def kron(b: Builder, self: Value, other: Value) -> Value:
    """The Kronecker product: every element of `self` times all of `other`."""
    left, right = b.promoted(self, other)
    rank = max(left.rank, right.rank)
    outer_shape = (1,) * (rank - left.rank) + left.shape
    inner_shape = (1,) * (rank - right.rank) + right.shape
    blocks = b.apply(
        "mul",
        b.reshape(left, [n for size in outer_shape for n in (size, 1)]),
        b.reshape(right, [n for size in inner_shape for n in (1, size)]),
    )
    return b.reshape(blocks, [m * n for m, n in zip(outer_shape, inner_shape, strict=True)])


@target("aten.linalg_cross.default")
def linalg_cross(b: Builder, self: Value, other: Value, *, dim: int = -1) -> Value:
    """The vector product along a dimension of size 3."""
    if self.rank != other.rank:
        raise OperatorError(f"cross of {self} and {other}: they need equally many dimensions")
    x, y = b.promoted(self, other)
    common = shapes.broadcast_shapes(x.shape, y.shape)
    axis = normalize_axis(dim, len(common))
    if shapes.is_equal(common[axis], 3) is False:
        raise OperatorError(f"cross of {self} and {other}: dimension {dim} must have size 3")
    x, y = b.expand(x, common), b.expand(y, common)

    def rotated(value: Value, by: int) -> Value:
        parts = (b.slice(value, axis, by, 3 - by), b.slice(value, axis, 0, by))
        return b.concatenate(parts, axis)

    first = b.apply("mul", rotated(x, 1), rotated(y, 2))
    return b.apply("sub", first, b.apply("mul", rotated(x, 2), rotated(y, 1)))


@target("aten.cross.default")
def cross(b: Builder, self: Value, other: Value, dim: int | None = None) -> Value:
    """The vector product along `dim`, by default the first dimension of size 3."""
    if dim is None:
        sized = [axis for axis, size in enumerate(self.shape) if size == 3]
        if not sized:
            raise OperatorError(f"cross of {self}: no dimension has size 3")
        dim = sized[0]
    return linalg_cross(b, self, other, dim=dim)


@target("aten.linalg_matrix_power.default", "aten.matrix_power.default")
def matrix_power(b: Builder, self: Value, n: int) -> Value:
    """A square matrix multiplied with itself; its inverse for negative `n`."""
    if self.rank < 2 or shapes.is_equal(self.shape[-1], self.shape[-2]) is False:
        raise OperatorError(f"power of {self}: the matrices must be square")
    if n < 0:
        self, n = b.call("aten.linalg_inv.default", self), -n
    if n == 0:
        return b.expand(identity(b, self.shape[-1], self.dtype), self.shape)
    result: Value | None = None
    square = self
    while True:
        if n % 2:
            result = square if result is None else b.matmul(result, square)
        n //= 2
        if n == 0:
            assert result is not None, "a positive number has a binary digit"
            return result
        square = b.matmul(square, square)


def identity(b: Builder, size: Dim, dtype: DType) -> Value:
    """The identity matrix."""
    places = b.iota(size)
    return b.cast(b.apply("eq", b.unsqueeze(places, 1), places), dtype)
