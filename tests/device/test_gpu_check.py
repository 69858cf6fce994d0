"""The command for GPUs works as far as that can be shown without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emulation.home import default_home

from . import gpu_check, machine, suite


def test_the_check_writes_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(default_home()))
    monkeypatch.setattr(gpu_check.rates, "COLUMNS", 64)
    assert gpu_check.main(["--emulated", "--results", str(tmp_path)]) == 0
    text = (tmp_path / "cuda-emulated.md").read_text()
    for part in ("toolkit", "pointwise", "softmax", "transpose", "of a copy"):
        assert part in text
    assert "cuda-emulated.md" in capsys.readouterr().out


@pytest.mark.skipif(machine.has_gpu(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_pretended(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main([]) == 2
    assert suite.main(["--sanitizer", "memcheck"]) == 2
    assert "needs a GPU" in capsys.readouterr().err
