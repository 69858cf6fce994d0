"""Spellings of products, convolutions, transforms and factorisations."""

from __future__ import annotations

from collections.abc import Sequence

from ...exported import schema
from ...frontends.graph_writer import GraphWriter, Tensor
from ...ir import shapes
from ...ir.graph import Node, TensorType
from ...ir.shapes import Dim
from ...ops import linalg_factor, linalg_ldl, linalg_spectral
from ...ops.convolution import Convolve
from ...ops.fourier import Fourier, FourierOfReal, FourierToReal
from ...ops.matmul import MatMul
from .table import call, spells, viewed


@spells(MatMul)
def _matmul(
    w: GraphWriter, node: Node, op: MatMul, left: Tensor, right: Tensor
) -> Sequence[Tensor]:
    (output,) = node.outputs
    if left.rank == right.rank == 2:
        return call(w, node, "mm.default", self=left, mat2=right)
    batch = output.shape[:-2]
    count = shapes.element_count(batch)
    first, second = (_as_batch(w, x, batch, count) for x in (left, right))
    product = TensorType(output.dtype, (count, *output.shape[-2:]))
    if output.rank == 3:
        return call(w, node, "bmm.default", self=first, mat2=second)
    result = w.call("bmm.default", product, self=first, mat2=second)
    return [viewed(w, result, output.shape, output.name)]


def _as_batch(w: GraphWriter, x: Tensor, batch: shapes.Shape, count: Dim) -> Tensor:
    """The matrices as one row of them, repeated where they are shared."""
    full = (*batch, *x.shape[-2:])
    if x.shape != full:
        shown = TensorType(x.dtype, full)
        x = w.call("expand.default", shown, dense=False, self=x, size=list(full))
    return x if x.rank == 3 else viewed(w, x, (count, *x.shape[-2:]))


@spells(Convolve)
def _convolve(
    w: GraphWriter, node: Node, op: Convolve, x: Tensor, weight: Tensor
) -> Sequence[Tensor]:
    padding = [before for before, _ in op.padding]
    if any(before != after for before, after in op.padding):
        amounts = [amount for pair in reversed(op.padding) for amount in pair]
        sizes = [n + a + b for n, (a, b) in zip(x.shape[2:], op.padding, strict=True)]
        padded = TensorType(x.dtype, (*x.shape[:2], *sizes))
        x = w.call("constant_pad_nd.default", padded, self=x, pad=amounts, value=0)
        padding = [0] * len(padding)
    # PyTorch asks for a bias that may be None, and says so even where it is.
    inputs = [
        schema.NamedArgument(name, w.argument(value))
        for name, value in (
            ("input", x), ("weight", weight), ("bias", None), ("stride", list(op.stride)),
            ("padding", padding), ("dilation", list(op.dilation)), ("transposed", False),
            ("output_padding", [0] * len(padding)), ("groups", op.groups),
        )
    ]  # fmt: skip
    (output,) = node.outputs
    return w.add(
        "torch.ops.aten.convolution.default",
        inputs,
        [output.type],
        dense=False,
        names=[output.name],
    )


@spells(Fourier)
def _fourier(w: GraphWriter, node: Node, op: Fourier, x: Tensor) -> Sequence[Tensor]:
    if op.scale == 1.0:
        return call(
            w, node, "_fft_c2c.default", dense=False, self=x, dim=[op.axis], normalization=0,
            forward=op.forward,
        )  # fmt: skip
    plain = w.call(
        "_fft_c2c.default", x.type, dense=False, self=x, dim=[op.axis], normalization=0,
        forward=op.forward,
    )  # fmt: skip
    return call(w, node, "mul.Scalar", dense=False, self=plain, other=op.scale)


@spells(FourierOfReal)
def _fourier_of_real(w: GraphWriter, node: Node, op: FourierOfReal, x: Tensor) -> Sequence[Tensor]:
    plain = w.call(
        "_fft_r2c.default", node.outputs[0].type, dense=False, self=x, dim=[op.axis],
        normalization=0, onesided=True,
    )  # fmt: skip
    return call(w, node, "mul.Scalar", dense=False, self=plain, other=op.scale)


@spells(FourierToReal)
def _fourier_to_real(w: GraphWriter, node: Node, op: FourierToReal, x: Tensor) -> Sequence[Tensor]:
    plain = w.call(
        "_fft_c2r.default", node.outputs[0].type, dense=False, self=x, dim=[op.axis],
        normalization=0, last_dim_size=op.length,
    )  # fmt: skip
    return call(w, node, "mul.Scalar", dense=False, self=plain, other=op.scale)


@spells(linalg_factor.LuFactor)
def _lu_factor(
    w: GraphWriter, node: Node, op: linalg_factor.LuFactor, a: Tensor
) -> Sequence[Tensor]:
    is_checked = bool(op.failure)
    return call(
        w,
        node,
        "linalg_lu_factor_ex.default",
        dense=False,
        A=a,
        pivot=True,
        check_errors=is_checked,
    )


