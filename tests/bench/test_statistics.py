"""Medians, quartiles and ratios against values counted by hand."""

from __future__ import annotations

import pytest

from bench.report import table
from bench.statistics import Spread, quantile, ratio_to_best_of, ratios_to_best, spread
from castoff.compiler.toolchain.limits import Limits


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], Spread(3.0, 3.0, 3.0)),
        ([5.0, 1.0, 3.0], Spread(2.0, 3.0, 4.0)),
        ([1.0, 2.0, 3.0, 4.0], Spread(1.75, 2.5, 3.25)),
    ],
    ids=["one value", "odd count", "even count"],
)
def test_spread_is_the_quartiles(values: list[float], expected: Spread) -> None:
    assert spread(values) == expected


def test_quantile_reaches_both_ends() -> None:
    assert quantile([2.0, 1.0, 9.0], 0.0) == 1.0
    assert quantile([2.0, 1.0, 9.0], 1.0) == 9.0


def test_ratios_are_taken_round_by_round_so_that_slow_phases_cancel() -> None:
    rounds = {"fast": [1.0, 10.0, 2.0], "slow": [2.0, 20.0, 4.0]}
    ratios = ratios_to_best(rounds)
    assert ratios["slow"] == Spread(2.0, 2.0, 2.0)
    assert ratios["fast"] == Spread(1.0, 1.0, 1.0)


def test_ratio_to_the_best_of_the_others_may_be_below_one() -> None:
    rounds = {"castoff": [1.0, 1.0], "a": [4.0, 4.0], "b": [2.0, 2.0]}
    assert ratio_to_best_of(rounds, "castoff") == Spread(0.5, 0.5, 0.5)
    assert ratio_to_best_of({"castoff": [1.0]}, "castoff") is None


def test_limits_are_the_larger_of_computing_and_moving() -> None:
    limits = Limits(flops_per_second=100.0, bytes_per_second=10.0)
    assert limits.seconds(1000, 10, threads=2) == 5.0
    assert limits.seconds(10, 100, threads=2) == 10.0


def test_table_is_markdown_with_aligned_columns() -> None:
    assert table(("a", "long"), [("1", "2")]) == "| a | long |\n| - | ---- |\n| 1 | 2    |"
