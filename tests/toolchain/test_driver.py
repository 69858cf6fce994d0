"""build.py: what it refuses, in one sentence that says what to do."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The driver, whose virtual environment would be in an empty folder; commands are not run but
    kept."""
    spec = importlib.util.spec_from_file_location("castoff_driver", ROOT / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kept: list[list[str]] = []

    def keep(command: list[str], must_succeed: bool = True, folder: str = "") -> int:
        kept.append(command)
        return 0

    monkeypatch.setattr(module, "run", keep)
    monkeypatch.setattr(module, "PYTHON", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.setattr(module, "STAMP", str(tmp_path / ".stamp"))
    monkeypatch.setattr(module, "kept", kept, raising=False)
    return module


def test_old_python_is_one_sentence(
    driver: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver.sys, "version_info", (3, 8))
    with pytest.raises(SystemExit):
        driver.check_python()
    message = capsys.readouterr().err
    assert "needs Python 3.10 or newer and this is 3.8" in message
    assert message.count("\n") == 1


def test_missing_compiler_is_one_sentence(
    driver: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(SystemExit):
        driver.check_compiler()
    message = capsys.readouterr().err
    assert "apt-get install gcc" in message
    assert message.count("\n") == 1


def test_setup_is_skipped_until_the_metadata_changes(
    driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.set_up()
    assert [command[1:4] for command in driver.kept] == [
        ["-m", "venv", driver.VENV],
        ["-m", "pip", "install"],
    ]
    driver.set_up()
    assert len(driver.kept) == 2
    monkeypatch.setattr(driver, "wanted_stamp", lambda: "another")
    driver.set_up()
    assert len(driver.kept) > 2


@pytest.mark.parametrize(
    ("arguments", "markers"),
    [
        ([], "not slow and not cuda"),
        (["--all"], "not cuda"),
    ],
    ids=["plain", "all"],
)
def test_test_leaves_out_what_was_not_asked_for(
    driver: ModuleType, arguments: list[str], markers: str
) -> None:
    driver.command_test([*arguments, "-k", "name"])
    command = driver.kept[-1]
    assert command[-2:] == ["-k", "name"]
    assert command[command.index("-m", 2) + 1] == markers


def test_test_on_a_gpu_is_the_suite_of_the_device(driver: ModuleType) -> None:
    driver.command_test(["--device=cuda", "--all"])
    assert driver.kept[-1][1:] == ["-m", "tests.device.suite", "--all"]


def test_unknown_command_names_the_known_ones() -> None:
    finished = subprocess.run(
        [sys.executable, str(ROOT / "build.py"), "fly"], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 2
    assert "run, test, bench, gpu-check, compile" in finished.stderr


def test_driver_uses_no_syntax_newer_than_python_3_6() -> None:
    import ast

    ast.parse((ROOT / "build.py").read_text(encoding="utf-8"), feature_version=(3, 6))
