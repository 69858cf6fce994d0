"""Primitive factorisations of matrices, and solving with them."""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim
from ..kernels import Argument, Definition, In, Out, Size
from ..records import dataclass
from . import linalg_reference as oracle
from .base import Environment, Op, OperatorError

SUFFIX = {
    DType.FLOAT32: "f32",
    DType.FLOAT64: "f64",
    DType.COMPLEX64: "c64",
    DType.COMPLEX128: "c128",
}


def check_matrix(x: TensorType, what: str, *, square: bool = False) -> None:
    """Refuses what is not a batch of (square) matrices of a type linear algebra is done in."""
    if x.dtype not in SUFFIX or x.rank < 2:
        raise OperatorError(f"{what} of {x}: expected matrices of float or complex numbers")
    if square and shapes.is_equal(x.shape[-1], x.shape[-2]) is False:
        raise OperatorError(f"{what} of {x}: expected square matrices")


def check_batch(what: str, *inputs: TensorType) -> None:
    """Refuses inputs whose batch dimensions differ."""
    first = inputs[0].shape[:-2]
    for x in inputs[1:]:
        if x.rank != len(first) + 2 or any(
            shapes.is_equal(m, n) is False for m, n in zip(first, x.shape[:-2], strict=True)
        ):
            raise OperatorError(f"{what} of {', '.join(map(str, inputs))}: batches differ")


def scratch_for(rows: Dim, columns: Dim) -> kernels.Scratch:
    """What linalg.h asks for: castoff_linalg_scratch_bytes."""
    larger, smaller = shapes.maximum(rows, columns), shapes.minimum(rows, columns)
    cells = larger * smaller * 4 + smaller * smaller * 5 + larger * 16 + 64
    return kernels.Scratch(cells * 16)


def batch_of(x: Value) -> Size:
    """The number of matrices, as an argument."""
    return Size(shapes.element_count(x.shape[:-2]))


def call(
    name: str, x: Value, arguments: tuple[Argument, ...], scratch: kernels.Scratch,
    failure: str = "",
) -> tuple[Definition, ...]:  # fmt: skip
    """The call of a function of linalg.h for the type of `x`."""
    function = f"castoff_{name}_{SUFFIX[x.dtype]}"
    headers = ("common/linalg.h",)
    return (kernels.LibraryCall(function, headers, (*arguments, scratch), failure),)


def flag(is_set: bool) -> Size:
    """A yes or no, as an argument."""
    return Size(int(is_set))


def _refuse(is_checked: bool, info: np.ndarray, failure: str) -> None:
    if is_checked and np.any(info != 0):
        raise OperatorError(failure)


@dataclass(frozen=True, slots=True)
class LuFactor(Op):
    """LU with partial pivoting of [..., m, n].

    Outputs: the factors, 1-based row swaps (int32), and the first zero pivot or 0 (int32). Where
    `failure` is given, a zero pivot makes the run fail with it.
    """

    failure: str = ""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (a,) = inputs
        check_matrix(a, "LU factorisation")
        steps = shapes.minimum(a.shape[-2], a.shape[-1])
        pivots = TensorType(DType.INT32, (*a.shape[:-2], steps))
        return a, pivots, TensorType(DType.INT32, a.shape[:-2])

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (a,) = inputs
        lu, pivots, info = oracle.each_matrix(oracle.lu_factor, oracle.wide(a))
        _refuse(bool(self.failure), info, self.failure)
        return lu.astype(a.dtype), pivots, info

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (a,) = inputs
        m, n = a.shape[-2:]
        arguments = (
            Out(0), Out(1), Out(2), In(0), batch_of(a), Size(m), Size(n), flag(bool(self.failure)),
        )  # fmt: skip
        return call("lu_factor", a, arguments, scratch_for(m, n), self.failure)


