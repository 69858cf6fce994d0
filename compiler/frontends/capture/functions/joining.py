"""Arrays made of several, and taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..array import TracedArray, recorder_of, tensor_of
from ..conversion import is_weak
from ..recorder import Recorder
from ..sizes import dim_of
from .calls import array_of, call, normalized_axis, xp
from .reductions import finished
from .table import implements


def common_type(values: Sequence[Any], dtype: Any = None) -> np.dtype[Any]:
    """The type that arrays and numbers meet in."""
    if dtype is not None:
        chosen: np.dtype[Any] = np.dtype(dtype)
        return chosen
    found: np.dtype[Any] = np.result_type(
        *(_sample(value) if is_weak(value) else value.dtype for value in values)
    )
    return found


def _sample(value: Any) -> Any:
    return value if isinstance(value, (float, complex)) else 0


def stacked(arrays: Sequence[TracedArray], axis: int = 0, dtype: Any = None) -> Any:
    """Arrays of one shape along a new axis."""
    recorder = recorder_of(arrays[0])
    first = tensor_of(arrays[0]).shape
    for other in arrays[1:]:
        shape = tensor_of(other).shape
        if len(shape) != len(first):
            raise ValueError("all input arrays must have the same shape")
        for mine, its in zip(first, shape, strict=True):
            recorder.sizes.require_equal(mine, its, "np.stack")
    wanted = common_type(arrays, dtype)
    where = normalized_axis(axis, len(first) + 1)
    return call(recorder, "stack.default", tensors=[x.astype(wanted) for x in arrays], dim=where)


@implements("stack")
def stack(r: Recorder, arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None,
          casting: str = "same_kind") -> Any:  # fmt: skip
    return finished(stacked([array_of(r, x) for x in arrays], axis, dtype), out, "np.stack")


@implements("concatenate", "concat")
def concatenate(r: Recorder, arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None,
                casting: str = "same_kind") -> Any:  # fmt: skip
    parts = [array_of(r, x) for x in arrays]
    if axis is None:
        parts, axis = [xp.ravel(x) for x in parts], 0
    ranks = {x.ndim for x in parts}
    if len(ranks) > 1 or ranks == {0}:
        raise ValueError(
            "all the input array dimensions must match exactly, and there has to be one: got "
            + ", ".join(f"{x.ndim} dimensions" for x in parts)
        )
    where = normalized_axis(axis, ranks.pop())
    first = tensor_of(parts[0]).shape
    for other in parts[1:]:
        for i, (mine, its) in enumerate(zip(first, tensor_of(other).shape, strict=True)):
            if i != where:
                r.sizes.require_equal(mine, its, "np.concatenate")
    wanted = common_type(parts, dtype)
    result = call(r, "cat.default", tensors=[x.astype(wanted) for x in parts], dim=where)
    return finished(result, out, "np.concatenate")


@implements("vstack")
def vstack(r: Recorder, tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    return concatenate(r, [xp.atleast_2d(array_of(r, x)) for x in tup], 0, dtype=dtype)


@implements("hstack")
def hstack(r: Recorder, tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    parts = [xp.atleast_1d(array_of(r, x)) for x in tup]
    return concatenate(r, parts, 0 if parts[0].ndim == 1 else 1, dtype=dtype)


@implements("dstack")
def dstack(r: Recorder, tup: Any) -> Any:
    return concatenate(r, [xp.atleast_3d(array_of(r, x)) for x in tup], 2)


@implements("column_stack")
def column_stack(r: Recorder, tup: Any) -> Any:
    parts = [array_of(r, x) for x in tup]
    return concatenate(r, [x[:, None] if x.ndim == 1 else xp.atleast_2d(x) for x in parts], 1)


@implements("block")
def block(r: Recorder, arrays: Any) -> Any:
    def joined(value: Any, axis: int) -> Any:
        if not isinstance(value, list):
            return array_of(r, value)
        parts = [joined(item, axis + 1) for item in value]
        rank = max([x.ndim for x in parts] + [depth])
        parts = [x[(None,) * (rank - x.ndim)] if x.ndim < rank else x for x in parts]
        return concatenate(r, parts, axis - depth)

    depth, level = 0, arrays
    while isinstance(level, list):
        depth, level = depth + 1, level[0]
    result = joined(arrays, 0)
    return result.copy() if depth == 0 else result


@implements("append")
def append(r: Recorder, arr: Any, values: Any, axis: int | None = None) -> Any:
    return concatenate(r, [array_of(r, arr), array_of(r, values)], axis)


# ---- taken apart


def _cut(x: Any, axis: int, points: Sequence[Any]) -> list[Any]:
    ends = [*points, None]
    starts = [0, *points]
    keys = (slice(start, end) for start, end in zip(starts, ends, strict=True))
    return [x[(slice(None),) * axis + (key,)] for key in keys]


@implements("array_split")
def array_split(r: Recorder, ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    x = array_of(r, ary)
    where = normalized_axis(axis, x.ndim)
    if isinstance(indices_or_sections, (list, tuple, np.ndarray)):
        return _cut(x, where, [int(point) for point in indices_or_sections])
    count, size = int(indices_or_sections), r.sizes.number(tensor_of(x).shape[where])
    if count < 1:
        raise ValueError("number sections must be larger than 0.")
    each, rest = divmod(size, count)
    points = [each * i + min(i, rest) for i in range(1, count)]
    return _cut(x, where, points)


@implements("split")
def split(r: Recorder, ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    x = array_of(r, ary)
    if isinstance(indices_or_sections, (list, tuple, np.ndarray)):
        return array_split(r, x, indices_or_sections, axis)
    where, count = normalized_axis(axis, x.ndim), int(indices_or_sections)
    size = x.shape[where]
    if size % count != 0:
        raise ValueError("array split does not result in an equal division")
    each = size // count
    return _cut(x, where, [each * i for i in range(1, count)])


def _along(axis_of: Any) -> Any:
    def handler(r: Recorder, ary: Any, indices_or_sections: Any) -> list[Any]:
        x = array_of(r, ary)
        return split(r, x, indices_or_sections, axis_of(x))

    return handler


implements("vsplit")(_along(lambda x: 0))
implements("hsplit")(_along(lambda x: 0 if x.ndim == 1 else 1))
implements("dsplit")(_along(lambda x: 2))


@implements("unstack")
def unstack(r: Recorder, x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    moved = xp.moveaxis(array_of(r, x), axis, 0)
    return tuple(moved)


# ---- repeated


@implements("tile")
def tile(r: Recorder, A: Any, reps: Any) -> Any:  # noqa: N803  # NumPy's name
    x = array_of(r, A)
    counts: list[Any] = [dim_of(n) for n in (reps if isinstance(reps, (tuple, list)) else (reps,))]
    counts = [*[1] * (x.ndim - len(counts)), *counts]
    x = x[(None,) * (len(counts) - x.ndim)] if len(counts) > x.ndim else x
    return call(r, "repeat.default", self=x, repeats=counts) if counts else x.copy()


@implements("repeat")
def repeat(r: Recorder, a: Any, repeats: Any, axis: int | None = None) -> Any:
    x = array_of(r, a)
    if axis is None:
        x, axis = xp.ravel(x), 0
    where = normalized_axis(axis, x.ndim)
    if isinstance(repeats, (int, np.integer)):
        return call(r, "repeat_interleave.self_int", self=x, repeats=int(repeats), dim=where)
    if isinstance(repeats, (list, tuple, np.ndarray)):
        counts = np.asarray(repeats).reshape(-1)
        if counts.size == 1:
            return repeat(r, x, int(counts[0]), where)
        return xp.take(x, np.repeat(np.arange(counts.size), counts), where)
    counts = array_of(r, repeats).astype(np.int64)
    return call(r, "repeat_interleave.self_Tensor", self=x, repeats=counts, dim=where)


@implements("roll")
def roll(r: Recorder, a: Any, shift: Any, axis: Any = None) -> Any:
    x = array_of(r, a)
    if axis is None:
        return xp.reshape(roll(r, xp.ravel(x), shift, 0), x.shape)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    where = [normalized_axis(each, x.ndim) for each in axes] * (
        len(shifts) if len(axes) == 1 else 1
    )
    return call(r, "roll.default", self=x, shifts=[dim_of(n) for n in shifts], dims=where)
