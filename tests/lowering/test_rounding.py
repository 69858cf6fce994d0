"""A narrow float that is computed in the same loop is rounded before anything sees it that shows the difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType

from ..graphs import GraphBuilder, generated, load, reference
from ..processor import FLAGS, needs_level
from ..rounding import NARROW, PROGRAMS, float32


@pytest.mark.parametrize("level", FLAGS)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_shows_it_sees_rounded_numbers(
    name: str, dtype: str, level: str, tmp_path: Path
) -> None:
    needs_level(level)
    graph, arrays = PROGRAMS[name](NARROW[dtype])
    (want,) = reference(graph, *arrays)
    (got,) = load(graph, tmp_path, target_cpu=level)(*arrays)
    np.testing.assert_array_equal(np.asarray(got, np.float64), np.asarray(want, np.float64))


@pytest.mark.parametrize("dtype", NARROW)
def test_rounding_is_that_of_a_store_for_every_kind_of_number(dtype: str, tmp_path: Path) -> None:
    narrow = NARROW[dtype]
    bits = np.random.default_rng(0).integers(0, 1 << 32, 1 << 16, dtype=np.uint32)
    edges = np.array(
        [65504, 65519.996, 65520, 2.0**-24, 2.0**-25, 2.0**-14, 3e38, 3.4e38], np.float32
    )
    with np.errstate(invalid="ignore"):
        near = np.abs(bits.view(np.float32)) % np.float32(2.0**-13)
        odd = np.array([np.nan, np.inf, -np.inf], np.float32)
        x = np.concatenate([bits.view(np.float32), near, edges, -edges, odd])
    b = GraphBuilder()
    given = b.input("x", len(x))
    graph = b.graph(b.cast(b.cast(given, narrow), DType.FLOAT32))
    (got,) = load(graph, tmp_path)(x)
    with np.errstate(over="ignore"):
        want = x.astype(narrow.numpy).astype(np.float32)
    np.testing.assert_array_equal(got, want)
    is_number = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got)[is_number], np.signbit(want)[is_number])


def test_what_is_stored_rounded_is_not_rounded_between_smooth_steps() -> None:
    b = GraphBuilder()
    x, weight = (b.input(name, 64, 64, dtype=DType.BFLOAT16) for name in ("x", "weight"))
    y = b.call("aten.gelu.default", b.call("aten.linear.default", x, weight))
    assert "castoff_rounded_bf16" not in generated(b.graph(y)).tree.files()["program.c"]
    assert "castoff_rounded_bf16" in generated(b.graph(float32(b, y))).tree.files()["program.c"]
