"""Folds the scale of each output channel into the weight of the convolution before it: batch norm in evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ir.graph import Constant, Graph, Node, Value, users
from ..ops.base import Environment
from ..ops.convolution import Convolve
from ..ops.pointwise import PointwiseOp


def fold_channel_scales(graph: Graph) -> Graph:
    """Before: %c = Convolve(%x, %w); %b = add(%c, %bias); %y = mul(%b, %scale)
    After:  %c = Convolve(%x, %w * %scale); %y = add(%c, %bias * %scale)

    Where weight, bias and scale are constants, the scale differs at most from channel to channel,
    and nobody else reads what is in between. The product of two float32 numbers is rounded where
    the sum was before: results differ in the last bits.
    """
    return _ScaleFolder(graph).run()


class _ScaleFolder:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = dict(graph.constants)
        self.producer = {value: node for node in graph.nodes for value in node.outputs}
        self.users = users(graph.nodes)
        self.results = set(graph.results())
        self.names = {value.name for value in graph.values()}
        self.changed: dict[Node, Node] = {}
        self.replaced: dict[Value, Value] = {}

    def run(self) -> Graph:
        for node in self.graph.nodes:
            if _is(node, "mul"):
                self._fold(node)
        if not self.changed:
            return self.graph
        nodes: list[Node] = []
        for node in self.graph.nodes:
            if node.outputs and node.outputs[0] in self.replaced:
                continue
            node = self.changed.get(node, node)
            inputs = tuple(self._renamed(value) for value in node.inputs)
            nodes.append(replace(node, inputs=inputs) if inputs != node.inputs else node)
        return replace(
            self.graph,
            nodes=tuple(nodes),
            constants=self.constants,
            outputs=tuple(self._renamed(value) for value in self.graph.outputs),
            mutations=tuple(
                (target, self._renamed(value)) for target, value in self.graph.mutations
            ),
        )

    def _renamed(self, value: Value) -> Value:
        while value in self.replaced:
            value = self.replaced[value]
        return value

    def _fold(self, node: Node) -> None:
        for x, factor in (node.inputs, node.inputs[::-1]):
            scale = self.known(factor)
            source = self._renamed(x)
            if scale is None or not self._is_read_once(x) or source not in self.producer:
                continue
            before: Node | None = self.changed.get(self.producer[source], self.producer[source])
            bias: Node | None = None
            if before is not None and _is(before, "add"):
                bias, before = before, self._addend(before)
            if before is None or not isinstance(before.op, Convolve):
                continue
            channels = per_channel(scale, before.outputs[0])
            weight = self.known(before.inputs[1])
            if (
                channels is None
                or weight is None
                or (bias is not None and not self._scale_bias(bias, channels))
            ):
                continue
            shape = (-1,) + (1,) * (weight.ndim - 1)
            folded = self._constant(
                weight * channels.astype(weight.dtype).reshape(shape), before.inputs[1]
            )
            self.changed[self.producer[before.outputs[0]]] = replace(
                before, inputs=(before.inputs[0], folded)
            )
            self.replaced[node.outputs[0]] = source
            return

    def _is_read_once(self, value: Value) -> bool:
        return len(self.users.get(value, ())) == 1 and value not in self.results

    def _addend(self, node: Node) -> Node | None:
        """The convolution that an addition of a constant adds to, if it is read there only."""
        for x, other in (node.inputs, node.inputs[::-1]):
            x = self._renamed(x)
            is_sum = self.known(other) is not None and x in self.producer
            if is_sum and self._is_read_once(x):
                return self.changed.get(self.producer[x], self.producer[x])
        return None

    def _scale_bias(self, node: Node, channels: np.ndarray) -> bool:
        for position, value in enumerate(node.inputs):
            bias = self.known(value)
            if bias is None:
                continue
            values = per_channel(bias, node.outputs[0])
            if values is None:
                return False
            rank = node.outputs[0].rank
            scaled = (values * channels.astype(values.dtype)).reshape((-1,) + (1,) * (rank - 2))
            inputs = list(node.inputs)
            inputs[position] = self._constant(scaled, value)
            self.changed[self.producer[node.outputs[0]]] = replace(node, inputs=tuple(inputs))
            return True
        return False

    def _constant(self, array: np.ndarray, like: Value) -> Value:
        array = np.ascontiguousarray(array)
        name = f"{like.name}_scaled"
        while name in self.names:
            name += "_again"
        self.names.add(name)
        value = Value(name, replace(like.type, shape=tuple(array.shape)))
        self.constants[value] = Constant(name, array)
        return value

    def known(self, value: Value) -> np.ndarray | None:
        """The elements of a constant, or of a view of one."""
        if value in self.constants:
            return self.constants[value].array
        node = self.producer.get(value)
        if node is None or not node.op.is_view:
            return None
        base = self.known(node.inputs[0])
        try:
            return None if base is None else node.op.reference(Environment(), base)[0]
        except KeyError:  # a view whose shape has symbols
            return None


def _is(node: Node, name: str) -> bool:
    return isinstance(node.op, PointwiseOp) and node.op.name == name


def per_channel(factor: np.ndarray, output: Value) -> np.ndarray | None:
    """One finite number per channel (dimension 1 of `output`), where a constant broadcast to it has
    no more than that.
    """
    channels = output.shape[1]
    if not isinstance(channels, int) or factor.ndim > output.rank:
        return None
    shape = (1,) * (output.rank - factor.ndim) + factor.shape
    if shape[1] not in (1, channels) or any(size != 1 for size in (shape[0], *shape[2:])):
        return None
    if not np.isfinite(factor).all():  # an infinite factor times a weight of 0 would be NaN
        return None
    return np.broadcast_to(factor.reshape(-1), (channels,))
