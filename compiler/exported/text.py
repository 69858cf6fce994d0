"""An exported program as text, for people."""

from __future__ import annotations

import enum
from dataclasses import fields, is_dataclass

from .program import ExportedProgram


def program_text(program: ExportedProgram) -> str:
    """An exported program, one call a line."""
    lines = [f"inputs: {', '.join(argument_text(argument) for argument in program.graph.inputs)}"]
    for node in program.graph.nodes:
        outputs = ", ".join(argument_text(output) for output in node.outputs)
        inputs = ", ".join(
            f"{given.name}={argument_text(given.arg)}" if given.name else argument_text(given.arg)
            for given in node.inputs
        )
        lines.append(f"{outputs} = {node.target}({inputs})")
    lines.append(
        f"outputs: {', '.join(argument_text(argument) for argument in program.graph.outputs)}"
    )
    return "\n".join(lines) + "\n"


def argument_text(argument: object) -> str:
    """The name or the value of an argument: what its record holds, without the record."""
    if isinstance(argument, tuple):
        return f"[{', '.join(map(argument_text, argument))}]"
    if is_dataclass(argument) and not isinstance(argument, type):
        inside = [argument_text(getattr(argument, item.name)) for item in fields(argument)]
        if not inside:
            return "None"
        return inside[0] if len(inside) == 1 else f"({', '.join(inside)})"
    if isinstance(argument, enum.Enum):
        return argument.name
    return argument if isinstance(argument, str) else repr(argument)
