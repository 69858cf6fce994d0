"""Random graphs, compiled and compared with their NumPy reference.

`python -m tests.lowering.fuzz --seconds 600 --seed 1` looks for programs whose compiled form differs from the
reference, from itself with another number of threads, or that cannot be compiled; each failure is
reduced to the seed of one small program, and `--only SEED` runs that one again.

A *program* here is a handful of operators over inputs of its own; many share one graph, so that one
run of the C compiler serves them all. Errors are bounded as programs grow: every value knows how
large it can be and how far rounding can have moved it, and operators with steps (comparisons,
argmax, sort) are only given values that are exact.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from castoff.compiler.ir.text import graph_text
from castoff.runtime.runner import aot_load

from ..graphs import build, reference
from .random_elements import (
    argument,
    binary,
    compare,
    convert,
    filled,
    normalise,
    reduce_,
    select,
    unary,
    view,
)
from .random_operators import (
    attend,
    convolve,
    gather,
    join,
    loop,
    order,
    pad,
    pool,
    product,
    scatter,
)
from .random_programs import ROUNDING, Item, Maker, Operator

OPERATORS: list[Operator] = [
    *[unary] * 4, *[binary] * 8, *[compare] * 2, select, filled, *[convert] * 2, *[reduce_] * 5, argument,
    *[normalise] * 5, *[view] * 9, *[join] * 3, *[pad] * 2, *[gather] * 2, *[scatter] * 2, *[product] * 3,
    convolve, attend, pool, order, loop,
]  # fmt: skip


RUNS = ((7, 5), (0, 1), (1, 1), (33, 64), (2, 17))
"""Values of the two symbols."""


def make(seeds: Sequence[int], is_symbolic: bool) -> Maker:
    """One graph with the programs of these seeds."""
    maker = Maker(is_symbolic)
    for seed in seeds:
        maker.program(seed, OPERATORS)
    return maker


def check(maker: Maker, folder: Path, **options: object) -> list[tuple[int, str]]:
    """(seed, what is wrong) of every output that is not what the reference gives."""
    graph = maker.graph()
    path = build(graph, folder, **options)
    problems: list[tuple[int, str]] = []
    for number, values in enumerate(RUNS if maker.symbols else RUNS[:1]):
        arrays = maker.arrays(number, values)
        want = reference(graph, *arrays)
        got = aot_load(str(path), threads=1)(*arrays)
        again = aot_load(str(path), threads=3)(*arrays)
        for seed, item, x, y, z in zip(maker.owner, maker.outputs, got, again, want, strict=True):
            where = f"at {values}: {item.value.name} {item.value.type}"
            if x.tobytes() != y.tobytes():
                problems.append((seed, f"{where}: three threads give other bits than one"))
            if (said := difference(x, z, item)) is not None:
                problems.append((seed, f"{where}: {said}"))
    return problems


def difference(got: np.ndarray, want: np.ndarray, item: Item) -> str | None:
    """What is wrong with an output, if anything is."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{got.shape} rather than {want.dtype}{want.shape}"
    if item.dtype not in ROUNDING:
        return (
            None
            if np.array_equal(got, want)
            else f"{int((got != want).sum())} of {got.size} elements differ"
        )
    wide = np.complex128 if item.dtype.is_complex else np.float64
    a, b = got.astype(wide), want.astype(wide)
    allowed = 4 * item.error + ROUNDING[item.dtype] * (1 + np.abs(b))
    with np.errstate(all="ignore"):
        wrong = ~((np.abs(a - b) <= allowed) | (np.isnan(a) & np.isnan(b)) | (a == b))
    if not wrong.any():
        return None
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{int(wrong.sum())} of {got.size} elements differ, {place} is {got[place]}, not {want[place]}"


def investigate(seeds: Sequence[int], is_symbolic: bool, **options: object) -> list[str]:
    """What is wrong with these programs, each alone where it is wrong alone too."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            problems = check(make(seeds, is_symbolic), Path(folder), **options)
        except Exception as error:
            if len(seeds) == 1:
                said = "".join(traceback.format_exception(error))[-1500:]
                return [f"seed {seeds[0]} symbolic={is_symbolic}: {said}"]
            half = len(seeds) // 2
            found = [
                text
                for part in (seeds[:half], seeds[half:])
                for text in investigate(part, is_symbolic, **options)
            ]
            return found or [
                f"seeds {seeds} fail together only: {type(error).__name__}: {str(error)[:500]}"
            ]
    return [f"seed {seed} symbolic={is_symbolic}: {said}" for seed, said in problems]


def main() -> int:
    """The command: nothing found is exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*", help="seeds of single programs")
    parser.add_argument("--symbolic", action="store_true", help="with --only: sizes are symbols")
    parser.add_argument("--programs", type=int, default=25, help="programs in one artefact")
    parser.add_argument("--level", default="x86-64-v3", help="CPU level")
    parser.add_argument("--show", action="store_true", help="with --only: print the graph")
    arguments = parser.parse_args()
    if arguments.only:
        for seed in arguments.only:
            if arguments.show:
                print(graph_text(make([seed], arguments.symbolic).graph()))
            print(
                "\n".join(investigate([seed], arguments.symbolic, target_cpu=arguments.level))
                or "fine"
            )
        return 0
    end = time.monotonic() + arguments.seconds
    number, count, failures = arguments.seed * 1_000_000, 0, 0
    while time.monotonic() < end:
        rng = random.Random(number)
        seeds = range(number, number + arguments.programs)
        for text in investigate(seeds, rng.random() < 0.5, target_cpu=arguments.level):
            failures += 1
            print(text, flush=True)
        number += arguments.programs
        count += arguments.programs
        print(f"-- {count} programs, {failures} failures", file=sys.stderr, flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
