"""Fusion: which stored values are computed by one kernel.

Values join the latest kernel that produces something they read, if they read it at the very element
the kernel has in hand. A softmax (max, exp, sum, divide) becomes one group with three phases; the
pointwise tail of a matrix product becomes its epilogue.
"""

from __future__ import annotations

from dataclasses import field

from .. import kernels
from ..ir import shapes
from ..ir.graph import Node, Value
from ..ir.shapes import Shape
from ..kernels import Index, Pointwise, Reduction, Scalar
from ..ops.view import Concatenate, reshaped_index
from ..records import dataclass
from .expand import Definitions, Expander, loop_variables, scalars_in
from .storage import StoragePlan

MOST_MEMBERS = 24


@dataclass(slots=True, eq=False)
class Member:
    """One value (or one part of a concatenation) computed by a group."""

    value: Value
    role: str
    """"full" (an element per iteration), "row" (one per row) or "reduction" (one per row, over the inner loops)."""
    shape: Shape
    """The iteration space of the member: its shape; for a part of a concatenation, the part's."""
    offset: tuple[int, shapes.Dim] | None = None
    """(axis, start) of a part of a concatenation."""
    source: Value | None = None
    """The input a part of a concatenation copies."""


@dataclass(slots=True, eq=False)
class Group:
    """Values computed by one kernel over `domain`; the first `split` dimensions are the rows."""

    position: int
    kind: str
    """"loops", or "product", whose other members are the epilogue of its first: a matrix product,
    convolution or attention.
    """
    domain: Shape
    split: int | None = None
    members: list[Member] = field(default_factory=list)
    reads: set[Value] = field(default_factory=set)

    @property
    def rows(self) -> Shape:
        """The sizes of the outer loops."""
        return self.domain[: self.split]

    @property
    def inner(self) -> Shape:
        """The sizes of the inner loops; empty where nothing is reduced."""
        return self.domain[self.split :] if self.split is not None else ()

    def variables(self) -> Index:
        """A loop variable per dimension of the domain."""
        return loop_variables(self.domain)

    def index_of(self, member: Member, variables: Index) -> Index:
        """The index of a member at an iteration (without the offset of a part)."""
        if member.role == "full":
            return reshaped_index(variables, self.domain, member.shape)
        return reshaped_index(variables[: self.split], self.rows, member.shape)

    def find(self, value: Value) -> Member | None:
        """The member that computes the whole of a value."""
        for member in self.members:
            if member.value is value and member.offset is None:
                return member
        return None


@dataclass(slots=True, eq=False)
class Single:
    """A node that is a step of its own."""

    position: int
    node: Node


Item = Group | Single


