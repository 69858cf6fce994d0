"""What element types pointwise primitives are for."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ops.base import OperatorError
from castoff.compiler.ops.pointwise import TABLE
from castoff.compiler.targets import cpu

from ..graphs import GraphBuilder
from ..mathematics.clib import COMMON

KINDS = {"b": "b8", "i": "u8 i8 i16 i32 i64 u16 u32 u64", "f": "f32 f64", "c": "c64 c128"}
TYPES = {suffix: dtype for dtype, suffix in cpu.SUFFIX.items()}


def _is_in_c(name: str, dtype: DType, functions: frozenset[str]) -> bool:
    for operands in (("a", "b"), ("a",)):
        try:
            function = cpu.operation_text(name, operands, dtype)[1]
        except IndexError:
            continue  # an operator of one operand, or of two
        return function is None or function in functions
    raise AssertionError(f"{name} has neither one nor two operands")


def test_primitives_are_for_the_types_that_have_functions_in_c() -> None:
    includes = "\n".join(f'#include "{header}"' for header in cpu.HEADERS)
    compiler = shutil.which("cc")
    assert compiler is not None, "the tests need a C compiler"
    command = [compiler, *cpu.FLAGS[:1], "-E", "-P", "-I", str(COMMON.parent), "-x", "c", "-"]
    text = subprocess.run(command, input=includes, capture_output=True, text=True, check=True)
    functions = frozenset(re.findall(r"\b(castoff_\w+)\s*\(", text.stdout))
    wrong = [
        f"{name}: {suffix}"
        for name, row in TABLE.items()
        for letter, suffixes in KINDS.items()
        for suffix in suffixes.split()
        if _is_in_c(name, TYPES[suffix], functions) != (letter in row.kinds)
    ]
    assert not wrong


@pytest.mark.parametrize(
    "target", ["erf", "floor", "lgamma", "amax", "argmax", "cummax", "sort", "maximum", "gt"]
)
def test_what_complex_numbers_have_not_is_refused_with_a_sentence(target: str) -> None:
    b = GraphBuilder()
    x = b.input("x", 3, dtype=DType.COMPLEX64)
    operands = {"maximum": (x, x), "gt": (x, x), "cummax": (x, 0)}.get(target, (x,))
    overload = "Tensor" if target == "gt" else "default"
    with pytest.raises(OperatorError, match="complex"):
        b.call(f"aten.{target}.{overload}", *operands)


def test_a_row_says_what_it_is_for() -> None:
    b = GraphBuilder()
    x = b.input("x", 3, dtype=DType.INT64)
    with pytest.raises(OperatorError, match="it is for float and complex tensors"):
        b.apply("exp", x)
