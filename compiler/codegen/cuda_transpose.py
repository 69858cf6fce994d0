"""Elementwise kernels that read across the direction they write in, as CUDA: squares go through shared memory.

Before: y[j, i] = exp(x[i, j]): neighbouring threads read elements that lie far apart
After:  a block reads a square of x along its rows into shared memory, then writes a square of y along its rows
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

from .. import kernels
from ..ir import shapes
from ..ir.shapes import Symbol
from ..kernels import Scalar
from ..lowering.program import Element, Loop, LoopKernel, Store
from ..targets import cpu
from .cuda_loops import BLOCK_THREADS, CudaLoopWriter, Launch, ScheduledKernel
from .statements import Block, IfBlock, Statement

SIDE = 32
"""Elements along a side of a square."""
MOST_BYTES = 36 << 10
"""Squares that a block has in shared memory, of 48 KiB that it may have: four where elements have 8 bytes."""


def schedule_transpose(kernel: LoopKernel) -> ScheduledKernel | None:
    """The kernel as one of squares, where an operand lies across; `None` where none does."""
    if kernel.tile is None or not kernel.phases[0].loops:
        return None
    crossed = crossed_elements(kernel)
    if not crossed:
        return None
    (phase,) = kernel.phases
    *outer, down = phase.loops
    rows = (*kernel.rows, *outer, squares_of(kernel.tile), squares_of(down))
    spread = replace(kernel, rows=rows, phases=(replace(phase, loops=(down,)),))
    return ScheduledKernel(spread, Launch(BLOCK_THREADS, BLOCK_THREADS))


def squares_of(loop: Loop) -> Loop:
    """The loop over the squares along a loop."""
    return Loop(Symbol(f"{loop.variable}_square", 0), shapes.ceildiv(loop.extent, SIDE))


def crossed_elements(kernel: LoopKernel) -> tuple[Element, ...]:
    """Operands that lie side by side along the tiled loop and are read unconditionally: as many as fit."""
    assert kernel.tile is not None, "a transposing kernel has a tiled loop"
    down = kernel.phases[0].loops[-1].variable
    found: dict[Element, None] = {}
    for store in kernel.phases[0].body:
        for element in _unconditional(store.value):
            along = shapes.stride_along(element.address, kernel.tile.variable)
            if along == 1 and shapes.stride_along(element.address, down) not in (0, 1):
                found[element] = None
    sizes = accumulate(SIDE * (SIDE + 1) * element.dtype.itemsize for element in found)
    return tuple(e for e, size in zip(found, sizes, strict=True) if size <= MOST_BYTES)


def _unconditional(scalar: Scalar) -> Iterator[Element]:
    match scalar:
        case Element():
            yield scalar
        case kernels.Apply():
            for arg in scalar.args:
                yield from _unconditional(arg)
        case kernels.Cast():
            yield from _unconditional(scalar.arg)


class TransposeWriter(CudaLoopWriter):
    """Writes one kernel of squares; a block takes one square at a time."""

    def _rows(self, body: list[Statement]) -> None:
        kernel = self.kernel
        assert kernel.tile is not None, "a transposing kernel has a tiled loop"
        across, down = kernel.tile, kernel.phases[0].loops[-1]
        self.unflatten(body, list(kernel.rows), "row")
        crossed = crossed_elements(kernel)
        for number, element in enumerate(crossed):
            ctype = cpu.C_TYPE[element.dtype]
            body.append(f"__shared__ {ctype} square{number}[{SIDE}][{SIDE + 1}];")
        body.append("__syncthreads(); /* the last square has been read */")
        load = self._square_loop(across, down)
        inside = self._inside(load, across, down)
        for number, element in enumerate(crossed):
            value = self.expressions.scalar(element)
            inside.then.append(f"square{number}[second][first] = {value};")
        self._leave(body, load, inside)
        body.append("__syncthreads();")
        store = self._square_loop(down, across)
        inside = self._inside(store, down, across)
        for number, element in enumerate(crossed):
            self.expressions.replaced[element] = f"square{number}[first][second]"
        for statement in kernel.phases[0].body:
            assert isinstance(statement, Store), "nothing is accumulated"
            self.stores.store(inside.then, statement)
        self._leave(body, store, inside)

    def _square_loop(self, first: Loop, second: Loop) -> Block:
        """A loop over a square in which neighbouring threads go along `first`."""
        loop = Block(
            f"for (int position = lane; position < {SIDE * SIDE}; position += {BLOCK_THREADS})"
        )
        self.expressions.push(loop.body)
        loop.body.append(f"const int first = position % {SIDE}, second = position / {SIDE};")
        for name, loop_of in (("first", first), ("second", second)):
            variable = loop_of.variable
            loop.body.append(f"const int64_t {variable} = {variable}_square * {SIDE} + {name};")
            self.expressions.bind(str(variable))
        return loop

    def _inside(self, loop: Block, first: Loop, second: Loop) -> IfBlock:
        extents = [(x.variable, self.expressions.dim(x.extent)) for x in (first, second)]
        inside = IfBlock(" && ".join(f"{name} < {extent}" for name, extent in extents))
        self.expressions.push(inside.then, is_masked=True)
        return inside

    def _leave(self, body: list[Statement], loop: Block, inside: IfBlock) -> None:
        self.expressions.pop()
        loop.body.append(inside)
        self.expressions.pop()
        body.append(loop)
