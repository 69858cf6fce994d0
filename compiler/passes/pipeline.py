"""The ordered passes over a graph, with the reasons for their order."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.graph import Graph
from ..ir.text import graph_text
from ..ir.verify import verify_graph
from ..observe import DUMP_ONLY, Observer
from .dead import remove_dead_nodes
from .fold import fold_constants
from .levels import multiply_levels
from .parts import convert_parts
from .scale import fold_channel_scales
from .share import share_common_nodes

Pass = Callable[[Graph], Graph]

LEVELS = "multiply levels"
PASSES: tuple[tuple[str, Pass], ...] = (
    # First: importing leaves many, and the rest is quicker without.
    ("remove dead nodes", remove_dead_nodes),
    (LEVELS, multiply_levels),  # before folding, which would make floats of small weights
    ("fold constants", fold_constants),  # before sharing: equal constants make equal nodes
    ("share common nodes", share_common_nodes),
    ("convert parts", convert_parts),  # after sharing, which finds what is converted twice
    ("fold channel scales", fold_channel_scales),  # after folding: scales are constants by then
    ("remove what sharing and folding left", remove_dead_nodes),
)


def optimize(graph: Graph, observer: Observer, *, has_levels: bool = True) -> Graph:
    """All passes in order; what a pass changed is verified and dumped. Without `has_levels`, products
    of quantised operands stay products of floats.

    Raises InvalidGraphError, which names the pass, where one broke a rule of the IR.
    """
    for name, function in PASSES:
        if name == LEVELS and not has_levels:
            continue
        with observer.part(name):
            changed = function(graph)
            if changed is not graph:
                verify_graph(changed, after=name)
        if changed is not graph and observer.wants(DUMP_ONLY):
            observer.record(f"{name.replace(' ', '_')}.ir", graph_text(changed), DUMP_ONLY)
        graph = changed
    return graph
