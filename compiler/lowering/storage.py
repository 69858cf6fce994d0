"""Which values become memory, and which are computed where they are read.

A value is stored if it must be (it leaves the graph, or a step that is no loop reads or computes it) or if
computing it again at every use would cost more than a store and a load.
"""

from __future__ import annotations

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..ir.shapes import Dim, Shape
from ..kernels import Pointwise, Reduction, Scatter
from ..ops.attention import Attention
from ..ops.pointwise import TABLE, CastTo, PointwiseOp
from ..ops.view import Concatenate
from .expand import Definitions, affine, loop_variables

CHEAP = 2
"""Instructions that are done again rather than stored."""
LARGEST = 80
"""Instructions after which a chain is cut, so that the compiler's work stays bounded."""
MOST_LOADS = 12
TYPICAL_SIZE = 256
"""What a symbolic size is taken to be when work is estimated."""


def estimate(shape: Shape) -> int:
    """About how many elements a shape has."""
    total = 1
    for size in shape:
        total *= size if isinstance(size, int) else _estimate_size(size)
    return total


def _estimate_size(size: Dim) -> int:
    low, high = shapes.bounds(size)
    return max(low, min(high, TYPICAL_SIZE))


class StoragePlan:
    """`stored`: the values that have memory. `splits_keys`: as in Choices."""

    def __init__(self, definitions: Definitions, *, splits_keys: bool = True) -> None:
        self.definitions = definitions
        graph = definitions.graph
        self.stored: set[Value] = {*graph.inputs, *graph.constants, *graph.buffers}
        self.users: dict[Value, list[Node]] = {}
        self._cost: dict[Value, int] = {}
        self.body_cost: dict[Value, int] = {}
        """Instructions to compute an element of a stored value from other stored values."""
        self._loads: dict[Value, int] = {}
        forced = set(graph.results())
        for node in graph.nodes:
            for value in node.inputs:
                self._add_user(value, node)
        self.split: set[Value] = set()
        """Keys and values that are read in two parts, and have no memory."""
        self.rounded: set[Value] = set()
        """Keys and values in bfloat16 that are rounded as attention reads them, and have no memory."""
        if splits_keys:
            self._find_split_keys(forced)
            self._find_rounded_keys(forced)
        for node in graph.nodes:
            forced.update(self.operands(node))
        for node in graph.nodes:
            for value in node.outputs:
                if self._must_store(value, node, forced):
                    self.stored.add(value)

    def _add_user(self, value: Value, node: Node) -> None:
        """A user of a view is a user of what it shows."""
        if node.outputs and self.definitions.is_view(node.outputs[0]):
            return  # counted through the users of the view itself
        while True:
            nodes = self.users.setdefault(value, [])
            if node not in nodes:
                nodes.append(node)
            if not self.definitions.is_view(value):
                return
            value = self.definitions.node_of[value].inputs[0]

    def operands(self, node: Node) -> list[Value]:
        """The values a node that is no loop needs in memory: bases where it can read through strides."""
        if not node.outputs:
            definition = node.op.define(node.inputs, node.outputs)[0]
        else:
            definition = self.definitions.of[node.outputs[0]]
        match definition:
            case Pointwise() | Reduction() | Scatter():
                return []
            case kernels.MatrixProduct():
                return [self.strided_base(value) for value in node.inputs]
            case kernels.Convolution():
                x, weight = node.inputs
                base = self.row_base(x) if definition.channels_last else self.strided_base(x)
                return [base, self.contiguous_base(weight)]
            case kernels.Attention():
                query, key, value, *mask = node.inputs
                rows = (query, *self.parts(key), *self.parts(value))
                return [self.row_base(x) for x in rows] + [self.strided_base(x) for x in mask]
            case _:
                return [self.contiguous_base(value) for value in node.inputs]

    def parts(self, value: Value) -> tuple[Value, ...]:
        """What the keys or the values of attention are read from."""
        return self.definitions.node_of[value].inputs if value in self.split else (value,)

    def _find_split_keys(self, results: set[Value]) -> None:
        """A cache and what is new, joined for attention alone: both are read where they lie.

        Before: k = cat([cache, new], -2); attention(q, k, v)    k is copied first
        After:  attention(q, [cache, new], …)                    k has no memory
        """
        for node in self.definitions.graph.nodes:
            if not isinstance(node.op, Attention):
                continue
            pair = node.inputs[1:3]
            lengths = [
                tuple(part.shape[-2] for part in joined.inputs)
                for value in pair
                if (joined := self.definitions.node_of.get(value)) is not None
                and isinstance(joined.op, Concatenate)
                and joined.op.axis == value.rank - 2
                and len(joined.inputs) == 2
                and value not in results
                and self.users.get(value) == [node]
                and sum(x is value for x in node.inputs) == 1
            ]
            if len(lengths) == 2 and lengths[0] == lengths[1]:
                self.split.update(pair)

    def _find_rounded_keys(self, results: set[Value]) -> None:
        """A float32 cache that is rounded for one query alone is read where it lies.

        Before: k = cast(cache, bfloat16); attention(q, k, v)    all of k is written and read again
        After:  attention(q, cache, …)                           k has no memory
        """
        for node in self.definitions.graph.nodes:
            if not isinstance(node.op, Attention) or node.inputs[0].shape[-2] != 1:
                continue
            pair = node.inputs[1:3]
            casts = [self.definitions.base(self.parts(value)[0]) for value in pair]
            readers = [
                self.definitions.node_of[value] if value in self.split else node for value in pair
            ]
            if all(
                self._rounds_a_cache(cast)
                and cast not in results
                and self.users.get(cast) == [reader]
                and sum(x is value for x in node.inputs) == 1
                for cast, reader, value in zip(casts, readers, pair, strict=True)
            ) and all(self.row_layout(self.parts(value)[0], *casts) is not None for value in pair):
                self.rounded.update(casts)

    def _rounds_a_cache(self, value: Value) -> bool:
        """Whether a value is memory of float32 from before the run, or a part of it, rounded to bfloat16."""
        node = self.definitions.node_of.get(value)
        return (
            node is not None
            and isinstance(node.op, CastTo)
            and value.dtype is DType.BFLOAT16
            and node.inputs[0].dtype is DType.FLOAT32
            and self.definitions.base(node.inputs[0]) in self.stored
        )

    def strided_base(self, value: Value) -> Value:
        """The stored value that `value` is a strided view of: itself where it is none."""
        base = self.definitions.base(value)
        return base if view_layout(self.definitions, value, base) is not None else value

    def row_base(self, value: Value) -> Value:
        """The stored value that `value` is a strided view of with contiguous rows: itself where it is none."""
        found = self.row_layout(value, *self.rounded)
        return value if found is None else found[0]

    def row_layout(
        self, value: Value, *rounded: Value
    ) -> tuple[Value, Dim, tuple[Dim, ...]] | None:
        """(base, offset, strides) of a view with contiguous rows, which may show rounded elements, or None."""
        base = self.definitions.base(value)
        while base in rounded:
            base = self.definitions.base(self.definitions.node_of[base].inputs[0])
        layout = view_layout(self.definitions, value, base)
        if layout is None or not (layout[1][-1] == 1 or value.shape[-1] == 1):
            return None
        return (base, *layout)

    def contiguous_base(self, value: Value) -> Value:
        """The stored value that `value` is a contiguous piece of: itself where it is none."""
        base = self.definitions.base(value)
        layout = view_layout(self.definitions, value, base)
        if layout is None:
            return value
        strides = shapes.contiguous_strides(value.shape)
        fits = all(
            size == 1 or a == b for size, a, b in zip(value.shape, layout[1], strides, strict=True)
        )
        return base if fits else value

    def _must_store(self, value: Value, node: Node, forced: set[Value]) -> bool:
        definition = self.definitions.of[value]
        op = node.op
        if not isinstance(definition, Pointwise):
            self._cost[value], self._loads[value] = 0, 1
            return True
        own = TABLE[op.name].cost if isinstance(op, PointwiseOp) else op.cost
        own = 0 if definition.is_view else own
        if value in self.split or value in self.rounded:
            return False
        cost = own + sum(self._cost.get(x, 0) for x in node.inputs)
        loads = sum(self._loads.get(x, 1) for x in node.inputs)
        self._cost[value], self._loads[value] = cost, loads
        self.body_cost[value] = cost
        if definition.is_view and value not in forced:
            return False
        users = self.users.get(value, [])
        stored = (
            value in forced
            or isinstance(op, Concatenate)
            or cost > LARGEST
            or loads > MOST_LOADS
            or (cost > CHEAP and len(users) > 1)
            or (
                cost > CHEAP
                and any(self._iterations(user) > 2 * estimate(value.shape) for user in users)
            )
        )
        if stored:
            self._cost[value], self._loads[value] = 0, 1
        return stored

    def _iterations(self, node: Node) -> int:
        """About how many elements a node computes or reads."""
        definition = self.definitions.of[node.outputs[0]]
        if isinstance(definition, Reduction):
            return estimate((*node.outputs[0].shape, *definition.extents))
        if isinstance(definition, Scatter):
            return estimate(definition.domain)
        return estimate(node.outputs[0].shape)


def view_layout(
    definitions: Definitions, value: Value, base: Value
) -> tuple[Dim, tuple[Dim, ...]] | None:
    """(offset, strides) of a view in the elements of its base, or None where it is not strided.

    On the way may be conversions, which change no element's place.
    """
    variables = loop_variables(value.shape)
    index: kernels.Index = variables
    while value is not base:
        definition = definitions.of[value]
        assert isinstance(definition, Pointwise), "a chain of views"
        scalar = definition.body(index)
        if isinstance(definitions.node_of[value].op, CastTo):
            while isinstance(scalar, kernels.Cast):
                scalar = scalar.arg
        if not isinstance(scalar, kernels.Load):
            return None
        value, index = scalar.value, scalar.index
    return affine(shapes.flatten_index(index, base.shape), variables)
