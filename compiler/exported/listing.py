"""An exported program as `print` shows it: typed calls, with the user's lines above them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .arguments import names_in, output_names
from .errors import ProgramFormatError
from .program import ExportedProgram
from .schema import (
    Argument,
    AsGraph,
    AsString,
    BufferInput,
    BufferMutation,
    ConstantInput,
    CustomObjectInput,
    Device,
    GradientToParameter,
    GradientToUserInput,
    Graph,
    InputSpec,
    Node,
    OutputSpec,
    ParameterInput,
    ParameterMutation,
    ScalarType,
    SymExpr,
    TensorConstantInput,
    TensorMeta,
    UserInput,
    UserInputMutation,
    UserOutput,
)
from .symbols import Call, ExprTree, Num, Sym, parse_expression
from .tensors import NUMPY_DTYPES
from .text import argument_text

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)(?:\n\s*(?!File ")(\S.*))?')
_INFIX = {
    "Add": " + ",
    "Mul": "*",
    "FloorDiv": "//",
    "CleanDiv": "//",
    "Mod": " % ",
    "PythonMod": " % ",
    "Pow": "**",
    "PowByNatural": "**",
    "Eq": " == ",
    "Ne": " != ",
    "LessThan": " <= ",
    "GreaterThan": " >= ",
    "StrictLessThan": " < ",
    "StrictGreaterThan": " > ",
    "And": " and ",
    "Or": " or ",
}
_MAX_TYPE_CHARACTERS = 200


def program_listing(program: ExportedProgram) -> str:
    """The program line by line: inputs, calls with the types of their results, outputs, ranges."""
    made_by = f", torch {program.torch_version}" if program.torch_version else ""
    lines = [f"exported program, dialect {program.dialect or 'unknown'}{made_by}"]
    graph, signature = program.graph, program.graph_signature
    lines.append("inputs")
    for given, input_spec in zip(graph.inputs, signature.input_specs, strict=True):
        lines.append(f"  {_value(given, graph)}  {_input_role(input_spec)}".rstrip())
    lines.append("calls")
    lines += _calls(graph, "  ")
    lines.append("outputs")
    for result, output_spec in zip(graph.outputs, signature.output_specs, strict=True):
        lines.append(f"  {argument_text(result)}  {_output_role(output_spec)}".rstrip())
    if program.range_constraints:
        lines.append("ranges")
    for name, bounds in program.range_constraints.items():
        low = "" if bounds.min_val is None else f"{bounds.min_val} <= "
        high = "" if bounds.max_val is None else f" <= {bounds.max_val}"
        lines.append(f"  {low}{name}{high}")
    if program.guards_code:
        lines += ["guards", *(f"  {guard}" for guard in program.guards_code)]
    return "\n".join(lines)


def _calls(graph: Graph, indent: str) -> Iterator[str]:
    shown_source: tuple[str, str] | None = None
    for node in graph.nodes:
        source = _source(node)
        if source and source != shown_source:
            place, code = source
            yield f"{indent}# {place}: {code}" if code else f"{indent}# {place}"
            shown_source = source
        results = ", ".join(_typed(name, graph) for name in output_names(node))
        arguments = ", ".join(
            f"{given.name}={_argument(given.arg)}" if given.name else _argument(given.arg)
            for given in node.inputs
        )
        target = node.target.removeprefix("torch.ops.")
        yield f"{indent}{results}{' = ' if results else ''}{target}({arguments})"
        for given in node.inputs:
            if isinstance(given.arg, AsGraph):
                yield from _subgraph(given.arg, indent + "  ")


def _subgraph(argument: AsGraph, indent: str) -> Iterator[str]:
    graph = argument.graph
    inputs = ", ".join(_value(given, graph) for given in graph.inputs)
    yield f"{indent}{argument.name}({inputs}):"
    yield from _calls(graph, indent + "  ")
    yield f"{indent}  return {', '.join(map(argument_text, graph.outputs))}"


def source_line(node: Node) -> str:
    """The innermost line of the user's that made a node, as "model.py:12 in forward", or ""."""
    source = _source(node)
    return source[0] if source else ""


