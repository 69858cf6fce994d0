"""Structured C: what the templates print as loops and blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Union


@dataclass(slots=True)
class ForLoop:
    """`for (int64_t variable = start; variable < end; ++variable)`, under a pragma where there is one."""

    variable: str
    start: str
    end: str
    pragma: str
    body: list["Statement"] = field(default_factory=list)


@dataclass(slots=True)
class IfBlock:
    """`if (condition) { then } else { otherwise }`."""

    condition: str
    then: list["Statement"] = field(default_factory=list)
    otherwise: list["Statement"] = field(default_factory=list)


@dataclass(slots=True)
class Block:
    """`header { body }`; the header may be empty."""

    header: str
    body: list["Statement"] = field(default_factory=list)


Statement = Union[str, ForLoop, IfBlock, Block]


@dataclass(frozen=True, slots=True)
class Line:
    """One printed line: `kind` is "text", "for", "block", "if", "else" or "end"; blocks come flattened, with their depth."""

    kind: str
    depth: int
    text: str = ""
    loop: ForLoop | None = None


def flatten(statements: list[Statement], depth: int) -> Iterator[Line]:
    """Statements as lines for a template, which indents them."""
    for statement in statements:
        match statement:
            case str():
                yield Line("text", depth, statement)
            case ForLoop():
                yield Line("for", depth, loop=statement)
                yield from flatten(statement.body, depth + 1)
                yield Line("end", depth)
            case Block():
                yield Line("block", depth, statement.header)
                yield from flatten(statement.body, depth + 1)
                yield Line("end", depth)
            case IfBlock():
                yield Line("if", depth, statement.condition)
                yield from flatten(statement.then, depth + 1)
                if statement.otherwise:
                    yield Line("else", depth)
                    yield from flatten(statement.otherwise, depth + 1)
                yield Line("end", depth)
