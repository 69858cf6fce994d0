"""Views, slices, splits, windows, diagonals, joins and padding against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from castoff.compiler import ops
from castoff.compiler.ir import shapes
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, TensorType, Value
from castoff.compiler.ops.base import Builder, Environment, OperatorError
from castoff.compiler.ops.interpret import run_graph

from .evaluation import evaluate

ops.load_all()

X = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)


def one(target: str, *operands: Any, **arguments: Any) -> np.ndarray:
    (result,) = evaluate(target, *operands, **arguments)
    return result


CASES: list[tuple[str, tuple[Any, ...], np.ndarray]] = [
    ("aten.view.default", ([4, -1],), X.reshape(4, 6)),
    ("aten.flatten.using_ints", (1, 2), X.reshape(2, 12)),
    ("aten.unflatten.int", (2, [2, -1]), X.reshape(2, 3, 2, 2)),
    ("aten.squeeze.default", (), X),
    ("aten.transpose.int", (0, -1), X.swapaxes(0, 2)),
    ("aten.movedim.intlist", ([0, 1], [2, 0]), np.moveaxis(X, [0, 1], [2, 0])),
    ("aten.expand.default", ([5, -1, 3, 4],), np.broadcast_to(X, (5, 2, 3, 4))),
    ("aten.slice.Tensor", (2, -3, 100, 2), X[:, :, -3:100:2]),
    ("aten.slice.Tensor", (1, 3, 1), X[:, 3:1]),
    ("aten.select.int", (1, -1), X[:, -1]),
    ("aten.narrow.default", (2, 1, 2), X[:, :, 1:3]),
    ("aten.unfold.default", (2, 3, 1), np.stack([X[:, :, :3], X[:, :, 1:]], 2)),
    ("aten.diagonal.default", (1, 1, 2), np.diagonal(X, 1, 1, 2)),
    ("aten.diagonal.default", (-2, 2, 0), np.diagonal(X, -2, 2, 0)),
    ("aten.as_strided.default", ([3, 2], [2, 5], 1), X.reshape(-1)[[[1, 6], [3, 8], [5, 10]]]),
    ("aten.triu.default", (1,), np.triu(X, 1)),
    ("aten.tril.default", (-1,), np.tril(X, -1)),
    ("aten.roll.default", ([1, -2], [0, 2]), np.roll(X, (1, -2), (0, 2))),
    ("aten.roll.default", ([5],), np.roll(X, 5)),
    ("aten.rot90.default", (3, [1, 2]), np.rot90(X, 3, (1, 2))),
    ("aten.repeat.default", ([2, 1, 1, 3],), np.tile(X, (2, 1, 1, 3))),
    ("aten.repeat_interleave.self_int", (2, 1), np.repeat(X, 2, 1)),
    ("aten.constant_pad_nd.default", ([1, 0, -1, 0], 7), np.insert(X[:, 1:], 0, 7, axis=2)),
    ("aten.pad.default", ([2, 1], "reflect"), np.pad(X, [(0, 0), (0, 0), (2, 1)], "reflect")),
    ("aten.pad.default", ([2, 1, 1, 0], "replicate"), np.pad(X, [(0, 0), (1, 0), (2, 1)], "edge")),
    ("aten.pad.default", ([2, 1], "circular"), np.pad(X, [(0, 0), (0, 0), (2, 1)], "wrap")),
    ("aten.view.dtype", (DType.INT32,), X.view(np.int32)),
    ("aten.view.dtype", (DType.UINT8,), X.view(np.uint8)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "arguments", "expected"), CASES, ids=[f"{n}:{c[0]}" for n, c in enumerate(CASES)]
)
def test_view_agrees_with_numpy(
    target: str, arguments: tuple[Any, ...], expected: np.ndarray
) -> None:
    np.testing.assert_array_equal(one(target, X, *arguments), expected)


def test_parts_cover_the_dimension() -> None:
    for target, arguments in {
        "aten.split.Tensor": (3, 2), "aten.chunk.default": (3, 2), "aten.unbind.int": (0,),
        "aten.tensor_split.sections": (3, 2), "aten.tensor_split.indices": ([1, 3], 2),
        "aten.split_with_sizes.default": ([1, 0, 3], 2),
    }.items():  # fmt: skip
        parts = evaluate(target, X, *arguments)
        join = np.stack if target == "aten.unbind.int" else np.concatenate
        axis = 0 if target == "aten.unbind.int" else 2
        np.testing.assert_array_equal(join(parts, axis), X)


def test_position_outside_of_a_dimension_is_refused() -> None:
    for target, arguments in {
        "aten.select.int": (1, 3), "aten.narrow.default": (0, 1, 2), "aten.view.default": ([5],),
        "aten.unsqueeze.default": (5,),
    }.items():  # fmt: skip
        with pytest.raises(OperatorError):
            evaluate(target, X, *arguments)


def test_as_strided_of_a_view_sees_the_memory_of_its_base() -> None:
    b = Builder()
    x = Value("x", TensorType(DType.FLOAT32, (2, 3, 4)))
    part = b.call("aten.slice.Tensor", b.call("aten.transpose.int", x, 0, 1), 0, 1)
    seen = b.call("aten.as_strided.default", part, [3], [2])
    row = b.call("aten.select.int", x, 1, 2)
    below = b.call("aten.as_strided.default", row, [2, 2], [12, 1])
    graph = Graph("test", (x,), (seen, below), tuple(b.nodes))
    results = run_graph(graph, [X], Environment())
    np.testing.assert_array_equal(results[0], [4, 6, 8])
    np.testing.assert_array_equal(results[1], X[:, 2, :2])


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("aten.slice.Tensor", (2, 1, 4, 2)),
        ("aten.diagonal.default", (1, 1, 2)),
        ("aten.unfold.default", (2, 2, 2)),
        ("aten.permute.default", ([2, 0, 1],)),
        ("aten.as_strided.default", ([3, 2], [8, 1], 2)),
        ("aten.select.int", (1, 2)),
    ],
)
def test_writing_through_a_view_changes_what_it_shows(
    target: str, arguments: tuple[Any, ...]
) -> None:
    b = Builder()
    x = Value("x", TensorType(DType.FLOAT32, (2, 3, 4)))
    shown = b.call(target, x, *arguments)
    chain = []
    value = shown
    while value is not x:
        node = b.producer(value)
        assert node is not None and node.op.is_view
        chain.append(node)
        value = node.inputs[0]
    updated = b.apply("neg", shown)
    for node in chain:
        updated = node.op.inverse(b, node.inputs[0], updated)
    again = b.call(target, updated, *arguments)
    graph = Graph("test", (x,), (shown, updated, again), tuple(b.nodes))
    before, after, seen = run_graph(graph, [X], Environment())
    np.testing.assert_array_equal(seen, -before)
    assert (after != X).sum() == np.count_nonzero(before)


def test_sizes_may_be_symbols() -> None:
    n = shapes.symbol("n", 2)
    b = Builder()
    x = Value("x", TensorType(DType.FLOAT32, (n, 6)))
    flat = b.call("aten.view.default", x, [-1, 3])
    last = b.call("aten.slice.Tensor", x, 0, -1)
    halves = b.call("aten.chunk.default", x, 2, 1)
    tiled = b.call("aten.repeat.default", x, [2, 1])
    assert flat.shape == (n * 2, 3) and last.shape == (1, 6) and tiled.shape == (n * 2, 6)
    graph = Graph("test", (x,), (flat, last, *halves, tiled), tuple(b.nodes))
    array = np.arange(30, dtype=np.float32).reshape(5, 6)
    results = run_graph(graph, [array], Environment({"n": 5}))
    np.testing.assert_array_equal(results[0], array.reshape(10, 3))
    np.testing.assert_array_equal(results[1], array[-1:])
    np.testing.assert_array_equal(np.concatenate(results[2:4], 1), array)


def test_cat_promotes_and_skips_the_empty_vector() -> None:
    parts = [np.ones((2, 4), np.int32), np.zeros((0,), np.float16), X[0]]
    result = one("aten.cat.default", parts)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, np.concatenate([np.ones((2, 4)), X[0]]))


def test_fill_diagonal_wraps_below_an_empty_row() -> None:
    for wrap in (False, True):
        expected = np.zeros((7, 3))
        np.fill_diagonal(expected, 2, wrap)
        result = one("aten.fill_diagonal.default", np.zeros((7, 3)), 2, wrap)
        np.testing.assert_array_equal(result, expected)


def test_meshgrid_xy_swaps_the_first_two_dimensions() -> None:
    x, y = np.arange(3), np.arange(2)
    results = evaluate("aten.meshgrid.indexing", [x, y], indexing="xy")
    for result, expected in zip(results, np.meshgrid(x, y, indexing="xy"), strict=True):
        np.testing.assert_array_equal(result, expected)