def _source(node: Node) -> tuple[str, str] | None:
    """That line, and what it says, where its text was recorded."""
    frames = _FRAME.findall(node.metadata.get("stack_trace", ""))
    if not frames:
        return None
    # Code that torch made while it traced has names like <eval_with_key>.12.
    of_files = [frame for frame in frames if not frame[0].startswith("<")]
    file, line, function, code = (of_files or frames)[-1]
    return f"{file}:{line} in {function}", code.strip()


def _argument(argument: Argument) -> str:
    match argument:
        case AsGraph(name):
            return name
        case AsString(value):
            return repr(value)
        case _:
            return argument_text(argument)


def _value(argument: Argument, graph: Graph) -> str:
    names = list(names_in(argument))
    if not names:
        return argument_text(argument)
    return ", ".join(_typed(name, graph) for name in names)


def _typed(name: str, graph: Graph) -> str:
    meta = graph.tensor_values.get(name)
    if meta is not None:
        return f"{name}: {type_text(meta)}"
    for values in (graph.sym_int_values, graph.sym_float_values, graph.sym_bool_values):
        if name in values:
            return f"{name}: {_size(values[name])}"
    return name


def type_text(meta: TensorMeta) -> str:
    """The type of a tensor, as "float32[s0, 3]", with its device where that is no CPU."""
    sizes = ", ".join(map(_size, meta.sizes))
    where = "" if meta.device.type == "cpu" else f" on {_device(meta.device)}"
    return f"{dtype_text(meta.dtype)}[{sizes}]{where}"


def dtype_text(dtype: ScalarType) -> str:
    """The name of an element type, as NumPy says it."""
    found = NUMPY_DTYPES.get(dtype)
    return dtype.name.lower() if found is None or found.names else found.name


def _device(device: Device) -> str:
    return device.type if device.index is None else f"{device.type}:{device.index}"


def _size(size: object) -> str:
    if not isinstance(size, SymExpr):
        return str(size)
    try:
        text = _expression(parse_expression(size.expr_str), outermost=True)
    except (ProgramFormatError, RecursionError):
        text = size.expr_str
    return text if len(text) <= _MAX_TYPE_CHARACTERS else text[: _MAX_TYPE_CHARACTERS - 1] + "…"


def _expression(tree: ExprTree, *, outermost: bool = False) -> str:
    match tree:
        case Sym(name):
            return name
        case Num(value):
            return str(value)
        case Call(function, args):
            sign = _INFIX.get(function)
            if sign is None:
                return f"{function}({', '.join(_expression(a, outermost=True) for a in args)})"
            text = sign.join(map(_expression, args))
            return text if outermost else f"({text})"
        case _:
            return str(tree)


def _input_role(spec: InputSpec) -> str:
    match spec:
        case UserInput():
            return ""
        case ParameterInput(_, name):
            return f"parameter {name!r}"
        case BufferInput(_, name, persistent):
            return f"buffer {name!r}" + ("" if persistent else ", not persistent")
        case TensorConstantInput(_, name):
            return f"constant {name!r}"
        case CustomObjectInput(_, name):
            return f"object {name!r}"
        case ConstantInput(name):
            return f"fixed input {name!r}"
        case _:
            return "token"


def _output_role(spec: OutputSpec) -> str:
    match spec:
        case UserOutput():
            return ""
        case BufferMutation(_, name):
            return f"new value of buffer {name!r}"
        case ParameterMutation(_, name):
            return f"new value of parameter {name!r}"
        case UserInputMutation(_, name):
            return f"new value of input {name!r}"
        case GradientToParameter(_, name):
            return f"gradient of parameter {name!r}"
        case GradientToUserInput(_, name):
            return f"gradient of input {name!r}"
        case _:
            return type(spec).__name__.removesuffix("Output").lower()
