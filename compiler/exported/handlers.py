"""Operators of other kinds than PyTorch's own, which a file names as `#namespace:name`.

torch.export writes operators of a registered type of operator so (`ExtensionHandler` there). A handler
here takes part in both directions: what it makes of a node is what the program has, and what it makes
of that again is what is written.

    #fancy:scale(x, 2.0)   <-- write --   fancy.scale.default(x, factor=2.0)
                           --- read -->
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..records import dataclass
from .errors import ProgramFormatError
from .operators import Operator, parse_operator
from .schema import Argument, AsGraph, AsStringToArgument, Graph, NamedArgument, Node

Conversion = Callable[[Node], Node]


def unchanged(node: Node) -> Node:
    """The node as it is."""
    return node


@dataclass(frozen=True, slots=True)
class OperatorHandler:
    """One kind of operator; `schema` gives the signature of an operator of this namespace by its
    name, in PyTorch's language, or None where it has none."""

    namespace: str
    read: Conversion = unchanged
    write: Conversion = unchanged
    schema: Callable[[str], str | None] = lambda name: None


_HANDLERS: dict[str, OperatorHandler] = {}


def register_operator_handler(
    namespace: str,
    *,
    read: Conversion = unchanged,
    write: Conversion = unchanged,
    schema: Callable[[str], str | None] = lambda name: None,
) -> OperatorHandler:
    """Have operators of `namespace` go through functions of the user's own.

    namespace: that of `#namespace:name` and of `torch.ops.namespace.name.overload`.
    read: gets each such node of a file that is loaded, and gives the node that stands in the program.
    write: the reverse, for a program that is saved.
    schema: gets the name behind the namespace ("scale", "scale.default") and gives the operator's
        signature, "scale(Tensor x, float factor=2.0) -> Tensor", which the verifier holds nodes
        against.

    Another handler for the namespace takes the place of the first. `unregister_operator_handler`
    takes it away. What `read` makes of a node must have its results under their names.
    """
    handler = OperatorHandler(namespace, read, write, schema)
    _HANDLERS[namespace] = handler
    return handler


def unregister_operator_handler(namespace: str) -> None:
    """Forget a handler; `KeyError` where there is none."""
    del _HANDLERS[namespace]


def read_graph(graph: Graph, source: str) -> Graph:
    """The graph of a file with each handled operator as its handler reads it."""
    return _converted(graph, lambda handler: handler.read, source) if _HANDLERS else graph


def write_graph(graph: Graph) -> Graph:
    """The graph of a program with each handled operator as its handler writes it."""
    return _converted(graph, lambda handler: handler.write, "program") if _HANDLERS else graph


def registered_schema(target: str) -> Operator | None:
    """The signature of a handled operator, where its handler has one."""
    namespace, name = split_target(target)
    handler = _HANDLERS.get(namespace)
    text = handler.schema(name) if handler is not None else None
    if text is None:
        return None
    try:
        return parse_operator(text)
    except ValueError as error:
        raise ProgramFormatError(f"the handler's signature of '{target}': {error}") from None


def split_target(target: str) -> tuple[str, str]:
    """Namespace and name of a target in either notation."""
    if target.startswith("#"):
        namespace, _, name = target[1:].partition(":")
    else:
        namespace, _, name = target.removeprefix("torch.ops.").partition(".")
    return namespace, name


def _converted(
    graph: Graph, direction: Callable[[OperatorHandler], Conversion], source: str
) -> Graph:
    def convert(node: Node) -> Node:
        handler = _HANDLERS.get(split_target(node.target)[0])
        made = node if handler is None else direction(handler)(node)
        if made.outputs != node.outputs:
            raise ProgramFormatError(
                f"{source}: the handler of '{node.target}' gave a node with other results"
            )
        inputs = tuple(NamedArgument(each.name, inner(each.arg), each.kind) for each in made.inputs)
        return replace(made, inputs=inputs)

    def inner(argument: Argument) -> Argument:
        match argument:
            case AsGraph(name, within):
                return AsGraph(name, _converted(within, direction, source))
            case AsStringToArgument(items):
                return AsStringToArgument({key: inner(item) for key, item in items.items()})
            case _:
                return argument

    return replace(graph, nodes=tuple(map(convert, graph.nodes)))
