"""Symbolic expressions of the file as sizes of the IR."""

from __future__ import annotations

import pytest

from castoff.compiler.errors import CompileError
from castoff.compiler.exported.schema import RangeConstraint, SymExpr
from castoff.compiler.exported.symbols import parse_expression, parse_guards
from castoff.compiler.frontends.guards import guard_of
from castoff.compiler.frontends.real_trees import UnknownExpressionError
from castoff.compiler.frontends.symbols import (
    InputSize,
    SymbolTable,
    bind_symbols,
    symbol_name,
)
from castoff.compiler.ir import shapes

S0 = "Symbol('s0', positive=True, integer=True)"
S1 = "Symbol('s1', positive=True, integer=True)"


def table_of(*names: str) -> SymbolTable:
    table = SymbolTable({})
    for name in names:
        table.define(name, shapes.symbol(name))
    return table


@pytest.mark.parametrize(
    ("text", "s0", "value"),
    [
        (f"Add(FloorDiv({S0}, Integer(2)), Integer(1))", 9, 5),
        (f"Mod({S0}, Integer(4))", 9, 1),
        (f"PythonMod(Mul(Integer(-1), {S0}), Integer(5))", 3, 2),
        (f"Max(Integer(4), {S0})", 3, 4),
        (f"Min(Integer(4), {S0})", 3, 3),
        (f"Pow({S0}, Integer(3))", 2, 8),
        (f"CeilDiv({S0}, Integer(4))", 9, 3),
        (f"ModularIndexing({S0}, Integer(3), Integer(5))", 20, 1),
        (f"TruncToInt(Mul(Float('1.5', precision=53), ToFloat({S0})))", 5, 7),
        (f"CeilToInt(IntTrueDiv({S0}, Integer(4)))", 9, 3),
        (f"CeilToInt(Mul(Float('0.1', precision=53), ToFloat({S0})))", 10, 1),
        (f"CeilToInt(Mul(Float('1.1', precision=53), ToFloat({S0})))", 10, 11),
        (f"CeilToInt(Mul(Float('1.1', precision=53), ToFloat({S0})))", 50, 56),
        (f"TruncToInt(Mul(Float('-0.7', precision=53), ToFloat({S0})))", 90, -62),
        (f"TruncToInt(FloatTrueDiv(ToFloat({S0}), Float('0.7', precision=53)))", 7, 10),
        (f"RoundToInt(Mul(Float('0.5', precision=53), ToFloat({S0})))", 5, 2),
        (f"FloorToInt(Add(IntTrueDiv({S0}, Integer(3)), IntTrueDiv({S0}, Integer(3))))", 45, 30),
        (f"TruncToInt(Pow(ToFloat({S0}), Float('0.5', precision=53)))", 80, 8),
        (f"GreaterThan(Mul(Float('0.7', precision=53), ToFloat({S0})), Integer(63))", 90, 0),
        (
            f"LessThan(Mul(Float('0.5', precision=53), ToFloat({S0})), Float('1.5', precision=53))",
            3,
            1,
        ),
        (f"FloorToInt(Mul(Float('0.5', precision=53), ToFloat({S0})))", 9, 4),
        (f"Where(StrictLessThan({S0}, Integer(4)), Integer(1), Integer(2))", 3, 1),
        (f"GreaterThan({S0}, Integer(4))", 4, 1),
        (f"Ne({S0}, Integer(4))", 4, 0),
        (f"And(StrictGreaterThan({S0}, Integer(1)), LessThan({S0}, Integer(3)))", 3, 1),
        (f"Or(Eq({S0}, Integer(1)), Not(Eq({S0}, Integer(3))))", 3, 0),
        (f"LShift({S0}, Integer(2))", 3, 12),
    ],
)
def test_expressions_have_their_value(text: str, s0: int, value: int) -> None:
    size = table_of("s0").dim(SymExpr(text))
    assert shapes.evaluate(size, {"s0": s0}) == value


