"""The canonical form: programs of one meaning become one program, whatever they were called.

    a = aten.mul.Tensor(x, w)            v0 = aten.add.Tensor(i1, 1)
    b = aten.add.Tensor(x, 1)     ->     v1 = aten.mul.Tensor(i1, i0)
    c = aten.sub.Tensor(a, b)            v2 = aten.sub.Tensor(v1, v0)

What is dropped: metadata and names of nodes, values that nothing refers to, hints of symbols,
example inputs, extra files, the version of torch. What stays: names of parameters, buffers,
constants and arguments, by which the program is known from outside; the order of user inputs and
outputs, and of the operands of subgraphs; the module call graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from .arguments import names_in, renamed
from .canonical_graph import Renaming, canonical_graph
from .canonical_symbols import SymbolNames
from .program import ExportedProgram
from .schema import (
    SCHEMA_VERSION,
    Argument,
    BufferInput,
    BufferMutation,
    ConstantInput,
    CustomObjectInput,
    GradientToParameter,
    GradientToUserInput,
    Graph,
    GraphSignature,
    InputSpec,
    LossOutput,
    ModuleCallEntry,
    OutputSpec,
    ParameterInput,
    ParameterMutation,
    SchemaVersion,
    TensorConstantInput,
    TokenInput,
    TokenOutput,
    UserInput,
    UserInputMutation,
    UserOutput,
)
from .tensors import TensorData

T = TypeVar("T")

# User inputs and outputs keep their places among one another: the call spec counts them.
_INPUT_ORDER: Mapping[type, int] = {
    TokenInput: 0,
    ParameterInput: 1,
    BufferInput: 2,
    TensorConstantInput: 3,
    CustomObjectInput: 4,
    UserInput: 5,
    ConstantInput: 5,
}
_OUTPUT_ORDER: Mapping[type, int] = {
    TokenOutput: 0,
    BufferMutation: 1,
    ParameterMutation: 2,
    UserInputMutation: 3,
    UserOutput: 4,
    LossOutput: 4,
    GradientToParameter: 5,
    GradientToUserInput: 6,
}


def canonicalize(program: ExportedProgram) -> ExportedProgram:
    """The canonical form of a program; that of a canonical program is itself.

    Inputs are ordered by kind (tokens, parameters, buffers, constants, objects, the user's), those
    of one kind by qualified name, outputs likewise. Nodes are in topological order; of the nodes
    whose arguments are all there, that one is next whose target comes first in the alphabet, then
    whose arguments do, under their new names, then whose uses do. Nodes that may not change places
    because of what they write or draw (see `effects`) keep their order. Inputs are named `i0`,
    `i1`, and so on in their order, results `v0`, `v1`; symbols keep their letters and are counted
    in the order in which they turn up.

    Raises `ProgramFormatError` for a cycle, a name that nothing defines, or an expression that is
    none.
    """
    graph, signature = _ordered(program.graph, program.graph_signature)
    inputs = Renaming("i")
    for spec, argument in zip(signature.input_specs, graph.inputs, strict=True):
        inputs.add(names_in(argument) if not isinstance(spec, ConstantInput) else (spec.name,))
    ordered, names = canonical_graph(graph, inputs, _shared_inputs(program, signature))
    symbols = SymbolNames(program.range_constraints)
    ordered = symbols.renamed_graph(ordered)
    return replace(
        program,
        graph=ordered,
        graph_signature=GraphSignature(
            tuple(_renamed_input(spec, names) for spec in signature.input_specs),
            tuple(_renamed_output(spec, names) for spec in signature.output_specs),
        ),
        state_dict=_sorted(program.state_dict),
        constants=_sorted(program.constants),
        range_constraints=symbols.renamed_ranges(),
        module_call_graph=tuple(_renamed_call(entry, names) for entry in program.module_call_graph),
        guards_code=tuple(sorted(set(program.guards_code))),
        opset_version=_sorted(program.opset_version),
        schema_version=SchemaVersion(*SCHEMA_VERSION),
        torch_version="",
        example_inputs=None,
        inputs_record=None,
        extra_files={},
        treespec_namedtuple_fields=_sorted(program.treespec_namedtuple_fields),
        metadata={},
    )


def _sorted(values: Mapping[str, T]) -> dict[str, T]:
    return {name: values[name] for name in sorted(values)}


# --- Inputs and outputs ------------------------------------------------------------------------


def _ordered(graph: Graph, signature: GraphSignature) -> tuple[Graph, GraphSignature]:
    inputs = sorted(
        zip(signature.input_specs, graph.inputs, strict=True), key=lambda pair: _input_key(pair[0])
    )
    outputs = sorted(
        zip(signature.output_specs, graph.outputs, strict=True),
        key=lambda pair: _output_key(pair[0], signature),
    )
    ordered = replace(
        graph,
        inputs=tuple(argument for _, argument in inputs),
        outputs=tuple(argument for _, argument in outputs),
    )
    return ordered, GraphSignature(
        tuple(spec for spec, _ in inputs), tuple(spec for spec, _ in outputs)
    )


def _input_key(spec: InputSpec) -> tuple[int, str]:
    match spec:
        case ParameterInput(_, name) | BufferInput(_, name) | TensorConstantInput(_, name):
            pass
        case CustomObjectInput(_, name):
            pass
        case _:
            name = ""
    return _INPUT_ORDER[type(spec)], name


def _output_key(spec: OutputSpec, signature: GraphSignature) -> tuple[int, str, int]:
    kind = _OUTPUT_ORDER[type(spec)]
    match spec:
        case BufferMutation(_, name) | ParameterMutation(_, name) | GradientToParameter(_, name):
            return kind, name, 0
        case UserInputMutation(_, input_name) | GradientToUserInput(_, input_name):
            return kind, "", _user_position(input_name, signature)
        case _:
            return kind, "", 0


def _user_position(name: str, signature: GraphSignature) -> int:
    users = [spec for spec in signature.input_specs if isinstance(spec, UserInput)]
    for position, spec in enumerate(users):
        if name in names_in(spec.arg):
            return position
    return len(users)


def _shared_inputs(program: ExportedProgram, signature: GraphSignature) -> list[list[str]]:
    """Groups of graph inputs whose tensors lie in one storage."""
    groups: dict[int, list[str]] = {}
    for spec in signature.input_specs:
        match spec:
            case ParameterInput(name, target) | TensorConstantInput(name, target):
                pass
            case BufferInput(name, target):
                pass
            case _:
                continue
        tensor = program.state_dict.get(target) or program.constants.get(target)
        if isinstance(tensor, TensorData):
            groups.setdefault(id(tensor.storage), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


# --- The signature under the new names ---------------------------------------------------------


def _renamed_input(spec: InputSpec, names: Renaming) -> InputSpec:
    match spec:
        case UserInput(argument):
            return UserInput(renamed(argument, names))
        case CustomObjectInput(argument):
            return replace(spec, arg=replace(argument, name=names(argument.name)))
        case _:
            return replace(spec, name=names(spec.name))


def _renamed_output(spec: OutputSpec, names: Renaming) -> OutputSpec:
    match spec:
        case UserOutput(argument):
            return UserOutput(renamed(argument, names))
        case UserInputMutation(name, user_input) | GradientToUserInput(name, user_input):
            return replace(spec, name=names(name), user_input_name=names(user_input))
        case _:
            return replace(spec, name=names(spec.name))


def _renamed_call(entry: ModuleCallEntry, names: Renaming) -> ModuleCallEntry:
    signature = entry.signature
    if signature is None:
        return entry
    return replace(
        entry,
        signature=replace(
            signature,
            inputs=_renamed_known(signature.inputs, names),
            outputs=_renamed_known(signature.outputs, names),
        ),
    )


def _renamed_known(arguments: Sequence[Argument], names: Renaming) -> tuple[Argument, ...]:
    """Arguments of a module inside may name values that the graph no longer has; those stay."""
    return tuple(renamed(argument, names.if_known) for argument in arguments)
