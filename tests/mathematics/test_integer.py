"""Integer arithmetic against Python's unbounded integers, wrapped to the type."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from .clib import NUMPY_TYPE, Loops, compile_loops, same

TYPES = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
BINARY = (
    "add",
    "sub",
    "mul",
    "floor_divide",
    "trunc_divide",
    "remainder",
    "fmod",
    "maximum",
    "minimum",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_left_shift",
    "bitwise_right_shift",
    "pow",
    "gcd",
    "lcm",
)
UNARY = ("neg", "abs", "sign", "square", "bitwise_not")


@pytest.fixture(
    scope="module", params=[(), ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")]
)
def integers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loops:
    """Loops over every integer function, plain and stopping at undefined behaviour."""
    functions = [same(name, t, 2) for name in BINARY for t in TYPES] + [
        same(name, t) for name in UNARY for t in TYPES
    ]
    return compile_loops(
        tmp_path_factory.mktemp("integer"), "integer", ["integer.h"], functions, *request.param
    )


def _trunc(a: int, b: int) -> int:
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _power(a: int, b: int) -> int:
    if b >= 0:
        return pow(a, b, 2**64)
    return 1 if a == 1 else (-1) ** (b % 2) if a == -1 else 0


def _shifted_right(a: int, b: int, bits: int, is_signed: bool) -> int:
    last = bits - 1 if is_signed else bits
    return a >> (b if 0 <= b < last else last)


def _wrap(value: int, dtype: type) -> int:
    info = np.iinfo(dtype)
    return (value - info.min) % (1 << info.bits) + info.min


REFERENCE: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floor_divide": lambda a, b: 0 if b == 0 else a // b,
    "trunc_divide": _trunc,
    "remainder": lambda a, b: 0 if b == 0 else a % b,
    "fmod": lambda a, b: 0 if b == 0 else a - b * _trunc(a, b),
    "maximum": max,
    "minimum": min,
    "bitwise_and": lambda a, b: a & b,
    "bitwise_or": lambda a, b: a | b,
    "bitwise_xor": lambda a, b: a ^ b,
    "pow": _power,
}


def _samples(suffix: str) -> tuple[list[int], list[int]]:
    info = np.iinfo(NUMPY_TYPE[suffix])
    edges = {
        info.min,
        info.min + 1,
        -8,
        -7,
        -3,
        -2,
        -1,
        0,
        1,
        2,
        3,
        5,
        7,
        8,
        31,
        32,
        63,
        64,
        100,
        info.max - 1,
        info.max,
    }
    values = sorted(x for x in edges if info.min <= x <= info.max)
    rng = np.random.default_rng(3)
    extra = [
        int(x) for x in rng.integers(info.min, info.max, 200, NUMPY_TYPE[suffix], endpoint=True)
    ]
    left = [a for a in values for _ in values] + extra
    right = [b for _ in values for b in values] + extra[::-1]
    return left, right


@pytest.mark.parametrize("suffix", TYPES)
@pytest.mark.parametrize("name", BINARY)
def test_binary_operation_wraps_like_torchs(integers: Loops, name: str, suffix: str) -> None:
    left, right = _samples(suffix)
    dtype = NUMPY_TYPE[suffix]
    info = np.iinfo(dtype)
    if name in ("gcd", "lcm"):  # of the most negative number the absolute value itself wraps
        pairs = [
            (a, b)
            for a, b in zip(left, right, strict=True)
            if info.min not in (a, b) or info.min == 0
        ]
        left, right = [a for a, _ in pairs], [b for _, b in pairs]
    got = integers(f"{name}_{suffix}", np.array(left, dtype), np.array(right, dtype))
    for a, b, result in zip(left, right, got, strict=True):
        if name == "bitwise_left_shift":
            want = a << b if 0 <= b < info.bits else 0
        elif name == "bitwise_right_shift":
            want = _shifted_right(a, b, info.bits, info.min < 0)
        elif name == "gcd":
            want = math.gcd(a, b)
        elif name == "lcm":
            want = abs(_wrap(a // math.gcd(a, b) * b, dtype)) if math.gcd(a, b) else 0
        else:
            want = REFERENCE[name](a, b)
        assert int(result) == _wrap(want, dtype), (name, a, b)


@pytest.mark.parametrize("suffix", TYPES)
def test_unary_operations_wrap(integers: Loops, suffix: str) -> None:
    left, _ = _samples(suffix)
    dtype = NUMPY_TYPE[suffix]
    references = {
        "neg": lambda a: -a,
        "abs": abs,
        "sign": lambda a: (a > 0) - (a < 0),
        "square": lambda a: a * a,
        "bitwise_not": lambda a: ~a,
    }
    for name, reference in references.items():
        got = integers(f"{name}_{suffix}", np.array(left, dtype))
        assert [int(x) for x in got] == [_wrap(reference(a), dtype) for a in left], name
