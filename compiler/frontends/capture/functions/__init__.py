"""NumPy's functions on captured arrays: one handler each, with NumPy's own parameters.

A handler is written with what is there already: ufuncs and other functions of NumPy on captured
arrays, or calls of ATen operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

import numpy as np

from ..array import TracedArray, as_scalar
from ..recorder import Recorder
from ..where import refused
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
    for name in _MODULES:
        import_module(f".{name}", __package__)
    handler = HANDLERS.get(function)
    if handler is None:
        raise refused(
            f"{_name(function)} cannot be captured; of NumPy's functions, beside the ufuncs, these can: "
            + ", ".join(sorted(map(_name, HANDLERS)))
        )
    result = handler(recorder, *args, **kwargs)
    if isinstance(result, TracedArray) and not result.has_views and function not in _GIVE_ARRAYS:
        return as_scalar(result)
    return result


def _name(function: Callable[..., object]) -> str:
    module = function.__module__.removeprefix("numpy").removeprefix(".")
    prefix = f"np.{module}." if module in ("linalg", "fft") else "np."
    return prefix + function.__name__
