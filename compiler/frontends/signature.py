"""Inputs and outputs of a program: parameters, buffers and constants, the leaves of a call, and
what a call changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from ..errors import CompileError
from ..exported import schema
from ..exported.program import ExportedProgram
from ..ir.dtypes import DType
from ..ir.graph import Binding, Constant, TensorType, Value
from ..ir.shapes import Dim, SymExpr
from ..ops.base import WeakScalar
from ..records import dataclass
from .arguments import DTYPES, Condition, ScalarBinding, as_value, decode, scalar_kind
from .functionalize import TensorRef, fresh
from .program import (
    FixedInput,
    FixedOutput,
    InputAlias,
    InputLeaf,
    OutputLeaf,
    ScalarInput,
    ScalarOutput,
    TensorInput,
    TensorOutput,
)
from .scope import Scope
from .state import State, bind_state
from .symbols import InputSize, bind_symbols

_SCALAR_DTYPES = {"int": DType.INT64, "float": DType.FLOAT64, "bool": DType.BOOL}


@dataclass(slots=True)
class Inputs:
    """The graph's inputs and constants, with what they are in the source program."""

    values: list[Value] = field(default_factory=list)
    leaves: list[InputLeaf] = field(default_factory=list)
    constants: dict[Value, Constant] = field(default_factory=dict)
    state: State = field(default_factory=State)
    user_tensors: dict[int, TensorRef] = field(default_factory=dict)
    """By leaf."""
    placeholders: dict[str, TensorRef] = field(default_factory=dict)
    """By the name of the graph's input."""
    bindings: tuple[Binding, ...] = ()

    def leaf_value(self, leaf: int, scope: Scope) -> tuple[Dim, ...] | Dim | None:
        """What guards can say of a leaf: a tensor's sizes, an integer's value."""
        entry = self.leaves[leaf]
        if isinstance(entry, TensorInput):
            return self.values[entry.index].shape
        if isinstance(entry, ScalarInput) and entry.kind == "int":
            value = scope.scalar(entry.name)
            return value if isinstance(value, (int, SymExpr)) else None
        if isinstance(entry, FixedInput) and isinstance(entry.value, (bool, int)):
            return int(entry.value)
        return None


_UserLeaf = tuple[str, schema.Argument]


def bind_inputs(program: ExportedProgram, scope: Scope) -> Inputs:
    """Bind the names of the graph's inputs; the symbols that their sizes determine become known."""
    inputs = Inputs()
    signature = program.graph_signature
    user: list[_UserLeaf] = list(_user_leaves(signature))
    inputs.bindings = bind_symbols(
        scope.context.symbols, _supplied_sizes(program.graph, user), _unguarded_sizes(program)
    )
    scope.context.backed.update(binding.symbol for binding in inputs.bindings)
    inputs.state = bind_state(program, scope)
    inputs.constants.update(inputs.state.constants)
    inputs.placeholders.update(inputs.state.placeholders)
    for spec in signature.input_specs:
        match spec:
            case schema.TokenInput(name):
                scope.rebind_tensor(name, fresh(scope.builder.full((0,), 0, DType.FLOAT32)))
            case schema.CustomObjectInput(_, qualified):
                raise CompileError(f"the program holds an object that is no tensor: {qualified}")
    for name, argument in user:
        _bind_leaf(scope, inputs, name, argument)
    return inputs


def _user_leaves(signature: schema.GraphSignature) -> Iterator[_UserLeaf]:
    for position, spec in enumerate(signature.input_specs):
        match spec:
            case schema.UserInput(argument):
                yield _leaf_name(argument, f"input_{position}"), argument
            case schema.ConstantInput(name, value):
                yield name, _constant_argument(value)


def _leaf_name(argument: schema.Argument, otherwise: str) -> str:
    match argument:
        case schema.AsTensor(name):
            return name
        case (
            schema.AsSymInt(str(name)) | schema.AsSymFloat(str(name)) | schema.AsSymBool(str(name))
        ):
            return name
    return otherwise


def _constant_argument(value: schema.ConstantValue) -> schema.Argument:
    match value:
        case bool():
            return schema.AsBool(value)
        case int():
            return schema.AsInt(value)
        case float():
            return schema.AsFloat(value)
        case str():
            return schema.AsString(value)
    return schema.AsNone()


def _is_graph_input(argument: schema.Argument) -> bool:
    match argument:
        case schema.AsTensor():
            return True
        case schema.AsSymInt(value) | schema.AsSymFloat(value) | schema.AsSymBool(value):
            return isinstance(value, str)
    return False


def _supplied_sizes(graph: schema.Graph, user: list[_UserLeaf]) -> list[InputSize]:
    supplied: list[InputSize] = []
    passed = [argument for _, argument in user if _is_graph_input(argument)]
    for index, argument in enumerate(passed):
        match argument:
            case schema.AsTensor(name):
                for axis, size in enumerate(graph.tensor_values[name].sizes):
                    if isinstance(size, schema.SymExpr):
                        supplied.append(InputSize(index, axis, size))
            case schema.AsSymInt(str(name)):
                value = graph.sym_int_values.get(name)
                if isinstance(value, schema.SymExpr):
                    supplied.append(InputSize(index, None, value))
    return supplied


def _unguarded_sizes(program: ExportedProgram) -> list[int | schema.SymExpr]:
    """The sizes of all tensors where the exporter, as early ones, wrote down no guards."""
    if program.guards_code:
        return []
    return [size for meta in program.graph.tensor_values.values() for size in meta.sizes]


