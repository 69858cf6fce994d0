"""The images of convolutions with their channels side by side, from one convolution to the next."""

from __future__ import annotations

from dataclasses import field, replace

import numpy as np

from ..ir.graph import Constant, Graph, Node, TensorType, Value
from ..ir.shapes import Dim
from ..ops.base import Op
from ..ops.convolution import Convolve
from ..ops.pointwise import CastTo, PointwiseOp, Where, Widen
from ..ops.reduction import Reduce
from ..ops.view import Concatenate, Pad, Permute, Reshape, Slice
from ..ops.window_reduction import RegularWindow, WindowReduce
from ..records import dataclass

FEW_CHANNELS = 4
"""Up to how many channels a row of the kernel is worth reading as one piece."""


def carry_channels_last(graph: Graph, *, pads_rows: bool) -> Graph:
    """Convolutions read and give [N, *spatial, C], and what lies between them follows.

    Before: %y = Convolve(%x, %w); %z = relu(%y); %u = Convolve(%z, %v)
    After:  %x' = Permute(%x); %y' = Convolve'(%x', %w); %z' = relu(%y'); %u' = Convolve'(%z', %v);
            %u = Permute(%u')

    Every value keeps its name and shape as a view of its twin, so what does not follow reads it
    where it lies, and views that nobody reads cost nothing. The channels of a pixel are what
    register tiles load, what pooling and depthwise convolutions are vectorised over, and the rows
    of a matrix for a 1x1 convolution: with any number of channels, on every level.
    `pads_rows`: few channels get the zeros of their padding in memory. Otherwise those of an image
    that lack one of a multiple of four, as red, green and blue do, get one of zeros.
    """
    if not any(isinstance(node.op, Convolve) for node in graph.nodes):
        return graph
    carrier = _Carrier({value.name for value in graph.values()}, dict(graph.constants), pads_rows)
    for node in graph.nodes:
        carrier.place(node)
    return replace(graph, nodes=tuple(carrier.nodes), constants=carrier.constants)


def last_order(rank: int) -> tuple[int, ...]:
    """The permutation that puts dimension 1 last."""
    return (0, *range(2, rank), 1)


def first_order(rank: int) -> tuple[int, ...]:
    """The permutation that puts the last dimension back to 1."""
    return (0, rank - 1, *range(1, rank - 1))


