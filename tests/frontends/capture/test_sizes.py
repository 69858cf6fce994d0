"""Sizes that vary: what a captured function may do with them, and what it is told where it may not."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import castoff
from castoff import Dim

from .checks import assert_captured, assert_compiled, assert_same


def arrays(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


BATCH = {0: Dim("batch")}
SOME = {0: Dim("batch", min=1)}

SYMBOLIC: list[Callable[..., Any]] = [
    lambda x: [x.sum(0), x.mean(0), x.std(axis=0), x.max(1), np.cumsum(x, 0)],
    lambda x: [x.reshape(-1), x.reshape(x.shape[0], 2, 2), x.reshape(-1, 2), x.T.reshape(2, -1)],
    lambda x: [x.shape, x.size, x.shape[0] * 2 + 1, x.shape[0] // 2, x.shape[0] % 3],
    lambda x: [x[: x.shape[0] // 2], x[1:], x[::2], x[::-1], x[-1:], x[x.shape[0] // 3 :]],
    lambda x: np.concatenate([x, x[:1], x]),
    lambda x: [np.zeros_like(x, shape=(x.shape[0], 3)), np.arange(x.shape[0], like=x), np.ones_like(x)],
    lambda x: np.full((x.shape[0] + 1,), 2.5, np.float32, like=x),
    lambda x: x * np.arange(x.shape[0], like=x)[:, None],
    lambda x: [x / x.shape[0], x.shape[0] - x, np.broadcast_to(x[:1], x.shape)],
    lambda x: np.where(np.tri(x.shape[0], like=x) > 0, x @ x.T, -np.inf),
    lambda x: np.einsum("ij,kj->ik", x, x),
    lambda x: [np.sort(x, 0), np.argsort(x, 0), np.flip(x, 0), np.roll(x, 1, 0)],
    lambda x: [np.stack([x, x], 1), np.tile(x, (2, 1)), np.repeat(x, 2, 0), np.expand_dims(x, 1)],
    lambda x: [np.pad(x, ((1, 2), (0, 0))), np.diff(x, axis=0), np.moveaxis(x, 0, 1)],
    lambda x: [np.tril(x @ x.T), np.linspace(x[0], 1, x.shape[0]), np.arange(3) * x.shape[0]],
    lambda x: [np.take(x, [0, 0], 0), np.median(x, 1), np.clip(x, 0, 1), np.linalg.norm(x, axis=1)],
    lambda x: [len(x.shape), x.ndim, x.shape[1], max(x.shape[1], 7)],
]  # fmt: skip


@pytest.mark.parametrize("position", range(len(SYMBOLIC)))
def test_functions_of_any_batch_give_what_numpy_gives(position: int) -> None:
    others = tuple((arrays(n, 4),) for n in (1, 2, 7))
    assert_captured(SYMBOLIC[position], arrays(5, 4), dynamic_shapes={"x": SOME}, others=others)


def test_functions_of_any_batch_are_compiled(tmp_path: Path) -> None:
    def f(x: np.ndarray) -> list[Any]:
        return [case(x) for case in SYMBOLIC]

    others = tuple((arrays(n, 4),) for n in (1, 2, 9))
    assert_compiled(f, arrays(5, 4), dynamic_shapes={"x": SOME}, others=others, folder=tmp_path)


@pytest.mark.parametrize(
    "dynamic_shapes",
    [
        {"x": {0: Dim("n")}, "y": {0: Dim("n")}},
        ({0: Dim("n")}, (Dim("n"), None)),
        {"x": (Dim("n"), Dim.STATIC), "y": {0: Dim("n"), 1: 4}},
        {"x": {0: Dim.AUTO}, "y": {0: Dim.AUTO}},
        {"x": {0: Dim("n") + 0}, "y": {0: 1 * Dim("n")}},
    ],
)
def test_forms_of_dynamic_shapes(dynamic_shapes: Any) -> None:
    program = castoff.export(
        lambda x, y: x + y, (arrays(5, 4), arrays(5, 4)), dynamic_shapes=dynamic_shapes
    )
    if "AUTO" in str(dynamic_shapes) and not program.range_constraints:
        return  # what has to be equal is taken to be what it is in the example
    assert_same(program.module()(arrays(3, 4), arrays(3, 4)), arrays(3, 4) * 2)


def test_nested_arguments_have_nested_shapes() -> None:
    x, y = arrays(5, 4), arrays(5, 4)
    program = castoff.export(
        lambda items, options: items[0] + options["k"][0],
        ([x, None], {"k": (y,)}),
        dynamic_shapes={"items": [BATCH, None], "options": {"k": (BATCH,)}},
    )
    assert_same(program.module()([x[:2], None], {"k": (y[:2],)}), (x + y)[:2])


def test_sizes_that_follow_from_others() -> None:
    half = Dim("half", max=50)
    program = castoff.export(
        lambda x, y: x[::2] + y,
        (arrays(6, 4), arrays(3, 4)),
        dynamic_shapes={"x": {0: 2 * half}, "y": {0: half}},
    )
    x, y = arrays(10, 4), arrays(5, 4)
    assert_same(program.module()(x, y), x[::2] + y)
    with pytest.raises(castoff.InputMismatchError):
        program.module()(arrays(10, 4), arrays(4, 4))


def test_ranges_are_checked_when_called() -> None:
    program = castoff.export(
        lambda x: x * 2, (arrays(5, 4),), dynamic_shapes={"x": {0: Dim("batch", min=2, max=8)}}
    )
    run = program.module()
    assert_same(run(arrays(8, 4)), arrays(8, 4) * 2)
    for size in (1, 9):
        with pytest.raises(castoff.InputMismatchError):
            run(arrays(size, 4))


def refused(f: Callable[..., Any], dims: Any, message: str, *args: np.ndarray) -> None:
    with pytest.raises(castoff.CaptureError, match=message):
        castoff.export(f, args or (arrays(5, 4),), dynamic_shapes=dims)


def test_a_size_used_as_a_number_is_refused_by_name_and_line() -> None:
    def looped(x: np.ndarray) -> Any:
        total = x[0]
        for i in range(1, x.shape[0]):
            total = total + x[i]
        return total

    pattern = r"test_sizes\.py:\d+ in looped: batch was specialised to 5 here"
    refused(looped, {"x": BATCH}, pattern)
    assert_captured(looped, arrays(5, 4), dynamic_shapes={"x": {0: Dim.AUTO}})
    refused(lambda x: x * math.sqrt(x.shape[0]), {"x": BATCH}, "batch was specialised to 5")
    refused(lambda x: x + x[:1], {"x": BATCH}, r"the size min\(1, batch\) is 1 in the example")
    refused(lambda x: list(x), {"x": BATCH}, "batch was specialised to 5")
    refused(lambda x: x + np.ones((x.shape[0], 4)), {"x": BATCH}, "batch was specialised to 5")
    refused(lambda x: x + np.ones((5, 4)), {"x": BATCH}, "batch was specialised to 5")


def test_a_branch_on_a_size_is_refused_or_becomes_a_guard() -> None:
    def branching(x: np.ndarray) -> Any:
        return x * 2 if x.shape[0] > 3 else x

    refused(
        branching, {"x": BATCH}, r"in branching: what is captured here holds for 3 < batch only"
    )
    narrow = {"x": {0: Dim("batch", min=4)}}
    assert_captured(branching, arrays(5, 4), dynamic_shapes=narrow, others=((arrays(4, 4),),))
    program = castoff.export(branching, (arrays(5, 4),), dynamic_shapes={"x": {0: Dim.AUTO}})
    assert_same(program.module()(arrays(6, 4)), arrays(6, 4) * 2)
    with pytest.raises(castoff.InputMismatchError, match="exported for inputs with"):
        program.module()(arrays(2, 4))


def test_two_sizes_that_have_to_be_equal_are_refused_by_name() -> None:
    dims = {"x": {0: Dim("rows")}, "y": {0: Dim("lines")}}
    x, y = arrays(5, 4), arrays(5, 4)
    refused(lambda x, y: x + y, dims, "holds for rows == lines only", x, y)
    refused(lambda x, y: x.T @ y, dims, "holds for rows == lines only", x, y)
    refused(lambda x, y: np.where(x > 0, x, y), dims, "holds for rows == lines only", x, y)


def test_what_dynamic_shapes_cannot_mean_is_refused() -> None:
    f = lambda x: x  # noqa: E731
    refused(f, {"y": BATCH}, "no such argument 'y'; the arguments are x")
    refused(f, {"x": {7: Dim("n")}}, "x: it has no axis 7")
    refused(f, {"x": {0: "batch"}}, r"x, axis 0: expected castoff\.Dim")
    refused(f, {"x": {0: Dim("n", max=4)}}, "its size 5 is outside of n, 0 to 4")
    refused(f, ({0: Dim("n"), 1: Dim("n")},), "n is 4 here, and 5 before")
    refused(f, {"x": {0: 2 * Dim("n")}}, r"its size 5 is not 2\*n\+0")
    refused(f, {"x": {0: 6}}, "it is 5 in the example, not 6")
    refused(f, {"x": (Dim("n"),)}, "1 entries for an array of 2 dimensions")
    refused(f, [BATCH, BATCH], "2 entries for 1 arguments")
    with pytest.raises(castoff.CaptureError, match="expected 0 <= min <= max"):
        Dim("n", min=4, max=3)
