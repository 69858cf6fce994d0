"""Epilogues of float tiles in whole vectors, where every column count is a multiple of the longest vector's lanes.

The loops of an epilogue are short, a tile's 32 columns: what a compiler puts round a loop that it vectorises, and
how it rounds to bfloat16, costs more than the loop itself.
"""

from __future__ import annotations

import math

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.shapes import Dim, Symbol
from ..kernels import Scalar
from ..lowering.program import Element, Epilogue, Store, TileElement
from .expr import Expressions, Parameters
from .loops import StoreWriter, before_rounding
from .statements import Statement

LANES = 16
"""Of float in the longest vector of any level."""

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_BOUND = {"maximum": "castoff_max_f32", "minimum": "castoff_min_f32"}
_LOAD = {DType.FLOAT32: "castoff_load_f32", DType.BFLOAT16: "castoff_load_bf16"}
_STORE = {DType.FLOAT32: "castoff_store_f32", DType.BFLOAT16: "castoff_store_bf16"}


def can_be_vectors(epilogue: Epilogue, columns: Dim) -> bool:
    """Whether a vector holds neighbours in a row of each operand, and all operations are a vector's."""
    if not isinstance(columns, int) or columns % LANES != 0:
        return False
    lanes = _Lanes(epilogue)
    return all(
        store.buffer.dtype in _STORE
        and store.combine == "set"
        and store.condition is None
        and lanes.stride(store.address) == 1
        and before_rounding(store).dtype is DType.FLOAT32
        and lanes.are_known(before_rounding(store))
        for store in epilogue.stores
    )


class _Lanes:
    """Which scalars of an epilogue differ among the columns, and whether they can be vectors."""

    def __init__(self, epilogue: Epilogue) -> None:
        self.column: Symbol = epilogue.column.variable
        self._written = {store.buffer for store in epilogue.stores}
        self._differs: dict[Scalar, bool] = {}
        self._known: dict[Scalar, bool] = {}

    def stride(self, address: Dim) -> Dim | None:
        """Elements from a column to the next."""
        return shapes.stride_along(address, self.column)

    def differ(self, scalar: Scalar) -> bool:
        """Whether a scalar is another one in each column."""
        if scalar not in self._differs:
            self._differs[scalar] = self._compare(scalar)
        return self._differs[scalar]

    def _compare(self, scalar: Scalar) -> bool:
        match scalar:
            case kernels.Literal():
                return False
            case Element():
                return self.stride(scalar.address) != 0
            case kernels.Apply():
                return any(map(self.differ, scalar.args))
            case kernels.Cast():
                return self.differ(scalar.arg)
        return True

    def are_known(self, scalar: Scalar) -> bool:
        """Whether `VectorExpressions` can write a scalar."""
        if scalar not in self._known:
            self._known[scalar] = self._ask(scalar)
        return self._known[scalar]

    def _ask(self, scalar: Scalar) -> bool:
        if scalar.dtype is not DType.FLOAT32:
            return False
        match scalar:
            case kernels.Literal() | TileElement():
                return True
            case Element():
                stride = self.stride(scalar.address)
                is_row = stride == 1 and scalar.buffer.dtype in _LOAD
                return is_row or (stride == 0 and scalar.buffer not in self._written)
            case kernels.Apply() if scalar.name in _BOUND:
                operand, bound = scalar.args
                return is_number(bound) and self.are_known(operand)
            case kernels.Apply():
                return scalar.name in _INFIX and all(map(self.are_known, scalar.args))
            case kernels.Cast():
                return scalar.to in _STORE and self.are_known(scalar.arg)
        return False


def is_number(scalar: Scalar) -> bool:
    """Whether a scalar is a literal other than NaN."""
    return isinstance(scalar, kernels.Literal) and not math.isnan(float(scalar.value.real))


class VectorExpressions(Expressions):
    """Writes what differs among the columns as vectors, everything else as before."""

    def __init__(self, parameters: Parameters, epilogue: Epilogue) -> None:
        super().__init__(parameters)
        self._lanes = _Lanes(epilogue)

    def vector(self, scalar: Scalar) -> str:
        """A scalar as a vector."""
        text = self.scalar(scalar)
        return text if self._lanes.differ(scalar) else f"castoff_splat_f32({text})"

    def _emit(self, scalar: Scalar) -> str:
        if not self._lanes.differ(scalar):
            return super()._emit(scalar)
        match scalar:
            case Element():
                address, names = self._dim(self.parameters.address(scalar.buffer, scalar.address))
                pointer = self.parameters.pointer(scalar.buffer)
                if scalar.buffer in self.parameters.written:
                    names = names | {self._here()}  # not before what this kernel stores there
                text = f"{_LOAD[scalar.buffer.dtype]}({pointer} + {address})"
            case kernels.Apply() if scalar.name in _BOUND:
                operand, bound = map(self.vector, scalar.args)
                text, names = f"{_BOUND[scalar.name]}({bound}, {operand})", {operand}
            case kernels.Apply():
                left, right = map(self.vector, scalar.args)
                text, names = f"{left} {_INFIX[scalar.name]} {right}", {left, right}
            case kernels.Cast():
                operand = self.vector(scalar.arg)
                is_rounded = scalar.to is DType.BFLOAT16
                text = f"castoff_rounded_bf16_vf32({operand})" if is_rounded else operand
                names = {operand}
            case _:
                raise AssertionError(f"{type(scalar).__name__} is no vector")
        return self._define("castoff_vf32", text, names | {self._here()}, is_guarded=True)


class VectorStoreWriter(StoreWriter):
    """Writes stores of vectors."""

    def __init__(self, parameters: Parameters, epilogue: Epilogue) -> None:
        super().__init__(parameters)
        self.expressions: VectorExpressions = VectorExpressions(parameters, epilogue)

    def store(self, statements: list[Statement], store: Store) -> None:
        """One vector; the narrow type is rounded to as it is stored."""
        value = self.expressions.vector(before_rounding(store))
        address = self.expressions.dim(self.parameters.address(store.buffer, store.address))
        pointer = self.parameters.pointer(store.buffer)
        statements.append(f"{_STORE[store.buffer.dtype]}({pointer} + {address}, {value});")
