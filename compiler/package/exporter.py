"""`castoff.package.Exporter`: Python modules and objects that go into an archive with a model."""

from __future__ import annotations

import importlib.util
import io
import json
import pickle
import pkgutil
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType
from typing import Any

from ...runtime.errors import PackageError
from ...runtime.package import CONSTANTS_FOLDER, ROOT, is_name
from ...runtime.package_python import (
    MODULES_FOLDER,
    OBJECTS_FOLDER,
    PYTHON_ENTRY,
    PYTHON_FORMAT,
    module_entry,
)
from ..exported.zip_writer import ZipWriter
from .imports import find_imports
from .storages import StorageTable
from .write import add_once

# What is installed wherever castoff is.
_ALWAYS_THERE = ("castoff", "numpy")


class Exporter:
    """Collects modules and objects for `castoff.package(..., code=exporter)`.

    requires: packages that the modules import and that are installed wherever the archive is
        loaded. Everything else that is imported, Python's own modules and NumPy aside, has to be
        in the archive; packaging says what is missing.

    The memory of NumPy arrays and torch tensors lies outside the pickles of their objects: arrays
    that share memory share it again when they are loaded, and what equals a weight is that weight.
    It is read when the archive is written, not before. An array that is a view brings along all of
    the array it looks into. Sets have no order of their own, so that bytes may differ from process
    to process where an object holds some.
    """

    def __init__(self, *, requires: str | Iterable[str] = ()) -> None:
        names = (requires,) if isinstance(requires, str) else requires
        self._requires = tuple(sorted({name.partition(".")[0] for name in names}))
        self._sources: dict[str, tuple[str, bool]] = {}
        self._pickles: dict[str, bytes] = {}
        self._storages = StorageTable()
        self._needed: dict[str, str] = {}  # module -> who asked for it first
        self._needed_if_modules: dict[str, str] = {}

    def add_module(self, name: str) -> None:
        """Adds the source of an importable module, and if it is a package, of all in it.

        Raises PackageError where there is no such module, or no source of it.
        """
        *parents, _ = _prefixes(name)
        for parent in parents:
            if parent not in self._sources:
                self._add_source_of(parent)
        for submodule in self._add_source_of(name):
            self.add_module(submodule)

    def add_source(self, name: str, source: str) -> None:
        """Adds a module of this text. Raises PackageError for what is no name or no Python."""
        self._add(name, source, is_package=False)

    def add_object(self, name: str, value: object) -> None:
        """Adds an object: `Importer.load(name)` gives it back.

        Containers, numbers, text and tensors load without permission to run code; everything else
        is loaded as pickle does it, by the modules of its classes. Raises PackageError where the
        object cannot be pickled or its class cannot be found elsewhere.
        """
        if not is_name(name) or name in self._pickles:
            raise PackageError(f"an object cannot be called {name!r}: no name, or used already")
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, self._storages)
        try:
            pickler.dump(value)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise PackageError(f"object {name!r} cannot be pickled: {error}") from error
        if "__main__" in pickler.modules:
            raise PackageError(
                f"object {name!r} is made by code in __main__, which is another program wherever "
                "it is loaded: move that into a module and add it with add_module"
            )
        self._pickles[name] = buffer.getvalue()
        for module in sorted(pickler.modules):
            self._needed.setdefault(module, f"object {name!r}")

    def add_to(self, archive: ZipWriter, digests: dict[str, str]) -> None:
        """Writes all of it; `digests` are entries that are there, by digest, and grow.

        Raises PackageError, naming all of them, where modules are missing.
        """
        self._check_complete()
        for name, (source, is_package) in self._sources.items():
            archive.add(
                ROOT + MODULES_FOLDER + module_entry(name, is_package), source.encode("utf-8")
            )
        for name, content in self._pickles.items():
            archive.add(f"{ROOT}{OBJECTS_FOLDER}{name}.pkl", content)
        entries = [
            add_once(archive, CONSTANTS_FOLDER, content, digests)
            for content in self._storages.contents()
        ]
        record = {"format": PYTHON_FORMAT, "requires": self._requires, "storages": entries}
        archive.add(ROOT + PYTHON_ENTRY, json.dumps(record, separators=(",", ":")).encode())

    def _add_source_of(self, name: str) -> list[str]:
        """Adds one module and returns the names of those in it."""
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError) as error:
            raise PackageError(f"there is no module {name!r} to add: {error}") from error
        read = getattr(spec.loader, "get_source", None) if spec is not None else None
        source = read(name) if read is not None else None
        if spec is None or source is None:
            raise PackageError(f"there is no module {name!r} with Python source to add")
        folders = spec.submodule_search_locations
        self._add(name, source, is_package=folders is not None)
        return [f"{name}.{found.name}" for found in pkgutil.iter_modules(folders or [])]

    def _add(self, name: str, source: str, *, is_package: bool) -> None:
        if not all(part.isidentifier() for part in name.split(".")):
            raise PackageError(f"{name!r} is no name of a module")
        try:
            imports = find_imports(source, name, is_package)
        except SyntaxError as error:
            raise PackageError(f"module {name!r} is no Python: {error}") from error
        self._sources[name] = (source, is_package)
        for module, line in imports.modules.items():
            self._needed.setdefault(module, f"module {name!r}, line {line}")
        for module, line in imports.names.items():
            self._needed_if_modules.setdefault(module, f"module {name!r}, line {line}")

    def _check_complete(self) -> None:
        needed = self._needed | {
            module: origin
            for module, origin in self._needed_if_modules.items()
            if self._is_left_out(module)
        }
        missing = {module: origin for module, origin in needed.items() if not self._finds(module)}
        if missing:
            listed = "\n".join(f"  {module}, by {origin}" for module, origin in missing.items())
            raise PackageError(
                "modules are needed that are not in the archive; add them with add_module, or "
                f"name their packages, where they will be installed, in Exporter(requires=…):\n"
                f"{listed}"
            )

    def _is_left_out(self, name: str) -> bool:
        """Whether what is taken out of a package of the archive is a module that is not there."""
        _, is_package = self._sources.get(name.rpartition(".")[0], ("", False))
        is_there = name in self._sources
        return is_package and not is_there and importlib.util.find_spec(name) is not None

    def _finds(self, module: str) -> bool:
        root = module.partition(".")[0]
        if any(name.partition(".")[0] == root for name in self._sources):
            return module in self._sources
        return root in (*_ALWAYS_THERE, *self._requires) or root in sys.stdlib_module_names


class _Pickler(pickle.Pickler):
    """Puts the memory of arrays into a table, and notes which modules are referred to."""

    def __init__(self, file: io.BytesIO, storages: StorageTable) -> None:
        super().__init__(file, protocol=4)
        self.modules: set[str] = set()
        self._storages = storages

    def persistent_id(self, value: object) -> object:
        return self._storages.identifier(value)

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)) and value.__module__:
            self.modules.add(value.__module__)
        return NotImplemented


def _prefixes(name: str) -> list[str]:
    """ "a.b.c": "a", "a.b", "a.b.c"."""
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]
