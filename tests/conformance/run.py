"""Runs the conformance corpus: `python -m tests.conformance.run --family ops --mode reference
--match 'special.*' -j 2`.

Prints failures grouped by what they say. `passing/<family>.<mode>.txt` lists the cases that pass;
one of them that fails is a regression and makes the run fail. `--update` adds what passes now to
the list (and takes out what fails, of the cases that ran).
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from castoff.compiler.ops import load_all
from tests.emulation.home import cuda_home_for_tests

from .. import strictness
from .check import MODES, QUICK, check_case, on_device
from .corpus import FAMILIES, Family, find_corpus, register_containers
from .workers import run_tasks

PASSING = Path(__file__).parent / "passing"


@dataclass
class Report:
    """The outcome of a run: the failures by case, and the cases that passed."""

    passed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many cases ran."""
        return len(self.passed) + len(self.failed)


def passing_file(family: str, mode: str) -> Path:
    """Where the cases that pass are listed."""
    return PASSING / f"{family}.{mode}.txt"


def listed_as_passing(family: str, mode: str) -> list[str]:
    """The cases that have to pass."""
    file = passing_file(family, mode)
    return file.read_text().split() if file.exists() else []


def left_open() -> Mapping[str, str]:
    """Cases whose answers PyTorch leaves open, where a device has another than CPUs, and why."""
    lines = (PASSING / "cuda.left_open.txt").read_text().splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


_Task = tuple[Path, str, str, str, Mapping[str, object]]


def _run_one(task: _Task) -> tuple[str | None]:
    """What is wrong with a case, in a tuple: a bare string would mean that the worker died."""
    corpus, family, name, mode, options = task
    try:
        return (check_case(_family(corpus, family).load(name), mode, options),)
    except Exception as error:  # a crash of ours is one failed case, and the others go on
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        return (f"{type(error).__name__} at {place}: {error}",)


_FAMILIES: dict[tuple[Path, str, int], Family] = {}


def _family(corpus: Path, name: str) -> Family:
    key = corpus, name, os.getpid()  # forked processes would share one position in the zip file
    if key not in _FAMILIES:
        register_containers()
        _FAMILIES[key] = Family(corpus, name)
    return _FAMILIES[key]


def run_cases(
    corpus: Path,
    family: str,
    mode: str,
    names: Iterable[str],
    *,
    jobs: int = 1,
    seconds: int = 120,
    options: Mapping[str, object] = QUICK,
) -> Report:
    """Run cases of one family, `jobs` at a time."""
    problems: dict[str, str | None] = {}
    tasks: list[_Task] = [(corpus, family, name, mode, options) for name in names]
    _family(corpus, family)
    load_all()
    for task, outcome in run_tasks(_run_one, tasks, jobs=jobs, seconds=seconds):
        problems[task[2]] = outcome if isinstance(outcome, str) else outcome[0]
    report = Report()
    for name, problem in sorted(problems.items()):
        if problem is None:
            report.passed.append(name)
        else:
            report.failed[name] = problem
    return report


