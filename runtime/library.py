"""Opens the shared library of an artefact, once per process and file."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any

from ._abi_cdef import ffi
from .errors import ArtefactError
from .manifest import ABI_MAJOR, ABI_MINOR, Manifest, read_manifest

# C objects have no static type in cffi.
CData = Any

_RTLD_FLAGS = ffi.RTLD_NOW | ffi.RTLD_LOCAL


@dataclass(frozen=True, slots=True)
class Library:
    """A loaded artefact: its manifest and its function table. Never unloaded."""

    path: str
    manifest: Manifest
    api: CData


# The loader of the system knows libraries by their path: a file that was rebuilt would come back as
# it was. What was loaded from a path is therefore remembered for as long as the process lives, as
# the loader does.
_loaded: dict[tuple[str, int, int, int, int], Library] = {}
_loaded_paths: set[str] = set()
_lock = threading.Lock()
os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # type: ignore[attr-defined]


def open_library(path: str | os.PathLike[str]) -> Library:
    """The library at `path`. Raises ArtefactError, before anything of it ran."""
    name = os.path.realpath(os.fspath(path))
    try:
        status = os.stat(name)
    except OSError as error:
        raise ArtefactError(f"cannot read {os.fspath(path)}: {error.strerror or error}") from error
    identity = (name, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    with _lock:
        library = _loaded.get(identity)
        if library is None:
            manifest = read_manifest(name)
            _check_host(manifest, name)
            library = Library(name, manifest, _open(name))
            _loaded[identity] = library
            _loaded_paths.add(name)
    return library


def _check_host(manifest: Manifest, name: str) -> None:
    host = os.uname().machine
    host = {"amd64": "x86_64", "arm64": "aarch64"}.get(host, host)
    if manifest.machine != host:
        raise ArtefactError(f"{name} was compiled for {manifest.machine}, this machine is {host}")


def _open(name: str) -> CData:
    alias = name
    if name in _loaded_paths:
        # Another file lies at a path that was loaded before. This descriptor stays open, so its
        # name is never used again.
        alias = f"/proc/self/fd/{os.open(name, os.O_RDONLY | os.O_CLOEXEC)}"
    try:
        loaded = ffi.dlopen(alias, _RTLD_FLAGS)
        api = loaded.castoff_get_api(ABI_MAJOR << 16 | ABI_MINOR)
    except (OSError, AttributeError) as error:
        raise ArtefactError(f"{name} cannot be loaded: {error}") from error
    if api == ffi.NULL:
        raise ArtefactError(
            f"{name} does not offer ABI {ABI_MAJOR}.{ABI_MINOR}: compile the program again"
        )
    _keep.append(loaded)
    return api


# cffi unloads a library with the last reference to it; runs in other threads must not lose their
# code.
_keep: list[CData] = []