@spells(linalg_factor.LuSolve)
def _lu_solve(
    w: GraphWriter, node: Node, op: linalg_factor.LuSolve, lu: Tensor, pivots: Tensor, b: Tensor
) -> Sequence[Tensor]:
    return call(
        w, node, "linalg_lu_solve.default", dense=False, LU=lu, pivots=pivots, B=b,
        adjoint=op.adjoint,
    )  # fmt: skip


@spells(linalg_factor.Cholesky)
def _cholesky(
    w: GraphWriter, node: Node, op: linalg_factor.Cholesky, a: Tensor
) -> Sequence[Tensor]:
    return call(
        w, node, "linalg_cholesky_ex.default", dense=False, self=a, upper=op.upper,
        check_errors=bool(op.failure),
    )  # fmt: skip


@spells(linalg_factor.TriangularSolve)
def _triangular(
    w: GraphWriter, node: Node, op: linalg_factor.TriangularSolve, a: Tensor, b: Tensor
) -> Sequence[Tensor]:
    return call(
        w, node, "linalg_solve_triangular.default", dense=False, self=a, B=b, upper=op.upper,
        unitriangular=op.unit,
    )  # fmt: skip


@spells(linalg_factor.Reflect)
def _reflect(w: GraphWriter, node: Node, op: linalg_factor.Reflect, a: Tensor) -> Sequence[Tensor]:
    return call(w, node, "geqrf.default", dense=False, self=a)


@spells(linalg_factor.HouseholderProduct)
def _householder(
    w: GraphWriter, node: Node, op: linalg_factor.HouseholderProduct, a: Tensor, tau: Tensor
) -> Sequence[Tensor]:
    return call(w, node, "linalg_householder_product.default", dense=False, input=a, tau=tau)


@spells(linalg_ldl.LdlFactor)
def _ldl_factor(
    w: GraphWriter, node: Node, op: linalg_ldl.LdlFactor, a: Tensor
) -> Sequence[Tensor]:
    return call(
        w, node, "linalg_ldl_factor_ex.default", dense=False, self=a, hermitian=op.hermitian,
        check_errors=bool(op.failure),
    )  # fmt: skip


@spells(linalg_ldl.LdlSolve)
def _ldl_solve(
    w: GraphWriter, node: Node, op: linalg_ldl.LdlSolve, ld: Tensor, pivots: Tensor, b: Tensor
) -> Sequence[Tensor]:
    return call(
        w, node, "linalg_ldl_solve.default", dense=False, LD=ld, pivots=pivots, B=b,
        hermitian=op.hermitian,
    )  # fmt: skip


@spells(linalg_spectral.HermitianEigen)
def _eigh(
    w: GraphWriter, node: Node, op: linalg_spectral.HermitianEigen, a: Tensor
) -> Sequence[Tensor]:
    triangle = "U" if op.upper else "L"
    return call(w, node, "_linalg_eigh.default", dense=False, A=a, UPLO=triangle, compute_v=True)


@spells(linalg_spectral.HermitianEigenvalues)
def _eigvalsh(
    w: GraphWriter, node: Node, op: linalg_spectral.HermitianEigenvalues, a: Tensor
) -> Sequence[Tensor]:
    triangle = "U" if op.upper else "L"
    results = [node.outputs[0].type, a.type]
    return w.calls(
        "_linalg_eigh.default", results, dense=False, A=a, UPLO=triangle, compute_v=True
    )[:1]


@spells(linalg_spectral.Eigen)
def _eig(w: GraphWriter, node: Node, op: linalg_spectral.Eigen, a: Tensor) -> Sequence[Tensor]:
    return call(w, node, "linalg_eig.default", dense=False, self=a)


@spells(linalg_spectral.Eigenvalues)
def _eigvals(
    w: GraphWriter, node: Node, op: linalg_spectral.Eigenvalues, a: Tensor
) -> Sequence[Tensor]:
    vectors = TensorType(a.dtype.complex, a.shape)
    results = [node.outputs[0].type, vectors]
    return w.calls("linalg_eig.default", results, dense=False, self=a)[:1]


@spells(linalg_spectral.SingularValueDecomposition)
def _svd(
    w: GraphWriter, node: Node, op: linalg_spectral.SingularValueDecomposition, a: Tensor
) -> Sequence[Tensor]:
    full = op.is_full
    return call(
        w, node, "_linalg_svd.default", dense=False, A=a, full_matrices=full, compute_uv=True
    )


@spells(linalg_spectral.SingularValues)
def _svdvals(
    w: GraphWriter, node: Node, op: linalg_spectral.SingularValues, a: Tensor
) -> Sequence[Tensor]:
    values = node.outputs[0].type
    steps = values.shape[-1]
    left = TensorType(a.dtype, (*a.shape[:-1], steps))
    right = TensorType(a.dtype, (*a.shape[:-2], steps, a.shape[-1]))
    results = [left, values, right]
    return w.calls("_linalg_svd.default", results, dense=False, A=a, compute_uv=True)[1:2]


@spells(linalg_spectral.MatrixExponential)
def _matrix_exponential(
    w: GraphWriter, node: Node, op: linalg_spectral.MatrixExponential, a: Tensor
) -> Sequence[Tensor]:
    return call(w, node, "linalg_matrix_exp.default", dense=False, self=a)
