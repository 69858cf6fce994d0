"""Symbolic expressions and guards parse to trees that mean what the text means."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castoff.compiler.exported import ProgramFormatError
from castoff.compiler.exported.symbols import (
    Call,
    ExprTree,
    GuardInput,
    GuardSize,
    Num,
    Sym,
    parse_expression,
    parse_guards,
)

_S0 = Sym("s0")
_SYMBOL = "Symbol('s0', positive=True, integer=True)"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        (_SYMBOL, _S0),
        ("Integer(-3)", Num(-3)),
        ("Float('0.5', precision=53)", Num(0.5)),
        ("Rational(1, 2)", Call("Rational", (Num(1), Num(2)))),
        (f"Add({_SYMBOL}, Integer(1))", Call("Add", (_S0, Num(1)))),
        (f"FloorDiv({_SYMBOL}, Integer(2))", Call("FloorDiv", (_S0, Num(2)))),
        (f"PythonMod({_SYMBOL}, Integer(2))", Call("PythonMod", (_S0, Num(2)))),
        (f"Equality({_SYMBOL}, Integer(2))", Call("Eq", (_S0, Num(2)))),
        (f"Unequality({_SYMBOL}, Integer(2))", Call("Ne", (_S0, Num(2)))),
        (f"Add({_SYMBOL}, Integer(1), evaluate=False)", Call("Add", (_S0, Num(1)))),
        (f"OpaqueUnaryFn_sqrt({_SYMBOL})", Call("OpaqueUnaryFn_sqrt", (_S0,))),
        ("true", Num(True)),
        ("-oo", Num(-math.inf)),
        ("s0", _S0),
        ("s0 + 1", Call("Add", (_S0, Num(1)))),
        ("s0 - 1", Call("Add", (_S0, Num(-1)))),
        ("-s0", Call("Mul", (Num(-1), _S0))),
        ("2*s0*s1", Call("Mul", (Num(2), _S0, Sym("s1")))),
        ("s0**2 // 3", Call("FloorDiv", (Call("Pow", (_S0, Num(2))), Num(3)))),
        ("s0 % 4 <= 2", Call("LessThan", (Call("PythonMod", (_S0, Num(4))), Num(2)))),
        ("Max(1, s0)", Call("Max", (Num(1), _S0))),
        ("2 < s0 < 9", Call("And", (
            Call("StrictLessThan", (Num(2), _S0)), Call("StrictLessThan", (_S0, Num(9))),
        ))),
    ],
)  # fmt: skip
def test_expressions_of_either_notation_parse(text: str, tree: ExprTree) -> None:
    assert parse_expression(text) == tree


def _value(tree: ExprTree, symbols: dict[str, Fraction]) -> Fraction:
    match tree:
        case Num(value):
            return Fraction(value)
        case Sym(name):
            return symbols[name]
        case Call("Add", args):
            return sum((_value(arg, symbols) for arg in args), Fraction(0))
        case Call("Mul", args):
            return math.prod((_value(arg, symbols) for arg in args), start=Fraction(1))
        case Call("FloorDiv", (a, b)):
            return Fraction(_value(a, symbols) // _value(b, symbols))
        case Call("PythonMod", (a, b)):
            return _value(a, symbols) % _value(b, symbols)
        case Call("Max", args):
            return max(_value(arg, symbols) for arg in args)
        case _:
            raise AssertionError(f"unexpected {tree}")


_leaf_texts = st.integers(0, 50).map(str) | st.sampled_from(["s0", "s1", "u0"])
_plain_texts = st.recursive(
    _leaf_texts,
    lambda inner: (
        st.tuples(inner, st.sampled_from([" + ", " - ", "*"]), inner).map(
            "({0[0]}{0[1]}{0[2]})".format
        )
        | st.tuples(inner, st.sampled_from([" // ", " % "]), st.integers(1, 9)).map(
            "({0[0]}{0[1]}{0[2]})".format
        )
        | st.tuples(inner, inner).map("max({0[0]}, {0[1]})".format)
        | inner.map("(-{})".format)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(text=_plain_texts, sizes=st.tuples(*[st.integers(-9, 99)] * 3))
def test_trees_have_the_value_python_gives_the_text(text: str, sizes: tuple[int, int, int]) -> None:
    symbols = dict(zip(("s0", "s1", "u0"), map(Fraction, sizes), strict=True))
    assert _value(parse_expression(text), symbols) == eval(text, {"max": max}, dict(symbols))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s0 +",
        "lambda: 1",
        "[s0]",
        "s0[0]",
        "().__class__",
        "__import__('os').system('true')",
        "(yield)",
        "s0 := 3",
        "f'{s0}'",
        "'s0'",
        "Symbol(s0, s1).free_symbols",
        "Integer('x')",
        "Float('abc')",
        "s0 in s1",
        "s0 @ s1",
        "a\0b",
        "9" * 6000,
        "(" * 150 + "s0" + ")" * 150,
        "f(" * 90 + "f(" * 90,
        "-" * 50_000 + "1",
        "a" + ".b" * 30_000,
        "**".join(["a"] * 20_000),
        "+".join(["a"] * 30_000),
        "1 if a else " * 5000 + "2",
        "s" * 100_000,
    ],
    ids=lambda text: text[:20],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ProgramFormatError, match="expected a symbolic expression"):
        parse_expression(text)


def test_python_does_not_warn_of_hostile_text() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ProgramFormatError):
            parse_expression("1if s0 is 2 else '\\d'")
    assert not caught


def test_long_sums_are_one_call() -> None:
    tree = parse_expression(" + ".join(f"s{i}" for i in range(150)))
    assert isinstance(tree, Call)
    assert len(tree.args) == 150


# --- Guards ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("L['n'] != 16", Call("Ne", (GuardInput(("n",)), Num(16)))),
        (
            "(L['x'].size()[0] // 2) == L['y'].size()[1]",
            Call("Eq", (
                Call("FloorDiv", (GuardSize(("x",), 0), Num(2))), GuardSize(("y",), 1),
            )),
        ),
        (
            "L['args'][0]['k'].size()[2] >= 2",
            Call("GreaterThan", (GuardSize(("args", 0, "k"), 2), Num(2))),
        ),
        ("L['box'].low.shape[0] < 4", Call("StrictLessThan", (
            GuardSize(("box", "low"), 0), Num(4),
        ))),
        ("not L['flag']", Call("Not", (GuardInput(("flag",)),))),
        ("L['n'] >= 0 and L['n'] <= 16", Call("And", (
            Call("GreaterThan", (GuardInput(("n",)), Num(0))),
            Call("LessThan", (GuardInput(("n",)), Num(16))),
        ))),
        ("max(1, L['n']) != 16", Call("Ne", (
            Call("Max", (Num(1), GuardInput(("n",)))), Num(16),
        ))),
        ("math.sqrt(L['n']) > 2", Call("StrictGreaterThan", (
            Call("OpaqueUnaryFn_sqrt", (GuardInput(("n",)),)), Num(2),
        ))),
    ],
)  # fmt: skip
def test_guards_parse(text: str, condition: ExprTree) -> None:
    parsed = parse_guards([text])
    assert [guard.condition for guard in parsed.guards] == [condition]
    assert parsed.guards[0].text == text


def test_guards_of_unknown_form_are_handed_back() -> None:
    known = "L['n'] != 16"
    unknown = (
        "L['x'].stride()[0] == 1",
        "hasattr(L['x'], '_dynamo_dynamic_indices') == False",
        "u0 > 3",
        "L == 3",
        "not python",
        "G['x'].size()[0] == 1",
        "L['x'].size(0) == 1",
    )
    parsed = parse_guards([known, *unknown])
    assert [guard.text for guard in parsed.guards] == [known]
    assert parsed.unparsed == unknown
