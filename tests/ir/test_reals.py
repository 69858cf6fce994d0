"""Integers that come of real numbers are those that float64 gives, in every place that works them out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from castoff.compiler.frontends.arguments import as_value
from castoff.compiler.ir import reals, shapes
from castoff.compiler.ir.reals import Formula, Operand, Real

from ..graphs import QUICK, GraphBuilder, load, reference, size

N, M = Operand(0), Operand(1)


def step(name: str, *args: Formula) -> Real:
    return Real(name, args)


CASES: list[tuple[Real, Callable[[int, int], int]]] = [
    (step("trunc", step("div", N, 0.7)), lambda n, m: math.trunc(n / 0.7)),
    (step("trunc", step("add", 1.0, step("mul", 0.7, N))), lambda n, m: math.trunc(1.0 + 0.7 * n)),
    (step("ceil", step("mul", 0.1, N)), lambda n, m: math.ceil(0.1 * n)),
    (step("floor", step("mul", -0.1, N)), lambda n, m: math.floor(-0.1 * n)),
    (step("trunc", step("add", step("mul", -0.7, N), M)), lambda n, m: math.trunc(-0.7 * n + m)),
    (step("round", step("mul", 0.5, N)), lambda n, m: round(0.5 * n)),
    (step("round", step("add", step("mul", 0.1, N), step("mul", 0.2, M))),
     lambda n, m: round(0.1 * n + 0.2 * m)),
    (step("trunc", step("pow", step("mul", 0.3, N), 2.0)), lambda n, m: math.trunc((0.3 * n) ** 2.0)),
    (step("trunc", step("pow", N, 0.5)), lambda n, m: math.trunc(float(n) ** 0.5)),
    (step("floor", step("sqrt", N)), lambda n, m: math.floor(math.sqrt(n))),
    (step("ceil", step("div", N, M)), lambda n, m: math.ceil(n / m)),
    (step("trunc", step("max", step("mul", 0.7, N), step("abs", step("mul", -0.9, M)))),
     lambda n, m: math.trunc(max(0.7 * n, abs(-0.9 * m)))),
    (step("lt", step("mul", 0.7, N), step("min", 7.0, M)), lambda n, m: 0.7 * n < min(7.0, m)),
    (step("eq", step("mul", 0.1, N), 0.3), lambda n, m: 0.1 * n == 0.3),
    (step("le", 63.0, step("mul", 0.7, N)), lambda n, m: 0.7 * n >= 63.0),
]  # fmt: skip


def test_formulas_are_worked_out_in_float64_by_python_and_in_c(tmp_path: Path) -> None:
    n, m = size("n", 0, 400), size("m", 1, 9)
    dims = [shapes.real(formula, (n, m)) for formula, _ in CASES]
    b = GraphBuilder()
    x = b.input("x", n, m)
    graph = b.graph(*(as_value(dim, b) for dim in dims), x)
    run = load(graph, tmp_path, **QUICK)
    for count in (*range(101), 110, 333, 390):
        given = {"n": count, "m": 1 + count % 9}
        array = np.zeros((count, given["m"]), np.float32)
        got, expected = run(array), reference(graph, array)
        for number, (formula, python) in enumerate(CASES):
            want = int(python(count, given["m"]))
            where = f"{formula} of {given}"
            assert shapes.evaluate(dims[number], given) == want, where
            assert int(expected[number]) == int(got[number]) == want, where
            low, high = shapes.bounds(dims[number])
            assert low <= want <= high, where


def test_what_is_no_number_is_no_size() -> None:
    for value, expected in ((0.0, -reals.LARGEST), (1.0, reals.LARGEST), (-1.0, -reals.LARGEST)):
        assert reals.evaluate(step("trunc", step("div", value, N)), (0,)) == expected
    assert reals.evaluate(step("floor", step("pow", N, 0.5)), (-1,)) == -reals.LARGEST
    assert reals.evaluate(step("ceil", step("pow", 1e200, N)), (2,)) == reals.LARGEST
    n = shapes.symbol("n", -5, 5)
    assert shapes.bounds(shapes.real(step("trunc", step("div", 1.0, N)), (n,))) == (
        -shapes.INFINITY,
        shapes.INFINITY,
    )
