"""Which frontend something callable is for."""

from __future__ import annotations

import sys

from .module import Module
from .pytrees import leaves_of


def is_numpy(f: object, arguments: object) -> bool:
    """Whether `f` is written in NumPy rather than PyTorch, judged by what it is and by what it is given:
    a function belongs to PyTorch where one of the example arguments is a tensor."""
    if isinstance(f, Module):
        return True
    torch = sys.modules.get("torch")
    if torch is None:
        return callable(f)
    if not callable(f) or isinstance(f, (torch.nn.Module, torch.export.ExportedProgram)):
        return False
    return not any(isinstance(leaf, torch.Tensor) for _, leaf in leaves_of(arguments))
