"""Primitive eigenvalue and singular value decompositions, and the matrix exponential."""

from __future__ import annotations

import numpy as np

from ..ir import shapes
from ..ir.graph import TensorType, Value
from ..kernels import Definition, In, Out, Size
from ..records import dataclass
from . import linalg_reference as oracle
from .base import Environment, Op
from .linalg_factor import batch_of, call, check_matrix, flag, scratch_for


def _values_type(a: TensorType) -> TensorType:
    return TensorType(a.dtype.real, (*a.shape[:-2], a.shape[-1]))


@dataclass(frozen=True, slots=True)
class HermitianEigen(Op):
    """Eigenvalues, ascending, and eigenvectors (columns) of hermitian matrices, from a triangle."""

    upper: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (a,) = inputs
        check_matrix(a, "eigenvalues", square=True)
        return _values_type(a), a

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (a,) = inputs
        values, vectors = np.linalg.eigh(oracle.wide(a), "U" if self.upper else "L")
        return values.astype(a.real.dtype), vectors.astype(a.dtype)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (a,) = inputs
        n = a.shape[-1]
        arguments = (Out(0), Out(1), In(0), batch_of(a), Size(n), flag(self.upper))
        return call("eigh", a, arguments, scratch_for(n, n))


@dataclass(frozen=True, slots=True)
class HermitianEigenvalues(Op):
    """The eigenvalues of `HermitianEigen` alone."""

    upper: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        check_matrix(inputs[0], "eigenvalues", square=True)
        return (_values_type(inputs[0]),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (a,) = inputs
        values = np.linalg.eigvalsh(oracle.wide(a), "U" if self.upper else "L")
        return (values.astype(a.real.dtype),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (a,) = inputs
        n = a.shape[-1]
        arguments = (Out(0), In(0), batch_of(a), Size(n), flag(self.upper))
        return call("eigvalsh", a, arguments, scratch_for(n, n))


def _complex(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """As complex numbers of the precision of another array."""
    return x.astype(np.result_type(like.dtype, np.complex64))


@dataclass(frozen=True, slots=True)
class Eigen(Op):
    """Complex eigenvalues and eigenvectors of unit length (columns) of any square matrices."""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (a,) = inputs
        check_matrix(a, "eigenvalues", square=True)
        dtype = a.dtype.complex
        return TensorType(dtype, (*a.shape[:-2], a.shape[-1])), TensorType(dtype, a.shape)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (a,) = inputs
        values, vectors = np.linalg.eig(oracle.wide(a))
        return _complex(values, a), _complex(vectors, a)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (a,) = inputs
        n = a.shape[-1]
        arguments = (Out(0), Out(1), In(0), batch_of(a), Size(n))
        return call("eig", a, arguments, scratch_for(n, n))


@dataclass(frozen=True, slots=True)
class Eigenvalues(Op):
    """The eigenvalues of `Eigen` alone."""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (a,) = inputs
        check_matrix(a, "eigenvalues", square=True)
        return (TensorType(a.dtype.complex, (*a.shape[:-2], a.shape[-1])),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (_complex(np.linalg.eigvals(oracle.wide(inputs[0])), inputs[0]),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (a,) = inputs
        n = a.shape[-1]
        arguments = (Out(0), In(0), batch_of(a), Size(n))
        return call("eigvals", a, arguments, scratch_for(n, n))


@dataclass(frozen=True, slots=True)
class SingularValueDecomposition(Op):
    """U, S (descending) and V^H with A = U diag(S) V^H; square U and V where `is_full`."""

    is_full: bool

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (a,) = inputs
        check_matrix(a, "singular values")
        m, n = a.shape[-2:]
        k = shapes.minimum(m, n)
        u = TensorType(a.dtype, (*a.shape[:-2], m, m if self.is_full else k))
        vh = TensorType(a.dtype, (*a.shape[:-2], n if self.is_full else k, n))
        return u, TensorType(a.dtype.real, (*a.shape[:-2], k)), vh

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (a,) = inputs
        u, s, vh = np.linalg.svd(oracle.wide(a), full_matrices=self.is_full)
        return u.astype(a.dtype), s.astype(a.real.dtype), vh.astype(a.dtype)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (a,) = inputs
        m, n = a.shape[-2:]
        larger = shapes.maximum(m, n)
        arguments = (
            Out(0), Out(1), Out(2), In(0), batch_of(a), Size(m), Size(n), flag(self.is_full),
        )  # fmt: skip
        scratch = scratch_for(larger, larger) if self.is_full else scratch_for(m, n)
        return call("svd", a, arguments, scratch)


@dataclass(frozen=True, slots=True)
class SingularValues(Op):
    """The singular values alone, descending."""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (a,) = inputs
        check_matrix(a, "singular values")
        k = shapes.minimum(a.shape[-2], a.shape[-1])
        return (TensorType(a.dtype.real, (*a.shape[:-2], k)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (a,) = inputs
        return (np.linalg.svd(oracle.wide(a), compute_uv=False).astype(a.real.dtype),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (a,) = inputs
        m, n = a.shape[-2:]
        arguments = (Out(0), In(0), batch_of(a), Size(m), Size(n))
        return call("svdvals", a, arguments, scratch_for(m, n))


@dataclass(frozen=True, slots=True)
class MatrixExponential(Op):
    """exp(A) of square matrices."""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        check_matrix(inputs[0], "matrix exponential", square=True)
        return inputs

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (a,) = inputs
        (result,) = oracle.each_matrix(lambda m: (oracle.matrix_exp(m),), oracle.wide(a))
        return (result.astype(a.dtype),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (a,) = inputs
        n = a.shape[-1]
        return call("matrix_exp", a, (Out(0), In(0), batch_of(a), Size(n)), scratch_for(n, n))
