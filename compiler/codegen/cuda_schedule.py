"""How loop kernels are laid out on the device: what a thread, a warp, a block or many blocks do.

Before: softmax over rows [batch], inner loop [length]
After:  a warp to a row of up to 1024 elements, a block to one that fits shared memory, or to a longer one, read again
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ..ir import shapes
from ..ir.shapes import Dim
from ..lowering.program import Loop, LoopKernel, Store
from ..lowering.storage import estimate
from ..records import dataclass
from .cuda_row_plan import (
    MOST_SHARED_BYTES,
    RowPlan,
    piece_of,
    plan_fitting_row,
    plan_row,
    row_loops,
    vector_width,
)
from .iterations import has_accumulators

BLOCK_THREADS = 256
WARP = 32
FEW = 16
"""A thread goes through up to so many iterations of an inner loop by itself."""
LONG = 1024
"""More iterations than this are shared by a block rather than by a warp."""
HUGE = 1 << 14
"""More iterations than this are shared by many blocks where there are few rows."""
FEW_ROWS = 128
TALL = 256
"""More iterations than this are shared by threads of many blocks where there are few columns."""
FEW_COLUMNS = 1 << 16
"""Threads of which a device has no more than it needs to be busy."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a kernel is laid out on the device."""

    threads: int
    """Threads of a block."""
    lanes: int
    """Threads that share one row: 1, a warp, or the whole block."""
    shared_bytes: Dim = 0
    """Dynamic shared memory of a block."""
    vector: int = 1
    """Neighbouring elements of the innermost loop that a thread takes at once: 16 bytes."""
    is_wide: bool = False
    """Many blocks share a row, each a part of it, phase by phase; where a row has one lane, many threads do."""

    @property
    def rows(self) -> int:
        """Rows that a block works on at a time."""
        return self.threads // self.lanes


Condition = tuple[Dim, Dim]
"""Two sizes, the first of which is at most the second."""


@dataclass(frozen=True, slots=True)
class ScheduledKernel:
    """A kernel whose row loops are what the device runs in parallel."""

    kernel: LoopKernel
    launch: Launch
    neighbours: int = 1
    """Iterations of the innermost loop that a lane of a row takes at once."""
    row: RowPlan | None = None
    """What lanes hold of a row between phases; `None` where that is nothing."""
    conditions: tuple[Condition, ...] = ()
    """What has to be true of sizes for it to be laid out like this."""

    @property
    def count(self) -> Dim:
        """How many rows there are."""
        *outer, last = self.kernel.rows or (None,)
        if last is None or self.launch.vector == 1:
            return count_of(self.kernel.rows)
        return count_of(outer) * shapes.ceildiv(last.extent, self.launch.vector)

    @property
    def inner_count(self) -> Dim:
        """How many iterations the first reduction has."""
        return count_of(self.kernel.phases[0].loops)


def schedule(kernel: LoopKernel) -> tuple[ScheduledKernel, ...]:
    """Chooses what a thread does: ways to lay a kernel out, of which the first is taken whose conditions hold.

    Before: rows [8], inner loop [64], nothing reduced     After: rows [8, 64], an element per thread
    Before: rows [8], inner loop [4096], a sum             After: rows [8], a block per row
    Before: tile [8], inner loop [4096], a sum             After: rows [8], many threads per column, side by side
    """
    assert not kernel.is_serial, "updates in order are sorted first"
    tile = () if kernel.tile is None else (kernel.tile,)
    if is_elementwise(kernel):
        (phase,) = kernel.phases
        merged = replace(
            kernel,
            rows=_in_memory_order(kernel.rows, tile, phase.loops),
            phases=(replace(phase, loops=()),),
            tile=None,
        )
        return (ScheduledKernel(merged, Launch(BLOCK_THREADS, 1, vector=_vector(merged))),)
    spread = replace(kernel, rows=(*kernel.rows, *tile), tile=None)
    inner = max((estimate(tuple(x.extent for x in p.loops)) for p in kernel.phases), default=1)
    count = estimate((count_of(spread.rows),))
    if kernel.tile is not None or inner <= FEW:
        is_tall = inner >= TALL and count <= FEW_COLUMNS and not kernel.locals
        launch = Launch(BLOCK_THREADS, 1, is_wide=is_tall)
        row = plan_row(spread, 1)
        if row is None or not row.held or is_tall:
            return (ScheduledKernel(spread, launch),)
        return (ScheduledKernel(spread, launch, row.vector, row),)
    if not isinstance(count_of(row_loops(spread)), int):
        return tuple(_that_may_be(_by_length(spread)))
    if inner >= HUGE and count <= FEW_ROWS and not kernel.locals:
        return (_shared_by_blocks(spread),)
    row = plan_row(spread, WARP) if inner <= LONG else None
    row = row or plan_row(spread, BLOCK_THREADS)
    if row is None:
        return (_read_again(spread, WARP if inner <= LONG else BLOCK_THREADS),)
    launch = Launch(BLOCK_THREADS, row.lanes, row.shared_bytes)
    return (ScheduledKernel(spread, launch, row.vector, row if row.held else None),)


