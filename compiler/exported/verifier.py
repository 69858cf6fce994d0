"""Whether a program is well formed: names, types, signature, and writes where its dialect has none.

    aten.add.Tensor(x, y) before y       ->  "node 'add' (aten.add.Tensor, model.py:3 in forward):
                                              takes 'y', which is defined after it"

Arguments of ATen's operators are held against what they take (see `operators`), those of others
against the signatures that their handlers have for them (see `handlers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...runtime.errors import CallSpecError
from ...runtime.treespec import parse_treespec
from .arguments import (
    input_names,
    names_in,
    output_names,
    subgraphs,
    symbolic_names,
    tensor_names,
)
from .effects import is_aten_write
from .errors import InvalidProgramError
from .handlers import registered_schema
from .listing import source_line
from .operators import find_operator, operator_faults
from .program import ExportedProgram
from .schema import (
    Argument,
    BufferInput,
    BufferMutation,
    ConstantInput,
    CustomObjectInput,
    GradientToParameter,
    GradientToUserInput,
    Graph,
    InputSpec,
    LossOutput,
    Node,
    OutputSpec,
    ParameterInput,
    ParameterMutation,
    TensorConstantInput,
    TensorMeta,
    TokenInput,
    TokenOutput,
    UserInput,
    UserInputMutation,
    UserOutput,
)
from .tensors import TensorData

TRAINING, ATEN, CORE = DIALECTS = ("TRAINING", "ATEN", "CORE")
"""The last is of programs that use ATen's core set alone; PyTorch's files have no name for it."""
_OF_NUMBERS = ("_operator.", "math.", "torch.sym_", "torch._sym_", "torch.ops.higher_order.")
_SHOWN = 20


def verify_program(
    program: ExportedProgram, source: str = "program", *, dialect: str | None = None
) -> None:
    """Raise `InvalidProgramError` with all that is wrong with a program; `source` names it.

    It is held against the rules of its own dialects, or of the one that is given: "TRAINING" allows
    writes, "ATEN" does not, "CORE" allows ATen's core set alone. A program that names none may
    write.

    Checked are: every name is defined once, before its uses, and has a type; types are consistent
    in themselves; the signature says what the graph says, and the call spec what the signature
    does; parameters, buffers and constants exist with the type that the graph gives them; what is
    written by the signature exists; arguments are of the kinds that their operators take. That the
    types of results are those that operators give is found when a program is made a graph of.
    """
    rules = _own_rules(program) if dialect is None else dialect
    faults = [
        *([] if dialect else _dialect_name_faults(program)),
        *_graph_faults(program.graph, rules, _constant_names(program)),
        *_signature_faults(program),
        *_call_faults(program),
        *_range_faults(program),
    ]
    if not faults:
        return
    shown = [f"  {fault}" for fault in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        shown.append(f"  and {len(faults) - _SHOWN} more")
    raise InvalidProgramError(f"{source}: the program is not well formed:\n" + "\n".join(shown))


def known_dialect(name: str) -> str:
    """The dialect of this name, in any case. Raises `ValueError` where there is none."""
    if name.upper() not in DIALECTS:
        raise ValueError(f"expected one of the dialects {', '.join(DIALECTS)}, got {name!r}")
    return name.upper()


def _own_rules(program: ExportedProgram) -> str:
    """The strictest of the dialects that a program names."""
    named = (program.dialect, *program.further_dialects)
    return max((name for name in named if name in DIALECTS), key=DIALECTS.index, default=TRAINING)


def _dialect_name_faults(program: ExportedProgram) -> Iterator[str]:
    for name in (program.dialect, *program.further_dialects):
        if name and name not in DIALECTS:
            yield (
                f"its dialect {name!r} is not known; `verify` takes the one to hold it against, of "
                f"{', '.join(DIALECTS)}"
            )


def _constant_names(program: ExportedProgram) -> Iterator[str]:
    for spec in program.graph_signature.input_specs:
        if isinstance(spec, ConstantInput):
            yield spec.name


# --- Graphs ------------------------------------------------------------------------------------


def _graph_faults(
    graph: Graph, dialect: str, constants: Iterable[str] = (), place: str = ""
) -> Iterator[str]:
    defined = set(constants)
    for argument in graph.inputs:
        for name in names_in(argument):
            if name in defined:
                yield f"{place}the input '{name}' has a name that is taken"
            defined.add(name)
        yield from _untyped(argument, graph, f"{place}the input")
    later = {name for node in graph.nodes for name in output_names(node)}
    for node in graph.nodes:
        where = f"{place}{_described(node)}"
        for name in dict.fromkeys(input_names(node)):
            if name not in defined:
                when = "after it" if name in later else "nowhere"
                yield f"{where}: takes '{name}', which is defined {when}"
        operator = find_operator(node.target) or registered_schema(node.target)
        if operator is not None:
            yield from (f"{where}: {fault}" for fault in operator_faults(node, operator))
        yield from (f"{where}: {fault}" for fault in _dialect_faults(node, dialect))
        for subgraph in subgraphs(node):
            yield from _graph_faults(subgraph, dialect, (), f"{where}: in its graph: ")
        for name in output_names(node):
            if name in defined:
                yield f"{where}: gives '{name}', a name that is taken"
            defined.add(name)
        for argument in node.outputs:
            yield from _untyped(argument, graph, where)
    for argument in graph.outputs:
        for name in names_in(argument):
            if name not in defined:
                yield f"{place}the output '{name}' is defined nowhere"
    for name, meta in graph.tensor_values.items():
        if len(meta.sizes) != len(meta.strides):
            yield (
                f"{place}the value '{name}' has {len(meta.sizes)} sizes and "
                f"{len(meta.strides)} strides"
            )
        if any(isinstance(size, int) and size < 0 for size in meta.sizes):
            yield f"{place}the value '{name}' has a negative size"


def _dialect_faults(node: Node, dialect: str) -> Iterator[str]:
    if dialect != TRAINING:
        operator = find_operator(node.target)
        if is_aten_write(node) if operator is None else operator.writes:
            yield "writes into its arguments, which this dialect does not allow"
    if dialect == CORE and not node.target.startswith(_OF_NUMBERS):
        operator = find_operator(node.target)
        if operator is None or not operator.is_core:
            yield "is not one of ATen's core operators, which alone this dialect allows"


def _described(node: Node) -> str:
    name = node.name or next(output_names(node), "")
    details = ", ".join(filter(None, (node.target.removeprefix("torch.ops."), source_line(node))))
    return f"node '{name}' ({details})" if name else f"node ({details})"


def _untyped(argument: Argument, graph: Graph, where: str) -> Iterator[str]:
    for name in tensor_names(argument):
        if name not in graph.tensor_values:
            yield f"{where}: the tensor '{name}' has no type in 'tensor_values'"
    tables = (graph.sym_int_values, graph.sym_float_values, graph.sym_bool_values)
    for name in symbolic_names(argument):
        if not any(name in table for table in tables):
            yield f"{where}: the symbolic value '{name}' has no entry"


# --- Signature ---------------------------------------------------------------------------------


def _signature_faults(program: ExportedProgram) -> Iterator[str]:
    graph, signature = program.graph, program.graph_signature
    for what, given, specs in (
        ("inputs", graph.inputs, signature.input_specs),
        ("outputs", graph.outputs, signature.output_specs),
    ):
        if len(given) != len(specs):
            yield f"the graph has {len(given)} {what}, but the signature describes {len(specs)}"
            return
    for index, (argument, input_spec) in enumerate(
        zip(graph.inputs, signature.input_specs, strict=True)
    ):
        if isinstance(input_spec, (ConstantInput, TokenInput)):
            continue
        yield from _differing(argument, _input_names(input_spec), f"input {index}")
        yield from _stored_faults(input_spec, program)
    users = {
        name
        for spec in signature.input_specs
        if isinstance(spec, UserInput)
        for name in names_in(spec.arg)
    }
    known = {
        "parameter": {
            s.parameter_name for s in signature.input_specs if isinstance(s, ParameterInput)
        },
        "buffer": {s.buffer_name for s in signature.input_specs if isinstance(s, BufferInput)},
        "user input": users,
    }
    for index, (argument, output_spec) in enumerate(
        zip(graph.outputs, signature.output_specs, strict=True)
    ):
        if isinstance(output_spec, TokenOutput):
            continue
        yield from _differing(argument, _output_names(output_spec), f"output {index}")
        target = _target(output_spec)
        if target is not None and target[1] not in known[target[0]]:
            yield f"output {index} is for the {target[0]} '{target[1]}', which is no input"


def _input_names(spec: InputSpec) -> list[str]:
    match spec:
        case UserInput(argument) | CustomObjectInput(argument):
            return list(names_in(argument))
        case _:
            return [spec.name]


def _output_names(spec: OutputSpec) -> list[str]:
    return list(names_in(spec.arg)) if isinstance(spec, UserOutput) else [spec.name]


def _target(spec: OutputSpec) -> tuple[str, str] | None:
    """What an output is written to, and its name."""
    match spec:
        case BufferMutation(_, name):
            return "buffer", name
        case ParameterMutation(_, name) | GradientToParameter(_, name):
            return "parameter", name
        case UserInputMutation(_, name) | GradientToUserInput(_, name):
            return "user input", name
        case _:
            return None


def _differing(argument: Argument, expected: list[str], what: str) -> Iterator[str]:
    got = list(names_in(argument))
    if got != expected:
        yield f"{what}: the signature calls it {expected}, but the graph {got}"


def _stored_faults(spec: InputSpec, program: ExportedProgram) -> Iterator[str]:
    match spec:
        case ParameterInput(name, target):
            what = "parameter"
        case BufferInput(name, target):
            what = "buffer"
        case TensorConstantInput(name, target):
            what = "constant"
        case CustomObjectInput(_, target):
            if target not in program.constants:
                yield f"the object '{target}' is missing from the constants"
            return
        case _:
            return
    # Which of the two holds a buffer has changed between releases of torch.
    stored = program.state_dict.get(target, program.constants.get(target))
    if stored is None:
        yield f"the {what} '{target}' is missing from the file"
        return
    meta = program.graph.tensor_values.get(name)
    if isinstance(stored, TensorData) and meta is not None:
        yield from _type_faults(stored, meta, f"the {what} '{target}'")


def _call_faults(program: ExportedProgram) -> Iterator[str]:
    """How the call spec of the whole program differs from its signature."""
    entry, signature = program.call_entry, program.graph_signature
    if entry is None or entry.signature is None:
        return
    users = (UserInput, ConstantInput), (UserOutput, LossOutput)
    for what, text, specs, kinds in (
        ("in_spec", entry.signature.in_spec, signature.input_specs, users[0]),
        ("out_spec", entry.signature.out_spec, signature.output_specs, users[1]),
    ):
        try:
            tree = parse_treespec(text, program.treespec_namedtuple_fields)
        except CallSpecError as error:
            yield f"the {what} of its call: {error}"
            continue
        count = sum(isinstance(spec, kinds) for spec in specs)
        if tree.leaf_count != count:
            yield f"the {what} of its call has {tree.leaf_count} leaves, but the signature {count}"


def _type_faults(stored: TensorData, meta: TensorMeta, what: str) -> Iterator[str]:
    if stored.dtype is not meta.dtype:
        yield f"{what}: the graph takes {meta.dtype.name}, but the file holds {stored.dtype.name}"
    shape = stored.shape
    is_alike = len(shape) == len(meta.sizes) and all(
        size == stated
        for size, stated in zip(shape, meta.sizes, strict=True)
        if isinstance(stated, int)
    )
    if not is_alike:
        sizes = [size if isinstance(size, int) else size.expr_str for size in meta.sizes]
        yield f"{what}: the graph takes the shape {sizes}, but the file holds {list(shape)}"


def _range_faults(program: ExportedProgram) -> Iterator[str]:
    for name, bounds in program.range_constraints.items():
        low, high = bounds.min_val, bounds.max_val
        if low is not None and high is not None and low > high:
            yield f"the symbol '{name}' has the empty range {low} to {high}"
