"""Eigenvalues, singular values, and what follows from them: norms, ranks, pseudo-inverses."""

# Arguments are called what the operators' schemas call them.
# ruff: noqa: N803

from __future__ import annotations

from collections.abc import Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..kernels import Number
from .base import Builder, OperatorError, normalize_axis, target
from .linalg import adjoint, inv_ex, no_elements
from .linalg_spectral import (
    Eigen,
    Eigenvalues,
    HermitianEigen,
    HermitianEigenvalues,
    MatrixExponential,
    SingularValueDecomposition,
    SingularValues,
)

Axes = Sequence[int] | None
_INFINITY = float("inf")


# ------------------------------------------------------------------------------------ eigenvalues


def _is_upper(name: str) -> bool:
    if name.upper() not in ("L", "U"):
        raise OperatorError(f"UPLO: expected 'L' or 'U', got {name!r}")
    return name.upper() == "U"


@target("aten.linalg_eigh.default")
def eigh(b: Builder, self: Value, UPLO: str = "L") -> tuple[Value, Value]:
    """Eigenvalues, ascending, and eigenvectors of hermitian matrices."""
    values, vectors = b.emit(HermitianEigen(_is_upper(UPLO)), self)
    return values, vectors


@target("aten.linalg_eigvalsh.default")
def eigvalsh(b: Builder, self: Value, UPLO: str = "L") -> Value:
    """Eigenvalues, ascending, of hermitian matrices."""
    return b.emit1(HermitianEigenvalues(_is_upper(UPLO)), self)


@target("aten._linalg_eigh.default")
def core_eigh(b: Builder, A: Value, UPLO: str = "L", compute_v: bool = True) -> tuple[Value, Value]:
    """Eigenvalues, and eigenvectors where asked for."""
    if compute_v:
        return eigh(b, A, UPLO)
    return eigvalsh(b, A, UPLO), no_elements(b, A.dtype)


@target("aten.linalg_eig.default")
def eig(b: Builder, self: Value) -> tuple[Value, Value]:
    """Complex eigenvalues and eigenvectors."""
    values, vectors = b.emit(Eigen(), self)
    return values, vectors


@target("aten.linalg_eigvals.default", "aten._linalg_eigvals.default")
def eigvals(b: Builder, self: Value) -> Value:
    """Complex eigenvalues."""
    return b.emit1(Eigenvalues(), self)


# -------------------------------------------------------------------------------- singular values


