"""From a fused group to a loop kernel: phases, registers, what is stored.

Before: group {max, exp, sum, div} over rows [8], inner [64]
After:  for row: (phase 0) for i: m = max(x); (phase 1) for i: e = exp(x - m); sum += e; (phase 2) for i: y = e / sum
"""

from __future__ import annotations

from collections.abc import Callable

from .. import kernels
from ..ir import shapes
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim, Shape, Symbol
from ..kernels import Index, Reduction, Scalar
from ..ops.view import reshaped_index
from .expand import Expander, scalars_in
from .group import Group, Grouping, Member
from .program import (
    Accumulate,
    Accumulated,
    Buffer,
    Element,
    Loop,
    LoopKernel,
    Phase,
    Space,
    Store,
)  # fmt: skip
from .storage import estimate

RECOMPUTE = 6
"""Instructions that a later phase does again rather than keep a row in memory."""
LARGEST_LOCAL = 1 << 16
"""Bytes of rows that fit a thread's own memory."""
STRIDED = 8
"""Accesses side by side that cost as much as one with a stride, a line of memory for each element."""
SHORTEST_BLOCK = 8
"""Iterations that make transposing in blocks worth while."""
SMALL_BOX = 64
"""Reductions over fewer elements are vectorised across rows."""

BufferOf = Callable[[Value], Buffer]


