"""Elements that are chosen: by condition, by position, by order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..array import TracedArray, tensor_of
from ..conversion import is_weak
from ..recorder import Recorder
from ..sizes import dim_of, is_size
from ..ufuncs import loop_types, store
from ..where import refused
from .calls import array_of, call, normalized_axes, normalized_axis, real_only, xp
from .joining import common_type
from .reductions import finished
from .table import implements


@implements("where")
def where(r: Recorder, condition: Any, x: Any = None, y: Any = None, /) -> Any:
    mask = array_of(r, condition).astype(np.bool_, copy=False)
    if x is None and y is None:
        return nonzero(r, mask)
    given = [value if is_weak(value) else array_of(r, value) for value in (x, y)]
    wanted = common_type(given)
    then, otherwise = (
        array_of(r, xp.asarray(value, wanted, like=mask))
        if is_weak(value)
        else value.astype(wanted, copy=False)
        for value in given
    )
    r.sizes.broadcast([tensor_of(each).shape for each in (mask, then, otherwise)], "np.where")
    return call(r, "where.self", condition=mask, self=then, other=otherwise)


@implements("select")
def select(
    r: Recorder, condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0
) -> Any:
    choices = [value if is_weak(value) else array_of(r, value) for value in choicelist]
    wanted = common_type([*choices, default if is_weak(default) else array_of(r, default)])
    result = array_of(r, xp.asarray(default, wanted, like=array_of(r, condlist[0])))
    for condition, choice in zip(reversed(condlist), reversed(choices), strict=True):
        result = where(r, condition, choice, result)
    return result.astype(wanted, copy=False)


@implements("choose")
def choose(r: Recorder, a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    index = array_of(r, a)
    wanted = common_type([x if is_weak(x) else array_of(r, x) for x in choices])
    options = [array_of(r, choice) for choice in choices]
    if mode == "wrap":
        index = index % len(options)
    result = options[0].astype(wanted)
    for number, option in enumerate(options[1:], start=1):
        chosen = index >= number if number == len(options) - 1 else index == number
        result = where(r, chosen, option.astype(wanted), result)
    return finished(
        xp.broadcast_to(result, np.broadcast_shapes(index.shape, result.shape)).copy(),
        out,
        "np.choose",
    )


@implements("clip")
def clip(r: Recorder, a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *,
         min: Any = None, max: Any = None, **others: Any) -> Any:  # fmt: skip
    low = min if a_min is None or a_min is np._NoValue else a_min
    high = max if a_max is None or a_max is np._NoValue else a_max
    low, high = (None if bound is np._NoValue else bound for bound in (low, high))
    x = array_of(r, a)
    bounds = [
        bound if is_weak(bound) else array_of(r, bound)
        for bound in (low, high)
        if bound is not None
    ]
    for bound in bounds:
        x_type = loop_types(np.maximum, [x, bound], None, "same_kind")[0]
        x = x.astype(x_type, copy=False)
    result = x
    if low is not None:
        result = xp.maximum(result, low)
    if high is not None:
        result = xp.minimum(result, high)
    return finished(result if bounds else x.copy(), out, "np.clip")


# ---- positions


@implements("take")
def take(
    r: Recorder, a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise"
) -> Any:
    x = array_of(r, a)
    if axis is None:
        x, axis = xp.ravel(x), 0
    along = normalized_axis(axis, x.ndim)
    index = indices if is_size(indices) else array_of(r, indices)
    if mode != "raise":
        size = x.shape[along]
        index = array_of(r, index)
        index = index % size if mode == "wrap" else xp.clip(index, 0, array_of(r, size) - 1)
    key: tuple[Any, ...] = (slice(None),) * along + (index,)
    result = x[key]
    return finished(result.copy() if is_size(index) else result, out, "np.take")


@implements("take_along_axis")
def take_along_axis(r: Recorder, arr: Any, indices: Any, axis: int | None = -1) -> Any:
    x, index = array_of(r, arr), array_of(r, indices)
    if axis is None:
        x, axis = xp.ravel(x), 0
    along = normalized_axis(axis, x.ndim)
    if x.ndim != index.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    return call(r, "take_along_dim.default", self=x, indices=index.astype(np.int64), dim=along)


@implements("put_along_axis")
def put_along_axis(r: Recorder, arr: Any, indices: Any, values: Any, axis: int | None) -> None:
    x, index = array_of(r, arr), array_of(r, indices)
    if axis is None:
        x, axis = xp.reshape(x, -1), 0
    along = normalized_axis(axis, x.ndim)
    key = tuple(
        index if i == along
        else xp.arange(index.shape[i], like=x)[(None,) * i + (slice(None),) + (None,) * (x.ndim - i - 1)]
        for i in range(x.ndim)
    )  # fmt: skip
    x[key] = values


@implements("put")
def put(r: Recorder, a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    x, values = array_of(r, a), array_of(r, v)
    index = xp.ravel(array_of(r, ind))
    values = xp.ravel(values)
    if values.ndim and values.shape[0] != index.shape[0]:
        values = values[xp.arange(index.shape[0], like=x) % values.shape[0]]
    flat = xp.reshape(x, -1)
    if flat._reference.memory is not x._reference.memory:
        raise refused("np.put into an array that does not lie in order")
    flat[index] = values


@implements("putmask", "place")
def putmask(r: Recorder, a: Any, /, mask: Any, values: Any) -> None:
    x, given = array_of(r, a), array_of(r, values)
    if given.ndim and not (given.shape == x.shape):
        raise refused("np.putmask and np.place with values that repeat")
    x[...] = where(r, mask, given.astype(x.dtype), x)


@implements("copyto")
def copyto(r: Recorder, dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    if not isinstance(dst, TracedArray):
        raise refused(
            "np.copyto into a NumPy array; np.zeros_like(x, shape=…) makes one to store in"
        )
    source = array_of(r, src)
    if where is not True:
        source = xp.where(where, source.astype(dst.dtype), dst)
    store(dst, source)


@implements("compress")
def compress(r: Recorder, condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    x = array_of(r, a)
    if axis is None:
        x, axis = xp.ravel(x), 0
    mask = np.asarray(condition, bool) if not isinstance(condition, TracedArray) else condition
    if isinstance(mask, np.ndarray):
        return finished(take(r, x, np.flatnonzero(mask), axis), out, "np.compress")
    key: tuple[Any, ...] = (slice(None),) * normalized_axis(axis, x.ndim) + (mask.astype(bool),)
    return finished(x[key], out, "np.compress")


@implements("extract")
def extract(r: Recorder, condition: Any, arr: Any) -> Any:
    mask = xp.ravel(array_of(r, condition)).astype(np.bool_)
    return xp.ravel(array_of(r, arr))[mask]


@implements("nonzero")
def nonzero(r: Recorder, a: Any) -> Any:
    """Positions; how many there are only the run decides."""
    positions = argwhere(r, a)
    return tuple(positions[:, axis] for axis in range(array_of(r, a).ndim))


@implements("argwhere")
def argwhere(r: Recorder, a: Any) -> Any:
    return call(r, "nonzero.default", self=array_of(r, a))


@implements("flatnonzero")
def flatnonzero(r: Recorder, a: Any) -> Any:
    return nonzero(r, xp.ravel(array_of(r, a)))[0]


# ---- order


def _ordered(r: Recorder, a: Any, axis: int | None) -> tuple[Any, int]:
    x = array_of(r, a)
    if axis is None:
        return xp.ravel(x), 0
    return x, normalized_axis(axis, x.ndim)


@implements("sort")
def sort(
    r: Recorder,
    a: Any,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: Any = None,
) -> Any:
    x, along = _ordered(r, a, axis)
    return call(r, "sort.stable", self=x, stable=True, dim=along, descending=False)[0]


@implements("argsort")
def argsort(r: Recorder, a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *,
            stable: Any = None) -> Any:  # fmt: skip
    """Stable whatever is asked for: NumPy leaves the order of equal elements open otherwise."""
    x, along = _ordered(r, a, axis if array_of(r, a).ndim else None)
    return call(r, "sort.stable", self=x, stable=True, dim=along, descending=False)[1]


@implements("partition")
def partition(
    r: Recorder, a: Any, kth: Any, axis: int | None = -1, *args: Any, **kwargs: Any
) -> Any:
    """Sorted altogether, which is one of the orders that NumPy may give."""
    return sort(r, a, axis)


@implements("argpartition")
def argpartition(
    r: Recorder, a: Any, kth: Any, axis: int | None = -1, *args: Any, **kwargs: Any
) -> Any:
    return argsort(r, a, axis)


@implements("delete")
def delete(r: Recorder, arr: Any, obj: Any, axis: int | None = None) -> Any:
    x = array_of(r, arr)
    if axis is None:
        x, axis = xp.ravel(x), 0
    along = normalized_axis(axis, x.ndim)
    size = r.sizes.number(tensor_of(x).shape[along])
    return take(r, x, np.delete(np.arange(size), obj), along)


@implements("fill_diagonal")
def fill_diagonal(r: Recorder, a: Any, val: Any, wrap: bool = False) -> None:
    x = array_of(r, a)
    if x.ndim != 2 or wrap:
        raise refused("np.fill_diagonal of an array that has not two axes, or with wrap=True")
    rows, columns = (r.sizes.number(size) for size in tensor_of(x).shape)
    position = np.arange(min(rows, columns))
    x[position, position] = val


@implements("histogram")
def histogram(r: Recorder, a: Any, bins: Any = 10, range: Any = None, density: Any = None,
              weights: Any = None) -> Any:  # fmt: skip
    if density or weights is not None or (range is None and isinstance(bins, int)):
        raise refused("np.histogram with density= or weights=, or without range= or edges")
    x = xp.ravel(array_of(r, a))
    edges = np.histogram_bin_edges(np.zeros(0), bins, range)
    bin_of = searchsorted(r, edges, x, "right") - 1
    bin_of = xp.where(xp.equal(x, edges[-1]), len(edges) - 2, bin_of)
    hits = xp.equal(bin_of[:, None], np.arange(len(edges) - 1))
    return xp.sum(hits, 0, np.int64), edges


@implements("lexsort")
def lexsort(r: Recorder, keys: Any, axis: int = -1) -> Any:
    parts = [array_of(r, key) for key in keys]
    order = argsort(r, parts[0], axis)
    for key in parts[1:]:
        order = xp.take_along_axis(
            order, argsort(r, xp.take_along_axis(key, order, axis), axis), axis
        )
    return order


@implements("searchsorted")
def searchsorted(r: Recorder, a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    row, values = array_of(r, a), array_of(r, v)
    common = common_type([row, values])
    real_only(np.zeros((), common), "np.searchsorted")
    if sorter is not None:
        row = row[array_of(r, sorter)]
    return call(r, "searchsorted.Tensor", sorted_sequence=row.astype(common), self=values.astype(common),
                right=side == "right")  # fmt: skip


@implements("digitize")
def digitize(r: Recorder, x: Any, bins: Any, right: bool = False) -> Any:
    edges = bins if isinstance(bins, TracedArray) else np.asarray(bins)
    if isinstance(edges, np.ndarray) and edges.size > 1 and edges[0] > edges[-1]:
        found = searchsorted(r, edges[::-1].copy(), x, "right" if right else "left")
        return edges.size - found
    return searchsorted(r, edges, x, "left" if right else "right")


@implements("bincount")
def bincount(r: Recorder, x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    given = {} if weights is None else {"weights": array_of(r, weights).astype(np.float64)}
    return call(
        r,
        "bincount.default",
        self=array_of(r, x).astype(np.int64),
        minlength=int(minlength),
        **given,
    )


@implements("isin", "in1d")
def isin(r: Recorder, element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *,
         kind: Any = None) -> Any:  # fmt: skip
    x, wanted = array_of(r, element), array_of(r, test_elements)
    common = common_type([x, wanted])
    found = xp.equal(x.astype(common)[..., None], xp.ravel(wanted).astype(common)).any(axis=-1)
    return ~found if invert else found


@implements("unique")
def unique(r: Recorder, ar: Any, return_index: bool = False, return_inverse: bool = False,
           return_counts: bool = False, axis: int | None = None, **others: Any) -> Any:  # fmt: skip
    if axis is not None or return_index:
        raise refused("np.unique with axis= or return_index=")
    x = xp.ravel(array_of(r, ar))
    values, inverse, counts = call(
        r, "_unique2.default", self=x, sorted=True, return_inverse=return_inverse,
        return_counts=return_counts,
    )  # fmt: skip
    wanted = [values]
    wanted += [xp.reshape(inverse, array_of(r, ar).shape)] if return_inverse else []
    wanted += [counts] if return_counts else []
    return tuple(wanted) if len(wanted) > 1 else values


# ---- quantiles


@implements("median")
def median(r: Recorder, a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
           keepdims: bool = False) -> Any:  # fmt: skip
    x = array_of(r, a)
    real_only(x, "np.median")
    x = x.astype(np.float64) if x.dtype.kind == "b" else x
    axes = normalized_axes(axis, x.ndim)
    if any(tensor_of(x).shape[each] == 0 for each in axes):
        return finished(xp.mean(x, axes, keepdims=keepdims), out, "np.median")  # NaN, as the mean
    return finished(quantile(r, x, 0.5, axis, keepdims=keepdims), out, "np.median")


@implements("percentile")
def percentile(r: Recorder, a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
               method: str = "linear", keepdims: bool = False, **others: Any) -> Any:  # fmt: skip
    return quantile(r, a, _hundredth(r, q), axis, out, overwrite_input, method, keepdims)


def _hundredth(r: Recorder, q: Any) -> Any:
    return np.true_divide(q, 100.0) if not isinstance(q, TracedArray) else array_of(r, q) / 100.0


@implements("quantile")
def quantile(r: Recorder, a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
             method: str = "linear", keepdims: bool = False, **others: Any) -> Any:  # fmt: skip
    x, kind = _for_quantile(r, a, method)
    result = _quantile_of(r, "quantile", x, q, axis, method, keepdims)
    return finished(result.astype(kind, copy=False), out, "np.quantile")


_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _for_quantile(r: Recorder, a: Any, method: str) -> tuple[Any, np.dtype[Any]]:
    if method not in _METHODS:
        raise refused(f"np.quantile with method={method!r}; there are {', '.join(_METHODS)}")
    x = array_of(r, a)
    if x.dtype.kind == "b":
        raise TypeError("numpy boolean subtract, which quantiles need, is not supported")
    if x.dtype.kind == "c":
        raise TypeError("a must be an array of real numbers")
    kind = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    return x.astype(np.float64 if kind.itemsize > 4 else np.float32, copy=False), kind


def _quantile_of(
    r: Recorder, name: str, x: Any, q: Any, axis: Any, method: str, keepdims: bool
) -> Any:
    """Several axes become one, the last; the axis of the quantiles is the first."""
    axes = normalized_axes(axis, x.ndim)
    shape = tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    kept = [i for i in range(x.ndim) if i not in axes]
    count = 1
    for each in axes:
        count = count * x.shape[each]
    if not r.sizes.require_less(0, dim_of(count)):
        raise IndexError("index 0 is out of bounds: a quantile of no elements")
    x = xp.reshape(xp.transpose(x, (*kept, *axes)), (*[shape[i] for i in kept], count))
    given = array_of(r, q).astype(x.dtype)
    result = call(r, f"{name}.default", self=x, q=xp.ravel(given), dim=-1, interpolation=method)
    outer = given.shape
    if keepdims:
        return xp.reshape(result, (*outer, *shape))
    return xp.reshape(result, (*outer, *[shape[i] for i in kept]))


def _ignoring_nan(scale: float) -> Any:
    def handler(r: Recorder, a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
                method: str = "linear", keepdims: bool = False, **others: Any) -> Any:  # fmt: skip
        x, kind = _for_quantile(r, a, method)
        part = _hundredth(r, q) if scale != 1 else q
        result = _quantile_of(r, "nanquantile", x, part, axis, method, keepdims is True)
        return finished(result.astype(kind, copy=False), out, "np.nanquantile")

    return handler


implements("nanquantile")(_ignoring_nan(1))
implements("nanpercentile")(_ignoring_nan(100))


@implements("nanmedian")
def nanmedian(r: Recorder, a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
              keepdims: Any = np._NoValue) -> Any:  # fmt: skip
    return _ignoring_nan(1)(r, a, 0.5, axis, out, keepdims=keepdims)
