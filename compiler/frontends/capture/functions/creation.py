"""Arrays that are made: of one number, of ranges, triangles and grids.

NumPy hands `np.full(shape, 0, like=x)` over for a captured `x`; without `like=` it makes an ordinary array,
which becomes a constant, and can have no symbolic sizes. `np.zeros` and `np.empty` look at the sizes
before they hand over: with symbolic ones, `np.zeros_like(x, shape=…)` is the way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import TracedArray, traced
from ..conversion import converted, is_weak, number_as
from ..recorder import Recorder, dtype_of
from ..sizes import SymbolicInt
from ..where import refused
from .calls import array_of, call, normalized_axis, xp
from .joining import common_type
from .shaping import sizes_of
from .table import implements


def _filled(r: Recorder, shape: Any, value: Any, dtype: Any) -> TracedArray:
    wanted: np.dtype[Any] = np.dtype(dtype)
    sizes = list(sizes_of(shape))
    if is_weak(value) and not isinstance(value, SymbolicInt):
        number = np.asarray(value).astype(wanted).item()
        return traced(r, r.full(sizes, number, dtype_of(wanted)))
    given = traced(r, number_as(r, value, wanted)) if is_weak(value) else array_of(r, value)
    spread = xp.broadcast_to(converted(given, wanted), tuple(r.sizes.shape(tuple(sizes))))
    return spread.copy()  # type: ignore[no-any-return]


def _of_number(value: int) -> Any:
    def handler(r: Recorder, shape: Any, dtype: Any = None, order: str = "C", **others: Any) -> Any:
        return _filled(r, shape, value, np.float64 if dtype is None else dtype)

    return handler


def _like_number(value: int) -> Any:
    def handler(r: Recorder, a: Any, /, dtype: Any = None, order: str = "K", subok: bool = True,
                shape: Any = None, **others: Any) -> Any:  # fmt: skip
        x = array_of(r, a)
        return _filled(r, x.shape if shape is None else shape, value, dtype or x.dtype)

    return handler


for _name, _value in (("zeros", 0), ("ones", 1), ("empty", 0)):
    implements(_name)(_of_number(_value))
    implements(f"{_name}_like")(_like_number(_value))


@implements("full")
def full(
    r: Recorder, shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", **others: Any
) -> Any:
    wanted = dtype or (np.int64 if isinstance(fill_value, SymbolicInt) else xp.asarray(fill_value).dtype
                       if not isinstance(fill_value, TracedArray) else fill_value.dtype)  # fmt: skip
    return _filled(r, shape, fill_value, wanted)


@implements("full_like")
def full_like(r: Recorder, a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True,
              shape: Any = None, **others: Any) -> Any:  # fmt: skip
    x = array_of(r, a)
    return _filled(r, x.shape if shape is None else shape, fill_value, dtype or x.dtype)


@implements("array", "asarray", "asanyarray", "ascontiguousarray")
def array(r: Recorder, a: Any, dtype: Any = None, *, copy: bool | None = None, ndmin: int = 0,
          **others: Any) -> Any:  # fmt: skip
    x = array_of(r, a)
    x = x.astype(dtype, copy=bool(copy)) if dtype is not None else x.copy() if copy else x
    return x[(None,) * (ndmin - x.ndim)] if ndmin > x.ndim else x


@implements("arange")
def arange(
    r: Recorder, start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, **others: Any
) -> Any:
    if stop is None:
        start, stop = 0, start
    parts = [start, stop, step]
    if any(isinstance(part, TracedArray) for part in parts):
        raise refused(
            "np.arange of elements of an array: the size of its result would depend on them"
        )
    if not any(isinstance(part, SymbolicInt) for part in parts):
        return array_of(r, xp.arange(start, stop, step, dtype))
    if any(isinstance(part, float) for part in parts):
        raise refused(
            "np.arange of a symbolic size and floats: use np.arange(n, like=x) * step + start"
        )
    whole = call(r, "arange.start_step", start=start, end=stop, step=step, dtype=np.dtype(np.int64))
    return whole if dtype is None else whole.astype(dtype)


def _any_of(values: Any) -> Any:
    return next((value for value in values if isinstance(value, TracedArray)), None)


@implements("linspace")
def linspace(r: Recorder, start: Any, stop: Any, num: Any = 50, endpoint: bool = True,
             retstep: bool = False, dtype: Any = None, axis: int = 0, **others: Any) -> Any:  # fmt: skip
    ends = [x if is_weak(x) else array_of(r, x) for x in (start, stop)]
    common = np.result_type(common_type(ends), 1.0)
    first, last = (xp.asarray(x, like=_any_of(ends)).astype(common) for x in ends)
    wanted = common if dtype is None else np.dtype(dtype)
    parts = num - 1 if endpoint else num
    position = xp.arange(num, like=first).astype(common)
    width = last - first
    rank = max(first.ndim, last.ndim)
    position = position[(slice(None),) + (None,) * rank]
    if isinstance(parts, SymbolicInt):
        count = array_of(r, parts)
        step = width / xp.maximum(count, 1)
        result = position * step + first
        if endpoint:
            result = xp.where((position == count) & (position > 0), last, result)
    elif parts > 0:
        step = width / array_of(r, parts)
        result = position * step + first
        if endpoint:
            result[-1] = last
    else:
        step = array_of(r, np.nan)
        result = position * width + first
    if axis != 0:
        result = xp.moveaxis(result, 0, axis)
    if np.issubdtype(wanted, np.integer):
        result = xp.floor(result)
    result = result.astype(wanted, copy=False)
    return (result, step) if retstep else result


@implements("eye")
def eye(r: Recorder, N: Any, M: Any = None, k: int = 0, dtype: Any = float, order: str = "C",  # noqa: N803
        **others: Any) -> Any:  # fmt: skip
    rows, columns = _grid(r, N, N if M is None else M)
    return xp.equal(rows + k, columns).astype(dtype)


@implements("identity")
def identity(r: Recorder, n: Any, dtype: Any = None, **others: Any) -> Any:
    return eye(r, n, dtype=dtype or float)


@implements("tri")
def tri(r: Recorder, N: Any, M: Any = None, k: int = 0, dtype: Any = float, **others: Any) -> Any:  # noqa: N803
    rows, columns = _grid(r, N, N if M is None else M)
    return xp.less_equal(columns, rows + k).astype(dtype)


def _grid(r: Recorder, rows: Any, columns: Any) -> tuple[Any, Any]:
    """Numbers of rows and of columns, to be held against each other."""
    whole = np.dtype(np.int64)
    down, along = (
        call(r, "arange.start_step", start=0, end=n, step=1, dtype=whole) for n in (rows, columns)
    )
    return down[:, None], along


def _triangle(target: str) -> Any:
    def handler(r: Recorder, m: Any, k: int = 0) -> Any:
        x = array_of(r, m)
        if x.ndim == 1:
            x = xp.broadcast_to(x, (x.shape[0], x.shape[0]))
        return call(r, target, self=x, diagonal=int(k))

    return handler


implements("tril")(_triangle("tril.default"))
implements("triu")(_triangle("triu.default"))


@implements("diag")
def diag(r: Recorder, v: Any, k: int = 0) -> Any:
    x = array_of(r, v)
    if x.ndim == 2:
        return xp.diagonal(x, k)
    if x.ndim != 1:
        raise ValueError("Input must be 1- or 2-d.")
    return call(r, "diag_embed.default", self=x, offset=int(k))


@implements("diagflat")
def diagflat(r: Recorder, v: Any, k: int = 0) -> Any:
    return diag(r, xp.ravel(array_of(r, v)), k)


@implements("vander")
def vander(r: Recorder, x: Any, N: Any = None, increasing: bool = False) -> Any:  # noqa: N803
    given = array_of(r, x)
    count = given.shape[0] if N is None else N
    powers = xp.arange(count, like=given)
    wide = given.astype(np.promote_types(given.dtype, np.int64))
    result = wide[:, None] ** powers.astype(wide.dtype)
    return result if increasing else result[:, ::-1]


@implements("meshgrid")
def meshgrid(
    r: Recorder, *xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> Any:
    arrays = [xp.ravel(array_of(r, x)) for x in xi]
    rank = len(arrays)
    order = list(range(rank))
    if indexing == "xy" and rank > 1:
        order[0], order[1] = 1, 0
    open_ = [
        x[tuple(slice(None) if axis == order[i] else None for axis in range(rank))]
        for i, x in enumerate(arrays)
    ]
    if not sparse:
        open_ = list(xp.broadcast_arrays(*open_)) if rank > 1 else open_
        open_ = [x.copy() for x in open_] if copy else open_
    return tuple(open_)


@implements("ix_")
def ix_(r: Recorder, *args: Any) -> Any:
    arrays = [array_of(r, x) for x in args]
    rank = len(arrays)
    return tuple(
        x[tuple(slice(None) if axis == i else None for axis in range(rank))]
        for i, x in enumerate(arrays)
    )


@implements("trace", "linalg.trace")
def trace(r: Recorder, a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None,
          out: Any = None) -> Any:  # fmt: skip
    x = array_of(r, a)
    one, two = normalized_axis(axis1, x.ndim), normalized_axis(axis2, x.ndim)
    return xp.sum(xp.diagonal(x, offset, one, two), -1, dtype, out)