class LoopEmitter:
    """Builds the kernel of one group."""

    def __init__(
        self,
        grouping: Grouping,
        group: Group,
        buffer_of: BufferOf,
        is_needed: Callable[[Value], bool],
        *,
        has_locals: bool = True,
    ) -> None:
        self.grouping = grouping
        self.group = group
        self.buffer_of = buffer_of
        self.is_needed = is_needed
        self.has_locals = has_locals
        """Whether rows of temporaries are kept, rather than computed again by later phases."""
        self.locals: dict[Member, Buffer] = {}
        self.phase_of: dict[Member, int] = {}
        self._accumulators: dict[Member, str] = {}
        self._assign_phases()

    # ---- phases

    def _assign_phases(self) -> None:
        group = self.group
        variables = group.variables()
        for member in group.members:
            phase = 0
            for value, _ in self._loads(member, variables):
                producer = group.find(value)
                if producer is None or producer is member:
                    continue
                ready = self.phase_of[producer] + (1 if producer.role == "reduction" else 0)
                phase = max(phase, ready)
            self.phase_of[member] = phase
            if member.role == "reduction":
                self._accumulators[member] = f"acc{len(self._accumulators)}"

    def _loads(self, member: Member, variables: Index) -> list[tuple[Value, Index]]:
        found: list[tuple[Value, Index]] = []

        def leaf(value: Value, position: Index) -> Scalar:
            found.append((value, position))
            return kernels.Load(value.dtype.compute, value, position)

        self._evaluate(member, self._expander(leaf), variables)
        return found

    def _expander(self, leaf: Callable[[Value, Index], Scalar]) -> Expander:
        return Expander(self.grouping.definitions.of, self.grouping.plan.stored, leaf)

    def _evaluate(self, member: Member, expander: Expander, variables: Index) -> Scalar:
        group = self.group
        reduced: Index = ()
        if member.role == "reduction":
            definition = self._reduction(member)
            reduced = reshaped_index(variables[group.split :], group.inner, definition.extents)
        return self.grouping.body(member, expander, group.index_of(member, variables), reduced)

    def _reduction(self, member: Member) -> Reduction:
        definition = self.grouping.definitions.of[member.value]
        assert isinstance(definition, Reduction), "a reduction's definition"
        return definition

    # ---- the kernel

    def emit(self, name: str) -> LoopKernel:
        """The kernel, with loops merged where every access allows it."""
        self._choose_locals()
        self._merge_loops()
        group = self.group
        variables = group.variables()
        last_phase = max(
            (self.phase_of[m] + (m.role == "reduction") for m in group.members), default=0
        )
        phases = tuple(self._phase(number, variables) for number in range(last_phase + 1))
        split = len(group.domain) - 1 if group.split is None else group.split
        loops = tuple(
            Loop(atom, size)
            for v, size in zip(variables, group.domain, strict=False)
            if isinstance(v, shapes.SymExpr) and isinstance(atom := shapes.atom_of(v), Symbol)
        )
        row_count = sum(1 for v in variables[: max(split, 0)] if not isinstance(v, int))
        rows, inner = loops[:row_count], loops[row_count:]
        phases = tuple(Phase(p.before, inner if p.body else (), p.body) for p in phases)
        phases = tuple(p for p in phases if p.before or p.body)
        tile = self._choose_tile(rows, inner, phases)
        definitions = self.grouping.definitions
        return LoopKernel(
            name,
            tuple(loop for loop in rows if loop is not tile),
            phases,
            tuple(definitions.node_of[m.value].origin for m in group.members),
            tile,
            tuple((buffer, estimate(group.inner)) for buffer in self.locals.values()),
        )

    def _choose_locals(self) -> None:
        """Rows that a later phase reads and that are too dear to compute again."""
        group = self.group
        variables = group.variables()
        self.locals.clear()
        if not self.has_locals:
            return
        wanted: set[Member] = set()
        for member in group.members:
            for value, _ in self._loads(member, variables):
                producer = group.find(value)
                if (
                    producer is not None
                    and producer.role == "full"
                    and self.phase_of[producer] < self.phase_of[member]
                    and not self.is_needed(value)
                    and self.grouping.plan.body_cost.get(value, 0) > RECOMPUTE
                ):
                    wanted.add(producer)
        for member in group.members:
            if member in wanted:
                dtype = member.value.dtype.compute
                self.locals[member] = Buffer(
                    f"row{len(self.locals)}", TensorType(dtype, group.inner), Space.ARENA
                )

    def has_long_rows(self) -> bool:
        """Whether rows of temporaries are too long, or of unknown length, for a thread's own memory."""
        self._choose_locals()
        count = shapes.element_count(self.group.inner)
        width = sum(buffer.dtype.itemsize for buffer in self.locals.values())
        fits = isinstance(count, int) and count * width <= LARGEST_LOCAL
        return bool(self.locals) and not fits

    def local_values(self) -> list[Value]:
        """The values whose rows are kept."""
        return [member.value for member in self.locals]

    def _phase(self, number: int, variables: Index) -> Phase:
        group = self.group
        expander = self._expander(self._leaf(number, variables))
        before: list[Store] = []
        body: list[Store | Accumulate] = []
        for member in group.members:
            if member.role == "reduction" and self.phase_of[member] + 1 == number:
                if self.is_needed(member.value):
                    index = group.index_of(member, variables)
                    before.append(self._store(member, index, self._accumulated(member)))
            elif self.phase_of[member] == number:
                scalar = self._evaluate(member, expander, variables)
                if member.role == "reduction":
                    body.append(self._accumulate(member, scalar, variables))
                elif self.is_needed(member.value) or member.offset is not None:
                    store = self._store(member, group.index_of(member, variables), scalar)
                    (before if member.role == "row" else body).append(store)
                elif member in self.locals:
                    position = shapes.flatten_index(variables[group.split :], group.inner)
                    body.append(Store(self.locals[member], position, scalar))
        return Phase(tuple(before), (), tuple(body))

    def _accumulated(self, member: Member) -> Scalar:
        return Accumulated(member.value.dtype.compute, self._accumulators[member])

    def _accumulate(self, member: Member, scalar: Scalar, variables: Index) -> Accumulate:
        definition = self._reduction(member)
        inner = variables[self.group.split :]
        reduced = reshaped_index(inner, self.group.inner, definition.extents)
        position = shapes.flatten_index(reduced, definition.extents)
        return Accumulate(
            self._accumulators[member], definition.kind, scalar, scalar.dtype, position
        )

    def _store(self, member: Member, index: Index, scalar: Scalar) -> Store:
        if member.offset is not None:
            axis, start = member.offset
            index = (*index[:axis], index[axis] + start, *index[axis + 1 :])
        address = shapes.flatten_index(index, member.value.shape)
        return Store(self.buffer_of(member.value), address, scalar)

    def _leaf(self, number: int, variables: Index) -> Callable[[Value, Index], Scalar]:
        group = self.group
        own: dict[Member, Scalar] = {}
        expander: Expander

        def leaf(value: Value, index: Index) -> Scalar:
            producer = group.find(value)
            if producer is None:
                return Element(
                    value.dtype.compute,
                    self.buffer_of(value),
                    shapes.flatten_index(index, value.shape),
                )
            if producer.role == "reduction":
                return self._accumulated(producer)
            if producer.role == "full" and self.phase_of[producer] < number:
                if producer in self.locals:
                    inner = variables[group.split :]
                    position = shapes.flatten_index(inner, group.inner)
                    return Element(value.dtype.compute, self.locals[producer], position)
                if self.is_needed(value) and value.dtype is value.dtype.compute:
                    return Element(
                        value.dtype.compute,
                        self.buffer_of(value),
                        shapes.flatten_index(index, value.shape),
                    )
            if producer not in own:
                own[producer] = self._evaluate(producer, expander, variables)
            return own[producer]

        expander = self._expander(leaf)
        return leaf

    # ---- loop structure

    def _merge_loops(self) -> None:
        """Neighbouring dimensions become one loop where that makes no access harder."""
        group = self.group
        if group.split is None:
            group.domain = self._merged(group.domain, lambda merged: (merged, None))
            return
        inner = group.inner
        rows = self._merged(group.rows, lambda merged: ((*merged, *inner), len(merged)))
        count = len(rows)
        inner = self._merged(inner, lambda merged: ((*rows, *merged), count))
        group.domain, group.split = (*rows, *inner), count

    def _merged(self, sizes: Shape, place: Callable[[Shape], tuple[Shape, int | None]]) -> Shape:
        group = self.group
        current = tuple(size for size in sizes if size != 1) or ((1,) if sizes else ())
        group.domain, group.split = place(current)
        difficulty = self._difficulty()
        position = len(current) - 2
        while position >= 0:
            merged = (
                *current[:position],
                current[position] * current[position + 1],
                *current[position + 2 :],
            )
            group.domain, group.split = place(merged)
            if (found := self._difficulty()) <= difficulty:
                current, difficulty = merged, found
            position -= 1
        group.domain, group.split = place(current)
        return current

    def _difficulty(self) -> int:
        """How many divisions and the like the accesses of the group need."""
        variables = self.group.variables()
        total = 0

        def leaf(value: Value, index: Index) -> Scalar:
            nonlocal total
            if self.group.find(value) is None:
                total += _functions(shapes.flatten_index(index, value.shape))
            return kernels.Load(value.dtype.compute, value, index)

        for member in self.group.members:
            index = self.group.index_of(member, variables)
            if member.offset is not None:
                axis, start = member.offset
                index = (*index[:axis], index[axis] + start, *index[axis + 1 :])
            if member.role != "reduction":
                total += _functions(shapes.flatten_index(index, member.value.shape))
            scalar = self._evaluate(member, self._expander(leaf), variables)
            total += sum(
                _functions(s.expression)
                for s in scalars_in([scalar])
                if isinstance(s, kernels.IndexValue)
            )
            if member.role == "reduction" and self._reduction(member).kind.startswith("arg"):
                total += _functions(self._accumulate(member, scalar, variables).position)
        return total

    def _choose_tile(
        self, rows: tuple[Loop, ...], inner: tuple[Loop, ...], phases: tuple[Phase, ...]
    ) -> Loop | None:
        """The last row loop, where memory runs along it rather than along the inner loops."""
        if not rows or not inner or self.locals:
            return None
        if not any(isinstance(s, Accumulate) for p in phases for s in p.body):
            return _blocked_row(rows, inner[-1], phases)
        cost_row = cost_inner = 0
        for phase in phases:
            for statement in phase.body:
                for scalar in scalars_in([statement.value]):
                    if isinstance(scalar, Element):
                        cost_row += _access_cost(scalar.address, rows[-1].variable)
                        cost_inner += _access_cost(scalar.address, inner[-1].variable)
        count = shapes.element_count(self.group.inner)
        is_small = (
            isinstance(count, int) and count <= SMALL_BOX and estimate((inner[-1].extent,)) < 16
        )
        wide = estimate((rows[-1].extent,)) >= 8
        if cost_row < cost_inner or (is_small and wide):
            return rows[-1]
        return None


