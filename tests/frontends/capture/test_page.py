"""docs/numpy.md says what can be captured."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from castoff.compiler.frontends.capture.functions import handlers, name_of
from castoff.compiler.frontends.capture.loops import LOOPS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "numpy.md"


def _is_there(name: str) -> bool:
    found: object = np
    for part in name.split(".")[1:]:
        found = getattr(found, part, None)
    return found is not None


def test_the_page_lists_what_there_is() -> None:
    lists = PAGE.read_text(encoding="utf-8").partition("## Ufuncs")[2]
    listed = set(re.findall(r"`(np\.[\w.]+)`", lists))
    there = {name_of(function) for function in handlers()} | {f"np.{u.__name__}" for u in LOOPS}
    assert there <= listed
    assert {name for name in listed if _is_there(name)} <= there | {"np.amax", "np.amin"}