def matching(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The names that match one of the patterns (shell style, without the family), all where there
    is none."""
    if not patterns:
        return list(names)
    return [
        name
        for name in names
        if any(fnmatch.fnmatch(name.partition("/")[2], pattern) for pattern in patterns)
    ]


def print_report(report: Report, *, verbose: bool) -> None:
    """Failures grouped by their text, numbers aside; the largest group last."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, problem in report.failed.items():
        lines = problem.splitlines()
        only_missing = len(lines) > 1 and all(
            ": not registered" in line for line in lines[1:] if not line.startswith("   ")
        )
        if verbose or not only_missing:  # what is missing is listed by operator
            groups[_generalised(problem)].append(name)
    for _, names in sorted(groups.items(), key=lambda group: len(group[1])):
        print(f"\n{len(names)} x {report.failed[names[0]]}")
        shown = names if verbose else names[:6]
        print("    " + "  ".join(shown) + ("" if len(shown) == len(names) else "  …"))


def print_missing(report: Report) -> None:
    """The operators that castoff lacks, by the number of cases they keep from passing."""
    lacking: dict[str, list[str]] = defaultdict(list)
    for name, problem in report.failed.items():
        for target in re.findall(r"^  ([\w.]+): not registered", problem, re.MULTILINE):
            lacking[target].append(name)
    if lacking:
        print("\noperators that are not registered:")
    for target, names in sorted(lacking.items(), key=lambda item: (-len(item[1]), item[0])):
        print(f"  {len(names):4} {target}  {names[0]}")


def _generalised(problem: str) -> str:
    return re.sub(r"[-+]?\d[\d.e+\-]*", "#", problem.replace("\n", " "))[:160]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; exit status 1 for regressions, 2 where there is no corpus."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.run", description=__doc__)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("--mode", choices=MODES, default="reference")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu",
        help="what is compiled for; CUDA without a GPU runs emulated. What passes on CPUs has to pass",
    )  # fmt: skip
    parser.add_argument("--build-only", action="store_true", help="compile, and run nothing")
    parser.add_argument("--match", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--passing", action="store_true", help="only the cases that have to pass")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th of them")
    parser.add_argument("-j", "--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=120, help="time for one case")
    parser.add_argument(
        "--portable",
        action="store_true",
        help="compile as by default: every CPU level or GPU architecture, optimised",
    )
    parser.add_argument(
        "--target-cpu", default=QUICK["target_cpu"], help="the CPU level: %(default)s"
    )
    parser.add_argument("--update", action="store_true", help="rewrite the lists of passing cases")
    strictness.add_arguments(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="name every failing case")
    options = parser.parse_args(arguments)
    strict = strictness.strict_options(warnings=options.warnings, sanitize=options.sanitize)
    corpus = find_corpus()
    if corpus is None:
        print("no corpus: set CASTOFF_CORPUS to its folder", file=sys.stderr)
        return 2
    compile_options = {**QUICK, "target_cpu": options.target_cpu}
    if options.portable:
        compile_options = {"jobs": 1}
    if options.device == "cuda":
        if not options.build_only:
            os.environ["CUDA_HOME"] = cuda_home_for_tests()
        compile_options = on_device(portable=options.portable)
        options.mode, options.update = "compiled", False
    regressions: list[str] = []
    for family in options.family or FAMILIES:
        listed = set(listed_as_passing(family, options.mode))
        names = matching(_family(corpus, family).names, options.match)
        if options.passing:
            names = [name for name in names if name in listed]
        names = names[:: options.every]
        started = time.monotonic()
        report = run_cases(
            corpus,
            family,
            "built" if options.build_only else options.mode,
            names,
            jobs=options.jobs,
            seconds=options.seconds,
            options={**compile_options, **strict},
        )
        print_report(report, verbose=options.verbose)
        print_missing(report)
        elapsed = time.monotonic() - started
        print(
            f"\n{family}, {options.mode} for {options.device}: {len(report.passed)} of {report.total} "
            f"{'build' if options.build_only else 'pass'} "
            f"({elapsed:.0f} s)"
        )
        broken = sorted(listed & report.failed.keys())
        if options.device == "cuda" and (open_ones := set(broken) & left_open().keys()):
            broken = [name for name in broken if name not in open_ones]
            print(f"left open by PyTorch, and different: {' '.join(sorted(open_ones))}")
        if options.update:
            kept = (listed - report.failed.keys()) | set(report.passed)
            PASSING.mkdir(exist_ok=True)
            passing_file(family, options.mode).write_text("".join(f"{n}\n" for n in sorted(kept)))
        elif broken:
            print(f"no longer passing: {' '.join(broken)}")
            regressions += broken
    return 1 if regressions else 0


if __name__ == "__main__":
    sys.exit(main())
