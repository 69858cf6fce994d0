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
class Terms:
    """What a case may do that float32 may not.

    precision: "float32", or "bfloat16": `model.pt2` computes in it, `float32.pt2` is what it was made of, for engines
    that narrow by themselves.
    options: CompileOptions of castoff alone, as JSON.
    tolerance: largest error relative to the largest value of an answer that is still the same answer.
    """

    precision: str = "float32"
    options: str = "{}"
    tolerance: float = 1e-3


@dataclass(frozen=True, slots=True)
class Case:
    """One program on disk: `model.pt2`, `case.json`, `float32.pt2` where it is narrower, and
    `inputs_K.npz` with `answers_K.npz` for each call K. Call 0 is the one that is timed, every call is
    checked.
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
    def float32_program(self) -> Path:
        """The same in float32."""
        narrow = self.terms.precision != "float32"
        return self.folder / "float32.pt2" if narrow else self.program

    @property
    def call_count(self) -> int:
        """How many calls there are inputs and answers for."""
        return int(self._record()["calls"])

    @property
    def work(self) -> Work:
        """What call 0 has to do at least."""
        record = self._record()
        return Work(int(record["flops"]), int(record["size_bytes"]))

    @property
    def terms(self) -> Terms:
        """What it may do that float32 may not."""
        record = self._record()
        default = Terms()
        return Terms(
            str(record.get("precision", default.precision)),
            str(record.get("options", default.options)),
            float(record.get("tolerance", default.tolerance)),
        )

    @property
    def exists(self) -> bool:
        """Whether the folder was written to its end."""
        return (self.folder / "case.json").exists()

    def _record(self) -> dict[str, int | float | str]:
        record: dict[str, int | float | str] = json.loads(
            (self.folder / "case.json").read_text("utf-8")
        )
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
    terms: Terms = Terms(),
    float32: bytes = b"",
) -> Case:
    """Writes the program and its calls, each a pair of flat inputs and flat answers; `float32` where the program is
    narrower.
    """
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.pt2").write_bytes(program)
    if float32:
        (folder / "float32.pt2").write_bytes(float32)
    for number, (inputs, answers) in enumerate(calls):
        np.savez(folder / f"inputs_{number}.npz", *inputs)
        np.savez(folder / f"answers_{number}.npz", *answers)
    aside = folder / "case.json.new"
    record = {"calls": len(calls), **asdict(work), **asdict(terms)}
    aside.write_text(json.dumps(record) + "\n", encoding="utf-8")
    os.replace(aside, folder / "case.json")
    return Case(folder)


def _read_arrays(path: Path) -> list[Array]:
    import numpy as np

    with np.load(path) as file:
        return [file[name] for name in file.files]
