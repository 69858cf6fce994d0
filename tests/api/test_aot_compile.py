"""`aot_compile` and `load`: what they take, where results go, and what is refused."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import castoff
from castoff.compiler.errors import OptionError, OutputError
from castoff.compiler.exported import ProgramFormatError

from ..graphs import QUICK

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
PROGRAM = DIGITS / "digits.pt2"
NAMED = {**QUICK, "name": "digits"}


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("api") / "digits.so"
    return Path(castoff.aot_compile(str(PROGRAM), output=output, options=NAMED))


SOURCES: dict[str, Any] = {
    "a path object": lambda: PROGRAM,
    "bytes": PROGRAM.read_bytes,
    "a bytearray": lambda: bytearray(PROGRAM.read_bytes()),
    "a binary file": lambda: io.BytesIO(PROGRAM.read_bytes()),
    "a loaded program": lambda: castoff.load(str(PROGRAM)),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())
def test_every_source_gives_the_same_file(make: Any, artefact: Path, tmp_path: Path) -> None:
    path = castoff.aot_compile(make(), output=tmp_path / "other.so", options=NAMED)
    assert Path(path).read_bytes() == artefact.read_bytes()


def test_the_answers_are_those_of_pytorch(artefact: Path) -> None:
    with np.load(DIGITS / "test_images.npz") as stored:
        images, logits = stored["images"][:9], stored["logits"][:9]
    got = castoff.aot_load(str(artefact))(images)
    np.testing.assert_allclose(got, logits, rtol=1e-4, atol=1e-4)


def test_the_library_and_its_header_go_beside_the_program_by_default(tmp_path: Path) -> None:
    program = tmp_path / "net.pt2"
    shutil.copy(PROGRAM, program)
    assert castoff.aot_compile(program, options=QUICK) == str(tmp_path / "net.so")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.h", "net.pt2", "net.so"]


def test_the_library_says_nothing_unless_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    castoff.aot_compile(PROGRAM, output=tmp_path / "a.so", options=QUICK)
    assert capfd.readouterr() == ("", "")
    castoff.aot_compile(PROGRAM, output=tmp_path / "a.so", options={**QUICK, "progress": True})
    assert "compile" in capfd.readouterr().err


@pytest.mark.parametrize("environment", ["CASTOFF_DEBUG", "CASTOFF_DUMP"])
def test_the_environment_asks_too(
    environment: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "dump"
    monkeypatch.setenv(environment, "1" if environment == "CASTOFF_DEBUG" else str(folder))
    castoff.aot_compile(PROGRAM, output=tmp_path / "a.so", options=QUICK)
    assert ("ms  lower" in capfd.readouterr().err) is (environment == "CASTOFF_DEBUG")
    assert folder.exists() is (environment == "CASTOFF_DUMP")


def refused(kind: type[Exception], words: str, f: Any, **given: Any) -> None:
    with pytest.raises(kind, match=words):
        castoff.aot_compile(f, **given)


def test_a_refusal_writes_nothing(tmp_path: Path) -> None:
    output = tmp_path / "a.so"
    refused(ProgramFormatError, r"\w", b"not a program", output=output)
    refused(OptionError, "unknown option speed; the options are", PROGRAM, options={"speed": 11})
    refused(OptionError, "opt_level = 9", PROGRAM, output=output, options={"opt_level": 9})
    refused(castoff.CompileError, "device = \"?'?tpu", PROGRAM, output=output, device="tpu")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(OutputError, "file", PROGRAM, output=tmp_path / "file" / "a.so", options=QUICK)


def test_what_is_no_program_is_refused_with_what_is() -> None:
    refused(castoff.CompileError, "expected the path or the bytes of a .pt2", 3)
