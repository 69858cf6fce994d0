"""`nn.Module`, callables and PyTorch's own `ExportedProgram`, where torch is installed."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import CompileError


def export_to_bytes(
    f: object,
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] | None = None,
    dynamic_shapes: object = None,
) -> bytes:
    """The `.pt2` of a module or callable exported with example inputs, or of an exported program.

    Raises `CompileError` where torch is not installed, or where `f` is nothing it exports.
    """
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        raise CompileError(
            "expected the path or the bytes of a .pt2, a binary file or an ExportedProgram, got "
            f"{type(f).__name__}; PyTorch, which could export it, is not installed"
        ) from None
    program = f
    if not isinstance(f, torch.export.ExportedProgram):
        program = _export(torch, f, args, kwargs, dynamic_shapes)
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


def _export(
    torch: Any,
    f: object,
    args: Sequence[object],
    kwargs: Mapping[str, object] | None,
    dynamic_shapes: object,
) -> object:
    if not callable(f):
        raise CompileError(
            "expected the path or the bytes of a .pt2, an ExportedProgram, a module or a callable, "
            f"got {type(f).__name__}"
        )
    module = f if isinstance(f, torch.nn.Module) else _as_module(torch, f)
    with torch.no_grad():
        return torch.export.export(
            module,
            tuple(args),
            dict(kwargs or {}),
            dynamic_shapes=dynamic_shapes,
            strict=False,
        )


def _as_module(torch: Any, function: Any) -> object:
    """A module whose forward is the function itself, under the function's own argument names."""
    module = torch.nn.Module()
    # Not a wrapper of *args: the exporter names inputs after the parameters of `forward`.
    module.forward = function
    return module
