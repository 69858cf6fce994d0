"""Elementwise kernels that read across the direction they write in, as CUDA: squares go through shared memory.

Before: y[j, i] = exp(x[i, j]): neighbouring threads read elements that lie far apart
After:  a block reads a square of x along its rows into shared memory, then writes a square of y along its rows, both
        in pieces of 16 bytes where rows are made of such
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate

from ..ir import shapes
from ..ir.shapes import Symbol
from ..lowering.program import Element, Loop, LoopKernel, Store
from ..records import dataclass
from ..targets import cpu
from .cuda_loops import CudaLoopWriter
from .cuda_row_plan import aligned_width, elements_of, unconditional
from .cuda_schedule import BLOCK_THREADS, Launch, ScheduledKernel, in_pieces
from .statements import Block, IfBlock, Statement

LINE_BYTES = 128
"""A side of a square of small elements."""
SHORTEST = 32
"""Elements that a side has at least."""
MOST_BYTES = 36 << 10
"""Squares that a block has in shared memory, of 48 KiB that it may have: four where elements have 8 bytes."""


def schedule_transpose(kernel: LoopKernel) -> ScheduledKernel | None:
    """The kernel as one of squares, where an operand lies across; `None` where none does."""
    if kernel.tile is None or not kernel.phases[0].loops:
        return None
    squares = squares_in(kernel)
    if not squares.elements:
        return None
    (phase,) = kernel.phases
    *outer, down = phase.loops
    rows = (*kernel.rows, *outer, squares.along(kernel.tile), squares.along(down))
    spread = replace(kernel, rows=rows, phases=(replace(phase, loops=(down,)),))
    return ScheduledKernel(spread, Launch(BLOCK_THREADS, BLOCK_THREADS))


@dataclass(frozen=True, slots=True)
class Squares:
    """What goes through shared memory."""

    side: int
    """Elements along a side: a line of memory of the widest operand."""
    elements: tuple[Element, ...]
    """Operands that lie side by side along the tiled loop and are read unconditionally: as many as fit."""

    def pitch(self, element: Element) -> int:
        """Elements between rows: an odd number of words, so that what is in a column lies in different banks."""
        return self.side + max(4 // element.buffer.dtype.itemsize, 1)

    def along(self, loop: Loop) -> Loop:
        """The loop over the squares along a loop."""
        return Loop(Symbol(f"{loop.variable}_square", 0), shapes.ceildiv(loop.extent, self.side))


def squares_in(kernel: LoopKernel) -> Squares:
    """What of a kernel's operands goes through shared memory."""
    assert kernel.tile is not None, "a transposing kernel has a tiled loop"
    down = kernel.phases[0].loops[-1].variable
    found: dict[Element, None] = {}
    for store in kernel.phases[0].body:
        for element in unconditional(store.value):
            along = shapes.stride_along(element.address, kernel.tile.variable)
            if along == 1 and shapes.stride_along(element.address, down) not in (0, 1):
                found[element] = None
    widest = max((element.buffer.dtype.itemsize for element in found), default=1)
    squares = Squares(max(LINE_BYTES // max(widest, 2), SHORTEST), tuple(found))
    sizes = accumulate(squares.side * squares.pitch(e) * e.buffer.dtype.itemsize for e in found)
    fitting = (e for e, size in zip(found, sizes, strict=True) if size <= MOST_BYTES)
    return replace(squares, elements=tuple(fitting))


class TransposeWriter(CudaLoopWriter):
    """Writes one kernel of squares; a block takes one square at a time."""

    def _rows(self, body: list[Statement]) -> None:
        kernel = self.kernel
        assert kernel.tile is not None, "a transposing kernel has a tiled loop"
        (phase,) = kernel.phases
        across, down = kernel.tile, phase.loops[-1]
        self.unflatten(body, list(kernel.rows), "row")
        squares = squares_in(kernel)
        crossed = squares.elements
        for number, element in enumerate(crossed):
            ctype, pitch = cpu.C_TYPE[element.buffer.dtype], squares.pitch(element)
            body.append(f"__shared__ {ctype} square{number}[{squares.side}][{pitch}];")
        body.append("__syncthreads(); /* the last square has been read */")

        def read(inner: list[Statement], column: str) -> None:
            for number, element in enumerate(crossed):
                pointer = self.parameters.pointer(element.buffer)
                place = self.parameters.address(element.buffer, element.address)
                address = self.expressions.dim(place)
                inner.append(f"square{number}[second][{column}] = {pointer}[{address}];")

        def write(inner: list[Statement], place: str) -> None:
            for number, element in enumerate(crossed):
                stored = cpu.load_text(f"square{number}[{place}][second]", element.buffer.dtype)
                self.expressions.replaced[element] = stored
            self._statements(inner, phase)

        widest = max(element.buffer.dtype.itemsize for element in crossed)
        vector = aligned_width([e.address for e in crossed], across, max(16 // widest, 1))
        self._square(body, across, down, (squares.side, vector), read)
        body.append("__syncthreads();")
        stores = [store for store in phase.body if isinstance(store, Store)]
        addresses = [store.address for store in stores]
        addresses += [e.address for e in elements_of(phase) if e not in crossed]
        widest = max(store.buffer.dtype.itemsize for store in stores)
        vector = aligned_width(addresses, down, max(16 // widest, 1))
        self._square(body, down, across, (squares.side, vector), write)

    def _square(
        self,
        body: list[Statement],
        first: Loop,
        second: Loop,
        sizes: tuple[int, int],
        write: Callable[[list[Statement], str], None],
    ) -> None:
        """A loop over a square in which neighbouring threads go along `first`, a piece of neighbours each; `write` is
        told the position along it. `sizes` are those of a side and of a piece.
        """
        expressions, (side, vector) = self.expressions, sizes
        length, pieces = side // vector, in_pieces(first, vector)
        loop = Block(
            f"for (int position = lane; position < {side * length}; position += {BLOCK_THREADS})"
        )
        expressions.push(loop.body)
        loop.body.append(f"const int first = position % {length}, second = position / {length};")
        conditions = []
        for loop_of, whole, step, name in (
            (pieces, first, length, "first"),
            (second, second, side, "second"),
        ):
            variable = loop_of.variable
            loop.body.append(
                f"const int64_t {variable} = {whole.variable}_square * {step} + {name};"
            )
            expressions.bind(str(variable))
            conditions.append(f"{variable} < {expressions.dim(loop_of.extent)}")
        inside = IfBlock(" && ".join(conditions))
        expressions.push(inside.then, is_masked=True)
        if vector == 1:
            write(inside.then, "first")
        else:
            place = f"first * {vector} + element"
            self.neighbours(inside.then, first, vector, lambda inner: write(inner, place))
        expressions.pop()
        loop.body.append(inside)
        expressions.pop()
        body.append(loop)
