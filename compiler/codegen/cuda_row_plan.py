"""How lanes take rows on the device: in pieces of 16 bytes, each read from global memory once.

Before: three phases over a row of 768 floats that a warp has, all of which read x[row * 768 + position]
After:  a lane has six pieces of four neighbours; it holds x in 24 registers from the first phase to the last
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.shapes import Dim, Indirect, Symbol
from ..kernels import Scalar
from ..lowering.emit_loops import depends_on
from ..lowering.expand import scalars_in
from ..lowering.program import Accumulated, Buffer, Element, Loop, LoopKernel, Phase, Store
from ..records import dataclass

MOST_REGISTERS_BYTES = 256
"""What a lane holds of a row in registers: 64 of the 255 that a thread may have."""
MOST_SHARED_BYTES = 96 << 10
"""What a block holds of a row in shared memory, of the 99 KiB that it may have on every GPU."""
_LANES_OF_A_BLOCK = 256

Place = tuple[Buffer, Dim]
"""A buffer and an address in it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A row of a buffer that lanes hold from phase to phase."""

    buffer: Buffer
    address: Dim
    dtype: DType
    is_read: bool
    """Whether it is read before the first phase; where not, it is held once a phase has stored it."""
    slot: int
    """Which of the rows that there is room for it is in: two may share one, one after the other."""

    @property
    def place(self) -> Place:
        return (self.buffer, self.address)


@dataclass(frozen=True, slots=True)
class RowPlan:
    """How lanes take a row of `count` elements: in turns, a piece of `vector` neighbours for each lane."""

    count: Dim
    lanes: int
    vector: int
    held: tuple[Held, ...]
    in_registers: bool
    """Where it is held; otherwise in shared memory."""

    @property
    def pieces(self) -> int:
        """Pieces of a row whose length is known."""
        assert isinstance(self.count, int), "registers are counted when a program is built"
        return self.count // self.vector

    @property
    def turns(self) -> int:
        """Pieces that a lane has at most."""
        return -(-self.pieces // self.lanes)

    @property
    def slots(self) -> dict[int, DType]:
        """The rows that there is room for."""
        return {held.slot: held.dtype for held in self.held}

    def row_bytes(self, dtype: DType) -> Dim:
        """Shared memory that one of them takes."""
        return shapes.ceildiv(self.count * dtype.itemsize, 16) * 16

    @property
    def shared_bytes(self) -> Dim:
        """Shared memory that they take together."""
        total: Dim = 0
        for dtype in () if self.in_registers else self.slots.values():
            total = total + self.row_bytes(dtype)
        return total


def row_loops(kernel: LoopKernel) -> tuple[Loop, ...]:
    """The inner loops, where all phases that have any have the same."""
    found = {phase.loops for phase in kernel.phases if phase.body}
    return found.pop() if len(found) == 1 else ()


def plan_row(kernel: LoopKernel, lanes: int) -> RowPlan | None:
    """What lanes hold of a row of known length; `None` where up to a warp has no room for it."""
    count = shapes.element_count(loop.extent for loop in row_loops(kernel))
    if not row_loops(kernel) or not isinstance(count, int) or count == 0:
        return None
    plan = RowPlan(count, lanes, vector_width(kernel, lanes), _held(kernel), in_registers=True)
    row_bytes = plan.turns * plan.vector * sum(t.itemsize for t in plan.slots.values())
    if row_bytes <= MOST_REGISTERS_BYTES:
        return plan
    if lanes < _LANES_OF_A_BLOCK:
        return None
    room, fitting = MOST_SHARED_BYTES, set[int]()
    for slot, dtype in plan.slots.items():
        size_bytes = plan.row_bytes(dtype)
        assert isinstance(size_bytes, int), "of a row of known length"
        if size_bytes <= room:
            room -= size_bytes
            fitting.add(slot)
    local = {buffer for buffer, _ in kernel.locals}
    assert all(h.slot in fitting for h in plan.held if h.buffer in local), "LARGEST_LOCAL fits"
    return replace(plan, held=tuple(h for h in plan.held if h.slot in fitting), in_registers=False)


def plan_fitting_row(kernel: LoopKernel, lanes: int) -> RowPlan | None:
    """What lanes hold in shared memory of a row whose length is known when it is there, if it fits; `None`: nothing."""
    count = shapes.element_count(loop.extent for loop in row_loops(kernel))
    held = _held(kernel)
    plan = RowPlan(count, lanes, vector_width(kernel, lanes), held, in_registers=False)
    return plan if held else None


def vector_width(kernel: LoopKernel, lanes: int) -> int:
    """How many neighbours of the innermost loop a lane takes at once: 16 bytes where they lie side by side and are
    aligned, and as many as leave none of the lanes without work.
    """
    loops = row_loops(kernel)
    if not loops:
        return 1
    accesses = [place for place in _accesses(kernel) if _changes_with(place[1], loops)]
    last = loops[-1]
    along = [b.dtype.itemsize for b, a in accesses if shapes.stride_along(a, last.variable) == 1]
    smallest = min((size for size in along if size > 1), default=1 if along else 16)
    count = shapes.element_count(loop.extent for loop in loops)
    most = max(16 // smallest, 1)
    while most > 1 and isinstance(count, int) and most * lanes > count:
        most //= 2
    return aligned_width([address for _, address in accesses], last, most)


def aligned_width(addresses: Sequence[Dim], loop: Loop, most: int) -> int:
    """The longest pieces of a loop, of `most` at most, whose elements lie side by side and are aligned."""
    vector = most
    while vector > 1 and not (
        shapes.mod(loop.extent, vector) == 0
        and all(_is_aligned(address, loop, vector) for address in addresses)
    ):
        vector //= 2
    return vector


def piece_of(loop: Loop, vector: int) -> tuple[Symbol, Dim]:
    """The variable of the pieces of a loop, and its position in terms of it and of `element`."""
    extent = shapes.floordiv(loop.extent, vector)
    high = extent - 1 if isinstance(extent, int) else shapes.INFINITY
    piece = Symbol(f"{loop.variable}_piece", 0, high)
    element = Symbol("element", 0, vector - 1)
    return piece, shapes.of_atom(piece) * vector + shapes.of_atom(element)


def _is_aligned(address: Dim, loop: Loop, vector: int) -> bool:
    """Whether the neighbours of a piece lie at one place, or side by side from a multiple of their number on."""
    if any(_reads_along(atom, loop.variable) for atom in shapes.atoms_in(address)):
        return True  # anywhere: no order of accesses is better than another
    _, position = piece_of(loop, vector)
    split = shapes.substitute(address, {loop.variable: position})
    element = Symbol("element", 0, vector - 1)
    stride = shapes.stride_along(split, element, lambda atom, variable: False)
    if stride == 0 or isinstance(split, int):
        return True
    others = (c for monomial, c in split.terms.items() if monomial != ((element, 1),))
    return stride == 1 and all(coefficient % vector == 0 for coefficient in others)


def _reads_along(atom: shapes.Atom, variable: Symbol) -> bool:
    return (
        isinstance(atom, Indirect)
        and isinstance(atom.scalar, Scalar)
        and any(depends_on(scalar, variable) for scalar in scalars_in([atom.scalar]))
    )


def _changes_with(address: Dim, loops: Iterable[Loop]) -> bool:
    variables = {loop.variable for loop in loops}
    return not variables.isdisjoint(shapes.symbols_in(address)) or any(
        _reads_along(atom, variable) for atom in shapes.atoms_in(address) for variable in variables
    )


def _accesses(kernel: LoopKernel) -> Iterator[Place]:
    """What phases read and write of buffers that are no temporary rows."""
    local = {buffer for buffer, _ in kernel.locals}
    for phase in kernel.phases:
        for statement in phase.body:
            if isinstance(statement, Store) and statement.buffer not in local:
                yield statement.buffer, statement.address
        for element in elements_of(phase):
            if element.buffer not in local:
                yield element.buffer, element.address


def elements_of(phase: Phase) -> list[Element]:
    """Every element that a phase reads inside its loops."""
    roots: list[Scalar] = []
    for statement in phase.body:
        roots.append(statement.value)
        if isinstance(statement, Store) and statement.condition is not None:
            roots.append(statement.condition)
    return [scalar for scalar in scalars_in(roots) if isinstance(scalar, Element)]


def unconditional(scalar: Scalar) -> Iterator[Element]:
    """Elements that are read whenever a scalar is computed."""
    match scalar:
        case Element():
            yield scalar
        case kernels.Apply():
            for arg in scalar.args:
                yield from unconditional(arg)
        case kernels.Cast():
            yield from unconditional(scalar.arg)


def _held(kernel: LoopKernel) -> tuple[Held, ...]:
    """Temporary rows, rows that a phase stores and a later one reads, rows that several phases read."""
    uses = _Uses(kernel)
    stored = (*uses.stored_rows(is_local=True), *uses.stored_rows(is_local=False))
    rows = [replace(row, slot=slot) for slot, row in enumerate(stored)]
    loops = row_loops(kernel)
    slots = len(rows)
    for place, phases in uses.reads.items():
        is_known = place in uses.sure and place[0] not in uses.written
        if not is_known or len(phases) < 2 or not _changes_with(place[1], loops):
            continue
        if _awaits_results(place[1]):
            continue
        successor = uses.successor(place, rows)
        rows.append(
            Held(*place, place[0].dtype, True, slots if successor is None else successor.slot)
        )
        slots += successor is None
    return tuple(rows)


class _Uses:
    """Where the phases of a kernel read and store."""

    def __init__(self, kernel: LoopKernel) -> None:
        self.local = [buffer for buffer, _ in kernel.locals]
        self.reads: dict[Place, list[int]] = {}
        """The phases that read from a place."""
        self.stores: dict[Place, list[tuple[int, Store]]] = {}
        self.sure: set[Place] = set()
        """Places that every iteration reads from."""
        for number, phase in enumerate(kernel.phases):
            for place in dict.fromkeys((e.buffer, e.address) for e in elements_of(phase)):
                self.reads.setdefault(place, []).append(number)
            for statement in phase.body:
                if isinstance(statement, Store):
                    place = (statement.buffer, statement.address)
                    self.stores.setdefault(place, []).append((number, statement))
                if not isinstance(statement, Store) or statement.condition is None:
                    self.sure.update((e.buffer, e.address) for e in unconditional(statement.value))
        self.written = [buffer for buffer, _ in self.stores]

    def stored_rows(self, *, is_local: bool) -> Iterator[Held]:
        """Rows that one phase stores, as they are, and later ones read."""
        for place, ((phase, store), *others) in self.stores.items():
            buffer = place[0]
            if (buffer in self.local) is not is_local:
                continue
            is_kept = store.value.dtype is buffer.dtype and store.combine == "set"
            is_only = not others and self.written.count(buffer) == 1 and store.condition is None
            if is_local or (is_kept and is_only and min(self.reads.get(place, [-1])) > phase):
                yield Held(*place, buffer.dtype, False, -1)

    def successor(self, place: Place, rows: Iterable[Held]) -> Held | None:
        """A row that is stored where this one is read for the last time, and may take its place."""
        taken = [row.slot for row in rows]
        for row in rows:
            if row.is_read or row.dtype is not place[0].dtype or taken.count(row.slot) > 1:
                continue
            phase, store = self.stores[row.place][0]
            last_read = [(e.buffer, e.address) for e in unconditional(store.value)]
            if self.reads[place][-1] == phase and place in last_read:
                return row
        return None


def _awaits_results(address: Dim) -> bool:
    """Whether an address depends on what a phase reduces."""
    indices = [a.scalar for a in shapes.atoms_in(address) if isinstance(a, Indirect)]
    roots = [scalar for scalar in indices if isinstance(scalar, Scalar)]
    return any(isinstance(scalar, Accumulated) for scalar in scalars_in(roots))
