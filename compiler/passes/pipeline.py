"""The ordered passes over a graph, with the reasons for their order."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.graph import Graph
from ..observe import Observer
from .dead import remove_dead_nodes
from .fold import fold_constants
from .share import share_common_nodes

Pass = Callable[[Graph], Graph]

PASSES: tuple[tuple[str, Pass], ...] = (
    ("remove dead nodes", remove_dead_nodes),  # first: importing leaves many, and the rest is quicker without
    ("fold constants", fold_constants),  # before sharing: equal constants make equal nodes
    ("share common nodes", share_common_nodes),
    ("remove what sharing and folding left", remove_dead_nodes),
)


def optimize(graph: Graph, observer: Observer) -> Graph:
    """All passes in order."""
    for _, function in PASSES:
        graph = function(graph)
    return graph
