"""Medians, quartiles and ratios of interleaved rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """A median between its quartiles."""

    lower: float
    median: float
    upper: float


def quantile(values: Sequence[float], fraction: float) -> float:
    """Linear between the two nearest of the sorted values."""
    ordered = sorted(values)
    position = fraction * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def spread(values: Sequence[float]) -> Spread:
    """Lower quartile, median and upper quartile; values are not empty."""
    return Spread(*(quantile(values, fraction) for fraction in (0.25, 0.5, 0.75)))


def ratios_to_best(rounds: Mapping[str, Sequence[float]]) -> dict[str, Spread]:
    """Each engine's time over that of the best engine, round by round, so that slow phases of the
    machine cancel. The best engine is the one with the smallest median.
    """
    best = min(rounds, key=lambda name: quantile(rounds[name], 0.5))
    return {
        name: spread([mine / other for mine, other in zip(times, rounds[best], strict=True)])
        for name, times in rounds.items()
    }


def ratio_to_best_of(rounds: Mapping[str, Sequence[float]], name: str) -> Spread | None:
    """One engine's time over the best of the others, round by round; None without others."""
    others = {other: times for other, times in rounds.items() if other != name}
    if name not in rounds or not others:
        return None
    best = min(others, key=lambda other: quantile(others[other], 0.5))
    return spread([mine / other for mine, other in zip(rounds[name], others[best], strict=True)])
