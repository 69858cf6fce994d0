"""Branches and loops as primitives with subgraphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from ..exported import schema
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Graph, TensorType, Value
from ..ir.shapes import Dim, Symbol
from ..ops.base import OperatorError, WeakScalar
from ..ops.control_flow import Branch, ScanLoop, WhileLoop
from ..ops.symbols import ReadSymbol
from ..records import dataclass
from .arguments import Argued, as_value
from .functionalize import ImportBuilder, TensorRef, fresh
from .inline import HigherOrder, ImportNodes, flat, inline, subgraph_result
from .results import output_names
from .scope import Scope


@dataclass(slots=True)
class Subgraph:
    """A graph under construction, and what it reads of the surrounding one beyond its operands."""

    scope: Scope
    inputs: list[Value]
    outputs: list[Value] = field(default_factory=list)

    def bound(self, size: Dim) -> Dim:
        """The largest that a size can be, without the symbols that its own nodes define."""
        nodes = self.scope.builder.nodes
        read = {node.op.symbol for node in nodes if isinstance(node.op, ReadSymbol)}
        if not shapes.symbols_in(size) & read:
            return size
        bound = shapes.upper_bound(size)
        if bound >= shapes.INFINITY:
            raise OperatorError(f"a branch gives {size} elements, and nothing bounds that outside")
        return bound

    def finish(self, name: str, extra: Sequence[Value]) -> Graph:
        """The graph; `extra` are inputs after the operands."""
        return Graph(
            name, (*self.inputs, *extra), tuple(self.outputs), tuple(self.scope.builder.nodes)
        )


def import_subgraph(
    outer: Scope, graph: Argued, operands: Sequence[Argued], import_nodes: ImportNodes,
    *, slices: range = range(0), carried: range = range(0),
) -> Subgraph:  # fmt: skip
    """Import a subgraph for these operands.

    Operands in `slices` come without their first dimension. Numbers in `carried` change from one
    round to the next: they are inputs, and symbols of the subgraph. Other numbers are the
    surrounding graph's.
    """
    assert isinstance(graph, schema.Graph), "control flow holds graphs"
    builder = ImportBuilder(outer.context.names, outer.context.random)
    scope = Scope(outer.context, builder, graph, outer.autocast)
    subgraph = Subgraph(scope, [])
    refs: list[TensorRef] = []
    for position, (argument, operand) in enumerate(zip(graph.inputs, operands, strict=True)):
        match argument:
            case schema.AsTensor(name):
                assert isinstance(operand, TensorRef), f"{name} is a tensor"
                given = operand.read(outer.builder)
                shape = given.shape[1:] if position in slices else given.shape
                value = Value(builder.unique_name(name), TensorType(given.dtype, shape))
                ref = fresh(value)
                scope.rebind_tensor(name, ref)
                refs.append(ref)
                subgraph.inputs.append(value)
            case schema.AsSymInt(str(name)) if position in carried:
                value = Value(builder.unique_name(name), TensorType(DType.INT64, ()))
                subgraph.inputs.append(value)
                scope.bind_scalar(name, _carried_symbol(scope, name, value))
            case (
                schema.AsSymInt(str(name))
                | schema.AsSymFloat(str(name))
                | schema.AsSymBool(str(name))
            ):
                if isinstance(operand, WeakScalar):
                    value = Value(builder.unique_name(name), operand.value.type)
                    subgraph.inputs.append(value)
                    scope.bind_scalar(name, WeakScalar(value))
                else:
                    scope.bind_scalar(name, operand)  # type: ignore[arg-type]
    import_nodes(scope)
    for argument in graph.outputs:
        result = subgraph_result(scope, argument)
        subgraph.outputs.append(
            result.read(builder) if isinstance(result, TensorRef) else as_value(result, builder)
        )
    if any(ref.storage.is_written for ref in refs):
        raise OperatorError("a branch or loop body changes its operands in place")
    return subgraph


def _carried_symbol(scope: Scope, name: str, value: Value) -> Dim:
    """A number that a loop carries: every round reads it anew."""
    meta = scope.graph.sym_int_values.get(name)
    symbols = scope.context.symbols
    symbol_name = symbols.single_symbol(meta) if isinstance(meta, schema.SymExpr) else None
    low, high = symbols.bounds(symbol_name) if symbol_name else (-shapes.INFINITY, shapes.INFINITY)
    symbol = Symbol(scope.context.names.next(), low, high)
    scope.builder.emit(ReadSymbol(symbol), value)
    expression = shapes.of_atom(symbol)
    if symbol_name is not None:
        symbols.define(symbol_name, expression)
    return expression


def _operand_values(
    scope: Scope, operands: Sequence[Argued], carried: range = range(0)
) -> list[Value]:
    """What is passed to a subgraph: tensors, numbers in `carried`, and numbers that are values
    already."""
    values: list[Value] = []
    for position, operand in enumerate(operands):
        if isinstance(operand, TensorRef):
            values.append(operand.read(scope.builder))
        elif isinstance(operand, WeakScalar):
            values.append(operand.value)
        elif position in carried:
            values.append(as_value(operand, scope.builder))  # type: ignore[arg-type]
    return values


def _lifted_constants(
    scope: Scope, subgraphs: Sequence[Subgraph]
) -> tuple[list[Value], list[list[Value]]]:
    """Constants of subgraphs as constants here: (operands to add, the inputs they are in each
    subgraph).

    Every subgraph of an operator takes the same operands, so each gets an input for the constants
    of all.
    """
    operands: list[Value] = []
    inputs: list[list[Value]] = [[] for _ in subgraphs]
    for owner, subgraph in enumerate(subgraphs):
        for value, constant in subgraph.scope.builder.constants.items():
            operands.append(scope.builder.array(constant.array, constant.name))
            for position, other in enumerate(subgraphs):
                if position == owner:
                    inputs[position].append(value)
                else:
                    name = other.scope.builder.unique_name(value.name)
                    inputs[position].append(Value(name, value.type))
    return operands, inputs


def _cond(
    scope: Scope, args: Sequence[Argued], import_nodes: ImportNodes, node: schema.Node
) -> Any:
    predicate, then_graph, else_graph, *rest = args
    operands = flat(rest)
    b = scope.builder
    if isinstance(predicate, TensorRef):
        condition = b.cast(b.reshape(predicate.read(b), ()), DType.BOOL)
    elif isinstance(predicate, (bool, int)):
        chosen = then_graph if predicate else else_graph
        return inline(scope, chosen, operands, import_nodes, scope.autocast)
    else:
        condition = as_value(predicate, b)  # type: ignore[arg-type]
    then = import_subgraph(scope, then_graph, operands, import_nodes)
    otherwise = import_subgraph(scope, else_graph, operands, import_nodes)
    cut = _make_alike(then, otherwise, _undecided_axes(scope, node))
    constants, (then_inputs, else_inputs) = _lifted_constants(scope, (then, otherwise))
    op = Branch(
        then.finish(f"{b.name_hint}_then", then_inputs),
        otherwise.finish(f"{b.name_hint}_else", else_inputs),
    )
    results = list(b.emit(op, condition, *_operand_values(scope, operands), *constants))
    lengths = results[len(results) - len(cut) :]
    for (position, axis), length in zip(cut, lengths, strict=True):
        x = results[position]
        size = b.read_symbol(length, 0, shapes.upper_bound(x.shape[axis]))
        results[position] = b.slice(x, axis, 0, size)
    return results[: len(results) - len(cut)]


def _undecided_axes(scope: Scope, node: schema.Node) -> list[tuple[int, int]]:
    """(result, axis) where the file has a symbol that only the run decides for the size."""
    shapes_said = [scope.shape_of(name) or () for name in output_names(node.outputs)]
    return [
        (position, axis)
        for position, shape in enumerate(shapes_said)
        for axis, size in enumerate(shape)
        if size is None
    ]


def _make_alike(
    then: Subgraph, otherwise: Subgraph, axes: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Pad the results of branches along `axes` to one size; the sizes they have are further results.
    The axes that were padded.

    then: f32[3], otherwise: f32[2]   ->   then: f32[3], 3; otherwise: f32[3], 2
    """
    padded: list[tuple[int, int]] = []
    for position, axis in axes:
        given = [(branch, branch.outputs[position]) for branch in (then, otherwise)]
        if given[0][1].rank != given[1][1].rank:
            continue
        largest = shapes.maximum(*(branch.bound(x.shape[axis]) for branch, x in given))
        for branch, x in given:
            b, size = branch.scope.builder, x.shape[axis]
            if size != largest:
                pads: list[tuple[Dim, Dim]] = [(0, 0)] * x.rank
                pads[axis] = (0, largest - size)
                branch.outputs[position] = b.pad(x, pads, 0)
            branch.outputs.append(b.dim(size))
        padded.append((position, axis))
    return padded


