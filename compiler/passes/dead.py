"""Removes nodes whose results nobody reads."""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node, Value


def remove_dead_nodes(graph: Graph) -> Graph:
    """Before: %a = exp(%x); %b = neg(%x); return %b      After: %b = neg(%x); return %b

    Constants that nobody reads go too. Nodes with an effect stay; reads of symbols that no shape
    mentions have one, since their range check is part of the program.
    """
    needed: set[Value] = set(graph.results())
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if node.op.has_effect or any(output in needed for output in node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    constants = {value: constant for value, constant in graph.constants.items() if value in needed}
    if len(kept) == len(graph.nodes) and len(constants) == len(graph.constants):
        return graph
    return replace(graph, nodes=tuple(reversed(kept)), constants=constants)
