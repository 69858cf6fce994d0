"""Where a node comes from: the user's line and module, from what the exporter recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..ir.graph import Origin

_FRAME = re.compile(r'File "([^"]*)", line (\d+), in (\S+)')
_FOREIGN = re.compile(r"(^|[/\\])(torch|functorch)[/\\]")


def node_origin(target: str, metadata: Mapping[str, str]) -> Origin:
    """The origin of a node with this metadata."""
    return Origin(
        _source(metadata.get("stack_trace", "")),
        _module(metadata.get("nn_module_stack", "")),
        target,
    )


def _source(stack_trace: str) -> str:
    """The innermost frame outside of PyTorch, as `model.py:12 in forward`."""
    for file, line, function in reversed(_FRAME.findall(stack_trace)):
        if not _FOREIGN.search(file):
            name = re.split(r"[/\\]", file)[-1]
            return f"{name}:{line} in {function}"
    return ""


def _module(nn_module_stack: str) -> str:
    """The path of the innermost module: the stack is `key,path,type` per level, joined by `;`."""
    innermost = nn_module_stack.rpartition(";")[2].split(",")
    path = innermost[1] if len(innermost) > 1 else ""
    return "" if path.startswith("_empty_nn_module_stack") else path