def _bind_leaf(scope: Scope, inputs: Inputs, name: str, argument: schema.Argument) -> None:
    index = len(inputs.values)
    match argument:
        case schema.AsTensor(tensor):
            meta = scope.graph.tensor_values[tensor]
            sizes = scope.context.symbols.shape(meta.sizes)
            if meta.dtype not in DTYPES or None in sizes:
                raise CompileError(
                    f"input {tensor}: its type {meta.dtype.name.lower()}"
                    f"{[str(s) for s in sizes]} is not determined by the inputs of a call"
                )
            shape = tuple(size for size in sizes if size is not None)
            value = Value(scope.builder.unique_name(tensor), TensorType(DTYPES[meta.dtype], shape))
            ref = fresh(value)
            scope.rebind_tensor(tensor, ref)
            inputs.values.append(value)
            inputs.placeholders[tensor] = ref
            inputs.user_tensors[len(inputs.leaves)] = ref
            inputs.leaves.append(TensorInput(tensor, index))
        case schema.AsSymInt(str(scalar)):
            _bind_scalar(scope, inputs, scalar, "int")
        case schema.AsSymFloat(str(scalar)):
            _bind_scalar(scope, inputs, scalar, "float")
        case schema.AsSymBool(str(scalar)):
            _bind_scalar(scope, inputs, scalar, "bool")
        case schema.AsCustomObject(_, class_fqn):
            raise CompileError(f"input {name} is an object of {class_fqn}")
        case _:
            value_of = decode(argument, scope)
            assert value_of is None or isinstance(value_of, (bool, int, float, complex, str))
            inputs.leaves.append(FixedInput(name, value_of))


def _bind_scalar(scope: Scope, inputs: Inputs, name: str, kind: str) -> None:
    value = Value(scope.builder.unique_name(name), TensorType(_SCALAR_DTYPES[kind], ()))
    binding: ScalarBinding = WeakScalar(value)
    if kind == "int":
        size = scope.graph.sym_int_values[name]
        dim = scope.context.symbols.known_dim(size)
        if dim is None:
            raise CompileError(
                f"input {name}: the symbols of {size} are not determined by the inputs"
            )
        binding = dim
    scope.bind_scalar(name, binding)
    inputs.leaves.append(ScalarInput(name, len(inputs.values), kind))
    inputs.values.append(value)


# ----------------------------------------------------------------------------------------- outputs


@dataclass(slots=True)
class Outputs:
    """The graph's outputs, with what they are in the result of a call."""

    values: list[Value] = field(default_factory=list)
    leaves: list[OutputLeaf] = field(default_factory=list)
    indices: dict[object, int] = field(default_factory=dict)

    def add(self, value: Value, identity: object) -> int:
        """The index of an output; the same tensor of the source program is one output."""
        index = self.indices.get(identity)
        if index is None:
            index = self.indices[identity] = len(self.values)
            self.values.append(value)
        return index


def collect_outputs(program: ExportedProgram, scope: Scope, inputs: Inputs) -> Outputs:
    """Read the outputs, then note what the signature says the program stores."""
    outputs = Outputs()
    stored: list[tuple[TensorRef, Value]] = []
    for spec, argument in zip(
        program.graph_signature.output_specs, program.graph.outputs, strict=False
    ):
        match spec:
            case schema.UserOutput(argument):
                _add_output(scope, inputs, outputs, argument)
            case (
                schema.LossOutput(name)
                | schema.GradientToParameter(name)
                | schema.GradientToUserInput(name)
            ):
                _add_output(scope, inputs, outputs, schema.AsTensor(name))
            case schema.BufferMutation(name, qualified) | schema.ParameterMutation(name, qualified):
                target = inputs.state.tensors.get(qualified)
                if target is None:
                    raise CompileError(f"the program changes {qualified}, which it does not have")
                stored.append((target, scope.tensor(name).read(scope.builder)))
            case schema.UserInputMutation(name, input_name):
                if input_name not in inputs.placeholders:
                    raise CompileError(
                        f"the program changes {input_name}, which is no input tensor"
                    )
                target = inputs.placeholders[input_name]
                stored.append((target, scope.tensor(name).read(scope.builder)))
            case schema.TokenOutput():
                pass
            case _:
                raise CompileError(f"outputs of the kind {type(spec).__name__} are not supported")
    for target, value in stored:
        if value is not target.read(scope.builder):
            scope.builder.write_ref(target, value)
    inputs.state.refuse_hidden_writes()
    return outputs


def _add_output(scope: Scope, inputs: Inputs, outputs: Outputs, argument: schema.Argument) -> None:
    name = _leaf_name(argument, f"output_{len(outputs.leaves)}")
    decoded: object | TensorRef = decode(argument, scope)
    if isinstance(decoded, TensorRef):
        value = decoded.read(scope.builder)
        index = outputs.add(value, (decoded.storage, decoded.views, value))
        for leaf, ref in inputs.user_tensors.items():
            if ref.storage is decoded.storage and not (decoded.views or ref.storage.is_written):
                outputs.leaves.append(InputAlias(name, leaf, index))
                return
        outputs.leaves.append(TensorOutput(name, index))
        return
    if isinstance(decoded, (SymExpr, Condition, WeakScalar)):
        kind = scalar_kind(decoded)
        value = scope.builder.cast(as_value(decoded, scope.builder), _SCALAR_DTYPES[kind])
        outputs.leaves.append(ScalarOutput(name, outputs.add(value, object()), kind))
        return
    if decoded is None or isinstance(decoded, (bool, int, float, complex, str)):
        outputs.leaves.append(FixedOutput(name, decoded))
        return
    raise CompileError(f"output {name} is neither a tensor nor a number")


__all__ = ["Inputs", "Outputs", "bind_inputs", "collect_outputs"]
