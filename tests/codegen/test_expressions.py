"""Scalar expressions as C: index arithmetic, literals, and where statements are put."""

from __future__ import annotations

import ctypes
import math
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castoff.compiler import kernels
from castoff.compiler.codegen.expr import Expressions, Parameters
from castoff.compiler.codegen.program import c_string
from castoff.compiler.codegen.statements import ForLoop, Statement, drop_unused
from castoff.compiler.ir import shapes
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import TensorType
from castoff.compiler.ir.shapes import Dim
from castoff.compiler.lowering.program import Buffer, Element, Space
from castoff.compiler.targets import cpu

ROOT = Path(__file__).resolve().parents[2]
S, I = shapes.symbol("s", 0, 100), shapes.symbol("i", 0, 9)


def writer() -> tuple[Expressions, list[Statement]]:
    statements: list[Statement] = []
    expressions = Expressions(Parameters())
    expressions.push(statements)
    return expressions, statements


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (S * 4 + I - 1, "i + s * 4 - 1"),
        (S * I, "i * s"),
        (-S + 3, "-s + 3"),
        (1 << 40, "1099511627776LL"),
    ],
)
def test_polynomials_need_no_parentheses(dim: Dim, text: str) -> None:
    expressions, statements = writer()
    assert expressions.dim(dim) == text
    assert statements == []


def test_a_quotient_gets_a_name_once() -> None:
    expressions, statements = writer()
    quotient = shapes.floordiv(S, 3)
    assert expressions.dim(quotient * 2 + shapes.floordiv(S, 3) * I).count("t0") == 2
    assert statements == ["const int64_t t0 = (s) / (3);"]


def test_signs_that_are_not_known_take_the_function_that_floors() -> None:
    expressions, statements = writer()
    expressions.dim(shapes.floordiv(-S, 7))
    (statement,) = statements
    assert isinstance(statement, str) and "castoff_floor_divide_i64(" in statement


def test_what_does_not_depend_on_a_loop_is_computed_before_it() -> None:
    expressions, outside = writer()
    inside: list[Statement] = []
    expressions.push(inside)
    expressions.bind("i")
    x = Buffer("x", TensorType(DType.FLOAT32, (100,)), Space.INPUT, 0)
    once = kernels.Apply(DType.FLOAT32, "exp", (Element(DType.FLOAT32, x, S),))
    each = kernels.Apply(DType.FLOAT32, "mul", (once, Element(DType.FLOAT32, x, I)))
    expressions.scalar(each)
    assert len(outside) == 2 and len(inside) == 2


def test_equal_statements_are_written_once() -> None:
    expressions, statements = writer()
    x = Buffer("x", TensorType(DType.FLOAT32, (100,)), Space.INPUT, 0)
    for _ in range(2):
        expressions.scalar(Element(DType.FLOAT32, x, S + 1))
    assert len(statements) == 1


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (1, DType.FLOAT32, "1.0f"),
        (0.1, DType.FLOAT32, "0.1f"),
        (0.1, DType.FLOAT64, "0.1"),
        (-0.0, DType.FLOAT32, "(-0.0f)"),
        (-3, DType.INT32, "(-3)"),
        (True, DType.BOOL, "1"),
        (-(1 << 63), DType.INT64, "INT64_MIN"),
        (1e300, DType.FLOAT32, "__builtin_inff()"),
        (math.nan, DType.FLOAT64, '__builtin_nan("")'),
    ],
)
def test_constants_in_c(value: float, dtype: DType, text: str) -> None:
    assert cpu.literal_text(value, dtype) == text


@given(st.floats(allow_nan=False))
def test_float64_constants_come_back_exactly(value: float) -> None:
    text = cpu.literal_text(value, DType.FLOAT64).strip("()")
    if "inf" not in text:
        assert math.copysign(1, float(text)) == math.copysign(1, value) and float(text) == value


@pytest.mark.parametrize("text", ['say "hi"', "a\\b\n", "käse", "?", "%d 100%"])
def test_any_text_is_a_c_string(text: str, tmp_path: Path) -> None:
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        pytest.skip("no C compiler")
    source = tmp_path / "text.c"
    source.write_text(f"const char *const text = {c_string(text)};\n")
    library = tmp_path / "text.so"
    subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    held = ctypes.c_char_p.in_dll(ctypes.CDLL(str(library)), "text").value
    assert held is not None and held.decode() == text


def test_numbers_nobody_mentions_are_dropped_but_not_calls() -> None:
    body: list[Statement] = [
        "const int64_t i0 = row;",
        "const int64_t i1 = i0 * 4;",
        "const int64_t i2 = castoff_minimum_i64(i1, 5);",
        "float acc1 = 0.0f;",
        "const int64_t t0 = castoff_wrap_index(t1, 5, fault);",
        "p1[0] = acc0;",
    ]
    loop = ForLoop("row", "begin", "end", "", body)
    drop_unused([loop])
    assert body == ["const int64_t t0 = castoff_wrap_index(t1, 5, fault);", "p1[0] = acc0;"]
