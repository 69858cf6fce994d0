"""The value of a symbolic expression for given sizes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import reduce

from .symbols import Call, ExprTree, Num, Sym

Number = int | float

_OPAQUE = "OpaqueUnaryFn_"


_FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "Add": lambda *terms: sum(terms),
    "Mul": lambda *factors: reduce(operator.mul, factors, 1),
    "Pow": operator.pow,
    "PowByNatural": operator.pow,
    "FloatPow": operator.pow,
    "FloorDiv": operator.floordiv,
    "CleanDiv": operator.floordiv,
    "CeilDiv": lambda left, right: -(-left // right),
    "Mod": operator.mod,
    "PythonMod": operator.mod,
    "IntTrueDiv": operator.truediv,
    "FloatTrueDiv": operator.truediv,
    "Max": max,
    "Min": min,
    "Abs": abs,
    "ToFloat": float,
    "TruncToInt": math.trunc,
    "TruncToFloat": lambda x: float(math.trunc(x)),
    "CeilToInt": math.ceil,
    "FloorToInt": math.floor,
    "RoundToInt": round,
    "Identity": lambda x: x,
    "Where": lambda test, then, otherwise: then if test else otherwise,
    "Eq": operator.eq,
    "Ne": operator.ne,
    "LessThan": operator.le,
    "GreaterThan": operator.ge,
    "StrictLessThan": operator.lt,
    "StrictGreaterThan": operator.gt,
    "And": lambda *terms: all(terms),
    "Or": lambda *terms: any(terms),
    "Not": operator.not_,
}
_UNARY: Mapping[str, Callable[[Number], Number]] = {
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
}
_LARGEST_POWER = 64


def value_of(tree: ExprTree, value_of_symbol: Callable[[str], int]) -> Number:
    """The value of an expression; what has none raises `ValueError` or `ArithmeticError`."""
    match tree:
        case Num(value):
            return value
        case Sym(name):
            return value_of_symbol(name)
        case Call(name, args):
            values = [value_of(argument, value_of_symbol) for argument in args]
            return _call(name, values)
        case _:
            raise ValueError(f"no value for {tree}")


def _call(name: str, values: list[Number]) -> Number:
    if "Pow" in name and any(abs(value) > _LARGEST_POWER for value in values[1:]):
        raise ValueError("a power that could be of any length")
    if name.startswith(_OPAQUE):
        function = _UNARY.get(name.removeprefix(_OPAQUE))
    else:
        function = _FUNCTIONS.get(name)
    if function is None:
        raise ValueError(f"no value for the function {name}")
    try:
        value: Number = function(*values)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None
    return value
