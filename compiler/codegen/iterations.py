"""How the iterations of a loop kernel are shared out."""

from __future__ import annotations

from ..ir import shapes
from ..ir.shapes import Dim
from ..lowering.program import Accumulate, LoopKernel
from ..lowering.storage import estimate

TILE = 64
"""Elements of the row loop that one tile of accumulators covers."""
BLOCK = 16
"""Elements of the row loop that a tile covers at least where nothing is accumulated: a line of memory."""
LARGEST_BLOCK = 1024
"""Elements that a tile covers, all inner loops together, where those are short."""
GRAIN = 32768
"""Element operations that make a piece of parallel work worth handing out."""


def has_accumulators(kernel: LoopKernel) -> bool:
    """Whether a kernel reduces anything."""
    return any(isinstance(s, Accumulate) for p in kernel.phases for s in p.body)


def tile_width(kernel: LoopKernel) -> int:
    """How many iterations of the tiled loop one tile covers."""
    if has_accumulators(kernel):
        return TILE
    inner = max(estimate(tuple(loop.extent for loop in phase.loops)) for phase in kernel.phases)
    return max(BLOCK, LARGEST_BLOCK // max(inner, 1) // BLOCK * BLOCK)


def tile_blocks(kernel: LoopKernel) -> Dim:
    """How many tiles the tiled loop has; 1 where no loop is tiled."""
    return 1 if kernel.tile is None else shapes.ceildiv(kernel.tile.extent, tile_width(kernel))


def iteration_count(kernel: LoopKernel) -> Dim:
    """How many independent iterations the kernel's outermost loop has."""
    if kernel.is_serial:
        count: Dim = 1
        for loop in kernel.rows:
            count = count * loop.extent
        return count
    is_nest = bool(kernel.rows) or kernel.tile is not None or len(kernel.phases) != 1
    if is_nest or has_accumulators(kernel):
        count = 1
        for loop in kernel.rows:
            count = count * loop.extent
        return count * tile_blocks(kernel)
    loops = kernel.phases[0].loops
    return loops[0].extent if loops else 1


def grain(kernel: LoopKernel) -> int:
    """How many iterations one piece of parallel work has at least."""
    if kernel.is_serial:
        return 1 << 62
    work = 0
    for phase in kernel.phases:
        work += max(1, len(phase.body)) * estimate(tuple(loop.extent for loop in phase.loops)) * 2
    if kernel.tile is not None:
        work *= tile_width(kernel)
    elif (
        not kernel.rows
        and len(kernel.phases) == 1
        and kernel.phases[0].loops
        and not any(isinstance(s, Accumulate) for s in kernel.phases[0].body)
    ):
        work = 4
    return max(1, GRAIN // max(work, 1))
