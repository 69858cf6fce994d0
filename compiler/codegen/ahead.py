"""Rows that are asked for before their turn.

A kernel that passes over each row several times reads memory in its first pass only: while it computes the others,
memory is idle, and processors do not fetch on their own past the page they are in. So the pass after the first asks
for the next row, piece by piece.

Before: for row: max over x[row, :]; sum of exp(x[row, :] - max); ...
After:  for row: max over x[row, :]; for each piece: prefetch x[row + 1, piece]; sum of exp(x[row, piece] - max); ...
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import shapes
from ..ir.shapes import Atom, Dim
from ..lowering.expand import scalars_in
from ..lowering.program import Buffer, Element, LoopKernel, Phase

PIECE = 512
"""Elements of a row between two requests."""
LINE_BYTES = 64
_SHORTEST_ROW_BYTES = 4096
_SMALLEST_BYTES = 1 << 20
"""What is smaller altogether lies in a cache."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What `phase` asks for: elements of buffers from an address of the next row on, one after the other."""

    phase: Phase
    extent: int
    rows: tuple[tuple[Buffer, Dim], ...]


def rows_ahead(kernel: LoopKernel) -> Ahead | None:
    """What a kernel should ask for ahead; None where that is nothing."""
    if not kernel.rows or kernel.tile is not None or kernel.is_serial:
        return None
    passes = [phase for phase in kernel.phases if phase.loops and phase.body]
    if len(passes) < 2 or any(len(phase.loops) != 1 for phase in passes[:2]):
        return None
    first, second = passes[:2]
    (inner,), row = first.loops, kernel.rows[-1]
    extent = inner.extent
    if not isinstance(extent, int) or second.loops[0].extent != extent:
        return None
    here = {buffer for buffer, _ in kernel.locals}
    found: dict[Buffer, Dim] = {}
    for element in scalars_in(statement.value for statement in first.body):
        if not isinstance(element, Element) or element.buffer in here:
            continue
        step = shapes.stride_along(element.address, row.variable)
        size = extent * element.buffer.dtype.itemsize
        if (
            shapes.stride_along(element.address, inner.variable) == 1
            and step is not None
            and step != 0
            and size >= _SHORTEST_ROW_BYTES
            and _is_large(shapes.element_count(element.buffer.type.shape), element.buffer)
        ):
            following: dict[Atom, Dim] = {
                row.variable: shapes.of_atom(row.variable) + 1,
                inner.variable: 0,
            }
            found.setdefault(element.buffer, shapes.substitute(element.address, following))
    return Ahead(second, extent, tuple(found.items())) if found else None


def _is_large(count: Dim, buffer: Buffer) -> bool:
    return not isinstance(count, int) or count * buffer.dtype.itemsize >= _SMALLEST_BYTES
