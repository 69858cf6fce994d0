"""The CPU target: C types, spellings of scalar operations, levels and their flags."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from ..codegen.render import template_text
from ..ir.dtypes import DType
from ..ir.reals import ROUNDINGS, Formula, Operand, Real
from ..kernels import Number
from ..records import dataclass

SUFFIX: Mapping[DType, str] = {
    DType.BOOL: "b8", DType.UINT8: "u8", DType.INT8: "i8", DType.INT16: "i16", DType.INT32: "i32",
    DType.INT64: "i64", DType.UINT16: "u16", DType.UINT32: "u32", DType.UINT64: "u64",
    DType.FLOAT16: "f16", DType.BFLOAT16: "bf16", DType.FLOAT32: "f32", DType.FLOAT64: "f64",
    DType.COMPLEX64: "c64", DType.COMPLEX128: "c128", DType.FLOAT8_E4M3FN: "f8e4m3fn",
    DType.FLOAT8_E5M2: "f8e5m2", DType.FLOAT8_E4M3FNUZ: "f8e4m3fnuz",
    DType.FLOAT8_E5M2FNUZ: "f8e5m2fnuz", DType.FLOAT8_E8M0FNU: "f8e8m0fnu",
}  # fmt: skip

C_TYPE: Mapping[DType, str] = {
    DType.UINT8: "uint8_t", DType.INT8: "int8_t", DType.INT16: "int16_t", DType.INT32: "int32_t",
    DType.INT64: "int64_t", DType.UINT16: "uint16_t", DType.UINT32: "uint32_t",
    DType.UINT64: "uint64_t", DType.FLOAT32: "float", DType.FLOAT64: "double",
    **{dtype: f"castoff_{suffix}" for dtype, suffix in SUFFIX.items()
       if suffix in ("b8", "f16", "bf16", "c64", "c128") or suffix.startswith("f8")},
}  # fmt: skip

HEADERS = (
    "common/types.h", "common/index.h", "common/integer.h", "common/math_f32.h", "common/math_f64.h",
    "common/complex.h", "common/special.h", "common/special_bessel.h", "common/special_gamma.h",
    "common/special_normal.h", "common/special_polynomial.h", "common/random.h", "common/distributions.h",
)  # fmt: skip

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_LOGICAL = {"logical_and": "&", "logical_or": "|", "logical_xor": "^"}
_BOOLEAN = {
    "add": "|", "mul": "&", "maximum": "|", "minimum": "&", "fmax": "|", "fmin": "&", "bitwise_and": "&",
    "bitwise_or": "|", "bitwise_xor": "^", "sub": "^",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Level:
    """One CPU level: its name in options and manifests, its C enumerator, and how code for it is compiled."""

    name: str
    enumerator: str
    number: int
    flags: tuple[str, ...]


LEVELS: Mapping[str, Level] = {
    level.name: level
    for level in (
        Level("generic", "CASTOFF_LEVEL_BASELINE", 0, ()),
        Level("x86-64", "CASTOFF_LEVEL_BASELINE", 1, ("-march=x86-64",)),
        Level("x86-64-v3", "CASTOFF_LEVEL_X86_64_V3", 3, ("-march=x86-64-v3",)),
        Level(
            "x86-64-v4",
            "CASTOFF_LEVEL_X86_64_V4",
            4,
            ("-march=x86-64-v4", "-mprefer-vector-width=512"),
        ),
        Level(
            "x86-64-bf16",
            "CASTOFF_LEVEL_X86_64_BF16",
            5,
            (
                "-march=x86-64-v4",
                "-mavx512vnni",
                "-mavx512bf16",
                "-mprefer-vector-width=512",
            ),
        ),
        Level(
            "x86-64-amx",
            "CASTOFF_LEVEL_X86_64_AMX",
            6,
            (
                "-march=x86-64-v4",
                "-mavx512vnni",
                "-mavx512bf16",
                "-mamx-tile",
                "-mamx-bf16",
                "-mamx-int8",
                "-mprefer-vector-width=512",
            ),
        ),
        Level(
            "native",
            "CASTOFF_LEVEL_NATIVE",
            4,
            ("-march=native", "-mprefer-vector-width=512", "-DCASTOFF_NATIVE"),
        ),
    )
}

NARROW_HEADERS = frozenset(
    {
        "cpu/gemm_bf16.h", "cpu/conv_bf16.h", "cpu/gemm_coded.h", "cpu/gemm_levels.h",
        "cpu/conv_levels.h", "cpu/attention_bf16.h",
    }
)  # fmt: skip
"""Headers whose kernels have forms for x86-64-bf16 and x86-64-amx; only programs that include one are
built for those levels."""

FLAGS = (
    "-std=gnu11",
    "-ftree-vectorize",
    "-fvect-cost-model=dynamic",
    "-fopenmp-simd",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fno-tree-pre",
    "-fno-tree-slp-vectorize",
    "-fno-gcse",
    "-fno-schedule-insns2",
    "-fno-ipa-cp",
    "-fno-ipa-modref",
)
"""For every unit with generated loops.

