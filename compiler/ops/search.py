"""Targets that look values up in sorted tensors or count them: searchsorted, isin, bincount."""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType, promote
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim
from ..kernels import Definition
from ..records import dataclass
from .base import Builder, Environment, Op, Operand, OperatorError, target
from .gathering import GatherAxis, IndexPut


@dataclass(frozen=True, slots=True)
class SearchSorted(Op):
    """How many elements of a sorted sequence stand before each value: those less, or with `right`
    also those equal.

    The sequences are the last dimension of input 0, one for all values or one for each row of input
    1. A NaN stands behind everything.
    """

    right: bool

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        sequence, values = inputs
        if sequence.dtype is not values.dtype or sequence.dtype not in _SUFFIX or sequence.rank < 1:
            raise OperatorError(f"search of {values} in {sequence}")
        batch = zip(sequence.shape[:-1], values.shape[:-1], strict=False)
        if sequence.rank > 1 and (
            sequence.rank != values.rank or any(shapes.is_equal(m, n) is False for m, n in batch)
        ):
            raise OperatorError(f"search of {values} in {sequence}: leading dimensions differ")
        return (TensorType(DType.INT64, values.shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        sequence, values = inputs
        if sequence.ndim == 1:
            return (self._search(sequence, values),)
        count = int(np.prod(sequence.shape[:-1]))
        rows = sequence.reshape(count, sequence.shape[-1])
        wanted = values.reshape(count, values.shape[-1])
        found = [
            self._search(row, row_values) for row, row_values in zip(rows, wanted, strict=True)
        ]
        return (np.array(found, np.int64).reshape(values.shape),)

    def _search(self, row: np.ndarray, values: np.ndarray) -> np.ndarray:
        found = np.searchsorted(row, values, "right" if self.right else "left")
        return np.where(values != values, len(row), found)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        sequence, values = inputs
        rows = shapes.element_count(values.shape[:-1]) if sequence.rank > 1 else 1
        per_row = values.shape[-1] if sequence.rank > 1 else shapes.element_count(values.shape)
        call = kernels.LibraryCall(
            f"castoff_searchsorted_{_SUFFIX[sequence.dtype]}",
            ("common/search.h",),
            (
                kernels.Out(0),
                kernels.In(0),
                kernels.In(1),
                kernels.Size(rows),
                kernels.Size(sequence.shape[-1]),
                kernels.Size(per_row),
                kernels.Size(int(self.right)),
            ),
        )
        return (call,)


_SUFFIX = {DType.FLOAT32: "f32", DType.FLOAT64: "f64", DType.INT64: "i64"}


def searchable(dtype: DType) -> DType:
    """The type in which values of a type are compared: order is the same there."""
    if dtype.is_float:
        return dtype.compute
    return DType.INT64


def search(b: Builder, sequence: Value, values: Value, *, right: bool) -> Value:
    """`SearchSorted` for operands of any type, as int64."""
    dtype = searchable(promote(sequence.dtype, values.dtype))
    return b.emit1(SearchSorted(right), b.cast(sequence, dtype), b.cast(values, dtype))


@target("aten.searchsorted.Tensor", "aten.searchsorted.Scalar")
def searchsorted(
    b: Builder,
    sorted_sequence: Value,
    self: Operand,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Value | None = None,
) -> Value:
    """Where values would have to be inserted to keep sequences sorted."""
    values = b.tensor(self, None if isinstance(self, Value) else sorted_sequence.dtype)
    if sorter is not None:
        sorted_sequence = b.emit1(GatherAxis(sorter.rank - 1), sorted_sequence, sorter)
    is_right = right if side is None else side == "right"
    found = search(b, sorted_sequence, values, right=is_right)
    return b.cast(found, DType.INT32) if out_int32 else found


@target("aten.bucketize.Tensor", "aten.bucketize.Scalar")
def bucketize(
    b: Builder, self: Operand, boundaries: Value, *, out_int32: bool = False, right: bool = False
) -> Value:
    """The bucket of each value between boundaries."""
    values = b.tensor(self, None if isinstance(self, Value) else boundaries.dtype)
    found = search(b, boundaries, values, right=right)
    return b.cast(found, DType.INT32) if out_int32 else found


@target("aten.isin.Tensor_Tensor", "aten.isin.Tensor_Scalar", "aten.isin.Scalar_Tensor")
def isin(
    b: Builder,
    elements: Operand | None = None,
    test_elements: Operand | None = None,
    *,
    element: Operand | None = None,
    test_element: Operand | None = None,
    assume_unique: bool = False,
    invert: bool = False,
) -> Value:
    """Whether each element is among the test elements."""
    asked = elements if elements is not None else element
    among = test_elements if test_elements is not None else test_element
    assert asked is not None and among is not None, "the schema has both"
    x, tests = b.promoted(asked, among)
    flat = b.reshape(tests, (shapes.element_count(tests.shape),))
    found = b.reduce("any", b.apply("eq", b.unsqueeze(x, x.rank), flat), (x.rank,))
    return b.apply("logical_not", found) if invert else found


@target("aten.bincount.default")
def bincount(b: Builder, self: Value, weights: Value | None = None, minlength: Dim = 0) -> Value:
    """How often each number from 0 on occurs, or the sum of its weights."""
    count = shapes.element_count(self.shape)
    size: Dim = minlength
    if count != 0:
        top = b.apply("maximum", b.cast(b.reduce("max", self, (0,)), DType.INT64), b.dim(-1))
        most = b.apply("maximum", b.apply("add", top, b.dim(1)), b.dim(minlength))
        size = b.read_symbol(most, 0)
    dtype = DType.INT64
    if weights is not None:
        dtype = weights.dtype if weights.dtype is DType.FLOAT32 else DType.FLOAT64
    added = b.full(self.shape, 1, dtype) if weights is None else b.cast(weights, dtype)
    op = IndexPut((0,), 0, "add", wrap=False)
    return b.emit1(op, b.full((size,), 0, dtype), added, self)
