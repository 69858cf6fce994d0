"""`castoff run` and `castoff bench`: calls an artefact and shows the results, or the time they
take.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ...runtime.runner import Runner, aot_load
from ..errors import OptionError, OutputError
from ..records import dataclass
from .tensors import call_arguments, parse_values, result_arrays, with_arbitrary


@dataclass(frozen=True, slots=True)
class ShownResult:
    """One result as it is printed."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    values: str


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds per call: the median and the quartiles of `calls` of them."""

    calls: int
    first_quartile_us: float
    median_us: float
    third_quartile_us: float


@dataclass(frozen=True, slots=True)
class Choice:
    """A file and, if it is an archive, which artefact of it."""

    path: str
    device: str = "cpu"
    method: str | None = None
    artefact: str | None = None

    def load(self, threads: int | None = None) -> Runner:
        """The artefact, loaded."""
        return aot_load(
            self.path, self.device, method=self.method, artefact=self.artefact, threads=threads
        )


def run_artefact(choice: Choice, arguments: Sequence[str], output: str | None) -> list[ShownResult]:
    """Calls the artefact once and writes its results to `output` (.npz) if that is given."""
    runner = choice.load()
    args, kwargs = call_arguments(parse_values(arguments, runner.manifest), runner.manifest)
    return shown_results(result_arrays(runner(*args, **kwargs), runner.manifest), output)


def shown_results(results: Mapping[str, object], output: str | None) -> list[ShownResult]:
    """Results by path as they are printed; written to `output` (.npz) if that is given."""
    if output is not None:
        arrays = {name: np.asarray(value) for name, value in results.items() if value is not None}
        try:
            with open(output, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # names are ours
        except OSError as error:
            Path(output).unlink(missing_ok=True)
            raise OutputError(f"cannot write {output}: {error.strerror}") from None
    return [_shown(name, value) for name, value in results.items()]


def _shown(path: str, value: object) -> ShownResult:
    if value is None or isinstance(value, bool | int | float | complex | str):
        return ShownResult(path, type(value).__name__, (), repr(value))
    array = np.asarray(value)
    text = np.array2string(array, threshold=32, edgeitems=3, precision=6)
    return ShownResult(path, str(array.dtype), array.shape, text)


def time_artefact(
    choice: Choice, arguments: Sequence[str], seconds: float, threads: int | None
) -> Timing:
    """Calls the artefact for about `seconds`; inputs without a value are arbitrary."""
    if seconds <= 0 or (threads is not None and threads < 1):
        raise OptionError("--seconds and --threads: expected a number above 0")
    runner = choice.load(threads)
    values = with_arbitrary(parse_values(arguments, runner.manifest), runner.manifest)
    args, kwargs = call_arguments(values, runner.manifest)
    for _ in range(3):
        runner(*args, **kwargs)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < end:
        started = time.perf_counter()
        runner(*args, **kwargs)
        taken.append(time.perf_counter() - started)
    low, middle, high = (float(quartile) * 1e6 for quartile in np.percentile(taken, (25, 50, 75)))
    return Timing(len(taken), low, middle, high)


def as_text(results: Sequence[ShownResult]) -> str:
    """The results as lines."""
    return "\n".join(
        f"{shown.path}: {shown.dtype}[{', '.join(map(str, shown.shape))}]\n{shown.values}"
        for shown in results
    )


def as_json(results: Sequence[ShownResult]) -> list[dict[str, object]]:
    """The results as records."""
    return [asdict(shown) for shown in results]
