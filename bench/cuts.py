"""`build.py bench cuts`: measures how the products of the models are best cut and writes the compiler's table."""

from __future__ import annotations

from collections.abc import Iterable

from castoff.compiler import api
from castoff.compiler.lowering.choices import Choices
from castoff.compiler.lowering.lower import lower
from castoff.compiler.lowering.tuning import CUTS, RULES, ProductShape, cuts_text
from castoff.compiler.observe import Observer
from castoff.compiler.options import CompileOptions
from castoff.compiler.targets import cpu
from castoff.compiler.toolchain.tune import measured_cuts, shapes_to_tune

from .case import Case
from .machine import machine

LEVELS = ("x86-64-v3", "x86-64-v4")
LEAST_GAIN = 0.03
"""Share of the time a cut must save: processors other than the one it was measured on take it too."""


def write_cuts(cases: Iterable[Case]) -> str:
    """Measures the float32 products of the cases' programs and replaces `cuts.json`; returns a line that says so."""
    products: set[ProductShape] = set()
    for case in cases:
        products |= set(products_of(case))
    levels = [cpu.LEVELS[name] for name in LEVELS]
    cuts = measured_cuts(sorted(products), levels, least_gain=LEAST_GAIN)
    facts = machine()
    measured_on = {name: facts[name] for name in ("processor", "compiler", "date")}
    CUTS.write_text(cuts_text(cuts, measured_on), encoding="utf-8")
    return f"{len(products)} products measured, {sum(map(len, cuts.values()))} cuts beat the rules: {CUTS}"


def products_of(case: Case) -> list[ProductShape]:
    """The shapes of the products of a program that a cut can be chosen for."""
    observer = Observer(CompileOptions())
    exported = api.read_stage(case.float32_program, observer)
    graph = api.graph_stage(exported, observer).graph
    products, _ = shapes_to_tune(lower(graph, Choices(tuning=RULES)).steps)
    return products
