"""Deployment archives beside torch: it opens the programs in them, and its tensors lie in objects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import castoff
from castoff.runtime.errors import CodeNotAllowedError
from castoff.runtime.package import Package

from ..graphs import QUICK

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


class Twice(torch.nn.Module):  # type: ignore[misc]
    """Two buffers that begin equal and then part, and a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(40_000.0).reshape(200, 200))
        self.register_buffer("key", torch.zeros(200))
        self.register_buffer("value", torch.zeros(200))

    def forward(self, x):  # type: ignore[no-untyped-def]
        self.key.add_(x)
        self.value.sub_(x)
        return (self.weight + x).sum(0), self.key + 0, self.value + 0


def test_torch_opens_the_programs_of_an_archive(tmp_path: Path) -> None:
    model, x = Twice().requires_grad_(False), torch.ones(200)
    program = torch.export.export(model, (x,))
    torch.export.save(program, tmp_path / "model.pt2")
    path, artefact = tmp_path / "pkg.pt2", tmp_path / "model.so"
    castoff.aot_compile(tmp_path / "model.pt2", output=artefact, options=QUICK)
    exporter = castoff.package.Exporter(requires=["torch"])
    exporter.add_object("weight", model.weight.detach())
    castoff.package(
        path,
        {"forward": artefact},
        programs={"model": tmp_path / "model.pt2", "again": castoff.load(tmp_path / "model.pt2")},
        extra_files={"labels": "text"},
        code=exporter,
    )
    opened = torch.export.load(path, extra_files=(extra := {"labels": ""}))
    assert extra["labels"] == "text"
    expected = [model(x), model(x)]
    reference = castoff.load(path).module()
    for run in (opened.module(), castoff.aot_load(path), lambda x: reference(x.numpy())):
        for answers in expected:
            for answer, given in zip(answers, run(x), strict=True):
                np.testing.assert_array_equal(np.asarray(given), answer.detach().numpy())
    weight_bytes = 4 * 200 * 200
    package = Package(path)
    sizes = [package.zip.size_bytes(name) for name in package.zip.names]
    assert sizes.count(weight_bytes) == 1  # of two programs, an artefact and an object


def test_tensors_come_back_without_permission(tmp_path: Path) -> None:
    whole = torch.arange(60_000, dtype=torch.bfloat16).reshape(200, 300)
    value = {
        "whole": whole,
        "column": whole[:, 3],
        "leaf": torch.zeros(3, requires_grad=True),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "none": torch.zeros(0, 4),
        "array": whole.float().numpy(),
        "scalar": torch.tensor(3),
    }
    exporter = castoff.package.Exporter(requires=["torch"])
    exporter.add_object("value", value)
    castoff.package(tmp_path / "p.pt2", code=exporter)
    again = castoff.package.Importer(tmp_path / "p.pt2").load("value")
    for name, tensor in value.items():
        assert type(again[name]) is type(tensor)
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(again[name], tensor)
            assert again[name].dtype == tensor.dtype
            assert again[name].requires_grad == tensor.requires_grad
    np.testing.assert_array_equal(again["array"], value["array"])
    again["column"][5] = -1
    assert again["whole"][5, 3] == -1


def test_modules_need_permission(tmp_path: Path) -> None:
    model = torch.nn.Linear(300, 100)
    exporter = castoff.package.Exporter(requires=["torch"])
    exporter.add_object("model", model)
    exporter.add_object("state", model.state_dict())
    castoff.package(tmp_path / "p.pt2", code=exporter)
    with pytest.raises(CodeNotAllowedError, match=r"torch\.nn\.modules\.linear\.Linear"):
        castoff.package.Importer(tmp_path / "p.pt2").load("model")
    state = castoff.package.Importer(tmp_path / "p.pt2").load("state")
    assert torch.equal(state["weight"], model.weight)
    importer = castoff.package.Importer(tmp_path / "p.pt2", allow_code=True)
    again, x = importer.load("model"), torch.ones(1, 300)
    assert torch.equal(again(x), model(x))
    again.weight.data[0, 0] = 7
    assert importer.load("state")["weight"][0, 0] == 7


def test_tensors_of_torch_say_that_torch_is_missing(tmp_path: Path) -> None:
    exporter = castoff.package.Exporter(requires=["torch"])
    exporter.add_object("value", torch.zeros(2))
    castoff.package(tmp_path / "p.pt2", code=exporter)
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import castoff\n"
        "try:\n"
        "    castoff.package.Importer(sys.argv[1]).load('value')\n"
        "except castoff.PackageError as error:\n"
        "    print(error)\n"
    )
    environment = {
        **os.environ, "PYTHONPATH": str(Path(castoff.__file__).resolve().parent.parent)
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "p.pt2"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "an object holds torch tensors, and torch is not installed" in done.stdout
