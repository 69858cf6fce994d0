"""Attention on the device: on tensor cores where 16-bit rows allow it, and by warps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph
from castoff.compiler.lowering.program import AttentionStep
from tests.graphs import GraphBuilder, lowered, reference

from .building import DeviceBuilds


@dataclass(frozen=True)
class Case:
    """Sizes of one attention; `mask` is "", "bool" or "float"."""

    queries: int
    keys: int
    size: int
    heads: int = 2
    kv_heads: int = 2
    value_size: int = 0
    mask: str = ""
    is_causal: bool = False

    def shapes(self) -> list[tuple[int, ...]]:
        value = self.value_size or self.size
        shapes = [
            (2, self.heads, self.queries, self.size),
            (2, self.kv_heads, self.keys, self.size),
        ]
        shapes.append((2, self.kv_heads, self.keys, value))
        return shapes + ([(self.queries, self.keys)] if self.mask else [])


CASES = {
    "one tile": Case(64, 64, 64),
    "ragged tiles": Case(70, 131, 64),
    "a wide head": Case(40, 90, 128, heads=1, kv_heads=1),
    "a head between tiles": Case(33, 65, 80),
    "values of another size": Case(20, 70, 32, value_size=64),
    "causal": Case(130, 130, 64, heads=1, kv_heads=1, is_causal=True),
    "a mask of booleans": Case(20, 70, 64, mask="bool"),
    "a mask that is added": Case(20, 70, 64, mask="float"),
    "heads that share keys": Case(20, 70, 32, heads=4, kv_heads=2),
    "one query": Case(1, 200, 64),
    "one query of many keys": Case(1, 300, 128),
    "a few queries of shared keys": Case(2, 200, 40, heads=4, kv_heads=2, mask="float"),
    "a few queries, most keys masked": Case(4, 150, 32, mask="bool"),
    "a head between tiles of 16": Case(20, 70, 72, value_size=88),
    "a head with queries in shared memory": Case(70, 75, 160, heads=1, kv_heads=1),
    "the largest head of tensor cores, causal": Case(
        70, 70, 256, heads=1, kv_heads=1, is_causal=True
    ),
    "a head that is larger than tensor cores take": Case(12, 40, 264, heads=1, kv_heads=1),
    "one query of a head of 256": Case(1, 150, 256, heads=4, kv_heads=2, value_size=192),
    "one query of rows that 16 bytes do not reach": Case(1, 200, 33),
    "three queries of a head of 96": Case(3, 140, 96),
    "rows that tensor cores cannot reach": Case(20, 30, 20),
}


def attention(case: Case, dtype: DType) -> Graph:
    b = GraphBuilder()
    q, k, v, *masks = case.shapes()
    query, key, value = (b.input(n, *s, dtype=dtype) for n, s in zip("qkv", (q, k, v), strict=True))
    mask_type = DType.BOOL if case.mask == "bool" else dtype
    mask = b.input("mask", *masks[0], dtype=mask_type) if masks else None
    options = {"enable_gqa": True} if case.heads != case.kv_heads else {}
    result = b.call(
        "aten.scaled_dot_product_attention.default",
        query, key, value, mask, is_causal=case.is_causal, **options,
    )  # fmt: skip
    return b.graph(result)


def arguments(case: Case, dtype: DType) -> list[np.ndarray]:
    rng = np.random.default_rng(case.queries)
    q, k, v, *masks = case.shapes()
    given = [rng.standard_normal(shape).astype(dtype.numpy) for shape in (q, k, v)]
    if case.mask == "bool":
        mask = rng.random(masks[0]) < 0.6
        mask[3] = False  # nothing is left for this query
        given.append(mask)
    elif case.mask:
        given.append(rng.standard_normal(masks[0]).astype(dtype.numpy))
    return given


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(DType.BFLOAT16, 2e-2), (DType.FLOAT16, 3e-3), (DType.FLOAT32, 1e-5)],
    ids=["bfloat16", "float16", "float32"],
)
@pytest.mark.parametrize("name", CASES)
def test_attention_is_that_of_the_reference(
    device_builds: DeviceBuilds, name: str, dtype: DType, tolerance: float
) -> None:
    case = CASES[name]
    graph = attention(case, dtype)
    assert any(isinstance(step, AttentionStep) for step in lowered(graph).steps)
    given = arguments(case, dtype)
    got = np.asarray(device_builds.load(graph)(*given)[0], np.float64)
    wanted = np.asarray(reference(graph, *given)[0], np.float64)
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
