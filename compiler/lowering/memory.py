"""The memory plan: where in one arena every temporary lies.

Buffers whose lives do not overlap share bytes. Static sizes are placed largest first at the lowest offset that is free;
sizes with symbols share slots of equal size, laid out after them; sizes known only mid-run are allocated when
their symbols are set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..ir import shapes
from ..ir.graph import Graph
from ..ir.shapes import Dim, Symbol
from ..kernels import Scalar
from .expand import scalars_in
from .program import (
    Accumulate,
    AllocateStep,
    AttentionStep,
    BranchStep,
    Buffer,
    CallStep,
    CheckStep,
    ConvolutionStep,
    CopyStep,
    CountedStep,
    Element,
    LoopKernel,
    PackedConstant,
    ProductStep,
    Program,
    Slot,
    Space,
    Step,
    Store,
    SymbolStep,
    WhileStep,
)  # fmt: skip

ALIGNMENT = 64


def plan_memory(
    graph: Graph, steps: tuple[Step, ...], constants: tuple[tuple[Buffer, PackedConstant], ...]
) -> Program:
    """The program with every temporary placed."""
    unbacked = frozenset(symbols_defined(steps))
    steps = tuple(_allocate(steps, unbacked, frozenset(), set()))
    lives = _lives(steps)
    static: list[tuple[Buffer, int]] = []
    symbolic: list[tuple[Buffer, Dim]] = []
    for buffer in lives:
        if buffer.space is not Space.ARENA or is_dynamic(buffer, unbacked):
            continue
        size = shapes.element_count(buffer.type.shape) * buffer.dtype.itemsize
        if isinstance(size, int):
            static.append((buffer, max(size, 1)))
        else:
            symbolic.append((buffer, size))
    offsets, total = _place_static(static, lives)
    slots = _place_symbolic(symbolic, lives)
    slot_sizes: list[Dim] = []
    placed: dict[Buffer, int | Slot] = dict(offsets)
    for number, (size, buffers) in enumerate(slots):
        slot_sizes.append(size)
        placed.update((buffer, Slot(number)) for buffer in buffers)
    return Program(graph, steps, constants, placed, total, tuple(slot_sizes), unbacked)


def is_dynamic(buffer: Buffer, unbacked: frozenset[Symbol]) -> bool:
    """Whether a buffer's size depends on symbols the run itself sets."""
    return any(shapes.symbols_in(size) & unbacked for size in buffer.type.shape)


def symbols_defined(steps: Iterable[Step]) -> Iterator[Symbol]:
    """Symbols that steps set, nested steps included."""
    for step in steps:
        if isinstance(step, SymbolStep):
            yield step.symbol
        for nested in _nested(step):
            yield from symbols_defined(nested)


def _nested(step: Step) -> tuple[tuple[Step, ...], ...]:
    match step:
        case BranchStep():
            return step.then, step.otherwise
        case WhileStep():
            return step.test, step.body
        case CountedStep():
            return (step.body,)
    return ()


def buffers_of(step: Step) -> Iterator[Buffer]:
    """Every buffer a step touches, nested steps included."""
    yield from buffers_touched(step)
    for nested in _nested(step):
        for inner in nested:
            yield from buffers_of(inner)


def buffers_touched(step: Step) -> Iterator[Buffer]:
    """Every buffer a step touches itself."""
    match step:
        case LoopKernel():
            local = {buffer for buffer, _ in step.locals}  # on a thread's stack, not in the arena
            for phase in step.phases:
                statements = (*phase.before, *phase.body)
                yield from (b for b in _statement_buffers(statements) if b not in local)
        case ProductStep():
            yield step.left.buffer
            yield step.right.buffer
            if step.levels is not None:
                yield step.levels.column_sums
            yield from _statement_buffers(step.epilogue.stores)
        case ConvolutionStep():
            yield step.x.buffer
            yield step.weight.buffer
            if step.levels is not None:
                yield step.levels.column_sums
            yield from _statement_buffers(step.epilogue.stores)
        case AttentionStep():
            yield from (view.buffer for view in step.operands)
            yield from _statement_buffers(step.epilogue.stores)
        case CallStep():
            yield from (view.buffer for view in step.inputs)
            yield from step.outputs
            yield from step.scratch
        case SymbolStep() | CheckStep():
            yield step.source.buffer
        case CopyStep():
            yield step.source
            yield step.target
        case BranchStep() | WhileStep():
            yield step.condition.buffer
        case AllocateStep():
            yield step.buffer


