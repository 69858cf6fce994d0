"""One graph in canonical order and under canonical names; `canonicalize` has the rules."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from .arguments import input_names, names_in, output_names, renamed
from .effects import order_constraints
from .errors import ProgramFormatError
from .json_writer import encode_argument, encode_graph
from .schema import Argument, AsGraph, AsStringToArgument, Graph, Node

T = TypeVar("T")
_EMPTY_METADATA: dict[str, str] = {}


class Renaming:
    """Old names -> new ones, a letter and a number, in the order in which they are added."""

    def __init__(self, letter: str) -> None:
        self._letter = letter
        self._count = 0
        self._names: dict[str, str] = {}

    def add(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._names:
                raise ProgramFormatError(f"the name '{name}' is defined twice")
            self._names[name] = f"{self._letter}{self._count}"
            self._count += 1

    def continued(self, letter: str) -> Renaming:
        """The same names, further ones under another letter."""
        further = Renaming(letter)
        further._names = dict(self._names)
        return further

    def __call__(self, name: str) -> str:
        try:
            return self._names[name]
        except KeyError:
            raise ProgramFormatError(f"the name '{name}' is used but never defined") from None

    def if_known(self, name: str) -> str:
        return self._names.get(name, name)


def canonical_graph(
    graph: Graph, inputs: Renaming, shared: Iterable[Sequence[str]] = ()
) -> tuple[Graph, Renaming]:
    """The graph in canonical form and what its names became; `inputs` names its inputs.

    `shared` holds groups of inputs that lie in the same memory.
    """
    nodes = [_with_graphs(node, _canonical_subgraph) for node in graph.nodes]
    names = inputs.continued("v")
    # PyTorch hangs the graphs of all nodes on one module: each needs a name of its own there.
    numbers = itertools.count()
    ordered: list[Node] = []
    for index in _ordered(nodes, graph, names, shared):
        node = _with_graphs(nodes[index], lambda within: AsGraph(f"graph_{next(numbers)}", within))
        names.add(output_names(node))
        ordered.append(_renamed_node(node, names))
    outputs = tuple(renamed(argument, names) for argument in graph.outputs)
    given = tuple(renamed(argument, names.if_known) for argument in graph.inputs)
    used = {name for argument in (*given, *outputs) for name in names_in(argument)}
    for node in ordered:
        used.update(output_names(node))
    return (
        Graph(
            inputs=given,
            outputs=outputs,
            nodes=tuple(ordered),
            tensor_values=_kept(graph.tensor_values, names, used),
            sym_int_values=_kept(graph.sym_int_values, names, used),
            sym_bool_values=_kept(graph.sym_bool_values, names, used),
            is_single_tensor_return=graph.is_single_tensor_return,
            custom_obj_values={
                name: replace(value, name=name)
                for name, value in _kept(graph.custom_obj_values, names, used).items()
            },
            sym_float_values=_kept(graph.sym_float_values, names, used),
        ),
        names,
    )


def _kept(values: Mapping[str, T], names: Renaming, used: set[str]) -> dict[str, T]:
    """The entries of names that are in use, in the order of their new names."""
    found = {names.if_known(name): value for name, value in values.items()}
    return {name: found[name] for name in sorted(used & found.keys(), key=_by_number)}


def _by_number(name: str) -> tuple[str, int]:
    return name[0], int(name[1:])


def _renamed_node(node: Node, names: Renaming) -> Node:
    return replace(
        node,
        inputs=tuple(replace(given, arg=renamed(given.arg, names)) for given in node.inputs),
        outputs=tuple(renamed(argument, names) for argument in node.outputs),
        metadata=_EMPTY_METADATA,
        name=None,
    )


# --- Subgraphs ---------------------------------------------------------------------------------


def _with_graphs(node: Node, change: Callable[[Graph], AsGraph]) -> Node:
    """The node with each graph among its arguments, in their order there, as `change` makes it."""

    def changed(argument: Argument) -> Argument:
        match argument:
            case AsGraph(_, graph):
                return change(graph)
            case AsStringToArgument(items):
                return AsStringToArgument({key: changed(item) for key, item in items.items()})
            case _:
                return argument

    return replace(
        node, inputs=tuple(replace(given, arg=changed(given.arg)) for given in node.inputs)
    )


def _canonical_subgraph(graph: Graph) -> AsGraph:
    """A graph within, nameless until its node has its place."""
    inputs = Renaming("i")
    for taken in graph.inputs:
        inputs.add(names_in(taken))
    return AsGraph("", canonical_graph(graph, inputs)[0])


# --- The order ---------------------------------------------------------------------------------


def _ordered(
    nodes: Sequence[Node], graph: Graph, names: Renaming, shared: Iterable[Sequence[str]]
) -> Iterator[int]:
    """Indices of the nodes in canonical order; `names` must know the results of those before."""
    before = order_constraints(graph, shared)
    producers = {name: index for index, node in enumerate(nodes) for name in output_names(node)}
    for index, node in enumerate(nodes):
        before[index].update(producers[name] for name in input_names(node) if name in producers)
    after: list[list[int]] = [[] for _ in nodes]
    for index, earlier in enumerate(before):
        for other in earlier:
            after[other].append(index)
    uses = _use_digests(nodes, graph, after, before)
    waiting = [len(earlier) for earlier in before]
    ready: list[tuple[str, bytes, int]] = []

    def make_ready(index: int) -> None:
        heapq.heappush(ready, (_key(nodes[index], names), uses[index], index))

    for index, count in enumerate(waiting):
        if not count:
            make_ready(index)
    done = 0
    while ready:
        index = heapq.heappop(ready)[2]
        done += 1
        yield index
        for other in after[index]:
            waiting[other] -= 1
            if not waiting[other]:
                make_ready(other)
    if done < len(nodes):
        stuck = next(index for index, count in enumerate(waiting) if count)
        raise ProgramFormatError(f"'{nodes[stuck].target}' takes, in the end, its own result")


def _key(node: Node, names: Callable[[str], str]) -> str:
    """A node as text without its old names."""
    inputs = [(given.name, _shape(renamed(given.arg, names)), given.kind) for given in node.inputs]
    return f"{node.target} {json.dumps(inputs)}"


def _shape(argument: Argument) -> object:
    """An argument as JSON; a subgraph without the types of its values, which follow from it."""
    match argument:
        case AsGraph(name, graph):
            bare = replace(
                graph,
                tensor_values={},
                sym_int_values={},
                sym_bool_values={},
                sym_float_values={},
            )
            return [name, encode_graph(bare).decode()]
        case AsStringToArgument(items):
            return {key: _shape(item) for key, item in items.items()}
        case _:
            return encode_argument(argument)


def _use_digests(
    nodes: Sequence[Node], graph: Graph, after: Sequence[Sequence[int]], before: Sequence[set[int]]
) -> list[bytes]:
    """For each node a digest of everything that is made of its results; no names go into it.

    Two nodes that compute the same from the same are told apart by what they are used for.
    """
    uses: dict[str, list[bytes]] = {}
    for place, argument in enumerate(graph.outputs):
        for name in names_in(argument):
            uses.setdefault(name, []).append(b"output %d" % place)
    digests = [b""] * len(nodes)
    remaining = [len(later) for later in after]
    free = [index for index, count in enumerate(remaining) if not count]
    while free:
        index = free.pop()
        node = nodes[index]
        digest = hashlib.blake2b(_key(node, _nameless).encode(), digest_size=16)
        for name in output_names(node):
            for use in sorted(uses.get(name, ())):
                digest.update(use)
            digest.update(b";")
        digests[index] = digest.digest()
        for place, name in enumerate(input_names(node)):
            uses.setdefault(name, []).append(digests[index] + b"%d" % place)
        for other in before[index]:
            remaining[other] -= 1
            if not remaining[other]:
                free.append(other)
    return digests


def _nameless(name: str) -> str:
    return ""
