"""The command line: exit statuses, what is printed where, and values as users write them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler import cli
from castoff.compiler.commandline.tensors import (
    arbitrary_array,
    call_arguments,
    parse_values,
    with_arbitrary,
)
from castoff.compiler.errors import (
    OptionError,
    OutputError,
    ToolchainError,
    UnsupportedOperator,
    UnsupportedOperatorError,
)
from castoff.runtime.errors import ArtefactError, CastoffError, InputMismatchError
from castoff.runtime.manifest import Argument, Manifest, SymbolSpec, TensorSpec

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.pt2"


def tree(kind: str, context: str, *children: str) -> str:
    inside = ", ".join(children)
    return f'{{"type": "{kind}", "context": {json.dumps(context)}, "children_spec": [{inside}]}}'


LEAF = '{"type": null, "context": null, "children_spec": []}'
CALL = "[1, {}]".format(
    tree(
        "builtins.tuple",
        "null",
        tree("builtins.tuple", "null", LEAF, LEAF),
        tree("builtins.dict", '["mode"]', LEAF),
    )
)

MANIFEST = Manifest(
    name="m",
    in_spec=CALL,
    out_spec=f"[1, {LEAF}]",
    arguments=(Argument("input", 1), Argument("input", 0), Argument("constant", value="fast")),
    results=(),
    inputs=(
        TensorSpec("x", "args[1]", "float32", ("batch", 3)),
        TensorSpec("n", "args[0]", "int64", (), kind="int"),
    ),
    outputs=(),
    symbols=(SymbolSpec("batch", 2, None),),
)


def test_values_come_from_files_text_and_shapes(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3), np.float32))
    values = parse_values([f"x=@{tmp_path / 'x.npy'}", "n=7"], MANIFEST)
    assert values["n"] == 7
    assert np.array_equal(np.asarray(values["x"]), np.ones((2, 3), np.float32))
    arbitrary = np.asarray(parse_values(["x:5x3"], MANIFEST)["x"])
    assert (arbitrary.shape, arbitrary.dtype) == ((5, 3), np.dtype(np.float32))


def test_all_bad_values_are_named_at_once() -> None:
    with pytest.raises(OptionError) as caught:
        parse_values(["y=1", "x:3xb", "n", "x=@/nowhere.npy"], MANIFEST)
    message = str(caught.value)
    assert "the inputs are x, n" in message
    assert "1x3x224" in message
    assert "nowhere.npy" in message
    assert message.count("\n") == 3


def test_values_go_where_the_programs_own_call_has_them() -> None:
    args, kwargs = call_arguments({"x": "X", "n": 7}, MANIFEST)
    assert (args, kwargs) == ((7, "X"), {"mode": "fast"})


def test_inputs_without_a_value_are_all_named() -> None:
    with pytest.raises(InputMismatchError, match=r"x: float32\[batch, 3\]\n  n: int"):
        call_arguments({}, MANIFEST)


def test_arbitrary_values_keep_given_sizes_and_lowest_ranges() -> None:
    assert np.asarray(with_arbitrary({}, MANIFEST)["x"]).shape == (2, 3)
    given = {"x": np.zeros((9, 3), np.float32)}
    assert with_arbitrary(given, MANIFEST)["x"] is given["x"]


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float16", "bfloat16", "float8_e4m3fn", "int64", "uint8", "bool", "complex64"],
)
def test_arbitrary_arrays_exist_for_every_kind_of_dtype(dtype: str) -> None:
    assert arbitrary_array((2, 3), dtype).shape == (2, 3)


def test_inspect_describes_a_program_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", "--json", str(SAMPLE)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["kind"] == "program"
    assert record["operators"]["torch.ops.aten.conv2d.default"] == 3


def test_inspect_refuses_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text("neither")
    assert cli.main(["inspect", str(tmp_path / "text.txt")]) == cli.BAD_FILE
    assert "neither" in capsys.readouterr().err


def test_errors_are_one_json_object_where_a_machine_reads(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["inspect", "--json", "/nowhere.so"]) == cli.BAD_FILE
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["status"] == cli.BAD_FILE
    assert "/nowhere.so" in error["message"]


def test_wrong_use_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["castoff-anything"]) == cli.BAD_USE
    assert cli.main(["compile", str(SAMPLE), "-O", "7"]) == cli.BAD_USE
    assert "expected 0, 1, 2 or 3" in capsys.readouterr().err


def test_help_and_version_succeed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert cli.main(["--version"]) == 0
    assert "castoff 0." in capsys.readouterr().out


def test_doctor_reports_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.main(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert status in (0, cli.NO)
    wanted = {"python", "numpy", "object cache", "CUDA toolkit"}
    assert wanted <= {finding["what"] for finding in findings}


def test_doctor_measures_a_cache_that_others_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept").write_bytes(bytes(1 << 20))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    monkeypatch.setenv("CASTOFF_CACHE", str(tmp_path))
    assert cli.main(["doctor"]) in (0, cli.NO)
    assert f"{tmp_path}, 1.0 MiB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OptionError(""), cli.BAD_USE),
        (UnsupportedOperatorError([UnsupportedOperator("aten.x")]), cli.UNSUPPORTED),
        (ToolchainError(""), cli.BAD_TOOLCHAIN),
        (OutputError(""), cli.BAD_OUTPUT),
        (ArtefactError(""), cli.BAD_FILE),
        (InputMismatchError(""), cli.BAD_CALL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_kind_of_error_has_its_status(
    error: CastoffError, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(cli, "_doctor", fail)
    assert cli.main(["doctor"]) == status


def test_the_package_is_the_command_too() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "castoff", "--help"], capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("usage: castoff")
