"""Symbolic integers of an exported program as `Dim`s: expressions, ranges, and how inputs decide
them.

    Add(FloorDiv(Symbol('s0'), Integer(2)), Integer(1))   ->   s0//2 + 1

Real-valued expressions inside integer ones (`TruncToInt(Mul(Float('1.5'), ToFloat(Symbol('s0'))))`,
the size of an interpolation) are fractions of integers where no step of them rounds, known to the
shape algebra: `(3*s0)//2`. Others are formulas in float64, worked out as they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..exported.schema import RangeConstraint, SymExpr
from ..exported.symbols import Call, ExprTree, GuardInput, GuardSize, Num, Sym, parse_expression
from ..ir import shapes
from ..ir.graph import Binding
from ..ir.reals import Formula, Operand, Real
from ..ir.shapes import Dim, Symbol
from ..records import dataclass
from .real_trees import (
    MAX_DENOMINATOR,
    QUOTIENTS,
    RELATIONS,
    ROUNDINGS,
    UnknownExpressionError,
    is_exact,
    is_real,
    is_short,
    step,
    step_count,
)  # fmt: skip

_MAX_STEPS = 128
"""Of one formula in real numbers."""


class NoSizeError(UnknownExpressionError):
    """An expression is about an input that is neither a tensor nor an integer."""


@dataclass(frozen=True, slots=True)
class Fraction:
    """A real number as a quotient of integers."""

    numerator: Dim
    denominator: int = 1


class SymbolTable:
    """The symbols of one program; what is learned about them is shared by all its subgraphs.

    A symbol is known once an input or a `ReadSymbol` defines it; `define` may give it any
    expression.
    """

    def __init__(self, ranges: Mapping[str, RangeConstraint]) -> None:
        self._ranges = ranges
        self._values: dict[str, Dim] = {}
        self._trees: dict[str, ExprTree] = {}
        self.guard_inputs: Mapping[tuple[str | int, ...], tuple[Dim, ...] | Dim | None] = {}
        """What guards may name: sizes of input tensors and values of input integers, by path."""

    def define(self, name: str, value: Dim) -> None:
        """From here on, symbol `name` of the file is `value`."""
        self._values[name] = value

    def forget(self, name: str) -> None:
        """Take a definition back."""
        del self._values[name]

    def knows(self, name: str) -> bool:
        """Whether a symbol of the file has been defined."""
        return name in self._values

    def is_measured(self, size: Dim) -> bool:
        """Whether a size depends on one that only the run decides and the file has a symbol for."""
        found = shapes.symbols_in(size)
        return any(
            name.startswith(("u", "zu")) and found & shapes.symbols_in(value)
            for name, value in self._values.items()
        )

    def bounds(self, name: str) -> tuple[int, int]:
        """Inclusive bounds of a symbol.

        Exporters record a minimum of 2 for sizes they have only seen above 1, without meaning it.
        """
        constraint = self._ranges.get(name)
        is_backed = not name.startswith(("u", "zu"))
        low = None if constraint is None else constraint.min_val
        high = None if constraint is None else constraint.max_val
        if is_backed and low is not None and 0 <= low <= 2:
            low = 0
        return (
            -shapes.INFINITY if low is None else max(low, -shapes.INFINITY),
            shapes.INFINITY if high is None else min(high, shapes.INFINITY),
        )

    def tree(self, text: str) -> ExprTree:
        """The parsed expression; every text is parsed once."""
        tree = self._trees.get(text)
        if tree is None:
            tree = self._trees[text] = parse_expression(text)
        return tree

    def dim(self, size: int | SymExpr) -> Dim:
        """A size of the file; `UnknownExpressionError` where it mentions what is not known
        (yet)."""
        if isinstance(size, int):
            return size
        return self.integer(self.tree(size.expr_str))

    def known_dim(self, size: int | SymExpr) -> Dim | None:
        """A size of the file, or None where it mentions what is not known."""
        try:
            return self.dim(size)
        except UnknownExpressionError:
            return None

    def shape(self, sizes: Iterable[int | SymExpr]) -> tuple[Dim | None, ...]:
        """Sizes of the file, None for those that are not known."""
        return tuple(self.known_dim(size) for size in sizes)

    def single_symbol(self, size: int | SymExpr) -> str | None:
        """The name of the symbol that a size consists of alone."""
        if isinstance(size, int):
            return None
        tree = self.tree(size.expr_str)
        return tree.name if isinstance(tree, Sym) else None

    def unknown_symbols(self, size: int | SymExpr) -> set[str]:
        """Names of the symbols in a size that are not defined yet."""
        if isinstance(size, int):
            return set()
        return {name for name in _names(self.tree(size.expr_str)) if name not in self._values}

    # ---- expressions

    def integer(self, tree: ExprTree) -> Dim:
        """An expression with an integer value; relations give 1 or 0."""
        value = self._fraction(tree)
        if value.denominator != 1:
            raise UnknownExpressionError(f"{tree} is no integer")
        return value.numerator

    def _input_value(self, path: tuple[str | int, ...]) -> Dim:
        value = self.guard_inputs.get(path)
        if value is None or isinstance(value, tuple):
            raise NoSizeError(f"input {path}")
        return value

    def _input_size(self, path: tuple[str | int, ...], axis: int) -> Dim:
        sizes = self.guard_inputs.get(path)
        if not isinstance(sizes, tuple) or not -len(sizes) <= axis < len(sizes):
            raise NoSizeError(f"size {axis} of input {path}")
        return sizes[axis]

    def _fraction(self, tree: ExprTree) -> Fraction:
        match tree:
            case Num(value):
                return _exact(value)
            case Sym(name):
                if name not in self._values:
                    raise UnknownExpressionError(f"symbol {name} is not known")
                return Fraction(self._values[name])
            case GuardInput(path):
                return Fraction(self._input_value(path))
            case GuardSize(path, axis):
                return Fraction(self._input_size(path, axis))
            case Call("Add", args):
                total = Fraction(0)
                for arg in args:
                    total = _add(total, self._fraction(arg))
                return total
            case Call("Mul", args):
                product = Fraction(1)
                for arg in args:
                    factor = self._fraction(arg)
                    product = _reduced(
                        product.numerator * factor.numerator,
                        product.denominator * factor.denominator,
                    )
                return product
            case Call(function, args):
                return self._function(function, args)
        raise UnknownExpressionError(str(tree))

    def _function(self, function: str, args: tuple[ExprTree, ...]) -> Fraction:
        if function in ("ToFloat", "Identity") and len(args) == 1:
            return self._fraction(args[0])
        if function in ROUNDINGS and len(args) == 1:
            return Fraction(self._rounding(ROUNDINGS[function], args[0]))
        if function == "Ne":
            return Fraction(1 - self.integer(Call("Eq", args)))
        if function in RELATIONS and len(args) == 2 and any(map(is_real, args)):
            relation, is_in_order = RELATIONS[function]
            return Fraction(self._real(relation, args if is_in_order else args[::-1]))
        if function in QUOTIENTS and len(args) == 2:
            quotient = self._quotient(args)
            if quotient.denominator & (quotient.denominator - 1):
                raise UnknownExpressionError(f"{function} by {args[1]} rounds")
            return quotient
        if function in ("FloorDiv", "CleanDiv", "CeilDiv") and len(args) == 2:
            left, right = (self._fraction(arg) for arg in args)
            numerator = left.numerator * right.denominator
            denominator = left.denominator * right.numerator
            if denominator == 0:
                raise UnknownExpressionError("division by zero")
            divide = shapes.ceildiv if function == "CeilDiv" else shapes.floordiv
            return Fraction(divide(numerator, denominator))
        integers = [self.integer(arg) for arg in args]
        return Fraction(integer_function(function, integers))

    # ---- real numbers

    def _quotient(self, args: tuple[ExprTree, ...]) -> Fraction:
        left, right = (self._fraction(arg) for arg in args)
        if not isinstance(right.numerator, int) or right.numerator <= 0:
            raise UnknownExpressionError(f"division by {args[1]}")
        return _reduced(left.numerator * right.denominator, left.denominator * right.numerator)

    def _rounding(self, rounding: str, tree: ExprTree) -> Dim:
        """A number without its fraction: as a quotient of integers where float64 gives the same, as for
        one quotient of numbers that are exact, else as a formula."""
        if is_exact(tree):
            return _rounded(rounding, self._fraction(tree))
        match tree:
            case Call(function, (left, Num(divisor))) if (
                function in QUOTIENTS and divisor > 0 and is_exact(left) and is_short(divisor)
            ):
                return _rounded(rounding, self._quotient((left, Num(divisor))))
        return self._real(rounding, (tree,))

    def _real(self, name: str, args: tuple[ExprTree, ...]) -> Dim:
        """A rounding or relation of numbers in float64."""
        if sum(map(step_count, args)) > _MAX_STEPS:
            raise UnknownExpressionError(f"more than {_MAX_STEPS} steps in real numbers")
        operands: list[Dim] = []
        formula = Real(name, tuple(self._formula(arg, operands) for arg in args))
        return shapes.real(formula, operands)

    def _formula(self, tree: ExprTree, operands: list[Dim]) -> Formula:
        """A number in float64, step by step as the file has it; its integers are added to `operands`."""
        match tree:
            case Num(value):
                try:
                    return float(value)
                except OverflowError:
                    raise UnknownExpressionError("a number that is no float64") from None
            case Call("ToFloat" | "Identity", (inner,)):
                return self._formula(inner, operands)
            case Call(function, args) if function != "TruncToFloat" and is_real(tree):
                sides = [self._formula(arg, operands) for arg in args]
                return step(function, sides)
        integer = self.integer(tree)
        if isinstance(integer, int):
            return self._formula(Num(integer), operands)
        if integer not in operands:
            operands.append(integer)
        return Operand(operands.index(integer))


def integer_function(function: str, args: list[Dim]) -> Dim:
    """A function of srepr applied to integers; relations give 1 or 0."""
    match function, args:
        case "Max", [first, *rest]:
            for arg in rest:
                first = shapes.maximum(first, arg)
            return first
        case "Min", [first, *rest]:
            for arg in rest:
                first = shapes.minimum(first, arg)
            return first
        case "Mod" | "PythonMod", [left, right] if right != 0:
            return shapes.mod(left, right)
        case "ModularIndexing", [base, divisor, modulus] if divisor != 0 and modulus != 0:
            return shapes.mod(shapes.floordiv(base, divisor), modulus)
        case "Pow" | "PowByNatural", [base, int(exponent)] if 0 <= exponent <= 64:
            result: Dim = 1
            for _ in range(exponent):
                result = result * base
            return result
        case "LShift", [base, int(bits)] if 0 <= bits < 63:
            return base * (1 << bits)
        case "RShift", [base, int(bits)] if 0 <= bits < 63:
            return shapes.floordiv(base, 1 << bits)
        case "Abs", [value]:
            return shapes.maximum(value, -value)
        case "Eq", [left, right]:
            return shapes.equal(left, right)
        case "Ne", [left, right]:
            return 1 - shapes.equal(left, right)
        case "StrictLessThan", [left, right]:
            return shapes.less(left, right)
        case "StrictGreaterThan", [left, right]:
            return shapes.less(right, left)
        case "LessThan", [left, right]:
            return 1 - shapes.less(right, left)
        case "GreaterThan", [left, right]:
            return 1 - shapes.less(left, right)
        case "Not", [value]:
            return shapes.equal(value, 0)
        case "And", [*values]:
            result = 1
            for value in values:
                result = result * value
            return result
        case "Or", [*values]:
            total: Dim = 0
            for value in values:
                total = total + value
            return shapes.less(0, total)
        case "Where", [condition, then, otherwise]:
            return otherwise + condition * (then - otherwise)
    raise UnknownExpressionError(f"{function} of {len(args)} integers")


def _exact(value: int | float) -> Fraction:
    if isinstance(value, float):
        if not is_short(value):
            raise UnknownExpressionError(f"{value} is no short fraction")
        return Fraction(*value.as_integer_ratio())
    return Fraction(int(value))


def _add(left: Fraction, right: Fraction) -> Fraction:
    numerator = left.numerator * right.denominator + right.numerator * left.denominator
    return _reduced(numerator, left.denominator * right.denominator)


def _reduced(numerator: Dim, denominator: int) -> Fraction:
    quotient, rest = shapes.split_multiple(numerator, denominator)
    if isinstance(numerator, int):
        quotient, rest = divmod(numerator, denominator)
    if rest == 0:
        return Fraction(quotient)
    if denominator > MAX_DENOMINATOR:
        raise UnknownExpressionError(f"a fraction of {denominator}")
    return Fraction(numerator, denominator)


def _rounded(rounding: str, value: Fraction) -> Dim:
    numerator, denominator = value.numerator, value.denominator
    if denominator == 1:
        return numerator
    if rounding == "trunc":
        if shapes.is_nonnegative(numerator):
            rounding = "floor"
        elif shapes.upper_bound(numerator) <= 0:
            rounding = "ceil"
    if rounding == "floor":
        return shapes.floordiv(numerator, denominator)
    if rounding == "ceil":
        return shapes.ceildiv(numerator, denominator)
    quotient = Real("div", (Operand(0), float(denominator)))
    return shapes.real(Real(rounding, (quotient,)), (numerator,))


def _names(tree: ExprTree) -> set[str]:
    match tree:
        case Sym(name):
            return {name}
        case Call(_, args):
            return set().union(*(_names(arg) for arg in args))
    return set()


# ------------------------------------------------------------------------------ reading the inputs


@dataclass(frozen=True, slots=True)
class InputSize:
    """One integer that a call supplies: size `axis` of a graph input, or the input itself (axis
    None)."""

    input_index: int
    axis: int | None
    size: SymExpr


def symbol_name(name: str) -> str:
    """What a symbol of the file is called from here on: its own name where it is one the exporter makes.

    Symbols keep their names in generated C; any other name might be one that C, or a kernel, uses itself.
    """
    if _EXPORTED_NAME.fullmatch(name):
        return name
    return "s_" + re.sub(r"[^A-Za-z0-9_]", lambda found: f"_{ord(found[0]):x}_", name)


_EXPORTED_NAME = re.compile(r"(s|u|zuf|zf)[0-9]+")


def bind_symbols(
    table: SymbolTable, supplied: Iterable[InputSize], unguarded: Iterable[int | SymExpr] = ()
) -> tuple[Binding, ...]:
    """Define every symbol that the inputs determine, and say how.

    Symbols that stand alone come first. One that only occurs in an expression linear in it, as
    `2*s0 + 1`, is expressed by the size that is there: `s0 = (size - 1)//2`.

    Exporters record 0 to infinity for integers too, and take negative ones; a program that needs one of at least 0
    has a guard that says so. Integers that `unguarded` sizes depend on, which no guard keeps from being negative, are
    at least 0.
    """
    waiting = list(supplied)
    bindings: list[Binding] = []
    given = (entry.size for entry in waiting if entry.axis is not None)
    sizes = {name for size in (*given, *unguarded) for name in table.unknown_symbols(size)}
    for entry in waiting:
        name = table.single_symbol(entry.size)
        if name is not None and not table.knows(name):
            low, high = table.bounds(name)
            if name not in sizes and (low, high) == (0, shapes.INFINITY):
                low = -high
            symbol = Symbol(symbol_name(name), low, high)
            table.define(name, shapes.of_atom(symbol))
            bindings.append(Binding(symbol, entry.input_index, entry.axis))
    for _ in range(len(waiting)):
        for entry in waiting:
            unknown = table.unknown_symbols(entry.size)
            if len(unknown) == 1:
                (name,) = unknown
                binding = _solve(table, name, entry)
                if binding is not None:
                    bindings.append(binding)
    return tuple(bindings)


def _solve(table: SymbolTable, name: str, entry: InputSize) -> Binding | None:
    """Define `name` from a size that is linear in it; None where it is not."""
    atom = Symbol(name, *table.bounds(name))
    table.define(name, shapes.of_atom(atom))
    expression = table.known_dim(entry.size)
    table.forget(name)
    if expression is None or isinstance(expression, int):
        return None
    factor, rest = shapes.split_multiple(expression, shapes.of_atom(atom))
    if not isinstance(factor, int) or factor == 0 or atom in shapes.symbols_in(rest):
        return None
    low, high = shapes.bounds(expression)
    size = Symbol(f"{symbol_name(name)}_size", low, high)
    scaled = shapes.of_atom(size) - rest
    table.define(name, shapes.floordiv(scaled if factor > 0 else -scaled, abs(factor)))
    return Binding(size, entry.input_index, entry.axis)
