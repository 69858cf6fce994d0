"""Rows that lanes hold between phases, as CUDA.

Before: for each phase: for position in lanes: ... x[row * 768 + position] ...
After:  for turn in 6: held0[turn] = x[...], then for each phase: for turn in 6: ... held0[turn] ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.shapes import Dim
from ..lowering.program import Loop, Phase, Store
from ..targets import cpu
from .cuda_loops import CudaLoopWriter
from .cuda_row_plan import Held, Place, RowPlan, elements_of, row_loops
from .cuda_schedule import ScheduledKernel
from .statements import ForLoop, IfBlock, Statement


class RowWriter(CudaLoopWriter):
    """Writes one kernel whose lanes hold what they read of a row."""

    def __init__(self, scheduled: ScheduledKernel) -> None:
        super().__init__(scheduled)
        assert scheduled.row is not None, "a kernel of rows that fit"
        self.plan: RowPlan = scheduled.row
        self.names: dict[Place, str] = {held.place: f"held{held.slot}" for held in self.plan.held}

    def _rows(self, body: list[Statement]) -> None:
        kernel, loops = self.kernel, row_loops(self.kernel)
        self.unflatten(body, list(kernel.rows), "row")
        if not kernel.rows:
            body.append("(void)row;")
        offset: Dim = 0
        for slot, dtype in self.plan.slots.items():
            body.append(self._declaration(dtype, f"held{slot}", offset))
            self.expressions.bind(f"held{slot}")
            offset = offset + self.plan.row_bytes(dtype)
        read = [held for held in self.plan.held if held.is_read]
        if read:
            self.pieces(body, loops, lambda inner: self._read(inner, read))
        place = self._place(loops)
        for phase in kernel.phases:
            for element in elements_of(phase):
                if name := self.names.get((element.buffer, element.address), ""):
                    stored = cpu.load_text(f"{name}[{place}]", element.buffer.dtype)
                    self.expressions.replaced[element] = stored
        for phase in kernel.phases:
            self._phase(body, phase)

    def _declaration(self, dtype: DType, name: str, offset: Dim) -> str:
        ctype, plan = cpu.C_TYPE[dtype], self.plan
        if plan.in_registers:
            return f"{ctype} {name}[{plan.turns * plan.vector}];"
        place = f"castoff_shared_memory() + {self.expressions.dim(offset)}"
        if plan.lanes < self.launch.threads:
            own = self.expressions.dim(plan.shared_bytes)
            place += f" + (int)threadIdx.x / {plan.lanes} * ({own})"
        return f"{ctype} *const {name} = ({ctype} *)({place});"

    def _place(self, loops: Sequence[Loop]) -> str:
        """Where the element is that a lane works on, in what it holds."""
        vector = self.plan.vector
        if self.plan.in_registers:
            return "turn" if vector == 1 else f"turn * {vector} + element"
        index = [shapes.of_atom(loop.variable) for loop in loops]
        return str(shapes.flatten_index(index, tuple(loop.extent for loop in loops)))

    def _read(self, statements: list[Statement], read: Sequence[Held]) -> None:
        place = self._place(row_loops(self.kernel))
        for held in read:
            pointer = self.parameters.pointer(held.buffer)
            address = self.expressions.dim(self.parameters.address(held.buffer, held.address))
            statements.append(f"{self.names[held.place]}[{place}] = {pointer}[{address}];")

    def _nest(self, statements: list[Statement], phase: Phase, loops: list[Loop]) -> None:
        self.pieces(statements, loops, lambda body: self._body(body, phase))

    @contextmanager
    def each_piece(
        self, statements: list[Statement], name: str, count: Dim
    ) -> Iterator[list[Statement]]:
        """Turn by turn where registers are held: the compiler has to know which."""
        plan, expressions = self.plan, self.expressions
        if not plan.in_registers or not plan.held:
            with super().each_piece(statements, name, count) as body:
                yield body
            return
        turn = ForLoop("turn", "0", str(plan.turns), "#pragma unroll")
        expressions.push(turn.body)
        expressions.bind("turn")
        lane = "turn" if plan.lanes == 1 else f"turn * {plan.lanes} + lane"
        turn.body.append(f"const int64_t {name} = {lane};")
        expressions.bind(name)
        if plan.pieces % plan.lanes:
            is_last = f"turn < {plan.turns - 1} || " if plan.turns > 1 else ""
            there = IfBlock(f"{is_last}{name} < {plan.pieces}")
            expressions.push(there.then)
            yield there.then
            expressions.pop()
            turn.body.append(there)
        else:
            yield turn.body
        expressions.pop()
        statements.append(turn)

    def _statements(self, statements: list[Statement], phase: Phase) -> None:
        place = self._place(phase.loops)
        for statement in phase.body:
            if not isinstance(statement, Store):
                self._combine(statements, statement)
                continue
            name = self.names.get((statement.buffer, statement.address))
            if name is not None:
                value = self.expressions.scalar(statement.value)
                statements.append(f"{name}[{place}] = {value};")
            if statement.buffer not in self.local_buffers:
                self.stores.store(statements, statement)
