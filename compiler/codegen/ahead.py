"""Rows that are asked for before their turn.

A kernel that passes over each row several times reads memory in its first pass only: while it computes the others,
memory is idle, and processors do not fetch on their own past the page they are in. So the pass after the first asks
for the next row, piece by piece. A store reads the line it is in as well, so the same pass asks for the row that the
last one writes.

Before: for row: max over x[row, :]; sum of exp(x[row, :] - max); ...; y[row, :] = ...
After:  for row: max over x[row, :]; for each piece: prefetch x[row + 1, piece], y[row, piece];
        sum of exp(x[row, piece] - max); ...; y[row, :] = ...
"""

from __future__ import annotations

from ..ir import shapes
from ..ir.shapes import Atom, Dim
from ..lowering.expand import scalars_in
from ..lowering.program import Buffer, Element, Loop, LoopKernel, Phase, Store
from ..records import dataclass

PIECE = 512
"""Elements of a row between two requests."""
LINE_BYTES = 64
_SHORTEST_ROW_BYTES = 4096
_SMALLEST_BYTES = 1 << 20
"""What is smaller altogether lies in a cache."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What `phase` asks for: elements of buffers from an address on, one after the other."""

    phase: Phase
    extent: int
    next_rows: tuple[tuple[Buffer, Dim], ...]
    """Of the row after this one: what the first pass reads."""
    rows: tuple[tuple[Buffer, Dim], ...]
    """Of this row: what later passes write."""


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
    read: dict[Buffer, Dim] = {}
    for element in scalars_in(statement.value for statement in first.body):
        if not isinstance(element, Element) or element.buffer in here:
            continue
        if _is_row(element.buffer, element.address, inner, row):
            following: dict[Atom, Dim] = {row.variable: shapes.of_atom(row.variable) + 1}
            read.setdefault(element.buffer, _start(element.address, following, inner))
    if not read:
        return None
    written: dict[Buffer, Dim] = {}
    for phase in passes[2:]:
        (last, *others) = reversed(phase.loops)
        for store in phase.body:
            if not isinstance(store, Store) or store.buffer in here or store.buffer in read:
                continue
            if (
                not others
                and last.extent == extent
                and _is_row(store.buffer, store.address, last, row)
            ):
                written.setdefault(store.buffer, _start(store.address, {}, last))
    return Ahead(second, extent, tuple(read.items()), tuple(written.items()))


def _is_row(buffer: Buffer, address: Dim, inner: Loop, row: Loop) -> bool:
    """Whether neighbours in the inner loop are neighbours in memory, of long rows of something large."""
    assert isinstance(inner.extent, int), "rows of a known length only"
    step = shapes.stride_along(address, row.variable)
    return (
        shapes.stride_along(address, inner.variable) == 1
        and step is not None
        and step != 0
        and inner.extent * buffer.dtype.itemsize >= _SHORTEST_ROW_BYTES
        and _is_large(shapes.element_count(buffer.type.shape), buffer)
    )


def _start(address: Dim, row: dict[Atom, Dim], inner: Loop) -> Dim:
    """Where a row starts."""
    return shapes.substitute(address, {**row, inner.variable: 0})


def _is_large(count: Dim, buffer: Buffer) -> bool:
    return not isinstance(count, int) or count * buffer.dtype.itemsize >= _SMALLEST_BYTES
