"""Sorting along an axis, and what follows from it: top k, k-th value, median, mode."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim
from ..kernels import Argument, Definition
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError, normalize_axis, target
from .introsort import kth_position, mode_position, order_positions, top_positions
from .pointwise import widen
from .symbols import check
from .view import replace_axis

_SUFFIX = {
    DType.FLOAT16: "f16", DType.BFLOAT16: "bf16", DType.FLOAT32: "f32", DType.FLOAT64: "f64",
    DType.INT8: "i8", DType.INT16: "i16", DType.INT32: "i32", DType.INT64: "i64", DType.UINT8: "u8",
    DType.UINT16: "u16", DType.UINT32: "u32", DType.UINT64: "u64", DType.BOOL: "b8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AxisOrder(Op):
    """Base of the primitives that order elements along `axis`: they give values and int64
    positions.

    A NaN is larger than every number; of equal elements the first one comes first, unless a
    subclass says otherwise.
    """

    function: ClassVar[str]
    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.dtype not in _SUFFIX or x.rank < 1:
            raise OperatorError(f"{self.function} of {x}")
        shape = self.result_shape(x)
        return TensorType(x.dtype, shape), TensorType(DType.INT64, shape)

    def result_shape(self, x: TensorType) -> shapes.Shape:
        """Without the axis, unless a subclass keeps it."""
        return (*x.shape[: self.axis], *x.shape[self.axis + 1 :])

    def parameters(self) -> tuple[Argument, ...]:
        """What the C function takes between the sizes and the scratch memory."""
        return ()

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        length = x.shape[self.axis]
        call = kernels.LibraryCall(
            f"castoff_{self.function}_{_SUFFIX[x.dtype]}",
            ("common/sort.h",),
            (
                kernels.Out(0),
                kernels.Out(1),
                kernels.In(0),
                kernels.Size(shapes.element_count(x.shape[: self.axis])),
                kernels.Size(length),
                kernels.Size(shapes.element_count(x.shape[self.axis + 1 :])),
                *self.parameters(),
                kernels.Scratch(length * 32),  # two halves of (key, position) pairs
            ),
        )
        return (call,)

    def picked(self, x: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and positions for positions that still have the axis."""
        return np.take_along_axis(x, order, self.axis), order

    def one(self, x: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and positions for one position in each row."""
        values = np.take_along_axis(x, order, self.axis)
        return values.squeeze(self.axis), order.squeeze(self.axis)


def sorted_positions(x: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    """Positions in stable order; NaN last, or first when descending."""
    keys = widen(x)
    if not descending:
        return np.argsort(keys, axis=axis, kind="stable")
    mirrored = np.flip(keys, axis)
    order = np.flip(np.argsort(mirrored, axis=axis, kind="stable"), axis)
    result: np.ndarray = x.shape[axis] - 1 - order
    return result


def positions_by_row(
    x: np.ndarray, axis: int, pick: Callable[[np.ndarray], int | list[int]], kept: int
) -> np.ndarray:
    """`kept` positions along an axis for each row, as `pick` gives them for one."""
    rows = np.moveaxis(widen(x), axis, -1)
    places = np.empty((*rows.shape[:-1], kept), np.int64)
    for row in np.ndindex(*rows.shape[:-1]):
        places[row] = pick(rows[row])
    return np.moveaxis(places, -1, axis)


@dataclass(frozen=True, slots=True)
class Sort(AxisOrder):
    """All elements in order; what becomes of equal ones, if not `stable`, is up to the algorithm of
    `introsort`."""

    function: ClassVar[str] = "sort"
    descending: bool
    stable: bool

    def result_shape(self, x: TensorType) -> shapes.Shape:
        return x.shape

    def parameters(self) -> tuple[Argument, ...]:
        return kernels.Size(int(self.descending)), kernels.Size(int(self.stable))

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        if self.stable:
            return self.picked(x, sorted_positions(x, self.axis, self.descending))
        pick = partial(order_positions, descending=self.descending)
        return self.picked(x, positions_by_row(x, self.axis, pick, x.shape[self.axis]))


@dataclass(frozen=True, slots=True)
class TopK(AxisOrder):
    """The `k` largest, or smallest; which of equal ones, and in what order if not `sorted`, is up
    to the algorithm of `introsort`."""

    function: ClassVar[str] = "topk"
    k: Dim
    largest: bool
    sorted: bool

    def result_shape(self, x: TensorType) -> shapes.Shape:
        if shapes.is_less(x.shape[self.axis], self.k) is True:
            raise OperatorError(f"top {self.k} of dimension {self.axis} of {x}")
        return replace_axis(x.shape, self.axis, self.k)

    def parameters(self) -> tuple[Argument, ...]:
        flags = kernels.Size(int(self.largest)), kernels.Size(int(self.sorted))
        return (kernels.Size(self.k), *flags)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        kept = env.size(self.k)
        pick = partial(top_positions, kept=kept, largest=self.largest, is_sorted=self.sorted)
        return self.picked(x, positions_by_row(x, self.axis, pick, kept))


@dataclass(frozen=True, slots=True)
class KthValue(AxisOrder):
    """The `k`-th smallest, counted from 1; which of equal ones is up to the algorithm of
    `introsort`."""

    function: ClassVar[str] = "kthvalue"
    k: Dim

    def parameters(self) -> tuple[Argument, ...]:
        return (kernels.Size(self.k),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        pick = partial(kth_position, k=env.size(self.k) - 1)
        return self.one(x, positions_by_row(x, self.axis, pick, 1))


@dataclass(frozen=True, slots=True)
class Median(AxisOrder):
    """The lower median; a NaN wins unless it is ignored."""

    function: ClassVar[str] = "median"
    ignores_nan: bool

    def parameters(self) -> tuple[Argument, ...]:
        return (kernels.Size(int(self.ignores_nan)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        order = sorted_positions(x, self.axis, descending=False)
        length = x.shape[self.axis]
        keys = widen(x)
        numbers = (keys == keys).sum(axis=self.axis, keepdims=True)
        if self.ignores_nan:
            place = np.maximum(numbers - 1, 0) // 2
        else:
            place = np.where(numbers < length, numbers, (length - 1) // 2)
        return self.one(x, np.take_along_axis(order, place, self.axis))


@dataclass(frozen=True, slots=True)
class Mode(AxisOrder):
    """The most frequent value, of several the smallest; at which of its positions is up to the
    algorithm of `introsort`."""

    function: ClassVar[str] = "mode"

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        return self.one(x, positions_by_row(x, self.axis, mode_position, 1))


# ------------------------------------------------------------------------------------------ targets


def _as_rows(b: Builder, x: Value, dim: int) -> tuple[Value, int]:
    """A tensor with at least one dimension, and the axis `dim` means."""
    return (b.reshape(x, (1,)) if x.rank == 0 else x), normalize_axis(dim, x.rank)


def _finish(
    b: Builder, self: Value, axis: int, keepdim: bool, results: tuple[Value, ...]
) -> tuple[Value, Value]:
    """Values and positions with the axis put back as size 1 if it is kept."""
    values, indices = results
    if keepdim and self.rank:
        return b.unsqueeze(values, axis), b.unsqueeze(indices, axis)
    return values, indices


def _sorted(
    b: Builder, x: Value, dim: int, descending: bool, stable: bool | None
) -> tuple[Value, Value]:
    rows, axis = _as_rows(b, x, dim)
    values, indices = b.emit(Sort(axis, descending, bool(stable)), rows)
    return b.reshape(values, x.shape), b.reshape(indices, x.shape)


@target("aten.sort.default")
def sort(b: Builder, self: Value, dim: int = -1, descending: bool = False) -> tuple[Value, Value]:
    """(values in order, their positions); equal ones as C++'s `std::sort` leaves them."""
    return _sorted(b, self, dim, descending, stable=False)


@target("aten.sort.stable")
def sort_stable(
    b: Builder, self: Value, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[Value, Value]:
    """As `sort`; of equal elements the first one comes first if `stable`."""
    return _sorted(b, self, dim, descending, stable)


@target("aten.argsort.default")
def argsort(b: Builder, self: Value, dim: int = -1, descending: bool = False) -> Value:
    """Positions of the values in order."""
    return sort(b, self, dim, descending)[1]


@target("aten.argsort.stable")
def argsort_stable(
    b: Builder, self: Value, *, stable: bool, dim: int = -1, descending: bool = False
) -> Value:
    """As `argsort`; of equal elements the first one comes first if `stable`."""
    return _sorted(b, self, dim, descending, stable)[1]


@target("aten.msort.default")
def msort(b: Builder, self: Value) -> Value:
    """Values in order along the first dimension."""
    return sort(b, self, 0)[0]


def _check_count(b: Builder, name: str, least: int, count: Dim, length: Dim) -> None:
    """The run fails where a count is not from `least` to what a row has, if only its sizes can tell."""
    for low, high in ((least, count), (count, length)):
        if shapes.is_less(high, low) is None:
            fits = b.apply("le", b.dim(low, DType.INT64), b.dim(high, DType.INT64))
            check(
                b,
                fits,
                f"{name}: {count} of {length} elements are wanted, expected from {least} to all",
            )


@target("aten.topk.default")
def topk(
    b: Builder, self: Value, k: Dim, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Value, Value]:
    """(the k largest or smallest, in order if asked for, their positions)."""
    x, axis = _as_rows(b, self, dim)
    _check_count(b, "topk", 0, k, x.shape[axis])
    values, indices = b.emit(TopK(axis, k, largest, sorted), x)
    if self.rank == 0 and k == 1:
        return b.reshape(values, ()), b.reshape(indices, ())
    return values, indices


@target("aten.kthvalue.default")
def kthvalue(
    b: Builder, self: Value, k: Dim, dim: int = -1, keepdim: bool = False
) -> tuple[Value, Value]:
    """(the k-th smallest, its position)."""
    x, axis = _as_rows(b, self, dim)
    if shapes.is_less(k, 1) is True or shapes.is_less(x.shape[axis], k) is True:
        raise OperatorError(f"value number {k} of dimension {dim} of {self}")
    _check_count(b, "kthvalue", 1, k, x.shape[axis])
    return _finish(b, self, axis, keepdim, b.emit(KthValue(axis, k), x))


@target("aten.median.dim")
def median(b: Builder, self: Value, dim: int, keepdim: bool = False) -> tuple[Value, Value]:
    """(the lower median, its position)."""
    x, axis = _as_rows(b, self, dim)
    return _finish(b, self, axis, keepdim, b.emit(Median(axis, False), x))


@target("aten.nanmedian.dim")
def nanmedian(b: Builder, self: Value, dim: int, keepdim: bool = False) -> tuple[Value, Value]:
    """As `median`, as if NaN were not there."""
    x, axis = _as_rows(b, self, dim)
    return _finish(b, self, axis, keepdim, b.emit(Median(axis, True), x))


def _median_of_all(b: Builder, x: Value, ignores_nan: bool) -> Value:
    count = shapes.element_count(x.shape)
    if count == 0:
        lowest = float("nan") if x.dtype.is_float else -(1 << (x.dtype.itemsize * 8 - 1))
        return b.full((), lowest, x.dtype)
    return b.emit(Median(0, ignores_nan), b.reshape(x, (count,)))[0]


@target("aten.median.default")
def median_of_all(b: Builder, self: Value) -> Value:
    """The lower median of all elements."""
    return _median_of_all(b, self, ignores_nan=False)


@target("aten.nanmedian.default")
def nanmedian_of_all(b: Builder, self: Value) -> Value:
    """The lower median of all elements that are not NaN."""
    return _median_of_all(b, self, ignores_nan=True)


@target("aten.mode.default")
def mode(b: Builder, self: Value, dim: int = -1, keepdim: bool = False) -> tuple[Value, Value]:
    """(the most frequent value, its position)."""
    x, axis = _as_rows(b, self, dim)
    return _finish(b, self, axis, keepdim, b.emit(Mode(axis), x))
