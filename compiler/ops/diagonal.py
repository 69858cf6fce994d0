"""Targets about diagonals and triangles of matrices."""

from __future__ import annotations

import numpy as np

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from .base import Builder, Operand, OperatorError, normalize_axis, target
from .view import AsStridedScatter
from .windows import Diagonal, DiagonalScatter


def _to_the_end(b: Builder, x: Value, dim1: int, dim2: int) -> tuple[Value, tuple[int, ...]]:
    """`x` with two dimensions moved to the end, and the order that does it."""
    first, second = normalize_axis(dim1, x.rank), normalize_axis(dim2, x.rank)
    if first == second:
        raise OperatorError(f"diagonal of {x} along dimension {dim1} twice")
    order = (*(axis for axis in range(x.rank) if axis not in (first, second)), first, second)
    return b.permute(x, order), order


@target("aten.diagonal.default", alias=True)
@target("aten.diagonal_copy.default")
def diagonal(b: Builder, self: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    """The diagonal of two dimensions, as the last dimension."""
    return b.emit1(Diagonal(offset), _to_the_end(b, self, dim1, dim2)[0])


@target("aten.linalg_diagonal.default", alias=True)
def linalg_diagonal(
    b: Builder,
    A: Value,  # noqa: N803
    *,
    offset: int = 0,
    dim1: int = -2,
    dim2: int = -1,
) -> Value:
    """As `diagonal`, of the last two dimensions by default."""
    return diagonal(b, A, offset, dim1, dim2)


@target("aten.diagonal_scatter.default")
def diagonal_scatter(
    b: Builder, self: Value, src: Value, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Value:
    """`self` with a diagonal replaced by `src`."""
    matrix, order = _to_the_end(b, self, dim1, dim2)
    result = b.emit1(DiagonalScatter(offset), matrix, b.cast(src, self.dtype))
    return b.permute(result, [order.index(axis) for axis in range(len(order))])


@target("aten.diag_embed.default")
def diag_embed(b: Builder, self: Value, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Value:
    """Matrices that are zero but for a diagonal, which is the last dimension of `self`."""
    rank = self.rank + 1
    first, second = normalize_axis(dim1, rank), normalize_axis(dim2, rank)
    if first == second:
        raise OperatorError(f"diag_embed of {self} along dimension {dim1} twice")
    side = self.shape[-1] + abs(offset)
    zeros = b.full((*self.shape[:-1], side, side), 0, self.dtype)
    result = b.emit1(DiagonalScatter(offset), zeros, self)
    rest = iter(range(rank - 2))
    places = {first: rank - 2, second: rank - 1}
    return b.permute(result, [places[i] if i in places else next(rest) for i in range(rank)])


@target("aten.diag.default")
def diag(b: Builder, self: Value, diagonal: int = 0) -> Value:
    """The diagonal of a matrix, or the matrix with a vector on its diagonal."""
    if self.rank == 1:
        return diag_embed(b, self, diagonal)
    if self.rank != 2:
        raise OperatorError(f"diag of {self}: 1 or 2 dimensions")
    return b.emit1(Diagonal(diagonal), self)


@target("aten.diagflat.default")
def diagflat(b: Builder, self: Value, offset: int = 0) -> Value:
    """The matrix with all elements on its diagonal."""
    return diag_embed(b, b.call("aten.ravel.default", self), offset)


@target("aten.fill_diagonal.default")
def fill_diagonal(b: Builder, self: Value, fill_value: Operand, wrap: bool = False) -> Value:
    """What `fill_diagonal_` leaves: all elements whose indices are equal set to a number.

    `wrap` lets the diagonal of a tall matrix start again below an empty row.
    """
    if self.rank < 2:
        raise OperatorError(f"fill_diagonal_ of {self}: at least 2 dimensions")
    strides = shapes.contiguous_strides(self.shape)
    step = sum(strides[1:], strides[0])
    count = self.shape[0]
    for size in self.shape[1:]:
        count = shapes.minimum(count, size)
    if wrap and self.rank == 2:
        count = shapes.ceildiv(shapes.element_count(self.shape), step)
    filler = b.expand(b.tensor(fill_value, self.dtype), (count,))
    return b.emit1(AsStridedScatter((step,), 0), self, filler)


@target("aten.trace.default")
def trace(b: Builder, self: Value) -> Value:
    """The sum of the diagonal of a matrix."""
    if self.rank != 2:
        raise OperatorError(f"trace of {self}: it must be a matrix")
    total: Value = b.call("aten.sum.default", b.emit1(Diagonal(0), self))
    return total


def triangle(b: Builder, x: Value, diagonal: Dim, *, upper: bool) -> Value:
    """`x` with zeros below (`upper`) or above a diagonal of its last two dimensions."""
    if x.rank < 2:
        raise OperatorError(f"triangle of {x}: at least 2 dimensions")
    rows = b.unsqueeze(b.iota(x.shape[-2]), 1)
    columns = b.iota(x.shape[-1])
    edge = b.apply("add", rows, b.dim(diagonal))
    kept = b.apply("ge" if upper else "le", columns, edge)
    return b.where(kept, x, b.full((), 0, x.dtype))


@target("aten.triu.default")
def triu(b: Builder, self: Value, diagonal: Dim = 0) -> Value:
    """The upper triangle."""
    return triangle(b, self, diagonal, upper=True)


@target("aten.tril.default")
def tril(b: Builder, self: Value, diagonal: Dim = 0) -> Value:
    """The lower triangle."""
    return triangle(b, self, diagonal, upper=False)


@target("aten.tril_indices.default")
def tril_indices(
    b: Builder,
    row: Dim,
    col: Dim,
    offset: int = 0,
    *,
    dtype: DType | None = None,
    layout: object = None,
    device: object = None,
    pin_memory: object = None,
) -> Value:
    """Row and column indices of the lower triangle, in row-major order."""
    return _indices(b, row, col, offset, dtype, upper=False)


@target("aten.triu_indices.default")
def triu_indices(
    b: Builder,
    row: Dim,
    col: Dim,
    offset: int = 0,
    *,
    dtype: DType | None = None,
    layout: object = None,
    device: object = None,
    pin_memory: object = None,
) -> Value:
    """Row and column indices of the upper triangle, in row-major order."""
    return _indices(b, row, col, offset, dtype, upper=True)


def _indices(
    b: Builder, row: Dim, col: Dim, offset: int, dtype: DType | None, *, upper: bool
) -> Value:
    if not (isinstance(row, int) and isinstance(col, int)):
        steps = b.apply("sub", b.iota(col), b.unsqueeze(b.iota(row), 1))
        inside = b.apply("ge" if upper else "le", steps, b.full((), offset, DType.INT64))
        count = _upper_count(row, col, offset)
        if not upper:
            count = row * col - _upper_count(row, col, offset + 1)
        found = b.call("aten.nonzero_static.default", inside, size=count)
        return b.cast(b.transpose(found, 0, 1), dtype or DType.INT64)
    cells = np.stack((np.triu_indices if upper else np.tril_indices)(row, offset, col))
    return b.cast(b.array(cells.astype(np.int64), "triangle"), dtype or DType.INT64)


def _upper_count(row: Dim, col: Dim, offset: int) -> Dim:
    """How many cells (i, j) of a matrix have j - i >= offset.

    Row i has max(col - offset - i, 0), the sums of which are triangular numbers, less what is more than `col` of that
    in the rows above -offset.
    """

    def triangular(n: Dim) -> Dim:
        n = shapes.maximum(n, 0)
        return shapes.floordiv(n * (n + 1), 2)

    counted = triangular(col - offset) - triangular(col - offset - row)
    return counted - triangular(-offset) + triangular(-offset - row)
