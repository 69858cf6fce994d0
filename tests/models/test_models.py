"""Small models as people write them, exported, compiled, and compared with PyTorch's answers."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import torch  # noqa: E402
from torch.utils import _pytree  # noqa: E402

import castoff  # noqa: E402

from ..graphs import QUICK  # noqa: E402
from . import language, programs, vision  # noqa: E402
from .case import Case  # noqa: E402

CASES: dict[str, Case] = {**language.CASES, **vision.CASES, **programs.CASES}


@pytest.mark.parametrize("name", CASES)
def test_answers_are_those_of_pytorch(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    torch.manual_seed(len(name))
    module, calls = case.module().eval(), case.calls()
    with torch.no_grad():
        program = torch.export.export(
            copy.deepcopy(module),
            copy.deepcopy(calls[0]),
            dynamic_shapes=case.dynamic_shapes,  # type: ignore[arg-type]
        )
    torch.export.save(program, tmp_path / "program.pt2")
    path = castoff.aot_compile(
        tmp_path / "program.pt2", output=tmp_path / "program.so", options=QUICK
    )
    run = castoff.aot_load(path)
    for arguments in calls:
        given = copy.deepcopy(arguments)
        with torch.no_grad():
            want = module(*arguments)
        got = run(*given)
        assert _pytree.tree_structure(got) == _pytree.tree_structure(want)
        # What the call changed in its arguments counts as well.
        torch.testing.assert_close(
            (got, given), (want, arguments), rtol=case.rtol, atol=case.atol, equal_nan=True
        )
