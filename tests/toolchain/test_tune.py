"""`max_autotune`: what is measured, what becomes of it, and who is told that it cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.codegen.generate import Generated, generate
from castoff.compiler.errors import OptionError, ToolchainError
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph
from castoff.compiler.kernels import Convolution
from castoff.compiler.lowering.choices import Choices
from castoff.compiler.lowering.lower import lower
from castoff.compiler.lowering.tuning import (
    CUTS,
    ConvolutionShape,
    Cut,
    ProductShape,
    Tuning,
    convolution_shape,
    cuts_text,
    default_tuning,
    product_shape,
    read_cuts,
)
from castoff.compiler.options import CompileOptions
from castoff.compiler.targets import cpu
from castoff.compiler.toolchain import build_shared_library
from castoff.compiler.toolchain.tune import KernelTimer, best_cut, measured_cuts, tune
from castoff.runtime.runner import aot_load

from ..graphs import QUICK, GraphBuilder, as_program, generated, optimized, reference, size

OPTIONS = CompileOptions(**QUICK)
SHAPE = ProductShape(1, 32, 256, 96, True)


class FakeTimer(KernelTimer):
    """Says that one cut takes half as long as all others."""

    def __init__(self, best: Cut) -> None:
        self.best, self.vector_bytes, self.asked = best, 64, 0

    def ratios(self, shape: ProductShape, cuts: Iterable[Cut]) -> list[float]:
        self.asked += 1
        return [0.5 if cut == self.best else 1.01 for cut in cuts]


def test_the_fastest_cut_is_found_and_one_that_gains_nothing_is_not_taken() -> None:
    assert best_cut(FakeTimer(Cut(tile_rows=6)), SHAPE) == Cut(tile_rows=6)
    assert best_cut(FakeTimer(Cut(rows=24)), SHAPE) == Cut(rows=24)
    assert best_cut(FakeTimer(Cut(tile_rows=99)), SHAPE) == Cut()


def test_a_cut_that_wins_by_luck_is_dropped() -> None:
    class Lucky(FakeTimer):
        def ratios(self, shape: ProductShape, cuts: Iterable[Cut]) -> list[float]:
            return super().ratios(shape, cuts) if self.asked == 0 else [1.0 for _ in cuts]

    assert best_cut(Lucky(Cut(tile_rows=6)), SHAPE) == Cut()


def test_kernels_are_measured_beside_each_other() -> None:
    with KernelTimer.at(cpu.LEVELS["x86-64"]) as timer:
        assert timer.vector_bytes == 16
        same, slow = timer.ratios(SHAPE, [Cut(), Cut(depth=1)])
        assert 0.7 < same < 1.4
        assert slow > 1.5, "sums go through memory after every step"
        assert isinstance(
            timer.prefers_transforms(ConvolutionShape(1, 64, 64, 28, 28, (1, 1))), bool
        )


def test_a_machine_that_does_not_run_a_level_is_named() -> None:
    script = "import os, signal; print(64, flush=True); os.kill(os.getpid(), signal.SIGILL)"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        timer = KernelTimer(process, "x86-64-v4")
        with pytest.raises(ToolchainError, match=r"does not run code for x86-64-v4.*target_cpu="):
            timer.ratios(SHAPE, [Cut()])


def linear(rows: int = 32) -> tuple[Graph, np.ndarray]:
    rng = np.random.default_rng(5)
    b = GraphBuilder()
    x = b.input("x", rows, 96)
    weight = b.array(rng.standard_normal((256, 96)).astype(np.float32), "weight")
    bias = b.array(rng.standard_normal(256).astype(np.float32), "bias")
    y = b.call("aten.linear.default", x, weight, bias)
    return b.graph(y), rng.standard_normal((rows, 96)).astype(np.float32)


def image() -> tuple[Graph, np.ndarray]:
    rng = np.random.default_rng(6)
    b = GraphBuilder()
    x = b.input("x", 1, 16, 9, 10)
    weight = b.array(rng.standard_normal((32, 16, 3, 3)).astype(np.float32), "weight")
    y = b.call("aten.conv2d.default", x, weight, None, [1, 1], [1, 1])
    return b.graph(y), rng.standard_normal((1, 16, 9, 10)).astype(np.float32)


def tuned(graph: Graph, tuning: Tuning) -> Generated:
    graph = optimized(graph)
    program = lower(graph, Choices(tuning=tuning))
    return generate(as_program(graph), program, OPTIONS, "test", "0")


def answer(made: Generated, folder: Path, x: np.ndarray) -> np.ndarray:
    path = build_shared_library(
        made.tree,
        folder / "test.so",
        options=OPTIONS,
        manifest=made.manifest,
        constants=made.weights,
    )
    return aot_load(path)(x)[0]


def test_a_chosen_cut_is_in_the_text_of_the_levels_with_such_vectors(tmp_path: Path) -> None:
    graph, x = linear()
    cut = Cut(tile_rows=4, rows=16, depth=40)
    made = tuned(graph, Tuning({SHAPE: {32: cut}}))
    text = made.tree.units[0].text
    assert "#if CASTOFF_VECTOR_BYTES == 32" in text
    assert "{.tile_rows = 4, .rows = 16, .depth = 40}" in text
    assert "castoff_gemm_cut" not in tuned(graph, Tuning()).tree.units[0].text
    np.testing.assert_allclose(
        answer(made, tmp_path, x), *reference(graph, x), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("transforms", [True, False])
def test_a_chosen_form_of_a_convolution_decides_kernel_and_packing(
    tmp_path: Path, transforms: bool
) -> None:
    graph, x = image()
    made = tuned(
        graph, Tuning(by_transforms={ConvolutionShape(1, 16, 32, 9, 10, (1, 1)): transforms})
    )
    assert ("winograd" in made.tree.units[0].text) == transforms
    np.testing.assert_allclose(
        answer(made, tmp_path, x), *reference(graph, x), rtol=1e-4, atol=1e-4
    )


def test_what_is_measured_are_the_static_float32_shapes_of_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    b = GraphBuilder()
    x, y = b.input("x", 32, 96), b.input("y", size("rows", 2), 96)
    weight = b.array(np.ones((256, 96), np.float32), "weight")
    outputs = [b.call("aten.linear.default", v, weight) for v in (x, y)]
    tiny = b.call("aten.linear.default", b.input("z", 1, 96), weight)
    graph = b.graph(*outputs, tiny)
    seen: list[ProductShape] = []

    def ratios(self: KernelTimer, shape: ProductShape, cuts: Iterable[Cut]) -> list[float]:
        seen.append(shape)
        return [1.0 for _ in cuts]

    monkeypatch.setattr(KernelTimer, "ratios", ratios)
    assert tune(lower(optimized(graph)), OPTIONS) == Tuning()
    assert set(seen) == {SHAPE}


def test_shapes_without_a_choice_have_none() -> None:
    assert product_shape(DType.FLOAT64, (), 2, 3, 4, False) is None
    assert product_shape(DType.FLOAT32, (), size("m"), 3, 4, False) is None
    assert product_shape(DType.FLOAT32, (2, 3), 2, 3, 4, True) == ProductShape(6, 2, 3, 4, True)
    form = Convolution((1, 1), ((1, 1), (0, 0)), (1, 1), 1, channels_last=True)
    found = convolution_shape((32, 16, 3, 3), form, (2, 9, 10, 32))
    assert found == ConvolutionShape(2, 16, 32, 9, 10, (1, 0))
    assert convolution_shape((32, 16, 5, 5), form, (2, 9, 10, 32)) is None
    assert convolution_shape((32, 16, 3, 3), form, (size("n"), 9, 10, 32)) is None


def test_the_option_measures_records_and_answers_alike(tmp_path: Path) -> None:
    graph, x = linear()
    made = generated(graph, max_autotune=True)
    assert made.manifest.tuning == tuple(sorted(made.manifest.tuning))
    for line in made.manifest.tuning:
        assert line.startswith("product 1 x 32 x 96 x 256 packed: 256 bit vectors, tiles of ")
    np.testing.assert_allclose(
        answer(made, tmp_path, x), *reference(graph, x), rtol=1e-4, atol=1e-4
    )
    with pytest.raises(OptionError, match="max_autotune measures kernels of"):
        CompileOptions(device="cuda", max_autotune=True)


def test_the_table_of_the_compiler_is_read_as_it_was_written() -> None:
    written = CUTS.read_text(encoding="utf-8")
    cuts = read_cuts(written)
    assert default_tuning().cuts == cuts
    assert cuts_text(cuts, json.loads(written)["measured_on"]) == written
    assert all(
        Cut() not in chosen.values() and not chosen.keys() - {32, 64} for chosen in cuts.values()
    )


def test_a_product_takes_its_cut_from_the_table_and_the_manifest_says_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = tmp_path / "cuts.json"
    table.write_text(cuts_text({SHAPE: {32: Cut(rows=24)}}, {}), encoding="utf-8")
    monkeypatch.setattr("castoff.compiler.lowering.tuning.CUTS", table)
    default_tuning.cache_clear()
    try:
        graph, _ = linear()
        program = lower(optimized(graph), Choices())
    finally:
        default_tuning.cache_clear()
    made = generate(as_program(graph), program, OPTIONS, "test", "0")
    assert "{.tile_rows = 0, .rows = 24, .depth = 0}" in made.tree.units[0].text
    assert not made.manifest.tuning


def test_products_are_measured_at_every_level_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def at(level: cpu.Level, cc: str | None = None) -> Iterator[KernelTimer]:
        timer = FakeTimer(Cut(rows=24))
        timer.vector_bytes = {"x86-64-v3": 32, "x86-64-v4": 64}[level.name]
        yield timer

    monkeypatch.setattr(KernelTimer, "at", at)
    levels = [cpu.LEVELS[name] for name in ("x86-64-v3", "x86-64-v4")]
    assert measured_cuts([SHAPE], levels) == {SHAPE: {32: Cut(rows=24), 64: Cut(rows=24)}}
