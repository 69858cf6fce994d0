"""The algebra of sizes against plain integers: whatever is simplified keeps its value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castoff.compiler.ir import shapes
from castoff.compiler.ir.shapes import Dim, Symbol

SYMBOLS = (Symbol("s0", 0, 9), Symbol("s1", 1, 6), Symbol("i", 0, 4), Symbol("u", -5, 5))

Integers = Callable[[Mapping[str, int]], int]


@dataclass(frozen=True)
class Both:
    """An expression, and the same computation on integers."""

    dim: Dim
    value: Integers


def _leaf(draw: st.DrawFn) -> Both:
    if draw(st.booleans()):
        number = draw(st.integers(-7, 7))
        return Both(number, lambda values: number)
    chosen = draw(st.sampled_from(SYMBOLS))
    return Both(shapes.of_atom(chosen), lambda values: values[chosen.name])


def _combine(operation: str, a: Both, b: Both, k: int) -> Both:
    match operation:
        case "add":
            return Both(a.dim + b.dim, lambda v: a.value(v) + b.value(v))
        case "sub":
            return Both(a.dim - b.dim, lambda v: a.value(v) - b.value(v))
        case "mul":
            return Both(a.dim * b.dim, lambda v: a.value(v) * b.value(v))
        case "floordiv":
            return Both(shapes.floordiv(a.dim, k), lambda v: a.value(v) // k)
        case "mod":
            return Both(shapes.mod(a.dim, k), lambda v: a.value(v) % k)
        case "max":
            return Both(shapes.maximum(a.dim, b.dim), lambda v: max(a.value(v), b.value(v)))
        case "min":
            return Both(shapes.minimum(a.dim, b.dim), lambda v: min(a.value(v), b.value(v)))
        case "equal":
            return Both(shapes.equal(a.dim, b.dim), lambda v: int(a.value(v) == b.value(v)))
        case "less":
            return Both(shapes.less(a.dim, b.dim), lambda v: int(a.value(v) < b.value(v)))
    raise AssertionError(operation)


OPERATIONS = ("add", "sub", "mul", "floordiv", "mod", "max", "min", "equal", "less")


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> Both:
    """A tree of operations over small symbols."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return _leaf(draw)
    left, right = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    return _combine(draw(st.sampled_from(OPERATIONS)), left, right, draw(st.integers(1, 8)))


values_of_symbols = st.fixed_dictionaries(
    {symbol.name: st.integers(symbol.low, symbol.high) for symbol in SYMBOLS}
)


@given(expressions(), values_of_symbols)
def test_expressions_have_the_value_of_the_integers(both: Both, values: dict[str, int]) -> None:
    assert shapes.evaluate(both.dim, values) == both.value(values)


@given(expressions(), values_of_symbols)
def test_bounds_hold(both: Both, values: dict[str, int]) -> None:
    low, high = shapes.bounds(both.dim)
    assert low <= both.value(values) <= high


@given(expressions(), expressions(), values_of_symbols)
def test_comparisons_are_right_where_they_answer(
    left: Both, right: Both, values: dict[str, int]
) -> None:
    a, b = left.value(values), right.value(values)
    assert shapes.is_less(left.dim, right.dim) in (None, a < b)
    assert shapes.is_equal(left.dim, right.dim) in (None, a == b)
    if shapes.is_nonnegative(left.dim):
        assert a >= 0


@given(expressions(), expressions(depth=2), values_of_symbols)
def test_substitution_is_evaluation_at_another_place(
    both: Both, replacement: Both, values: dict[str, int]
) -> None:
    low, high = shapes.bounds(replacement.dim)
    variable = Symbol("i", 0, 4)
    if not (variable.low <= low and high <= variable.high):
        return  # what is put in keeps the bounds: simplifications rely on them
    replaced = shapes.substitute(both.dim, {variable: replacement.dim})
    inner = replacement.value(values)
    assert shapes.evaluate(replaced, values) == both.value({**values, "i": inner})


@given(expressions(), values_of_symbols)
def test_recombining_keeps_the_value(both: Both, values: dict[str, int]) -> None:
    assert shapes.evaluate(shapes.recombine(both.dim), values) == both.value(values)


