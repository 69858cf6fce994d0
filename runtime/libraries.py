"""Libraries that artefacts open by name, where wheels of this Python have them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

from ._abi_cdef import ffi

# Library -> where it lies below the package `nvidia`, in wheels for CUDA 13 and 12.
_IN_WHEELS = {
    "cublasLt": ("cu13/lib/libcublasLt.so.13", "cublas/lib/libcublasLt.so.12"),
}

# The artefact finds by its name what the process has loaded already, so these stay loaded.
_loaded: dict[Path, object] = {}


def offer_libraries(names: Iterable[str]) -> None:
    """Loads what there is of them: an artefact then finds them first. What is missing it says."""
    for name in names:
        for path in _found(name):
            if path in _loaded:
                break
            try:
                _loaded[path] = ffi.dlopen(str(path), ffi.RTLD_NOW | ffi.RTLD_LOCAL)
            except OSError:
                continue
            break


def _found(name: str) -> Iterator[Path]:
    package = importlib.util.find_spec("nvidia")
    for folder in (package and package.submodule_search_locations) or ():
        for place in _IN_WHEELS.get(name, ()):
            if (Path(folder) / place).is_file():
                yield Path(folder) / place
