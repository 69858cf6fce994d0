"""Loop kernels as CUDA: how the loops of a kernel are shared by the threads of a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ..ir import shapes
from ..ir.shapes import Dim, Symbol
from ..lowering.program import Accumulate, Loop, Phase
from ..targets import cpu
from .cuda_row_plan import piece_of
from .cuda_schedule import ScheduledKernel, count_of, in_pieces
from .kernel_text import KernelCode
from .loops import LoopWriter
from .offsets import aligned_offsets
from .render import render
from .statements import Block, ForLoop, IfBlock, Statement, flatten, names_in


class CudaLoopWriter(LoopWriter):
    """Writes one scheduled kernel as a `__global__` function."""

    def __init__(self, scheduled: ScheduledKernel) -> None:
        super().__init__(scheduled.kernel)
        self.ahead = None  # there other rows are computed while one waits
        self.parameters.offsets = aligned_offsets(self.places())
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
        name = "position" if self.scheduled.neighbours == 1 else "piece"
        count = count_of([*loops[:-1], in_pieces(loops[-1], self.scheduled.neighbours)])
        with self.each_piece(statements, name, count) as body:
            self.elements(body, loops, name, write)

    @contextmanager
    def each_piece(
        self, statements: list[Statement], name: str, count: Dim
    ) -> Iterator[list[Statement]]:
        """The body of a loop over those of `count` pieces of a row that a lane has."""
        expressions = self.expressions
        first, end = self.bounds(expressions.dim(count))
        step = self.launch.lanes
        loop = Block(f"for (int64_t {name} = {first}; {name} < {end}; {name} += {step})")
        expressions.push(loop.body)
        expressions.bind(name)
        yield loop.body
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
