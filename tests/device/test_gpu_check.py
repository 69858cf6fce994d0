"""The command for GPUs works as far as that can be shown without one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.emulation.home import default_home

from . import builds, goals, gpu_check, machine, peers, suite


def test_the_check_writes_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(default_home()))
    monkeypatch.setattr(gpu_check.rates, "COLUMNS", 64)
    arguments = ["--emulated", "--no-suites", "--results", str(tmp_path)]
    assert gpu_check.main(arguments) == 0
    text = (tmp_path / "cuda-emulated-measured.md").read_text()
    for part in ("toolkit", "pointwise", "softmax", "transpose", "of a copy"):
        assert part in text
    assert "cuda-emulated-measured.md" in capsys.readouterr().out


def test_peers_are_part_of_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", str(default_home()))
    monkeypatch.setattr(gpu_check.rates, "measure", lambda *_: [])
    monkeypatch.setattr(gpu_check.peers, "missing", lambda: "")
    monkeypatch.setattr(gpu_check, "_torch_version", lambda: "PyTorch 0")
    monkeypatch.setattr(
        gpu_check.peers,
        "compare_kernels",
        lambda *_: {peers.PRODUCT: peers.Compared({"castoff": 1.0, "eager": 0.9}, 3_000_000)},
    )
    monkeypatch.setattr(
        gpu_check.peers, "compare_models", lambda *_: {"a model": "no time was left"}
    )
    assert gpu_check.main(["--emulated", "--results", str(tmp_path)]) == 0
    text = (tmp_path / "cuda-emulated.md").read_text()
    for part in ("PyTorch 0", "driver", peers.PRODUCT, "1.000", "a model", "no time was left"):
        assert part in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert [f"{peers.PRODUCT}: share of cuBLASLt's rate", "97%", "90.0%", "no"] in rows
    assert ["the largest file, beside its weights", "at most 20 MB", "3 MB", "not measured"] in rows
    assert [f"{peers.ATTENTION}: share of PyTorch's rate", "70%", "", "not measured"] in rows


def test_every_goal_is_judged_by_what_was_measured() -> None:
    times = {"castoff": 2.0, "castoff, graphs": 1.0, "eager": 1.9, "AOTInductor": 2.0}
    compared: dict[str, peers.Compared | str] = {
        name: peers.Compared(times) for name in (peers.PRODUCT, peers.ATTENTION, peers.CALL)
    }
    for batch, other in ((1, 4.0), (32, 1.0)):
        row = peers.Compared({**times, "AOTInductor": other}, 2_000_000, 10.0, 40.0)
        compared.update({f"{name}, batch {batch}": row for name in peers.MODELS})
    compared["resnet50, batch 32"] = "no time was left"
    said = ["ops, compiled for cuda: 97 of 100 pass (3 s)", "models: 100 of 100 pass (9 s)", "none"]
    rates = [gpu_check.rates.Rate("softmax", 91, 1.0, 100.0)]
    found = {
        goal.what: (goal.reached, goal.is_reached) for goal in goals.goals(said, rates, compared)
    }
    assert found == {
        "answers that are right, of cases that pass on CPUs": ("98.5%", True),
        "softmax: share of a copy's bandwidth": ("91.0%", True),
        f"{peers.PRODUCT}: share of cuBLASLt's rate": ("95.0%", False),
        f"{peers.ATTENTION}: share of PyTorch's rate": ("95.0%", True),
        "5 of 5 models, batch 1: time over AOTInductor's": ("0.5", True),
        "4 of 5 models, batch 32: time over AOTInductor's": ("2", False),
        f"{peers.CALL}, graphs on: time over AOTInductor's": ("0.5", True),
        "the largest file, beside its weights": ("2 MB", None),  # of 9 of 10 programs
        "bert-base-128, built on two cores: time over AOTInductor's": ("0.25", True),
    }


def test_nothing_that_was_not_measured_counts_as_reached() -> None:
    assert {goal.is_reached for goal in goals.goals([], [], {"resnet50, batch 1": "failed"})} == {
        None
    }


@pytest.mark.torch
def test_builds_say_how_long_they_take_and_what_files_have_beside_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(default_home()))
    assert builds.main(["linear-128x768x3072"]) == 0
    (row,) = capsys.readouterr().out.splitlines()[2:]
    name, seconds, megabytes, libraries = (cell.strip() for cell in row.split("|")[1:-1])
    assert (name, libraries) == ("linear-128x768x3072", "cublasLt")
    assert float(seconds) > 0
    assert 0 < float(megabytes) < 20
    monkeypatch.setattr(builds, "MOST_CODE_BYTES", 1000)
    assert builds.main(["two-input-add"]) == 1
    capsys.readouterr()

    def missing(name: str) -> object:
        raise ModuleNotFoundError("No module named 'torchvision'")

    monkeypatch.setattr("bench.models.make_subject", missing)
    assert builds.main(["resnet50"]) == 1
    assert "not built: No module named 'torchvision'" in capsys.readouterr().out


def test_what_cannot_be_measured_is_a_line_of_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: object) -> list[gpu_check.rates.Rate]:
        raise MemoryError("8 GiB |\nare too many")

    monkeypatch.setenv("CUDA_HOME", str(default_home()))
    monkeypatch.setattr(gpu_check.rates, "measure", measure)
    monkeypatch.setattr(gpu_check.peers, "missing", lambda: "PyTorch is not installed")
    assert gpu_check.main(["--emulated", "--results", str(tmp_path)]) == 1
    text = (tmp_path / "cuda-emulated.md").read_text()
    assert "MemoryError: 8 GiB / are too many" in text
    assert "Without peers: PyTorch is not installed." in text


def test_a_suite_that_fails_says_how_many_pass() -> None:
    said = "print('ops: 16 of 17 pass (3 s)'); print('no longer passing: ops/x'); exit(1)"
    step = gpu_check.run_suite("operators", [sys.executable, "-c", said], 60)
    assert step == gpu_check.Step("operators", "ops: 16 of 17 pass (3 s)", False)


def test_a_suite_that_takes_too_long_ends_with_its_workers(
    capfd: pytest.CaptureFixture[str],
) -> None:
    worker = "import time; time.sleep(600)"
    command = (
        "import subprocess, sys, time\n"
        f"worker = subprocess.Popen([sys.executable, '-c', {worker!r}])\n"
        "print(worker.pid, flush=True)\n"
        "time.sleep(600)"
    )
    step = gpu_check.run_suite("models", [sys.executable, "-c", command], 3)
    assert step == gpu_check.Step("models", "not finished in 3 s", False)
    number = int(capfd.readouterr().out.split()[-1])
    deadline = time.monotonic() + 10  # a signal takes its time
    while is_running(number) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(number)


def is_running(process: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return False
    return "State:\tZ" not in status


@pytest.mark.torch
def test_models_are_compared_one_by_one_and_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    import bench.models

    shapes: list[tuple[tuple[int, ...], ...]] = []

    builds_compared: list[bool] = []

    def compare(
        _: object, inputs: tuple[torch.Tensor, ...], __: object, ___: object, build: bool
    ) -> peers.Compared:
        shapes.append(tuple(tuple(x.shape) for x in inputs))
        builds_compared.append(build)
        return peers.Compared({"castoff": 1.0})

    def make(name: str) -> bench.models.Subject:
        inputs = (torch.ones(2, 3),)
        if name == "llama-decode-512":
            inputs = (torch.ones(1, 1), torch.ones(1), torch.ones(2, 1, 4), torch.ones(2, 1, 4))
        return bench.models.Subject(torch.nn.Identity(), inputs)

    monkeypatch.setattr(peers, "compare_module", compare)
    monkeypatch.setattr(bench.models, "make_subject", make)
    found = peers.compare_models({}, 1.0, time.monotonic() + 60)
    assert list(found) == [f"{name}, batch {n}" for n in (1, 32) for name in peers.MODELS]
    assert builds_compared == [row == f"{peers.BUILT_MODEL}, batch 1" for row in found]
    assert shapes[0] == ((1, 3),)
    assert shapes[-1] == ((32, 1), (1,), (2, 32, 4), (2, 32, 4))
    late = peers.compare_models({}, 1.0, time.monotonic() - 1)
    assert set(late.values()) == {"no time was left"}


@pytest.mark.parametrize(
    ("says", "found"),
    [
        (
            "echo 'NVIDIA H100 80GB HBM3, 9.0, 580.65.06'; echo 'another, 12.0, 580.65.06'",
            machine.Gpu("NVIDIA H100 80GB HBM3", 90, "580.65.06"),
        ),
        ("echo 'NVIDIA GRID, [N/A], 580.65.06'", None),
        ("echo 'NVIDIA-SMI has failed'; exit 9", None),
        (None, None),
    ],
    ids=["the first of two", "without a number", "no driver", "not installed"],
)
def test_gpus_are_those_of_nvidia_smi(
    says: str | None, found: machine.Gpu | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if says is not None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{says}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.first_gpu() == found
    assert machine.architecture() == 90


@pytest.mark.parametrize(
    ("visible", "name"),
    [("1,0", "GPU --id=1"), ("GPU-8a5b", "GPU --id=GPU-8a5b"), ("MIG-77", "GPU"), ("", None), (None, "GPU")],
)  # fmt: skip
def test_the_first_gpu_is_the_first_that_is_visible(
    visible: str | None, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nshift 2\necho GPU $1, 9.0, 580.65.06\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = machine.first_gpu()
    assert (found and found.name) == name


@pytest.mark.skipif(machine.has_gpu(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_pretended(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main([]) == 2
    assert suite.main(["--sanitizer", "memcheck"]) == 2
    assert "needs a GPU" in capsys.readouterr().err


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the suites would start; none of it is."""
    started: list[list[str]] = []

    def call(command: list[str]) -> int:
        started.append(command)
        return 0

    monkeypatch.setenv("CUDA_HOME", str(default_home()))
    monkeypatch.setattr(suite.subprocess, "call", call)
    return started


