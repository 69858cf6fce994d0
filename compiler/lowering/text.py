"""A lowered program as text, for people: `--emit=kernel` and the dumps."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from ..ir.graph import Origin, TensorType, Value
from .program import Buffer, Program


def program_text(program: Program) -> str:
    """The steps of a program, one field a line."""
    return "\n".join(_record_lines(program.steps)) + "\n"


def _record_lines(record: object, label: str = "", depth: int = 0) -> Iterator[str]:
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
            yield from _record_lines(item, "", depth + (1 if label else 0))
    elif isinstance(record, Mapping):
        yield margin + ", ".join(f"{_short(key)}: {_short(value)}" for key, value in record.items())
    elif _is_short(record) or not is_dataclass(record):
        yield margin + _short(record)
    else:
        yield margin + type(record).__name__
        for item in fields(record):
            value = getattr(record, item.name)
            if value not in (None, (), False, ""):
                yield from _record_lines(value, item.name, depth + 1)


def _is_short(record: object) -> bool:
    if isinstance(record, Value | Buffer | TensorType | Origin) or not is_dataclass(record):
        return not isinstance(record, tuple | Mapping) or not record
    return type(record).__str__ is not object.__str__


def _short(record: object) -> str:
    if isinstance(record, Buffer):
        return f"{record.name} ({record.space.value} {record.type})"
    return str(record.value) if isinstance(record, enum.Enum) else str(record)
