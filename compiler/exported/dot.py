"""An exported program as a graph for Graphviz."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .arguments import input_names, names_in, output_names, subgraphs
from .listing import type_text
from .schema import Graph


def program_dot(graph: Graph) -> str:
    """The graph in the DOT language: inputs and outputs are ellipses, calls boxes, values edges."""
    lines = ["digraph program {", "  node [shape=box, fontname=monospace];"]
    lines += _body(graph, "", "  ")
    return "\n".join([*lines, "}"]) + "\n"


def _body(graph: Graph, prefix: str, indent: str) -> Iterator[str]:
    """Statements for one graph; `prefix` tells its names from those of the graphs around it."""
    makers: dict[str, str] = {}
    for argument in graph.inputs:
        for name in names_in(argument):
            makers[name] = _quoted(f"{prefix}in:{name}")
            yield f"{indent}{makers[name]} [shape=ellipse, label={_quoted(name)}];"
    for index, node in enumerate(graph.nodes):
        call = _quoted(f"{prefix}{index}")
        target = node.target.removeprefix("torch.ops.")
        yield f"{indent}{call} [label={_quoted(target)}];"
        for name in input_names(node):
            yield from _edge(name, call, makers, graph, indent)
        makers.update(dict.fromkeys(output_names(node), call))
        for place, inner in enumerate(subgraphs(node)):
            inside = f"{prefix}{index}.{place}/"
            yield f"{indent}subgraph {_quoted('cluster_' + inside)} {{"
            yield f"{indent}  label={_quoted(f'graph {place} of {target}')};"
            yield from _body(inner, inside, indent + "  ")
            yield f"{indent}}}"
    for place, argument in enumerate(graph.outputs):
        result = _quoted(f"{prefix}out:{place}")
        yield f"{indent}{result} [shape=ellipse, label={_quoted(f'output {place}')}];"
        for name in names_in(argument):
            yield from _edge(name, result, makers, graph, indent)


def _edge(name: str, to: str, makers: dict[str, str], graph: Graph, indent: str) -> Iterator[str]:
    if name not in makers:
        return
    meta = graph.tensor_values.get(name)
    label = name if meta is None else f"{name}: {type_text(meta)}"
    yield f"{indent}{makers[name]} -> {to} [label={_quoted(label)}];"


def _quoted(text: str) -> str:
    # DOT knows `\"` and `\\` in quoted names, which is how JSON writes them.
    return json.dumps(text, ensure_ascii=False)
