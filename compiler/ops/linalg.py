"""Factorisations of matrices, determinants, and solving systems of equations."""

# Arguments are called what the operators' schemas call them.
# ruff: noqa: N803

from __future__ import annotations

from collections.abc import Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim, Shape
from .base import Builder, OperatorError, normalize_axis, target
from .linalg_factor import (
    Cholesky,
    HouseholderProduct,
    LuFactor,
    LuSolve,
    Reflect,
    TriangularSolve,
)
from .symbols import check

_SINGULAR = "a matrix is singular"
_NOT_POSITIVE = "a matrix is not positive-definite"


def adjoint(b: Builder, x: Value) -> Value:
    """Conjugate transposes."""
    result: Value = b.call("aten.mH.default", x)
    return result


def transposed(b: Builder, x: Value) -> Value:
    """Transposes of the last two dimensions."""
    return b.transpose(x, x.rank - 2, x.rank - 1)


def identity_like(b: Builder, x: Value, size: Dim) -> Value:
    """Identity matrices of a size with the batch and the dtype of `x`."""
    one: Value = b.call("aten.eye.m", size, size, dtype=x.dtype)
    return b.expand(one, (*x.shape[:-2], size, size))


def triangle(b: Builder, x: Value, upper: bool, diagonal: int = 0) -> Value:
    """The elements of one triangle, zeros elsewhere."""
    result: Value = b.call(f"aten.{'triu' if upper else 'tril'}.default", x, diagonal)
    return result


def broadcast_batches(b: Builder, left: Value, right: Value) -> tuple[Value, Value]:
    """Two batches of matrices with their batch dimensions broadcast."""
    batch = shapes.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    return (
        b.expand(left, (*batch, *left.shape[-2:])),
        b.expand(right, (*batch, *right.shape[-2:])),
    )


def no_elements(b: Builder, dtype: DType) -> Value:
    """What PyTorch gives for a result that was not asked for."""
    return b.full((0,), 0, dtype)


# ---------------------------------------------------------------------------------------- LU


@target("aten.linalg_lu_factor_ex.default")
def lu_factor_ex(
    b: Builder, A: Value, *, pivot: bool = True, check_errors: bool = False
) -> tuple[Value, Value, Value]:
    """LU, row swaps, and the first zero pivot."""
    if not pivot:
        raise OperatorError("LU factorisation without pivoting: not available on CPU")
    lu, pivots, info = b.emit(LuFactor(_SINGULAR if check_errors else ""), A)
    return lu, pivots, info


@target("aten.linalg_lu_factor.default")
def lu_factor(b: Builder, A: Value, *, pivot: bool = True) -> tuple[Value, Value]:
    """LU and row swaps."""
    lu, pivots, _ = lu_factor_ex(b, A, pivot=pivot)
    return lu, pivots


@target("aten._lu_with_info.default")
def lu_with_info(
    b: Builder, self: Value, pivot: bool = True, check_errors: bool = True
) -> tuple[Value, Value, Value]:
    """LU, row swaps, and the first zero pivot."""
    return lu_factor_ex(b, self, pivot=pivot, check_errors=check_errors)


def _permutation(b: Builder, lu: Value, pivots: Value) -> Value:
    """P with P L U = A: what the row swaps make of the identity, transposed."""
    size = lu.shape[-2]
    known = pivots.shape[-1]
    if shapes.is_equal(known, size) is not True:
        rest = b.slice(b.iota(size, DType.INT32), 0, known, size - known)
        rest = b.apply("add", rest, b.full((), 1, DType.INT32))
        rest = b.expand(rest, (*pivots.shape[:-1], size - known))
        pivots = b.concatenate([pivots, rest], -1)
    inner = lu.dtype.compute if lu.dtype.is_float or lu.dtype.is_complex else DType.FLOAT32
    one = b.cast(identity_like(b, lu, size), inner)
    return b.cast(transposed(b, b.emit1(LuSolve(), one, pivots, one)), lu.dtype)


