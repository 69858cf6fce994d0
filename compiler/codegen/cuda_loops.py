"""Loop kernels as CUDA: how the loops of a kernel are shared by the threads of a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..ir.shapes import Dim
from ..lowering.program import Accumulate, Buffer, Loop, LoopKernel, Phase
from ..lowering.storage import estimate
from ..targets import cpu
from .kernel_text import KernelCode
from .loops import LoopWriter, has_accumulators
from .statements import Block, IfBlock, Statement

BLOCK_THREADS = 256
WARP = 32
FEW = 16
"""A thread goes through up to so many iterations of an inner loop by itself."""
LONG = 1024
"""More iterations than this are shared by a block rather than by a warp."""
ROWS_OF_A_WARP_KERNEL = 16 << 10
"""Bytes of temporary rows of all warps of a block that fit its shared memory."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a kernel is laid out on the device."""

    threads: int
    """Threads of a block."""
    lanes: int
    """Threads that share one row: 1, a warp, or the whole block."""
    shared_bytes: int = 0
    """Dynamic shared memory of a block."""

    @property
    def rows(self) -> int:
        """Rows that a block works on at a time."""
        return self.threads // self.lanes


@dataclass(frozen=True, slots=True)
class ScheduledKernel:
    """A kernel whose row loops are what the device runs in parallel."""

    kernel: LoopKernel
    launch: Launch

    @property
    def count(self) -> Dim:
        """How many rows there are."""
        return _count(self.kernel.rows)


def schedule(kernel: LoopKernel) -> ScheduledKernel:
    """Chooses what a thread does.

    Before: rows [8], inner loop [64], nothing reduced     After: rows [8, 64], an element per thread
    Before: rows [8], inner loop [4096], a sum             After: rows [8], a block per row
    """
    if kernel.is_serial:
        return ScheduledKernel(kernel, Launch(1, 1))
    tile = () if kernel.tile is None else (kernel.tile,)
    if _is_elementwise(kernel):
        (phase,) = kernel.phases
        merged = replace(
            kernel,
            rows=_in_memory_order(kernel.rows, tile, phase.loops),
            phases=(replace(phase, loops=()),),
            tile=None,
        )
        return ScheduledKernel(merged, Launch(BLOCK_THREADS, 1))
    spread = replace(kernel, rows=(*kernel.rows, *tile), tile=None)
    inner = max((estimate(tuple(x.extent for x in p.loops)) for p in kernel.phases), default=1)
    if kernel.tile is not None or inner <= FEW:
        return ScheduledKernel(spread, Launch(BLOCK_THREADS, 1))
    row_bytes = sum(_local_bytes(buffer, count) for buffer, count in kernel.locals)
    is_warp = inner <= LONG and row_bytes * BLOCK_THREADS // WARP <= ROWS_OF_A_WARP_KERNEL
    lanes = WARP if is_warp else BLOCK_THREADS
    return ScheduledKernel(spread, Launch(BLOCK_THREADS, lanes, row_bytes * BLOCK_THREADS // lanes))


def _is_elementwise(kernel: LoopKernel) -> bool:
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


def _count(loops: Sequence[Loop]) -> Dim:
    count: Dim = 1
    for loop in loops:
        count = count * loop.extent
    return count


def _local_bytes(buffer: Buffer, count: int) -> int:
    return -(-max(count, 1) * buffer.dtype.itemsize // 16) * 16


class CudaLoopWriter(LoopWriter):
    """Writes one scheduled kernel as a `__global__` function."""

    def __init__(self, scheduled: ScheduledKernel) -> None:
        super().__init__(scheduled.kernel)
        self.launch = scheduled.launch
        self._local_offset = 0

    def write(self) -> KernelCode:
        """The kernel's code."""
        expressions = self.expressions
        head: list[Statement] = []
        expressions.push(head)
        if self.launch.lanes > 1:
            head.append(f"const int lane = (int)threadIdx.x % {self.launch.lanes};")
            expressions.bind("lane")
        loop = Block(
            f"for (int64_t row = castoff_first_row<{self.launch.lanes}>(); row < count; "
            f"row += castoff_row_step<{self.launch.lanes}>())"
        )
        expressions.push(loop.body)
        expressions.bind("row")
        self._rows(loop.body)
        expressions.pop()
        head.append(loop)
        expressions.pop()
        self.parameters.headers["cuda/lanes.cuh"] = None
        return self.code(head, "cuda/loops.cu.j2")

    def _pragma(self, phase: Phase) -> str:
        return ""

    def _local(self, buffer: Buffer, name: str, count: int) -> str:
        if self.launch.lanes == 1:
            return super()._local(buffer, name, count)
        row_bytes = self.launch.shared_bytes // self.launch.rows
        offset = self._local_offset
        self._local_offset += _local_bytes(buffer, count)
        ctype = cpu.C_TYPE[buffer.dtype]
        return (
            f"{ctype} *const {name} = ({ctype} *)(castoff_shared_memory() + "
            f"threadIdx.x / {self.launch.lanes} * {row_bytes} + {offset});"
        )

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

    def _nest(self, statements: list[Statement], phase: Phase, loops: list[Loop]) -> None:
        lanes = self.launch.lanes
        if lanes == 1:
            super()._nest(statements, phase, loops)
            return
        expressions = self.expressions
        total = expressions.dim(_count(loops))
        loop = Block(f"for (int64_t position = lane; position < {total}; position += {lanes})")
        expressions.push(loop.body)
        expressions.bind("position")
        self.unflatten(loop.body, loops, "position")
        self._body(loop.body, phase)
        expressions.pop()
        statements.append(loop)

    def _finish(self, statements: list[Statement], statement: Accumulate) -> None:
        if self.launch.lanes > 1:
            statements.extend(self._over_lanes(statement))
        super()._finish(statements, statement)

    def _over_lanes(self, statement: Accumulate) -> list[Statement]:
        """What the lanes have found, combined: every lane has the result."""
        lanes, name, dtype = self.launch.lanes, statement.name, statement.dtype
        ctype = cpu.C_TYPE[dtype]
        if statement.kind in ("argmax", "argmin"):
            sign = ">" if statement.kind == "argmax" else "<"
            better = f"a {sign} b"
            if dtype.is_float:
                better += " || (a != a && b == b)"
            chosen = f"[]({ctype} a, {ctype} b) {{ return {better}; }}"
            return [f"castoff_best_of_lanes<{lanes}>({name}_best, {name}, {chosen});"]
        text = self._combination(statement)
        found: list[Statement] = [
            f"{name} = castoff_over_lanes<{lanes}>({name}, "
            f"[]({ctype} a, {ctype} b) -> {ctype} {{ return {text}; }});"
        ]
        if statement.kind in ("max", "min") and dtype.is_float:
            found.append(
                f"{name}_nan = castoff_over_lanes<{lanes}>({name}_nan, "
                "[](int a, int b) { return a | b; });"
            )
        return found

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
