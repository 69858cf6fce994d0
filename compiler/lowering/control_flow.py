"""Control flow: subgraphs become nested steps over the buffers they carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import kernels
from ..ir import shapes
from ..ir.graph import Graph, Node
from ..ir.shapes import Symbol
from .expand import loop_variables
from .loop_nest import nest
from .program import (
    BranchStep,
    Buffer,
    CopyStep,
    CountedStep,
    Element,
    Space,
    Step,
    Store,
    WhileStep,
)  # fmt: skip
from .strided import whole

if TYPE_CHECKING:
    from .lower import GraphLowering


def _subgraph(
    lowering: GraphLowering, graph: Graph, inputs: tuple[Buffer, ...]
) -> tuple[tuple[Step, ...], list[Buffer]]:
    inner = lowering.subgraph(graph, inputs)
    steps = inner.run()
    return steps, [inner.buffer_of(value) for value in graph.outputs]


def _operands(lowering: GraphLowering, node: Node) -> tuple[list[Step], tuple[Buffer, ...]]:
    """Inputs of a control-flow node as whole buffers, copied where they are only pieces of one."""
    steps: list[Step] = []
    buffers: list[Buffer] = []
    for value in node.inputs:
        view = lowering.contiguous(value)
        is_whole = view.offset == 0 and shapes.element_count(value.shape) == shapes.element_count(
            view.buffer.type.shape
        )
        if is_whole:
            buffers.append(view.buffer)
            continue
        copy = Buffer(lowering.context.unique(value.name), value.type, Space.ARENA)
        index = loop_variables(value.shape)
        address = shapes.flatten_index(index, value.shape)
        element = Element(value.dtype.compute, view.buffer, view.offset + address)
        steps.append(nest("copy", index, value.shape, Store(copy, address, element), node))
        buffers.append(copy)
    return steps, tuple(buffers)


def lower_branch(lowering: GraphLowering, node: Node, definition: kernels.Branch) -> list[Step]:
    """The two branches; each ends by copying its results to where the node's outputs lie."""
    steps, (_, *operands) = _operands(lowering, node)
    outputs = [lowering.buffer_of(value) for value in node.outputs]
    branches: list[tuple[Step, ...]] = []
    for graph in (definition.then, definition.otherwise):
        body, results = _subgraph(lowering, graph, tuple(operands))
        copies = tuple(CopyStep(a, b) for a, b in zip(results, outputs, strict=True))
        branches.append((*body, *copies))
    condition = lowering.contiguous(node.inputs[0])
    return [*steps, BranchStep(condition, branches[0], branches[1])]


def _carried(operands: tuple[Buffer, ...], outputs: list[Buffer]) -> list[Step]:
    return [CopyStep(a, b) for a, b in zip(operands, outputs, strict=False) if a is not b]


def _update(
    lowering: GraphLowering, results: list[Buffer], outputs: list[Buffer]
) -> tuple[Step, ...]:
    """Copies results over the carried buffers; all are read before any is written."""
    direct = not any(result in outputs for result in results)
    if direct:
        return tuple(CopyStep(a, b) for a, b in zip(results, outputs, strict=False))
    saved = [Buffer(lowering.context.unique("carried"), b.type, Space.ARENA) for b in outputs]
    return (
        *(CopyStep(a, b) for a, b in zip(results, saved, strict=False)),
        *(CopyStep(a, b) for a, b in zip(saved, outputs, strict=False)),
    )


def lower_while(lowering: GraphLowering, node: Node, definition: kernels.WhileLoop) -> list[Step]:
    """Carried values are copied in, then updated in place by every run of the body."""
    steps, operands = _operands(lowering, node)
    carried = [lowering.buffer_of(value) for value in node.outputs]
    arguments = (*carried, *operands[definition.carried :])
    test, (condition,) = _subgraph(lowering, definition.condition, arguments)
    body, results = _subgraph(lowering, definition.body, arguments)
    update = _update(lowering, results, carried)
    start = _carried(operands[: definition.carried], carried)
    return [*steps, *start, WhileStep(test, whole(condition), (*body, *update))]


def lower_scan(lowering: GraphLowering, node: Node, definition: kernels.ScanLoop) -> list[Step]:
    """A counted loop: slices of the scanned inputs in, stacked results out."""
    steps, operands = _operands(lowering, node)
    count, scanned = definition.carried, definition.scanned
    outputs = [lowering.buffer_of(value) for value in node.outputs]
    carried, stacked = outputs[:count], outputs[count:]
    counter = Symbol(lowering.context.unique("step"), 0, shapes.INFINITY, None)
    position = shapes.of_atom(counter)
    body: list[Step] = []
    slices: list[Buffer] = []
    for graph_input, source in zip(
        definition.body.inputs[count : count + scanned],
        operands[count : count + scanned],
        strict=True,
    ):
        piece = Buffer(lowering.context.unique(graph_input.name), graph_input.type, Space.ARENA)
        index = loop_variables(graph_input.shape)
        address = shapes.flatten_index(index, graph_input.shape)
        size = shapes.element_count(graph_input.shape)
        element = Element(graph_input.dtype.compute, source, position * size + address)
        body.append(nest("slice", index, graph_input.shape, Store(piece, address, element), node))
        slices.append(piece)
    inner, results = _subgraph(
        lowering, definition.body, (*carried, *slices, *operands[count + scanned :])
    )
    body.extend(inner)
    for result, target in zip(results[count:], stacked, strict=True):
        shape = result.type.shape
        index = loop_variables(shape)
        address = shapes.flatten_index(index, shape)
        element = Element(result.dtype.compute, result, address)
        store = Store(target, position * shapes.element_count(shape) + address, element)
        body.append(nest("stack", index, shape, store, node))
    body.extend(_update(lowering, results[:count], carried))
    start = _carried(operands[:count], carried)
    loop = CountedStep(counter, definition.length, definition.reverse, tuple(body))
    return [*steps, *start, loop]
