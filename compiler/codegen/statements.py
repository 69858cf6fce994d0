"""Structured C: what the templates print as loops and blocks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import field

from ..records import dataclass


@dataclass(slots=True)
class ForLoop:
    """`for (int64_t variable = start; variable < end; ++variable)`, under a pragma where there is one."""

    variable: str
    start: str
    end: str
    pragma: str
    body: list[Statement] = field(default_factory=list)


@dataclass(slots=True)
class IfBlock:
    """`if (condition) { then } else { otherwise }`."""

    condition: str
    then: list[Statement] = field(default_factory=list)
    otherwise: list[Statement] = field(default_factory=list)


@dataclass(slots=True)
class Block:
    """`header { body }`; the header may be empty."""

    header: str
    body: list[Statement] = field(default_factory=list)


Statement = str | ForLoop | IfBlock | Block


@dataclass(frozen=True, slots=True)
class Line:
    """One printed line: `kind` is "text", "for", "block", "if", "else" or "end"; blocks come
    flattened, with their depth.
    """

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


def names_in(lines: Iterable[Line]) -> Counter[str]:
    """How often each name is mentioned, the heads of loops included."""
    texts: list[str] = []
    for line in lines:
        texts.append(line.text)
        if line.loop is not None:
            texts += (line.loop.start, line.loop.end)
    return Counter(re.findall(r"[A-Za-z_]\w*", " ".join(texts)))


def drop_unused(statements: list[Statement]) -> None:
    """Takes out numbers that are defined and not mentioned again; calls stay for what they report.

    Before: const int64_t i0 = row; p1[0] = acc0;      After: p1[0] = acc0;
    """
    while True:
        mentions = names_in(flatten(statements, 0))
        unused = {name for name, count in mentions.items() if count == 1}
        if not _drop(statements, unused):
            return


def _drop(statements: list[Statement], unused: set[str]) -> bool:
    kept = [s for s in statements if not (isinstance(s, str) and _defined_name(s) in unused)]
    has_changed = len(kept) < len(statements)
    statements[:] = kept
    for statement in kept:
        match statement:
            case ForLoop() | Block():
                has_changed |= _drop(statement.body, unused)
            case IfBlock():
                has_changed |= _drop(statement.then, unused)
                has_changed |= _drop(statement.otherwise, unused)
    return has_changed


_SILENT = {"castoff_minimum_i64", "castoff_maximum_i64"}
"""What sizes are computed with: all other functions may report an index out of range."""


def _defined_name(statement: str) -> str | None:
    """The number that a statement defines, without calls but for those that report nothing."""
    found = re.match(r"(?:const )?\w+ (\w+) = ", statement)
    calls = set(re.findall(r"(\w+)\(", statement)) - _SILENT
    return found[1] if found and not calls else None
