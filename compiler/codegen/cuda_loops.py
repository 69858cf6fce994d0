"""Loop kernels as CUDA: how the loops of a kernel are shared by the threads of a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..ir import shapes
from ..ir.shapes import Dim, Symbol
from ..lowering.program import Accumulate, Loop, LoopKernel, Phase, Store
from ..lowering.storage import estimate
from ..records import dataclass
from ..targets import cpu
from .cuda_row_plan import RowPlan, piece_of, plan_row, vector_width
from .iterations import has_accumulators
from .kernel_text import KernelCode
from .loops import LoopWriter
from .render import render
from .statements import Block, ForLoop, IfBlock, Statement, flatten, names_in

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
    shared_bytes: int = 0
    """Dynamic shared memory of a block."""
    vector: int = 1
    """Neighbouring elements of the innermost loop that a thread takes at once: 16 bytes."""
    is_wide: bool = False
    """Many blocks share a row, each a part of it, phase by phase; where a row has one lane, many threads do."""

    @property
    def rows(self) -> int:
        """Rows that a block works on at a time."""
        return self.threads // self.lanes


@dataclass(frozen=True, slots=True)
class ScheduledKernel:
    """A kernel whose row loops are what the device runs in parallel."""

    kernel: LoopKernel
    launch: Launch
    neighbours: int = 1
    """Iterations of the innermost loop that a lane of a row takes at once."""
    row: RowPlan | None = None
    """What lanes hold of a row between phases; `None` where that is nothing."""

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


def schedule(kernel: LoopKernel) -> ScheduledKernel:
    """Chooses what a thread does.

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
        return ScheduledKernel(merged, Launch(BLOCK_THREADS, 1, vector=_vector(merged)))
    spread = replace(kernel, rows=(*kernel.rows, *tile), tile=None)
    inner = max((estimate(tuple(x.extent for x in p.loops)) for p in kernel.phases), default=1)
    count = estimate((count_of(spread.rows),))
    if kernel.tile is not None or inner <= FEW:
        is_tall = inner >= TALL and count <= FEW_COLUMNS and not kernel.locals
        launch = Launch(BLOCK_THREADS, 1, is_wide=is_tall)
        row = plan_row(spread, 1)
        if row is None or not row.held or is_tall:
            return ScheduledKernel(spread, launch)
        return ScheduledKernel(spread, launch, row.vector, row)
    if inner >= HUGE and count <= FEW_ROWS and not kernel.locals:
        launch = Launch(BLOCK_THREADS, BLOCK_THREADS, is_wide=True)
        return ScheduledKernel(spread, launch, vector_width(spread, BLOCK_THREADS))
    row = plan_row(spread, WARP) if inner <= LONG else None
    row = row or plan_row(spread, BLOCK_THREADS)
    if row is None:
        lanes = WARP if inner <= LONG else BLOCK_THREADS
        launch = Launch(BLOCK_THREADS, lanes)
        return ScheduledKernel(spread, launch, vector_width(spread, lanes))
    launch = Launch(BLOCK_THREADS, row.lanes, row.shared_bytes)
    return ScheduledKernel(spread, launch, row.vector, row if row.held else None)


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


