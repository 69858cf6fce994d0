"""Turns what a compiler complains about into one error that names the user's line."""

from __future__ import annotations

import re
import shlex

from ..codegen.source_tree import SourceTree
from ..errors import CompilerFailedError
from .processes import Finished

# gcc's "file:1:2: error: …" and nvcc's "file(1): error: …"
_ERROR = re.compile(
    r"^([^:(\n]+)[:(](\d+)(?::\d+)?\)?: (?:fatal |internal compiler |catastrophic )?error\b.*$",
    re.M,
)
_ANY_ERROR = re.compile(
    r"^.*(?:\berror\b|undefined reference|multiple definition|No space).*$", re.M
)
_ORIGIN = re.compile(r"/\* origin: (.*?) \*/")


def failure(finished: Finished, tree: SourceTree) -> CompilerFailedError:
    """The error for a command that failed: its first complaint and the origin nearest above that
    line.
    """
    located = _ERROR.search(finished.text)
    origin = ""
    if located is not None:
        first_error = located.group(0)
        origin = origin_of(tree, located.group(1), int(located.group(2)))
    else:
        found = _ANY_ERROR.search(finished.text)
        last_lines = finished.text.strip().splitlines()
        first_error = found.group(0) if found else (last_lines[-1] if last_lines else "no message")
    if finished.status < 0:
        first_error = f"killed by signal {-finished.status}: {first_error}"
    lines = [
        f"{finished.command[0]} refused generated code of {tree.name!r}: {first_error.strip()}"
    ]
    if origin:
        lines.append(f"  generated for {origin}")
    lines.append(f"  command: {shlex.join(finished.command)}")
    lines.append("  CASTOFF_DUMP=folder keeps the generated sources")
    return CompilerFailedError(
        "\n".join(lines), first_error=first_error.strip(), origin=origin, command=finished.command
    )


def origin_of(tree: SourceTree, path: str, line: int) -> str:
    """The origin comment nearest above `line` (1-based) of a file of the tree, or ""."""
    text = tree.files().get(path.removeprefix("./"))
    if text is None:
        return ""
    above = "\n".join(text.splitlines()[:line])
    origins = _ORIGIN.findall(above)
    return origins[-1] if origins else ""