@pytest.mark.parametrize(
    "text",
    [
        S1,
        f"TruncToInt(OpaqueUnaryFn_log(ToFloat({S0})))",
        f"TruncToInt(Mul(Float('0.1', precision=53), ToFloat({S1})))",
        f"OpaqueUnaryFn_sqrt(ToFloat({S0}))",
        f"IntTrueDiv({S0}, Integer(2))",
    ],
)
def test_what_has_no_size_is_unknown(text: str) -> None:
    with pytest.raises(UnknownExpressionError):
        table_of("s0").dim(SymExpr(text))


def test_guards_that_cannot_be_checked_are_refused() -> None:
    table = table_of("s0")
    with pytest.raises(CompileError, match=r"log.*cannot be checked"):
        guard_of(table, parse_expression(f"Eq(TruncToInt(OpaqueUnaryFn_log({S0})), 3)"), "log(n)")
    terms = ", ".join(["Float('0.1', precision=53)"] * 1000)
    with pytest.raises(CompileError, match=r"more than \d+ steps"):
        guard_of(
            table, parse_expression(f"Eq(TruncToInt(Add(ToFloat({S0}), {terms})), 3)"), "a sum"
        )
    text = "L['x'] == 3"
    (guard,) = parse_guards([text]).guards
    assert guard_of(table, guard.condition, text) is None


def test_symbols_that_stand_alone_are_read_where_they_stand() -> None:
    table = SymbolTable({"s0": RangeConstraint(2, 64), "s1": RangeConstraint(4, None)})
    bindings = bind_symbols(
        table,
        [
            InputSize(0, 1, SymExpr(f"Add({S0}, Integer(1))")),
            InputSize(1, 0, SymExpr(S0)),
            InputSize(2, None, SymExpr(S1)),
        ],
    )
    found = {b.symbol.name: (b.symbol.low, b.symbol.high, b.input_index, b.axis) for b in bindings}
    assert found == {"s0": (0, 64, 1, 0), "s1": (4, shapes.INFINITY, 2, None)}
    assert table.dim(SymExpr(f"Add({S0}, Integer(1))")) == shapes.symbol("s0", 0, 64) + 1


@pytest.mark.parametrize(
    ("text", "size", "s0"),
    [
        (f"Mul(Integer(2), {S0})", 8, 4),
        (f"Add(Mul(Integer(3), {S0}), Integer(1))", 7, 2),
        (f"Add(Integer(10), Mul(Integer(-1), {S0}))", 7, 3),
    ],
)
def test_symbols_that_never_stand_alone_are_solved_for(text: str, size: int, s0: int) -> None:
    table = SymbolTable({"s0": RangeConstraint(1, 100)})
    (binding,) = bind_symbols(table, [InputSize(0, 0, SymExpr(text))])
    values = {binding.symbol.name: size}
    assert shapes.evaluate(table.dim(SymExpr(S0)), values) == s0
    assert shapes.evaluate(table.dim(SymExpr(text)), values) == size


def test_symbols_are_solved_for_one_after_the_other() -> None:
    table = SymbolTable({})
    bindings = bind_symbols(
        table,
        [
            InputSize(0, 0, SymExpr(f"Add({S0}, {S1})")),
            InputSize(1, 0, SymExpr(f"Mul(Integer(2), {S1})")),
        ],
    )
    values = {b.symbol.name: {0: 11, 1: 8}[b.input_index] for b in bindings}
    assert shapes.evaluate(table.dim(SymExpr(S0)), values) == 7


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s0", "s0"),
        ("u12", "u12"),
        ("row", "s_row"),
        ("int", "s_int"),
        ("n1", "s_n1"),
        ("a; b", "s_a_3b__20_b"),
    ],
)
def test_symbols_have_names_that_generated_code_does_not_use(name: str, expected: str) -> None:
    assert symbol_name(name) == expected
    (binding,) = bind_symbols(
        table := SymbolTable({}),
        [InputSize(0, 0, SymExpr(f"Symbol('{name}', positive=True, integer=True)"))],
    )
    assert binding.symbol.name == expected
    assert table.knows(name)