def _statement_buffers(statements: Iterable[Store | Accumulate]) -> Iterator[Buffer]:
    roots: list[Scalar] = []
    for statement in statements:
        roots.append(statement.value)
        if isinstance(statement, Store):
            yield statement.buffer
            if statement.condition is not None:
                roots.append(statement.condition)
            for atom in shapes.atoms_in(statement.address):
                if isinstance(atom, shapes.Indirect) and isinstance(atom.scalar, Scalar):
                    roots.append(atom.scalar)
    for scalar in scalars_in(roots):
        if isinstance(scalar, Element):
            yield scalar.buffer


def _allocate(
    steps: tuple[Step, ...],
    unbacked: frozenset[Symbol],
    known: frozenset[Symbol],
    done: set[Buffer],
) -> Iterator[Step]:
    """The steps, with the allocation of each dynamic buffer where its size is first known and it is needed."""
    for step in steps:
        for buffer in dict.fromkeys(buffers_of(step)):
            if buffer in done or not is_dynamic(buffer, unbacked):
                continue
            if buffer.space not in (Space.ARENA, Space.OUTPUT):
                continue
            needed = {s for size in buffer.type.shape for s in shapes.symbols_in(size)} & unbacked
            if needed <= known:
                done.add(buffer)
                yield AllocateStep(buffer)
        match step:
            case BranchStep():
                then = tuple(_allocate(step.then, unbacked, known, done))
                yield replace(
                    step,
                    then=then,
                    otherwise=tuple(_allocate(step.otherwise, unbacked, known, done)),
                )
            case WhileStep():
                test = tuple(_allocate(step.test, unbacked, known, done))
                yield replace(
                    step, test=test, body=tuple(_allocate(step.body, unbacked, known, done))
                )
            case CountedStep():
                yield replace(step, body=tuple(_allocate(step.body, unbacked, known, done)))
            case _:
                yield step
        known = known | frozenset(symbols_defined((step,)))


def _lives(steps: tuple[Step, ...]) -> dict[Buffer, tuple[int, int]]:
    """First and last step that touch each buffer; everything inside a control-flow step lives through all of it."""
    lives: dict[Buffer, tuple[int, int]] = {}
    for number, step in enumerate(steps):
        for buffer in buffers_of(step):
            first, _ = lives.get(buffer, (number, number))
            lives[buffer] = (first, number)
    return lives


def _overlap(left: tuple[int, int], right: tuple[int, int]) -> bool:
    return left[0] <= right[1] and right[0] <= left[1]


def _place_static(
    buffers: list[tuple[Buffer, int]], lives: dict[Buffer, tuple[int, int]]
) -> tuple[dict[Buffer, int], int]:
    offsets: dict[Buffer, int] = {}
    placed: list[tuple[int, int, tuple[int, int]]] = []
    total = 0
    order = sorted(range(len(buffers)), key=lambda i: (-buffers[i][1], lives[buffers[i][0]][0], i))
    for number in order:
        buffer, size = buffers[number]
        size = -(-size // ALIGNMENT) * ALIGNMENT
        live = lives[buffer]
        offset = 0
        for start, end, _other in sorted(p for p in placed if _overlap(p[2], live)):
            if offset + size <= start:
                break
            offset = max(offset, end)
        offsets[buffer] = offset
        placed.append((offset, offset + size, live))
        total = max(total, offset + size)
    return offsets, total


def _place_symbolic(
    buffers: list[tuple[Buffer, Dim]], lives: dict[Buffer, tuple[int, int]]
) -> list[tuple[Dim, list[Buffer]]]:
    slots: list[tuple[Dim, list[Buffer]]] = []
    for buffer, size in sorted(buffers, key=lambda item: lives[item[0]]):
        for slot_size, members in slots:
            free = not any(_overlap(lives[other], lives[buffer]) for other in members)
            if slot_size == size and free:
                members.append(buffer)
                break
        else:
            slots.append((size, [buffer]))
    return slots
