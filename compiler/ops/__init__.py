"""Operators: every module here registers its primitives and targets when it is imported."""

from __future__ import annotations

import importlib
import pkgutil


def load_families() -> None:
    """Import every family module, so that the registry has all that castoff itself knows."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def load_all() -> None:
    """Import every family module, and let installed packages register their custom operators."""
    load_families()
    from .custom import load_packages

    load_packages()
