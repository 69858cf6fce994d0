"""`castoff package`, and the other commands on archives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from castoff.compiler import cli

from ..exported import pt2_files


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def made(
    artefacts: dict[str, Path], counter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Path:
    program, path = tmp_path / "model.pt2", tmp_path / "pkg.pt2"
    program.write_bytes(pt2_files.zipped(pt2_files.entries()))
    (tmp_path / "labels.txt").write_text("cat")
    status, out, _ = told(
        capsys,
        *("package", "create", "--json", "-o", path),
        *(f"count={counter}", f"add:one={artefacts['one']}", f"add:few={artefacts['few']}"),
        *("--program", f"model={program}", "--extra", f"labels.txt={tmp_path / 'labels.txt'}"),
        *("--module", "json", "--requires", "tokenizers"),
    )
    assert status == 0
    assert json.loads(out) == {"output": str(path), "size_bytes": path.stat().st_size}
    return path


def test_inspect_shows_what_an_archive_holds(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = told(capsys, "inspect", "--json", made)
    assert status == 0
    description = json.loads(out)
    assert description["kind"] == "package"
    assert [(a["name"], a["method"]) for a in description["artefacts"]] == [
        ("count", "count"),
        ("one", "add"),
        ("few", "add"),
    ]
    assert description["artefacts"][2]["manifest"]["device"] == "cpu"
    assert description["programs"] == ["model"]
    assert description["extra_files"] == {"labels.txt": 3}
    assert {"json", "json.decoder", "json.scanner"} <= set(description["modules"])
    assert (description["objects"], description["requires"]) == ([], ["tokenizers"])
    once, apart = description["weights"]["bytes"], description["weights"]["bytes_apart"]
    assert apart - once == 64 * 256 * 4 + 8  # the weight, and the zeros both buffers begin with
    status, out, _ = told(capsys, "inspect", made)
    assert status == 0
    assert "few: method add, cpu" in out
    assert "takes (x: float32[n, 64, 256])" in out
    assert "labels.txt" in out


def test_what_is_extracted_is_what_was_packaged(
    made: Path, artefacts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "few.so"
    assert told(capsys, "package", "extract", made, "few", "-o", output)[:2] == (0, f"{output}\n")
    assert output.read_bytes() == artefacts["few"].read_bytes()
    assert told(capsys, "package", "extract", made, "fewer", "-o", output)[0] == 3


def test_verify_reads_everything(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "package", "verify", made)[:2] == (0, f"{made} is whole\n")
    content = bytearray(made.read_bytes())
    weight = content.index(b"\0\0\x80\x3f\0\0\0\x40")  # 1.0, 2.0 of the weight
    content[weight] ^= 1
    made.write_bytes(content)
    status, _, error = told(capsys, "package", "verify", made)
    assert status == 3
    assert "entry 'archive/data/castoff/constants/" in error


def test_run_and_bench_take_one_of_an_archive(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = told(capsys, "run", made, "x:2", "--method", "count", "--json")
    assert status == 0
    assert len(json.loads(out)["results"]) == 2
    assert told(capsys, "run", made, "--method", "count", "x:2", "--json") == (0, out, "")
    status, out, _ = told(capsys, "run", made, "x:3x64x256", "--artefact", "few", "--json")
    assert json.loads(out)["results"][0]["shape"] == [3, 64, 256]
    for unknown in (("run", made, "x:2", "--nonsense"), ("inspect", made, "x:2")):
        status, _, error = told(capsys, *unknown)
        assert (status, f"unrecognized arguments: {unknown[-1]}" in error) == (2, True)
    assert told(capsys, "bench", made, "--artefact", "count", "--seconds", "0.01")[0] == 0
    status, _, error = told(capsys, "run", made, "x:2")
    assert status == 3
    assert "say which by method=" in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["m.so"], "expected an artefact as METHOD=FILE or METHOD:NAME=FILE, got 'm.so'"),
        (["a=m.so", "a=n.so"], "two artefacts of 'a': name them, METHOD:NAME=FILE"),
        (["--program", "model.pt2"], "expected --program NAME=FILE, got 'model.pt2'"),
        (["--extra", "x=/nowhere/x"], "--extra: cannot read /nowhere/x"),
        ([], "expected artefacts, programs, code or extra files"),
    ],
)
def test_wrong_use_is_status_2(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, error = told(capsys, "package", "create", "-o", tmp_path / "p.pt2", *arguments)
    assert status == 2
    assert said in error
    assert list(tmp_path.iterdir()) == []
