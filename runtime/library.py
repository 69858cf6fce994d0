"""Opens the shared library of an artefact, once per process and file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._abi_cdef import ffi
from .errors import ArtefactError
from .forks import lock_free_in_children
from .manifest import ABI_MAJOR, ABI_MINOR, Manifest, read_manifest

# C objects have no static type in cffi.
CData = Any

_RTLD_FLAGS = ffi.RTLD_NOW | ffi.RTLD_LOCAL


@dataclass(frozen=True, slots=True)
class Library:
    """A loaded artefact: its manifest and its function table. Never unloaded.

    In a deployment archive it has a name, `artefact`, and `constants` lie outside its image: their
    addresses, over `memory`.
    """

    path: str
    manifest: Manifest
    api: CData
    artefact: str | None = None
    constants: CData = ffi.NULL
    memory: tuple[object, ...] = ()

    @property
    def label(self) -> str:
        """What errors call it."""
        return self.path if self.artefact is None else f"{self.path}: artefact {self.artefact!r}"


# Resolved path, device, inode, size and time of a file.
FileIdentity = tuple[str, int, int, int, int]


# The loader of the system knows libraries by their path: a file that was rebuilt would come back as
# it was. What was loaded from a path is therefore remembered for as long as the process lives, as
# the loader does.
_loaded: dict[tuple[FileIdentity, str], Library] = {}
_loaded_paths: set[str] = set()
_lock = lock_free_in_children()


def open_library(path: str | os.PathLike[str]) -> Library:
    """The library at `path`. Raises ArtefactError, before anything of it ran."""

    def load(identity: FileIdentity) -> Library:
        name = identity[0]
        manifest = read_manifest(name)
        check_host(manifest, name)
        return Library(name, manifest, open_image(name, name))

    return load_once(path, "", load)


def load_once(
    path: str | os.PathLike[str], artefact: str, load: Callable[[FileIdentity], Library]
) -> Library:
    """What `load` makes of a file, once for each file and artefact in it."""
    identity = file_identity(path)
    with _lock:
        library = _loaded.get((identity, artefact))
        if library is None:
            library = _loaded[identity, artefact] = load(identity)
    return library


def file_identity(path: str | os.PathLike[str]) -> FileIdentity:
    """What tells a file from others, and from itself rebuilt. Raises ArtefactError."""
    name = os.path.realpath(os.fspath(path))
    try:
        status = os.stat(name)
    except OSError as error:
        raise ArtefactError(f"cannot read {os.fspath(path)}: {error.strerror or error}") from error
    return name, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a zip does; False where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"PK"
    except OSError:
        return False


def host_machine() -> str:
    """This machine, as manifests name it: "x86_64"."""
    host = os.uname().machine
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(host, host)


def check_host(manifest: Manifest, label: str) -> None:
    """Raises ArtefactError where an artefact was compiled for another machine."""
    host = host_machine()
    if manifest.machine != host:
        raise ArtefactError(f"{label} was compiled for {manifest.machine}, this machine is {host}")


def open_image(name: str, label: str) -> CData:
    """The function table of the library in the file `name`, which errors call `label`."""
    alias = name
    if name in _loaded_paths:
        # Another file lies at a path that was loaded before. This descriptor stays open, so its
        # name is never used again.
        alias = f"/proc/self/fd/{os.open(name, os.O_RDONLY | os.O_CLOEXEC)}"
    try:
        loaded = ffi.dlopen(alias, _RTLD_FLAGS)
        # An older minor version has less at the end of its table: what only devices need.
        tables = (loaded.castoff_get_api(ABI_MAJOR << 16 | n) for n in range(ABI_MINOR, -1, -1))
        api = next((table for table in tables if table != ffi.NULL), ffi.NULL)
    except (OSError, AttributeError) as error:
        raise ArtefactError(f"{label} cannot be loaded: {error}") from error
    if api == ffi.NULL:
        raise ArtefactError(
            f"{label} does not offer ABI {ABI_MAJOR}, up to {ABI_MAJOR}.{ABI_MINOR}: compile the program again"
        )
    _loaded_paths.add(name)
    _keep.append(loaded)
    return api


# cffi unloads a library with the last reference to it; runs in other threads must not lose their
# code.
_keep: list[CData] = []
