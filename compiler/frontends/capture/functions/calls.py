"""Calls of ATen operators on captured arrays, for the handlers of NumPy's functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import TracedArray, tensor_of, traced
from ..conversion import as_array
from ..recorder import Recorder, dtype_of
from ..where import refused

xp: Any = np
"""NumPy on captured arrays: its stubs know nothing of them."""


def array_of(recorder: Recorder, value: object) -> Any:
    """`as_array`, for code that goes on in NumPy: operators of captured arrays have no types of their own."""
    return as_array(recorder, value)


def call(recorder: Recorder, target: str, /, **given: Any) -> Any:
    """As `Recorder.record`, with arrays for tensors, and NumPy's dtypes."""
    result = recorder.record(target, **{name: _lowered(value) for name, value in given.items()})
    if isinstance(result, (tuple, list)):
        return type(result)(traced(recorder, tensor) for tensor in result)
    return traced(recorder, result)


def _lowered(value: Any) -> Any:
    if isinstance(value, TracedArray):
        return tensor_of(value)
    if isinstance(value, np.dtype):
        return dtype_of(value)
    if isinstance(value, (list, tuple)):
        return [_lowered(item) for item in value]
    return value


def normalized_axis(axis: Any, rank: int) -> int:
    """An axis counted from the front; raises NumPy's error for one that is not there."""
    number = int(axis)
    if not -rank <= number < rank:
        raise np.exceptions.AxisError(number, rank)
    return number % rank


def normalized_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """Axes counted from the front, all of them for None."""
    if axis is None:
        return tuple(range(rank))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = tuple(normalized_axis(each, rank) for each in axes)
    if len(set(found)) != len(found):
        raise ValueError("repeated axis")
    return found


def reduced_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """As `normalized_axes`; NumPy reduces an array without axes along its axis 0 and -1 too."""
    if rank == 0 and axis in (0, -1):
        return ()
    return normalized_axes(axis, rank)


def real_only(x: Any, name: str) -> None:
    """Refuse complex numbers, which NumPy puts into lexicographic order here and ATen does not."""
    if x.dtype.kind == "c":
        raise refused(f"{name} of complex numbers")
