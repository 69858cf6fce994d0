"""Distinct values: order, mark where a new value starts, and keep those places."""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..kernels import Definition
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError, normalize_axis, target
from .gathering import AdvancedIndex, IndexPut, Nonzero
from .indexing import count_true
from .search import searchable
from .sorting import Sort

_SUFFIX = {DType.FLOAT32: "f32", DType.FLOAT64: "f64", DType.INT64: "i64"}


@dataclass(frozen=True, slots=True)
class SortRows(Op):
    """The positions of the rows of a matrix in lexicographic order; equal rows keep theirs."""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.rank != 2 or x.dtype not in _SUFFIX:
            raise OperatorError(f"rows of {x} in order")
        return (TensorType(DType.INT64, (x.shape[0],)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        if x.shape[1] == 0:
            return (np.arange(x.shape[0]),)
        return (np.lexsort(tuple(x[:, column] for column in reversed(range(x.shape[1])))),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        rows, columns = x.shape
        call = kernels.LibraryCall(
            f"castoff_sort_rows_{_SUFFIX[x.dtype]}",
            ("common/rows.h",),
            (
                kernels.Out(0),
                kernels.In(0),
                kernels.Size(rows),
                kernels.Size(columns),
                kernels.Scratch(rows * 8),
            ),
        )
        return (call,)


@dataclass(frozen=True, slots=True)
class _Distinct:
    """Distinct rows, the group of every row, and the sizes of the groups."""

    rows: Value
    inverse: Value
    counts: Value


def _distinct_rows(b: Builder, rows: Value, order: Value | None) -> _Distinct:
    """Groups of equal neighbours among rows [n, m], taken in an order if there is one."""
    count = rows.shape[0]
    pick = AdvancedIndex((0,), 0, False)
    ordered = rows if order is None else b.emit1(pick, rows, order)
    places = b.iota(count)
    before = b.apply("maximum", b.apply("sub", places, b.dim(1)), b.dim(0))
    differs = b.reduce("any", b.apply("ne", ordered, b.emit1(pick, ordered, before)), (1,))
    starts_group = b.apply("logical_or", b.apply("eq", places, b.dim(0)), differs)
    total: Value = b.call("aten.cumsum.default", b.cast(starts_group, DType.INT64), 0)
    group = b.apply("sub", total, b.dim(1))
    groups = count_true(b, starts_group)
    firsts = b.select(b.emit1(Nonzero(groups), starts_group), 1, 0)
    distinct = b.emit1(pick, ordered, firsts)
    inverse = group
    if order is not None:
        put = IndexPut((0,), 0, "set", wrap=False)
        inverse = b.emit1(put, b.full((count,), 0, DType.INT64), group, order)
    adder = IndexPut((0,), 0, "add", wrap=False)
    ones = b.full((count,), 1, DType.INT64)
    counts = b.emit1(adder, b.full((groups,), 0, DType.INT64), ones, group)
    return _Distinct(distinct, inverse, counts)


def _nothing(b: Builder) -> Value:
    return b.full((0,), 0, DType.INT64)


def _of_elements(
    b: Builder, x: Value, with_inverse: bool, with_counts: bool, *, consecutive: bool
) -> tuple[Value, Value, Value]:
    """(distinct elements, group of each element, sizes of groups) of the elements in row-major
    order.
    """
    count = shapes.element_count(x.shape)
    flat = b.reshape(x, (count,))
    if count == 0:
        empty = b.full((0,), 0, x.dtype)
        inverse = b.full(x.shape, 0, DType.INT64) if with_inverse else _nothing(b)
        return empty, inverse, _nothing(b)
    order = None if consecutive else b.emit(Sort(0, descending=False, stable=True), flat)[1]
    found = _distinct_rows(b, b.reshape(flat, (count, 1)), order)
    return (
        b.squeeze(found.rows, 1),
        b.reshape(found.inverse, x.shape) if with_inverse else _nothing(b),
        found.counts if with_counts else _nothing(b),
    )


def _of_slices(
    b: Builder, x: Value, dim: int, with_inverse: bool, with_counts: bool, *, consecutive: bool
) -> tuple[Value, Value, Value]:
    """The same for the slices along a dimension."""
    axis = normalize_axis(dim, x.rank)
    count = x.shape[axis]
    if count == 0:
        return x, _nothing(b), _nothing(b)
    front = b.permute(x, [axis, *(i for i in range(x.rank) if i != axis)])
    rows = b.reshape(front, (count, shapes.element_count(front.shape[1:])))
    order = None
    if not consecutive:
        order = b.emit1(SortRows(), b.cast(rows, searchable(rows.dtype)))
    found = _distinct_rows(b, rows, order)
    distinct = b.reshape(found.rows, (found.rows.shape[0], *front.shape[1:]))
    distinct = b.permute(distinct, [*range(1, axis + 1), 0, *range(axis + 1, x.rank)])
    return (
        distinct,
        found.inverse if with_inverse else _nothing(b),
        found.counts if with_counts else _nothing(b),
    )


@target("aten._unique2.default")
def unique2(
    b: Builder,
    self: Value,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
) -> tuple[Value, Value, Value]:
    """(distinct elements in order, group of each element, sizes of groups)."""
    return _of_elements(b, self, return_inverse, return_counts, consecutive=False)


@target("aten._unique.default")
def unique(
    b: Builder, self: Value, sorted: bool = True, return_inverse: bool = False
) -> tuple[Value, Value]:
    """(distinct elements in order, group of each element)."""
    return _of_elements(b, self, return_inverse, False, consecutive=False)[:2]


@target("aten.unique_dim.default")
def unique_dim(
    b: Builder,
    self: Value,
    dim: int,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
) -> tuple[Value, Value, Value]:
    """(distinct slices in order, group of each slice, sizes of groups)."""
    return _of_slices(b, self, dim, return_inverse, return_counts, consecutive=False)


@target("aten.unique_consecutive.default")
def unique_consecutive(
    b: Builder,
    self: Value,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> tuple[Value, Value, Value]:
    """The first of every run of equal elements, or slices; the run of each; lengths of runs."""
    if dim is None:
        return _of_elements(b, self, return_inverse, return_counts, consecutive=True)
    return _of_slices(b, self, dim, return_inverse, return_counts, consecutive=True)


@target("aten.unique_dim_consecutive.default")
def unique_dim_consecutive(
    b: Builder, self: Value, dim: int, return_inverse: bool = False, return_counts: bool = False
) -> tuple[Value, Value, Value]:
    """As `unique_consecutive` along a dimension."""
    return _of_slices(b, self, dim, return_inverse, return_counts, consecutive=True)