@dataclass(slots=True)
class _Carrier:
    names: set[str]
    constants: dict[Value, Constant]
    pads_rows: bool
    nodes: list[Node] = field(default_factory=list)
    twins: dict[Value, Value] = field(default_factory=dict)
    """The channels-last form of a value; those that are more than views of it are also in `carried`."""
    carried: set[Value] = field(default_factory=set)

    def place(self, node: Node) -> None:
        """Adds a node, or its twin and a view of that."""
        op = node.op
        if isinstance(op, Convolve):
            self._give(node, self._convolve(node, op))
            return
        if not any(value in self.carried for value in node.inputs):
            self.nodes.append(node)
            return
        rank = max(value.rank for value in node.inputs)
        match op:
            case PointwiseOp() | CastTo() | Widen() | Where():
                follower: Op = op
            case Concatenate():
                follower = Concatenate(last_order(rank).index(op.axis))
            case Slice():
                follower = replace(op, axis=last_order(rank).index(op.axis))
            case Pad():
                follower = replace(op, padding=tuple(op.padding[i] for i in last_order(rank)))
            case WindowReduce() if len(op.windows) == rank - 2:
                channels = RegularWindow(node.inputs[0].shape[1], 1, 1, 0)
                follower = replace(op, windows=(*op.windows, channels))
            case Reduce():
                self._reduce(node, op)
                return
            case _:
                self.nodes.append(node)
                return
        twins = tuple(self._twin(value, rank, node) for value in node.inputs)
        self._give(node, self._emit(node, follower, twins))

    def _give(self, node: Node, twin: Value) -> None:
        """The value of a node as a view of its twin."""
        (value,) = node.outputs
        self.twins[value] = twin
        self.carried.add(value)
        self.nodes.append(replace(node, op=Permute(first_order(twin.rank)), inputs=(twin,)))

    def _emit(self, node: Node, op: Op, inputs: tuple[Value, ...], hint: str = "last") -> Value:
        """A new value, named after the node's."""
        (result,) = op.infer(*(value.type for value in inputs))
        value = Value(self._unused(f"{node.outputs[0].name}_{hint}"), result)
        self.nodes.append(Node(op, inputs, (value,), node.origin))
        return value

    def _unused(self, name: str) -> str:
        while name in self.names:
            name += "_again"
        self.names.add(name)
        return name

    def _twin(self, value: Value, rank: int, node: Node) -> Value:
        """A value that broadcasts to `rank` dimensions, with its channels last."""
        if value.rank == 0:
            return value
        if value.rank < rank:
            shape = (1,) * (rank - value.rank) + value.shape
            wide = self._emit(node, Reshape(shape), (value,), "wide")
            return self._emit(node, Permute(last_order(rank)), (wide,), "operand")
        if value not in self.twins:
            view = self._emit(node, Permute(last_order(rank)), (value,), "operand")
            self.twins[value] = view
        return self.twins[value]

    def _convolve(self, node: Node, op: Convolve) -> Value:
        x, weight = node.inputs
        twin = self._twin(x, x.rank, node)
        channels = weight.shape[1]
        if (
            not self.pads_rows
            and weight in self.constants
            and x not in self.carried
            and op.groups == 1
            and isinstance(channels, int)
            and channels % 4 == 3
        ):
            twin = self._with_a_channel_more(node, twin)
            weight = self._constant_with_a_channel_more(weight)
        before, after = op.padding[-1]
        if (
            self.pads_rows
            and (before, after) != (0, 0)
            and op.groups == op.dilation[-1] == 1
            and weight.shape[-1] != 1
            and isinstance(channels, int)
            and channels <= FEW_CHANNELS
        ):
            # With the zeros in memory, the pixels that a row of the kernel reads are one piece.
            edges: tuple[tuple[Dim, Dim], ...] = ((0, 0),) * (x.rank - 2)
            twin = self._emit(
                node, Pad((*edges, (before, after), (0, 0)), op.zero or 0), (twin,), "padded"
            )
            op = replace(op, padding=(*op.padding[:-1], (0, 0)))
        return self._emit(node, replace(op, channels_last=True), (twin, weight))

    def _with_a_channel_more(self, node: Node, twin: Value) -> Value:
        """Four neighbouring channels are one piece of memory where three are three."""
        edges: tuple[tuple[Dim, Dim], ...] = ((0, 0),) * (twin.rank - 1)
        return self._emit(node, Pad((*edges, (0, 1)), 0), (twin,), "padded")

    def _constant_with_a_channel_more(self, weight: Value) -> Value:
        constant = self.constants[weight]
        edges = [(0, int(axis == 1)) for axis in range(weight.rank)]
        shape = tuple(size + more for size, (_, more) in zip(weight.shape, edges, strict=True))
        padded = Value(self._unused(f"{weight.name}_padded"), TensorType(weight.dtype, shape))
        self.constants[padded] = Constant(constant.name, np.pad(constant.array, edges))
        return padded

    def _reduce(self, node: Node, op: Reduce) -> None:
        """A reduction of the twin, whose remaining dimensions are turned back where they are not in order."""
        (x,) = node.inputs
        order = last_order(x.rank)
        axes = tuple(sorted(order.index(axis) for axis in op.axes))
        kept = [axis for axis in order if axis not in op.axes]
        follower = Reduce(op.kind, axes)
        if kept == sorted(kept):
            self.nodes.append(replace(node, op=follower, inputs=(self.twins[x],)))
            return
        turned = self._emit(node, follower, (self.twins[x],))
        back = tuple(kept.index(axis) for axis in sorted(kept))
        self.nodes.append(replace(node, op=Permute(back), inputs=(turned,)))
