"""Loop kernels as C."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ..ir.dtypes import DType
from ..ir.shapes import Dim
from ..kernels import Apply, Cast, Literal, Scalar
from ..lowering.program import Accumulate, Buffer, Loop, LoopKernel, Phase, Store
from ..targets import cpu
from .ahead import LINE_BYTES, PIECE, Ahead, rows_ahead
from .expr import Expressions, Parameters
from .iterations import TILE, has_accumulators, tile_blocks, tile_width
from .kernel_text import KernelCode, KernelText, describe, pointers
from .offsets import Place, places_in, smallest_offsets
from .reductions import hoisted, initial_text
from .render import render
from .statements import Block, ForLoop, IfBlock, Statement, drop_unused, flatten
from .strips import combined_strips, of_strip, strip_count

_SIMD = {"sum": "+", "prod": "*", "max": "max", "min": "min"}


class StoreWriter:
    """Writes stores of scalars to buffers."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.expressions = Expressions(parameters)

    def store(self, statements: list[Statement], store: Store) -> None:
        expressions = self.expressions
        if store.condition is not None:
            block = IfBlock(expressions.scalar(store.condition))
            expressions.push(block.then, is_masked=True)
            self._assign(block.then, store)
            expressions.pop()
            statements.append(block)
        else:
            self._assign(statements, store)

    def _assign(self, statements: list[Statement], store: Store) -> None:
        expressions = self.expressions
        dtype = store.buffer.dtype
        local = expressions.locals.get(store.buffer)
        stored = store.value if local is not None else before_rounding(store)
        value = expressions.scalar(stored)
        address = expressions.dim(self.parameters.address(store.buffer, store.address))
        if local is not None:
            statements.append(f"{local}[{address}] = {value};")
            return
        if stored.dtype is not dtype.compute:
            value = cpu.cast_text(value, stored.dtype, dtype.compute)
        element = f"{self.parameters.pointer(store.buffer)}[{address}]"
        if store.combine != "set":
            name = {"max": "maximum", "min": "minimum"}.get(store.combine, store.combine)
            old = cpu.load_text(element, dtype)
            value, function = cpu.operation_text(name, (old, value), dtype.compute)
            if function is not None:
                self.need(function)
        self._need_conversion(dtype)
        statements.append(f"{element} = {cpu.store_text(value, dtype)};")

    def need(self, function: str) -> None:
        header = cpu.header_of(function)
        if header is None:
            raise LookupError(f"no header of templates/ defines {function}")
        self.parameters.headers[header] = None

    def _need_conversion(self, dtype: DType) -> None:
        if dtype.compute is not dtype:
            self.parameters.headers["common/types.h"] = None


def before_rounding(store: Store) -> Scalar:
    """What a store into a narrow type rounds: a cast to that type before it would only round the same
    twice, and gcc 12 vectorises no loop that does.
    """
    dtype = store.buffer.dtype
    is_rounded = dtype.compute is not dtype and store.combine == "set"
    return _unrounded(store.value, dtype) if is_rounded else store.value


def _unrounded(value: Scalar, dtype: DType) -> Scalar:
    """Something that rounds to the same number of a type. Rounding keeps the order of numbers, and those of
    the type as they are: what bounds by one of them may come first.
    """
    while isinstance(value, Cast) and value.to is dtype:
        value = value.arg
    if isinstance(value, Apply) and value.name in ("maximum", "minimum"):
        operand, bound = value.args
        if isinstance(bound, Literal) and float(dtype.numpy.type(bound.value)) == bound.value:
            return replace(value, args=(_unrounded(operand, dtype), bound))
    return value