@target("aten.lu_unpack.default")
def lu_unpack(
    b: Builder, LU_data: Value, LU_pivots: Value, unpack_data: bool = True,
    unpack_pivots: bool = True,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """P, L and U from packed factors."""
    nothing = no_elements(b, LU_data.dtype)
    permutation = _permutation(b, LU_data, LU_pivots) if unpack_pivots else nothing
    if not unpack_data:
        return permutation, nothing, nothing
    m, n = LU_data.shape[-2:]
    k = shapes.minimum(m, n)
    left = b.slice(LU_data, -1, 0, k)
    one: Value = b.call("aten.eye.m", m, k, dtype=LU_data.dtype)
    lower: Value = b.call("aten.add.Tensor", triangle(b, left, False, -1), one)
    return permutation, lower, triangle(b, b.slice(LU_data, -2, 0, k), True)


@target("aten.linalg_lu.default")
def lu(b: Builder, A: Value, *, pivot: bool = True) -> tuple[Value, Value, Value]:
    """P, L and U with A = P L U."""
    packed, pivots = lu_factor(b, A, pivot=pivot)
    return lu_unpack(b, packed, pivots)


@target("aten.linalg_lu_solve.default")
def linalg_lu_solve(
    b: Builder, LU: Value, pivots: Value, B: Value, *, left: bool = True, adjoint: bool = False
) -> Value:
    """X with A X = B, X A = B, or so with A^H, from the factors of A."""
    right = B if left else _adjoint(b, B)
    factors, right = broadcast_batches(b, LU, right)
    swaps = b.expand(pivots, (*factors.shape[:-2], pivots.shape[-1]))
    x = b.emit1(LuSolve(adjoint if left else not adjoint), factors, swaps, right)
    return x if left else _adjoint(b, x)


_adjoint = adjoint


@target("aten.lu_solve.default")
def lu_solve(b: Builder, self: Value, LU_data: Value, LU_pivots: Value) -> Value:
    """X with A X = self."""
    return linalg_lu_solve(b, LU_data, LU_pivots, self)


# ------------------------------------------------------------------------------------ solving


def is_vector_side(A: Value, B: Value) -> bool:
    """Whether B is a batch of vectors rather than of matrices, by PyTorch's rule."""
    if B.rank == 1:
        return True
    return A.rank - 1 == B.rank and all(
        shapes.is_equal(m, n) is not False for m, n in zip(A.shape[:-1], B.shape, strict=True)
    )


def solve_checked(
    b: Builder, A: Value, B: Value, left: bool, check_errors: bool
) -> tuple[Value, Value, Value, Value]:
    """X, LU, row swaps and info."""
    is_vector = is_vector_side(A, B)
    right = b.unsqueeze(B, B.rank) if is_vector else B
    factors, pivots, info = b.emit(LuFactor(_SINGULAR if check_errors else ""), A)
    x = linalg_lu_solve(b, factors, pivots, right, left=left)
    return (b.squeeze(x, x.rank - 1) if is_vector else x), factors, pivots, info


@target("aten.linalg_solve.default")
def solve(b: Builder, A: Value, B: Value, *, left: bool = True) -> Value:
    """X with A X = B (or X A = B); a singular matrix makes the run fail."""
    return solve_checked(b, A, B, left, True)[0]


@target("aten.linalg_solve_ex.default")
def solve_ex(
    b: Builder, A: Value, B: Value, *, left: bool = True, check_errors: bool = False
) -> tuple[Value, Value]:
    """X and info."""
    x, _, _, info = solve_checked(b, A, B, left, check_errors)
    return x, info


@target("aten._linalg_solve_ex.default")
def core_solve_ex(
    b: Builder, A: Value, B: Value, *, left: bool = True, check_errors: bool = False
) -> tuple[Value, Value, Value, Value]:
    """X, LU, row swaps and info."""
    return solve_checked(b, A, B, left, check_errors)


@target("aten.linalg_inv_ex.default")
def inv_ex(b: Builder, A: Value, *, check_errors: bool = False) -> tuple[Value, Value]:
    """The inverse and info."""
    factors, pivots, info = b.emit(LuFactor(_SINGULAR if check_errors else ""), A)
    return b.emit1(LuSolve(), factors, pivots, identity_like(b, A, A.shape[-1])), info


@target("aten.linalg_inv.default")
def inv(b: Builder, A: Value) -> Value:
    """The inverse; a singular matrix makes the run fail."""
    return inv_ex(b, A, check_errors=True)[0]


@target("aten.inverse.default")
def inverse(b: Builder, self: Value) -> Value:
    """The inverse; a singular matrix makes the run fail."""
    return inv(b, self)


def solve_with_triangle(
    b: Builder, A: Value, B: Value, *, upper: bool, unit: bool = False
) -> Value:
    """X with A X = B for a triangle of A; batches broadcast."""
    left, right = broadcast_batches(b, A, B)
    return b.emit1(TriangularSolve(upper, unit), left, right)


@target("aten.linalg_solve_triangular.default")
def solve_triangular(
    b: Builder, self: Value, B: Value, *, upper: bool, left: bool = True,
    unitriangular: bool = False,
) -> Value:  # fmt: skip
    """X with A X = B (or X A = B) for a triangle of A."""
    if left:
        return solve_with_triangle(b, self, B, upper=upper, unit=unitriangular)
    flipped = transposed(b, self), transposed(b, B)
    x = solve_with_triangle(b, *flipped, upper=not upper, unit=unitriangular)
    return transposed(b, x)


@target("aten.triangular_solve.default")
def triangular_solve(
    b: Builder, self: Value, A: Value, upper: bool = True, transpose: bool = False,
    unitriangular: bool = False,
) -> tuple[Value, Value]:  # fmt: skip
    """X with A X = self (or A^T X = self), and A."""
    matrix, right = broadcast_batches(b, A, self)
    factor = transposed(b, matrix) if transpose else matrix
    op = TriangularSolve(upper != transpose, unitriangular)
    return b.emit1(op, factor, right), matrix


# ----------------------------------------------------------------------------------- Cholesky


@target("aten.linalg_cholesky_ex.default")
def cholesky_ex(
    b: Builder, self: Value, *, upper: bool = False, check_errors: bool = False
) -> tuple[Value, Value]:
    """The factor and info."""
    factor, info = b.emit(Cholesky(upper, _NOT_POSITIVE if check_errors else ""), self)
    return factor, info


@target("aten.linalg_cholesky.default")
def linalg_cholesky(b: Builder, self: Value, *, upper: bool = False) -> Value:
    """The factor; a matrix that is not positive-definite makes the run fail."""
    return cholesky_ex(b, self, upper=upper, check_errors=True)[0]


@target("aten.cholesky.default")
def cholesky(b: Builder, self: Value, upper: bool = False) -> Value:
    """The factor; a matrix that is not positive-definite makes the run fail."""
    return linalg_cholesky(b, self, upper=upper)


@target("aten.cholesky_solve.default")
def cholesky_solve(b: Builder, self: Value, input2: Value, upper: bool = False) -> Value:
    """X with A X = self, from A's factor."""
    lower = adjoint(b, input2) if upper else input2
    half = solve_with_triangle(b, lower, self, upper=False)
    return solve_with_triangle(b, adjoint(b, lower), half, upper=True)


@target("aten.cholesky_inverse.default")
def cholesky_inverse(b: Builder, self: Value, upper: bool = False) -> Value:
    """The inverse of A, from A's factor."""
    return cholesky_solve(b, identity_like(b, self, self.shape[-1]), self, upper)


# ----------------------------------------------------------------------------------------- QR


@target("aten.geqrf.default")
def geqrf(b: Builder, self: Value) -> tuple[Value, Value]:
    """R with the reflectors of Q below it, and their factors."""
    packed, tau = b.emit(Reflect(), self)
    return packed, tau


@target("aten.linalg_householder_product.default")
def householder_product(b: Builder, input: Value, tau: Value) -> Value:
    """The first columns of the product of reflectors."""
    return b.emit1(HouseholderProduct(), input, tau)


@target("aten.orgqr.default")
def orgqr(b: Builder, self: Value, input2: Value) -> Value:
    """The first columns of the product of reflectors."""
    return householder_product(b, self, input2)


def _square_q(b: Builder, packed: Value, tau: Value) -> Value:
    """The product of all reflectors as a square matrix."""
    m, n = packed.shape[-2:]
    if shapes.is_less(m, n) is True:
        packed = b.slice(packed, -1, 0, m)
    else:
        packed = b.pad(packed, [*([(0, 0)] * (packed.rank - 1)), (0, m - n)])
    return householder_product(b, packed, tau)


@target("aten.ormqr.default")
def ormqr(
    b: Builder, self: Value, input2: Value, input3: Value, left: bool = True,
    transpose: bool = False,
) -> Value:  # fmt: skip
    """Q C, C Q, or so with Q^H, for Q given by reflectors."""
    q = _square_q(b, self, input2)
    q = adjoint(b, q) if transpose else q
    return b.matmul(q, input3) if left else b.matmul(input3, q)


@target("aten.linalg_qr.default")
def linalg_qr(b: Builder, A: Value, mode: str = "reduced") -> tuple[Value, Value]:
    """Q and R; "complete" has a square Q, "r" none."""
    if mode not in ("reduced", "complete", "r"):
        raise OperatorError(f"qr mode: expected 'reduced', 'complete' or 'r', got {mode!r}")
    packed, tau = geqrf(b, A)
    m, n = A.shape[-2:]
    k = shapes.minimum(m, n)
    if mode == "complete":
        return _square_q(b, packed, tau), triangle(b, packed, True)
    r = triangle(b, b.slice(packed, -2, 0, k), True)
    if mode == "r":
        return no_elements(b, A.dtype), r
    return householder_product(b, b.slice(packed, -1, 0, k), tau), r


@target("aten.qr.default")
def qr(b: Builder, self: Value, some: bool = True) -> tuple[Value, Value]:
    """Q and R."""
    return linalg_qr(b, self, "reduced" if some else "complete")


# ------------------------------------------------------------------------------- determinants


def _diagonal(b: Builder, x: Value) -> Value:
    result: Value = b.call("aten.diagonal.default", x, 0, -2, -1)
    return result


def _swap_sign(b: Builder, pivots: Value, dtype: DType) -> Value:
    """-1 for an odd number of row swaps, else 1."""
    places = b.apply("add", b.iota(pivots.shape[-1], DType.INT32), b.full((), 1, DType.INT32))
    signs = b.where(
        b.apply("ne", pivots, places),
        b.full((), -1, dtype.real),
        b.full((), 1, dtype.real),
    )
    return b.cast(b.reduce("prod", signs, (-1,)), dtype)


@target("aten._linalg_det.default")
def core_det(b: Builder, A: Value) -> tuple[Value, Value, Value]:
    """The determinant, and the factors it comes from."""
    factors, pivots, _ = b.emit(LuFactor(), A)
    diagonal = b.reduce("prod", _diagonal(b, factors), (-1,))
    return b.apply("mul", diagonal, _swap_sign(b, pivots, A.dtype)), factors, pivots


@target("aten.linalg_det.default")
def linalg_det(b: Builder, A: Value) -> Value:
    """The determinant."""
    return core_det(b, A)[0]


@target("aten.det.default")
def det(b: Builder, self: Value) -> Value:
    """The determinant."""
    return core_det(b, self)[0]


@target("aten._linalg_slogdet.default")
def core_slogdet(b: Builder, A: Value) -> tuple[Value, Value, Value, Value]:
    """The sign and the logarithm of the size of the determinant, and the factors they come from."""
    factors, pivots, _ = b.emit(LuFactor(), A)
    diagonal = _diagonal(b, factors)
    signs: Value = b.call("aten.sgn.default", diagonal)
    sign = b.apply("mul", b.reduce("prod", signs, (-1,)), _swap_sign(b, pivots, A.dtype))
    logs = b.reduce("sum", b.apply("log", b.apply("abs", diagonal)), (-1,))
    return sign, logs, factors, pivots


@target("aten.linalg_slogdet.default")
def linalg_slogdet(b: Builder, A: Value) -> tuple[Value, Value]:
    """The sign and the logarithm of the size of the determinant."""
    return core_slogdet(b, A)[:2]


@target("aten.slogdet.default")
def slogdet(b: Builder, self: Value) -> tuple[Value, Value]:
    """The sign and the logarithm of the size of the determinant."""
    return core_slogdet(b, self)[:2]


@target("aten.logdet.default")
def logdet(b: Builder, self: Value) -> Value:
    """The logarithm of the determinant; NaN where it is negative."""
    sign, logs, _, _ = core_slogdet(b, self)
    if sign.dtype.is_complex:
        return b.apply("add", b.apply("log", sign), b.cast(logs, sign.dtype))
    is_negative = b.apply("eq", sign, b.full((), -1, sign.dtype))
    return b.where(is_negative, b.full((), float("nan"), logs.dtype), logs)


# ----------------------------------------------------------------------------------- tensors


@target("aten._linalg_check_errors.default")
def check_errors(b: Builder, info: Value, api_name: str, *, is_matrix: bool) -> None:
    """Makes the run fail unless every `info` is 0."""
    is_good = b.apply("eq", info, b.full((), 0, info.dtype))
    check(
        b,
        b.reduce("all", is_good, tuple(range(info.rank))),
        f"{api_name}: a matrix is singular, not positive-definite or does not converge",
    )


@target("aten.linalg_tensorinv.default")
def tensorinv(b: Builder, self: Value, ind: int = 2) -> Value:
    """The inverse under products over the last `ind` dimensions."""
    rows, columns = self.shape[:ind], self.shape[ind:]
    matrix = b.reshape(self, (shapes.element_count(rows), shapes.element_count(columns)))
    return b.reshape(inv(b, matrix), (*columns, *rows))


@target("aten.linalg_tensorsolve.default")
def tensorsolve(b: Builder, self: Value, other: Value, dims: Sequence[int] | None = None) -> Value:
    """X whose product with `self` over all dimensions of X is `other`."""
    moved = [normalize_axis(axis, self.rank) for axis in dims or ()]
    order = [axis for axis in range(self.rank) if axis not in moved] + moved
    a = b.permute(self, order)
    unknown: Shape = a.shape[other.rank :]
    count = shapes.element_count(unknown)
    matrix = b.reshape(a, (shapes.element_count(a.shape[: other.rank]), count))
    right = b.reshape(other, (shapes.element_count(other.shape),))
    return b.reshape(solve(b, matrix, right), unknown)
