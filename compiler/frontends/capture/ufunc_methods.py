"""`ufunc.reduce`, `accumulate`, `outer` and `at`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .array import TracedArray
from .conversion import as_array
from .recorder import Recorder
from .where import refused

_numpy: Any = np

_REDUCTIONS: Mapping[np.ufunc, Callable[..., Any]] = {
    np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min,
    np.logical_and: np.all, np.logical_or: np.any,
}  # fmt: skip
_RUNNING: Mapping[np.ufunc, Callable[..., Any]] = {np.add: np.cumsum, np.multiply: np.cumprod}
_EXTREMES = {np.maximum: "cummax.default", np.minimum: "cummin.default"}


def _reduce(
    recorder: Recorder, ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None,
    keepdims: bool = False, **others: Any,
) -> Any:  # fmt: skip
    function = _REDUCTIONS.get(ufunc)
    if function is None:
        raise refused(f"np.{ufunc.__name__}.reduce cannot be captured")
    typed = {} if dtype is None else {"dtype": dtype}
    return function(as_array(recorder, array), axis=axis, keepdims=keepdims, **typed, **others)


def _accumulate(
    recorder: Recorder, ufunc: np.ufunc, array: Any, axis: int = 0, dtype: Any = None
) -> Any:
    x = as_array(recorder, array)
    if ufunc in _EXTREMES and dtype is None:
        from .functions.calls import call, normalized_axis

        values, _ = call(recorder, _EXTREMES[ufunc], self=x, dim=normalized_axis(axis, x.ndim))
        return values
    function = _RUNNING.get(ufunc)
    if function is None:
        raise refused(f"np.{ufunc.__name__}.accumulate cannot be captured")
    return function(x, axis=axis, dtype=dtype)


def _outer(recorder: Recorder, ufunc: np.ufunc, left: Any, right: Any, **others: Any) -> Any:
    x, y = as_array(recorder, left), as_array(recorder, right)
    key: tuple[Any, ...] = (..., *[None] * y.ndim)
    return ufunc(x[key], y, **others)


def _at(
    recorder: Recorder, ufunc: np.ufunc, array: Any, indices: Any, value: Any = None, /
) -> None:
    """Elements named more than once are changed more than once, which of these only sums can say."""
    from .indexing import add_at

    if not isinstance(array, TracedArray) or ufunc not in (np.add, np.subtract):
        raise refused(
            f"np.{ufunc.__name__}.at cannot be captured; np.add.at and np.subtract.at can"
        )
    add_at(array, indices, value if ufunc is np.add else np.negative(value))


METHODS: Mapping[str, Callable[..., Any]] = {
    "reduce": _reduce, "accumulate": _accumulate, "outer": _outer, "at": _at,
}  # fmt: skip
