"""Compares engines on models, in turns, and checks every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from .case import Case, Terms, Work
from .interleave import Times, time_in_turns
from .store import Store
from .workers import Place, Worker, WorkerFailed


@dataclass(frozen=True, slots=True)
class Comparison:
    """One model: times and largest relative error of each engine that ran, and why others did not."""

    model: str
    work: Work
    terms: Terms
    times: Mapping[str, Times]
    errors: Mapping[str, float]
    failures: Mapping[str, str]


def compare(
    case: Case,
    versions: Mapping[str, str],
    store: Store,
    place: Place,
    seconds: float,
    rounds: int,
) -> Comparison:
    """Builds what is missing, loads one worker per engine, checks them and times them in turns."""
    errors: dict[str, float] = {}
    failures: dict[str, str] = {}
    with ExitStack() as opened:
        workers: dict[str, Worker] = {}
        for engine, version in versions.items():
            try:
                folder = store.artefact(case, engine, version, place)
                log = store.log(case, engine)
                worker = opened.enter_context(
                    Worker("run", engine, case.folder, folder, place, log)
                )
                errors[engine] = checked_error(worker.answer())
            except WorkerFailed as error:
                failures[engine] = str(error)
                continue
            workers[engine] = worker
        times = time_in_turns(workers, seconds, rounds) if workers else {}
    return Comparison(case.name, case.work, case.terms, times, errors, failures)


def checked_error(answer: Mapping[str, object]) -> float:
    """The largest relative error of any call."""
    values = answer["relative_errors"]
    assert isinstance(values, Sequence)
    return max(float(value) for value in values)


def wrong_answers(comparisons: Sequence[Comparison]) -> list[str]:
    """A sentence for each engine whose answers are further off than the tolerance."""
    return [
        f"{comparison.model}: {engine} is off by {error:.1e}, more than {comparison.terms.tolerance:.0e}"
        for comparison in comparisons
        for engine, error in comparison.errors.items()
        if error > comparison.terms.tolerance
    ]
