"""Generated code under the address, undefined-behaviour and thread sanitizers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import castoff
from castoff.compiler.ir.graph import Value
from castoff.compiler.ir.shapes import Dim
from castoff.compiler.ops import base, custom

from ..codegen.spread import SPREAD
from ..graphs import GraphBuilder, build, reference, size
from .driving import build_driver, can_build_and_run, drive

MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREADS = ("-fsanitize=thread",)


@pytest.fixture(scope="module")
def checked_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checked")
    if not can_build_and_run(MEMORY, folder):
        pytest.skip("the C compiler has no address and undefined-behaviour sanitizers")
    return build_driver(folder, *MEMORY)


@pytest.fixture(scope="module")
def thread_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("threads")
    if not can_build_and_run(THREADS, folder):
        pytest.skip("the C compiler has no thread sanitizer")
    return build_driver(folder, *THREADS)


@pytest.mark.parametrize("name", SPREAD)
def test_memory_is_used_as_c_allows(name: str, checked_driver: Path, tmp_path: Path) -> None:
    graph, arrays = SPREAD[name]()
    want = reference(graph, *arrays)
    artefact = build(graph, tmp_path, sanitize="address,undefined")
    outcome = drive([checked_driver], artefact, arrays, want, environment={"OMP_NUM_THREADS": "3"})
    assert outcome.status == 0, outcome.said
    for got, expected in zip(outcome.results, want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)


READS_TOO_FAR = """
int t_shifted(const castoff_operand *inputs, const castoff_operand *outputs) {
    const float *from = inputs[0].data;
    float *to = outputs[0].data;
    for (int64_t i = 0; i < inputs[0].count; ++i) to[i] = from[i + 1];
    return 0;
}
"""


@pytest.fixture
def reads_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_TARGETS", dict(base._TARGETS))
    monkeypatch.setattr(custom, "_OPERATORS", {})
    castoff.register_custom_op(
        "t::shifted", "(Tensor x) -> Tensor", lambda x: x, c_source=READS_TOO_FAR
    )


def assert_stopped(b: GraphBuilder, y: Value, x: Value, driver: Path, folder: Path) -> None:
    artefact = build(b.graph(b.apply("mul", y, x)), folder, sanitize="address,undefined")
    array = np.ones(3, np.float32)
    outcome = drive([driver], artefact, [array], [array])
    assert outcome.status != 0
    assert "use-after-poison" in outcome.said and "t_shifted" in outcome.said


@pytest.mark.usefixtures("reads_too_far")
@pytest.mark.parametrize("length", [3, size("n")], ids=["static", "symbolic"])
def test_a_step_that_reads_past_a_buffer_of_the_arena_is_stopped(
    length: Dim, checked_driver: Path, tmp_path: Path
) -> None:
    b = GraphBuilder()
    x = b.input("x", length)
    y = b.call("t.shifted.default", b.call("aten.relu.default", x))
    assert_stopped(b, y, x, checked_driver, tmp_path)


@pytest.mark.usefixtures("reads_too_far")
def test_a_step_that_reads_past_a_constant_is_stopped(checked_driver: Path, tmp_path: Path) -> None:
    b = GraphBuilder()
    x = b.input("x", 3)
    y = b.call("t.shifted.default", b.array(np.ones(3, np.float32)))
    assert_stopped(b, y, x, checked_driver, tmp_path)


@pytest.mark.parametrize(
    "name", ["softmax", "linear_gelu", "convolution", "attention", "linear_bfloat16"]
)
def test_sixteen_threads_on_one_handle_do_not_race(
    name: str, thread_driver: Path, tmp_path: Path
) -> None:
    graph, arrays = SPREAD[name]()
    want = reference(graph, *arrays)
    artefact = build(graph, tmp_path, sanitize="thread")
    outcome = drive(
        [thread_driver],
        artefact,
        arrays,
        want,
        threads=16,
        repeats=8,
        environment={"TSAN_OPTIONS": "halt_on_error=1", "OMP_NUM_THREADS": "4"},
    )
    assert outcome.status == 0, outcome.said
    for got, expected in zip(outcome.results, want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)