@dataclass(frozen=True, slots=True)
class LuSolve(Op):
    """X with A X = B, or A^H X = B. Inputs: the factors of A, its row swaps, B."""

    adjoint: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        lu, pivots, b = inputs
        check_matrix(lu, "solving", square=True)
        check_batch("solving", lu, b)
        if b.dtype is not lu.dtype or pivots.dtype is not DType.INT32:
            raise OperatorError(f"solving with {lu}, {pivots} and {b}")
        return (b,)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        lu, pivots, b = inputs

        def solve(lu: np.ndarray, pivots: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
            return (oracle.lu_solve(lu, pivots[0], b, self.adjoint),)

        (x,) = oracle.each_matrix(solve, oracle.wide(lu), pivots[..., None, :], oracle.wide(b))
        return (x.astype(b.dtype),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        lu, _, b = inputs
        n, columns = b.shape[-2:]
        arguments = (
            Out(0), In(0), In(1), In(2), batch_of(lu), Size(n), Size(columns), flag(True),
            flag(self.adjoint),
        )  # fmt: skip
        return call("lu_solve", lu, arguments, scratch_for(n, shapes.maximum(n, columns)))


@dataclass(frozen=True, slots=True)
class Cholesky(Op):
    """Triangular L with A = L L^H (or U with A = U^H U) from that triangle of A.

    The other output is 0, or the first order that is not positive (int32), for each matrix; where
    `failure` is given, one that is not 0 makes the run fail with it.
    """

    upper: bool = False
    failure: str = ""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (a,) = inputs
        check_matrix(a, "Cholesky factorisation", square=True)
        return a, TensorType(DType.INT32, a.shape[:-2])

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (a,) = inputs
        lower = oracle.wide(a)
        lower = lower.conj().swapaxes(-1, -2) if self.upper else lower
        factor, info = oracle.each_matrix(oracle.cholesky, lower)
        _refuse(bool(self.failure), info, self.failure)
        factor = factor.conj().swapaxes(-1, -2) if self.upper else factor
        return factor.astype(a.dtype), info

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (a,) = inputs
        n = a.shape[-1]
        arguments = (
            Out(0), Out(1), In(0), batch_of(a), Size(n), flag(self.upper), flag(bool(self.failure)),
        )  # fmt: skip
        return call("cholesky", a, arguments, scratch_for(n, n), self.failure)


@dataclass(frozen=True, slots=True)
class TriangularSolve(Op):
    """X with A X = B for a triangle of A. Inputs: A, B; with `unit` the diagonal counts as 1."""

    upper: bool
    unit: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        a, b = inputs
        check_matrix(a, "triangular solving", square=True)
        check_batch("triangular solving", a, b)
        if b.dtype is not a.dtype or shapes.is_equal(b.shape[-2], a.shape[-1]) is False:
            raise OperatorError(f"triangular solving with {a} and {b}")
        return (b,)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        a, b = inputs

        def solve(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
            return (oracle.substitute(a, b, self.upper, self.unit),)

        (x,) = oracle.each_matrix(solve, oracle.wide(a), oracle.wide(b))
        return (x.astype(b.dtype),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        a, b = inputs
        n, columns = b.shape[-2:]
        arguments = (
            Out(0), In(0), In(1), batch_of(a), Size(n), Size(columns), flag(self.upper), Size(0),
            flag(self.unit), flag(True),
        )  # fmt: skip
        scratch = scratch_for(n, shapes.maximum(n, columns))
        return call("triangular_solve", a, arguments, scratch)


@dataclass(frozen=True, slots=True)
class Reflect(Op):
    """QR as LAPACK's geqrf leaves it: R with the reflectors below it, and their factors."""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (a,) = inputs
        check_matrix(a, "QR factorisation")
        steps = shapes.minimum(a.shape[-2], a.shape[-1])
        return a, TensorType(a.dtype, (*a.shape[:-2], steps))

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (a,) = inputs

        def factor(a: np.ndarray) -> tuple[np.ndarray, ...]:
            if 0 in a.shape:
                return a, np.zeros(min(a.shape), a.dtype)
            transposed, tau = np.linalg.qr(a, mode="raw")
            return transposed.T, tau

        packed, tau = oracle.each_matrix(factor, oracle.wide(a))
        return packed.astype(a.dtype), tau.astype(a.dtype)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (a,) = inputs
        m, n = a.shape[-2:]
        arguments = (Out(0), Out(1), In(0), batch_of(a), Size(m), Size(n))
        return call("geqrf", a, arguments, scratch_for(m, n))


@dataclass(frozen=True, slots=True)
class HouseholderProduct(Op):
    """The first n columns of the product of k reflectors.

    Inputs: the reflectors as columns of [..., m, n], and their factors [..., k].
    """

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        a, tau = inputs
        check_matrix(a, "product of reflectors")
        if (
            tau.dtype is not a.dtype
            or tau.rank != a.rank - 1
            or shapes.is_less(a.shape[-2], a.shape[-1]) is True
            or shapes.is_less(a.shape[-1], tau.shape[-1]) is True
        ):
            raise OperatorError(f"product of reflectors {a} with {tau}")
        return (a,)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        a, tau = inputs

        def product(a: np.ndarray, tau: np.ndarray) -> tuple[np.ndarray, ...]:
            return (oracle.householder_product(a, tau[0]),)

        (q,) = oracle.each_matrix(product, oracle.wide(a), oracle.wide(tau)[..., None, :])
        return (q.astype(a.dtype),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        a, tau = inputs
        m, n = a.shape[-2:]
        arguments = (Out(0), In(0), In(1), batch_of(a), Size(m), Size(n), Size(tau.shape[-1]))
        return call("householder_product", a, arguments, scratch_for(m, n))
