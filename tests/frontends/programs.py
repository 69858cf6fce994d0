"""Small modules, exported by real PyTorch, and what eager PyTorch answers: the oracle.

Importing this module needs torch.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim, export
from torch.utils import _pytree as pytree

from castoff.compiler.exported import load_program
from castoff.compiler.frontends.exported import import_program
from castoff.compiler.ir.verify import verify_graph
from castoff.compiler.verify import ReferenceProgram


def floats(*shape: int) -> Any:
    """Distinct numbers of both signs."""
    count = 1
    for size in shape:
        count *= size
    return (torch.arange(count, dtype=torch.float32) * 0.37 - 1.5).reshape(shape)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def to_numpy(tree: Any) -> Any:
    """Tensors as arrays; everything else stays."""
    return pytree.tree_map(
        lambda x: x.detach().clone().numpy() if isinstance(x, torch.Tensor) else x, tree
    )


def exported_bytes(
    module: nn.Module, args: tuple[Any, ...], *, core: bool, dynamic_shapes: Any = None
) -> bytes:
    """The `.pt2` of a module."""
    with torch.no_grad():
        program = export(
            copy.deepcopy(module), copy.deepcopy(args), dynamic_shapes=dynamic_shapes, strict=False
        )
        if core:
            program = program.run_decompositions()
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


def imported(
    module: nn.Module | Callable[..., Any],
    args: tuple[Any, ...],
    *,
    core: bool = False,
    dynamic_shapes: Any = None,
) -> ReferenceProgram:
    """The module, exported with these arguments, imported and verified."""
    module = module if isinstance(module, nn.Module) else Function(module)
    program = import_program(
        load_program(exported_bytes(module, args, core=core, dynamic_shapes=dynamic_shapes))
    )
    verify_graph(program.graph)
    return ReferenceProgram(program)


def check(
    module: nn.Module | Callable[..., Any],
    *calls: tuple[Any, ...],
    core: bool = False,
    dynamic_shapes: Any = None,
    rtol: float = 1e-5,
) -> None:
    """Export with the arguments of the first call, import, and compare all calls, made in order.

    Results, changed arguments and state have to be those of the eager module.
    """
    eager = copy.deepcopy(module if isinstance(module, nn.Module) else Function(module))
    reference = imported(eager, calls[0], core=core, dynamic_shapes=dynamic_shapes)
    for number, args in enumerate(calls):
        expected_args = copy.deepcopy(args)
        with torch.no_grad():
            expected = eager(*expected_args)
        given = to_numpy(args)
        got = reference(*given)
        _compare(got, to_numpy(expected), f"call {number}: result", rtol)
        _compare(given, to_numpy(expected_args), f"call {number}: arguments", rtol)


def _compare(got: Any, want: Any, where: str, rtol: float) -> None:
    if isinstance(want, np.ndarray):
        assert isinstance(got, np.ndarray), f"{where}: {got!r} is no array"
        assert got.dtype == want.dtype, f"{where}: {got.dtype}, not {want.dtype}"
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol, err_msg=where)
    elif isinstance(want, Mapping):
        assert list(got) == list(want), where
        for key in want:
            _compare(got[key], want[key], f"{where}[{key!r}]", rtol)
    elif isinstance(want, (tuple, list)):
        assert type(got) is type(want) and len(got) == len(want), f"{where}: {got!r}"
        for position, (left, right) in enumerate(zip(got, want, strict=True)):
            _compare(left, right, f"{where}[{position}]", rtol)
    else:
        assert type(got) is type(want) and got == want, f"{where}: {got!r}, not {want!r}"


__all__ = ["Dim", "Function", "check", "exported_bytes", "imported", "nn", "to_numpy", "torch"]
