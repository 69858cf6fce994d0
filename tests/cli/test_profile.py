"""`castoff bench --profile` on the sample program, and what a profiled artefact keeps."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import castoff
from castoff.compiler import cli
from castoff.compiler.errors import ToolchainError
from castoff.compiler.toolchain.limits import measure_limits
from castoff.runtime.errors import ArtefactError
from castoff.runtime.profile import take_steps

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.pt2"


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("profiled") / "digits.so"
    options = {"profile": True, "target_cpu": "x86-64-v3"}
    return Path(castoff.aot_compile(SAMPLE, options=options, output=output))


def zeros(model: castoff.Runner) -> np.ndarray:
    (spec,) = model.inputs
    return np.zeros([size if isinstance(size, int) else 3 for size in spec.shape], spec.dtype)


def test_every_step_of_a_call_is_noted_in_order(profiled: Path) -> None:
    model = castoff.aot_load(profiled)
    take_steps(model)
    model(zeros(model))
    runs = take_steps(model)
    assert [run.number for run in runs] == list(range(len(model.manifest.steps)))
    assert all(run.begin_ns <= run.end_ns for run in runs)
    assert all(before.end_ns <= after.begin_ns for before, after in pairwise(runs))
    assert take_steps(model) == []


def test_noted_work_grows_with_the_batch(profiled: Path) -> None:
    model = castoff.aot_load(profiled)
    one = zeros(model)[:1]
    take_steps(model)
    model(one)
    small = sum(run.operations for run in take_steps(model))
    model(np.concatenate([one] * 4))
    assert sum(run.operations for run in take_steps(model)) == 4 * small > 0


def test_an_artefact_that_keeps_no_profile_says_how_to_build_one(tmp_path: Path) -> None:
    options = {"target_cpu": "x86-64-v3"}
    model = castoff.aot_load(
        castoff.aot_compile(SAMPLE, options=options, output=tmp_path / "plain.so")
    )
    with pytest.raises(ArtefactError, match="compile it with the option profile"):
        take_steps(model)


def test_bench_profile_prints_steps_and_writes_a_trace(
    profiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.json"
    arguments = ["bench", str(profiled), "--profile", "--trace", str(trace), "--json"]
    assert cli.main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    events = json.loads(trace.read_text())["traceEvents"]
    model = castoff.aot_load(profiled)
    assert len(report["steps"]) == len(events) == len(model.manifest.steps)
    assert {event["name"] for event in events} == {step["name"] for step in report["steps"]}
    assert report["limits"]["flops_per_second"] > 0
    assert any("train.py" in step["origin"] for step in report["steps"])


def test_bench_profile_compiles_a_program_that_is_not_compiled_yet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["bench", str(SAMPLE), "--profile"]) == 0
    assert "of limit" in capsys.readouterr().out


def test_limits_that_cannot_be_measured_are_an_error_of_the_toolchain(tmp_path: Path) -> None:
    compiler = tmp_path / "gcc"  # its programs end at once, with status 3
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *limits.c*) ;; *) exec gcc "$@" ;; esac\n'
        'while [ "$1" != -o ]; do shift; done\n'
        'printf "#!/bin/sh\\nexit 3\\n" > "$2"\nchmod +x "$2"\n'
    )
    compiler.chmod(0o755)
    with pytest.raises(ToolchainError, match="cannot be measured: status 3"):
        measure_limits(str(compiler))
