"""Updates that must happen in order, as CUDA: sorted by the element they go to, every element takes its own in turn.

Before: for i in order: y[index[i]] += x[i]
After:  a kernel writes index[i] as the key of i, a stable sort brings equal keys together, and the first of each run
        of equal keys goes through it: results are those of the order of the program, whatever the threads do
"""

from __future__ import annotations

from dataclasses import replace

from ..ir import shapes
from ..ir.shapes import Dim
from ..lowering.program import Buffer, Loop, LoopKernel, Store
from ..records import dataclass
from .cuda_loops import CudaLoopWriter
from .cuda_schedule import BLOCK_THREADS, Launch, ScheduledKernel
from .kernel_text import KernelCode, KernelText
from .render import render
from .statements import Block, IfBlock, Statement


@dataclass(frozen=True, slots=True)
class ScatterText:
    """What `scatter.cu.j2` needs: the kernel that finds where each update goes, and the one that makes them."""

    kernel: KernelText
    keys: KernelText


def schedule_scatter(kernel: LoopKernel) -> ScheduledKernel:
    """One thread for an update."""
    (phase,) = kernel.phases
    merged = replace(kernel, rows=(*kernel.rows, *phase.loops), phases=(replace(phase, loops=()),))
    return ScheduledKernel(merged, Launch(BLOCK_THREADS, 1))


class ScatterWriter(CudaLoopWriter):
    """Writes the two kernels of one update in order; `NAME_run` sorts between them."""

    def __init__(self, scheduled: ScheduledKernel) -> None:
        super().__init__(scheduled)
        self.parameters.offsets = {}  # keys are addresses in all of the target
        (self.phase,) = scheduled.kernel.phases
        (store,) = self.phase.body
        assert isinstance(store, Store), "an update is a store"
        self.update = store

    @property
    def target(self) -> Buffer:
        """What is updated."""
        return self.update.buffer

    @property
    def target_count(self) -> Dim:
        """How many elements it has."""
        return shapes.element_count(self.target.type.shape)

    def write(self) -> KernelCode:
        """The kernels' code."""
        for header in ("cuda/lanes.cuh", "cuda/scatter.cuh"):
            self.parameters.headers[header] = None
        keys = self.text(self.row_loop(self._keys))
        updates = self.text(self.row_loop(self._updates))
        return self.code(updates, render("cuda/scatter.cu.j2", k=ScatterText(updates, keys)))

    def _keys(self, body: list[Statement]) -> None:
        """Where an update goes; past every element where it is left out."""
        self.unflatten(body, list(self.kernel.rows), "row")
        body.append("uint64_t key = (uint64_t)targets;")
        expressions = self.expressions
        inner = body
        if self.update.condition is not None:
            block = IfBlock(expressions.scalar(self.update.condition))
            expressions.push(block.then, is_masked=True)
            inner = block.then
        inner.append(f"key = (uint64_t)({expressions.dim(self.update.address)});")
        if self.update.condition is not None:
            expressions.pop()
            body.append(block)
        body.append("keys[row] = key;")
        body.append("positions[row] = row;")

    def _updates(self, body: list[Statement]) -> None:
        """Row `row` of the sorted updates: the first of a run goes through it, or the last one is all that counts."""
        body.append("const uint64_t key = keys[row];")
        body.append("if (key >= (uint64_t)targets) continue;")
        loops = list(self.kernel.rows)
        store = replace(self.update, condition=None)
        if self.update.combine == "set":
            body.append("if (row + 1 < count && keys[row + 1] == key) continue;")
            body.append("const int64_t position = positions[row];")
            self.expressions.bind("position")
            self._update(body, loops, store)
            return
        body.append("if (row > 0 && keys[row - 1] == key) continue;")
        run = Block("for (int64_t next = row; next < count && keys[next] == key; ++next)")
        self.expressions.push(run.body)
        run.body.append("const int64_t position = positions[next];")
        self.expressions.bind("position")
        self._update(run.body, loops, store)
        self.expressions.pop()
        body.append(run)

    def _update(self, body: list[Statement], loops: list[Loop], store: Store) -> None:
        self.unflatten(body, loops, "position")
        self.stores.store(body, store)
