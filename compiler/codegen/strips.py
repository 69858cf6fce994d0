"""Reductions in strips: sums that do not wait for each other.

A vector that is added to a sum waits for the addition before it, several cycles in which the processor could add more.
Of four strips of a row, each with a sum of its own, none waits for another.

Before: for i in 0..4096: acc += x[i]
After:  for strip in 0..1024: acc += x[strip]; acc_1 += x[strip + 1024]; acc_2 += ...; acc_3 += ...
        acc = acc + acc_1 + (acc_2 + acc_3)
"""

from __future__ import annotations

from .. import kernels
from ..ir.shapes import Dim
from ..lowering.emit_loops import depends_on
from ..lowering.expand import scalars_in
from ..lowering.program import Accumulate, Phase
from ..targets import cpu

STRIPS = 4
_SHORTEST = 256
"""Elements of a loop that is worth it."""
_WIDEST_VECTOR = 16
"""Elements that a strip is a multiple of: those of 4 bytes or more leave none over on any level."""
_MOST_OPERATIONS = 6
_MOST_ACCUMULATORS = 2
"""More in four strips would not all be held by registers."""


def strip_count(phase: Phase, count: Dim | None, accumulators: int) -> int:
    """How many strips iterations of a phase's innermost loop are cut into; 1 where sums are not what it waits for."""
    if not isinstance(count, int) or count < _SHORTEST or count % (STRIPS * _WIDEST_VECTOR):
        return 1
    if not 0 < accumulators <= _MOST_ACCUMULATORS:
        return 1
    if not all(isinstance(s, Accumulate) for s in phase.body):
        return 1
    variable = phase.loops[-1].variable
    operations = [
        scalar
        for scalar in scalars_in(s.value for s in phase.body)
        if isinstance(scalar, kernels.Apply)
        and any(depends_on(inner, variable) for inner in scalars_in([scalar]))
    ]
    return STRIPS if len(operations) <= _MOST_OPERATIONS and all(map(_is_plain, operations)) else 1


def of_strip(name: str, strip: int) -> str:
    """The accumulator of a strip: that of the first is the one of the whole loop."""
    return f"{name}_{strip}" if strip else name


def combined_strips(statement: Accumulate, strips: int) -> list[str]:
    """C that adds up what the strips have found, in pairs."""
    text: list[str] = []
    step = 1
    while step < strips:
        for strip in range(0, strips, 2 * step):
            text += _combined(statement, strip, strip + step)
        step *= 2
    return text


def _combined(statement: Accumulate, into: int, other: int) -> list[str]:
    a, b = of_strip(statement.name, into), of_strip(statement.name, other)
    match statement.kind:
        case "sum":
            return [f"{a} = {a} + {b};"]
        case "prod":
            return [f"{a} = {a} * {b};"]
        case "max" | "min":
            sign = ">" if statement.kind == "max" else "<"
            nan = f"{statement.name}_nan"
            return [
                f"{a} = {b} {sign} {a} ? {b} : {a};",
                f"{of_strip(nan, into)} |= {of_strip(nan, other)};",
            ]
    raise AssertionError(f"no strips of {statement.kind}")


def _is_plain(scalar: kernels.Apply) -> bool:
    """Whether an operation is one of C's own, not a function."""
    names = tuple(f"a{number}" for number in range(len(scalar.args)))
    return cpu.operation_text(scalar.name, names, scalar.args[-1].dtype)[1] is None
