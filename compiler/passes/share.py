"""Common subexpressions: what is computed twice is computed once."""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node, Value
from ..ops.base import Op


def share_common_nodes(graph: Graph) -> Graph:
    """Before: %a = exp(%x); %b = exp(%x)      After: %a = exp(%x), and %a wherever %b was

    Operators are equal where their attributes are; those with an effect are never shared.
    """
    replaced: dict[Value, Value] = {}
    seen: dict[tuple[Op, tuple[Value, ...]], Node] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(replaced.get(value, value) for value in node.inputs)
        if inputs != node.inputs:
            node = replace(node, inputs=inputs)
        if node.op.has_effect or not node.outputs:
            kept.append(node)
            continue
        key = (node.op, inputs, repr(node.op))  # repr tells 1 from 1.0 and True, -0.0 from 0.0
        first = seen.setdefault(key, node)  # type: ignore[arg-type]
        if first is node:
            kept.append(node)
        else:
            replaced.update(zip(node.outputs, first.outputs, strict=True))
    if not replaced:
        return graph
    return replace(
        graph,
        nodes=tuple(kept),
        outputs=tuple(replaced.get(value, value) for value in graph.outputs),
        mutations=tuple((target, replaced.get(value, value)) for target, value in graph.mutations),
    )
