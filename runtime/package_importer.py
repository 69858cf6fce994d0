"""`castoff.package.Importer`: Python modules and objects out of an archive."""

from __future__ import annotations

import builtins
import functools
import importlib.abc
import importlib.util
import io
import itertools
import os
import pickle
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from types import CodeType, ModuleType
from typing import Any

from .constructors import PYTHON_GLOBALS, Constructor, Globals
from .errors import CodeNotAllowedError, PackageError, ProgramFormatError, UnsafePickleError
from .package import Package
from .package_python import (
    MODULES_FOLDER,
    OBJECTS_FOLDER,
    Storages,
    module_entry,
    read_python_record,
)
from .unpickle import unpickle


class Importer:
    """Loads objects, and where that is allowed modules, out of an archive.

    allow_code: whether code of the archive may run. Without it objects of data (containers,
        numbers, text, tensors) are loaded by a reader that runs nothing, and everything else is
        refused. Allow it for archives you would run a program from.

    Modules of the archive see one another and what is installed; nobody else imports them, so
    that several archives may hold modules of one name: `words` calls itself `archive1:words`.
    Any number of threads may use an importer.

    Raises ProgramFormatError for damage.
    """

    def __init__(self, path: str | os.PathLike[str], *, allow_code: bool = False) -> None:
        self._package = Package(path)
        self._allow_code = allow_code
        record = read_python_record(self._package)
        self._requires = record.requires
        self._storages = Storages(self._package, record.storages)
        self._entries = _module_entries(self._package)
        self._prefix = f"archive{next(_numbers)}:"
        self._loader = _Loader(
            self._package, {self._prefix + name: entry for name, entry in self._entries.items()}
        )
        self._modules: dict[str, ModuleType] = {}
        self._unfinished: list[str] = []
        self._lock = threading.RLock()
        _importers.add(self)

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules in the archive."""
        return tuple(self._entries)

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the objects in the archive."""
        names = self._package.names_in(OBJECTS_FOLDER)
        return tuple(name.removesuffix(".pkl") for name in names)

    @property
    def requires(self) -> tuple[str, ...]:
        """Packages that have to be installed where the code of the archive runs."""
        return self._requires

    def read_extra_file(self, name: str) -> bytes:
        """One of the extra files of the archive. Raises ProgramFormatError where it is missing."""
        return self._package.read_extra_file(name)

    def load(self, name: str) -> Any:
        """An object; tensors of one importer that shared memory when they were saved share it.

        Each call gives a new object over that memory. Raises PackageError for unknown names,
        CodeNotAllowedError where code would have to run and may not, ProgramFormatError for damage.
        """
        if name not in self.objects:
            listed = ", ".join(map(repr, self.objects)) or "none"
            raise PackageError(f"{self._package.path} holds no object {name!r}; it holds {listed}")
        content = self._package.read(f"{OBJECTS_FOLDER}{name}.pkl")
        label = f"{self._package.path}: object {name!r}"
        with self._lock:
            if self._allow_code:
                return self._load_with_code(content, label)
            try:
                return unpickle(content, _DATA, self._storages.resolve, label)
            except UnsafePickleError as error:
                raise CodeNotAllowedError(f"{error}. {_HOW_TO_ALLOW}") from None

    def import_module(self, name: str) -> ModuleType:
        """A module of the archive, executed once.

        Raises CodeNotAllowedError where code may not run, PackageError for a name that the archive
        does not hold or where packages that its code needs are not installed.
        """
        if not self._allow_code:
            raise CodeNotAllowedError(
                f"{self._package.path}: importing {name!r} would run its code. {_HOW_TO_ALLOW}"
            )
        if name not in self._entries:
            listed = ", ".join(map(repr, self._entries)) or "none"
            raise PackageError(f"{self._package.path} holds no module {name!r}; it holds {listed}")
        self._check_requirements()
        return self._import_one(name)

    # ---- objects ----

    def _load_with_code(self, content: memoryview, label: str) -> object:
        self._check_requirements()
        unpickler = _Unpickler(io.BytesIO(content), self)
        try:
            return unpickler.load()
        except (pickle.UnpicklingError, EOFError) as error:
            raise ProgramFormatError(f"{label} is damaged: {error}") from error

    def find_global(self, module: str, name: str) -> object | None:
        """What a module of the archive calls `name`; None where it is no module of the archive."""
        if module not in self._entries:
            return None
        return functools.reduce(getattr, name.split("."), self._import_one(module))

    def resolve(self, identifier: object) -> object:
        """The array or the torch storage that an identifier in a pickle stands for."""
        try:
            return self._storages.resolve(identifier)
        except ValueError as error:
            raise ProgramFormatError(f"{self._package.path}: damaged pickle: {error}") from None

    def _check_requirements(self) -> None:
        missing = [name for name in self._requires if not _is_installed(name)]
        if missing:
            raise PackageError(
                f"{self._package.path}: its code needs {', '.join(missing)}, which "
                f"{'is' if len(missing) == 1 else 'are'} not installed here"
            )

    # ---- modules ----

    def _import_one(self, name: str) -> ModuleType:
        parent, _, child = name.rpartition(".")
        with self._lock:
            if parent:
                self._import_one(parent)
            module = self._modules.get(name)
            if module is None:
                module = self._execute(name)
                if parent:
                    setattr(self._modules[parent], child, module)
            return module

    def _execute(self, name: str) -> ModuleType:
        own_name = self._prefix + name
        spec = importlib.util.spec_from_loader(own_name, self._loader)
        assert spec is not None, "the loader has all modules of the archive"
        module = importlib.util.module_from_spec(spec)
        module.__file__ = self._loader.file_name(own_name)
        # `import` asks the builtins of the module in which it stands.
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
        # Dataclasses look for their module there.
        self._modules[name] = sys.modules[own_name] = module
        self._unfinished.append(name)
        try:
            self._loader.exec_module(module)
        except BaseException:
            self._forget(name)
            raise
        finally:
            self._unfinished.remove(name)
        return module

    def _forget(self, name: str) -> None:
        del self._modules[name], sys.modules[self._prefix + name]

    def after_fork(self) -> None:
        """In the child of a fork: what another thread had begun will not be finished here."""
        if self._lock._is_owned():  # type: ignore[attr-defined]
            return  # a module that forks while it is imported goes on in both processes
        self._lock = threading.RLock()
        while self._unfinished:
            self._forget(self._unfinished.pop())

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """`import` as modules of the archive see it: the archive first, then what is installed."""
        package = str((globals or {}).get("__package__") or "")
        full_name = name
        if level:
            own_name = importlib.util.resolve_name("." * level + name, package)
            full_name = own_name.removeprefix(self._prefix)
        root = full_name.partition(".")[0]
        if root not in self._entries:
            return builtins.__import__(full_name, globals, locals, fromlist or (), 0)
        if full_name not in self._entries:
            raise ModuleNotFoundError(
                f"{self._package.path} holds no module {full_name!r}", name=full_name
            )
        module = self._import_one(full_name)
        if not fromlist:
            return self._modules[root]
        names = getattr(module, "__all__", ()) if "*" in fromlist else fromlist
        for child in names:
            if not hasattr(module, child) and f"{full_name}.{child}" in self._entries:
                self._import_one(f"{full_name}.{child}")
        return module


