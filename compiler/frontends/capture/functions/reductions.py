"""Sums, products, extremes, means and what is counted, along axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..array import TracedArray, tensor_of
from ..conversion import converted
from ..recorder import Recorder
from ..ufuncs import stored_in
from ..where import refused
from .calls import array_of, call, normalized_axis, real_only, reduced_axes, xp
from .table import implements

_UNSET: Any = np._NoValue


def accumulator(dtype: np.dtype[Any], wanted: Any) -> np.dtype[Any]:
    """The type NumPy sums and multiplies in: integers at least as wide as the default one."""
    if wanted is not None:
        chosen: np.dtype[Any] = np.dtype(wanted)
        return chosen
    if dtype.kind == "b" or (dtype.kind == "i" and dtype.itemsize < 8):
        return np.dtype(np.int64)
    if dtype.kind == "u" and dtype.itemsize < 8:
        return np.dtype(np.uint64)
    return dtype


def _given(value: Any) -> bool:
    return value is not None and value is not _UNSET


def finished(result: TracedArray, out: Any, what: str) -> Any:
    """The result, in the array given as `out` if there is one."""
    return stored_in(out, result, what) if _given(out) else result


def _masked(r: Recorder, x: TracedArray, where: Any, neutral: object) -> Any:
    """The elements that count; the others are such that they change nothing."""
    if where is _UNSET or where is True or where is None:
        return x
    return xp.where(array_of(r, where), x, xp.asarray(neutral, x.dtype))


def _shortened(r: Recorder, x: TracedArray, target: str, axes: Sequence[int], keepdims: Any) -> Any:
    return call(r, target, self=x, dim=list(axes), keepdim=_flag(keepdims))


def _flag(keepdims: Any) -> bool:
    return keepdims is not _UNSET and bool(keepdims)


@implements("sum")
def sum_(r: Recorder, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = _UNSET,
         initial: Any = _UNSET, where: Any = _UNSET) -> Any:  # fmt: skip
    x = array_of(r, a)
    x = converted(x, accumulator(x.dtype, dtype))
    axes = reduced_axes(axis, x.ndim)
    x = _masked(r, x, where, 0)
    result = _total(r, x, axes, keepdims)
    if _given(initial):
        result = xp.add(result, initial)
    return finished(result, out, "np.sum")


def _total(r: Recorder, x: TracedArray, axes: Sequence[int], keepdims: Any) -> Any:
    if not axes:
        return x.copy()
    if x.dtype == xp.bool_:
        return xp.any(x, tuple(axes), keepdims=_flag(keepdims))
    return call(
        r, "sum.dim_IntList", self=x, dim=list(axes), keepdim=_flag(keepdims), dtype=x.dtype
    )


@implements("prod")
def prod(r: Recorder, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = _UNSET,
         initial: Any = _UNSET, where: Any = _UNSET) -> Any:  # fmt: skip
    x = array_of(r, a)
    wanted = accumulator(x.dtype, dtype)
    x = _masked(r, converted(x, wanted), where, 1)
    for each in sorted(reduced_axes(axis, x.ndim), reverse=True):
        x = call(r, "prod.dim_int", self=x, dim=each, keepdim=_flag(keepdims), dtype=wanted)
    if _given(initial):
        x = xp.multiply(x, initial)
    return finished(x, out, "np.prod")


def _extreme(name: str, target: str, pair: np.ufunc) -> Any:
    def handler(r: Recorder, a: Any, axis: Any = None, out: Any = None, keepdims: Any = _UNSET,
                initial: Any = _UNSET, where: Any = _UNSET) -> Any:  # fmt: skip
        x = array_of(r, a)
        axes = reduced_axes(axis, x.ndim)
        real_only(x, f"np.{name}")
        sizes = tensor_of(x).shape
        if not _given(initial):
            if not (where is _UNSET or where is True):
                raise ValueError(f"np.{name} with where= needs initial=")
            if any(size == 0 for size in (sizes[axis] for axis in axes)):
                raise ValueError(
                    f"zero-size array to reduction operation xp.{name} which has no identity"
                )
        else:
            x = _masked(r, x, where, initial)
        result = x.copy() if not axes else _shortened(r, x, target, axes, keepdims)
        return finished(pair(result, initial) if _given(initial) else result, out, f"np.{name}")

    return handler


for _name, _target, _pair in (
    ("max", "amax.default", xp.maximum), ("amax", "amax.default", xp.maximum),
    ("min", "amin.default", xp.minimum), ("amin", "amin.default", xp.minimum),
):  # fmt: skip
    implements(_name)(_extreme(_name, _target, _pair))


@implements("ptp")
def ptp(r: Recorder, a: Any, axis: Any = None, out: Any = None, keepdims: Any = _UNSET) -> Any:
    kept = _flag(keepdims)
    return finished(xp.max(a, axis, keepdims=kept) - xp.min(a, axis, keepdims=kept), out, "np.ptp")


def _question(target: str, neutral: bool) -> Any:
    def handler(r: Recorder, a: Any, axis: Any = None, out: Any = None, keepdims: Any = _UNSET, *,
                where: Any = _UNSET) -> Any:  # fmt: skip
        x = _masked(r, converted(array_of(r, a), np.dtype(np.bool_)), where, neutral)
        axes = reduced_axes(axis, x.ndim)
        result = x.copy() if not axes else _shortened(r, x, target, axes, keepdims)
        return finished(result, out, "np.all")

    return handler


implements("any")(_question("any.dims", False))
implements("all")(_question("all.dims", True))


def _position(target: str) -> Any:
    def handler(
        r: Recorder, a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = _UNSET
    ) -> Any:
        x = array_of(r, a)
        real_only(x, "np.argmax or np.argmin")
        if x.dtype == np.bool_:
            x = converted(x, np.dtype(np.int8))
        if axis is None:
            flat = xp.reshape(x, (-1,))
            result = call(r, target, self=flat, dim=0)
            if _flag(keepdims):
                result = xp.reshape(result, (1,) * x.ndim)
        else:
            where = normalized_axis(axis, max(x.ndim, 1))
            result = call(r, target, self=x, dim=where, keepdim=_flag(keepdims))
        return finished(result, out, "np.argmax")

    return handler


implements("argmax")(_position("argmax.default"))
implements("argmin")(_position("argmin.default"))


@implements("count_nonzero")
def count_nonzero(r: Recorder, a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    x = converted(array_of(r, a), np.dtype(np.bool_))
    return xp.sum(x, axis, xp.int64, keepdims=keepdims)


# ---- means


def _count(r: Recorder, x: TracedArray, axes: Sequence[int]) -> Any:
    count = 1
    for axis in axes:
        count = count * x.shape[axis]
    return count


@implements("mean")
def mean(r: Recorder, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = _UNSET,
         *, where: Any = _UNSET) -> Any:  # fmt: skip
    x = array_of(r, a)
    inner, outer = _mean_types(x.dtype, dtype)
    x = converted(x, inner)
    axes = reduced_axes(axis, x.ndim)
    if where is not _UNSET and where is not True:
        condition = xp.broadcast_to(array_of(r, where), x.shape)
        total = xp.sum(x, axis, where=condition, keepdims=_flag(keepdims))
        result = total / xp.sum(condition, axis, xp.int64, keepdims=_flag(keepdims)).astype(inner)
    elif not axes:
        result = x.copy()
    else:
        result = call(r, "mean.dim", self=x, dim=list(axes), keepdim=_flag(keepdims))
    return finished(converted(result, outer), out, "np.mean")


def _mean_types(dtype: np.dtype[Any], wanted: Any) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """The type a mean is computed in, and that of its result."""
    if wanted is not None:
        return np.dtype(wanted), np.dtype(wanted)
    if dtype.kind in "biu":
        return np.dtype(np.float64), np.dtype(np.float64)
    if dtype == xp.float16:
        return np.dtype(np.float32), dtype
    return dtype, dtype


@implements("average")
def average(r: Recorder, a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *,
            keepdims: Any = _UNSET) -> Any:  # fmt: skip
    x = array_of(r, a)
    kept = _flag(keepdims)
    if weights is None:
        result = xp.mean(x, axis, keepdims=kept)
        total = array_of(r, _count(r, x, reduced_axes(axis, x.ndim)))
        return (
            (result, xp.broadcast_to(total.astype(result.dtype), result.shape))
            if returned
            else result
        )
    given = array_of(r, weights)
    common = xp.result_type(x.dtype, given.dtype)
    if x.dtype.kind in "biu":
        common = xp.result_type(common, xp.float64)
    if given.ndim != x.ndim:
        if given.ndim != 1 or axis is None:
            raise TypeError("Axis must be specified when shapes of a and weights differ.")
        where = normalized_axis(axis, x.ndim)
        given = given[tuple(slice(None) if i == where else None for i in range(x.ndim))]
    given = xp.broadcast_to(given, x.shape).astype(common)
    scale = xp.sum(given, axis, keepdims=kept)
    result = xp.sum(x.astype(common) * given, axis, keepdims=kept) / scale
    return (result, scale) if returned else result


@implements("var")
def var(r: Recorder, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
        keepdims: Any = _UNSET, *, where: Any = _UNSET, mean: Any = _UNSET,
        correction: Any = _UNSET) -> Any:  # fmt: skip
    if _given(where) and where is not True:
        raise refused("np.var and np.std with where=")
    ddof = correction if _given(correction) else ddof
    x = array_of(r, a)
    inner, outer = _mean_types(x.dtype, dtype)
    x = converted(x, inner)
    axes = reduced_axes(axis, x.ndim)
    middle = mean if _given(mean) else xp.mean(x, axes, keepdims=True)
    distance = x - middle
    if distance.dtype.kind == "c":
        squares = distance.real * distance.real + distance.imag * distance.imag
        outer = squares.dtype
    else:
        squares = distance * distance
    total = xp.sum(squares, axes, keepdims=_flag(keepdims))
    count = array_of(r, _count(r, x, axes)) - ddof
    divisor = xp.maximum(count, 0).astype(total.dtype)
    return finished(converted(total / divisor, outer), out, "np.var")


@implements("std")
def std(r: Recorder, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
        keepdims: Any = _UNSET, *, where: Any = _UNSET, mean: Any = _UNSET,
        correction: Any = _UNSET) -> Any:  # fmt: skip
    x = array_of(r, a)
    inner, outer = _mean_types(x.dtype, dtype)
    spread = var(r, x.astype(inner), axis, dtype, None, ddof, keepdims, where=where, mean=mean,
                 correction=correction)  # fmt: skip
    result = xp.sqrt(spread)
    return finished(result if outer.kind == "c" else converted(result, outer), out, "np.std")


# ---- running


def _running(target: str, name: str) -> Any:
    def handler(r: Recorder, a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        x = array_of(r, a)
        wanted = accumulator(x.dtype, dtype)
        if axis is None or x.ndim == 0:
            x, axis = xp.reshape(x, (-1,)), 0
        x = converted(x, wanted)
        result = call(r, target, self=x, dim=normalized_axis(axis, x.ndim), dtype=wanted)
        return finished(result, out, f"np.{name}")

    return handler


implements("cumsum")(_running("cumsum.default", "cumsum"))
implements("cumprod")(_running("cumprod.default", "cumprod"))


def _cumulative(target: str, name: str) -> Any:
    run = _running(target, name)

    def handler(r: Recorder, x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None,
                include_initial: bool = False) -> Any:  # fmt: skip
        array = array_of(r, x)
        if axis is None:
            if array.ndim != 1:
                raise ValueError(
                    "For arrays which have more than one dimension ``axis`` argument is required."
                )
            axis = 0
        result = run(r, array, axis, dtype)
        if include_initial:
            first = xp.ones_like if name == "cumulative_prod" else xp.zeros_like
            head = first(xp.take(result, [0], axis))
            result = xp.concatenate([head, result], axis)
        return finished(result, out, f"np.{name}")

    return handler


implements("cumulative_sum")(_cumulative("cumsum.default", "cumulative_sum"))
implements("cumulative_prod")(_cumulative("cumprod.default", "cumulative_prod"))


@implements("diff")
def diff(
    r: Recorder, a: Any, n: int = 1, axis: int = -1, prepend: Any = _UNSET, append: Any = _UNSET
) -> Any:
    x = array_of(r, a)
    where = normalized_axis(axis, x.ndim)
    parts: list[Any] = [x]
    for end, at in ((prepend, 0), (append, len(parts) + 1)):
        if end is not _UNSET:
            piece = array_of(r, end)
            if piece.ndim == 0:
                piece = xp.broadcast_to(
                    piece, [1 if i == where else s for i, s in enumerate(x.shape)]
                )
            parts.insert(at, piece)
    if len(parts) > 1:
        x = xp.concatenate(parts, where)
    step = xp.not_equal if x.dtype == xp.bool_ else xp.subtract
    later = tuple(slice(1, None) if i == where else slice(None) for i in range(x.ndim))
    sooner = tuple(slice(None, -1) if i == where else slice(None) for i in range(x.ndim))
    for _ in range(n):
        x = step(x[later], x[sooner])
    return x


# ---- without what is NaN


def _without_nan(function: Any, neutral: float) -> Any:
    def handler(r: Recorder, a: Any, axis: Any = None, *args: Any, **kwargs: Any) -> Any:
        x = array_of(r, a)
        if x.dtype.kind in "fc":
            x = xp.where(xp.isnan(x), xp.asarray(neutral, x.dtype), x)
        return function(x, axis, *args, **kwargs)

    return handler


for _nan_name, _function, _neutral in (
    ("nansum", xp.sum, 0.0), ("nanprod", xp.prod, 1.0),
    ("nancumsum", xp.cumsum, 0.0), ("nancumprod", xp.cumprod, 1.0),
    ("nanargmax", xp.argmax, -xp.inf), ("nanargmin", xp.argmin, xp.inf),
):  # fmt: skip
    implements(_nan_name)(_without_nan(_function, _neutral))


def _nan_extreme(function: Any, neutral: float) -> Any:
    plain = _without_nan(function, neutral)

    def handler(
        r: Recorder, a: Any, axis: Any = None, out: Any = None, keepdims: Any = _UNSET
    ) -> Any:
        x = array_of(r, a)
        result = plain(r, x, axis, keepdims=_flag(keepdims))
        if x.dtype.kind == "f":
            nothing = xp.all(xp.isnan(x), axis, keepdims=_flag(keepdims))
            result = xp.where(nothing, xp.asarray(xp.nan, x.dtype), result)
        return finished(result, out, f"np.nan{function.__name__}")

    return handler


implements("nanmax")(_nan_extreme(xp.max, -xp.inf))
implements("nanmin")(_nan_extreme(xp.min, xp.inf))


@implements("nanmean")
def nanmean(r: Recorder, a: Any, axis: Any = None, dtype: Any = None, out: Any = None,
            keepdims: Any = _UNSET) -> Any:  # fmt: skip
    x = array_of(r, a)
    if x.dtype.kind not in "fc":
        return mean(r, x, axis, dtype, out, keepdims)
    return mean(r, x, axis, dtype, out, keepdims, where=~xp.isnan(x))


@implements("nanvar")
def nanvar(r: Recorder, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
           keepdims: Any = _UNSET) -> Any:  # fmt: skip
    x = array_of(r, a)
    real_only(x, "np.nanvar or np.nanstd")
    if x.dtype.kind != "f":
        return var(r, x, axis, dtype, out, ddof, keepdims)
    inner, outer = _mean_types(x.dtype, dtype)
    x = x.astype(inner)
    counts = ~xp.isnan(x)
    axes = reduced_axes(axis, x.ndim)
    distance = xp.where(counts, x - nanmean(r, x, axes, keepdims=True), xp.zeros((), inner))
    divisor = xp.sum(counts, axes, xp.int64, keepdims=_flag(keepdims)) - ddof
    total = xp.sum(distance * distance, axes, keepdims=_flag(keepdims))
    result = total / xp.where(divisor > 0, divisor.astype(inner), xp.asarray(xp.nan, inner))
    return finished(converted(result, outer), out, "np.nanvar")


@implements("nanstd")
def nanstd(r: Recorder, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
           keepdims: Any = _UNSET) -> Any:  # fmt: skip
    x = array_of(r, a)
    inner, outer = _mean_types(x.dtype, dtype)
    spread = nanvar(r, x, axis, inner, None, ddof, keepdims)
    return finished(converted(xp.sqrt(spread), outer), out, "np.nanstd")
