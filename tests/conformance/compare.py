"""When an answer counts as right: the corpus's rule."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


def differences(got: Any, want: Any, rtol: float, atol: float, path: str = "out") -> Iterator[str]:
    """What is wrong with `got`, one sentence each; nothing where it is accepted.

    Containers have to be of the same kind with the same keys. Integers and booleans are exact, NaN
    equals NaN, infinities are equal to themselves, and other numbers may be off by `atol + rtol *
    |want|`.
    """
    if isinstance(want, np.ndarray):
        yield from _array_differences(got, want, rtol, atol, path)
    elif isinstance(want, Mapping):
        if type(got) is not type(want) or list(got) != list(want):
            yield f"{path}: expected {_kind(want)} with keys {list(want)}, got {_described(got)}"
            return
        for key, item in want.items():
            yield from differences(got[key], item, rtol, atol, f"{path}[{key!r}]")
    elif dataclasses.is_dataclass(want):
        if type(got) is not type(want):
            yield f"{path}: expected {_kind(want)}, got {_described(got)}"
            return
        for item in dataclasses.fields(want):
            pair = getattr(got, item.name), getattr(want, item.name)
            yield from differences(*pair, rtol, atol, f"{path}.{item.name}")
    elif isinstance(want, (tuple, list, collections.deque)):
        if type(got) is not type(want) or len(got) != len(want):
            yield f"{path}: expected {_kind(want)} of {len(want)}, got {_described(got)}"
            return
        for position, (left, right) in enumerate(zip(got, want, strict=False)):
            yield from differences(left, right, rtol, atol, f"{path}[{position}]")
    elif isinstance(want, (float, complex)) and not isinstance(want, bool):
        if not isinstance(got, (int, float, complex)) or isinstance(got, bool):
            yield f"{path}: expected a number, got {_described(got)}"
            return
        yield from _array_differences(
            np.asarray(complex(got)), np.asarray(complex(want)), rtol, atol, path
        )
    elif type(got) is not type(want) or got != want:
        yield f"{path}: expected {want!r}, got {got!r}"


def _kind(value: Any) -> str:
    return type(value).__name__


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, Mapping):
        return f"{_kind(value)} with keys {list(value)}"
    if isinstance(value, (tuple, list, collections.deque)):
        return f"{_kind(value)} of {len(value)}"
    return f"{_kind(value)} {value!r}"


def _array_differences(
    got: Any, want: np.ndarray, rtol: float, atol: float, path: str
) -> Iterator[str]:
    if not isinstance(got, np.ndarray):
        yield f"{path}: expected an array, got {_described(got)}"
        return
    if got.dtype != want.dtype or got.shape != want.shape:
        yield f"{path}: expected {want.dtype}{list(want.shape)}, got {got.dtype}{list(got.shape)}"
        return
    if want.dtype.kind in "biu":
        wrong = got != want
    elif want.dtype.kind == "c":
        wrong = _off(got.real, want.real, rtol, atol, np.abs(want))
        wrong |= _off(got.imag, want.imag, rtol, atol, np.abs(want))
    else:
        wrong = _off(got, want, rtol, atol)
    if np.any(wrong):
        first = tuple(int(i) for i in np.argwhere(wrong)[0]) if want.ndim else ()
        place = f"{path}[{', '.join(map(str, first))}]" if first else path
        yield (
            f"{place}: expected {want[first]!s}, got {got[first]!s} "
            f"({int(np.count_nonzero(wrong))} of {want.size} elements are wrong)"
        )


def _off(
    got: np.ndarray, want: np.ndarray, rtol: float, atol: float, magnitude: np.ndarray | None = None
) -> np.ndarray:
    with np.errstate(all="ignore"):
        left, right = got.astype(np.float64), want.astype(np.float64)
        size = np.abs(right) if magnitude is None else magnitude
        close = np.abs(left - right) <= atol + rtol * size
        same = (left == right) | (np.isnan(left) & np.isnan(right))
        finite = np.isfinite(left) & np.isfinite(right)
        accepted: np.ndarray = same | (close & finite)
        return ~accepted
