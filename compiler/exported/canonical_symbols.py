"""Symbols under canonical names: `s77` and `s27` become `s0` and `s1`, as they turn up."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from .errors import ProgramFormatError
from .schema import (
    Argument,
    AsGraph,
    AsStringToArgument,
    Graph,
    RangeConstraint,
    SymBool,
    SymExpr,
    SymFloat,
    SymInt,
    TensorMeta,
)
from .symbol_values import value_of
from .symbols import NAMED_NUMBERS, parse_expression, parse_syntax

T = TypeVar("T")

_COMMUTATIVE = frozenset(
    ("Add", "Mul", "Max", "Min", "And", "Or", "Equality", "Unequality", "Eq", "Ne")
)
_WITHOUT_BOUNDS = "OpaqueUnaryFn_"
_DEFAULT_LEAST = 2
_PREFIX = re.compile(r"[A-Za-z_]+(?=\d+$)")


class SymbolNames:
    """The names given so far, and the expressions that were rewritten with them.

    Hints, the values of one example, are dropped. Only where torch cannot do without one, for
    functions that it knows no bounds of, is it the value at the least sizes that `ranges` allows.
    """

    def __init__(self, ranges: Mapping[str, RangeConstraint]) -> None:
        self._ranges = ranges
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._texts: dict[str, str] = {}

    def renamed_graph(self, graph: Graph) -> Graph:
        """A canonical graph whose expressions, and those of graphs within, have the new names.

        Symbols are met value by value, in the order of the names of the values.
        """
        values: dict[str, TensorMeta | SymInt | SymFloat | SymBool] = {
            **graph.tensor_values,
            **graph.sym_int_values,
            **graph.sym_bool_values,
            **graph.sym_float_values,
        }
        for name in sorted(values, key=lambda name: (name[0], int(name[1:]))):
            value = values[name]
            if isinstance(value, TensorMeta):
                self._meta(value)
            else:
                self._renamed(value)
        return replace(
            graph,
            nodes=tuple(
                replace(
                    node,
                    inputs=tuple(
                        replace(given, arg=self._argument(given.arg)) for given in node.inputs
                    ),
                )
                for node in graph.nodes
            ),
            tensor_values={name: self._meta(meta) for name, meta in graph.tensor_values.items()},
            sym_int_values={n: self._renamed(value) for n, value in graph.sym_int_values.items()},
            sym_bool_values={n: self._renamed(value) for n, value in graph.sym_bool_values.items()},
            sym_float_values={
                n: self._renamed(value) for n, value in graph.sym_float_values.items()
            },
        )

    def renamed_ranges(self) -> dict[str, RangeConstraint]:
        """The ranges of the symbols that turned up, in that order."""
        ranges = self._ranges
        return {new: ranges[old] for old, new in self._names.items() if old in ranges}

    def _argument(self, argument: Argument) -> Argument:
        match argument:
            case AsGraph(name, graph):
                return AsGraph(name, self.renamed_graph(graph))
            case AsStringToArgument(items):
                return AsStringToArgument(
                    {key: self._argument(item) for key, item in items.items()}
                )
            case _:
                return argument

    def _meta(self, meta: TensorMeta) -> TensorMeta:
        return replace(
            meta,
            sizes=tuple(self._renamed(size) for size in meta.sizes),
            strides=tuple(self._renamed(stride) for stride in meta.strides),
            storage_offset=self._renamed(meta.storage_offset),
        )

    def _renamed(self, value: T) -> T | SymExpr:
        if not isinstance(value, SymExpr):
            return value
        text = self._texts.get(value.expr_str)
        if text is None:
            text = self._texts[value.expr_str] = self._rewritten(value.expr_str)
        return SymExpr(text, self._hint(value.expr_str))

    def _hint(self, text: str) -> int | float | bool | None:
        if _WITHOUT_BOUNDS not in text:
            return None
        try:
            return value_of(parse_expression(text), self._least_value)
        except (ArithmeticError, ValueError):
            return None

    def _least_value(self, name: str) -> int:
        bounds = self._ranges.get(name)
        return _DEFAULT_LEAST if bounds is None else max(bounds.min_val or 0, _DEFAULT_LEAST)

    def _rewritten(self, text: str) -> str:
        try:
            tree = _Rewriter(self._new_name).visit(parse_syntax(text))
            return ast.unparse(tree)
        except RecursionError:
            raise ProgramFormatError(f"an expression nested too deep: {text[:120]!r}") from None

    def _new_name(self, name: str) -> str:
        new = self._names.get(name)
        if new is None:
            found = _PREFIX.match(name)
            prefix = found.group() if found else "s"
            count = self._counts.get(prefix, 0)
            self._counts[prefix] = count + 1
            new = self._names[name] = f"{prefix}{count}"
        return new


class _Rewriter(ast.NodeTransformer):
    """New names for symbols; terms of sums and the like in the order of their text."""

    def __init__(self, rename: Callable[[str], str]) -> None:
        self._rename = rename

    def visit_Call(self, node: ast.Call) -> ast.expr:
        function = node.func.id if isinstance(node.func, ast.Name) else ""
        match function, node.args:
            case "Symbol" | "Dummy", [ast.Constant(value=str(name)), *rest]:
                arguments: list[ast.expr] = [ast.Constant(self._rename(name)), *rest]
            case _:
                arguments = [self.visit(argument) for argument in node.args]
                if function in _COMMUTATIVE:
                    arguments.sort(key=ast.unparse)
        return ast.Call(node.func, arguments, node.keywords)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A bare name is a symbol of an older file, which wrote plain expressions."""
        return node if node.id in NAMED_NUMBERS else ast.Name(self._rename(node.id))
