"""The sweep: every registered operator, every type PyTorch takes for it, static and symbolic sizes.

`python -m tests.ops.sweep -j 2` runs all samples and compares: what is compiled, many samples to a program, with the
reference interpreter, and this with PyTorch where it is installed. `left_out.txt` has what no sample covers, and why.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from castoff.compiler import ops
from castoff.compiler.ir.graph import Graph, Value
from castoff.compiler.ops.samples import Sample, all_samples

from .. import strictness
from ..conformance.workers import run_tasks
from ..graphs import QUICK, load, reference
from .sampling import (
    SampleBuilder,
    add_sample,
    difference,
    has_several_answers,
    is_open,
    reference_results,
    symbolic_sizes,
    torch_results,
)

GROUP = 60
"""How many samples make one program: a compiler call is dear, and so is a program of thousands of lines."""


@dataclass(frozen=True, slots=True)
class Case:
    """A sample, and which of its sizes are symbols (none: a static program)."""

    sample: Sample
    symbolic: frozenset[int] = frozenset()

    def __str__(self) -> str:
        sizes = ", ".join(map(str, sorted(self.symbolic)))
        return f"{self.sample}" + (f" with {sizes} symbolic" if sizes else "")


Wrong = list[tuple[Case, str]]
"""Cases and what is wrong with each."""


def static_cases(every: int = 1, part: int = 0, match: str = "") -> list[Case]:
    """All samples, or a share of them, of the targets that contain `match`."""
    return [Case(sample) for sample in _share(every, part) if match in sample.target]


def symbolic_cases(every: int = 1, part: int = 0, match: str = "") -> list[Case]:
    """The same with as many sizes as can be symbols; those without any are left out."""
    static = static_cases(every, part, match)
    cases = (Case(case.sample, symbolic_sizes(case.sample)) for case in static)
    return [case for case in cases if case.symbolic]


def calls() -> list[Sample]:
    """The first of the samples that differ by nothing but types."""
    found: dict[str, Sample] = {}
    for group in all_samples().values():
        for sample in group:
            found.setdefault(_without_types(sample), sample)
    return [*found.values()]


def _without_types(sample: Sample) -> str:
    types = "|".join(sorted((dtype.value for dtype in sample.dtypes), key=len, reverse=True))
    return sample.target + (re.sub(rf"\b({types})\b", "T", sample.text) if types else sample.text)


def _share(every: int, part: int) -> list[Sample]:
    """Samples number `part`, `part + every`, … of all, mixed where that is not all of them: the parts are disjoint."""
    samples = [sample for group in all_samples().values() for sample in group]
    if every == 1:
        return samples
    return random.Random(0).sample(samples, len(samples))[part::every]


# ---------------------------------------------------------------------------------------- compiled


@dataclass(frozen=True, slots=True)
class Group:
    """Cases as one program: its graph, the inputs, and which outputs belong to which case."""

    cases: tuple[Case, ...]
    spans: tuple[tuple[int, int], ...]
    graph: Graph
    arrays: tuple[np.ndarray, ...]


def grouped(cases: Sequence[Case]) -> Group:
    """Cases as one program."""
    b = SampleBuilder()
    outputs: list[Value] = []
    arrays: list[np.ndarray] = []
    spans: list[tuple[int, int]] = []
    for case in cases:
        results, given = add_sample(b, case.sample, case.symbolic)
        spans.append((len(outputs), len(outputs) + len(results)))
        outputs += [result if isinstance(result, Value) else b.tensor(result) for result in results]
        arrays += given
    return Group(tuple(cases), tuple(spans), b.graph(*outputs), tuple(arrays))


def compiled_differences(cases: Sequence[Case], options: Mapping[str, object]) -> Wrong:
    """The cases whose compiled results are not the reference's."""
    group = grouped(cases)
    wanted = reference(group.graph, *group.arrays)
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        program = load(group.graph, Path(folder), **options)
        got = [np.asarray(array) for array in program(*group.arrays)]
    wrong: Wrong = []
    for case, (start, stop) in zip(group.cases, group.spans, strict=True):
        values = not has_several_answers(case.sample.target)
        what = difference(case.sample, got[start:stop], wanted[start:stop], values=values)
        if what:
            wrong.append((case, f"compiled: {what}"))
    return wrong


