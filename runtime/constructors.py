"""What a pickle may construct: our own stand-ins for Python's containers and numbers."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Constructor:
    """A function of ours that stands for a global of the pickle and may be called by it."""

    name: str
    build: Callable[..., object]
    copies_argument: bool = False


Globals = Mapping[tuple[str, str], object]

_SCALARS = (str, int, float, complex, bytes, type(None))


def checked_key(key: object) -> object:
    """The key if hashing it is safe: hashing a deeply nested tuple would exhaust the C stack."""
    if isinstance(key, _SCALARS):
        return key
    if isinstance(key, tuple) and all(isinstance(part, _SCALARS) for part in key):
        return key
    raise ValueError(f"a {type(key).__name__} as a key")


def _ordered_dict(items: Sequence[tuple[object, object]] = ()) -> object:
    return OrderedDict((checked_key(key), value) for key, value in items)


def _plain_dict(items: Sequence[tuple[object, object]] = ()) -> object:
    return {checked_key(key): value for key, value in items}


def _default_dict(factory: object = None) -> object:
    if factory is None:
        return defaultdict(None)
    if isinstance(factory, Constructor) and factory.build in _FACTORIES:
        return defaultdict(_FACTORIES[factory.build])
    raise ValueError("a defaultdict with a factory of its own")


def _new_list(items: Sequence[object] = ()) -> object:
    return list(items)


def _new_tuple(items: Sequence[object] = ()) -> object:
    return tuple(items)


def _new_set(items: Sequence[object] = ()) -> object:
    return {checked_key(item) for item in items}


def new_frozenset(items: Sequence[object] = ()) -> object:
    return frozenset(checked_key(item) for item in items)


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes as text in {encoding}")
    return text.encode("latin1")


def _new_int() -> object:
    return 0


def _new_float() -> object:
    return 0.0


def _new_str() -> object:
    return ""


def _new_bool() -> object:
    return False


def _new_complex(real: float, imag: float) -> object:
    return complex(float(real), float(imag))


def _new_slice(start: object, stop: object, step: object) -> object:
    return slice(start, stop, step)


def _new_deque(items: Sequence[object] = (), maxlen: int | None = None) -> object:
    return deque(items, maxlen)


def _new_bytes() -> object:
    return b""  # what is not empty has opcodes or `_codecs.encode`


def _new_bytearray(content: bytes | str = b"", encoding: str = "") -> object:
    if isinstance(content, str):
        content = _encode(content, encoding)
    return bytearray(memoryview(content))


_FACTORIES: dict[Callable[..., object], Callable[[], object]] = {
    _new_list: list,
    _new_tuple: tuple,
    _plain_dict: dict,
    _new_set: set,
    _new_int: int,
    _new_float: float,
    _new_str: str,
    _new_bool: bool,
    _ordered_dict: OrderedDict,
}

_BUILTINS = {
    "list": Constructor("list", _new_list, copies_argument=True),
    "tuple": Constructor("tuple", _new_tuple, copies_argument=True),
    "dict": Constructor("dict", _plain_dict, copies_argument=True),
    "set": Constructor("set", _new_set, copies_argument=True),
    "frozenset": Constructor("frozenset", new_frozenset, copies_argument=True),
    "bytearray": Constructor("bytearray", _new_bytearray, copies_argument=True),
    "bytes": Constructor("bytes", _new_bytes),
    "int": Constructor("int", _new_int),
    "float": Constructor("float", _new_float),
    "str": Constructor("str", _new_str),
    "bool": Constructor("bool", _new_bool),
    "complex": Constructor("complex", _new_complex),
    "slice": Constructor("slice", _new_slice),
}

PYTHON_GLOBALS: Globals = {
    ("collections", "OrderedDict"): Constructor("OrderedDict", _ordered_dict, copies_argument=True),
    ("collections", "defaultdict"): Constructor("defaultdict", _default_dict),
    ("collections", "deque"): Constructor("deque", _new_deque, copies_argument=True),
    ("_codecs", "encode"): Constructor("encode", _encode, copies_argument=True),
    **{
        (module, name): constructor
        for module in ("builtins", "__builtin__")
        for name, constructor in _BUILTINS.items()
    },
}
"""Containers and numbers of Python itself, for the tables that callers make."""
