"""Graphs as text, for people: dumps, golden files, error messages. Equal graphs print the same.

graph main(%x: float32[s0, 8]) -> (%relu)
  symbols   s0 in [0, 64] = x.shape[0]
  constant  %w: float32[8, 8]  weight
  %mm: float32[s0, 8] = MatMul(%x, %w)  # linear.py:7 in forward
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from .graph import Binding, Constant, Graph, Node, Value
from .shapes import INFINITY, Symbol


def graph_text(graph: Graph, *, origins: bool = True) -> str:
    """The graph with its subgraphs, one line per node; `origins` adds the user's lines as
    comments."""
    return "\n".join(_graph_lines(graph, origins)) + "\n"


def _graph_lines(graph: Graph, origins: bool) -> Iterator[str]:
    inputs = ", ".join(map(str, graph.inputs))
    yield f"graph {graph.name}({inputs}) -> ({', '.join('%' + v.name for v in graph.outputs)})"
    bound = {binding.symbol: binding for binding in graph.bindings}
    for symbol in graph.symbols:
        source = f" = {_binding_text(graph, bound[symbol])}" if symbol in bound else ""
        yield f"  symbol    {_symbol_text(symbol)}{source}"
    for guard in graph.guards:
        yield f"  guard     {guard.expression}  # {guard.text}"
    for kind, constants in (("constant", graph.constants), ("buffer", graph.buffers)):
        for value, constant in constants.items():
            yield f"  {kind:9} {value}  {_constant_text(value, constant)}".rstrip()
    for node in graph.nodes:
        yield from (f"  {line}" for line in _node_lines(node, origins))
    for value, stored in graph.mutations:
        yield f"  store     %{value.name} <- %{stored.name}"


def _symbol_text(symbol: Symbol) -> str:
    high = "inf" if symbol.high >= INFINITY else symbol.high
    low = "-inf" if symbol.low <= -INFINITY else symbol.low
    return f"{symbol.name} in [{low}, {high}]"


def _binding_text(graph: Graph, binding: Binding) -> str:
    name = graph.inputs[binding.input_index].name
    return name if binding.axis is None else f"{name}.shape[{binding.axis}]"


def _constant_text(value: Value, constant: Constant) -> str:
    named = "" if constant.name == value.name else constant.name
    if constant.array.size != 1:
        return named
    return f"{named}  = {constant.array.reshape(-1)[0]!s}".lstrip()


def _node_lines(node: Node, origins: bool) -> Iterator[str]:
    outputs = ", ".join(map(str, node.outputs))
    inputs = ", ".join(f"%{value.name}" for value in node.inputs)
    line = f"{outputs} = {node.op}({inputs})" if outputs else f"{node.op}({inputs})"
    if origins and node.origin.source:
        line += f"  # {node.origin.source}"
    yield line
    for name, graph in subgraphs(node):
        first, *rest = _graph_lines(graph, origins)
        yield f"  {name} = {first}"
        yield from (f"  {inner}" for inner in rest)


def subgraphs(node: Node) -> Iterator[tuple[str, Graph]]:
    """The graphs among the attributes of a node's operator, with the attributes' names."""
    for attribute in fields(node.op):
        value = getattr(node.op, attribute.name)
        if isinstance(value, Graph):
            yield attribute.name, value