def _blocked_row(rows: tuple[Loop, ...], inner: Loop, phases: tuple[Phase, ...]) -> Loop | None:
    """A row loop along which an operand lies side by side that the inner loop reads with a stride.

    Run in blocks inside the inner loop, it uses all of a line of memory while the line is near: transposes.
    """
    stores = [s for p in phases for s in p.body if isinstance(s, Store)]
    loads = [s.address for s in scalars_in([s.value for s in stores]) if isinstance(s, Element)]
    addresses = [*loads, *(store.address for store in stores)]
    cost_inner = sum(_access_cost(address, inner.variable) for address in addresses)
    for loop in reversed(rows):
        if estimate((loop.extent,)) < SHORTEST_BLOCK:
            continue
        is_across = any(
            _access_cost(address, loop.variable) == 1
            and _access_cost(address, inner.variable) == STRIDED
            for address in loads
        )
        cost = sum(_access_cost(address, loop.variable) for address in addresses)
        if is_across and cost <= cost_inner + 2 * STRIDED:
            return loop
    return None


def _access_cost(address: Dim, variable: Symbol) -> int:
    """What an access costs a vectorised loop: little where elements lie side by side."""
    stride = shapes.stride_along(address, variable, _reads_along)
    if stride == 0:
        return 0
    return 1 if stride == 1 else STRIDED


def _reads_along(atom: shapes.Indirect, variable: Symbol) -> bool:
    """Whether what an index is read from changes with a loop variable."""
    assert isinstance(atom.scalar, Scalar), "an indirect index holds a scalar"
    return any(depends_on(scalar, variable) for scalar in scalars_in([atom.scalar]))


def depends_on(scalar: Scalar, variable: Symbol) -> bool:
    """Whether a scalar itself, apart from what it is made of, changes with a loop variable."""
    match scalar:
        case Element():
            dims: tuple[Dim, ...] = (scalar.address,)
        case kernels.Load():
            dims = scalar.index
        case kernels.IndexValue():
            dims = (scalar.expression,)
        case _:
            return False
    return any(variable in shapes.symbols_in(dim) for dim in dims)


def _functions(expression: Dim) -> int:
    return sum(1 for atom in shapes.atoms_in(expression) if isinstance(atom, shapes.Func))
