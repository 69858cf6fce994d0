"""Generated code under the address, undefined-behaviour and thread sanitizers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ..codegen.spread import SPREAD
from ..graphs import build, reference
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