@target("aten._linalg_svd.default")
def core_svd(
    b: Builder, A: Value, full_matrices: bool = False, compute_uv: bool = True, *,
    driver: str | None = None,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """U, S and V^H; U and V^H are empty unless asked for."""
    if not compute_uv:
        nothing = no_elements(b, A.dtype)
        return nothing, b.emit1(SingularValues(), A), nothing
    u, s, vh = b.emit(SingularValueDecomposition(full_matrices), A)
    return u, s, vh


@target("aten.linalg_svd.default")
def linalg_svd(
    b: Builder, A: Value, full_matrices: bool = True, *, driver: str | None = None
) -> tuple[Value, Value, Value]:
    """U, S and V^H."""
    return core_svd(b, A, full_matrices)


@target("aten.linalg_svdvals.default")
def svdvals(b: Builder, A: Value, *, driver: str | None = None) -> Value:
    """Singular values, descending."""
    return b.emit1(SingularValues(), A)


@target("aten.svd.default")
def svd(
    b: Builder, self: Value, some: bool = True, compute_uv: bool = True
) -> tuple[Value, Value, Value]:
    """U, S and V; zeros for U and V unless asked for."""
    m, n = self.shape[-2:]
    if not compute_uv:
        batch = self.shape[:-2]
        u, v = (b.full((*batch, k, k), 0, self.dtype) for k in (m, n))
        return u, svdvals(b, self), v
    u, s, vh = core_svd(b, self, not some)
    return u, s, adjoint(b, vh)


def _sizes(b: Builder, a: Value, hermitian: bool) -> Value:
    """Singular values, for hermitian matrices as the sizes of their eigenvalues."""
    return b.apply("abs", eigvalsh(b, a)) if hermitian else svdvals(b, a)


# ----------------------------------------------------------------------------- ranks and inverses

Tolerance = float | Value | None


def _epsilon(dtype: DType) -> float:
    return 2.0**-23 if dtype.real is DType.FLOAT32 else 2.0**-52


def _tolerances(b: Builder, a: Value, atol: Tolerance, rtol: Tolerance) -> tuple[Value, Value]:
    """Absolute and relative tolerance; a relative one by default unless an absolute is given."""
    real = a.dtype.real
    absolute = b.tensor(0.0 if atol is None else atol, real)
    if rtol is not None:
        return absolute, b.tensor(rtol, real)
    larger = b.dim(shapes.maximum(a.shape[-2], a.shape[-1]), real)
    default = b.apply("mul", larger, b.full((), _epsilon(a.dtype), real))
    if atol is None:
        return absolute, default
    zero = b.full((), 0, real)
    return absolute, b.where(b.apply("gt", absolute, zero), zero, default)


def _threshold(b: Builder, sizes: Value, atol: Value, rtol: Value) -> Value:
    """What counts as zero, with a trailing dimension of size 1."""
    largest = b.reduce("max", sizes, (-1,))
    limit = b.apply("maximum", atol, b.apply("mul", rtol, largest))
    return b.unsqueeze(limit, limit.rank)


def pseudo_inverse(
    b: Builder, a: Value, atol: Tolerance, rtol: Tolerance, hermitian: bool
) -> Value:
    """The inverse on what is not nearly zero."""
    m, n = a.shape[-2:]
    if shapes.element_count(a.shape) == 0:
        return b.full((*a.shape[:-2], n, m), 0, a.dtype)
    tolerances = _tolerances(b, a, atol, rtol)
    if hermitian:
        values, u = eigh(b, a)
        sizes, v = b.apply("abs", values), u
    else:
        u, values, vh = core_svd(b, a)
        sizes, v = values, adjoint(b, vh)
    is_kept = b.apply("gt", sizes, _threshold(b, sizes, *tolerances))
    zero = b.full((), 0, values.dtype)
    inverses = b.where(is_kept, b.apply("reciprocal", values), zero)
    scaled = b.apply("mul", v, b.cast(b.unsqueeze(inverses, inverses.rank - 1), a.dtype))
    return b.matmul(scaled, adjoint(b, u))


@target("aten.linalg_pinv.atol_rtol_tensor", "aten.linalg_pinv.atol_rtol_float")
def pinv(
    b: Builder, self: Value, *, atol: Tolerance = None, rtol: Tolerance = None,
    hermitian: bool = False,
) -> Value:  # fmt: skip
    """The pseudo-inverse."""
    return pseudo_inverse(b, self, atol, rtol, hermitian)


@target("aten.linalg_pinv.default", "aten.linalg_pinv.rcond_tensor")
def pinv_rcond(b: Builder, self: Value, rcond: Tolerance, hermitian: bool = False) -> Value:
    """The pseudo-inverse, with a relative tolerance."""
    return pseudo_inverse(b, self, 0.0, rcond, hermitian)


@target("aten.pinverse.default")
def pinverse(b: Builder, self: Value, rcond: float = 1e-15) -> Value:
    """The pseudo-inverse, with a relative tolerance."""
    return pseudo_inverse(b, self, 0.0, rcond, False)


def rank_of(b: Builder, a: Value, atol: Tolerance, rtol: Tolerance, hermitian: bool) -> Value:
    """How many singular values are not nearly zero."""
    if shapes.element_count(a.shape) == 0:
        return b.full(a.shape[:-2], 0, DType.INT64)
    sizes = _sizes(b, a, hermitian)
    is_kept = b.apply("gt", sizes, _threshold(b, sizes, *_tolerances(b, a, atol, rtol)))
    return b.reduce("sum", b.cast(is_kept, DType.INT64), (-1,))


def _register_rank(argument: str, *names: str) -> None:
    def rank(
        b: Builder, self: Value, *, atol: Tolerance = None, rtol: Tolerance = None,
        hermitian: bool = False,
    ) -> Value:  # fmt: skip
        return rank_of(b, self, atol, rtol, hermitian)

    def rank_of_input(
        b: Builder, input: Value, *, atol: Tolerance = None, rtol: Tolerance = None,
        hermitian: bool = False,
    ) -> Value:  # fmt: skip
        return rank_of(b, input, atol, rtol, hermitian)

    target(*names)(rank_of_input if argument == "input" else rank)


_register_rank("input", "aten.linalg_matrix_rank.atol_rtol_tensor")
_register_rank("self", "aten.linalg_matrix_rank.atol_rtol_float")


@target("aten.linalg_matrix_rank.default")
def matrix_rank(b: Builder, self: Value, tol: Tolerance, hermitian: bool = False) -> Value:
    """The rank, with an absolute tolerance."""
    return rank_of(b, self, tol, 0.0, hermitian)


@target("aten.linalg_matrix_rank.tol_tensor")
def matrix_rank_tensor(b: Builder, input: Value, tol: Value, hermitian: bool = False) -> Value:
    """The rank, with an absolute tolerance."""
    return rank_of(b, input, tol, 0.0, hermitian)


@target("aten.linalg_lstsq.default")
def lstsq(
    builder: Builder, /, self: Value, b: Value, rcond: float | None = None, *,
    driver: str | None = None,
) -> tuple[Value, Value, Value, Value]:  # fmt: skip
    """Solution, residuals, rank and singular values of a least-squares problem.

    What the driver does not compute is empty; residuals take full rank for granted.
    """
    name = driver or "gelsy"
    right = builder.unsqueeze(b, b.rank) if b.rank == self.rank - 1 else b
    batch = shapes.broadcast_shapes(self.shape[:-2], right.shape[:-2])
    m, n = self.shape[-2:]
    a = builder.expand(self, (*batch, m, n))
    right = builder.expand(right, (*batch, *right.shape[-2:]))
    solution = builder.matmul(pseudo_inverse(builder, a, None, rcond, False), right)
    residuals = no_elements(builder, self.dtype.real)
    if shapes.is_less(n, m) is True and name != "gelsy":
        error = builder.apply("sub", builder.matmul(a, solution), right)
        size = builder.apply("abs", error)
        residuals = builder.reduce("sum", builder.apply("mul", size, size), (-2,))
    rank = no_elements(builder, DType.INT64)
    if name != "gels":
        rank = rank_of(builder, a, None, rcond, False)
    values = no_elements(builder, self.dtype.real)
    if name in ("gelsd", "gelss"):
        values = svdvals(builder, a)
    if b.rank == self.rank - 1:
        solution = builder.squeeze(solution, solution.rank - 1)
    return solution, residuals, rank, values


# ------------------------------------------------------------------------------------------ norms


def _vector_norm(b: Builder, x: Value, order: Number, axes: Axes, keepdim: bool) -> Value:
    result: Value = b.call("aten.linalg_vector_norm.default", x, order, axes, keepdim)
    return result


def matrix_norm_over(
    b: Builder, x: Value, order: Number | str, axes: Sequence[int], keepdim: bool
) -> Value:
    """The norm of the matrices that two axes span."""
    rows, columns = (normalize_axis(axis, x.rank) for axis in axes)
    if order == "fro":
        return _vector_norm(b, x, 2, (rows, columns), keepdim)
    is_largest = isinstance(order, str) or complex(order).real > 0
    if is_largest and shapes.element_count((x.shape[rows], x.shape[columns])) == 0:
        return _vector_norm(b, x, 2, (rows, columns), keepdim)  # zeros
    kind = "max" if is_largest else "min"
    if order in (1, -1, _INFINITY, -_INFINITY):
        summed, compared = (rows, columns) if order in (1, -1) else (columns, rows)
        sums = b.reduce("sum", b.apply("abs", x), (summed,), keepdim=True)
        result = b.reduce(kind, sums, (compared,), keepdim=True)
    elif order in (2, -2, "nuc"):
        rest = [axis for axis in range(x.rank) if axis not in (rows, columns)]
        values = svdvals(b, b.permute(x, (*rest, rows, columns)))
        result = b.reduce("sum" if order == "nuc" else kind, values, (-1,))
        kept = tuple(1 if axis in (rows, columns) else n for axis, n in enumerate(x.shape))
        result = b.reshape(result, kept)
    else:
        raise OperatorError(f"matrix norm of order {order!r}")
    if keepdim:
        return result
    return b.reshape(
        result, tuple(n for axis, n in enumerate(result.shape) if axis not in (rows, columns))
    )


def _converted(b: Builder, x: Value, dtype: DType | None) -> Value:
    return x if dtype is None else b.cast(x, dtype)


@target("aten.linalg_matrix_norm.default", "aten.linalg_matrix_norm.str_ord")
def matrix_norm(
    b: Builder, self: Value, ord: Number | str = "fro", dim: Sequence[int] = (-2, -1),
    keepdim: bool = False, *, dtype: DType | None = None,
) -> Value:  # fmt: skip
    """The norm of matrices."""
    return matrix_norm_over(b, _converted(b, self, dtype), ord, dim, keepdim)


@target("aten.linalg_norm.default", "aten.linalg_norm.ord_str")
def linalg_norm(
    b: Builder, self: Value, ord: Number | str | None = None, dim: Axes = None,
    keepdim: bool = False, *, dtype: DType | None = None,
) -> Value:  # fmt: skip
    """The norm of vectors or matrices, by how many dimensions there are."""
    x = _converted(b, self, dtype)
    axes = dim if dim is None or not isinstance(dim, int) else (dim,)
    if ord is not None and ((axes is None and x.rank == 2) or (axes and len(axes) == 2)):
        return matrix_norm_over(b, x, ord, axes or (0, 1), keepdim)
    if isinstance(ord, str):
        raise OperatorError(f"norm {ord!r} of {self}: expected matrices")
    return _vector_norm(b, x, 2 if ord is None else ord, axes, keepdim)


@target("aten.nuclear_norm.default")
def nuclear_norm(b: Builder, self: Value, keepdim: bool = False) -> Value:
    """The sum of the singular values of a matrix."""
    return matrix_norm_over(b, self, "nuc", (0, 1), keepdim)


@target("aten.nuclear_norm.dim")
def nuclear_norm_dim(b: Builder, self: Value, dim: Sequence[int], keepdim: bool = False) -> Value:
    """The sum of the singular values of the matrices that two dimensions span."""
    return matrix_norm_over(b, self, "nuc", dim, keepdim)


@target("aten.linalg_cond.default", "aten.linalg_cond.p_str")
def cond(b: Builder, self: Value, p: Number | str | None = None) -> Value:
    """The condition number: the norm times that of the inverse; infinite for singular matrices."""
    if p in (None, 2, -2):
        values = svdvals(b, self)
        count = values.shape[-1]
        largest, smallest = b.select(values, -1, 0), b.select(values, -1, count - 1)
        if p == -2:
            largest, smallest = smallest, largest
        return b.apply("div", largest, smallest)
    assert p is not None, "handled above"
    inverse, info = inv_ex(b, self)
    norms = (matrix_norm_over(b, x, p, (-2, -1), False) for x in (self, inverse))
    product = b.apply("mul", *norms)
    is_singular = b.apply("ne", info, b.full((), 0, info.dtype))
    return b.where(is_singular, b.full((), _INFINITY, product.dtype), product)


@target("aten.linalg_matrix_exp.default", "aten.matrix_exp.default")
def matrix_exp(b: Builder, self: Value) -> Value:
    """The matrix exponential; of narrow floats in float32."""
    return b.cast(b.emit1(MatrixExponential(), b.cast(self, self.dtype.compute)), self.dtype)
