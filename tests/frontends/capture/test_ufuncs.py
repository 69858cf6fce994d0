"""Every ufunc, in every type that NumPy has it for, against NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import castoff
from castoff.compiler.frontends.capture.loops import LOOPS

from .checks import assert_captured, assert_compiled

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
UFUNCS = sorted({ufunc.__name__: ufunc for ufunc in LOOPS}.items())
_MANY_ULP = {"power": 40.0, "float_power": 40.0, "tan": 10.0, "exp2": 10.0, "exp": 10.0}


def _elements(dtype: str, seed: int) -> np.ndarray:
    """Numbers of a type, its extremes and what is special among floats; none that is too large."""
    kind = np.dtype(dtype)
    draw = np.random.default_rng(seed)
    if kind.kind == "b":
        return draw.integers(0, 2, 12).astype(kind)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        small = draw.integers(max(limits.min, -5), 6, 9)
        return np.array([*small.tolist(), limits.min, limits.max, 0], kind)
    if kind.kind == "f":
        values = [*draw.standard_normal(8), 0.0, -0.0, np.inf, np.nan, -1.0, 1.0]
        return np.array(values[:12], kind) if seed % 2 else np.array(values[2:], kind)
    return (draw.standard_normal(12) + 1j * draw.standard_normal(12)).astype(kind)


def _supported(ufunc: Any, *operands: Any) -> bool:
    try:
        with np.errstate(all="ignore"):
            result = ufunc(*operands)
    except (TypeError, ValueError, OverflowError):
        return False
    parts = result if isinstance(result, tuple) else (result,)
    return all(part.dtype.name in DTYPES for part in parts)


def _operands(name: str, ufunc: Any, every: int) -> list[tuple[np.ndarray, ...]]:
    """Operands of all types, and of every so manyth pair of different ones."""
    left = {dtype: _elements(dtype, 1) for dtype in DTYPES}
    right = {dtype: _elements(dtype, 2) for dtype in DTYPES}
    if name == "ldexp":
        right = {dtype: right[dtype] for dtype in ("int8", "int32")}
    if name == "reciprocal":  # 1 / 0 in integers is what the processor makes of it
        left = {dtype: np.where(x == 0, np.ones((), x.dtype), x) for dtype, x in left.items()}
    if name == "nextafter":
        left, right = ({d: each[d] for d in ("float32", "float64")} for each in (left, right))
    if ufunc.nin == 1:
        operands: list[tuple[np.ndarray, ...]] = [(x,) for x in left.values()]
    else:
        operands = [
            (x, y)
            for i, x in enumerate(left.values())
            for j, y in enumerate(right.values())
            if i == j or (i + j) % every == 0
        ]
    if name == "divide":  # by a real zero, complex quotients are infinite in any direction
        operands = [each for each in operands if len({x.dtype.kind == "c" for x in each}) == 1]
    return [each for each in operands if _supported(ufunc, *each)]


@pytest.mark.parametrize(("name", "ufunc"), UFUNCS, ids=[name for name, _ in UFUNCS])
def test_ufuncs_give_what_numpy_gives(name: str, ufunc: Any) -> None:
    operands = _operands(name, ufunc, 3)
    assert operands, "every ufunc is known in some type"

    def f(*flat: Any) -> list[Any]:
        given = iter(flat)
        return [ufunc(*(next(given) for _ in each)) for each in operands]

    assert_captured(f, *(x for each in operands for x in each), scale=_MANY_ULP.get(name, 1.0))


@pytest.mark.parametrize("start", range(0, len(UFUNCS), 15))
def test_compiled_ufuncs_give_what_numpy_gives(start: int, tmp_path: Path) -> None:
    cases = [
        (ufunc, each)
        for name, ufunc in UFUNCS[start : start + 15]
        for each in _operands(name, ufunc, 11)
    ]

    def f(*flat: Any) -> list[Any]:
        given = iter(flat)
        return [ufunc(*(next(given) for _ in each)) for ufunc, each in cases]

    assert_compiled(f, *(x for _, each in cases for x in each), folder=tmp_path, scale=40)


NUMBERS = (True, 3, -2, 2.5, 1 + 2j)
ARITHMETIC = (np.add, np.multiply, np.true_divide, np.maximum, np.power, np.less, np.equal)


@settings(
    derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    st.sampled_from(ARITHMETIC), st.sampled_from(DTYPES), st.sampled_from(NUMBERS), st.booleans()
)
def test_python_numbers_take_the_type_of_the_array(
    ufunc: Any, dtype: str, number: Any, is_first: bool
) -> None:
    x = _elements(dtype, 3) if np.dtype(dtype).kind != "f" else np.arange(1, 5).astype(dtype)

    def f(x: np.ndarray) -> Any:
        return ufunc(number, x) if is_first else ufunc(x, number)

    with np.errstate(all="ignore"):
        try:
            f(x)
        except (TypeError, OverflowError, ValueError) as error:
            if "negative integer powers" in str(error):
                return  # which elements there are, only a call knows
            with pytest.raises(type(error)):
                castoff.export(f, (x,))
            return
    assert_captured(f, x, scale=20)


@settings(
    derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4),
    st.sampled_from(DTYPES), st.sampled_from(DTYPES),
    st.sampled_from((np.add, np.multiply, np.equal, np.logical_and)),
)  # fmt: skip
def test_operands_broadcast_and_promote(shapes: Any, left: str, right: str, ufunc: Any) -> None:
    x, y = (
        np.ones(shape, dtype)
        for shape, dtype in zip(shapes.input_shapes, (left, right), strict=True)
    )
    assert_captured(lambda x, y: ufunc(x, y), x, y)


def test_in_place_operators_keep_the_type() -> None:
    def f(x: np.ndarray, i: np.ndarray) -> list[np.ndarray]:
        x, i = x + 0, i + 0
        x += i
        x *= 2
        i //= 3
        i |= 1
        i <<= 2
        return [x, i]

    assert_captured(f, np.arange(4, dtype=np.float32), np.arange(4, dtype=np.int16))


def test_an_in_place_operator_that_numpy_refuses_is_refused() -> None:
    def f(i: np.ndarray) -> np.ndarray:
        i += 1.5
        return i

    with pytest.raises(TypeError, match="same_kind"):
        castoff.export(f, (np.arange(3),))
