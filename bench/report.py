"""Results as a Markdown table and as JSON, the table in the file and on the terminal the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import geometric_mean

from castoff.compiler.toolchain.limits import Limits

from .cold import Build, Start
from .compare import Comparison
from .names import FLOAT32
from .statistics import Spread, ratio_to_best_of, ratios_to_best, spread

RESULTS = Path(__file__).resolve().parent / "results"


def comparison_table(comparisons: Sequence[Comparison], limits: Limits, threads: int) -> str:
    """One row per model and engine: time with quartiles, processor time, ratio to the best, share of
    the machine's limit, error.
    """
    rows = []
    for comparison in comparisons:
        wall, cpu = rounds_of(comparison, "wall"), rounds_of(comparison, "cpu")
        ratios = ratios_to_best(wall) if wall else {}
        least = limits.seconds(comparison.work.flops, comparison.work.size_bytes, threads)
        for engine in sorted(ratios, key=lambda name: ratios[name].median):
            on_wall = spread(wall[engine])
            rows.append(
                (
                    comparison.model,
                    engine,
                    milliseconds(on_wall),
                    f"{1e3 * spread(cpu[engine]).median:.4g}",
                    ratio_text(ratios[engine]),
                    f"{least / on_wall.median:.0%}",
                    f"{comparison.errors[engine]:.0e}",
                )
            )
        rows += [
            (comparison.model, engine, "failed", "", "", "", reason[:60])
            for engine, reason in comparison.failures.items()
        ]
    titles = (
        "model",
        "engine",
        "ms (quartiles)",
        "ms of processor",
        "of the best",
        "of limit",
        "error",
    )
    return table(titles, rows)


def summary_table(comparisons: Sequence[Comparison]) -> str:
    """One row per model: castoff over the best of the others, on both clocks; then the geometric mean
    of the medians of those in float32.
    """
    rows = []
    medians: list[tuple[float, ...]] = []
    for comparison in comparisons:
        ratios = [
            ratio_to_best_of(rounds_of(comparison, clock), "castoff") for clock in ("wall", "cpu")
        ]
        if ratios[0] is not None and ratios[1] is not None:
            rows.append((comparison.model, *(ratio_text(ratio) for ratio in ratios if ratio)))
            if comparison.model in FLOAT32:
                medians.append(tuple(ratio.median for ratio in ratios if ratio))
    if len(medians) > 1:
        means = (f"{geometric_mean(clock):.2f}" for clock in zip(*medians, strict=True))
        rows.append((f"geometric mean of {len(medians)} in float32", *means))
    return table(("model", "castoff / best peer, wall", "processor time"), rows)


def rounds_of(comparison: Comparison, clock: str) -> dict[str, tuple[float, ...]]:
    """The rounds of every engine that ran, by one clock."""
    return {
        engine: times.cpu if clock == "cpu" else times.wall
        for engine, times in comparison.times.items()
    }


def milliseconds(seconds: Spread) -> str:
    """A median with its quartiles, four digits."""
    median, lower, upper = (1e3 * x for x in (seconds.median, seconds.lower, seconds.upper))
    return f"{median:.4g} ({lower:.4g}-{upper:.4g})"


def ratio_text(ratio: Spread) -> str:
    """A ratio with its quartiles."""
    return f"{ratio.median:.2f} ({ratio.lower:.2f}-{ratio.upper:.2f})"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    widths = [max(len(row[i]) for row in (titles, *rows)) for i in range(len(titles))]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return "| " + " | ".join(padded) + " |"

    return "\n".join([line(titles), line(["-" * width for width in widths]), *map(line, rows)])


def limits_table(limits: Limits) -> str:
    """What one core can do at most."""
    rows = [
        ("float32 multiply-adds on registers", f"{limits.flops_per_second / 1e9:.1f} GFLOP/s"),
        ("copying 256 MiB, read and written", f"{limits.bytes_per_second / 1e9:.1f} GB/s"),
    ]
    return table(("one core", "at most"), rows)


def builds_table(builds: Mapping[str, Build]) -> str:
    """One row per engine: seconds to build, and over the slowest of them."""
    slowest = max((spread(build.wall).median for build in builds.values()), default=1.0)
    busiest = max((spread(build.cpu).median for build in builds.values()), default=1.0)
    rows = []
    for engine, build in builds.items():
        wall, cpu = spread(build.wall).median, spread(build.cpu).median
        row = (engine, f"{wall:.1f}", f"{wall / slowest:.3f}", f"{cpu:.1f}", f"{cpu / busiest:.3f}")
        rows.append(row)
    titles = ("engine", "seconds", "of the slowest", "of the processor", "of the slowest")
    return table(titles, rows)


def starts_table(starts: Mapping[str, Start]) -> str:
    """One row per program: time and memory, and over the first of them, round by round."""
    first = next(iter(starts.values()))
    rows = []
    for name, start in starts.items():
        wall, cpu = (
            spread([mine / other for mine, other in zip(values, others, strict=True)])
            for values, others in ((start.wall, first.wall), (start.cpu, first.cpu))
        )
        times = milliseconds(start.wall_spread)
        peak = f"{start.peak_bytes / 2**20:.1f} MiB"
        rows.append((name, times, ratio_text(wall), ratio_text(cpu), peak))
    titles = ("process", "ms (quartiles)", "of the first", "of its processor time", "peak memory")
    return table(titles, rows)


def about(facts: Mapping[str, str], versions: Mapping[str, str], limits: Limits | None) -> str:
    """Machine, versions and limits, one line each."""
    pairs = [*facts.items(), *versions.items()]
    if limits is not None:
        pairs.append(
            ("float32 multiply-adds, one core", f"{limits.flops_per_second / 1e9:.1f} GFLOP/s")
        )
        pairs.append(("copying, one core", f"{limits.bytes_per_second / 1e9:.1f} GB/s"))
    return "\n".join(f"- {name}: {value}" for name, value in pairs)


def comparison_record(comparison: Comparison) -> dict[str, object]:
    """What is kept as JSON of one model: every round, not only medians."""
    return {
        "model": comparison.model,
        "least_work": asdict(comparison.work),
        "times": {engine: asdict(times) for engine, times in comparison.times.items()},
        "errors": dict(comparison.errors),
        "failures": dict(comparison.failures),
    }


def write(name: str, title: str, text: str, record: Mapping[str, object], folder: Path) -> Path:
    """Writes NAME.md and NAME.json into the folder; returns the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    path.write_text(f"# {title}\n\n{text}\n", encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path
