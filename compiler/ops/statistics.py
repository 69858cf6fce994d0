"""Reductions: sums, means, extremes, variances, counts."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..kernels import Number
from .base import Builder, OperatorError, normalize_axes, normalize_axis, target
from .reduction import ArgReduce

Axes = Sequence[int] | int | None


def element_total(x: Value, axes: Sequence[int]) -> Dim:
    """How many elements one box of `axes` holds."""
    return shapes.element_count(x.shape[axis] for axis in axes)


def accumulated(b: Builder, x: Value, dtype: DType | None) -> Value:
    """The operand of a sum or product: in `dtype`, by default int64 for integers."""
    if dtype is None:
        dtype = x.dtype if x.dtype.is_float or x.dtype.is_complex else DType.INT64
    return b.cast(x, dtype)


@target("aten.sum.default", "aten.sum.dim_IntList")
def sum(
    b: Builder, self: Value, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None
) -> Value:
    x = accumulated(b, self, dtype)
    return b.reduce("sum", x, normalize_axes(dim, x.rank), keepdim)


@target("aten.prod.default", "aten.prod.dim_int")
def prod(
    b: Builder, self: Value, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None
) -> Value:
    x = accumulated(b, self, dtype)
    return b.reduce("prod", x, normalize_axes(dim, x.rank), keepdim)


@target("aten.nansum.default")
def nansum(
    b: Builder, self: Value, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None
) -> Value:
    x = accumulated(b, self, dtype)
    if self.dtype.is_float:
        x = b.where(b.apply("isnan", self), b.full((), 0, x.dtype), x)
    return b.reduce("sum", x, normalize_axes(dim, x.rank), keepdim)


@target("aten.mean.default", "aten.mean.dim")
def mean(
    b: Builder, self: Value, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None
) -> Value:
    dtype = dtype or self.dtype
    if not (dtype.is_float or dtype.is_complex):
        raise OperatorError(f"mean of {self}: expected a floating-point dtype")
    axes = normalize_axes(dim, self.rank)
    return b.cast(mean_of(b, b.widen(self, dtype), axes, keepdim), dtype)


def mean_of(b: Builder, x: Value, axes: Sequence[int], keepdim: bool = True) -> Value:
    """The mean over axes of a tensor of a type that arithmetic is done in."""
    total = b.reduce("sum", x, axes, keepdim)
    return b.apply("div", total, b.dim(element_total(x, axes), x.dtype))


@target("aten.nanmean.default")
def nanmean(
    b: Builder, self: Value, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None
) -> Value:
    dtype = dtype or self.dtype
    axes = normalize_axes(dim, self.rank)
    total = nansum(b, b.cast(self, dtype.compute), dim, keepdim)
    known = b.apply("logical_not", b.call("aten.isnan.default", self))
    count = b.reduce("sum", b.cast(known, dtype.compute), axes, keepdim)
    return b.cast(b.apply("div", total, count), dtype)


# -------------------------------------------------------------------------------------- extremes


def extreme(b: Builder, kind: str, x: Value, axes: Sequence[int], keepdim: bool) -> Value:
    """The largest ("max") or smallest element, NaN where there is one."""
    if any(x.shape[axis] == 0 for axis in axes):
        raise OperatorError(f"{kind} over an empty dimension of {x}: it has no neutral element")
    if x.dtype is DType.BOOL:
        return b.reduce("any" if kind == "max" else "all", x, axes, keepdim)
    return b.reduce(kind, x, axes, keepdim)


def extreme_position(b: Builder, kind: str, x: Value, axes: Sequence[int], keepdim: bool) -> Value:
    """The position of the first largest ("max") or smallest element; a NaN wins."""
    if any(x.shape[axis] == 0 for axis in axes):
        raise OperatorError(f"arg{kind} over an empty dimension of {x}")
    if x.dtype is DType.BOOL:
        x = b.cast(x, DType.UINT8)
    position = b.emit1(ArgReduce(f"arg{kind}", tuple(axes)), x)
    if not keepdim:
        return position
    return b.reshape(position, tuple(1 if a in axes else s for a, s in enumerate(x.shape)))


@target("aten.amax.default")
def amax(b: Builder, self: Value, dim: Axes = (), keepdim: bool = False) -> Value:
    return extreme(b, "max", self, normalize_axes(dim, self.rank), keepdim)


@target("aten.amin.default")
def amin(b: Builder, self: Value, dim: Axes = (), keepdim: bool = False) -> Value:
    return extreme(b, "min", self, normalize_axes(dim, self.rank), keepdim)


@target("aten.aminmax.default", "aten._aminmax.default", "aten._aminmax.dim")
def aminmax(
    b: Builder, self: Value, dim: int | None = None, keepdim: bool = False
) -> tuple[Value, Value]:
    axes = range(self.rank) if dim is None else _single_axis(dim, self.rank)
    return extreme(b, "min", self, axes, keepdim), extreme(b, "max", self, axes, keepdim)


def _single_axis(dim: int, rank: int) -> tuple[int, ...]:
    """The one axis meant, none for 0-d tensors."""
    axis = normalize_axis(dim, rank)
    return (axis,) if rank else ()


def _register_extreme(kind: str) -> None:
    @target(f"aten.{kind}.default")
    def over_all(b: Builder, self: Value) -> Value:
        return extreme(b, kind, self, range(self.rank), False)

    @target(f"aten.{kind}.dim")
    def along(b: Builder, self: Value, dim: int, keepdim: bool = False) -> tuple[Value, Value]:
        axes = _single_axis(dim, self.rank)
        position = extreme_position(b, kind, self, axes, keepdim)
        return extreme(b, kind, self, axes, keepdim), position

    @target(f"aten.arg{kind}.default")
    def where(b: Builder, self: Value, dim: int | None = None, keepdim: bool = False) -> Value:
        axes = range(self.rank) if dim is None else _single_axis(dim, self.rank)
        return extreme_position(b, kind, self, tuple(axes), keepdim)


_register_extreme("max")
_register_extreme("min")


# ------------------------------------------------------------------------------ truth and counts


def _register_truth(kind: str) -> None:
    @target(f"aten.{kind}.default", f"aten.{kind}.dim", f"aten.{kind}.dims")
    def reduce(b: Builder, self: Value, dim: Axes = None, keepdim: bool = False) -> Value:
        held = b.cast(self, DType.BOOL)
        result = b.reduce(kind, held, normalize_axes(dim, self.rank), keepdim)
        return b.cast(result, DType.UINT8) if self.dtype is DType.UINT8 else result


_register_truth("any")
_register_truth("all")


@target("aten._is_all_true.default")
def is_all_true(b: Builder, self: Value) -> Value:
    return b.reduce("all", self, range(self.rank))


@target("aten._is_any_true.default")
def is_any_true(b: Builder, self: Value) -> Value:
    return b.reduce("any", self, range(self.rank))


@target("aten.count_nonzero.default", "aten.count_nonzero.dim_IntList")
def count_nonzero(b: Builder, self: Value, dim: Axes = None) -> Value:
    counted = b.cast(b.cast(self, DType.BOOL), DType.INT64)
    return b.reduce("sum", counted, normalize_axes(dim, self.rank))


# ------------------------------------------------------------------------------------- variances


def squared_deviation(b: Builder, x: Value, mean: Value) -> Value:
    """|x - mean|**2, real."""
    centred = b.apply("sub", x, mean)
    if not x.dtype.is_complex:
        return b.apply("mul", centred, centred)
    parts = [b.apply(part, centred) for part in ("real", "imag")]
    return b.apply("add", *(b.apply("mul", part, part) for part in parts))


def _variance(
    b: Builder, x: Value, axes: Sequence[int], correction: Number, keepdim: bool
) -> tuple[Value, Value]:
    """(variance, mean) in two passes, of a tensor of a type that arithmetic is done in."""
    if not (x.dtype.is_float or x.dtype.is_complex):
        raise OperatorError(f"variance of {x}: expected a floating-point dtype")
    mean = mean_of(b, x, axes)
    squares = squared_deviation(b, x, mean)
    total = b.reduce("sum", squares, axes, keepdim)
    count = b.dim(element_total(x, axes), total.dtype)
    freedom = b.apply("sub", count, b.full((), correction, total.dtype))
    freedom = b.apply("maximum", freedom, b.full((), 0, total.dtype))
    if not keepdim:
        mean = b.reshape(mean, total.shape)
    return b.apply("div", total, freedom), mean


def _register_variance(name: str, is_deviation: bool, with_mean: bool) -> None:
    @target(f"aten.{name}.default", f"aten.{name}.dim", f"aten.{name}.correction")
    def spread(
        b: Builder, self: Value, dim: Axes = None, unbiased: bool = True,
        correction: Number | None = None, keepdim: bool = False,
    ) -> Value | tuple[Value, Value]:  # fmt: skip
        # `dim` and `unbiased` change places between the overloads, which pass them by name.
        if isinstance(dim, bool):
            unbiased, dim = dim, None
        taken = (1 if unbiased else 0) if correction is None else correction
        axes = normalize_axes(dim, self.rank)
        x = b.widen(self)
        result, mean = _variance(b, x, axes, taken, keepdim)
        if is_deviation:
            result = b.apply("sqrt", result)
        result = b.cast(result, self.dtype.real)
        return (result, b.cast(mean, self.dtype)) if with_mean else result


_register_variance("var", is_deviation=False, with_mean=False)
_register_variance("std", is_deviation=True, with_mean=False)
_register_variance("var_mean", is_deviation=False, with_mean=True)
_register_variance("std_mean", is_deviation=True, with_mean=True)


# ------------------------------------------------------------------------------------ log of sum


@target("aten.logsumexp.default", "aten.special_logsumexp.default")
def logsumexp(b: Builder, self: Value, dim: Axes, keepdim: bool = False) -> Value:
    (x,) = b.promoted(self, floating=True)
    dtype = x.dtype
    x = b.widen(x)
    axes = normalize_axes(dim, x.rank)
    size = b.apply("real", x) if x.dtype.is_complex else x
    largest = b.reduce("max", size, axes, True)
    # Infinities stay out of the difference, which would be NaN.
    finite = b.apply("isfinite", largest)
    largest = b.where(finite, largest, b.full((), 0, largest.dtype))
    shift = b.cast(largest, x.dtype)
    total = b.reduce("sum", b.apply("exp", b.apply("sub", x, shift)), axes, True)
    result = b.apply("add", b.apply("log", total), shift)
    if not keepdim:
        result = b.reshape(result, tuple(s for a, s in enumerate(x.shape) if a not in axes))
    return b.cast(result, dtype)


@target("aten.hash_tensor.default")
def hash_tensor(
    b: Builder, self: Value, dim: Axes = (), *, keepdim: bool = False, mode: int = 0
) -> Value:
    """The exclusive or of the elements' bits, of doubles for floats, of int64 for integers."""
    if mode != 0:
        raise OperatorError(f"hash_tensor: expected mode 0, got {mode}")
    from .pointwise import BitCast

    if self.dtype.is_float:
        bits = b.emit1(BitCast(DType.INT64), b.cast(self, DType.FLOAT64))
    else:
        bits = b.cast(self, DType.INT64)
    result = b.reduce("xor", bits, normalize_axes(dim, self.rank), keepdim)
    return b.cast(result, DType.UINT64)
