"""Finds and runs compilers, caches objects, links and seals the artefact."""

from __future__ import annotations

from .build import build_shared_library
from .compilers import Compiler, available_compilers, find_compiler
from .emit import write_source_tree

__all__ = [
    "Compiler",
    "available_compilers",
    "build_shared_library",
    "find_compiler",
    "write_source_tree",
]
