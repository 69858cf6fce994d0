"""Which of equal elements are taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import castoff
from castoff.compiler.ops import introsort

from ..graphs import GraphBuilder, load, size
from .evaluation import evaluate


@pytest.mark.torch
@pytest.mark.parametrize("distinct", [3, 20, 100_000])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 16, 17, 30, 100, 1001])
def test_of_equal_values_those_are_taken_that_pytorch_takes(length: int, distinct: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(length + distinct)
    x = rng.integers(0, distinct, (2, length)).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = np.nan
    tensor = torch.from_numpy(x)
    for k in {1, 2, 15, length // 2, length} & set(range(1, length + 1)):
        for largest in (False, True):
            for is_sorted in (False, True):
                _, indices = evaluate("aten.topk.default", x, k, 1, largest, is_sorted)
                assert np.array_equal(indices, tensor.topk(k, 1, largest, is_sorted)[1])
        assert np.array_equal(evaluate("aten.kthvalue.default", x, k)[1], tensor.kthvalue(k)[1])
    assert np.array_equal(evaluate("aten.mode.default", x)[1], tensor.mode()[1])
    for descending in (False, True):
        _, indices = evaluate("aten.sort.default", x, 1, descending)
        assert np.array_equal(indices, tensor.sort(1, descending)[1])
        (indices,) = evaluate("aten.argsort.stable", x, stable=True, dim=1, descending=descending)
        assert np.array_equal(indices, tensor.argsort(dim=1, descending=descending, stable=True))


def _killer(half: int) -> np.ndarray:
    """Musser's sequence, on which the median of three is always one of the smallest, twice."""
    odd = [value for i in range(1, half, 2) for value in (i, half + i)]
    return np.array([0, *odd, *range(2, 2 * half + 1, 2)], np.float32)


@pytest.mark.torch
@pytest.mark.parametrize("k", [50, 100, 180, 200])
@pytest.mark.parametrize("is_sorted", [False, True])
def test_what_quicksort_is_slow_at_is_left_to_a_heap(
    monkeypatch: pytest.MonkeyPatch, k: int, is_sorted: bool
) -> None:
    torch = pytest.importorskip("torch")
    heaps: list[int] = []
    select = introsort.Positions._heap_select

    def counted(self: introsort.Positions, first: int, kept: int, last: int) -> None:
        heaps.append(kept)
        select(self, first, kept, last)

    monkeypatch.setattr(introsort.Positions, "_heap_select", counted)
    x = _killer(100)
    _, indices = evaluate("aten.topk.default", x, k, 0, False, is_sorted)
    assert heaps
    assert np.array_equal(indices, torch.from_numpy(x).topk(k, 0, False, is_sorted)[1])


def test_more_elements_than_a_row_has_are_refused_when_sizes_are_known(tmp_path: Path) -> None:
    b = GraphBuilder()
    x, y = b.input("x", size("length")), b.input("y", size("count"))
    run = load(b.graph(*b.call("aten.topk.default", x, y.shape[0])), tmp_path)
    row = np.array([1, 3, 2], np.float32)
    values, indices = run(row, row[:2])
    assert values.tolist() == [3, 2] and indices.tolist() == [1, 2]
    with pytest.raises(castoff.ProgramError, match="expected from 0 to all"):
        run(row, np.zeros(4, np.float32))


def test_a_value_before_the_first_is_refused_when_sizes_are_known(tmp_path: Path) -> None:
    b = GraphBuilder()
    x, y = b.input("x", size("length", 1)), b.input("y", size("count"))
    run = load(b.graph(*b.call("aten.kthvalue.default", x, y.shape[0])), tmp_path)
    row = np.array([1, 3, 2], np.float32)
    assert [float(each) for each in run(row, row[:2])] == [2, 2]
    with pytest.raises(castoff.ProgramError, match="expected from 1 to all"):
        run(row, row[:0])