def _while_loop(
    scope: Scope, args: Sequence[Argued], import_nodes: ImportNodes, node: schema.Node
) -> Any:
    condition_graph, body_graph, state, *rest = args
    carried_operands = flat([state])
    operands = [*carried_operands, *flat(rest)]
    carried = range(len(carried_operands))
    condition = import_subgraph(scope, condition_graph, operands, import_nodes, carried=carried)
    body = import_subgraph(scope, body_graph, operands, import_nodes, carried=carried)
    (test,) = condition.outputs
    condition.outputs = [
        condition.scope.builder.cast(condition.scope.builder.reshape(test, ()), DType.BOOL)
    ]
    constants, (condition_inputs, body_inputs) = _lifted_constants(scope, (condition, body))
    b = scope.builder
    op = WhileLoop(
        condition.finish(f"{b.name_hint}_condition", condition_inputs),
        body.finish(f"{b.name_hint}_body", body_inputs),
        len(carried),
    )
    return list(b.emit(op, *_operand_values(scope, operands, carried), *constants))


def scan_loop(
    scope: Scope, body: Subgraph, carried: int, scanned: int, length: Dim, operands: Sequence[Value]
) -> list[Value]:
    constants, (inputs,) = _lifted_constants(scope, (body,))
    b = scope.builder
    op = ScanLoop(body.finish(f"{b.name_hint}_body", inputs), carried, scanned, length)
    return list(b.emit(op, *operands, *constants))


