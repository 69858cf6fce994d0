"""The nodes of a graph, one by one: spelled, or first taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import UnsupportedOperator
from ..exported import schema
from ..frontends.graph_writer import GraphWriter, Tensor
from ..ir.graph import Graph, Node, Origin, Value
from ..ir.shapes import Symbol, atom_of
from ..ops.base import Builder, OperatorError
from ..ops.control_flow import Branch, ScanLoop, WhileLoop
from .composites import COMPOSITES, is_plain
from .spellings import SPELLINGS

Metadata = Mapping[Origin, Mapping[str, str]]
"""Of the nodes of the file, by where they say they come from."""


class NodeWriter:
    """Writes graphs within graphs; `refused` gathers what ATen has no operator for."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self.refused: list[UnsupportedOperator] = []

    def write(self, w: GraphWriter, graph: Graph) -> None:
        """Add all nodes of a graph, whose inputs and constants are written."""
        for node in graph.nodes:
            w.metadata = self._metadata.get(node.origin, {})
            try:
                self._write_node(w, node)
            except OperatorError as error:
                self.refused.append(
                    UnsupportedOperator(node.origin.target, node.origin.source, str(error))
                )
                for value in node.outputs:
                    w.written[value] = Tensor(w.unique(value.name), value.type)

    def _write_node(self, w: GraphWriter, node: Node) -> None:
        expand = COMPOSITES.get(type(node.op))
        if expand is not None and not is_plain(node.op):
            self._expand(w, node, expand(builder := Builder(), node.op, *node.inputs), builder)
            return
        inputs = [w.written[value] for value in node.inputs]
        results: Sequence[Tensor]
        match node.op:
            case Branch():
                results = self._branch(w, node, node.op, inputs)
            case WhileLoop():
                results = self._while(w, node, node.op, inputs)
            case ScanLoop():
                results = self._scan(w, node, node.op, inputs)
            case _:
                spelling = SPELLINGS.get(type(node.op))
                if spelling is None:
                    raise OperatorError(f"{type(node.op).__name__} has no operator in ATen")
                results = spelling(w, node, node.op, *inputs)
        w.written.update(zip(node.outputs, results, strict=True))

    def _expand(
        self, w: GraphWriter, node: Node, results: Sequence[Value], builder: Builder
    ) -> None:
        """Write what stands for a composite; its results have the names of the node's."""
        for inner in builder.nodes:
            self._write_node(w, inner)
        for output, result in zip(node.outputs, results, strict=True):
            w.written[output] = w.written[result]

    # ---- graphs within

    def _branch(
        self, w: GraphWriter, node: Node, op: Branch, inputs: Sequence[Tensor]
    ) -> list[Tensor]:
        predicate, *operands = inputs
        return self._call(
            w,
            node,
            "cond",
            [
                w.argument(predicate),
                self._graph(w, "true_graph", op.then, operands),
                self._graph(w, "false_graph", op.otherwise, operands),
                w.argument(operands),
            ],
        )

    def _while(
        self, w: GraphWriter, node: Node, op: WhileLoop, inputs: Sequence[Tensor]
    ) -> list[Tensor]:
        carried, unchanged = inputs[: op.carried], inputs[op.carried :]
        return self._call(
            w,
            node,
            "while_loop",
            [
                self._graph(w, "cond_graph", op.condition, inputs, is_single=True),
                self._graph(w, "body_graph", op.body, inputs),
                schema.AsTensors(tuple(tensor.name for tensor in carried)),
                schema.AsTensors(tuple(tensor.name for tensor in unchanged)),
            ],
        )

    def _scan(
        self, w: GraphWriter, node: Node, op: ScanLoop, inputs: Sequence[Tensor]
    ) -> list[Tensor]:
        """Positions in reverse order are those of reversed tensors, and give reversed results."""
        state = inputs[: op.carried]
        scanned = inputs[op.carried : op.carried + op.scanned]
        unchanged = inputs[op.carried + op.scanned :]
        body = self._graph(
            w, "scan_graph", op.body, [*state, *map(_without_first_axis, scanned), *unchanged]
        )
        if op.reverse:
            scanned = [w.call("flip.default", x.type, self=x, dims=[0]) for x in scanned]
        lists = [
            schema.AsTensors(tuple(tensor.name for tensor in tensors))
            for tensors in (state, scanned, unchanged)
        ]
        results = self._call(w, node, "scan", [body, *lists])
        if not op.reverse:
            return results
        stacked = results[op.carried :]
        flipped = [w.call("flip.default", x.type, self=x, dims=[0]) for x in stacked]
        return [*results[: op.carried], *flipped]

    def _call(
        self, w: GraphWriter, node: Node, name: str, arguments: Sequence[schema.Argument]
    ) -> list[Tensor]:
        return w.add(
            f"torch.ops.higher_order.{name}",
            [schema.NamedArgument("", argument) for argument in arguments],
            [value.type for value in node.outputs],
            dense=False,
            names=[value.name for value in node.outputs],
            is_single=False,
        )

    def _graph(
        self,
        w: GraphWriter,
        name: str,
        graph: Graph,
        operands: Sequence[Tensor],
        *,
        is_single: bool = False,
    ) -> schema.AsGraph:
        """A graph within, with inputs for the operands."""
        inner = GraphWriter(w.texts)
        if graph.constants or graph.buffers:
            raise OperatorError("a subgraph with constants of its own")
        for value, operand in zip(graph.inputs, operands, strict=True):
            tensor = Tensor(inner.unique(value.name), value.type, operand.is_dense)
            inner.describe(tensor.name, value.type)
            inner.written[value] = tensor
            for axis, symbol in enumerate(_symbols(value)):
                if symbol is not None:
                    inner.add_source(symbol, tensor, axis)
        self.write(inner, graph)
        inputs = [inner.argument(inner.written[value]) for value in graph.inputs]
        outputs = [inner.argument(tensor) for tensor in _own(inner, graph)]
        return schema.AsGraph(
            w.unique(name), inner.graph(inputs, outputs, is_single_tensor_return=is_single)
        )


def _own(w: GraphWriter, graph: Graph) -> list[Tensor]:
    """The results, each in memory of its own: subgraphs may give back neither what they were given
    nor one result twice."""
    taken = set(graph.inputs)
    results = []
    for value in graph.outputs:
        tensor = w.written[value]
        if value in taken:
            tensor = w.call("clone.default", value.type, self=tensor)
        taken.add(value)
        results.append(tensor)
    return results


def _without_first_axis(x: Tensor) -> Tensor:
    return Tensor(x.name, type(x.type)(x.dtype, x.shape[1:]), x.is_dense)


def _symbols(value: Value) -> list[Symbol | None]:
    """For each dimension, the symbol that its size consists of alone."""
    atoms = [atom_of(size) for size in value.shape]
    return [atom if isinstance(atom, Symbol) else None for atom in atoms]


__all__ = ["Metadata", "NodeWriter"]
