"""What is compared: one module per engine, each imported only in the processes that use it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..case import Array, Case

ENGINES = ("castoff", "eager", "aoti", "onnxruntime", "openvino")
"""The names that can be asked for, in the order that tables show them."""


class Session(Protocol):
    """A program loaded and ready to be called."""

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        """The call that is timed: runs with these inputs, which stay alive with it."""

    def answers(self, result: object) -> list[Array]:
        """The flat answers in what the call gave."""


class Engine(Protocol):
    """One way to run an exported program."""

    def version(self) -> str:
        """What is installed, in a word. Raises ImportError where nothing is."""

    def build(self, case: Case, folder: Path) -> None:
        """Makes what `load` reads, in an empty folder."""

    def load(self, case: Case, folder: Path, threads: int) -> Session:
        """Loads what was built, for that many threads."""


def engine_of(name: str) -> Engine:
    """The engine of that name; its package is imported when it is used."""
    assert name in ENGINES, f"{name} is no engine"
    engine: Engine = importlib.import_module(f".{name}", __name__).ENGINE
    return engine
