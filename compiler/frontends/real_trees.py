"""What of the file's expressions is real: which steps round in float64, and the formulas they are."""

from __future__ import annotations

from ..exported.symbols import Call, ExprTree, Num
from ..ir import shapes
from ..ir.reals import Formula, Real

MAX_DENOMINATOR = 1 << 20
ROUNDINGS = {
    "TruncToInt": "trunc", "FloorToInt": "floor", "CeilToInt": "ceil", "RoundToInt": "round",
    "TruncToFloat": "trunc", "floor": "floor", "ceiling": "ceil",
}  # fmt: skip
QUOTIENTS = ("IntTrueDiv", "FloatTrueDiv", "TrueDiv")
_ALWAYS_REAL = ("ToFloat", "TruncToFloat", "FloatPow", *QUOTIENTS)
_REAL_IF_ARGS_ARE = ("Add", "Mul", "Pow", "Max", "Min", "Abs", "Identity")
_STEPS = {"Add": "add", "Mul": "mul", "Max": "max", "Min": "min"}
_POWERS = ("Pow", "FloatPow")
# How a relation is told by "eq", "lt" or "le": which one, and whether of the sides in their order.
RELATIONS = {
    "Eq": ("eq", True),
    "StrictLessThan": ("lt", True),
    "StrictGreaterThan": ("lt", False),
    "LessThan": ("le", True),
    "GreaterThan": ("le", False),
}


class UnknownExpressionError(Exception):
    """An expression has no `Dim`: it mentions unknown symbols or functions of real numbers."""


def step_count(tree: ExprTree) -> int:
    """How many functions and numbers an expression has."""
    return 1 + sum(map(step_count, tree.args)) if isinstance(tree, Call) else 1


def step(function: str, sides: list[Formula]) -> Formula:
    """A function of srepr applied to real numbers."""
    match sides:
        case [only] if function in ("Abs", "OpaqueUnaryFn_sqrt"):
            return Real("abs" if function == "Abs" else "sqrt", (only,))
        case [left, right] if function in QUOTIENTS:
            return Real("div", (left, right))
        case [left, right] if function in _POWERS:
            return Real("pow", (left, right))
        case [first, *others] if function in _STEPS:
            for other in others:
                first = Real(_STEPS[function], (first, other))
            return first
    raise UnknownExpressionError(f"{function} of {len(sides)} real numbers")


def is_real(tree: ExprTree) -> bool:
    """Whether Python would work an expression out as a float."""
    match tree:
        case Num(value):
            return isinstance(value, float)
        case Call(function, args):
            if function in _REAL_IF_ARGS_ARE:
                return any(map(is_real, args))
            return function in _ALWAYS_REAL or function.startswith("OpaqueUnaryFn_")
    return False


def is_exact(tree: ExprTree) -> bool:
    """Whether no step of an expression rounds in float64, for sizes as long as there are."""
    match tree:
        case Num(float(value)):
            return is_short(value)
        case Call("Add" | "Mul" | "ToFloat" | "Identity", args):
            return all(map(is_exact, args))
        case Call(function, (left, Num(value))) if function in QUOTIENTS:
            return is_exact(left) and value > 0 and is_short(value) and is_short(1 / value)
        case Call("TruncToFloat"):
            return True
    return not is_real(tree)


def is_short(value: float) -> bool:
    """Whether a number is a fraction with few digits, in binary."""
    if not -shapes.INFINITY < value < shapes.INFINITY:
        return False
    numerator, denominator = value.as_integer_ratio()
    return denominator <= MAX_DENOMINATOR and abs(numerator) < 1 << 40
