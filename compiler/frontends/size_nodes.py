"""Symbolic sizes as the expressions of a file, and as the nodes that compute them.

s0//2 + 1   ->   Add(FloorDiv(Symbol('s0', positive=True, integer=True), Integer(2)), Integer(1))
            ->   sym_size_int = aten.sym_size.int(x, 0)
                 floordiv = _operator.floordiv(sym_size_int, 2)
                 add = _operator.add(floordiv, 1)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ..exported import schema
from ..exported.arguments import subgraphs
from ..exported.symbol_values import value_of
from ..exported.symbols import parse_expression
from ..ir import shapes
from ..ir.reals import Formula, Operand, Real
from ..ir.shapes import Dim, Func, Symbol
from ..ops.base import OperatorError

_SYMBOL = re.compile(r"Symbol\('(\w+)'[^()]*\)")
_FUNCTIONS = {"floordiv": "FloorDiv", "mod": "Mod", "max": "Max", "min": "Min"}
_OPERATORS = {
    "floordiv": "_operator.floordiv",
    "mod": "_operator.mod",
    "max": "torch.sym_max",
    "min": "torch.sym_min",
}
# 1 where it is true, else 0: PyTorch's comparisons give truth values, which sizes cannot count with.
_COMPARISONS: Mapping[str, Callable[[Dim, Dim], Dim]] = {
    "less": lambda left, right: shapes.minimum(shapes.maximum(right - left, 0), 1),
    "equal": lambda left, right: 1 - shapes.minimum(shapes.maximum(left - right, right - left), 1),
}
Apply = Callable[[str, Dim, str | int, str | int], str]
"""Adds a node of a binary operator for a value; its name."""
Compute = Callable[[str, bool, schema.SymInt, Sequence[schema.Argument]], str]
"""Adds a node of an operator on real numbers, which may give an integer, for a value; its name."""
_REAL_STEPS = {
    "add": ("_operator.add", "Add"),
    "mul": ("_operator.mul", "Mul"),
    "div": ("_operator.truediv", "FloatTrueDiv"),
    "pow": ("_operator.pow", "FloatPow"),
    "max": ("torch.sym_max", "Max"),
    "min": ("torch.sym_min", "Min"),
    "trunc": ("math.trunc", "TruncToInt"),
}


class SymbolTexts:
    """How the symbols of one program are written; what the run measures gets names that PyTorch
    takes for such."""

    def __init__(self, graph: schema.Graph, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._texts: dict[str, str] = {}
        self._hints: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self.ranges: dict[str, schema.RangeConstraint] = {}
        """Of the symbols that the file did not have."""
        for size in _expressions(graph):
            for found in _SYMBOL.finditer(size.expr_str):
                self._taken.add(found[1])
                self._texts[found[1]] = found[0]
                if found[0] == size.expr_str and type(size.hint) is int:
                    self._hints[found[1]] = size.hint

    def declare(self, name: str, low: int | None, high: int | None, hint: int) -> None:
        """A size that the inputs decide, with the value it has in the example."""
        self._taken.add(name)
        self._texts[name] = f"Symbol('{name}', positive=True, integer=True)"
        self._hints[name] = hint
        self.ranges[name] = schema.RangeConstraint(low, high)

    def name(self, symbol: Symbol) -> str:
        """The name of a symbol in the file."""
        if symbol.name in self._texts or symbol.name in self._names:
            return self._names.get(symbol.name, symbol.name)
        name, number = symbol.name, 0
        if symbol.name not in self._taken:
            while (name := f"u{number}") in self._taken:
                number += 1
        self._taken.add(name)
        self._names[symbol.name] = name
        low, high = (None if abs(b) >= shapes.INFINITY else b for b in (symbol.low, symbol.high))
        self.ranges[name] = schema.RangeConstraint(low, high)
        kind = "integer=True" if name.startswith("u") else "positive=True, integer=True"
        self._texts[name] = f"Symbol('{name}', {kind})"
        return name

    def expression(self, dim: Dim) -> schema.SymInt:
        """A size as the file has it."""
        if isinstance(dim, int):
            return dim
        text = self._text(dim)
        try:
            value = value_of(parse_expression(text), self._hint)
        except (KeyError, ArithmeticError, ValueError):
            return schema.SymExpr(text, None)
        return schema.SymExpr(text, int(value))

    def _hint(self, name: str) -> int:
        return self._hints[name]

    def real(self, formula: Real, operands: Sequence[Dim]) -> schema.SymExpr:
        """A real number as the file has it."""
        return schema.SymExpr(self._real(formula, operands), None)

    def _real(self, formula: Formula, operands: Sequence[Dim]) -> str:
        match formula:
            case Real(name, args):
                texts = [self._real(arg, operands) for arg in args]
                return f"{_real_step(name)[1]}({', '.join(texts)})"
            case Operand(position):
                return f"ToFloat({self._text(operands[position])})"
            case float():
                return f"Float('{formula!r}', precision=53)"

    def _text(self, dim: Dim) -> str:
        if isinstance(dim, int):
            return f"Integer({dim})"
        terms = []
        for monomial, coefficient in dim.sorted_terms():
            factors = [] if coefficient == 1 and monomial else [f"Integer({coefficient})"]
            for atom, power in monomial:
                text = self._atom(atom)
                factors.append(text if power == 1 else f"Pow({text}, Integer({power}))")
            terms.append(factors[0] if len(factors) == 1 else f"Mul({', '.join(factors)})")
        return terms[0] if len(terms) == 1 else f"Add({', '.join(terms)})"

    def _atom(self, atom: object) -> str:
        match atom:
            case Symbol():
                return self._texts[self.name(atom)]
            case Func(name, (left, right)) if name in _FUNCTIONS:
                return f"{_FUNCTIONS[name]}({self._text(left)}, {self._text(right)})"
            case Func(name, (left, right)) if name in _COMPARISONS:
                return self._text(_COMPARISONS[name](left, right))
            case Func(_, args, Real() as formula):
                return self._real(_written(formula, args), args)
        raise OperatorError(f"the size {atom} has no expression in PyTorch")


def _real_step(name: str) -> tuple[str, str]:
    if name not in _REAL_STEPS:
        raise OperatorError(f"the {name} of real sizes has no operator in files of PyTorch")
    return _REAL_STEPS[name]


def _written(formula: Real, operands: Sequence[Dim]) -> Real:
    """A formula with the only rounding that files have, where it is the same."""
    if formula.name == "floor" and shapes.lower_bound(shapes.real(formula, operands)) >= 0:
        return Real("trunc", formula.args)
    return formula


def _expressions(graph: schema.Graph) -> Iterator[schema.SymExpr]:
    for value in graph.sym_int_values.values():
        if isinstance(value, schema.SymExpr):
            yield value
    for meta in graph.tensor_values.values():
        for size in (*meta.sizes, *meta.strides):
            if isinstance(size, schema.SymExpr):
                yield size
    for node in graph.nodes:
        for inner in subgraphs(node):
            yield from _expressions(inner)


class SizeNodes:
    """The nodes of one graph that compute sizes, each once."""

    def __init__(
        self,
        symbol_node: Callable[[Symbol], str],
        apply: Apply,
        compute: Compute,
        texts: SymbolTexts,
    ) -> None:
        self._symbol_node = symbol_node
        self._compute = compute
        self._texts = texts
        self._apply = apply
        self._known: dict[Dim, str] = {}

    def define(self, symbol: Symbol, name: str) -> None:
        """A symbol is the value of this name."""
        self._known[shapes.of_atom(symbol)] = name

    def argument(self, dim: Dim) -> str | int:
        """The name of the value that is this size, or the number it is."""
        if isinstance(dim, int):
            return dim
        if dim not in self._known:
            self._known[dim] = self._computed(dim)
        return self._known[dim]

    def _computed(self, dim: shapes.SymExpr) -> str:
        atom = shapes.atom_of(dim)
        if isinstance(atom, Symbol):
            return self._symbol_node(atom)
        if isinstance(atom, Func):
            operator = _OPERATORS.get(atom.name)
            if atom.formula is not None:
                formula = _written(atom.formula, atom.args)
                sides = self._sides(formula, atom.args)
                value = self._texts.expression(dim)
                return self._compute(_real_step(formula.name)[0], True, value, sides)
            if atom.name in _COMPARISONS:
                computed = self.argument(_COMPARISONS[atom.name](*atom.args))
                assert isinstance(computed, str), "what is known is no function"
                return computed
            if operator is None:
                raise OperatorError(f"the size {atom} has no operator in PyTorch")
            return self._binary(operator, dim, *atom.args)
        [*first, (monomial, coefficient)] = dim.sorted_terms()
        if first:
            rest = dim - shapes.SymExpr({monomial: coefficient}) if monomial else dim - coefficient
            last = dim - rest
            return self._binary("_operator.add", dim, rest, last)
        if coefficient != 1:
            return self._binary("_operator.mul", dim, shapes.SymExpr({monomial: 1}), coefficient)
        last_atom = shapes.of_atom(monomial[-1][0])
        return self._binary("_operator.mul", dim, _without(monomial), last_atom)

    def _sides(self, formula: Real, operands: Sequence[Dim]) -> list[schema.Argument]:
        return [self._real(arg, operands) for arg in formula.args]

    def _real(self, formula: Formula, operands: Sequence[Dim]) -> schema.Argument:
        match formula:
            case Real(name):
                value = self._texts.real(formula, operands)
                sides = self._sides(formula, operands)
                return schema.AsSymFloat(self._compute(_real_step(name)[0], False, value, sides))
            case Operand(position):
                size = self.argument(operands[position])
                return (
                    schema.AsSymInt(size) if isinstance(size, str) else schema.AsFloat(float(size))
                )
            case float():
                return schema.AsFloat(formula)

    def _binary(self, operator: str, dim: Dim, left: Dim, right: Dim) -> str:
        return self._apply(operator, dim, self.argument(left), self.argument(right))


def _without(monomial: shapes.Monomial) -> Dim:
    """The product without one power of its last factor."""
    *others, (atom, power) = monomial
    kept = (*others, (atom, power - 1)) if power > 1 else tuple(others)
    return shapes.SymExpr({kept: 1})


__all__ = ["SizeNodes", "SymbolTexts"]
