"""Sorting and selection against NumPy's stable sort."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from .clib import C_TYPE, compile_shared

TYPES = {"f32": np.float32, "f64": np.float64, "i64": np.int64, "u8": np.uint8, "f16": np.float16}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The functions of sort.h for a few types; they stop at undefined behaviour."""
    lines = ['#include "sort.h"', "#pragma GCC visibility push(default)"]
    tail = {"sort": 2, "topk": 3, "kthvalue": 1, "median": 1, "mode": 0}
    for suffix in TYPES:
        for name, extra in tail.items():
            more = "".join(f", int64_t e{i}" for i in range(extra))
            passed = "".join(f", e{i}" for i in range(extra))
            t = C_TYPE[suffix]
            arrays = f"{t} *v, int64_t *i, const {t} *x"
            head = f"void {name}_{suffix}({arrays}, int64_t o, int64_t n, int64_t s{more}, void *w)"
            body = f"castoff_{name}_{suffix}(v, i, x, o, n, s{passed}, w);"
            lines.append(f"{head}; {head} {{ {body} }}")
    folder: Path = tmp_path_factory.mktemp("sort")
    flags = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    return compile_shared(folder, "sort", "\n".join(lines) + "\n", *flags)


def _call(
    library: ctypes.CDLL, name: str, x: np.ndarray, kept: int, *extra: int
) -> tuple[np.ndarray, np.ndarray]:
    suffix = next(key for key, dtype in TYPES.items() if x.dtype == dtype)
    outer, length, inner = x.shape
    values, indices = (
        np.empty((outer, kept, inner), x.dtype),
        np.empty((outer, kept, inner), np.int64),
    )
    scratch = np.full(length * 4 + 8, -7, np.int64)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (values, indices, x)]
    sizes = [ctypes.c_int64(size) for size in (outer, length, inner, *extra)]
    getattr(library, f"{name}_{suffix}")(*pointers, *sizes, ctypes.c_void_p(scratch.ctypes.data))
    assert (scratch[length * 4 :] == -7).all(), "wrote past its scratch"
    return values, indices


def _array(dtype: type, length: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 12, (2, length, 3)).astype(dtype)
    if np.issubdtype(dtype, np.floating):
        x -= 6
        x[rng.random(x.shape) < 0.05] = np.nan
    return x


def _order(x: np.ndarray, descending: bool) -> np.ndarray:
    key = np.where(np.isnan(x.astype(np.float64)), np.inf, x.astype(np.float64))
    return np.argsort(-key if descending else key, axis=1, kind="stable")


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize("length", [1, 2, 11, 12, 13, 25, 100, 1001])
def test_sort_is_stable_with_nan_last(library: ctypes.CDLL, dtype: type, length: int) -> None:
    x = _array(dtype, length, length)
    for descending in (False, True):
        want = _order(x, descending)
        values, indices = _call(library, "sort", x, length, int(descending), 1)
        assert np.array_equal(indices, want)
        assert np.array_equal(
            values, np.take_along_axis(x, want, 1), equal_nan=np.issubdtype(dtype, np.floating)
        )


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize(
    ("length", "k"), [(1, 1), (10, 3), (100, 5), (100, 100), (1001, 10), (1001, 40), (64, 0)]
)
def test_top_k_and_kth_value_have_the_values_of_the_sort(
    library: ctypes.CDLL, dtype: type, length: int, k: int
) -> None:
    x = _array(dtype, length, 50 + k)
    is_float = np.issubdtype(dtype, np.floating)
    for largest in (False, True):
        want = np.take_along_axis(x, _order(x, largest)[:, :k], 1)
        for is_sorted in (False, True):
            values, indices = _call(library, "topk", x, k, k, int(largest), int(is_sorted))
            assert np.array_equal(values, np.take_along_axis(x, indices, 1), equal_nan=is_float)
            got = values if is_sorted else np.take_along_axis(values, _order(values, largest), 1)
            assert np.array_equal(got, want, equal_nan=is_float)
    if k > 0:
        values, indices = _call(library, "kthvalue", x, 1, k)
        want = np.take_along_axis(x, _order(x, False)[:, k - 1 : k], 1)
        assert np.array_equal(values, want, equal_nan=is_float)
        assert np.array_equal(values, np.take_along_axis(x, indices, 1), equal_nan=is_float)


@pytest.mark.torch
@pytest.mark.parametrize("distinct", [3, 20, 100_000])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 16, 17, 30, 100, 1001])
def test_of_equal_values_those_are_taken_that_pytorch_takes(
    library: ctypes.CDLL, length: int, distinct: int
) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(length + distinct)
    x = rng.integers(0, distinct, (2, length, 3)).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = np.nan
    tensor = torch.from_numpy(x)
    for k in {1, 2, 15, length // 2, length} & set(range(1, length + 1)):
        for largest in (False, True):
            for is_sorted in (False, True):
                _, indices = _call(library, "topk", x, k, k, int(largest), int(is_sorted))
                assert np.array_equal(indices, tensor.topk(k, 1, largest, is_sorted)[1])
        _, indices = _call(library, "kthvalue", x, 1, k)
        assert np.array_equal(indices, tensor.kthvalue(k, 1, keepdim=True)[1])
    for descending in (False, True):
        _, indices = _call(library, "sort", x, length, int(descending), 0)
        assert np.array_equal(indices, tensor.sort(1, descending)[1])
    _, indices = _call(library, "mode", x, 1)
    assert np.array_equal(indices, tensor.mode(1, keepdim=True)[1])


def test_median_is_the_lower_one_and_nan_wins_unless_ignored(library: ctypes.CDLL) -> None:
    x = np.array([3, 1, 2, 4, np.nan, 0], np.float32).reshape(1, 6, 1)
    values, indices = _call(library, "median", x, 1, 0)
    assert np.isnan(values).all() and indices.item() == 4
    values, indices = _call(library, "median", x, 1, 1)
    assert values.item() == 2 and indices.item() == 2
    values, indices = _call(library, "median", x[:, :4].copy(), 1, 0)
    assert values.item() == 2 and indices.item() == 2


def test_mode_is_the_smallest_of_the_most_frequent(library: ctypes.CDLL) -> None:
    x = np.array([5, 2, 5, 2, 9, 1], np.int64).reshape(1, 6, 1)
    values, indices = _call(library, "mode", x, 1)
    assert values.item() == 2 and indices.item() == 3
