"""What must hold of every graph, checked after every pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...runtime.errors import CastoffError
from . import shapes
from .graph import Graph, Node, TensorType, Value
from .shapes import Symbol
from .text import subgraphs


class InvalidGraphError(CastoffError):
    """A graph breaks the rules of the IR: castoff made a mistake. The message lists all that is
    wrong."""


def verify_graph(graph: Graph, *, after: str = "") -> None:
    """Raise `InvalidGraphError` unless the graph is well formed; `after` names the pass that made
    it.

    Values are defined once and before they are used, have names of their own, and the types that
    inference gives; symbols in shapes are defined; mutations store into inputs or buffers values of
    their type.
    """
    problems = list(graph_problems(graph))
    if problems:
        made = f" after {after}" if after else ""
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise InvalidGraphError(f"graph {graph.name} is invalid{made}:\n{listed}")


def graph_problems(graph: Graph, outer_symbols: Iterable[Symbol] = ()) -> Iterator[str]:
    """Everything that is wrong with a graph, one sentence each."""
    defined: set[Value] = set()
    names: set[str] = set()
    symbols = {*outer_symbols, *graph.symbols}

    def define(value: Value, where: str) -> Iterator[str]:
        if value in defined:
            yield f"%{value.name} is defined twice ({where})"
        elif value.name in names:
            yield f"two values are called %{value.name} ({where})"
        defined.add(value)
        names.add(value.name)
        unknown = {s for size in value.shape for s in shapes.symbols_in(size)} - symbols
        for symbol in sorted(unknown, key=lambda s: s.name):
            yield f"{value} mentions the symbol {symbol}, which is not defined before it ({where})"

    for value in (*graph.inputs, *graph.constants, *graph.buffers):
        yield from define(value, "input, constant or buffer")
    for node in graph.nodes:
        yield from (
            f"{node}: reads %{v.name} before it is defined" for v in node.inputs if v not in defined
        )
        symbols |= _symbols_read(node)
        yield from _type_problems(node)
        for _, inner in subgraphs(node):
            yield from (f"{node.op}: {problem}" for problem in graph_problems(inner, symbols))
        for value in node.outputs:
            yield from define(value, str(node))
    for value in graph.results():
        if value not in defined:
            yield f"the result %{value.name} is not defined"
    yield from _mutation_problems(graph)
    yield from _binding_problems(graph)


def _symbols_read(node: Node) -> set[Symbol]:
    symbol = getattr(node.op, "symbol", None)
    return {symbol} if isinstance(symbol, Symbol) else set()


def _type_problems(node: Node) -> Iterator[str]:
    try:
        expected = node.op.infer(*(value.type for value in node.inputs))
    except CastoffError as error:
        yield f"{node}: {error}"
        return
    given = tuple(value.type for value in node.outputs)
    if len(expected) != len(given) or not all(map(same_type, expected, given)):
        yield f"{node}: inference gives ({', '.join(map(str, expected))})"


def same_type(left: TensorType, right: TensorType) -> bool:
    """Whether two types agree: equal dtypes, and no sizes that are known to differ."""
    return (
        left.dtype is right.dtype
        and left.rank == right.rank
        and all(
            shapes.is_equal(a, b) is not False
            for a, b in zip(left.shape, right.shape, strict=False)
        )
    )


def _mutation_problems(graph: Graph) -> Iterator[str]:
    places = {*graph.inputs, *graph.buffers}
    seen: set[Value] = set()
    for place, stored in graph.mutations:
        if place not in places:
            yield f"%{place.name} is stored to, but is no input and no buffer"
        if place in seen:
            yield f"%{place.name} is stored to twice"
        seen.add(place)
        if not same_type(place.type, stored.type):
            yield f"{stored} is stored to {place}"


def _binding_problems(graph: Graph) -> Iterator[str]:
    bound = {binding.symbol for binding in graph.bindings}
    for symbol in graph.symbols:
        if symbol not in bound:
            yield f"nothing says what the symbol {symbol} is"
    for binding in graph.bindings:
        inputs = graph.inputs
        if not binding.input_index < len(inputs):
            place = f"input {binding.input_index} of {len(inputs)}"
            yield f"the symbol {binding.symbol} is read off {place}"
            continue
        value = inputs[binding.input_index]
        if binding.axis is not None and not 0 <= binding.axis < value.rank:
            yield f"the symbol {binding.symbol} is size {binding.axis} of {value}"