def test_quotients_of_remainders_are_put_together_again() -> None:
    i = shapes.symbol("i")
    row, column = shapes.floordiv(i % 196, 14), i % 14
    assert shapes.recombine(14 * row + column) == i % 196
    assert shapes.recombine(196 * (i // 196) + 14 * row + column) == i
    assert shapes.recombine(28 * row + column) == 28 * row + column


def test_what_is_less_than_a_factor_of_a_divisor_counts_for_nothing() -> None:
    i, rest = shapes.symbol("i"), shapes.symbol("rest", 0, 3)
    assert shapes.floordiv(4 * i + rest, 196) == i // 49
    assert shapes.floordiv(4 * i + rest + 8, 196) == (i + 2) // 49
    assert shapes.floordiv(4 * i + 2 * rest, 196) != i // 49


@given(expressions(), st.integers(1, 8), values_of_symbols)
def test_what_is_split_off_is_a_multiple(both: Both, k: int, values: dict[str, int]) -> None:
    quotient, rest = shapes.split_multiple(both.dim, k)
    again = shapes.evaluate(quotient, values) * k + shapes.evaluate(rest, values)
    assert again == both.value(values)


@given(expressions(), values_of_symbols, st.integers(1, 3))
def test_a_stride_is_the_difference_of_neighbours(
    both: Both, values: dict[str, int], position: int
) -> None:
    variable = Symbol("i", 0, 4)
    stride = shapes.stride_along(both.dim, variable)
    if stride is None:
        return
    here, there = {**values, "i": position}, {**values, "i": position + 1}
    assert both.value(there) - both.value(here) == shapes.evaluate(stride, here)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_flatten_and_unflatten_are_inverse(sizes: list[int], data: st.DataObject) -> None:
    shape = tuple(sizes)
    position = data.draw(st.integers(0, math.prod(shape) - 1))
    index = shapes.unflatten_index(position, shape)
    assert index == tuple(int(i) for i in np.unravel_index(position, shape))
    assert shapes.flatten_index(index, shape) == position


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_a_reshape_of_a_contiguous_tensor_is_no_arithmetic(sizes: list[int]) -> None:
    shape = tuple(sizes)
    variables = tuple(shapes.loop_variable(f"i{a}", n, a) for a, n in enumerate(shape))
    position = shapes.flatten_index(variables, shape)
    assert shapes.unflatten_index(position, shape) == variables


@settings(max_examples=60)
@given(st.integers(0, 7), st.integers(1, 7), values_of_symbols)
def test_symbolic_shapes_flatten_and_unflatten(
    row: int, columns: int, values: dict[str, int]
) -> None:
    rows, columns_symbol = shapes.symbol("rows", 0, 64), shapes.symbol("columns", 1, 64)
    i = shapes.loop_variable("i", rows, 0)
    j = shapes.loop_variable("j", columns_symbol, 1)
    position = shapes.flatten_index((i, j), (rows, columns_symbol))
    back = shapes.unflatten_index(position, (rows, columns_symbol))
    assert back == (i, j)
    here = {"rows": 8, "columns": columns, "i": row, "j": columns - 1}
    assert shapes.evaluate(position, here) == row * columns + columns - 1


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (shapes.symbol("s0") * 2 + 1, "s0*2+1"),
        (shapes.floordiv(shapes.symbol("s0") * 4, 2), "s0*2"),
        (shapes.mod(shapes.symbol("s0") * 4 + 3, 2), "1"),
        (shapes.ceildiv(shapes.symbol("s0"), 2), "-(-s0)//(2)"),
        (shapes.symbol("s0") - shapes.symbol("s0"), "0"),
    ],
    ids=["sum", "exact quotient", "known remainder", "rounded up", "nothing"],
)
def test_expressions_read_as_formulas(expression: Dim, text: str) -> None:
    assert str(expression) == text


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        ((3, 1), (1, 4), (3, 4)),
        ((), (2,), (2,)),
        ((5, 1, 2), (3, 1), (5, 3, 2)),
    ],
)
def test_shapes_broadcast_as_in_numpy(
    left: tuple[int, ...], right: tuple[int, ...], result: tuple[int, ...]
) -> None:
    assert shapes.broadcast_shapes(left, right) == result == np.broadcast_shapes(left, right)


def test_shapes_that_differ_do_not_broadcast() -> None:
    with pytest.raises(ValueError, match="do not broadcast"):
        shapes.broadcast_shapes((2, 3), (4, 3))
    n = shapes.symbol("n", 5, 9)
    assert shapes.broadcast_shapes((n,), (1,)) == (n,)
    with pytest.raises(ValueError, match="do not broadcast"):
        shapes.broadcast_shapes((n,), (4,))


@pytest.mark.parametrize("factor", [0.3, 0.7, 1.1, 2 / 3, 1.5, 0.25, 2.0])
def test_sizes_scaled_by_real_factors_round_as_float64_does(factor: float) -> None:
    size = shapes.symbol("n")
    scaled = shapes.scaled(size, factor)
    assert scaled == shapes.scaled(size, factor)
    for n in (*range(200), 12345, 1 << 30, (1 << 40) + 7):
        assert shapes.evaluate(scaled, {"n": n}) == math.floor(n * factor)
        assert shapes.substitute(scaled, {shapes.Symbol("n"): n}) == math.floor(n * factor)
    low, high = shapes.bounds(shapes.scaled(shapes.symbol("n", 10, 90), factor))
    assert (low, high) == (math.floor(10 * factor), math.floor(90 * factor))
