"""Modules, callables and torch's own exported programs as input."""

from __future__ import annotations

import sys

import pytest

from castoff.compiler.errors import CompileError
from castoff.compiler.exported import load_program
from castoff.compiler.frontends.torch import export_to_bytes


def test_without_torch_the_error_says_what_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CompileError, match="PyTorch, which could export it, is not installed"):
        export_to_bytes(print)


@pytest.mark.torch
def test_callables_keep_their_argument_names() -> None:
    torch = pytest.importorskip("torch")

    def scaled(x: object, factor: object) -> object:
        return x * factor  # type: ignore[operator]

    dynamic_shapes = ({0: torch.export.Dim("n")}, None)
    program = load_program(
        export_to_bytes(scaled, (torch.ones(3),), {"factor": torch.ones(1)}, dynamic_shapes)
    )
    entry = program.call_entry
    assert entry is not None and entry.signature is not None
    assert entry.signature.forward_arg_names == ("x", "factor")
    assert program.range_constraints


@pytest.mark.torch
def test_modules_and_exported_programs_are_saved() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(3, 2)
    args = (torch.ones(1, 3),)
    by_module = load_program(export_to_bytes(module, args))
    by_program = load_program(export_to_bytes(torch.export.export(module, args)))
    assert set(by_module.state_dict) == set(by_program.state_dict) == {"weight", "bias"}


@pytest.mark.torch
def test_what_is_no_program_is_refused() -> None:
    pytest.importorskip("torch")
    with pytest.raises(CompileError, match="got int"):
        export_to_bytes(3)
