"""Operators: every module here registers its primitives and targets when it is imported."""

from __future__ import annotations

import importlib
import pkgutil


def load_all() -> None:
    """Import every family module, so that the registry is complete."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