class Grouping:
    """Groups and single steps in the order they run."""

    def __init__(self, definitions: Definitions, plan: StoragePlan) -> None:
        self.definitions = definitions
        self.plan = plan
        self.items: list[Item] = []
        self._item_of: dict[Value, Item] = {}
        self._read_at: dict[shapes.Symbol, int] = {}
        """Where a symbol that the run decides gets its value."""
        for node in definitions.graph.nodes:
            self._place(node)

    def _place(self, node: Node) -> None:
        if not node.outputs:
            self._append_single(node)
            return
        value = node.outputs[0]
        if value not in self.plan.stored:
            return
        definition = self.definitions.of[value]
        match definition:
            case Pointwise():
                if isinstance(node.op, Concatenate) and not definition.is_view:
                    self._place_parts(node, value, node.op.axis)
                else:
                    self._join_or_open(Member(value, "full", value.shape))
            case Reduction():
                self._join_or_open(Member(value, "reduction", value.shape))
            case kernels.MatrixProduct() | kernels.Convolution() | kernels.Attention():
                group = Group(len(self.items), "product", value.shape)
                group.members.append(Member(value, "full", value.shape))
                self._append_group(group)
            case _:
                self._append_single(node)

    def _append_single(self, node: Node) -> None:
        item = Single(len(self.items), node)
        self.items.append(item)
        if not node.outputs:
            definition = node.op.define(node.inputs, node.outputs)[0]
            if isinstance(definition, kernels.SymbolRead):
                self._read_at[definition.symbol] = item.position
        for output in node.outputs:
            self._item_of[output] = item

    def _append_group(self, group: Group) -> None:
        self.items.append(group)
        for member in group.members:
            self._item_of[member.value] = group

    def _place_parts(self, node: Node, value: Value, axis: int) -> None:
        """Each input of a concatenation is written to its place by a loop of its own, or by its producer's."""
        start: shapes.Dim = 0
        latest = -1
        for source in node.inputs:
            if source.shape[axis] != 0:
                part = Member(value, "full", source.shape, (axis, start), source)
                latest = max(latest, self._join_or_open(part).position)
            start = start + source.shape[axis]
        if latest < 0:  # nothing but empty parts
            self._join_or_open(Member(value, "full", value.shape))
            return
        self._item_of[value] = self.items[latest]

    def _join_or_open(self, member: Member) -> Group:
        loads = self._loads_generic(member)
        producers = {value: self._item_of[value] for value, _ in loads if value in self._item_of}
        latest = max((item.position for item in producers.values()), default=-1)
        known = self._symbols_known_at(member)
        if known > latest:  # not into a kernel that runs before a symbol it needs is known
            latest = known
        for group in self._candidates(latest, {value for value, _ in loads}):
            if self._try_join(member, group):
                group.members.append(member)
                group.reads.update(value for value, _ in loads)
                self._item_of[member.value] = group
                return group
        group = Group(len(self.items), "loops", member.shape)
        if member.role == "reduction":
            definition = self.definitions.of[member.value]
            assert isinstance(definition, Reduction), "a reduction's definition"
            group.domain, group.split = (*member.shape, *definition.extents), len(member.shape)
        group.members.append(member)
        group.reads.update(value for value, _ in loads)
        self._append_group(group)
        return group

    def _candidates(self, latest: int, reads: set[Value]) -> list[Group]:
        """Groups a member may join: the latest producer, then newer ones that read the same values."""
        found: list[Group] = []
        if latest >= 0 and isinstance(item := self.items[latest], Group):
            found.append(item)
        for item in reversed(self.items[latest + 1 :][-4:]):
            if isinstance(item, Group) and item.kind == "loops" and item.reads & reads:
                found.append(item)
        return found

    def body(self, member: Member, expander: Expander, index: Index, reduced: Index = ()) -> Scalar:
        """The scalar a member computes at an index."""
        if member.source is not None:
            return expander.load(member.source, index)
        definition = self.definitions.of[member.value]
        if isinstance(definition, Reduction):
            return expander.scalar(definition.body(index, reduced))
        assert isinstance(definition, Pointwise), "only loops are grouped"
        return expander.scalar(definition.body(index))

    def _loads_generic(self, member: Member) -> list[tuple[Value, Index]]:
        index, reduced = self._generic_variables(member)
        return self._loads(member, index, reduced)

    def _loads(self, member: Member, index: Index, reduced: Index) -> list[tuple[Value, Index]]:
        """The stored values a member reads at an index, and where."""
        found: list[tuple[Value, Index]] = []

        def leaf(value: Value, position: Index) -> Scalar:
            found.append((value, position))
            return kernels.Load(value.dtype.compute, value, position)

        self.body(member, Expander(self.definitions.of, self.plan.stored, leaf), index, reduced)
        return found

    def _symbols_known_at(self, member: Member) -> int:
        """The position of the last step that sets a symbol the member needs; -1 where there is none."""
        if not self._read_at:
            return -1
        index, reduced = self._generic_variables(member)
        dims: list[shapes.Dim] = [*member.shape]

        def leaf(value: Value, position: Index) -> Scalar:
            dims.extend(position)
            return kernels.Load(value.dtype.compute, value, position)

        expander = Expander(self.definitions.of, self.plan.stored, leaf)
        body = self.body(member, expander, index, reduced)
        dims.extend(s.expression for s in scalars_in([body]) if isinstance(s, kernels.IndexValue))
        symbols = {symbol for dim in dims for symbol in shapes.symbols_in(dim)}
        return max((self._read_at.get(symbol, -1) for symbol in symbols), default=-1)

    def _generic_variables(self, member: Member) -> tuple[Index, Index]:
        definition = self.definitions.of[member.value]
        if member.role != "reduction":
            return loop_variables(member.shape), ()
        assert isinstance(definition, Reduction), "a reduction's definition"
        rank = len(member.shape)
        return loop_variables(member.shape), loop_variables(definition.extents, "r", rank)

    def _try_join(self, member: Member, group: Group) -> bool:
        """Whether the member can be computed by the group; adapts the group's rows and the member's role."""
        if len(group.members) >= MOST_MEMBERS:
            return False
        domain, split, role = group.domain, group.split, member.role
        if member.role == "reduction":
            if group.kind != "loops":
                return False
            definition = self.definitions.of[member.value]
            assert isinstance(definition, Reduction), "a reduction's definition"
            wanted = (*member.shape, *definition.extents)
            if split is None:
                if not _same_count(wanted, domain):
                    return False
                domain, split = wanted, len(member.shape)
            elif not (
                _same_count(member.shape, domain[:split])
                and _same_count(definition.extents, domain[split:])
            ):
                return False
        elif _same_count(member.shape, domain):
            role = "full"
        elif (
            split is not None
            and group.kind == "loops"
            and _same_count(member.shape, domain[:split])
        ):
            role = "row"
        else:
            return False
        trial = Group(group.position, group.kind, domain, split, group.members)
        if not self._aligned(
            Member(member.value, role, member.shape, member.offset, member.source), trial
        ):
            return False
        # Where the group gets rows, what its members read of one another must still be in hand.
        gets_rows = group.split is None and split is not None
        if gets_rows and not all(self._aligned(other, trial) for other in group.members):
            return False
        group.domain, group.split, member.role = domain, split, role
        return True

    def _aligned(self, member: Member, group: Group) -> bool:
        """Whether everything a member reads of its own group is at the element the group has in hand."""
        if self._is_product(member, group):
            return True
        variables = group.variables()
        index = group.index_of(member, variables)
        reduced: Index = ()
        if member.role == "reduction":
            definition = self.definitions.of[member.value]
            assert isinstance(definition, Reduction), "a reduction's definition"
            reduced = reshaped_index(variables[group.split :], group.inner, definition.extents)
        for value, position in self._loads(member, index, reduced):
            if any(other.value is value and other.offset is not None for other in group.members):
                return False
            producer = group.find(value)
            if producer is None:
                continue
            if producer is member:
                break
            if position != group.index_of(producer, variables):
                return False
            if member.role == "row" and producer.role == "full":
                return False
        return True

    def _is_product(self, member: Member, group: Group) -> bool:
        return group.kind != "loops" and member is group.members[0]


def _same_count(left: Shape, right: Shape) -> bool:
    return shapes.element_count(left) == shapes.element_count(right)