def _is_installed(name: str) -> bool:
    if name in sys.modules:
        return sys.modules[name] is not None
    return importlib.util.find_spec(name) is not None


_HOW_TO_ALLOW = (
    "Code of an archive runs only where that is asked for: castoff.package.Importer(path, "
    "allow_code=True), for archives you would run a program from"
)


_numbers = itertools.count(1)
_importers: weakref.WeakSet[Importer] = weakref.WeakSet()


def _after_fork() -> None:
    for importer in _importers:
        importer.after_fork()


os.register_at_fork(after_in_child=_after_fork)


class _Loader(importlib.abc.InspectLoader):
    """The sources of an archive as Python's import machinery and tracebacks ask for them."""

    def __init__(self, package: Package, entries: Mapping[str, str]) -> None:
        self._package = package
        self._entries = entries

    def is_package(self, fullname: str) -> bool:
        return self._entries[fullname].endswith("/__init__.py")

    def file_name(self, fullname: str) -> str:
        return f"{self._package.path}/{self._entries[fullname].removeprefix(MODULES_FOLDER)}"

    def get_source(self, fullname: str) -> str:
        return str(self._package.read(self._entries[fullname]), "utf-8")

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_source(fullname), self.file_name(fullname))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, importer: Importer) -> None:
        super().__init__(file)
        self._importer = importer

    def find_class(self, module: str, name: str) -> Any:
        found = self._importer.find_global(module, name)
        return super().find_class(module, name) if found is None else found

    def persistent_load(self, identifier: object) -> object:
        return self._importer.resolve(identifier)


def _module_entries(package: Package) -> dict[str, str]:
    """Entries by the names of modules; packages of which one module is there are there too."""
    entries: dict[str, str] = {}
    for path in package.names_in(MODULES_FOLDER):
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if path not in (module_entry(name, True), module_entry(name, False)) or name in entries:
            raise package.damaged(MODULES_FOLDER + path, "it has not the name of a module")
        entries[name] = MODULES_FOLDER + path
    orphans = [name for name in entries if "." in name and name.rpartition(".")[0] not in entries]
    if orphans:
        raise package.damaged(entries[orphans[0]], "its package is not in the archive")
    return entries


# ---- torch's tensors, for the reader that runs nothing ----


def _rebuild_tensor(
    storage: Any,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    hooks: Mapping[object, object],
    metadata: object = None,
) -> object:
    torch = importlib.import_module("torch")  # there: the storage is torch's
    if not isinstance(storage, torch.storage.TypedStorage) or hooks or metadata:
        raise ValueError("a tensor that is more than its storage")
    try:
        return torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, {})
    except RuntimeError as error:
        raise ValueError(f"a tensor that does not fit its storage: {error}") from None


def _rebuild_parameter(data: Any, requires_grad: bool, hooks: Mapping[object, object]) -> object:
    torch = importlib.import_module("torch")
    if type(data) is not torch.Tensor or hooks:
        raise ValueError("a parameter that is more than a tensor")
    return torch.nn.Parameter(data, requires_grad)


_DATA: Globals = {
    **PYTHON_GLOBALS,
    ("torch._utils", "_rebuild_tensor_v2"): Constructor("_rebuild_tensor_v2", _rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Constructor("_rebuild_parameter", _rebuild_parameter),
}
