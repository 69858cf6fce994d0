"""The reference interpreter: runs a graph operator by operator with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..ir.graph import Graph, Node, Value
from .base import Environment

Observer = Callable[[Node, tuple[np.ndarray, ...]], None]


def run_graph(
    graph: Graph,
    arguments: Sequence[np.ndarray],
    env: Environment,
    *,
    buffers: dict[Value, np.ndarray] | None = None,
    observe: Observer | None = None,
) -> list[np.ndarray]:
    """`graph.results()` for these inputs: outputs, then the values mutations store.

    `env.symbols` must hold the graph's symbols; those the run itself decides are added. `buffers` are the values of
    `graph.buffers` before the run, by default the ones a fresh program holds.
    """
    values: dict[Value, np.ndarray] = dict(zip(graph.inputs, arguments, strict=True))
    values.update((value, constant.array) for value, constant in graph.constants.items())
    values.update((value, constant.array) for value, constant in graph.buffers.items())
    values.update(buffers or {})
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            results = node.op.reference(env, *(values[value] for value in node.inputs))
            outputs = tuple(
                np.asarray(result, dtype=value.dtype.numpy)
                for value, result in zip(node.outputs, results, strict=True)
            )
            for value, array in zip(node.outputs, outputs, strict=True):
                expected = env.shape(value.shape)
                assert array.shape == expected, (
                    f"{node}: reference gave shape {array.shape}, not {expected}"
                )
                values[value] = array
            if observe is not None:
                observe(node, outputs)
    return [values[value] for value in graph.results()]
