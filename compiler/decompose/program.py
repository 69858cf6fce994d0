"""`ExportedProgram` -> `ExportedProgram`: functional, of core ATen operators, by way of the IR.

x.add_(1); y = aten.layer_norm.default(x, [4])     TRAINING
->
add = aten.add.Tensor(x, 1); var = ...; y = ...     ATEN, with `add` stored to `x` by the signature
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from ..errors import CompileError, UnsupportedOperatorError
from ..exported import schema
from ..exported.arguments import subgraphs
from ..exported.program import Constant as StoredConstant
from ..exported.program import ExportedProgram
from ..exported.tensors import TensorData, tensor_of_array
from ..frontends.exported import import_program
from ..frontends.graph_writer import SCALAR_TYPES, GraphWriter, Tensor
from ..frontends.origins import node_origin
from ..frontends.program import (
    FixedOutput,
    ImportedProgram,
    InputAlias,
    OutputLeaf,
    ScalarInput,
    ScalarOutput,
    TensorInput,
    TensorOutput,
)
from ..frontends.size_nodes import SymbolTexts
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Graph, Origin, TensorType, Value
from ..ops.creation import DimValue
from ..passes.dead import remove_dead_nodes
from ..passes.share import share_common_nodes
from .nodes import NodeWriter

DIALECT = "ATEN"


def decompose(program: ExportedProgram) -> ExportedProgram:
    """The program in functional form; what it stores is in the signature of the result.

    Composites become core ATen operators, and what has none keeps the operator that PyTorch's
    decompositions leave. Names, weights, ranges, guards and the call spec stay. Raises
    `UnsupportedOperatorError`, which names every operator that cannot be written.
    """
    return _Decomposition(program).result()


class _Decomposition:
    def __init__(self, program: ExportedProgram) -> None:
        self._program = program
        self._imported: ImportedProgram = import_program(program)
        self._graph: Graph = remove_dead_nodes(share_common_nodes(self._imported.graph))
        texts = SymbolTexts(program.graph, program.range_constraints)
        self._w = GraphWriter(texts)
        self._inputs: list[schema.Argument] = []
        self._input_specs: list[schema.InputSpec] = []
        self._constants: dict[str, StoredConstant] = dict(program.constants)

    def result(self) -> ExportedProgram:
        self._write_inputs()
        nodes = NodeWriter(dict(_origins(self._program.graph)))
        nodes.write(self._w, self._graph)
        if nodes.refused:
            raise UnsupportedOperatorError(nodes.refused)
        self._w.metadata = {}
        outputs, output_specs = self._outputs()
        program = self._program
        return replace(
            program,
            graph=self._w.graph(self._inputs, outputs),
            graph_signature=schema.GraphSignature(tuple(self._input_specs), tuple(output_specs)),
            constants=self._constants,
            range_constraints={**program.range_constraints, **self._w.texts.ranges},
            module_call_graph=tuple(
                entry if entry.fqn == "" else replace(entry, signature=None)
                for entry in program.module_call_graph
            ),
            schema_version=schema.SchemaVersion(*schema.SCHEMA_VERSION),
            dialect=DIALECT,
        )

    # ---- inputs

    def _write_inputs(self) -> None:
        """The inputs of the file as they are, tokens aside, and after them constants of the graph
        that were numbers in the file."""
        w, program = self._w, self._program
        placeholders: dict[str, Tensor] = {}
        by_target: dict[str, Tensor] = {}
        for spec, argument in zip(
            program.graph_signature.input_specs, program.graph.inputs, strict=True
        ):
            if isinstance(spec, schema.TokenInput):
                continue
            self._inputs.append(argument)
            self._input_specs.append(spec)
            match argument:
                case schema.AsTensor(name):
                    placeholders[name] = self._placeholder(name, spec)
                case schema.AsSymInt(str(name)) | schema.AsSymBool(str(name)):
                    w.taken.add(name)
                case schema.AsSymFloat(str(name)):
                    w.taken.add(name)
                    w.sym_float_values[name] = program.graph.sym_float_values[name]
            match spec:
                case schema.ParameterInput(name, target) | schema.TensorConstantInput(name, target):
                    by_target.setdefault(target, placeholders[name])
                case schema.BufferInput(name, target):
                    by_target.setdefault(target, placeholders[name])
                case schema.ConstantInput(name):
                    w.taken.add(name)
        self._name_numbers()
        self._bind(placeholders, by_target)

    def _placeholder(self, name: str, spec: schema.InputSpec) -> Tensor:
        """An input tensor under its name, with the type of the file.

        How the user's tensors lie in memory is for each call to say.
        """
        self._w.taken.add(name)
        meta = self._program.graph.tensor_values[name]
        self._w.tensor_values[name] = meta
        is_dense = _is_row_major(meta) and not isinstance(spec, schema.UserInput)
        # The type that counts is that of the graph; here nothing but the name is needed.
        return Tensor(name, TensorType(DType.FLOAT32, ()), is_dense)

    def _name_numbers(self) -> None:
        graph, w = self._program.graph, self._w
        for name in w.taken:
            if name in graph.sym_int_values:
                w.sym_int_values[name] = graph.sym_int_values[name]
            if name in graph.sym_bool_values:
                w.sym_bool_values[name] = graph.sym_bool_values[name]

    def _bind(self, placeholders: Mapping[str, Tensor], by_target: Mapping[str, Tensor]) -> None:
        w, graph = self._w, self._graph
        for leaf in self._imported.inputs:
            match leaf:
                case TensorInput(name, index):
                    value = graph.inputs[index]
                    w.written[value] = replace(placeholders[name], type=value.type)
                case ScalarInput(name, index, kind):
                    self._bind_number(graph.inputs[index], name, kind)
        for value, constant in {**graph.constants, **graph.buffers}.items():
            found = by_target.get(constant.name)
            if found is None:
                found = self._lifted(value, constant.array)
            w.written[value] = replace(found, type=value.type)
        for binding in graph.bindings:
            value = graph.inputs[binding.input_index]
            if binding.axis is not None:
                w.add_source(binding.symbol, w.written[value], binding.axis)

    def _bind_number(self, value: Value, name: str, kind: str) -> None:
        """An input that is a Python number: a symbol where it is an integer, and a tensor of it
        where the graph reads one."""
        w, graph = self._w, self._graph
        for binding in graph.bindings:
            if graph.inputs[binding.input_index] is value:
                w.sizes.define(binding.symbol, name)
        if not any(value in node.inputs for node in graph.nodes) and value not in graph.outputs:
            return
        record: schema.Argument
        match kind:
            case "int":
                record = schema.AsSymInt(name)
            case "float":
                record = schema.AsSymFloat(name)
            case _:
                record = schema.AsSymBool(name)
        given = [
            schema.NamedArgument("s", record),
            schema.NamedArgument("dtype", schema.AsScalarType(SCALAR_TYPES[value.dtype])),
        ]
        [w.written[value]] = w.add("torch.ops.aten.scalar_tensor.default", given, [value.type])

    def _lifted(self, value: Value, array: np.ndarray) -> Tensor:
        """A further input for a constant that the import made."""
        w = self._w
        target = value.name
        while target in self._constants or target in self._program.state_dict:
            target += "_"
        name = w.unique(f"c_{target}")
        self._constants[target] = tensor_of_array(array, SCALAR_TYPES[value.dtype], target)
        w.describe(name, value.type)
        at = sum(not isinstance(spec, _OF_CALLS) for spec in self._input_specs)
        self._inputs.insert(at, schema.AsTensor(name))
        self._input_specs.insert(at, schema.TensorConstantInput(name, target))
        return Tensor(name, value.type)

    # ---- outputs

    def _outputs(self) -> tuple[list[schema.Argument], list[schema.OutputSpec]]:
        stored = list(self._stored())
        specs = [spec for spec, _ in stored]
        signature, graph = self._program.graph_signature, self._program.graph
        own = [
            (spec, given)
            for spec, given in zip(signature.output_specs, graph.outputs, strict=True)
            if isinstance(spec, _GIVEN_BACK)
        ]
        changed = [schema.AsTensor(name) for _, name in stored]
        arguments: list[schema.Argument] = []
        for (spec, given), leaf in zip(own, self._imported.outputs, strict=True):
            argument = self._output(leaf)
            is_input = argument != given and argument in self._inputs
            if is_input or argument in changed:
                argument = self._copied(argument)
            arguments.append(argument)
            if isinstance(spec, schema.UserOutput):
                specs.append(schema.UserOutput(argument))
            else:
                assert isinstance(argument, schema.AsTensor), "losses and gradients are tensors"
                specs.append(replace(spec, name=argument.name))
        return [*(schema.AsTensor(name) for _, name in stored), *arguments], specs

    def _stored(self) -> Iterator[tuple[schema.OutputSpec, str]]:
        """What the program changes, with the name of the value it stores there."""
        changed = {value: self._w.written[new].name for value, new in self._graph.mutations}
        by_name = {self._w.written[value].name: new for value, new in changed.items()}
        for spec in self._input_specs:
            name = "" if isinstance(spec, schema.ConstantInput) else _input_name(spec)
            new = by_name.get(self._same_memory(spec, name))
            if new is None:
                continue
            match spec:
                case schema.ParameterInput(_, target):
                    yield schema.ParameterMutation(new, target), new
                case schema.BufferInput(_, target):
                    yield schema.BufferMutation(new, target), new
                case schema.UserInput():
                    yield schema.UserInputMutation(new, name), new
                case _:
                    raise CompileError(f"the program changes its constant '{name}'")

    def _same_memory(self, spec: schema.InputSpec, name: str) -> str:
        """The input that stands for the memory of this one: tied tensors are one value."""
        match spec:
            case schema.ParameterInput(_, target) | schema.BufferInput(_, target):
                own = self._stored_tensor(target)
            case _:
                return name
        for value in self._graph.buffers:
            written = self._w.written[value].name
            other = self._stored_tensor(self._graph.buffers[value].name)
            if own is not None and other is not None and _is_same(own, other):
                return written
        return name

    def _stored_tensor(self, target: str) -> TensorData | None:
        found = self._program.state_dict.get(target, self._program.constants.get(target))
        return found if isinstance(found, TensorData) else None

    def _output(self, leaf: OutputLeaf) -> schema.Argument:
        match leaf:
            case TensorOutput(_, index):
                return schema.AsTensor(self._w.written[self._graph.outputs[index]].name)
            case InputAlias(_, leaf_index):
                source = self._imported.inputs[leaf_index]
                return schema.AsTensor(source.name)
            case FixedOutput(_, value):
                return self._w.argument(value)
            case ScalarOutput(_, index, kind):
                return self._number(self._graph.outputs[index], kind)

    def _copied(self, argument: schema.Argument) -> schema.Argument:
        """A result in memory of its own: it is an input here alone, or goes to the program's state, and
        would change with that in later calls."""
        w = self._w
        if not isinstance(argument, schema.AsTensor):
            return argument
        [tensor] = [tensor for tensor in w.written.values() if tensor.name == argument.name][:1]
        return w.argument(w.call("clone.default", tensor.type, dense=tensor.is_dense, self=tensor))

    def _number(self, value: Value, kind: str) -> schema.Argument:
        """An output that is a Python number."""
        w = self._w
        for node in self._graph.nodes:
            if value in node.outputs and isinstance(node.op, DimValue):
                return schema.AsSymInt(w.sizes.argument(node.op.expression))
        symbol = shapes.Symbol(w.unique("result"), -shapes.INFINITY)
        inputs = [schema.NamedArgument("self", w.argument(w.written[value]))]
        target = "torch.ops.aten._local_scalar_dense.default"
        text = w.texts.expression(shapes.of_atom(symbol))
        if kind == "int":
            return schema.AsSymInt(w.number(target, schema.AsSymInt, inputs, text))
        raise CompileError(f"the program gives back a {kind} that the run computes")


_GIVEN_BACK = (
    schema.UserOutput, schema.LossOutput, schema.GradientToParameter, schema.GradientToUserInput,
)  # fmt: skip
"""Outputs that a call gives back."""

_OF_CALLS = (schema.UserInput, schema.ConstantInput, schema.CustomObjectInput)


def _input_name(spec: schema.InputSpec) -> str:
    match spec:
        case schema.UserInput(schema.AsTensor(name)):
            return name
        case schema.UserInput() | schema.CustomObjectInput() | schema.ConstantInput():
            return ""
        case _:
            return spec.name


def _is_same(left: TensorData, right: TensorData) -> bool:
    """Whether two tensors are the same memory seen in the same way, as tied weights are."""
    return (
        left.storage is right.storage
        and left.storage_offset_elements == right.storage_offset_elements
        and left.shape == right.shape
        and left.strides_elements == right.strides_elements
    )


def _is_row_major(meta: schema.TensorMeta) -> bool:
    """Whether the memory of a tensor lies in row-major order."""
    if not all(isinstance(size, int) for size in meta.sizes):
        return False
    expected = 1
    for size, stride in reversed(list(zip(meta.sizes, meta.strides, strict=True))):
        if size != 1 and stride != expected:
            return False
        expected *= int(size)  # type: ignore[arg-type]
    return True


def _origins(graph: schema.Graph) -> Iterator[tuple[Origin, Mapping[str, str]]]:
    for node in graph.nodes:
        yield node_origin(node.target.removeprefix("torch.ops."), node.metadata), node.metadata
        for inner in subgraphs(node):
            yield from _origins(inner)


__all__ = ["DIALECT", "decompose"]
