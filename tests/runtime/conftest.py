"""Artefacts the runtime tests share, compiled once per session."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

# Tests are imported by path; what they share is imported the same way, once.
_spec = importlib.util.spec_from_file_location("handmade", Path(__file__).with_name("handmade.py"))
assert _spec is not None
assert _spec.loader is not None
handmade = sys.modules.setdefault("handmade", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(handmade)


@pytest.fixture(scope="session")
def affine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not handmade.COMPILER:
        pytest.skip("no C compiler")
    return handmade.make_affine(tmp_path_factory.mktemp("affine") / "affine.so")


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not handmade.COMPILER:
        pytest.skip("no C compiler")
    return handmade.make_state(tmp_path_factory.mktemp("state") / "state.so")
