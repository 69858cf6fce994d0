"""Writes through views as functional updates, against NumPy's own views."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from castoff.compiler.frontends.functionalize import (
    ImportBuilder,
    SymbolNames,
    TensorRef,
    fresh,
    view_strides,
)
from castoff.compiler.ir import shapes
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, TensorType, Value
from castoff.compiler.ops.base import Environment
from castoff.compiler.ops.interpret import run_graph
from castoff.compiler.ops.random_streams import RandomStreams

Step = Callable[[ImportBuilder, Value], Value]
NumpyStep = Callable[[np.ndarray], np.ndarray]

VIEWS: dict[str, tuple[Step, NumpyStep]] = {
    "upper half": (
        lambda b, x: b.slice(x, 0, 0, (x.shape[0] + 1) // 2),
        lambda x: x[: (x.shape[0] + 1) // 2],
    ),
    "every second": (
        lambda b, x: b.slice(x, 1, 0, (x.shape[1] + 1) // 2, 2),
        lambda x: x[:, ::2],
    ),
    "transpose": (lambda b, x: b.transpose(x, 0, 1), lambda x: x.T),
    "last row": (
        lambda b, x: b.unsqueeze(b.select(x, 0, x.shape[0] - 1), 0),
        lambda x: x[-1][None],
    ),
    "flip": (lambda b, x: b.flip(x, [1]), lambda x: x[:, ::-1]),
}


def run(
    builder: ImportBuilder, base: Value, outputs: list[Value], array: np.ndarray
) -> list[np.ndarray]:
    graph = Graph("main", (base,), tuple(outputs), tuple(builder.nodes))
    return run_graph(graph, [array], Environment())


def view(builder: ImportBuilder, ref: TensorRef, step: Step) -> TensorRef:
    start = ref.read(builder)
    result = step(builder, start)
    chain = builder.view_chain(result, start)
    assert chain is not None
    return ref.viewed(chain, result)


@pytest.mark.parametrize("second", VIEWS)
@pytest.mark.parametrize("first", VIEWS)
def test_a_write_through_views_is_seen_by_all_others(first: str, second: str) -> None:
    builder = ImportBuilder(SymbolNames(), RandomStreams())
    base = Value("x", TensorType(DType.FLOAT32, (8, 8)))
    array = np.arange(64, dtype=np.float32).reshape(8, 8)
    expected = array.copy()

    whole = fresh(base)
    other = view(builder, whole, VIEWS["transpose"][0])
    inner = view(builder, whole, VIEWS[first][0])
    innermost = view(builder, inner, VIEWS[second][0])
    value = innermost.read(builder)
    builder.write_ref(innermost, builder.apply("neg", value))
    seen = [ref.read(builder) for ref in (whole, other, inner, innermost)]
    got = run(builder, base, seen, array)

    first_view = VIEWS[first][1](expected)
    second_view = VIEWS[second][1](first_view)
    second_view *= -1
    for result, want in zip(got, (expected, expected.T, first_view, second_view), strict=True):
        np.testing.assert_array_equal(result, want)


def test_a_write_casts_and_broadcasts_to_what_is_written() -> None:
    builder = ImportBuilder(SymbolNames(), RandomStreams())
    base = Value("x", TensorType(DType.INT64, (2, 3)))
    ref = fresh(base)
    builder.write_ref(ref, builder.full((3,), 2.75, DType.FLOAT32))
    (result,) = run(builder, base, [ref.read(builder)], np.zeros((2, 3), np.int64))
    np.testing.assert_array_equal(result, np.full((2, 3), 2))


def test_nothing_but_views_makes_an_alias() -> None:
    builder = ImportBuilder(SymbolNames(), RandomStreams())
    base = Value("x", TensorType(DType.FLOAT32, (2, 3)))
    assert builder.view_chain(builder.apply("neg", base), base) is None
    assert builder.view_chain(base, base) == ()


@pytest.mark.parametrize(
    ("shape", "strides", "new_shape"),
    [
        ((2, 3, 4), (12, 4, 1), (6, 4)),
        ((2, 3, 4), (12, 4, 1), (2, 12)),
        ((2, 3, 4), (12, 4, 1), (24,)),
        ((3, 2), (1, 3), (6,)),
        ((3, 2), (1, 3), (3, 1, 2)),
        ((2, 3, 4), (24, 4, 1), (6, 4)),
        ((2, 3, 4), (24, 4, 1), (2, 12)),
        ((4, 6), (6, 1), (2, 2, 3, 2)),
        ((1, 5), (99, 2), (5,)),
        ((), (), (1, 1)),
    ],
)
def test_view_strides_agree_with_numpy(
    shape: tuple[int, ...], strides: tuple[int, ...], new_shape: tuple[int, ...]
) -> None:
    memory = np.zeros(256, np.int8)
    array = np.lib.stride_tricks.as_strided(memory, shape, strides)
    got = view_strides(shape, strides, new_shape)
    try:
        reshaped = array.view()
        reshaped.shape = new_shape
    except AttributeError:
        assert got is None
        return
    assert got is not None
    assert all(
        size == 1 or left == right
        for left, right, size in zip(got, reshaped.strides, new_shape, strict=True)
    )


def test_view_strides_of_symbolic_sizes() -> None:
    n = shapes.symbol("n", 1)
    assert view_strides((n, 3, 4), (12, 4, 1), (n, 12)) == (12, 1)
    assert view_strides((n, 3, 4), (12, 4, 1), (n * 3, 4)) == (4, 1)
    assert view_strides((n, 3, 4), (1, n * 4, n), (n * 3, 4)) is None