def _length(scope: Scope, scanned: Sequence[Argued]) -> Dim:
    for operand in scanned:
        if isinstance(operand, TensorRef):
            return operand.read(scope.builder).shape[0]
    raise OperatorError("a loop over no tensor")


def _map(scope: Scope, args: Sequence[Argued], import_nodes: ImportNodes, node: schema.Node) -> Any:
    graph, scanned_argument, *rest = args
    scanned = flat([scanned_argument])
    operands = [*scanned, *flat(rest)]
    slices = range(len(scanned))
    body = import_subgraph(scope, graph, operands, import_nodes, slices=slices)
    values = _operand_values(scope, operands)
    return scan_loop(scope, body, 0, len(scanned), _length(scope, scanned), values)


def _scan(
    scope: Scope, args: Sequence[Argued], import_nodes: ImportNodes, node: schema.Node
) -> Any:
    graph, state, scanned_argument, *rest = args
    init, scanned = flat([state]), flat([scanned_argument])
    operands = [*init, *scanned, *flat(rest)]
    slices = range(len(init), len(init) + len(scanned))
    body = import_subgraph(
        scope, graph, operands, import_nodes, slices=slices, carried=range(len(init))
    )
    values = _operand_values(scope, operands, range(len(init)))
    length = _length(scope, scanned)
    return scan_loop(scope, body, len(init), len(scanned), length, values)


def _associative_scan(
    scope: Scope, args: Sequence[Argued], import_nodes: ImportNodes, node: schema.Node
) -> Any:
    """A scan whose state starts with the first elements: `y[0] = x[0]`, `y[i] = combine(y[i-1],
    x[i])`."""
    graph, scanned_argument, *rest = args
    scanned, unchanged = flat([scanned_argument]), flat(rest)
    b = scope.builder
    tensors = [ref.read(b) for ref in scanned if isinstance(ref, TensorRef)]
    assert isinstance(graph, schema.Graph), "associative_scan holds a graph"
    is_sliced = _expects_rank(scope, graph) == tensors[0].rank - 1
    first: list[Argued] = []
    following: list[Argued] = []
    for x in tensors:
        start = b.slice(x, 0, 0, 1)
        first.append(fresh(b.squeeze(start, 0) if is_sliced else start))
        tail = b.slice(x, 0, 1, x.shape[0] - 1)
        following.append(fresh(tail if is_sliced else b.unsqueeze(tail, 1)))
    operands = [*first, *following, *unchanged]
    slices = range(len(first), 2 * len(first))
    body = import_subgraph(scope, graph, operands, import_nodes, slices=slices)
    count = len(body.outputs)
    body.outputs = [*body.outputs, *body.outputs]
    values = _operand_values(scope, operands)
    results = scan_loop(scope, body, count, count, _length(scope, following), values)
    stacked: list[Value] = []
    for start_ref, tail in zip(first, results[count:], strict=False):
        assert isinstance(start_ref, TensorRef), "states are tensors"
        start = start_ref.read(b)
        stacked.append(
            b.concatenate([b.unsqueeze(start, 0), tail], 0)
            if is_sliced
            else b.concatenate([start, b.reshape(tail, (tail.shape[0], *tail.shape[2:]))], 0)
        )
    return stacked


def _expects_rank(scope: Scope, graph: schema.Graph) -> int | None:
    argument = graph.inputs[0]
    meta = graph.tensor_values.get(argument.name) if isinstance(argument, schema.AsTensor) else None
    return None if meta is None else len(meta.sizes)


CONTROL_FLOW: Mapping[str, HigherOrder] = {
    "cond": _cond,
    "while_loop": _while_loop,
    "map_impl": _map,
    "map": _map,
    "scan": _scan,
    "associative_scan": _associative_scan,
}
"""Higher-order operators that become primitives with subgraphs."""
