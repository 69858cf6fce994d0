"""What must be reached on a GPU, beside what was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean

from tests.conformance.check import MOST_CODE_BYTES

from .peers import ATTENTION, BATCHES, BUILT_MODEL, CALL, MODELS, PRODUCT, Compared
from .rates import Rate


@dataclass(frozen=True, slots=True)
class Goal:
    """Something that is measured: what is wanted, what was reached; `None` where nothing was measured."""

    what: str
    wanted: str
    reached: str = ""
    is_reached: bool | None = None

    @property
    def row(self) -> tuple[str, str, str, str]:
        """A line of a table."""
        verdict = {True: "yes", False: "no", None: "not measured"}[self.is_reached]
        return (self.what, self.wanted, self.reached, verdict)


def at_least(what: str, limit: float, value: float | None) -> Goal:
    """A share that has to be as large."""
    if value is None:
        return Goal(what, f"{limit:.0%}")
    return Goal(what, f"{limit:.0%}", f"{value:.1%}", value >= limit)


def at_most(what: str, limit: float, value: float | None, unit: str = "") -> Goal:
    """A number that may be as large."""
    wanted = f"at most {limit:.3g}{unit}"
    if value is None:
        return Goal(what, wanted)
    return Goal(what, wanted, f"{value:.3g}{unit}", value <= limit)


def goals(
    outcomes: Iterable[str], rates: Sequence[Rate], compared: Mapping[str, Compared | str]
) -> Iterator[Goal]:
    """Each thing that must be reached; outcomes of suites say "16 of 17 pass"."""
    yield at_least("answers that are right, of cases that pass on CPUs", 0.98, passing(outcomes))
    for rate in rates:
        yield at_least(f"{rate.name}: share of a copy's bandwidth", 0.90, rate.share)
    if not rates:
        yield at_least("share of a copy's bandwidth", 0.90, None)
    measured = {name: found for name, found in compared.items() if isinstance(found, Compared)}
    product = ratio(measured.get(PRODUCT), "eager", "castoff")
    yield at_least(f"{PRODUCT}: share of cuBLASLt's rate", 0.97, product)
    attention = ratio(measured.get(ATTENTION), "eager", "castoff")
    yield at_least(f"{ATTENTION}: share of PyTorch's rate", 0.70, attention)
    for batch in BATCHES:
        rows = [measured.get(f"{name}, batch {batch}") for name in MODELS]
        ratios = [r for r in (ratio(row, "castoff", "AOTInductor") for row in rows) if r]
        what = f"{len(ratios)} of {len(MODELS)} models, batch {batch}: time over AOTInductor's"
        goal = at_most(what, 1.0, geometric_mean(ratios) if ratios else None)
        yield of_all(goal, len(ratios), len(MODELS))
    call = ratio(measured.get(CALL), "castoff, graphs", "AOTInductor")
    yield at_most(f"{CALL}, graphs on: time over AOTInductor's", 1.0, call)
    sizes = [row.code_bytes / 1e6 for row in measured.values() if row.code_bytes]
    largest = at_most(
        "the largest file, beside its weights",
        MOST_CODE_BYTES / 1e6,
        max(sizes, default=None),
        " MB",
    )
    yield of_all(largest, len(sizes), len(MODELS) * len(BATCHES))
    bert = measured.get(f"{BUILT_MODEL}, batch 1")
    build = bert and bert.build_seconds and bert.build_seconds / bert.peer_build_seconds
    yield at_most(
        f"{BUILT_MODEL}, built on two cores: time over AOTInductor's", 1 / 3, build or None
    )


def of_all(goal: Goal, count: int, wanted: int) -> Goal:
    """The goal, which a part of what it is about can miss but not reach."""
    return replace(goal, is_reached=None) if goal.is_reached and count < wanted else goal


def passing(outcomes: Iterable[str]) -> float | None:
    """The share of cases of all suites that count them as "16 of 17 pass"."""
    found = [re.search(r"(\d+) of (\d+) pass\b", outcome) for outcome in outcomes]
    counts = [(int(m[1]), int(m[2])) for m in found if m]
    total = sum(count for _, count in counts)
    return sum(passed for passed, _ in counts) / total if total else None


def ratio(row: Compared | None, first: str, second: str) -> float | None:
    """The time of one engine over that of another, where both were measured."""
    times = {} if row is None else row.milliseconds
    return times[first] / times[second] if first in times and second in times else None
