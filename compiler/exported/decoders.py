"""Decoders of what `json.loads` gives, built from one another: values, lists, records, unions.

A decoder takes a parsed value and returns what it stands for, or raises `Malformed`, which
gathers the path to the offending value while it unwinds. Each is built once, at import, so that
a graph of thousands of nodes decodes without looking at types again.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import TypeVar

T = TypeVar("T")
E = TypeVar("E", bound=IntEnum)
Decoder = Callable[[object], T]


class Malformed(Exception):
    """A value does not fit; `path` is filled from the inside out."""

    def __init__(self, expected: str, got: object) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got
        self.path: list[str | int] = []

    def describe(self) -> str:
        where = ""
        for step in reversed(self.path):
            where += f"[{step}]" if isinstance(step, int) else f".{step}" if where else step
        # The plain `repr` of a hostile value can be as long and as deep as the file.
        shortened = reprlib.Repr()
        shortened.maxstring = shortened.maxother = 60
        return f"{where or 'top level'}: expected {self.expected}, got {shortened.repr(self.got)}"


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


_MISSING = _Missing()


# --- Decoders of plain values ------------------------------------------------------------------


def string(value: object) -> str:
    if type(value) is str:
        return value
    raise Malformed("a string", value)


def integer(value: object) -> int:
    if type(value) is int:
        return value
    raise Malformed("an integer", value)


def boolean(value: object) -> bool:
    if type(value) is bool:
        return value
    raise Malformed("true or false", value)


_SPECIAL_FLOATS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def number(value: object) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise Malformed("a float", value) from None
    if type(value) is str and value in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[value]
    raise Malformed("a float", value)


def enumeration(cls: type[E]) -> Decoder[E]:
    members: dict[object, E] = {int(member): member for member in cls}

    def decode(value: object) -> E:
        if type(value) is int and value in members:
            return members[value]
        raise Malformed(f"a number of {cls.__name__}", value)

    return decode


# --- Decoders built from decoders --------------------------------------------------------------


def optional(decode_value: Decoder[T]) -> Decoder[T | None]:
    def decode(value: object) -> T | None:
        return None if value is None else decode_value(value)

    return decode


def sequence(decode_item: Decoder[T]) -> Decoder[tuple[T, ...]]:
    def decode(value: object) -> tuple[T, ...]:
        if type(value) is not list:
            raise Malformed("a list", value)
        items: list[T] = []
        try:
            for item in value:
                items.append(decode_item(item))
        except Malformed as error:
            error.path.append(len(items))
            raise
        return tuple(items)

    return decode


def mapping(decode_item: Decoder[T]) -> Decoder[dict[str, T]]:
    def decode(value: object) -> dict[str, T]:
        if type(value) is not dict:
            raise Malformed("an object", value)
        items: dict[str, T] = {}
        key = ""
        try:
            for key, item in value.items():
                items[key] = decode_item(item)
        except Malformed as error:
            error.path.append(key)
            raise
        return items

    return decode


def record(
    construct: Callable[..., T], required: Mapping[str, Decoder[object]], **defaults: object
) -> Decoder[T]:
    """A decoder that gives the values of the keys, in their order, to `construct`.

    A key that is in `defaults` may be absent.
    """
    rows = [(key, decode, defaults.get(key, _MISSING)) for key, decode in required.items()]

    def decode_record(value: object) -> T:
        if type(value) is not dict:
            raise Malformed("an object", value)
        arguments: list[object] = []
        key = ""
        try:
            for key, decode, default in rows:
                item = value.get(key, _MISSING)
                if item is not _MISSING:
                    arguments.append(decode(item))
                elif default is not _MISSING:
                    arguments.append(default)
                else:
                    raise Malformed("a value", item)
        except Malformed as error:
            error.path.append(key)
            raise
        return construct(*arguments)

    return decode_record


def union(what: str, members: Mapping[str, Decoder[T]]) -> Decoder[T]:
    """A decoder of a one-key object, by its key."""

    def decode(value: object) -> T:
        if type(value) is not dict or len(value) != 1:
            raise Malformed(f"{what} as an object with one key", value)
        [(tag, item)] = value.items()
        decode_member = members.get(tag)
        if decode_member is None:
            raise Malformed(f"{what}, one of {', '.join(members)}", tag)
        try:
            return decode_member(item)
        except Malformed as error:
            error.path.append(tag)
            raise

    return decode


def wrapped(construct: Callable[[T], object], decode_value: Decoder[T]) -> Decoder[object]:
    def decode(value: object) -> object:
        return construct(decode_value(value))

    return decode


def to_none(value: object) -> None:
    return None


def unwrapped(value: T) -> T:
    return value
