"""Matrix products, convolutions and attention: strided operands, packed weights, fused epilogues."""

from __future__ import annotations

from collections.abc import Callable

from ..ir import shapes
from ..ir.graph import Value
from ..ir.shapes import Dim, Shape, Symbol
from ..kernels import Index, Scalar
from .emit_loops import BufferOf
from .expand import Expander
from .group import Group, Grouping, Member
from .program import (
    Element,
    Epilogue,
    Loop,
    Store,
    TileElement,
)  # fmt: skip


def variable(name: str, extent: Dim) -> Symbol:
    """A loop variable that stays one even where the extent is 1."""
    high = shapes.upper_bound(extent)
    return Symbol(name, 0, shapes.INFINITY if high >= shapes.INFINITY else max(high - 1, 0),
                  None if isinstance(extent, int) else extent)  # fmt: skip


class EpilogueEmitter:
    """Builds the epilogue of a product group: what happens to element (batch, row, column) of the result."""

    def __init__(
        self,
        grouping: Grouping,
        group: Group,
        buffer_of: BufferOf,
        is_needed: Callable[[Value], bool],
    ) -> None:
        self.grouping = grouping
        self.group = group
        self.buffer_of = buffer_of
        self.is_needed = is_needed

    def emit(self, batch_shape: Shape, row_shape: Shape, column_shape: Shape) -> Epilogue:
        """The result's dimensions in three parts: flattened each, they are the batch, the rows and the columns."""
        batch, row, column = (
            Loop(variable(name, size), size)
            for name, size in (
                ("b", shapes.element_count(batch_shape)),
                ("m", shapes.element_count(row_shape)),
                ("n", shapes.element_count(column_shape)),
            )
        )
        variables: Index = tuple(
            position
            for loop, shape in ((batch, batch_shape), (row, row_shape), (column, column_shape))
            for position in shapes.unflatten_index(shapes.of_atom(loop.variable), shape)
        )
        domain = self.group.domain
        variables = tuple(0 if size == 1 else v for size, v in zip(domain, variables, strict=True))
        product = self.group.members[0]
        stores: list[Store] = []
        registers: dict[Member, Scalar] = {product: TileElement(product.value.dtype.compute)}
        expander: Expander

        def evaluate(member: Member) -> Scalar:
            if member not in registers:
                index = self.group.index_of(member, variables)
                registers[member] = self.grouping.body(member, expander, index)
            return registers[member]

        def leaf(value: Value, index: Index) -> Scalar:
            producer = self.group.find(value)
            if producer is not None:
                return evaluate(producer)
            address = shapes.flatten_index(index, value.shape)
            return Element(value.dtype.compute, self.buffer_of(value), address)

        expander = Expander(self.grouping.definitions.of, self.grouping.plan.stored, leaf)
        for member in self.group.members:
            if not self.is_needed(member.value):
                continue
            index = self.group.index_of(member, variables)
            if member.offset is not None:
                axis, start = member.offset
                index = (*index[:axis], index[axis] + start, *index[axis + 1 :])
            address = shapes.flatten_index(index, member.value.shape)
            stores.append(Store(self.buffer_of(member.value), address, evaluate(member)))
        return Epilogue(batch, row, column, tuple(stores))
