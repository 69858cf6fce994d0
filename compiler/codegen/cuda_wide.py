"""Loop kernels of few, long rows as CUDA: every phase is a kernel of its own, whose blocks share the rows.

Before: sum over 2^20 elements, then a loop that subtracts the mean
After:  part 0 sums pieces of a row, combine 0 adds them up, part 1 subtracts the mean from pieces of the row

Rows that lie across are columns, which neighbouring threads take side by side, each a piece of its own.
"""

from __future__ import annotations

from dataclasses import replace

from ..lowering.program import Accumulate, Phase
from ..records import dataclass
from ..targets import cpu
from .cuda_loops import CudaLoopWriter
from .cuda_schedule import WARP, Launch
from .kernel_text import KernelCode, KernelText
from .render import render
from .statements import Block, IfBlock, Statement


@dataclass(frozen=True, slots=True)
class PhaseText:
    """A phase: the kernel that takes a part of a row, and the one that combines what the parts found."""

    part: KernelText
    combine: KernelText | None


@dataclass(frozen=True, slots=True)
class WideLoopsText:
    """What `wide_loops.cu.j2` needs."""

    kernel: KernelText
    partial: tuple[tuple[str, str], ...]
    """(type, name) of what is kept of a part of a row."""
    result: tuple[tuple[str, str], ...]
    """(type, name) of what the reductions of a row give."""
    phases: tuple[PhaseText, ...]
    part: Launch
    combine: Launch


class WideLoopWriter(CudaLoopWriter):
    """Writes the kernels of one wide loop kernel."""

    def write(self) -> KernelCode:
        """The kernels' code; `NAME_run` launches them."""
        phases = self.kernel.phases
        for header in ("cuda/lanes.cuh", "cuda/wide.cuh"):
            self.parameters.headers[header] = None
        texts = [
            PhaseText(self._part(number, phase), self._combine_parts(phase))
            for number, phase in enumerate(phases)
        ]
        every = [s for phase in phases for s in _accumulates(phase)]
        partial = tuple((ctype, name) for s in every for ctype, name, _ in self._companions(s))
        result = tuple(
            (cpu.C_TYPE[s.dtype] if not s.kind.startswith("arg") else "int64_t", s.name)
            for s in every
        )
        kernel = self.text([])
        text = WideLoopsText(
            kernel, partial, result, tuple(texts), self.launch, self._combine_launch()
        )
        return self.code(kernel, render("cuda/wide_loops.cu.j2", k=text))

    @property
    def _is_across(self) -> bool:
        """Whether rows are columns."""
        return self.launch.lanes == 1

    def _combine_launch(self) -> Launch:
        """A warp to a column: it has few parts."""
        return replace(self.launch, lanes=WARP) if self._is_across else self.launch

    def bounds(self, total: str) -> tuple[str, str]:
        first = f"castoff_part_begin(part, parts, {total})"
        return (
            first if self._is_across else f"{first} + lane",
            f"castoff_part_begin(part + 1, parts, {total})",
        )

    def _part(self, number: int, phase: Phase) -> KernelText:
        kept_by = "" if self._is_across else "lane == 0"

        def write(body: list[Statement]) -> None:
            if self._is_across:
                whole, part = "row % (count / parts)", "row / (count / parts)"
            else:
                whole, part = "row / parts", "row % parts"
            body.append(f"const int64_t whole_row = {whole}, part = {part};")
            self.expressions.bind("whole_row")
            self.expressions.bind("part")
            self.unflatten(body, list(self.kernel.rows), "whole_row")
            for earlier in self.kernel.phases[:number]:
                for statement in _accumulates(earlier):
                    self._recall(body, statement)
            if phase.before:
                once = IfBlock(" && ".join(filter(None, (kept_by, "part == 0"))))
                self.expressions.push(once.then, is_masked=True)
                self._stores(once.then, phase.before)
                self.expressions.pop()
                body.append(once)
            accumulates = _accumulates(phase)
            for statement in accumulates:
                self._declare(body, statement)
            if phase.body and all(loop.extent != 0 for loop in phase.loops):
                self._nest(body, phase, list(phase.loops))
            kept: list[Statement] = []
            for statement in accumulates:
                if not self._is_across:
                    body.extend(self.over_lanes(statement))
                for _, name, _ in self._companions(statement):
                    kept.append(f"partials[whole_row * parts + part].{name} = {name};")
            if kept:
                body.extend([IfBlock(kept_by, kept)] if kept_by else kept)

        return self.text(self.row_loop(write))

    def _recall(self, body: list[Statement], statement: Accumulate) -> None:
        """The result of an earlier phase as a variable."""
        name = statement.name
        ctype = "int64_t" if statement.kind.startswith("arg") else cpu.C_TYPE[statement.dtype]
        body.append(f"const {ctype} {name} = results[whole_row].{name};")
        self.expressions.bind(name)
        self.expressions.accumulators[name] = name

    def _combine_parts(self, phase: Phase) -> KernelText | None:
        accumulates = _accumulates(phase)
        if not accumulates:
            return None
        part_launch, self.launch = self.launch, self._combine_launch()

        def write(body: list[Statement]) -> None:
            for statement in accumulates:
                self._declare(body, statement)
            loop = Block(f"for (int64_t part = lane; part < parts; part += {self.launch.lanes})")
            loop.body.append("const auto found = partials[row * parts + part];")
            for statement in accumulates:
                loop.body.append(self._take(statement))
                if statement.kind in ("max", "min") and statement.dtype.is_float:
                    loop.body.append(f"{statement.name}_nan |= found.{statement.name}_nan;")
            body.append(loop)
            kept = IfBlock("lane == 0")
            for statement in accumulates:
                self._finish(body, statement)
                kept.then.append(f"results[row].{statement.name} = {statement.name};")
            body.append(kept)

        text = self.text(self.row_loop(write))
        self.launch = part_launch
        return text

    def _take(self, statement: Accumulate) -> str:
        name = statement.name
        if statement.kind in ("argmax", "argmin"):
            return (
                f"castoff_take_better({name}_best, {name}, found.{name}_best, found.{name}, "
                f"{self.better(statement)});"
            )
        return f"{name} = {self.combiner(statement)}({name}, found.{name});"


def _accumulates(phase: Phase) -> list[Accumulate]:
    return [statement for statement in phase.body if isinstance(statement, Accumulate)]