def _shared_by_blocks(kernel: LoopKernel) -> ScheduledKernel:
    launch = Launch(BLOCK_THREADS, BLOCK_THREADS, is_wide=True)
    return ScheduledKernel(kernel, launch, vector_width(kernel, BLOCK_THREADS))


def _read_again(kernel: LoopKernel, lanes: int) -> ScheduledKernel:
    """Where lanes hold nothing from phase to phase."""
    return ScheduledKernel(kernel, Launch(BLOCK_THREADS, lanes), vector_width(kernel, lanes))


def _by_length(kernel: LoopKernel) -> Iterator[ScheduledKernel]:
    """How rows are shared whose length is known when they are there."""
    assert not kernel.locals, "rows of temporaries have a length"
    inner, rows = count_of(row_loops(kernel)), count_of(kernel.rows)
    yield _held_if_it_fits(kernel, WARP, (inner, LONG))
    conditions = ((HUGE, inner), (rows, FEW_ROWS))
    yield replace(_shared_by_blocks(kernel), conditions=conditions)
    yield _held_if_it_fits(kernel, BLOCK_THREADS)
    yield _read_again(kernel, BLOCK_THREADS)


def _held_if_it_fits(kernel: LoopKernel, lanes: int, *conditions: Condition) -> ScheduledKernel:
    row = plan_fitting_row(kernel, lanes)
    if row is None:
        return replace(_read_again(kernel, lanes), conditions=conditions)
    size_bytes = row.shared_bytes * (BLOCK_THREADS // lanes)
    launch = Launch(BLOCK_THREADS, lanes, size_bytes)
    fits = (size_bytes, MOST_SHARED_BYTES)
    return ScheduledKernel(kernel, launch, row.vector, row, (*conditions, fits))


def _that_may_be(found: Iterable[ScheduledKernel]) -> Iterator[ScheduledKernel]:
    """Without what can never be taken, and without conditions that always hold."""
    for scheduled in found:
        is_broken = {c: shapes.is_less(c[1], c[0]) for c in scheduled.conditions}
        if True in is_broken.values():
            continue
        open_ones = tuple(c for c, broken in is_broken.items() if broken is None)
        yield replace(scheduled, conditions=open_ones)
        if not open_ones:
            return


def _vector(kernel: LoopKernel) -> int:
    """How many neighbouring elements fill 16 bytes; 1 where they would not lie side by side."""
    if not kernel.rows:
        return 1
    stores = [s for s in kernel.phases[0].body if isinstance(s, Store)]
    last = kernel.rows[-1]
    if any(s.combine != "set" or s.condition is not None for s in stores):
        return 1
    if any(shapes.stride_along(s.address, last.variable) != 1 for s in stores):
        return 1
    vector = 16 // max(s.buffer.dtype.itemsize for s in stores)
    if isinstance(last.extent, int):
        return vector if last.extent % vector == 0 else 1
    return vector if len(kernel.rows) == 1 else 1


def is_elementwise(kernel: LoopKernel) -> bool:
    """Whether every element is computed by itself."""
    return (
        len(kernel.phases) == 1
        and not kernel.phases[0].before
        and not kernel.locals
        and not has_accumulators(kernel)
    )


def _in_memory_order(
    rows: Sequence[Loop], tile: Sequence[Loop], inner: Sequence[Loop]
) -> tuple[Loop, ...]:
    """The loops of an elementwise kernel, innermost last."""
    return (*rows, *tile, *inner)


def count_of(loops: Sequence[Loop]) -> Dim:
    """How many iterations loops have together."""
    count: Dim = 1
    for loop in loops:
        count = count * loop.extent
    return count


def in_pieces(loop: Loop, vector: int) -> Loop:
    """The loop over pieces of neighbours."""
    if vector == 1:
        return loop
    return Loop(piece_of(loop, vector)[0], shapes.floordiv(loop.extent, vector))
