"""Sizes that compare others are written with operators that PyTorch has for sizes."""

from __future__ import annotations

import itertools

import pytest

from castoff.compiler.exported import schema as s
from castoff.compiler.exported.symbol_values import value_of
from castoff.compiler.exported.symbols import parse_expression
from castoff.compiler.frontends.size_nodes import SizeNodes, SymbolTexts
from castoff.compiler.ir import shapes
from castoff.compiler.ir.shapes import Dim

from ..graphs import size

OPERATORS = {
    "_operator.add": int.__add__,
    "_operator.mul": int.__mul__,
    "torch.sym_max": max,
    "torch.sym_min": min,
}
EMPTY = s.Graph((), (), (), {}, {}, {}, False, {}, {})


@pytest.mark.parametrize("compare", [shapes.less, shapes.equal], ids=["less", "equal"])
def test_comparisons_count_one_where_they_hold(compare) -> None:  # type: ignore[no-untyped-def]
    n, m = size("n", -9, 9), size("m", -9, 9)
    for left, right in ((n, m), (n, 2), (2, m), (n + m, 3 * n)):
        compared = 5 * compare(left, right) + 1
        texts = SymbolTexts(EMPTY, ())
        expression = texts.expression(compared)
        assert isinstance(expression, s.SymExpr)
        tree = parse_expression(expression.expr_str)
        names = [texts.name(symbol) for symbol in map(_symbol, (n, m))]
        for values in itertools.product((-2, 0, 1, 2, 3), repeat=2):
            given = dict(zip(("n", "m"), values, strict=True))
            want = shapes.evaluate(compared, given)
            by_name = dict(zip(names, values, strict=True))
            assert value_of(tree, by_name.__getitem__) == want
            assert _computed(compared, given) == want


def _symbol(dim: Dim) -> shapes.Symbol:
    symbol = shapes.atom_of(dim)
    assert isinstance(symbol, shapes.Symbol)
    return symbol


def _computed(dim: Dim, given: dict[str, int]) -> int:
    """The value that the nodes of a size compute."""
    values: dict[str, int] = {}

    def apply(target: str, dim: Dim, left: str | int, right: str | int) -> str:
        sides = [values[side] if isinstance(side, str) else side for side in (left, right)]
        values[name := f"value{len(values)}"] = OPERATORS[target](*sides)
        return name

    def symbol_node(symbol: shapes.Symbol) -> str:
        values[symbol.name] = given[symbol.name]
        return symbol.name

    def compute(*_: object) -> str:
        raise AssertionError("no real numbers are here")

    result = SizeNodes(symbol_node, apply, compute, SymbolTexts(EMPTY, ())).argument(dim)
    return values[result] if isinstance(result, str) else result
