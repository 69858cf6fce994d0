"""How Python code and objects lie in a deployment archive.

    data/castoff/python.json                  which storages there are, and what must be installed
    data/castoff/python/modules/a/b.py        the source of module a.b
    data/castoff/python/objects/<name>.pkl    a pickle; memory of arrays lies outside it

In place of memory a pickle has a persistent identifier, a tuple:

    ("array", storage, dtype, offset, shape, strides)   a NumPy array; bytes
    ("scalar", dtype, bytes)                            a NumPy scalar
    ("torch", storage, dtype)                           a storage of torch's; "" if it has no dtype

A storage is a number in the list of python.json, which names its entry.
"""

from __future__ import annotations

import importlib
import re
from typing import Any, NamedTuple

import numpy as np

from .errors import PackageError
from .package import Package
from .tensors import is_extended, native_dtype

PYTHON_FORMAT = 1
PYTHON_ENTRY = "data/castoff/python.json"
MODULES_FOLDER = "data/castoff/python/modules/"
OBJECTS_FOLDER = "data/castoff/python/objects/"

_NUMBERS = frozenset(
    f"{kind}{bits}" for kind, widths in (
        ("int", (8, 16, 32, 64)), ("uint", (8, 16, 32, 64)),
        ("float", (16, 32, 64)), ("complex", (64, 128)),
    ) for bits in widths
) | {"bool"}  # fmt: skip
_TEXT = re.compile(r"<U[1-9]\d{0,8}|\|S[1-9]\d{0,8}")


class PythonRecord(NamedTuple):
    """What python.json says: entries of storages, and packages that have to be installed."""

    storages: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()


def read_python_record(package: Package) -> PythonRecord:
    """The record of an archive, empty where it has none. Raises ProgramFormatError for damage."""
    if not package.has(PYTHON_ENTRY):
        return PythonRecord()
    match package.read_json(PYTHON_ENTRY):
        case {"format": int(number)} if number != PYTHON_FORMAT:
            raise package.damaged(
                PYTHON_ENTRY,
                f"it has format {number}, this castoff reads {PYTHON_FORMAT}: use a newer castoff",
            )
        case {"format": int(), "storages": [*storages], "requires": [*requires]} if all(
            isinstance(text, str) for text in (*storages, *requires)
        ) and all(text.isidentifier() for text in requires):
            return PythonRecord(tuple(storages), tuple(requires))
        case _:
            raise package.damaged(PYTHON_ENTRY, "expected lists of storages and of requirements")


def module_entry(name: str, is_package: bool) -> str:
    """Where in the folder of modules a module lies."""
    return name.replace(".", "/") + ("/__init__.py" if is_package else ".py")


def dtype_name(dtype: np.dtype[Any]) -> str | None:
    """What identifiers call a dtype; None where they have no word for it."""
    native = dtype.newbyteorder("=")
    if dtype.name in _NUMBERS or is_extended(dtype.name):
        return str(dtype.name)
    return str(native.str) if _TEXT.fullmatch(native.str) else None


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of that name. Raises ValueError."""
    if name in _NUMBERS or is_extended(name):
        return native_dtype(name)
    if _TEXT.fullmatch(name):
        return np.dtype(name)
    raise ValueError(f"{name[:40]!r} is no dtype of a stored array")


class Storages:
    """The memory of an archive's arrays: each storage is loaded once and then shared.

    Large ones are mapped: their pages are the file's until they are written to, and what is written
    stays in this process.
    """

    def __init__(self, package: Package, entries: tuple[str, ...]) -> None:
        self._package = package
        self._entries = entries
        self._memory: dict[int, memoryview] = {}

    def resolve(self, identifier: object) -> object:
        """What an identifier stands for.

        Raises ValueError for what is none, ProgramFormatError for damage, PackageError where torch
        is needed and not there.
        """
        match identifier:
            case ("array", int(number), str(dtype), int(offset), tuple(shape), tuple(strides)) if (
                all(type(size) is int for size in (*shape, *strides))
            ):
                memory = self._storage(number)
                return np.ndarray(shape, dtype_of(dtype), memory, offset, strides)
            case ("scalar", str(dtype), bytes(content)):
                kind = dtype_of(dtype)
                if len(content) != kind.itemsize:
                    raise ValueError("a scalar of another size than its dtype's")
                return np.frombuffer(content, kind)[0]
            case ("torch", int(number), str(dtype)):
                return self._torch_storage(self._storage(number), dtype)
        raise ValueError("a persistent identifier of another kind")

    def _storage(self, number: int) -> memoryview:
        if not 0 <= number < len(self._entries):
            raise ValueError(f"storage {number} of {len(self._entries)}")
        if number not in self._memory:
            self._memory[number] = self._package.writable(self._entries[number])
        return self._memory[number]

    def _torch_storage(self, memory: memoryview, dtype: str) -> object:
        torch = self._torch()
        storage = torch.UntypedStorage(0)
        if len(memory):
            storage = torch.frombuffer(memory, dtype=torch.uint8).untyped_storage()
        if not dtype:
            return storage
        kind = getattr(torch, dtype, None) if dtype.isidentifier() else None
        if not isinstance(kind, torch.dtype):
            raise ValueError(f"{dtype[:40]!r} is no dtype of torch's")
        return torch.storage.TypedStorage(wrap_storage=storage, dtype=kind, _internal=True)

    def _torch(self) -> Any:
        try:
            return importlib.import_module("torch")
        except ImportError:
            raise PackageError(
                f"{self._package.path}: an object holds torch tensors, and torch is not installed; "
                "package NumPy arrays to load them without it"
            ) from None
