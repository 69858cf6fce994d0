"""Symbolic integers of an exported program as `Dim`s: expressions, ranges, and how inputs decide
them.

    Add(FloorDiv(Symbol('s0'), Integer(2)), Integer(1))   ->   s0//2 + 1

Real-valued expressions inside integer ones (`TruncToInt(Mul(Float('1.5'), ToFloat(Symbol('s0'))))`,
the size of an interpolation) are kept as a fraction of integers, so that they stay exact and known
to the shape algebra: `(3*s0)//2`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from ..exported.schema import RangeConstraint, SymExpr
from ..exported.symbols import Call, ExprTree, GuardInput, GuardSize, Num, Sym, parse_expression
from ..ir import shapes
from ..ir.graph import Binding
from ..ir.shapes import Dim, Symbol
from ..records import dataclass

_MAX_DENOMINATOR = 1 << 20


class UnknownExpressionError(Exception):
    """An expression has no `Dim`: it mentions unknown symbols or functions of real numbers."""


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
            raise UnknownExpressionError(f"input {path}")
        return value

    def _input_size(self, path: tuple[str | int, ...], axis: int) -> Dim:
        sizes = self.guard_inputs.get(path)
        if not isinstance(sizes, tuple) or not -len(sizes) <= axis < len(sizes):
            raise UnknownExpressionError(f"size {axis} of input {path}")
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
        if function in ("ToFloat", "Identity", "TruncToFloat") and len(args) == 1:
            if function == "TruncToFloat":
                return Fraction(_truncated(self._fraction(args[0])))
            return self._fraction(args[0])
        product = _rounded_product(function, args)
        if product is not None:
            factor, size = product
            value = self._fraction(size)
            if value.denominator == 1 and shapes.is_nonnegative(value.numerator):
                return Fraction(shapes.scaled(value.numerator, factor))
        if (
            function in ("TruncToInt", "FloorToInt", "CeilToInt", "floor", "ceiling")
            and len(args) == 1
        ):
            value = self._fraction(args[0])
            if function == "TruncToInt":
                return Fraction(_truncated(value))
            if function in ("FloorToInt", "floor"):
                return Fraction(shapes.floordiv(value.numerator, value.denominator))
            return Fraction(shapes.ceildiv(value.numerator, value.denominator))
        if function in ("IntTrueDiv", "FloatTrueDiv"):
            left, right = (self._fraction(arg) for arg in args)
            if not isinstance(right.numerator, int) or right.numerator <= 0:
                raise UnknownExpressionError(f"division by {args[1]}")
            return _reduced(left.numerator * right.denominator, left.denominator * right.numerator)
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


def _rounded_product(function: str, args: tuple[ExprTree, ...]) -> tuple[float, ExprTree] | None:
    """A positive factor and what it is multiplied with, where `function` rounds such a product down."""
    match function, args:
        case (
            "TruncToInt" | "FloorToInt" | "floor",
            (Call("Mul", (Num(float(factor)), size)) | Call("Mul", (size, Num(float(factor)))),),
        ) if 0 < factor < math.inf:
            return factor, size
    return None


def _exact(value: int | float) -> Fraction:
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise UnknownExpressionError(str(value))
        numerator, denominator = value.as_integer_ratio()
        if denominator > _MAX_DENOMINATOR or abs(numerator) >= 1 << 40:
            raise UnknownExpressionError(f"{value} is no short fraction")
        return Fraction(numerator, denominator)
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
    if denominator > _MAX_DENOMINATOR:
        raise UnknownExpressionError(f"a fraction of {denominator}")
    return Fraction(numerator, denominator)


def _truncated(value: Fraction) -> Dim:
    if value.denominator == 1:
        return value.numerator
    if shapes.is_nonnegative(value.numerator):
        return shapes.floordiv(value.numerator, value.denominator)
    if shapes.upper_bound(value.numerator) <= 0:
        return shapes.ceildiv(value.numerator, value.denominator)
    raise UnknownExpressionError("rounding towards zero of a number of unknown sign")


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


def bind_symbols(table: SymbolTable, supplied: Iterable[InputSize]) -> tuple[Binding, ...]:
    """Define every symbol that the inputs determine, and say how.

    Symbols that stand alone come first. One that only occurs in an expression linear in it, as
    `2*s0 + 1`, is expressed by the size that is there: `s0 = (size - 1)//2`.
    """
    waiting = list(supplied)
    bindings: list[Binding] = []
    for entry in waiting:
        name = table.single_symbol(entry.size)
        if name is not None and not table.knows(name):
            symbol = Symbol(symbol_name(name), *table.bounds(name))
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
