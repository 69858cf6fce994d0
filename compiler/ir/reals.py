"""Integers that come of real numbers: formulas in float64 over integers, rounded or compared in the end.

    trunc(0.7 * n + 1.0)   ->   Real("trunc", (Real("add", (Real("mul", (0.7, Operand(0))), 1.0)),))

Which integer that is depends on how every step is rounded: 10 * 0.7 is 7.0, 90 * 0.7 is 62.99999999999999.
So formulas are never rearranged; they are worked out as they are written, here and in C.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence

from ..records import dataclass

LARGEST = 1 << 62
"""What is larger or infinite becomes this, what is no number the negative of it: no size is either."""


@dataclass(frozen=True, slots=True)
class Operand:
    """An integer that the formula is given, by position, as float64."""

    position: int


@dataclass(frozen=True, slots=True)
class Real:
    """An operation on real numbers; the outermost one of a formula gives an integer."""

    name: str
    args: tuple[Formula, ...]

    def __str__(self) -> str:
        return text_of(self, "{}".format)


Formula = Real | Operand | float

_SIGNS = {"add": "+", "mul": "*", "div": "/", "pow": "**", "eq": "==", "lt": "<", "le": "<="}


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    return math.nan if not left or math.isnan(left) else math.copysign(math.inf, left)


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf if base > 0 or exponent % 2 == 0 else -math.inf
    except ValueError:
        return math.inf if base == 0 else math.nan


_STEPS: Mapping[str, Callable[..., float]] = {
    "add": operator.add,
    "mul": operator.mul,
    "div": _divide,
    "pow": _power,
    "sqrt": lambda x: math.sqrt(x) if x >= 0 else math.nan,
    "abs": abs,
    "max": lambda a, b: a if a >= b else b,
    "min": lambda a, b: a if a <= b else b,
}
ROUNDINGS: Mapping[str, Callable[[float], int]] = {
    "trunc": math.trunc,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
}
RELATIONS: Mapping[str, Callable[[float, float], bool]] = {
    "eq": operator.eq,
    "lt": operator.lt,
    "le": operator.le,
}


def _value(formula: Formula, operands: Sequence[float]) -> float:
    match formula:
        case Real(name, args):
            return _STEPS[name](*(_value(arg, operands) for arg in args))
        case Operand(position):
            return operands[position]
        case _:
            return formula


def _rounded(name: str, value: float) -> int:
    if math.isnan(value):
        return -LARGEST
    if abs(value) >= LARGEST:
        return LARGEST if value > 0 else -LARGEST
    return ROUNDINGS[name](value)


def evaluate(formula: Real, operands: Sequence[int]) -> int:
    """The integer a formula gives for these integers."""
    given = [float(operand) for operand in operands]
    values = [_value(arg, given) for arg in formula.args]
    if formula.name in RELATIONS:
        return int(RELATIONS[formula.name](*values))
    return _rounded(formula.name, values[0])


def text_of(formula: Formula, operand: Callable[[Operand], str]) -> str:
    """A formula as it is read by people."""
    match formula:
        case Real(name, (left, right)) if name in _SIGNS:
            return f"({text_of(left, operand)} {_SIGNS[name]} {text_of(right, operand)})"
        case Real(name, args):
            return f"{name}({', '.join(text_of(arg, operand) for arg in args)})"
        case Operand():
            return operand(formula)
        case _:
            return repr(formula)


# ---------------------------------------------------------------------------------------- bounds

Interval = tuple[float, float]
_ANY: Interval = (-math.inf, math.inf)


def bounds(formula: Real, operands: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Inclusive bounds of a formula for integers within bounds; rounding keeps the order of numbers."""
    if formula.name in RELATIONS:
        return 0, 1
    given = [
        (
            -math.inf if low <= -LARGEST else float(low),
            math.inf if high >= LARGEST else float(high),
        )
        for low, high in operands
    ]
    low, high = _interval(formula.args[0], given)
    return _rounded(formula.name, low), _rounded(formula.name, high)


def _interval(formula: Formula, operands: Sequence[Interval]) -> Interval:
    match formula:
        case Operand(position):
            return operands[position]
        case Real(name, args):
            found = _step_interval(name, [_interval(arg, operands) for arg in args])
            return _ANY if any(map(math.isnan, found)) else found
        case _:
            return formula, formula


def _step_interval(name: str, sides: Sequence[Interval]) -> Interval:
    step = _STEPS[name]
    (low, high), *others = sides
    match name:
        case "add" | "max" | "min":
            ((other_low, other_high),) = others
            return step(low, other_low), step(high, other_high)
        case "sqrt" if low >= 0:
            return step(low), step(high)
        case "abs":
            return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))
        case "pow" if low >= 0 and others[0][0] == others[0][1]:
            ends = step(low, others[0][0]), step(high, others[0][0])
            return min(ends), max(ends)
        case "mul" | "div" if name == "mul" or not others[0][0] <= 0 <= others[0][1]:
            corners = [step(x, y) for x in (low, high) for y in others[0]]
            # Infinite bounds stand for finite numbers: none of them times 0 is 0.
            corners = [0.0 if math.isnan(corner) else corner for corner in corners]
            return min(corners), max(corners)
    return _ANY


__all__ = [
    "LARGEST", "RELATIONS", "ROUNDINGS", "Formula", "Operand", "Real", "bounds", "evaluate", "text_of",
]  # fmt: skip
