"""Python's own operators on symbolic numbers: `_operator.*`, `math.*`, `torch.sym_*`.

Integers stay expressions of the shape algebra wherever it has the function; what has real numbers
in it is computed in the graph on 0-d values.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import SymExpr
from ..ops.base import Builder, OperatorError, WeakScalar
from ..records import dataclass
from .arguments import Condition, ScalarBinding, as_value
from .real_trees import UnknownExpressionError
from .symbols import integer_function


@dataclass(frozen=True, slots=True)
class SymbolicOperator:
    """One of Python's operators: on numbers, its name in srepr for integers, and how it is built on
    values."""

    python: Callable[..., Any]
    integer: str
    build: Callable[..., Value]
    result: str = "same"
    """"same", "bool", "int" or "float"."""
    bitwise: str = ""
    """The operation on values where an operand is an integer, of operators that mean another on bools."""


def _primitive(name: str) -> Callable[..., Value]:
    return lambda b, *args: b.apply(name, *args)


def _floordiv(b: Builder, left: Value, right: Value) -> Value:
    if left.dtype.is_integer:
        quotient: Value = b.call("aten.floor_divide.default", left, right)
        return quotient
    return b.apply("floor", b.apply("div", left, right))


def _modulo(b: Builder, left: Value, right: Value) -> Value:
    remainder: Value = b.call("aten.remainder.Tensor", left, right)
    return remainder


def _rounded(name: str) -> Callable[..., Value]:
    def build(b: Builder, x: Value) -> Value:
        return x if x.dtype.is_integer else b.apply(name, x)

    return build


def _ite(b: Builder, condition: Value, then: Value, otherwise: Value) -> Value:
    return b.where(b.cast(condition, DType.BOOL), then, otherwise)


def _select(condition: Any, then: Any, otherwise: Any) -> Any:
    return then if condition else otherwise


_SHIFT_LEFT = _primitive("bitwise_left_shift")
_SHIFT_RIGHT = _primitive("bitwise_right_shift")
_OPERATORS: Mapping[str, SymbolicOperator] = {
    "_operator.add": SymbolicOperator(operator.add, "Add", _primitive("add")),
    "_operator.sub": SymbolicOperator(operator.sub, "Sub", _primitive("sub")),
    "_operator.mul": SymbolicOperator(operator.mul, "Mul", _primitive("mul")),
    "_operator.neg": SymbolicOperator(operator.neg, "Neg", _primitive("neg")),
    "_operator.pos": SymbolicOperator(operator.pos, "Identity", lambda b, x: x),
    "_operator.abs": SymbolicOperator(abs, "Abs", _primitive("abs")),
    "_operator.floordiv": SymbolicOperator(operator.floordiv, "FloorDiv", _floordiv),
    "_operator.truediv": SymbolicOperator(operator.truediv, "", _primitive("div"), "float"),
    "_operator.mod": SymbolicOperator(operator.mod, "PythonMod", _modulo),
    "_operator.pow": SymbolicOperator(operator.pow, "Pow", _primitive("pow")),
    "_operator.lshift": SymbolicOperator(operator.lshift, "LShift", _SHIFT_LEFT),
    "_operator.rshift": SymbolicOperator(operator.rshift, "RShift", _SHIFT_RIGHT),
    "_operator.eq": SymbolicOperator(operator.eq, "Eq", _primitive("eq"), "bool"),
    "_operator.ne": SymbolicOperator(operator.ne, "Ne", _primitive("ne"), "bool"),
    "_operator.lt": SymbolicOperator(operator.lt, "StrictLessThan", _primitive("lt"), "bool"),
    "_operator.le": SymbolicOperator(operator.le, "LessThan", _primitive("le"), "bool"),
    "_operator.gt": SymbolicOperator(operator.gt, "StrictGreaterThan", _primitive("gt"), "bool"),
    "_operator.ge": SymbolicOperator(operator.ge, "GreaterThan", _primitive("ge"), "bool"),
    "_operator.and_": SymbolicOperator(operator.and_, "And", _primitive("logical_and"), "bool", "bitwise_and"),
    "_operator.or_": SymbolicOperator(operator.or_, "Or", _primitive("logical_or"), "bool", "bitwise_or"),
    "_operator.xor": SymbolicOperator(operator.xor, "Ne", _primitive("logical_xor"), "bool", "bitwise_xor"),
    "_operator.not_": SymbolicOperator(operator.not_, "Not", _primitive("logical_not"), "bool"),
    "torch.sym_not": SymbolicOperator(operator.not_, "Not", _primitive("logical_not"), "bool"),
    "torch.sym_max": SymbolicOperator(max, "Max", _primitive("maximum")),
    "torch.sym_min": SymbolicOperator(min, "Min", _primitive("minimum")),
    "torch.sym_ite": SymbolicOperator(_select, "Where", _ite),
    "torch.sym_int": SymbolicOperator(int, "Identity", _rounded("trunc"), "int"),
    "torch.sym_float": SymbolicOperator(float, "", lambda b, x: x, "float"),
    "torch.sym_sqrt": SymbolicOperator(math.sqrt, "", _primitive("sqrt"), "float"),
    "torch._sym_sqrt": SymbolicOperator(math.sqrt, "", _primitive("sqrt"), "float"),
    "math.trunc": SymbolicOperator(math.trunc, "Identity", _rounded("trunc"), "int"),
    "math.floor": SymbolicOperator(math.floor, "Identity", _rounded("floor"), "int"),
    "math.ceil": SymbolicOperator(math.ceil, "Identity", _rounded("ceil"), "int"),
    "builtins.round": SymbolicOperator(round, "Identity", _rounded("round"), "int"),
    "_operator.round": SymbolicOperator(round, "Identity", _rounded("round"), "int"),
    "math.pow": SymbolicOperator(math.pow, "", _primitive("pow"), "float"),
    "math.sqrt": SymbolicOperator(math.sqrt, "", _primitive("sqrt"), "float"),
    "math.exp": SymbolicOperator(math.exp, "", _primitive("exp"), "float"),
    "math.log": SymbolicOperator(math.log, "", _primitive("log"), "float"),
    "math.log2": SymbolicOperator(math.log2, "", _primitive("log2"), "float"),
    "math.sin": SymbolicOperator(math.sin, "", _primitive("sin"), "float"),
    "math.cos": SymbolicOperator(math.cos, "", _primitive("cos"), "float"),
    "math.tan": SymbolicOperator(math.tan, "", _primitive("tan"), "float"),
    "math.tanh": SymbolicOperator(math.tanh, "", _primitive("tanh"), "float"),
}  # fmt: skip


def find_symbolic_operator(target: str) -> SymbolicOperator | None:
    """The operator behind a target, `_operator.iadd` and `torch._sym_log` included."""
    found = _OPERATORS.get(target)
    if found is not None:
        return found
    if target.startswith("_operator.i"):
        return _OPERATORS.get(f"_operator.{target[len('_operator.i') :]}")
    if target.startswith("torch._sym_"):
        return _OPERATORS.get(f"math.{target[len('torch._sym_') :]}")
    return None


def apply_symbolic(
    symbolic: SymbolicOperator, args: Sequence[ScalarBinding], b: Builder
) -> ScalarBinding:
    """The result for these operands."""
    if all(isinstance(arg, (bool, int, float)) for arg in args):
        result: ScalarBinding = symbolic.python(*args)
        return result
    if symbolic.bitwise and any(_is_integer(arg) for arg in args):
        symbolic = SymbolicOperator(symbolic.python, "", _primitive(symbolic.bitwise))
    if symbolic.integer and all(isinstance(arg, (int, SymExpr, Condition)) for arg in args):
        integers = [arg.expression if isinstance(arg, Condition) else arg for arg in args]
        try:
            return _wrapped(symbolic, _integer(symbolic.integer, integers), args)
        except UnknownExpressionError:
            pass
    return _on_values(symbolic, args, b)


def _is_integer(arg: ScalarBinding) -> bool:
    return isinstance(arg, SymExpr) or (isinstance(arg, int) and not isinstance(arg, bool))


def _wrapped(
    symbolic: SymbolicOperator, value: int | SymExpr, args: Sequence[ScalarBinding]
) -> ScalarBinding:
    keeps_bool = symbolic.integer == "Where" and isinstance(args[1], (bool, Condition))
    if symbolic.result != "bool" and not keeps_bool:
        return value
    return bool(value) if isinstance(value, int) else Condition(value)


def _integer(name: str, args: list[Any]) -> int | SymExpr:
    from ..ir import shapes

    match name:
        case "Add":
            return args[0] + args[1]  # type: ignore[no-any-return]
        case "Sub":
            return args[0] - args[1]  # type: ignore[no-any-return]
        case "Mul":
            return args[0] * args[1]  # type: ignore[no-any-return]
        case "Neg":
            return -args[0]  # type: ignore[no-any-return]
        case "Identity":
            return args[0]  # type: ignore[no-any-return]
        case "FloorDiv" if args[1] != 0:
            return shapes.floordiv(args[0], args[1])
    return integer_function(name, args)


def _on_values(
    symbolic: SymbolicOperator, args: Sequence[ScalarBinding], b: Builder
) -> ScalarBinding:
    values = [as_value(arg, b) for arg in args]
    operands = values[1:] if symbolic.integer == "Where" else values
    is_logical = symbolic.result == "bool" and all(v.dtype is DType.BOOL for v in operands)
    if not is_logical:
        is_real = symbolic.result == "float" or any(v.dtype.is_float for v in operands)
        common = DType.FLOAT64 if is_real else DType.INT64
        operands = [b.cast(v, common) for v in operands]
    if symbolic.integer == "Where":
        operands = [values[0], *operands]
    result = symbolic.build(b, *operands)
    if symbolic.result == "int" or (symbolic.result == "same" and result.dtype.is_integer):
        from ..ir.shapes import INFINITY

        return b.read_symbol(b.cast(result, DType.INT64), -INFINITY, INFINITY)
    if result.rank:
        raise OperatorError(f"{result} where a number is expected")
    return WeakScalar(result)
