"""The command line on a real program: compile, run, bench, verify, and stopping at every stage."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler import cli

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
PROGRAM = str(DIGITS / "digits.pt2")


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> str:
    output = str(tmp_path_factory.mktemp("cli") / "digits.so")
    assert cli.main(["compile", PROGRAM, "-o", output, "--no-progress"]) == 0
    return output


def test_run_writes_the_results(
    artefact: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(DIGITS / "test_images.npz") as stored:
        images, logits = stored["images"][:5], stored["logits"][:5]
    np.save(tmp_path / "x.npy", images)
    arguments = [f"images=@{tmp_path / 'x.npy'}", "-o", str(tmp_path / "y.npz"), "--json"]
    assert cli.main(["run", artefact, *arguments]) == 0
    shown = json.loads(capsys.readouterr().out)["results"]
    assert [tuple(result["shape"]) for result in shown] == [(5, 10)]
    with np.load(tmp_path / "y.npz") as results:
        np.testing.assert_allclose(results[shown[0]["path"]], logits, rtol=1e-4, atol=1e-4)


def test_run_by_the_reference_needs_no_compiler(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "/nowhere/cc")
    with np.load(DIGITS / "test_images.npz") as stored:
        images, logits = stored["images"][:5], stored["logits"][:5]
    np.save(tmp_path / "x.npy", images)
    arguments = [f"images=@{tmp_path / 'x.npy'}", "-o", str(tmp_path / "y.npz"), "--json"]
    assert cli.main(["run", "--reference", PROGRAM, *arguments]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["results"]
    with np.load(tmp_path / "y.npz") as results:
        np.testing.assert_allclose(results[shown["path"]], logits, rtol=1e-4, atol=1e-4)
    assert cli.main(["run", "--reference", PROGRAM, "images:2x1x9x8"]) == cli.BAD_CALL
    assert "images: expected float32[" in capsys.readouterr().err


def test_run_refuses_a_wrong_shape_by_name(
    artefact: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", artefact, "images:2x1x9x8"]) == cli.BAD_CALL
    assert "args[0]: expected float32[" in capsys.readouterr().err


def test_bench_gives_median_and_quartiles(
    artefact: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", artefact, "images:3x1x8x8", "--seconds", "0.05", "--json"]) == 0
    timing = json.loads(capsys.readouterr().out)
    assert 0 < timing["first_quartile_us"] <= timing["median_us"] <= timing["third_quartile_us"]


def test_inspect_names_inputs_and_levels(artefact: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", artefact]) == 0
    printed = capsys.readouterr().out
    assert "images: float32[" in printed
    assert "x86-64" in printed or "generic" in printed


def test_verify_holds_the_answers_against_the_reference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["verify", PROGRAM, "--json", "--no-progress"]) == 0
    assert json.loads(capsys.readouterr().out)["is_equal"] is True


def test_verify_names_the_first_node_that_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from castoff.compiler.ops.pointwise import PointwiseOp

    original = PointwiseOp.reference

    def wrong(self: PointwiseOp, env: object, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        results = original(self, env, *arrays)  # type: ignore[arg-type]
        return tuple(result + 1 for result in results) if str(self) == "maximum" else results

    monkeypatch.setattr(PointwiseOp, "reference", wrong)
    assert cli.main(["verify", PROGRAM, "--no-progress"]) == cli.NO
    printed = capsys.readouterr().out
    assert "first value that parts: %relu" in printed
    assert "aten.relu.default at train.py:" in printed


@pytest.mark.parametrize(
    ("stage", "text"),
    [("program", "torch.ops.aten.conv2d.default("), ("ir", "graph "), ("kernel", "LoopKernel")],
)
def test_emit_shows_a_stage(stage: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compile", PROGRAM, "--emit", stage, "--no-progress"]) == 0
    assert text in capsys.readouterr().out


def test_emitted_sources_build_the_same_file_by_hand(artefact: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "digits")
    assert cli.main(["compile", PROGRAM, "--emit", "c", "-o", folder, "--no-progress"]) == 0
    subprocess.run(["sh", f"{folder}/build.sh", str(tmp_path / "hand.so")], check=True)
    assert (tmp_path / "hand.so").read_bytes() == Path(artefact).read_bytes()


def test_a_dump_has_every_stage_numbered_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "dump"
    arguments = ["--dump", str(folder), "-o", str(tmp_path / "d.so"), "--target-cpu", "x86-64"]
    assert cli.main(["compile", PROGRAM, *arguments, "--no-progress"]) == 0
    names = [path.name for path in sorted(folder.iterdir())]
    assert [name[:2] for name in names] == [f"{number:02}" for number in range(len(names))]
    order = ["program.txt", "imported.ir", "fold_constants.ir", "graph.ir", "kernels.txt"]
    order += ["program.c", "commands.sh"]
    stages = [name[3:] for name in names]
    assert [stage for stage in stages if stage in order] == order
    assert "gcc" in (folder / names[-1]).read_text() or "-c" in (folder / names[-1]).read_text()


def test_the_debug_ladder_adds_a_rung_at_a_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def shown(level: int) -> str:
        arguments = ["--emit", "kernel", "--debug-level", str(level), "--no-progress"]
        assert cli.main(["compile", PROGRAM, *arguments]) == 0
        return capsys.readouterr().err

    assert shown(0) == ""
    assert "ms  optimise" in (times := shown(1)) and "graph.ir" not in times
    assert "---- graph.ir" in (graphs := shown(2)) and "kernels.txt" not in graphs
    assert "---- kernels.txt" in shown(3)
