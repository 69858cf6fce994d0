"""NumPy's functions on captured arrays: one handler each, with NumPy's own parameters.

A handler is written with what is there already: ufuncs and other functions of NumPy on captured
arrays, or calls of ATen operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from ..array import TracedArray, as_scalar
from ..recorder import Recorder
from ..where import unknown
from .table import HANDLERS

_MODULES = (
    "creation", "elementwise", "fourier", "joining", "products", "reductions", "selection", "shaping",
)  # fmt: skip

_GIVE_ARRAYS: frozenset[object] = frozenset((
    np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.copy, np.empty, np.empty_like, np.full,
    np.full_like, np.ones, np.ones_like, np.reshape, np.squeeze, np.where, np.zeros, np.zeros_like,
))  # fmt: skip
"""What they give stays an array without axes; other functions give a number then."""


def apply_function(
    recorder: Recorder,
    function: Callable[..., object],
    args: Sequence[object],
    kwargs: Mapping[str, object],
) -> object:
    """What NumPy asks of an array for its functions."""
    handler = handlers().get(function)
    if handler is None:
        raise unknown(name_of(function), map(name_of, HANDLERS))
    result = handler(recorder, *args, **kwargs)
    if isinstance(result, TracedArray) and not result.has_views and function not in _GIVE_ARRAYS:
        return as_scalar(result)
    return result


def handlers() -> Mapping[Callable[..., object], Callable[..., Any]]:
    """What stands for the functions of NumPy, all of it."""
    for name in _MODULES:
        import_module(f".{name}", __package__)
    return HANDLERS


def name_of(function: Callable[..., object]) -> str:
    """A function of NumPy, as `np.linalg.inv`."""
    if getattr(np, function.__name__, None) is function:
        return f"np.{function.__name__}"
    return f"np{function.__module__.removeprefix('numpy')}.{function.__name__}"
