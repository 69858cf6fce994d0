"""Which CPU level runs: by force, and on emulated processors that lack the higher ones."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.ir.graph import Graph
from castoff.runtime.manifest import read_manifest

from ..codegen.spread import linear_bfloat16, linear_gelu
from ..graphs import build, reference
from ..processor import needs_level
from .driving import COMPILER, Outcome, build_driver, drive

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or not COMPILER, reason="needs an x86-64 C compiler"
)
EMULATOR = shutil.which("qemu-x86_64")
LEVELS = ("x86-64", "x86-64-v3", "x86-64-v4")
NARROW_LEVELS = ("x86-64-bf16", "x86-64-amx")
CASE: tuple[Graph, list[np.ndarray]] = linear_gelu()
NARROW: tuple[Graph, list[np.ndarray]] = linear_bfloat16()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CASE[0], tmp_path_factory.mktemp("portable"), target_cpu="portable")


@pytest.fixture(scope="module")
def newest_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CASE[0], tmp_path_factory.mktemp("newest"), target_cpu="x86-64-v4")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(NARROW[0], tmp_path_factory.mktemp("narrow"), target_cpu="portable")


def run_narrow(command: list[str | Path], artefact: Path, level: str, **environment: str) -> None:
    """Runs the program of bfloat16 products and checks its answer and the level it ran on."""
    graph, arrays = NARROW
    (want,) = reference(graph, *arrays)
    outcome = drive(command, artefact, arrays, (want,), environment=environment)
    assert outcome.status == 0, outcome.said
    np.testing.assert_allclose(outcome.results[0], want, rtol=1e-2, atol=1e-2)
    assert f"level {level}\n" in outcome.said


def run(command: list[str | Path], artefact: Path, **environment: str) -> Outcome:
    graph, arrays = CASE
    return drive(command, artefact, arrays, reference(graph, *arrays), environment=environment)


def assert_right(outcome: Outcome) -> None:
    graph, arrays = CASE
    assert outcome.status == 0, outcome.said
    for got, want in zip(outcome.results, reference(graph, *arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("level", [*LEVELS, *NARROW_LEVELS])
def test_bfloat16_products_run_on_every_level(level: str, driver: Path, narrow: Path) -> None:
    needs_level(level)
    run_narrow([driver], narrow, level, CASTOFF_CPU_LEVEL=level)


def test_narrow_levels_are_only_in_files_that_multiply_narrow_types(
    portable: Path, narrow: Path
) -> None:
    assert read_manifest(portable).levels == LEVELS
    assert read_manifest(narrow).levels == (*LEVELS, *NARROW_LEVELS)


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_can_be_forced(level: str, driver: Path, portable: Path) -> None:
    needs_level(level)
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
@pytest.mark.parametrize(("processor", "level"), [("qemu64", "x86-64"), ("max", "x86-64-v3")])
def test_bfloat16_products_run_without_tiles(
    processor: str, level: str, driver: Path, narrow: Path
) -> None:
    assert EMULATOR is not None
    run_narrow([EMULATOR, "-cpu", processor, driver], narrow, level)


@needs_emulator
@pytest.mark.parametrize("processor", ["qemu64", "Haswell-noTSX", "max"])
def test_an_emulated_processor_without_avx512_refuses(
    processor: str, driver: Path, newest_only: Path
) -> None:
    assert EMULATOR is not None
    outcome = run([EMULATOR, "-cpu", processor, driver], newest_only)
    assert outcome.status == 3, outcome.said
    assert "this artefact was built for x86-64-v4" in outcome.said
