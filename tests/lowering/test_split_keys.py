"""Keys and values joined, or rounded, for attention alone are read where they or their two parts lie; all others are
joined and rounded first.
"""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, Value
from castoff.compiler.ir.shapes import Dim
from castoff.compiler.lowering.choices import Choices
from castoff.compiler.lowering.lower import lower
from castoff.compiler.lowering.program import AttentionStep, Program

from ..graphs import GraphBuilder, load, lowered, reference, size

HEADS, WIDTH = 4, 16


def decoding(
    b: GraphBuilder, past: Dim, new: Dim = 1, dtype: DType = DType.FLOAT32
) -> tuple[Value, Value, Value]:
    """Attention of new positions to a cache and themselves; the joined keys and values."""
    query = b.input("query", 1, new, HEADS * WIDTH, dtype=dtype)
    split = b.call("aten.transpose.int", b.reshape(query, (1, new, HEADS, WIDTH)), 1, 2)
    caches = [b.input(name, 1, HEADS, past, WIDTH, dtype=dtype) for name in ("keys", "values")]
    fresh = (split, b.call("aten.mul.Scalar", split, 0.5))
    keys, values = (
        b.call("aten.cat.default", [cache, x], 2) for cache, x in zip(caches, fresh, strict=True)
    )
    name = "aten.scaled_dot_product_attention.default"
    return b.call(name, split, keys, values), keys, values


def attention(program: Program) -> AttentionStep:
    (step,) = (step for step in program.steps if isinstance(step, AttentionStep))
    return step


def answers_agree(graph: Graph, folder: Path, past: int, new: int = 1) -> None:
    rng = np.random.default_rng(past)
    shapes = [(1, new, HEADS * WIDTH), *[(1, HEADS, past, WIDTH)] * 2]
    inputs = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    got = load(graph, folder)(*inputs)
    got = got if isinstance(got, tuple) else (got,)
    for mine, wanted in zip(got, reference(graph, *inputs), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("past", "new"), [(1, 1), (130, 1), (20, 3), (140, 70)])
def test_a_cache_is_not_copied_for_attention(tmp_path: Path, past: int, new: int) -> None:
    b = GraphBuilder()
    graph = b.graph(decoding(b, past, new)[0])
    step = attention(lowered(graph))
    assert step.tail is not None
    assert (step.key.shape[2], step.tail[0].shape[2]) == (past, new)
    answers_agree(graph, tmp_path, past, new)


def test_a_cache_of_symbolic_length_is_not_copied(tmp_path: Path) -> None:
    b = GraphBuilder()
    graph = b.graph(decoding(b, size("past"))[0])
    assert attention(lowered(graph)).tail is not None
    answers_agree(graph, tmp_path, 37)


def test_joined_keys_that_leave_the_program_are_read_there(tmp_path: Path) -> None:
    b = GraphBuilder()
    graph = b.graph(*decoding(b, 20))
    assert attention(lowered(graph)).tail is None
    answers_agree(graph, tmp_path, 20)


def test_keys_and_values_are_split_alike_or_not_at_all() -> None:
    b = GraphBuilder()
    query = b.input("query", 1, HEADS, 1, WIDTH)
    parts = [b.input(f"part{rows}", 1, HEADS, rows, WIDTH) for rows in (4, 5)]
    keys, values = (b.call("aten.cat.default", order, 2) for order in (parts, parts[::-1]))
    graph = b.graph(b.call("aten.scaled_dot_product_attention.default", query, keys, values))
    assert attention(lowered(graph)).tail is None


def test_other_targets_join_keys_first() -> None:
    b = GraphBuilder()
    graph = b.graph(decoding(b, 20)[0])
    assert attention(lower(graph, Choices(splits_keys=False))).tail is None


def rounding(
    b: GraphBuilder, past: Dim, queries: int = 1, joins: bool = True
) -> tuple[Value, Value, Value]:
    """Attention in bfloat16 to the second half of a float32 cache, and to new positions; the rounded caches."""
    narrow = DType.BFLOAT16
    query = b.input("query", 1, HEADS, queries, WIDTH, dtype=narrow)
    caches = [b.input(name, 2, HEADS, past, WIDTH) for name in ("keys", "values")]
    rounded = [
        b.call("aten._to_copy.default", b.call("aten.slice.Tensor", cache, 0, 1, 2), dtype=narrow)
        for cache in caches
    ]
    keys, values = (b.call("aten.cat.default", [x, query], 2) if joins else x for x in rounded)
    name = "aten.scaled_dot_product_attention.default"
    return b.call(name, query, keys, values), *rounded


def rounded_answers_agree(graph: Graph, folder: Path, past: int, queries: int = 1) -> None:
    rng = np.random.default_rng(past)
    query = rng.standard_normal((1, HEADS, queries, WIDTH)).astype(ml_dtypes.bfloat16)
    caches = [rng.standard_normal((2, HEADS, past, WIDTH)).astype(np.float32) for _ in range(2)]
    got = load(graph, folder)(query, *caches)
    got = got if isinstance(got, tuple) else (got,)
    for mine, wanted in zip(got, reference(graph, query, *caches), strict=True):
        np.testing.assert_allclose(
            np.asarray(mine, np.float32), wanted.astype(np.float32), rtol=2**-7, atol=1e-2
        )


@pytest.mark.parametrize("joins", [True, False], ids=["joined", "alone"])
@pytest.mark.parametrize("past", [1, 37, 140])
def test_a_cache_is_rounded_as_it_is_read(tmp_path: Path, past: int, joins: bool) -> None:
    b = GraphBuilder()
    graph = b.graph(rounding(b, past, joins=joins)[0])
    (step,) = lowered(graph).steps
    assert isinstance(step, AttentionStep)
    assert [view.buffer.name for view in (step.key, step.value)] == ["keys", "values"]
    rounded_answers_agree(graph, tmp_path, past)


def test_a_cache_of_symbolic_length_is_rounded_as_it_is_read(tmp_path: Path) -> None:
    b = GraphBuilder()
    graph = b.graph(rounding(b, size("past"))[0])
    assert attention(lowered(graph)).key.buffer.dtype is DType.FLOAT32
    rounded_answers_agree(graph, tmp_path, 37)


def test_a_cache_that_many_queries_read_is_rounded_once(tmp_path: Path) -> None:
    b = GraphBuilder()
    graph = b.graph(rounding(b, 20, queries=12)[0])
    assert attention(lowered(graph)).key.buffer.dtype is DType.BFLOAT16
    rounded_answers_agree(graph, tmp_path, 20, queries=12)


def test_a_rounded_cache_that_others_read_is_stored(tmp_path: Path) -> None:
    b = GraphBuilder()
    mixed, keys, _ = rounding(b, 20)
    graph = b.graph(mixed, keys)
    assert attention(lowered(graph)).key.buffer.dtype is DType.BFLOAT16
    rounded_answers_agree(graph, tmp_path, 20)


def test_what_a_program_computes_is_rounded_when_it_is_stored() -> None:
    b = GraphBuilder()
    narrow = DType.BFLOAT16
    query = b.input("query", 1, HEADS, 1, WIDTH, dtype=narrow)
    caches = (b.input(name, 1, HEADS, 20, WIDTH) for name in ("keys", "values"))
    pair = (
        b.call("aten._to_copy.default", b.call("aten.mul.Scalar", x, 3.0), dtype=narrow)
        for x in caches
    )
    graph = b.graph(b.call("aten.scaled_dot_product_attention.default", query, *pair))
    assert attention(lowered(graph)).key.buffer.dtype is DType.BFLOAT16
