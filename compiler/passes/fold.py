"""Computes at build time what depends on constants alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ir import shapes
from ..ir.graph import Constant, Graph, Node, Value
from ..kernels import Convolution, LibraryCall
from ..ops.base import Environment
from ..ops.pointwise import BitCast
from ..ops.reinterpret import Reinterpret
from ..ops.view import AsStrided

LARGEST_GROWTH = 1 << 16
"""Bytes a folded result may be larger than what it is computed from: ranges and masks stay computed."""

_COSTLY_VIEWS = (AsStrided, BitCast, Reinterpret)
"""Views that cost divisions or a copy in every run."""


def fold_constants(graph: Graph) -> Graph:
    """Before: %s = rsqrt(%var); %w2 = mul(%w, %s)      After: %w2 is a constant

    Only nodes that read at least one constant are folded; numbers and ranges are cheaper computed. Views stay views,
    but for strided ones and other types of the same bytes.
    """
    constants = dict(graph.constants)
    known: dict[Value, np.ndarray] = {value: c.array for value, c in constants.items()}
    kept: list[Node] = []
    env = Environment()
    for node in graph.nodes:
        result = _fold(node, known, env)
        if result is None:
            kept.append(node)
            continue
        for value, array in zip(node.outputs, result, strict=True):
            known[value] = array
        if not node.inputs or (node.op.is_view and not isinstance(node.op, _COSTLY_VIEWS)):
            kept.append(node)  # known, but as cheap as it is; dead once every reader was folded
            continue
        for value, array in zip(node.outputs, result, strict=True):
            whole = np.ascontiguousarray(array).reshape(array.shape)  # it makes 0-d arrays 1-d
            constants[value] = Constant(value.name, whole)
    turned = dict.fromkeys(  # in order, so that equal programs give equal bytes
        value
        for node in kept
        for value in _wanted_whole(node)
        if value in known and value not in constants
    )
    for value in turned:
        constants[value] = Constant(value.name, known[value])
    kept = [node for node in kept if not any(value in turned for value in node.outputs)]
    if len(kept) == len(graph.nodes):
        return graph
    return replace(graph, nodes=tuple(kept), constants=constants)


def _wanted_whole(node: Node) -> tuple[Value, ...]:
    """The inputs a node reads as contiguous memory: views of constants it would else copy in every run."""
    if not node.outputs:
        return ()
    match node.op.define(node.inputs, node.outputs)[0]:
        case LibraryCall():
            return node.inputs
        case Convolution():
            return node.inputs[1:]
    return ()


def _fold(node: Node, known: dict[Value, np.ndarray], env: Environment) -> list[np.ndarray] | None:
    if node.op.has_effect or not node.outputs or any(value not in known for value in node.inputs):
        return None
    if not all(shapes.is_static(value.shape) for value in node.outputs):
        return None
    size = sum(
        shapes.evaluate(shapes.element_count(v.shape), {}) * v.dtype.itemsize for v in node.outputs
    )
    given = sum(known[value].nbytes for value in node.inputs)
    if size > given + LARGEST_GROWTH:
        return None
    try:
        with np.errstate(all="ignore"):
            results = node.op.reference(env, *(known[value] for value in node.inputs))
    except (KeyError, NotImplementedError):  # symbols of the run, or control flow over them
        return None
    return [
        np.asarray(r, dtype=v.dtype.numpy)  # views of weights stay views until they are read
        for v, r in zip(node.outputs, results, strict=True)
    ]
