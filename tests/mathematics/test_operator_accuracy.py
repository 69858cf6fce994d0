"""Compiled operators keep the errors that docs/accuracy.md states."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import mpmath
import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ops.base import registered_targets

from ..graphs import GraphBuilder, load
from .operator_accuracy import NARROW, OPERATORS, PAGE, Array, Range, Row, page_text

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
CONDITION = 20
"""float64 is held to its bounds where a relative change of an argument grows at most so much."""


def target_of(name: str) -> str:
    """The overload that takes nothing but tensors."""
    found = [f"aten.{name}.{overload}" for overload in ("default", "Tensor_Tensor", "Tensor")]
    return next(target for target in found if target in registered_targets())


def compiled(points: Mapping[str, tuple[Array, ...]], dtype: DType, folder: Path) -> list[Array]:
    """What one program of all operators gives."""
    b = GraphBuilder()
    outputs = []
    for name, arrays in points.items():
        row = OPERATORS[name]
        inputs = [b.input("x", *array.shape, dtype=dtype) for array in arrays]
        outputs.append(b.call(target_of(name), *row.before, *inputs, *row.after))
    program = load(b.graph(*outputs), folder)
    arrays = [array.astype(dtype.numpy) for group in points.values() for array in group]
    return [np.asarray(result) for result in program(*arrays)]


def drawn(argument: Range, count: int, random: np.random.Generator) -> Array:
    """Numbers of a range, half of them near zero or its nearest bound, in double precision."""
    if argument.whole:
        return random.integers(int(argument.low), int(argument.high), 2 * count).astype(float)
    near = float(np.clip(0, argument.low, argument.high))
    low, high = max(argument.low, near - 3), min(argument.high, near + 3)
    wide = random.uniform(argument.low, argument.high, count)
    return random.permutation(np.concatenate([wide, random.uniform(low, high, count)]))


def representable(argument: Range, numbers: Array, dtype: DType) -> Array:
    """Numbers rounded to a type; those that land on a bound are replaced by one in the middle."""
    rounded = numbers.astype(dtype.numpy).astype(float)
    inside = (rounded > argument.low) & (rounded < argument.high) | argument.whole
    middle = np.float64((argument.low + argument.high) / 2).astype(dtype.numpy)
    return np.where(inside, rounded, float(middle))


def errors_in_ulp(got: Array, want: Array, digits: int, smallest: int) -> Array:
    """|got - want| in ulp of a type of so many binary digits; infinite where one alone is a number."""
    exponent = np.frexp(np.where(np.isfinite(want), want, 1))[1]
    unit = np.exp2(np.maximum(exponent - digits, smallest).astype(float))
    wide = got.astype(float)
    errors = np.abs(wide - want) / unit
    errors = np.where((wide == want) | (got == want.astype(got.dtype)), 0, errors)
    return np.where(np.isnan(errors), np.where(np.isnan(wide) & np.isnan(want), 0, np.inf), errors)


def assert_bounds(
    points: Mapping[str, tuple[Array, ...]],
    results: list[Array],
    digits: int,
    smallest: int,
    bounds: Mapping[str, float],
    absolute: Mapping[str, float],
) -> None:
    wrong = []
    for (name, arrays), got in zip(points.items(), results, strict=True):
        want = OPERATORS[name].scipy(*arrays)
        errors = np.where(np.isinf(want), 0, errors_in_ulp(got, want, digits, smallest))  # poles
        errors = np.where(np.abs(got.astype(float) - want) <= absolute[name], 0, errors)
        worst = int(np.argmax(errors))
        if errors[worst] > bounds[name]:
            at = [float(array[worst]) for array in arrays]
            wrong.append(f"{name}{at} = {got[worst]}: {errors[worst]:.3g} ulp")
    assert not wrong, "\n".join(wrong)


def test_float32_keeps_its_bounds(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    points = {
        name: tuple(
            representable(argument, drawn(argument, 4000, random), DType.FLOAT32)
            for argument in row.domain
        )
        for name, row in OPERATORS.items()
    }
    results = compiled(points, DType.FLOAT32, tmp_path)
    bounds = {name: row.float32 for name, row in OPERATORS.items()}
    absolute = {name: row.absolute[1] for name, row in OPERATORS.items()}
    assert_bounds(points, results, 24, -149, bounds, absolute)


def test_float32_is_within_four_ulp() -> None:
    assert max(row.float32 for row in OPERATORS.values()) <= 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "digits", "smallest"), [(DType.FLOAT16, 11, -24), (DType.BFLOAT16, 8, -133)]
)
def test_every_narrow_number_is_rounded_once(
    dtype: DType, digits: int, smallest: int, tmp_path: Path
) -> None:
    numbers = np.arange(1 << 16).astype(np.uint16).view(dtype.numpy).astype(float)
    numbers = numbers[np.isfinite(numbers)]
    random = np.random.default_rng(1)
    points = {}
    for name, row in OPERATORS.items():
        if len(row.domain) == 1:
            (argument,) = row.domain
            points[name] = (numbers[(numbers > argument.low) & (numbers < argument.high)],)
        else:
            points[name] = tuple(
                representable(argument, drawn(argument, 4000, random), dtype)
                for argument in row.domain
            )
    results = compiled(points, dtype, tmp_path)
    absolute = {name: row.absolute[0] for name, row in OPERATORS.items()}
    assert_bounds(points, results, digits, smallest, dict.fromkeys(OPERATORS, NARROW), absolute)


def conditions(row: Row, arrays: tuple[Array, ...]) -> Array:
    """How much a relative change of the arguments grows, the largest of them."""
    step, value = 1e-6, row.scipy(*arrays)
    found = np.zeros(arrays[0].shape)
    for position, argument in enumerate(row.domain):
        if not argument.whole:
            above, below = (
                row.scipy(*arrays[:position], arrays[position] * factor, *arrays[position + 1 :])
                for factor in (1 + step, 1 - step)
            )
            found = np.maximum(found, np.abs(above - below) / (2 * step * np.abs(value)))
    return np.where(np.isnan(found), np.inf, found)


@pytest.mark.slow
def test_float64_keeps_its_bounds_where_well_conditioned(tmp_path: Path) -> None:
    points = {}
    for name, row in OPERATORS.items():
        random = np.random.default_rng([2, *name.encode()])
        arrays = tuple(drawn(argument, 60, random) for argument in row.domain)
        kept = conditions(row, arrays) <= CONDITION
        points[name] = tuple(array[kept] for array in arrays)
    wrong = []
    for (name, arrays), got in zip(
        points.items(), compiled(points, DType.FLOAT64, tmp_path), strict=True
    ):
        with mpmath.workdps(50):
            exact = [
                OPERATORS[name].mpmath(*map(mpmath.mpf, each)) for each in zip(*arrays, strict=True)
            ]
            units = np.spacing(np.abs(np.array([float(value) for value in exact])))
            errors = [
                float(abs(mpmath.mpf(float(g)) - e) / float(u))
                for g, e, u in zip(got, exact, units, strict=True)
            ]
        worst = int(np.argmax(errors))
        if errors[worst] > OPERATORS[name].float64:
            at = [float(array[worst]) for array in arrays]
            wrong.append(f"{name}{at} = {got[worst]}: {errors[worst]:.3g} ulp")
    assert not wrong, "\n".join(wrong)


def test_page_of_accuracy_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_text(), (
        "run `python -m tests.mathematics.operator_accuracy`"
    )
