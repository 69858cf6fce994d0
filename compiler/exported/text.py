"""An exported program as text, for people."""

from __future__ import annotations

import enum
from dataclasses import fields, is_dataclass

from .program import ExportedProgram


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