def test_the_sanitizer_watches_the_operators(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sanitizer = tmp_path / "compute-sanitizer"
    sanitizer.write_text("#!/bin/sh\n")
    sanitizer.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(suite, "has_gpu", lambda: True)
    assert suite.main(["--sanitizer", "racecheck", "--all"]) == 0
    (command,) = commands
    assert command[:5] == [
        str(sanitizer), "--tool", "racecheck", "--target-processes", "all",
    ]  # fmt: skip
    assert " ".join(command).endswith("--device cuda --passing --family ops --every 1 --jobs 1")


@pytest.mark.parametrize("takes_all", [False, True], ids=["a sample", "all"])
@pytest.mark.parametrize("has_gpu", [False, True], ids=["no GPU", "a GPU"])
def test_without_a_gpu_everything_is_compiled_and_that_is_said(
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    takes_all: bool,
    has_gpu: bool,
) -> None:
    monkeypatch.setattr(suite, "has_gpu", lambda: has_gpu)
    assert suite.main(["--all"] if takes_all else []) == 0
    families = [command[command.index("--family") + 1] for command in commands[:3]]
    assert families == ["structure", "models", "ops"]
    assert [("--build-only" in command) is not has_gpu for command in commands[:3]] == [True] * 3
    are_all = [command[command.index("--every") + 1] == "1" for command in commands[:3]]
    assert are_all == [takes_all and has_gpu] * 3
    rest = [command[2] for command in commands[3:]]
    assert rest == (["pytest"] if has_gpu else ["tests.device.bundles"] if takes_all else [])
    assert ("nothing was run" in capsys.readouterr().out) is not has_gpu
