"""Times loaded workers in turns: round robin, the order rotated each round."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from .statistics import Spread, spread
from .workers import Worker


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one call in each round, by the wall and of the processor."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def wall_spread(self) -> Spread:
        """Quartiles over the rounds."""
        return spread(self.wall)


def time_in_turns(workers: Mapping[str, Worker], seconds: float, rounds: int) -> dict[str, Times]:
    """Asks each worker for a share of calls in each round; about `seconds` in all."""
    counts = {
        name: calls_per_turn(worker, seconds / rounds / len(workers))
        for name, worker in workers.items()
    }
    wall: dict[str, list[float]] = {name: [] for name in workers}
    cpu: dict[str, list[float]] = {name: [] for name in workers}
    names = list(workers)
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            on_wall, on_processor = workers[name].ask(counts[name])
            wall[name].append(on_wall)
            cpu[name].append(on_processor)
    return {name: Times(tuple(wall[name]), tuple(cpu[name])) for name in names}


def calls_per_turn(worker: Worker, seconds: float) -> int:
    """How many calls fill that time, at least 1; also warms the worker up."""
    count = 1
    while True:
        start = time.perf_counter()
        per_call, _ = worker.ask(count)
        spent = time.perf_counter() - start
        if spent >= min(seconds, 0.1):
            return max(1, round(seconds / per_call))
        count *= max(2, min(10, round(0.1 / max(spent, 1e-6))))