class CudaLoopWriter(LoopWriter):
    """Writes one scheduled kernel as a `__global__` function."""

    def __init__(self, scheduled: ScheduledKernel) -> None:
        super().__init__(scheduled.kernel)
        self.ahead = None  # there other rows are computed while one waits
        self.parameters.offsets = {}
        self.scheduled = scheduled
        self.launch = scheduled.launch

    def write(self) -> KernelCode:
        """The kernel's code."""
        self.parameters.headers["cuda/lanes.cuh"] = None
        text = self.text(self.row_loop(self._rows))
        return self.code(text, render("cuda/loops.cu.j2", k=text))

    def row_loop(self, write: Callable[[list[Statement]], None]) -> list[Statement]:
        """A kernel's statements: what `write` adds is done for every row."""
        expressions, lanes = self.expressions, self.launch.lanes
        head: list[Statement] = []
        expressions.push(head)
        if lanes > 1:
            head.append(f"const int lane = (int)threadIdx.x % {lanes};")
            expressions.bind("lane")
        loop = Block(
            f"for (int64_t row = castoff_first_row<{lanes}>(); row < count; "
            f"row += castoff_row_step<{lanes}>())"
        )
        expressions.push(loop.body)
        expressions.bind("row")
        write(loop.body)
        expressions.pop()
        head.append(loop)
        expressions.pop()
        return head

    def _rows(self, body: list[Statement]) -> None:
        vector = self.launch.vector
        if vector == 1:
            super()._rows(body)
            return
        *outer, last = self.kernel.rows
        name, extent = str(last.variable), self.expressions.dim(last.extent)
        first = Loop(Symbol(f"{name}_vector", 0), shapes.ceildiv(last.extent, vector))
        self.unflatten(body, [*outer, first], "row")
        neighbours = f"const castoff_neighbours<{vector}> neighbours({first.variable});"
        whole = ForLoop("element", "0", str(vector), "#pragma unroll")
        self._element(whole.body, "neighbours[element]")
        if isinstance(last.extent, int):
            body += [neighbours, whole]
            return
        start = f"{first.variable} * {vector}"
        rest = Block(f"for (int64_t element = {start}; element < {extent}; ++element)")
        self._element(rest.body, "element")
        body.append(IfBlock(f"{start} + {vector} <= {extent}", [neighbours, whole], [rest]))

    def _element(self, body: list[Statement], position: str) -> None:
        """The statements of an elementwise kernel, for one position of the innermost loop."""
        name = str(self.kernel.rows[-1].variable)
        self.expressions.push(body)
        body.append(f"const int64_t {name} = {position};")
        self.expressions.bind(name)
        self._statements(body, self.kernel.phases[0])
        self.expressions.pop()

    def _pragma(self, phase: Phase, strips: int = 1) -> str:
        return ""

    def _strips(self, phase: Phase, count: Dim | None) -> int:
        return 1

    def _phase(self, body: list[Statement], phase: Phase) -> None:
        if self.launch.lanes == 1 or not phase.before:
            super()._phase(body, phase)
            return
        once = IfBlock("lane == 0")
        self.expressions.push(once.then, is_masked=True)
        self._stores(once.then, phase.before)
        self.expressions.pop()
        body.append(once)
        super()._phase(body, replace(phase, before=()))

    def bounds(self, total: str) -> tuple[str, str]:
        """Where the lanes of a row begin and end in its inner loops."""
        return "lane", total

    def _nest(self, statements: list[Statement], phase: Phase, loops: list[Loop]) -> None:
        lanes = self.launch.lanes
        if lanes == 1 and not self.launch.is_wide:
            super()._nest(statements, phase, loops)
            return
        self.pieces(statements, loops, lambda body: self._body(body, phase))

    def pieces(
        self,
        statements: list[Statement],
        loops: Sequence[Loop],
        write: Callable[[list[Statement]], None],
    ) -> None:
        """What `write` adds is done for each element that a lane has of a row."""
        expressions, lanes = self.expressions, self.launch.lanes
        count = count_of([*loops[:-1], in_pieces(loops[-1], self.scheduled.neighbours)])
        first, end = self.bounds(expressions.dim(count))
        name = "position" if self.scheduled.neighbours == 1 else "piece"
        loop = Block(f"for (int64_t {name} = {first}; {name} < {end}; {name} += {lanes})")
        expressions.push(loop.body)
        expressions.bind(name)
        self.elements(loop.body, loops, name, write)
        expressions.pop()
        statements.append(loop)

    def elements(
        self,
        body: list[Statement],
        loops: Sequence[Loop],
        piece: str,
        write: Callable[[list[Statement]], None],
    ) -> None:
        """What `write` adds is done for each element of a piece."""
        vector = self.scheduled.neighbours
        *outer, last = loops
        self.unflatten(body, [*outer, in_pieces(last, vector)], piece)
        if vector == 1:
            write(body)
        else:
            self.neighbours(body, last, vector, write)

    def neighbours(
        self,
        body: list[Statement],
        loop: Loop,
        vector: int,
        write: Callable[[list[Statement]], None],
    ) -> None:
        """What `write` adds is done for each element of a piece of this loop."""
        expressions = self.expressions
        piece, position = piece_of(loop, vector)
        whole = ForLoop("element", "0", str(vector), "#pragma unroll")
        expressions.push(whole.body)
        expressions.bind("element")
        expressions.bind(str(loop.variable))
        expressions.divided = {loop.variable: position}
        write(whole.body)
        expressions.divided = {}
        expressions.pop()
        if str(loop.variable) in names_in(flatten(whole.body, 0)):
            body.append(f"const castoff_neighbours<{vector}> neighbours({piece});")
            whole.body.insert(0, f"const int64_t {loop.variable} = neighbours[element];")
        body.append(whole)

    def _finish(self, statements: list[Statement], statement: Accumulate) -> None:
        if self.launch.lanes > 1:
            statements.extend(self.over_lanes(statement))
        super()._finish(statements, statement)

    def over_lanes(self, statement: Accumulate) -> list[Statement]:
        """What the lanes have found, combined: every lane has the result."""
        lanes, name = self.launch.lanes, statement.name
        if statement.kind in ("argmax", "argmin"):
            better = self.better(statement)
            return [f"castoff_best_of_lanes<{lanes}>({name}_best, {name}, {better});"]
        found: list[Statement] = [
            f"{name} = castoff_over_lanes<{lanes}>({name}, {self.combiner(statement)});"
        ]
        if statement.kind in ("max", "min") and statement.dtype.is_float:
            found.append(
                f"{name}_nan = castoff_over_lanes<{lanes}>({name}_nan, "
                "[](int a, int b) { return a | b; });"
            )
        return found

    def better(self, statement: Accumulate) -> str:
        ctype = cpu.C_TYPE[statement.dtype]
        better = f"a {'>' if statement.kind == 'argmax' else '<'} b"
        if statement.dtype.is_float:
            better += " || (a != a && b == b)"
        return f"[]({ctype} a, {ctype} b) {{ return {better}; }}"

    def combiner(self, statement: Accumulate) -> str:
        ctype = cpu.C_TYPE[statement.dtype]
        text = self._combination(statement)
        return f"[]({ctype} a, {ctype} b) -> {ctype} {{ return {text}; }}"

    def _combination(self, statement: Accumulate) -> str:
        match statement.kind:
            case "sum" | "prod":
                operation = "add" if statement.kind == "sum" else "mul"
                text, function = cpu.operation_text(operation, ("a", "b"), statement.dtype)
                if function is not None:
                    self.stores.need(function)
                return text
            case "max" | "min":
                return f"b {'>' if statement.kind == 'max' else '<'} a ? b : a"
            case _:
                operator = {"any": "|", "all": "&", "xor": "^"}[statement.kind]
                return f"a {operator} b"
