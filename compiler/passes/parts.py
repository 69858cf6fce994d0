"""Conversions of which only parts are read are done part by part, where each is read."""

from __future__ import annotations

from dataclasses import replace

from ..ir import shapes
from ..ir.graph import Graph, Node, TensorType, Value, users
from ..ops.pointwise import CastTo
from ..ops.view import Slice


def convert_parts(graph: Graph) -> Graph:
    """Before: %n = CastTo[bfloat16](%caches); %k = Slice[0](%n); …; %l = Slice[1](%n)
    After:  %k_part = Slice[0](%caches); %k = CastTo[bfloat16](%k_part); …; and so %l

    Such are the keys of all layers in one tensor, wider than what the layers compute in: a converted part
    is read while the processor's caches still hold it. Only where the parts are together no more than
    the whole, and the conversion makes elements smaller.
    """
    readers = users(graph.nodes)
    results = set(graph.results())
    sources = {
        node.outputs[0]: node.inputs[0]
        for node in graph.nodes
        if isinstance(node.op, CastTo)
        and node.outputs[0] not in results
        and _is_cut_up(node, readers.get(node.outputs[0], []))
    }
    if not sources:
        return graph
    names = {value.name for value in graph.values()}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.outputs and node.outputs[0] in sources:
            continue
        if not any(value in sources for value in node.inputs):
            nodes.append(node)
            continue
        (whole,), (result,) = node.inputs, node.outputs
        source = sources[whole]
        name = f"{result.name}_part"
        while name in names:
            name += "_again"
        names.add(name)
        part = Value(name, TensorType(source.dtype, result.shape))
        nodes.append(replace(node, inputs=(source,), outputs=(part,)))
        nodes.append(replace(node, op=CastTo(result.dtype), inputs=(part,)))
    return replace(graph, nodes=tuple(nodes))


def _is_cut_up(node: Node, readers: list[Node]) -> bool:
    """Whether a conversion gives smaller elements, which slices show at most once on the whole."""
    source, whole = node.inputs[0], node.outputs[0]
    if len(readers) < 2 or not all(isinstance(reader.op, Slice) for reader in readers):
        return False
    if whole.dtype.itemsize >= source.dtype.itemsize:
        return False
    shown = (whole, *(reader.outputs[0] for reader in readers))
    counts = [shapes.element_count(value.shape) for value in shown]
    sizes = [count for count in counts if isinstance(count, int)]
    return len(sizes) == len(counts) and sum(sizes[1:]) <= sizes[0]
