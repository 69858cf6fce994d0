"""Recurrent layers on the processor: units in blocks that threads share, at every level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.runtime.runner import aot_load
from tests.device.test_recurrent import TOLERANCE, layers
from tests.graphs import build, generated, reference
from tests.processor import needs_level


def test_steps_are_given_to_the_threads() -> None:
    units = generated(layers("lstm", 256)).tree.units
    calls = [line for u in units for line in u.text.splitlines() if "castoff_rnn_lstm_f32(" in line]
    assert calls and all("frame->pool" in line for line in calls)


@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize(
    ("kind", "hidden", "dtype", "projected"),
    [
        ("lstm", 150, DType.FLOAT32, None),
        ("lstm", 128, DType.FLOAT32, 75),
        ("lstm", 7, DType.FLOAT64, None),
        ("gru", 128, DType.FLOAT32, None),
        ("gru", 141, DType.FLOAT64, None),
        ("rnn_tanh", 301, DType.FLOAT32, None),
        ("rnn_relu", 256, DType.FLOAT64, None),
    ],
)
def test_any_number_of_threads_gives_the_answers_of_the_reference(
    tmp_path: Path, level: str, kind: str, hidden: int, dtype: DType, projected: int | None
) -> None:
    needs_level(level)
    graph = layers(kind, hidden, dtype, projected, 0.1)  # with more, rounding grows step by step
    path = build(graph, tmp_path, target_cpu=level)
    runs = [aot_load(path, threads=threads) for threads in (1, 2, 3, 5)]
    rng = np.random.default_rng(3)
    for time, batch in ((20, 1), (6, 5), (3, 2), (0, 3)):
        shapes = [(time, batch, 5), (2, batch, projected or hidden), (2, batch, hidden)]
        given = [rng.standard_normal(s).astype(dtype.numpy) for s in shapes]
        given = given[: 3 if kind == "lstm" else 2]
        alone, *others = [[np.array(x) for x in run(*given)] for run in runs]
        for got, wanted in zip(alone, reference(graph, *given), strict=True):
            tolerance = 4 * TOLERANCE[dtype] * max(1.0, float(np.abs(wanted).max(initial=0)))
            np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance)
        for many in others:
            assert [x.tobytes() for x in many] == [x.tobytes() for x in alone]
