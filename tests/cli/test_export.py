"""`castoff export`: from a Python file to a program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import castoff
from castoff.compiler import cli

SOURCE = """
import numpy as np
import castoff

def scaled(x, ids, factor=2):
    return np.take(x, ids, 1) * factor

class Net(castoff.Module):
    def __init__(self):
        super().__init__()
        self.weight = np.eye(3, dtype=np.float32)

    def forward(self, x):
        return x @ self.weight

def branching(x):
    return x if x.sum() > 0 else -x
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "captured_net.py"
    path.write_text(SOURCE)
    return str(path)


def test_a_function_and_a_module_are_written_as_programs(source: str, tmp_path: Path) -> None:
    output = str(tmp_path / "scaled.pt2")
    words = ["x:batchx3", "ids:2:int64", "factor=3", "-o", output]
    assert cli.main(["export", f"{source}:scaled", *words]) == 0
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    program = castoff.load(output)
    got = program.module()(x=x, ids=np.array([2, 0]), factor=3)
    np.testing.assert_array_equal(np.asarray(got), x[:, [2, 0]] * 3)
    output = str(tmp_path / "net.pt2")
    assert cli.main(["export", f"{source}:Net", "x:2x3", "-o", output]) == 0
    assert list(castoff.load(output).state_dict) == ["weight"]


def test_wrong_words_and_code_that_cannot_be_captured_are_refused(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", "nothing.py:f", "x:3"]) == cli.BAD_USE
    assert cli.main(["export", f"{source}:absent", "x:3"]) == cli.BAD_USE
    assert cli.main(["export", f"{source}:scaled", "x:3:float7"]) == cli.BAD_USE
    assert cli.main(["export", f"{source}:branching", "x:3"]) == cli.BAD_USE
    assert "captured_net.py:17 in branching: a truth value" in capsys.readouterr().err