@dataclass(frozen=True, slots=True)
class _Task:
    cases: tuple[Case, ...]
    options: Mapping[str, object]


def _run_task(task: _Task) -> Wrong | str:
    try:
        return compiled_differences(task.cases, task.options)
    except Exception as error:  # whatever it is, it is what is wrong with one of the cases
        return f"{type(error).__name__}: {error}"


def compiled_wrong(
    cases: Sequence[Case], options: Mapping[str, object] | None = None, *, jobs: int = 1
) -> Wrong:
    """What is wrong with cases, compiled; a program that cannot be made or run is halved until it is one case."""
    tasks = [
        _Task(tuple(cases[start : start + GROUP]), {"jobs": 1, **(options or {})})
        for start in range(0, len(cases), GROUP)
    ]
    wrong: Wrong = []
    done = 0
    while tasks:
        halves: list[_Task] = []
        for task, outcome in run_tasks(_run_task, tasks, jobs=jobs, seconds=1800):
            if isinstance(outcome, list):
                wrong += outcome
                done += len(task.cases)
            elif len(task.cases) == 1:
                wrong.append((task.cases[0], outcome))
                done += 1
            else:
                middle = len(task.cases) // 2
                halves += [
                    _Task(part, task.options) for part in (task.cases[:middle], task.cases[middle:])
                ]
            print(f"\r{done} of {len(cases)} compiled, {len(wrong)} wrong", end="", file=sys.stderr)
        tasks = halves
    return wrong


# ----------------------------------------------------------------------------------------- PyTorch


def torch_wrong(cases: Iterable[Case]) -> Iterator[tuple[Case, str]]:
    """The cases where the reference interpreter gives something else than PyTorch."""
    import torch.ao.quantization.fx._decomposed  # noqa: F401 - registers quantized_decomposed

    for case in cases:
        wanted = torch_results(case.sample)
        if wanted is None:
            continue
        values = not is_open(case.sample.target)
        got = reference_results(case.sample, case.symbolic)
        if what := difference(case.sample, got, wanted, values=values):
            yield case, f"PyTorch: {what}"


# ------------------------------------------------------------------------------- the command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the sweep; the exit status is 1 where something differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.ops.sweep", description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each N-th case, mixed")
    parser.add_argument("--part", type=int, default=0, metavar="K", help="which of the N parts")
    parser.add_argument("--match", default="", help="only targets that contain this")
    parser.add_argument("-j", "--jobs", type=int, default=1)
    parser.add_argument(
        "--target-cpu", default=QUICK["target_cpu"], help="the CPU level: %(default)s"
    )
    strictness.add_arguments(parser)
    options = parser.parse_args(arguments)
    strict = strictness.strict_options(warnings=options.warnings, sanitize=options.sanitize)
    started = time.monotonic()
    share = options.every, options.part, options.match
    cases = static_cases(*share) + symbolic_cases(*share)
    compiled = {**strict, "target_cpu": options.target_cpu}
    wrong = compiled_wrong(cases, compiled, jobs=options.jobs)
    print(file=sys.stderr)
    if not strict:  # PyTorch has nothing to say about how something is compiled
        try:
            wrong += torch_wrong(cases)
        except ImportError:
            print("PyTorch is not installed: compared with the reference alone")
    for case, what in wrong:
        print(f"{case}: {what[:2000]}")
    failed = {str(case) for case, _ in wrong}
    print(
        f"{len(cases) - len(failed)} of {len(cases)} cases pass, "
        f"{sum(bool(case.symbolic) for case in cases)} of them with symbolic sizes, "
        f"{len({case.sample.target for case in cases})} operators "
        f"({time.monotonic() - started:.0f} s)"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    ops.load_families()
    sys.exit(main())
