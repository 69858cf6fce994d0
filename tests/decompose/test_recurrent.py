"""Recurrent layers over any number of steps become loops."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from castoff.compiler.decompose.composites import COMPOSITES
from castoff.compiler.exported import ExportedProgram, load_program, program_bytes
from castoff.compiler.exported import schema as s
from castoff.compiler.ops.base import Environment
from castoff.compiler.ops.control_flow import ScanLoop
from castoff.compiler.ops.interpret import run_graph
from castoff.compiler.ops.recurrent import RecurrentLayer

from ..graphs import GraphBuilder, size

BATCH, HIDDEN, PROJECTED = 2, 3, 5


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize(
    ("kind", "gates", "further"),
    [
        ("tanh", 1, []),
        ("relu", 1, []),
        ("gru", 3, [(3 * HIDDEN,)]),
        ("lstm", 4, [(BATCH, HIDDEN)]),
        ("lstm", 4, [(BATCH, HIDDEN), (HIDDEN, PROJECTED)]),
    ],
    ids=["tanh", "relu", "gru", "lstm", "projected lstm"],
)
def test_the_loop_gives_what_the_layer_gives(
    kind: str, gates: int, further: Sequence[tuple[int, ...]], reverse: bool
) -> None:
    kept = PROJECTED if len(further) == 2 else HIDDEN
    b = GraphBuilder()
    shapes = [(BATCH, kept), (kept, gates * HIDDEN), *further]
    projected = b.input("projected", size("steps"), BATCH, gates * HIDDEN)
    inputs = [projected, *(b.input("given", *shape) for shape in shapes)]
    layer = RecurrentLayer(kind, reverse)
    graph = b.graph(*COMPOSITES[RecurrentLayer](b, layer, *inputs))
    assert any(isinstance(node.op, ScanLoop) for node in graph.nodes)
    dice = np.random.default_rng(1)
    for steps in (0, 1, 4):
        arrays = [
            dice.standard_normal(shape).astype(np.float32)
            for shape in ((steps, BATCH, gates * HIDDEN), *shapes)
        ]
        environment = Environment({"steps": steps})
        want = layer.reference(environment, *arrays)
        for got, expected in zip(run_graph(graph, arrays, environment), want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_pytorch_runs_the_loop_over_any_number_of_steps(kind: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = getattr(torch.nn, kind)(3, 4, bidirectional=True).eval()
    exported = io.BytesIO()
    torch.export.save(torch.export.export(layer, (torch.randn(5, 2, 3),)), exported)
    program = _over_any_length(load_program(exported.getvalue()), 5).run_decompositions()
    assert any(node.target.endswith("higher_order.scan") for node in program.graph.nodes)
    opened = torch.export.load(io.BytesIO(program_bytes(program))).module()
    for steps in (5, 7, 1):
        x = torch.randn(steps, 2, 3)
        torch.testing.assert_close(_leaves(opened(x)), _leaves(layer(x)), rtol=1e-5, atol=1e-6)


def _over_any_length(program: ExportedProgram, length: int) -> ExportedProgram:
    """The program with a symbol where it says `length`, which torch.export itself specialises."""
    symbol = s.SymExpr("Symbol('s0', positive=True, integer=True)", length)
    types = {
        name: replace(meta, sizes=tuple(symbol if n == length else n for n in meta.sizes))
        for name, meta in program.graph.tensor_values.items()
    }
    return replace(
        program,
        graph=replace(program.graph, tensor_values=types),
        range_constraints={"s0": s.RangeConstraint(1, None)},
        guards_code=(),
    )


def _leaves(value: Any) -> Any:
    import torch

    return torch.utils._pytree.tree_leaves(value)
