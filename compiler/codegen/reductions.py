"""What a reduction begins with, and what of it need not be computed."""

from __future__ import annotations

import math
from dataclasses import replace

from ..ir.dtypes import DType
from ..ir.shapes import Symbol
from ..kernels import Literal, Masked, Scalar
from ..lowering.emit_loops import depends_on
from ..lowering.expand import scalars_in
from ..lowering.program import Accumulate, Phase
from ..targets import cpu

_NEUTRAL = {"sum": 0, "prod": 1, "any": 0, "all": 1, "xor": 0}


def initial_text(statement: Accumulate) -> str:
    """What a reduction has of nothing, in C."""
    dtype = statement.dtype
    if statement.kind in _NEUTRAL:
        return cpu.literal_text(_NEUTRAL[statement.kind], dtype)
    lowest = statement.kind in ("max", "argmax")
    if dtype is DType.BOOL:
        return "0" if lowest else "1"
    if dtype.is_float:
        return cpu.literal_text(float("-inf") if lowest else float("inf"), dtype)
    bits = dtype.itemsize * 8 - dtype.is_signed
    if lowest:
        return cpu.literal_text(-(1 << bits) if dtype.is_signed else 0, dtype)
    return cpu.literal_text((1 << bits) - 1, dtype)


def hoisted(phase: Phase, variable: Symbol) -> tuple[Scalar | None, Phase]:
    """The condition without which a phase's only accumulation changes nothing, and the phase without it.

    Before: for c: sum += masked(inside(h, w), x[h, w, c], 0)
    After:  if inside(h, w): for c: sum += x[h, w, c]
    """
    if len(phase.body) != 1:
        return None, phase
    (statement,) = phase.body
    if (
        not isinstance(statement, Accumulate)
        or not isinstance(statement.value, Masked)
        or not _is_neutral(statement)
        or any(depends_on(s, variable) for s in scalars_in([statement.value.condition]))
    ):
        return None, phase
    inside = replace(statement, value=statement.value.body)
    return statement.value.condition, replace(phase, body=(inside,))


def _is_neutral(statement: Accumulate) -> bool:
    """Whether what a masked value is outside its mask changes nothing."""
    assert isinstance(statement.value, Masked), "only masked values have an outside"
    otherwise = statement.value.otherwise
    if not isinstance(otherwise, Literal):
        return False
    if statement.kind in _NEUTRAL:
        return otherwise.value == _NEUTRAL[statement.kind]
    infinities = {"max": -math.inf, "min": math.inf}
    return otherwise.value == infinities.get(statement.kind)