class LoopWriter:
    """Writes one kernel: parameters are collected while its body is written."""

    def __init__(self, kernel: LoopKernel) -> None:
        self.kernel = kernel
        self.parameters = Parameters()
        self.stores = StoreWriter(self.parameters)
        self.expressions = self.stores.expressions
        for phase in kernel.phases:
            for statement in (*phase.before, *phase.body):
                if isinstance(statement, Store):
                    self.parameters.written.add(statement.buffer)
        self.local_buffers = {buffer for buffer, _ in kernel.locals}
        self.parameters.written -= self.local_buffers
        self.ahead = rows_ahead(kernel)
        self.parameters.offsets = smallest_offsets(self.places())

    def places(self) -> Iterator[Place]:
        """What the kernel reads and writes of buffers that are no rows of its own."""
        phases = self.kernel.phases
        statements = [s for phase in phases for s in (*phase.before, *phase.body)]
        return (place for place in places_in(statements) if place[0] not in self.local_buffers)

    def write(self) -> KernelCode:
        """The kernel's code."""
        kernel, expressions = self.kernel, self.expressions
        head: list[Statement] = []
        expressions.push(head)
        if (
            kernel.rows
            or kernel.tile
            or kernel.is_serial
            or len(kernel.phases) != 1
            or has_accumulators(kernel)
        ):
            loop = ForLoop("row", "begin", "end", "")
            expressions.push(loop.body)
            expressions.bind("row")
            self._rows(loop.body)
            expressions.pop()
            head.append(loop)
        else:  # a flat loop: threads share the inner loop itself
            self._flat(head, kernel.phases[0])
        expressions.pop()
        text = self.text(head)
        return self.code(text, render("cpu/loops.c.j2", k=text))

    def text(self, statements: list[Statement]) -> KernelText:
        """What a template needs to print the kernel with these statements."""
        drop_unused(statements)
        return KernelText(
            describe(self.kernel.origins),
            pointers(self.parameters),
            tuple(self.parameters.symbols),
            self.parameters.has_fault,
            tuple(flatten(statements, 1)),
            tuple(self.parameters.headers),
        )

    def code(self, text: KernelText, rendered: str) -> KernelCode:
        """The finished kernel."""
        return KernelCode(
            rendered,
            self.kernel.name,
            tuple(self.parameters.buffers),
            tuple(self.parameters.buffers.values()),
            text.symbols,
            text.has_fault,
            text.headers,
            self.parameters.offsets,
        )

    def _flat(self, head: list[Statement], phase: Phase) -> None:
        if not phase.loops:
            self._statements(head, phase)
            return
        loop = ForLoop(str(phase.loops[0].variable), "begin", "end", "#pragma omp simd")
        self._in_loop(head, loop, lambda: self._body(loop.body, phase))

    def _in_loop(
        self, statements: list[Statement], loop: ForLoop, write: Callable[[], None]
    ) -> None:
        self.expressions.push(loop.body)
        self.expressions.bind(loop.variable)
        write()
        self.expressions.pop()
        statements.append(loop)

    def _rows(self, body: list[Statement]) -> None:
        kernel = self.kernel
        position = "row"
        loops = list(kernel.rows)
        if kernel.tile is not None:
            blocks = self.expressions.dim(tile_blocks(kernel))
            width = tile_width(kernel)
            body.append(f"const int64_t tile_begin = row % ({blocks}) * {width};")
            extent = self.expressions.dim(kernel.tile.extent)
            body.append(
                f"const int64_t tile_end = tile_begin + {width} < {extent} ? tile_begin + {width} : {extent};"
            )
            self.expressions.bind("tile_begin")
            body.append(f"const int64_t outer = row / ({blocks});")
            position = "outer"
        self.unflatten(body, loops, position)
        if not loops:
            body.append("(void)row;" if kernel.tile is None else "(void)outer;")
        for buffer, count in kernel.locals:
            name = f"row_{buffer.name}"
            self.expressions.locals[buffer] = name
            self.expressions.bind(name)
            body.append(self._local(buffer, name, max(count, 1)))
        for phase in kernel.phases:
            self._phase(body, phase)

    def unflatten(self, body: list[Statement], loops: list[Loop], position: str) -> None:
        """Defines loop variables from the position in all of their loops, innermost last."""
        for number, loop in enumerate(reversed(loops)):
            name = str(loop.variable)
            extent = self.expressions.dim(loop.extent)
            if number == len(loops) - 1:
                body.append(f"const int64_t {name} = {position};")
            else:
                body.append(f"const int64_t {name} = {position} % ({extent});")
                body.append(f"const int64_t rest{number} = {position} / ({extent});")
                position = f"rest{number}"
            self.expressions.bind(name)

    def _local(self, buffer: Buffer, name: str, count: int) -> str:
        """The declaration of a temporary row."""
        return f"{cpu.C_TYPE[buffer.dtype]} {name}[{count}] __attribute__((aligned(64)));"

    def _phase(self, body: list[Statement], phase: Phase) -> None:
        if phase.before:
            if self.kernel.tile is None:
                for store in phase.before:
                    self.stores.store(body, store)
            else:
                loop = self._tile_loop("#pragma omp simd")
                self._in_loop(body, loop, lambda: self._stores(loop.body, phase.before))
        if not phase.body:
            return
        accumulates = [s for s in phase.body if isinstance(s, Accumulate)]
        for statement in accumulates:
            self._declare(body, statement)
        if phase.loops:
            # Where nothing is computed, nothing may be read before it: empty tensors have no memory.
            if all(loop.extent != 0 for loop in phase.loops):
                self._nest(body, phase, list(phase.loops))
        elif self.kernel.tile is not None:
            loop = self._tile_loop("")
            self._in_loop(body, loop, lambda: self._body(loop.body, phase))
        else:
            self._statements(body, phase)
        for statement in accumulates:
            self._finish(body, statement)

    def _tile_loop(self, pragma: str) -> ForLoop:
        assert self.kernel.tile is not None, "only tiled kernels have a tile loop"
        return ForLoop(str(self.kernel.tile.variable), "tile_begin", "tile_end", pragma)

    def _nest(self, statements: list[Statement], phase: Phase, loops: list[Loop]) -> None:
        over, rest = loops[0], loops[1:]
        end = self.expressions.dim(over.extent)
        if rest or self.kernel.tile is not None:
            loop = ForLoop(str(over.variable), "0", end, "")
            self._in_loop(
                statements,
                loop,
                lambda: (
                    self._nest(loop.body, phase, rest) if rest else self._tiled(loop.body, phase)
                ),
            )
        elif self.ahead is not None and phase is self.ahead.phase:
            statements.append(self._in_pieces(phase, self.ahead))
        else:
            self._innermost(statements, phase, "0", end, over.extent)

    def _innermost(
        self, statements: list[Statement], phase: Phase, start: str, end: str, count: Dim | None
    ) -> None:
        """The innermost loop of a phase, or `count` iterations of it: None where that is not always the same."""
        strips = self._strips(phase, count)
        if strips > 1 and isinstance(count, int):
            self._in_strips(statements, phase, start, count // strips, strips)
            return
        loop = ForLoop(str(phase.loops[-1].variable), start, end, self._pragma(phase))
        self._in_loop(statements, loop, lambda: self._body(loop.body, phase))

    def _strips(self, phase: Phase, count: Dim | None) -> int:
        """Into how many strips iterations of the innermost loop of a phase are cut."""
        if self._is_sequential(phase):
            return 1
        kept = sum(len(self._companions(s)) for s in phase.body if isinstance(s, Accumulate))
        return strip_count(phase, count, kept)

    def _in_strips(
        self, statements: list[Statement], phase: Phase, start: str, length: int, strips: int
    ) -> None:
        """Iterations in strips, each with accumulators of its own, which are combined after them."""
        reductions = [s for s in phase.body if isinstance(s, Accumulate)]
        kept = [companion for s in reductions for companion in self._companions(s)]
        for strip in range(1, strips):
            statements += [f"{c} {of_strip(name, strip)} = {first};" for c, name, first in kept]
        loop = ForLoop("strip", "0", str(length), self._pragma(phase, strips))
        variable = str(phase.loops[-1].variable)
        first = "" if start == "0" else f"{start} + "
        self.expressions.push(loop.body)
        for strip in range(strips):
            block = Block("")
            self.expressions.push(block.body)
            offset = f" + {strip * length}" if strip else ""
            block.body.append(f"const int64_t {variable} = {first}strip{offset};")
            self.expressions.bind(variable)
            for _, name, _ in kept:
                self.expressions.accumulators[name] = of_strip(name, strip)
            self._body(block.body, phase)
            self.expressions.pop()
            loop.body.append(block)
        self.expressions.pop()
        statements.append(loop)
        self.expressions.accumulators.update({name: name for _, name, _ in kept})
        statements += [
            text for reduction in reductions for text in combined_strips(reduction, strips)
        ]

    def _in_pieces(self, phase: Phase, ahead: Ahead) -> Block:
        """A pass over a row, piece by piece, each after the request for what other passes need."""
        end = str(ahead.extent)
        pieces = Block(f"for (int64_t piece = 0; piece < {end}; piece += {PIECE})")
        last = f"piece + {PIECE}"
        is_even = ahead.extent % PIECE == 0
        if not is_even:
            last = f"{last} < {end} ? {last} : {end}"
        self.expressions.push(pieces.body)
        self.expressions.bind("piece")
        pieces.body.append(f"const int64_t piece_end = {last};")
        self._ask(pieces.body, ahead.rows)
        request = IfBlock("row + 1 < end")
        self.expressions.push(request.then)
        self._ask(request.then, ahead.next_rows)
        self.expressions.pop()
        pieces.body.append(request)
        self._innermost(pieces.body, phase, "piece", "piece_end", PIECE if is_even else None)
        self.expressions.pop()
        return pieces

    def _ask(self, statements: list[Statement], rows: tuple[tuple[Buffer, Dim], ...]) -> None:
        """Prefetches of the lines of a piece."""
        for buffer, address in rows:
            pointer = self.parameters.pointer(buffer)
            first = self.expressions.dim(self.parameters.address(buffer, address))
            step = LINE_BYTES // buffer.dtype.itemsize
            lines = Block(f"for (int64_t line = piece; line < piece_end; line += {step})")
            lines.body.append(f"__builtin_prefetch({pointer} + {first} + line, 0, 2);")
            statements.append(lines)

    def _tiled(self, statements: list[Statement], phase: Phase) -> None:
        """The loop over a tile, left out where nothing of it would count: outside a window."""
        assert self.kernel.tile is not None, "only tiled kernels have a tile loop"
        condition, phase = hoisted(phase, self.kernel.tile.variable)
        loop = self._tile_loop("" if self._is_sequential(phase) else "#pragma omp simd")
        if condition is None:
            self._in_loop(statements, loop, lambda: self._body(loop.body, phase))
            return
        block = IfBlock(self.expressions.scalar(condition))
        self.expressions.push(block.then, is_masked=True)
        self._in_loop(block.then, loop, lambda: self._body(loop.body, phase))
        self.expressions.pop()
        statements.append(block)

    def _is_sequential(self, phase: Phase) -> bool:
        """Whether iterations must run in order as far as the C compiler is told."""
        return self.kernel.is_serial or any(
            isinstance(s, Accumulate) and not (s.dtype.is_float and s.kind in _SIMD)
            for s in phase.body
        )

    def _pragma(self, phase: Phase, strips: int = 1) -> str:
        if self._is_sequential(phase):
            return ""
        clauses = []
        for statement in phase.body:
            if isinstance(statement, Accumulate):
                for strip in range(strips):
                    name = of_strip(statement.name, strip)
                    clauses.append(f" reduction({_SIMD[statement.kind]}:{name})")
                    if statement.kind in ("max", "min"):
                        nan = of_strip(f"{statement.name}_nan", strip)
                        clauses.append(f" reduction(|:{nan})")
        return "#pragma omp simd" + "".join(clauses)

    def _body(self, statements: list[Statement], phase: Phase) -> None:
        self._statements(statements, phase)

    def _statements(self, statements: list[Statement], phase: Phase) -> None:
        for statement in phase.body:
            if isinstance(statement, Store):
                self.stores.store(statements, statement)
            else:
                self._combine(statements, statement)

    def _stores(self, statements: list[Statement], stores: tuple[Store, ...]) -> None:
        for store in stores:
            self.stores.store(statements, store)

    # ---- reductions

    def _companions(self, statement: Accumulate) -> list[tuple[str, str, str]]:
        """(type, name, initial value) of everything a reduction keeps."""
        name, ctype = statement.name, cpu.C_TYPE[statement.dtype]
        found = [(ctype, name, initial_text(statement))]
        if self._notes_nan(statement):
            found.append(("int", f"{name}_nan", "0"))
        if statement.kind.startswith("arg"):
            found = [(ctype, f"{name}_best", initial_text(statement)), ("int64_t", name, "-1")]
        return found

    def _notes_nan(self, statement: Accumulate) -> bool:
        """Whether a NaN is kept aside: among lanes that are combined at the end it would get lost."""
        is_extreme = statement.kind in ("max", "min") and statement.dtype.is_float
        return is_extreme and self.kernel.tile is None

    def _declare(self, statements: list[Statement], statement: Accumulate) -> None:
        tile = self.kernel.tile
        for ctype, name, initial in self._companions(statement):
            if tile is None:
                statements.append(f"{ctype} {name} = {initial};")
                self.expressions.bind(name)
                self.expressions.accumulators[name] = name
            else:
                statements.append(f"{ctype} {name}[{TILE}];")
                loop = ForLoop("lane", "0", str(TILE), "")
                loop.body.append(f"{name}[lane] = {initial};")
                statements.append(loop)
                lane = f"{name}[{tile.variable} - tile_begin]"
                self.expressions.accumulators[name] = self.expressions.declare(
                    lane, str(tile.variable)
                )

    def _combine(self, statements: list[Statement], statement: Accumulate) -> None:
        value = self.expressions.scalar(statement.value)
        dtype, name = (
            statement.dtype,
            self.expressions.accumulators.get(statement.name, statement.name),
        )
        match statement.kind:
            case "sum" | "prod":
                operation = "add" if statement.kind == "sum" else "mul"
                text, function = cpu.operation_text(operation, (name, value), dtype)
                if function is not None:
                    self.stores.need(function)
                statements.append(f"{name} = {text};")
            case "max" | "min":
                sign = ">" if statement.kind == "max" else "<"
                wins = f"{value} {sign} {name}"
                if self._notes_nan(statement):
                    nan = self.expressions.accumulators[f"{statement.name}_nan"]
                    statements.append(f"{nan} |= {value} != {value};")
                elif dtype.is_float:
                    wins = f"({wins}) | ({value} != {value})"
                statements.append(f"{name} = {wins} ? {value} : {name};")
            case "any" | "all" | "xor":
                operator = {"any": "|", "all": "&", "xor": "^"}[statement.kind]
                statements.append(f"{name} = {name} {operator} {value};")
            case _:
                self._combine_position(statements, statement, value)

    def _combine_position(
        self, statements: list[Statement], statement: Accumulate, value: str
    ) -> None:
        best = self.expressions.accumulators[f"{statement.name}_best"]
        name = self.expressions.accumulators[statement.name]
        sign = ">" if statement.kind == "argmax" else "<"
        condition = f"{name} < 0 || {value} {sign} {best}"
        if statement.dtype.is_float:
            condition += f" || ({value} != {value} && {best} == {best})"
        position = self.expressions.dim(statement.position)
        statements.append(IfBlock(condition, [f"{best} = {value};", f"{name} = {position};"]))

    def _finish(self, statements: list[Statement], statement: Accumulate) -> None:
        if self._notes_nan(statement):
            nan = cpu.literal_text(float("nan"), statement.dtype)
            name = statement.name
            statements.append(f"{name} = {name}_nan ? {nan} : {name};")
