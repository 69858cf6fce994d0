"""The process of one engine: python -m bench.worker TASK ENGINE CASE FOLDER THREADS.

TASK `version` says what is installed, `build` makes the artefact in FOLDER, `run` loads it, checks every call and
then times calls as it is told: each line on standard input is a number of calls, each answer a line of JSON. What
libraries print goes to standard error. A failure is an answer, {"error": sentence}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from .case import Case
from .engines import Engine, Session, engine_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .case import Array


def main(arguments: Sequence[str]) -> int:
    """Does the task; 0 where it was done, 1 where the answer is an error."""
    task, name, case, folder, threads = arguments
    answer_to = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    engine = engine_of(name)
    try:
        if task == "version":
            say(answer_to, {"version": engine.version()})
        elif task == "build":
            say(answer_to, build(engine, Case(Path(case)), Path(folder)))
        else:
            serve(engine, Case(Path(case)), Path(folder), int(threads), answer_to)
    except Exception as error:
        say(answer_to, {"error": f"{type(error).__name__}: {str(error)[:500]}"})
        return 1
    return 0


def say(answer_to: TextIO, answer: object) -> None:
    """One line of JSON."""
    answer_to.write(json.dumps(answer) + "\n")


def build(engine: Engine, case: Case, folder: Path) -> dict[str, float]:
    """Builds; the seconds it took, imports of the engine included, those of the harness not."""
    start, cpu = time.perf_counter(), cpu_seconds()
    engine.build(case, folder)
    return {"seconds": time.perf_counter() - start, "cpu_seconds": cpu_seconds() - cpu}


def cpu_seconds() -> float:
    """Processor time of this process and of the children it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def serve(engine: Engine, case: Case, folder: Path, threads: int, answer_to: TextIO) -> None:
    """Loads, checks, then times calls until standard input ends."""
    session = engine.load(case, folder, threads)
    errors = [relative_error(session, case, number) for number in range(case.call_count)]
    call = session.bind(case.inputs(0))
    say(answer_to, {"relative_errors": errors})
    for line in sys.stdin:
        say(answer_to, time_calls(call, int(line)))


def relative_error(session: Session, case: Case, number: int) -> float:
    """The largest difference from eager float32 over any answer of a call, relative to the largest
    value of that answer.
    """
    import numpy as np

    got = session.answers(session.bind(case.inputs(number))())
    wanted = case.answers(number)
    if len(got) != len(wanted):
        raise ValueError(f"call {number}: expected {len(wanted)} answers, got {len(got)}")
    worst = 0.0
    for mine, right in zip(got, wanted, strict=True):
        if mine.shape != right.shape:
            raise ValueError(f"call {number}: expected shape {right.shape}, got {mine.shape}")
        difference = np.abs(as_double(mine) - as_double(right)).max(initial=0.0)
        scale = float(np.abs(as_double(right)).max(initial=0.0)) or 1.0
        worst = max(worst, float(difference) / scale)
        if np.isnan(difference):
            raise ValueError(f"call {number}: an answer is NaN")
    return worst


def as_double(values: Array) -> NDArray[np.float64]:
    """For exact differences."""
    import numpy as np

    return np.asarray(values, dtype=np.float64)


def time_calls(call: Callable[[], object], count: int) -> dict[str, float]:
    """Seconds of one call on the wall and of the processor, over `count` calls in a row."""
    wall, cpu = time.perf_counter, time.process_time
    start_cpu = cpu()
    start = wall()
    for _ in range(count):
        call()
    end = wall()
    return {"wall": (end - start) / count, "cpu": (cpu() - start_cpu) / count}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