Loops are vectorised at any -O level; -O2 of the rest is as fast as -O3 and compiled in half the
time. Contraction stays off so that every level rounds alike. The passes that are switched off take
a sixth of gcc's time and give the generated code one percent. Dominator optimisations, VRP
and jump threading stay, and so does -O2: programs run longer without them.
"""


def literal_text(value: Number, dtype: DType) -> str:
    """A constant in C."""
    if dtype is DType.BOOL:
        return "1" if value else "0"
    if dtype.is_complex:
        number = complex(value)
        parts = (literal_text(number.real, dtype.real), literal_text(number.imag, dtype.real))
        return f"(({C_TYPE[dtype]}){{{parts[0]}, {parts[1]}}})"
    assert not isinstance(value, complex), "a real dtype has real constants"
    if dtype.is_float:
        return _float_text(float(value), dtype)
    if dtype is DType.INT64 and value == -(1 << 63):
        return "INT64_MIN"
    if dtype is DType.INT32 and value == -(1 << 31):
        return "INT32_MIN"
    suffix = "ULL" if dtype is DType.UINT64 else "LL" if abs(int(value)) > 0x7FFFFFFF else ""
    text = f"{int(value)}{suffix}"
    return f"({text})" if value < 0 else text


def _float_text(value: float, dtype: DType) -> str:
    suffix = "f" if dtype is DType.FLOAT32 else ""
    with np.errstate(over="ignore"):
        rounded = float(np.float32(value)) if suffix else value
    if math.isnan(rounded):
        return f'__builtin_nan{suffix}("")'
    if math.isinf(rounded):
        return f"(-__builtin_inf{suffix}())" if rounded < 0 else f"__builtin_inf{suffix}()"
    text = str(np.float32(value)) if suffix else repr(value)
    if "." not in text and "e" not in text:
        text += ".0"
    return f"({text}{suffix})" if math.copysign(1, rounded) < 0 else text + suffix


def operation_text(name: str, operands: tuple[str, ...], dtype: DType) -> tuple[str, str | None]:
    """A scalar operation of operands of `dtype` in C, and the name of the function it calls, if it calls one."""
    if name == "where":
        return f"{operands[0]} ? {operands[1]} : {operands[2]}", None
    if name in ("wrap_index", "check_index"):
        return f"castoff_{name}({', '.join(operands)}, fault)", f"castoff_{name}"
    if name in _LOGICAL:
        if dtype is not DType.BOOL:
            operands = tuple(_nonzero(x, dtype) for x in operands)
        return f" {_LOGICAL[name]} ".join(operands), None
    if name in ("logical_not", "bitwise_not") and dtype is DType.BOOL:
        return f"!{operands[0]}", None
    if name == "logical_not":
        return f"!{_nonzero(operands[0], dtype)}", None
    if name in _COMPARE and not dtype.is_complex:
        return f"{operands[0]} {_COMPARE[name]} {operands[1]}", None
    if dtype is DType.BOOL and name in _BOOLEAN:
        return f"{operands[0]} {_BOOLEAN[name]} {operands[1]}", None
    if dtype.is_float and name in _INFIX:
        return f"{operands[0]} {_INFIX[name]} {operands[1]}", None
    function = f"castoff_{name}_{SUFFIX[dtype]}"
    return f"{function}({', '.join(operands)})", function


def _nonzero(text: str, dtype: DType) -> str:
    if dtype.is_complex:
        return f"castoff_ne_{SUFFIX[dtype]}({text}, {literal_text(0, dtype)})"
    return f"({text} != 0)"


def cast_text(operand: str, source: DType, to: DType) -> str:
    """Conversion of a computed value to the compute type of `to`, rounded to `to`."""
    if to.compute is not to:
        wide = cast_text(operand, source, to.compute)
        if to in (DType.BFLOAT16, DType.FLOAT16):
            return f"castoff_rounded_{SUFFIX[to]}({wide})"
        return load_text(store_text(wide, to), to)
    if source is to:
        return operand
    if to is DType.BOOL:
        return _nonzero(operand, source)
    if source.is_complex and not to.is_complex:
        return cast_text(f"{operand}.re", source.real, to)
    if to.is_complex:
        if source.is_complex:
            return f"castoff_{SUFFIX[source]}_to_{SUFFIX[to]}({operand})"
        return f"castoff_complex_{SUFFIX[to.real]}({cast_text(operand, source, to.real)}, 0)"
    if source.is_float and to.is_integer:
        return f"castoff_{SUFFIX[source]}_to_{SUFFIX[to]}({operand})"
    return f"({C_TYPE[to]}){operand}"


_REAL_OPERATORS = {"add": "+", "mul": "*", "div": "/", "eq": "==", "lt": "<", "le": "<="}
_REAL_FUNCTIONS = {"max": "maximum", "min": "minimum"}


def real_text(formula: Formula, operands: Sequence[str]) -> str:
    """A formula of sizes in float64, as C: of type int64_t where it rounds or compares, else double."""
    match formula:
        case Real(name, args):
            texts = [real_text(arg, operands) for arg in args]
            if name in _REAL_OPERATORS:
                return f"({texts[0]} {_REAL_OPERATORS[name]} {texts[1]})"
            call = f"castoff_{_REAL_FUNCTIONS.get(name, name)}_f64({', '.join(texts)})"
            return f"castoff_size_f64({call})" if name in ROUNDINGS else call
        case Operand(position):
            return f"(double)({operands[position]})"
        case float():
            return literal_text(formula, DType.FLOAT64)


def load_text(element: str, dtype: DType) -> str:
    """A stored element in the type it is computed in."""
    if dtype.compute is dtype:
        return element
    return f"castoff_{SUFFIX[dtype]}_to_{SUFFIX[dtype.compute]}({element})"


def store_text(value: str, dtype: DType) -> str:
    """A computed value (of `dtype.compute`) as the element that is stored."""
    if dtype.compute is dtype:
        return value
    return f"castoff_{SUFFIX[dtype.compute]}_to_{SUFFIX[dtype]}({value})"


@cache
def _index_of_functions() -> Mapping[str, tuple[str, ...]]:
    """Function name, or stem for those a macro makes, -> the headers it is in."""
    index: dict[str, tuple[str, ...]] = {}
    for header in HEADERS:
        try:
            text = template_text(header)
        except FileNotFoundError:
            continue
        for name in re.findall(r"\b(castoff_\w+?)(?:##|\s*\()", text):
            if header not in index.get(name, ()):
                index[name] = (*index.get(name, ()), header)
    return index


def header_of(function: str) -> str | None:
    """The header that defines a C function, or None."""
    index = _index_of_functions()
    if function in index:
        return index[function][0]
    stem, suffix = function.rsplit("_", 1)
    found = index.get(stem + "_", ())
    # Integers and complex numbers have macros of the same stems.
    of_complex = [header for header in found if header == "common/complex.h"]
    others = [header for header in found if header not in of_complex]
    ordered = of_complex + others if suffix in ("c64", "c128") else others + of_complex
    return ordered[0] if ordered else None
