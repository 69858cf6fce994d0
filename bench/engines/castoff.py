"""castoff itself, in a process that has no torch."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castoff import Runner

    from ..case import Array, Case

ROOT = Path(__file__).resolve().parents[2]


class CastoffSession:
    """A loaded artefact."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        runner, arguments = self.runner, tuple(inputs)
        return lambda: runner(*arguments)

    def answers(self, result: object) -> list[Array]:
        assert "torch" not in sys.modules, "castoff is measured without torch"
        return list(result) if isinstance(result, (tuple, list)) else [result]  # type: ignore[list-item]


class Castoff:
    """Compiled with the default options, but for those of the case: all CPU levels, one library."""

    def version(self) -> str:
        import castoff

        digest = hashlib.sha256()
        for folder in ("compiler", "runtime", "templates"):
            for path in sorted((ROOT / folder).rglob("*")):
                if path.suffix in (".py", ".c", ".h", ".j2", ".sh"):
                    digest.update(path.read_bytes())
        return f"{castoff.__version__}+{digest.hexdigest()[:10]}"

    def build(self, case: Case, folder: Path) -> None:
        import castoff

        options = json.loads(case.terms.options)
        castoff.aot_compile(case.program, options=options, output=folder / "model.so")

    def load(self, case: Case, folder: Path, threads: int) -> CastoffSession:
        import castoff

        return CastoffSession(castoff.aot_load(folder / "model.so"))


ENGINE = Castoff()
