"""What cannot be captured is refused by a sentence that begins with the user's line."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import castoff

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
LINE = r"test_refusals\.py:\d+ in "


def branch(x: np.ndarray) -> Any:
    if x.sum() > 0:
        return x
    return -x


def stored(x: np.ndarray) -> Any:
    out = np.zeros(4)
    out[0] = x.sum()
    return out


def appended(x: np.ndarray) -> Any:
    return np.array([x[0], x[1]])


def counted(x: np.ndarray) -> Any:
    return range(x[0, 0].astype(int))


def added(x: np.ndarray) -> Any:
    known = np.zeros((4, 3))
    known += x
    return known


REFUSED: list[tuple[Callable[..., Any], str]] = [
    (branch, r"branch: a truth value \(if, .*use np\.where"),
    (stored, r"stored: float\(\), or storing it in a NumPy array, .*np\.zeros_like\(x, shape="),
    (appended, r"appended: .*np\.stack joins"),
    (counted, r"counted: an index, a range or a size"),
    (added, r"added: .*np\.zeros_like\(x, shape="),
    (lambda x: float(x[0, 0]), r"float\(\), or storing it"),
    (lambda x: x.tolist(), r"tolist\(\)"),
    (lambda x: x.item(), r"item\(\)"),
    (lambda x: 3 in x, r"'in' needs the elements"),
    (lambda x: x.flat[0], r"flat of a captured array; use x\.ravel"),
    (lambda x: x.tobytes(), r"tobytes of ndarray cannot be captured"),
    (lambda x: np.linalg.eig(x @ x.T), r"np\.linalg\.eig cannot be captured \(near .*np\.linalg\.eigh.*docs/numpy\.md"),
    (lambda x: np.spacing(x), r"np\.spacing cannot be captured \(.*docs/numpy\.md"),
    (lambda x: np.apply_along_axis(sum, 0, x), r"np\.apply_along_axis cannot be captured"),
    (lambda x: x.astype(object), r"dtype object, which no program can hold"),
    (lambda x: x.astype("M8[s]"), r"dtype datetime64\[s\], which no program can hold"),
    (lambda x: x.astype(np.longdouble), r"dtype (float128|longdouble)"),
    (lambda x: x + np.array(["a"]), r"a constant has the dtype <U1"),
    (lambda x: np.broadcast_to(x[0], (2, 3)).__setitem__(0, 1), r"read-only"),
    (lambda x: np.arange(x[0, 0], like=x), r"np\.arange of elements of an array"),
    (lambda x: np.add(x, 1, where=x > 0), r"where= but without out="),
    (lambda x: x[True], r"a truth value as an index"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_what_needs_elements_or_is_unknown_is_refused(f: Callable[..., Any], message: str) -> None:
    with pytest.raises(castoff.CaptureError, match=LINE) as caught:
        castoff.export(f, (X,))
    assert re.search(message, str(caught.value)), caught.value


def test_errors_of_numpy_are_those_of_numpy() -> None:
    cases: list[tuple[Callable[..., Any], type[Exception], str]] = [
        (lambda x: x[4], IndexError, "index 4 is out of bounds for axis 0 with size 4"),
        (lambda x: x[0, 0, 0], IndexError, "too many indices"),
        (lambda x: x["a"], IndexError, "only integers, slices"),
        (lambda x: x.sum(axis=2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (
            lambda x: x.reshape(5, 3),
            ValueError,
            r"cannot reshape array of size 12 into shape \(5, 3\)",
        ),
        (lambda x: x[:0].max(), ValueError, "zero-size array to reduction"),
        (
            lambda x: np.uint8(1) + x.astype(np.uint8) + 300,
            OverflowError,
            "300 out of bounds for uint8",
        ),
        (lambda x: ~x, TypeError, "invert"),
        (lambda x: len(x[0, 0]), TypeError, r"len\(\) of unsized object"),
        (lambda x: 1 / 0, ZeroDivisionError, "division by zero"),
    ]
    for f, kind, message in cases:
        with pytest.raises(kind, match=message):
            castoff.export(f, (X,))


def test_results_that_are_no_arrays_are_refused_or_kept() -> None:
    program = castoff.export(lambda x: [x, 1, 2.5, True, None, "text", np.float32(3)], (X,))
    got: Any = program.module()(X)
    assert got[1:6] == [1, 2.5, True, None, "text"]
    assert got[6].dtype == np.float32 and got[6] == 3
    with pytest.raises(
        castoff.CaptureError, match=r"the result 1 is of type date; a program gives"
    ):
        castoff.export(lambda x: (x, datetime.date(2026, 1, 1)), (X,))


def test_arguments_that_are_no_arrays_are_refused() -> None:
    with pytest.raises(
        castoff.CaptureError, match=r"argument when: expected arrays, .*datetime\.date"
    ):
        castoff.export(lambda x, when: x, (X, datetime.date(2026, 1, 1)))
    with pytest.raises(castoff.CaptureError, match="the example arguments do not fit"):
        castoff.export(lambda x: x, (X, X))
    with pytest.raises(
        castoff.CaptureError, match=r"expected a function or a castoff\.Module, got int"
    ):
        castoff.export(7, (X,))  # type: ignore[arg-type]
    with pytest.raises(castoff.CaptureError, match=r"argument x has the dtype <U1"):
        castoff.export(lambda x: x, (np.array(["a"]),))


def test_arrays_do_not_outlive_their_capture() -> None:
    kept: list[Any] = []
    castoff.export(lambda x: kept.append(x) or x, (X,))
    with pytest.raises(castoff.CaptureError, match="of a program that is already captured"):
        _ = kept[0] + 1
    with pytest.raises(castoff.CaptureError, match="an array of another capture"):
        castoff.export(lambda x: x + kept[0], (X,))
