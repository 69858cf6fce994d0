"""Which CPU level runs: by force, and on emulated processors that lack the higher ones."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.ir.graph import Graph

from ..codegen.spread import linear_gelu
from ..graphs import build, reference
from .driving import COMPILER, Outcome, build_driver, drive

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or not COMPILER, reason="needs an x86-64 C compiler"
)
EMULATOR = shutil.which("qemu-x86_64")
LEVELS = ("x86-64", "x86-64-v3", "x86-64-v4")
CASE: tuple[Graph, list[np.ndarray]] = linear_gelu()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CASE[0], tmp_path_factory.mktemp("portable"), target_cpu="portable")


@pytest.fixture(scope="module")
def newest_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CASE[0], tmp_path_factory.mktemp("newest"), target_cpu="x86-64-v4")


def run(command: list[str | Path], artefact: Path, **environment: str) -> Outcome:
    graph, arrays = CASE
    return drive(command, artefact, arrays, reference(graph, *arrays), environment=environment)


def assert_right(outcome: Outcome) -> None:
    graph, arrays = CASE
    assert outcome.status == 0, outcome.said
    for got, want in zip(outcome.results, reference(graph, *arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_can_be_forced(level: str, driver: Path, portable: Path) -> None:
    flags = Path("/proc/cpuinfo").read_text()
    if (level == LEVELS[2] and "avx512vl" not in flags) or (
        level != LEVELS[0] and "avx2" not in flags
    ):
        pytest.skip(f"this processor has no {level}")
    outcome = run([driver], portable, CASTOFF_CPU_LEVEL=level)
    assert_right(outcome)
    assert f"level {level}\n" in outcome.said


def test_a_level_that_does_not_exist_is_refused(driver: Path, portable: Path) -> None:
    outcome = run([driver], portable, CASTOFF_CPU_LEVEL="x86-64-v9")
    assert outcome.status == 3
    assert "CASTOFF_CPU_LEVEL: expected x86-64" in outcome.said


def test_what_lacks_the_level_asked_for_is_refused_in_a_sentence(
    driver: Path, newest_only: Path
) -> None:
    outcome = run([driver], newest_only, CASTOFF_CPU_LEVEL="x86-64-v3")
    assert outcome.status == 3
    assert "this artefact was built for x86-64-v4" in outcome.said


needs_emulator = pytest.mark.skipif(
    EMULATOR is None, reason="qemu-x86_64 is not installed (apt-get install qemu-user)"
)


@needs_emulator
@pytest.mark.parametrize(
    ("processor", "level"),
    [
        ("qemu64", "x86-64"),
        ("Nehalem", "x86-64"),
        ("SandyBridge", "x86-64"),
        ("max,-avx2", "x86-64"),
        ("max,-fma", "x86-64"),
        ("max", "x86-64-v3"),
    ],
)
def test_an_emulated_processor_runs_the_level_it_has(
    processor: str, level: str, driver: Path, portable: Path
) -> None:
    assert EMULATOR is not None
    outcome = run([EMULATOR, "-cpu", processor, driver], portable)
    assert_right(outcome)
    assert f"level {level}\n" in outcome.said


@needs_emulator
@pytest.mark.parametrize("processor", ["qemu64", "Haswell-noTSX", "max"])
def test_an_emulated_processor_without_avx512_refuses(
    processor: str, driver: Path, newest_only: Path
) -> None:
    assert EMULATOR is not None
    outcome = run([EMULATOR, "-cpu", processor, driver], newest_only)
    assert outcome.status == 3, outcome.said
    assert "this artefact was built for x86-64-v4" in outcome.said
