"""`castoff compile --emit`: stops at a stage and shows what it made."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

from ..errors import OptionError, OutputError
from ..exported import ExportedProgram, load_program
from ..ir.graph import Graph, Origin, TensorType, Value
from ..lowering.program import Buffer
from ..observe import Observer
from ..options import CompileOptions


def emit(program: str, stage: str, output: str | None, options: CompileOptions) -> str:
    """Compiles the `.pt2` `program` as far as `stage`: "program", "ir", "kernel" or "c".

    Texts are returned, or written to `output` whose path is returned; sources are always written,
    to the folder `output` or one named after the program.
    """
    if stage == "c":
        return _emit_sources(program, output, options)
    text = _stage_text(program, stage, options)
    if output is None:
        return text.rstrip("\n")
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror}") from None
    return output


def _stage_text(program: str, stage: str, options: CompileOptions) -> str:
    observer = Observer(options)
    exported = load_program(program)
    if stage == "program":
        return program_text(exported)
    from ..frontends.exported import import_program
    from ..passes.pipeline import optimize

    graph = optimize(import_program(exported).graph, observer)
    if stage == "ir":
        return graph_text(graph)
    if stage == "kernel":
        from ..lowering.lower import lower

        return "\n".join(record_lines(lower(graph).steps)) + "\n"
    raise OptionError(f"--emit {stage}: expected program, ir, kernel, c or so")


def _emit_sources(program: str, output: str | None, options: CompileOptions) -> str:
    from ..api import compile_stages
    from ..toolchain.emit import write_source_tree

    name = options.name or Path(program).stem
    generated = compile_stages(program, name, options, Observer(options)).generated
    folder = Path(output) if output is not None else Path(f"{name}.source")
    written = write_source_tree(
        generated.tree,
        folder,
        options=options,
        manifest=generated.manifest,
        constants=generated.weights,
    )
    return str(written)


def program_text(program: ExportedProgram) -> str:
    """An exported program, one call a line."""
    lines = [f"inputs: {', '.join(_argument(argument) for argument in program.graph.inputs)}"]
    for node in program.graph.nodes:
        outputs = ", ".join(_argument(output) for output in node.outputs)
        inputs = ", ".join(
            f"{given.name}={_argument(given.arg)}" if given.name else _argument(given.arg)
            for given in node.inputs
        )
        lines.append(f"{outputs} = {node.target}({inputs})")
    lines.append(f"outputs: {', '.join(_argument(argument) for argument in program.graph.outputs)}")
    return "\n".join(lines) + "\n"


def _argument(argument: object) -> str:
    """The name or the value of an argument: what its record holds, without the record."""
    if isinstance(argument, tuple):
        return f"[{', '.join(map(_argument, argument))}]"
    if is_dataclass(argument) and not isinstance(argument, type):
        inside = [_argument(getattr(argument, item.name)) for item in fields(argument)]
        return inside[0] if len(inside) == 1 else f"({', '.join(inside)})"
    if isinstance(argument, enum.Enum):
        return argument.name
    return argument if isinstance(argument, str) else repr(argument)


def graph_text(graph: Graph) -> str:
    """A graph, one node a line, with where it comes from."""
    lines = [f"graph {graph.name}({', '.join(map(str, graph.inputs))})"]
    for label, values in (("constant", graph.constants), ("buffer", graph.buffers)):
        lines += [f"  {label} {value}  # {held.name}" for value, held in values.items()]
    lines += [f"  guard {guard.text}" for guard in graph.guards]
    for node in graph.nodes:
        origin = str(node.origin)
        lines.append(f"  {node}" + (f"  # {origin}" if origin else ""))
    lines += [f"  %{target.name} <- %{value.name}" for target, value in graph.mutations]
    lines.append(f"  return {', '.join('%' + value.name for value in graph.outputs)}")
    return "\n".join(lines) + "\n"


def record_lines(record: object, label: str = "", depth: int = 0) -> Iterator[str]:
    """A tree of records as indented lines; values, buffers, sizes and scalars as the text they
    have."""
    margin = "  " * depth + (f"{label}: " if label else "")
    if isinstance(record, tuple) and record:
        if all(_is_short(item) for item in record):
            yield f"{margin}[{', '.join(map(_short, record))}]"
            return
        if label:
            yield margin.rstrip()
        for item in record:
            yield from record_lines(item, "", depth + (1 if label else 0))
    elif isinstance(record, Mapping):
        yield margin + ", ".join(f"{_short(key)}: {_short(value)}" for key, value in record.items())
    elif _is_short(record) or not is_dataclass(record):
        yield margin + _short(record)
    else:
        yield margin + type(record).__name__
        for item in fields(record):
            value = getattr(record, item.name)
            if value not in (None, (), False, ""):
                yield from record_lines(value, item.name, depth + 1)


def _is_short(record: object) -> bool:
    if isinstance(record, Value | Buffer | TensorType | Origin) or not is_dataclass(record):
        return not isinstance(record, tuple | Mapping) or not record
    return type(record).__str__ is not object.__str__


def _short(record: object) -> str:
    if isinstance(record, Buffer):
        return f"{record.name} ({record.space.value} {record.type})"
    return str(record.value) if isinstance(record, enum.Enum) else str(record)
