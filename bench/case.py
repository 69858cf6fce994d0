"""A case: a folder with an exported program, inputs for it and the answers of eager float32."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Work:
    """What call 0 has to do at least: operations of its products and convolutions, and bytes of
    weights, inputs and answers. 0 where it was not counted.
    """

    flops: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """One program on disk: `model.pt2`, `case.json`, and `inputs_K.npz` with `answers_K.npz` for
    each call K. Call 0 is the one that is timed, every call is checked.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The name of the model, as it is asked for."""
        return self.folder.name

    @property
    def program(self) -> Path:
        """The exported program."""
        return self.folder / "model.pt2"

    @property
    def call_count(self) -> int:
        """How many calls there are inputs and answers for."""
        return self._record()["calls"]

    @property
    def work(self) -> Work:
        """What call 0 has to do at least."""
        record = self._record()
        return Work(record["flops"], record["size_bytes"])

    @property
    def exists(self) -> bool:
        """Whether the folder was written to its end."""
        return (self.folder / "case.json").exists()

    def _record(self) -> dict[str, int]:
        record: dict[str, int] = json.loads((self.folder / "case.json").read_text("utf-8"))
        return record

    def inputs(self, call: int) -> list[Array]:
        """The flat inputs of one call, in order."""
        return _read_arrays(self.folder / f"inputs_{call}.npz")

    def answers(self, call: int) -> list[Array]:
        """What eager float32 gave for that call, in order."""
        return _read_arrays(self.folder / f"answers_{call}.npz")


def write_case(
    folder: Path,
    program: bytes,
    calls: Sequence[tuple[Sequence[Array], Sequence[Array]]],
    work: Work = Work(),
) -> Case:
    """Writes the program and its calls, each a pair of flat inputs and flat answers."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.pt2").write_bytes(program)
    for number, (inputs, answers) in enumerate(calls):
        np.savez(folder / f"inputs_{number}.npz", *inputs)
        np.savez(folder / f"answers_{number}.npz", *answers)
    aside = folder / "case.json.new"
    aside.write_text(json.dumps({"calls": len(calls), **asdict(work)}) + "\n", encoding="utf-8")
    os.replace(aside, folder / "case.json")
    return Case(folder)


def _read_arrays(path: Path) -> list[Array]:
    import numpy as np

    with np.load(path) as file:
        return [file[name] for name in file.files]
