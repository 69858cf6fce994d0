"""`castoff bench --profile`: where the time of a call goes, step by step."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ...runtime.errors import ArtefactError
from ...runtime.manifest import StepSpec
from ...runtime.profile import StepRun, take_steps
from ...runtime.runner import Runner, aot_load
from ..errors import OutputError
from ..exported.atomic import written_aside
from ..options import resolve_options
from ..records import dataclass
from ..toolchain.limits import Limits, measure_limits
from .tensors import call_arguments, parse_values, with_arbitrary

_CALLS = 30
_MOST_STEP_RUNS = 60000


@dataclass(frozen=True, slots=True)
class StepProfile:
    """What one step took in a call (the median) beside the least it could: `of_limit` is 1 where the
    machine can do no better, and more where what it moves stays in a cache.
    """

    name: str
    origin: str
    runs_per_call: float
    us_per_call: float
    of_call: float
    gflops_per_second: float
    gbytes_per_second: float
    of_limit: float


@dataclass(frozen=True, slots=True)
class Profile:
    """The steps of a program, the longest first, and what one core of this machine can do at most."""

    steps: tuple[StepProfile, ...]
    us_per_call: float
    threads: int
    limits: Limits


def profile_program(
    path: str, arguments: Sequence[str], threads: int | None, trace: str | None
) -> Profile:
    """Profiles the program at `path`: a `.pt2`, which is compiled for it, or an artefact built with the
    option profile. Inputs without a value are arbitrary. `trace`: a file that the last call is written
    to, for Perfetto or chrome://tracing.

    Raises ArtefactError for artefacts that keep no profile, CompilerNotFoundError where there is no C
    compiler to measure the machine with, OutputError where `trace` cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="castoff-") as folder:
        artefact = path
        if not _is_library(path):
            from ..api import aot_compile

            output = Path(folder) / "profiled.so"
            artefact = aot_compile(path, options={"profile": True}, output=output)
        runner = aot_load(artefact, threads=threads)
        calls, last = _run(runner, arguments)
    limits = measure_limits(resolve_options(None).cc)
    if trace is not None:
        _write_trace(trace, runner.manifest.steps, last)
    return _summary(runner, calls, limits)


def _is_library(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError as error:
        raise ArtefactError(f"cannot read {path}: {error.strerror or error}") from None


def _run(runner: Runner, arguments: Sequence[str]) -> tuple[list[list[StepRun]], list[StepRun]]:
    values = with_arbitrary(parse_values(arguments, runner.manifest), runner.manifest)
    args, kwargs = call_arguments(values, runner.manifest)
    for _ in range(3):
        runner(*args, **kwargs)
    take_steps(runner)
    calls: list[list[StepRun]] = []
    total = 0
    while len(calls) < _CALLS and total < _MOST_STEP_RUNS:
        runner(*args, **kwargs)
        calls.append(take_steps(runner))
        total += len(calls[-1])
    if not calls[-1]:
        raise ArtefactError(f"{runner.path}: no step of the program ran")
    return calls, calls[-1]


def _summary(runner: Runner, calls: Sequence[Sequence[StepRun]], limits: Limits) -> Profile:
    whole = median(call[-1].end_ns - call[0].begin_ns for call in calls) / 1e9
    steps = []
    for number, spec in enumerate(runner.manifest.steps):
        runs = [[run for run in call if run.number == number] for call in calls]
        if any(runs):
            steps.append(_step(spec, runs, whole, limits, runner.threads))
    steps.sort(key=lambda step: -step.us_per_call)
    return Profile(tuple(steps), whole * 1e6, runner.threads, limits)


def _step(
    spec: StepSpec, calls: Sequence[Sequence[StepRun]], whole: float, limits: Limits, threads: int
) -> StepProfile:
    """From the runs of one step, call by call."""
    seconds = median(sum(run.end_ns - run.begin_ns for run in runs) for runs in calls) / 1e9
    operations = median(sum(run.operations for run in runs) for runs in calls)
    moved = median(sum(run.size_bytes for run in runs) for runs in calls)
    rate = 1 / max(seconds, 1e-9)
    return StepProfile(
        spec.name,
        spec.origins[-1] if spec.origins else "",
        sum(map(len, calls)) / len(calls),
        seconds * 1e6,
        seconds / whole if whole else 0,
        operations * rate / 1e9,
        moved * rate / 1e9,
        limits.seconds(operations, moved, threads) * rate,
    )


def _write_trace(path: str, steps: Sequence[StepSpec], runs: Sequence[StepRun]) -> None:
    """The runs as complete events of the trace event format."""
    start = runs[0].begin_ns
    events = [
        {
            "name": steps[run.number].name,
            "cat": "step",
            "ph": "X",
            "pid": 1,
            "tid": 1,
            "ts": (run.begin_ns - start) / 1e3,
            "dur": (run.end_ns - run.begin_ns) / 1e3,
            "args": {
                "origins": list(steps[run.number].origins),
                "bytes": run.size_bytes,
                "operations": run.operations,
            },
        }
        for run in runs
    ]
    text = json.dumps({"traceEvents": events, "displayTimeUnit": "ns"})
    try:
        with written_aside(Path(path)) as file:
            file.write(text.encode())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None


def as_text(profile: Profile, most: int = 40) -> str:
    """The profile as a table."""
    limits = profile.limits
    lines = [
        f"{profile.us_per_call:.1f} us a call in steps, {profile.threads} threads; one core does "
        f"{limits.flops_per_second / 1e9:.0f} GFLOP/s and copies {limits.bytes_per_second / 1e9:.1f} GB/s",
        f"{'us':>9} {'share':>6} {'runs':>6} {'GFLOP/s':>8} {'GB/s':>7} {'of limit':>8}  step",
    ]
    lines += [
        f"{step.us_per_call:9.1f} {step.of_call:6.1%} {step.runs_per_call:6.4g} "
        f"{step.gflops_per_second:8.1f} {step.gbytes_per_second:7.1f} {step.of_limit:8.0%}  "
        f"{step.name}{step.origin and '  ' + step.origin}"
        for step in profile.steps[:most]
    ]
    if len(profile.steps) > most:
        rest = sum(step.us_per_call for step in profile.steps[most:])
        lines.append(f"{rest:9.1f} in {len(profile.steps) - most} more")
    return "\n".join(lines)
