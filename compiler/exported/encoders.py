"""Encoders to what `json.dumps` takes, the mirror of `decoders`: lists, records, unions.

An encoder takes a value of the schema and gives plain lists, dicts, numbers and strings. Each is
built once, at import, so that a graph of thousands of nodes is written without looking at types.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from .errors import ProgramFormatError

T = TypeVar("T")
Json = object
Encoder = Callable[[T], Json]
Members = Mapping[str, Callable[[Any], Json]]
"""The keys of a record, each with an encoder of its own type."""


def plain(value: object) -> Json:
    """Strings, integers, truth values and None are JSON as they are."""
    return value


def number(value: float) -> Json:
    """A float; what JSON has no number for is written as a word."""
    if math.isfinite(value):
        return float(value)
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def enumerated(value: int) -> Json:
    return int(value)


def optional(encode: Encoder[T]) -> Encoder[T | None]:
    def encode_optional(value: T | None) -> Json:
        return None if value is None else encode(value)

    return encode_optional


def sequence(encode: Encoder[T]) -> Encoder[Sequence[T]]:
    if encode is plain:
        return list

    def encode_items(values: Sequence[T]) -> Json:
        return [encode(value) for value in values]

    return encode_items


def mapping(encode: Encoder[T]) -> Encoder[Mapping[str, T]]:
    def encode_values(values: Mapping[str, T]) -> Json:
        return {key: encode(value) for key, value in values.items()}

    return encode_values


def record(members: Members, **attributes: str) -> Encoder[object]:
    """An encoder of a record, key by key in the order of `members`.

    A key is read from the attribute of its name, or from the one that `attributes` says.
    """
    rows = [(key, attrgetter(attributes.get(key, key)), encode) for key, encode in members.items()]

    def encode_record(value: object) -> Json:
        return {key: encode(get(value)) for key, get, encode in rows}

    return encode_record


def tagged(tag: str, encode: Encoder[T]) -> Encoder[T]:
    """One member of a union: an object with one key."""

    def encode_tagged(value: T) -> Json:
        return {tag: encode(value)}

    return encode_tagged


def member(tag: str, attribute: str, encode: Encoder[T]) -> Encoder[object]:
    """A member of a union whose class wraps one value, in `attribute`."""
    get = attrgetter(attribute)

    def encode_member(value: object) -> Json:
        return {tag: encode(get(value))}

    return encode_member


def by_class(members: Mapping[type, Encoder[T]]) -> Encoder[object]:
    """An encoder of a union whose members are told apart by their class."""
    table = dict(members)

    def encode_union(value: object) -> Json:
        encode = table.get(type(value))
        if encode is None:
            expected = ", ".join(cls.__name__ for cls in table)
            raise ProgramFormatError(f"expected one of {expected}, got {type(value).__name__}")
        return encode(value)  # type: ignore[arg-type]

    return encode_union
