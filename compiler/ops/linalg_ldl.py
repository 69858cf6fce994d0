"""L D L^T of symmetric and hermitian matrices, and solving with it."""

from __future__ import annotations

# Arguments are called what the operators' schemas call them.
# ruff: noqa: N803
import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..kernels import In, Out, Size
from ..records import dataclass
from . import ldl_reference
from .base import Builder, Environment, Op, OperatorError, target
from .linalg import broadcast_batches
from .linalg_factor import SUFFIX, batch_of, check_batch, check_matrix, flag, scratch_for
from .linalg_reference import each_matrix, wide

_HEADERS = ("common/linalg_ldl.h",)
_SINGULAR = "a matrix is singular"
_FOREIGN = "the pivots are not those of a factorisation"


@dataclass(frozen=True, slots=True)
class LdlFactor(Op):
    """L D L^T (L D L^H where `hermitian`) from the lower triangle.

    Outputs: the packed factors, row swaps (int32, 1-based; negative for blocks of two rows), and
    the first zero pivot or 0 (int32). Where `failure` is given, a zero pivot makes the run fail.
    """

    hermitian: bool
    failure: str = ""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (a,) = inputs
        check_matrix(a, "LDL factorisation", square=True)
        return a, TensorType(DType.INT32, a.shape[:-1]), TensorType(DType.INT32, a.shape[:-2])

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (a,) = inputs
        packed, pivots, info = each_matrix(
            lambda matrix: ldl_reference.factor(matrix, self.hermitian), wide(a)
        )
        if self.failure and np.any(info != 0):
            raise OperatorError(self.failure)
        return packed.astype(a.dtype), pivots, info

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[kernels.Definition, ...]:
        (a,) = inputs
        n = a.shape[-1]
        arguments = (
            Out(0), Out(1), Out(2), In(0), batch_of(a), Size(n), flag(self.hermitian),
            flag(bool(self.failure)), scratch_for(n, n),
        )  # fmt: skip
        name = f"castoff_ldl_factor_{SUFFIX[a.dtype]}"
        return (kernels.LibraryCall(name, _HEADERS, arguments, self.failure),)


@dataclass(frozen=True, slots=True)
class LdlSolve(Op):
    """X with A X = B. Inputs: the packed factors of A, their row swaps (int32), B."""

    hermitian: bool

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        packed, pivots, b = inputs
        check_matrix(packed, "LDL solving", square=True)
        check_batch("LDL solving", packed, b)
        if b.dtype is not packed.dtype or pivots.dtype is not DType.INT32:
            raise OperatorError(f"LDL solving with {packed}, {pivots} and {b}")
        return (b,)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        packed, pivots, b = inputs

        def solve(packed: np.ndarray, pivots: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
            return (ldl_reference.solve(packed, pivots[0], b, self.hermitian),)

        (x,) = each_matrix(solve, wide(packed), pivots[..., None, :], wide(b))
        return (x.astype(b.dtype),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[kernels.Definition, ...]:
        packed, _, b = inputs
        n, columns = b.shape[-2:]
        arguments = (
            Out(0), In(0), In(1), In(2), batch_of(packed), Size(n), Size(columns),
            flag(self.hermitian), scratch_for(n, shapes.maximum(n, columns)),
        )  # fmt: skip
        name = f"castoff_ldl_solve_{SUFFIX[packed.dtype]}"
        return (kernels.LibraryCall(name, _HEADERS, arguments, _FOREIGN),)


@target("aten.linalg_ldl_factor_ex.default")
def ldl_factor_ex(
    b: Builder, self: Value, *, hermitian: bool = False, check_errors: bool = False
) -> tuple[Value, Value, Value]:
    """Packed factors, row swaps and info."""
    is_hermitian = hermitian and self.dtype.is_complex
    op = LdlFactor(is_hermitian, _SINGULAR if check_errors else "")
    packed, pivots, info = b.emit(op, self)
    return packed, pivots, info


@target("aten.linalg_ldl_factor.default")
def ldl_factor(b: Builder, self: Value, *, hermitian: bool = False) -> tuple[Value, Value]:
    """Packed factors and row swaps; a zero pivot makes the run fail."""
    packed, pivots, _ = ldl_factor_ex(b, self, hermitian=hermitian, check_errors=True)
    return packed, pivots


@target("aten.linalg_ldl_solve.default")
def ldl_solve(b: Builder, LD: Value, pivots: Value, B: Value, *, hermitian: bool = False) -> Value:
    """X with A X = B, from A's packed factors; batches broadcast."""
    packed, right = broadcast_batches(b, LD, B)
    swaps = b.expand(pivots, (*packed.shape[:-2], pivots.shape[-1]))
    return b.emit1(LdlSolve(hermitian and LD.dtype.is_complex), packed, swaps, right)
