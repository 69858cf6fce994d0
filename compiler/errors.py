"""What can go wrong while compiling: each error says what happened, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from ..runtime.errors import CastoffError
from .records import dataclass

__all__ = [
    "CaptureError",
    "CastoffError",
    "CompileError",
    "CompilerFailedError",
    "CompilerNotFoundError",
    "OptionError",
    "OutputError",
    "ToolchainError",
    "UnsupportedOperator",
    "UnsupportedOperatorError",
]


class CompileError(CastoffError):
    """A program could not be compiled."""


class CaptureError(CompileError):
    """A NumPy function could not be captured as a program; the message begins with the user's line."""


class OptionError(CompileError):
    """An option is unknown or out of range; the message lists the valid ones."""


class OutputError(CompileError):
    """The result could not be written where it was asked for; nothing is left behind there."""


class ToolchainError(CompileError):
    """A compiler is missing, or did not do what it was asked."""


class CompilerNotFoundError(ToolchainError):
    """No usable C compiler; the message names the commands that were tried and how to get one."""


class CompilerFailedError(ToolchainError):
    """A compiler or linker refused generated code.

    `first_error` is the first line of its complaint, `origin` the user's line it came from (""
    where none is known) and `command` what was run.
    """

    def __init__(self, message: str, *, first_error: str, origin: str, command: tuple[str, ...]):
        super().__init__(message)
        self.first_error = first_error
        self.origin = origin
        self.command = command


@dataclass(frozen=True, slots=True)
class UnsupportedOperator:
    """One use of an operator that castoff cannot compile.

    `origin` reads like "model.py:12 in forward (layers.0.mlp)", `reason` says what is missing
    where only some uses of the operator are.
    """

    target: str
    origin: str = ""
    reason: str = ""


class UnsupportedOperatorError(CompileError):
    """A program uses operators that castoff does not compile; `operators` holds every use of
    them.
    """

    def __init__(self, operators: Sequence[UnsupportedOperator]):
        assert operators, "an UnsupportedOperatorError names at least one operator"
        self.operators = tuple(operators)
        super().__init__(_describe_unsupported(self.operators))


_SHOWN_USES = 3


def _describe_unsupported(operators: Sequence[UnsupportedOperator]) -> str:
    by_target: dict[tuple[str, str], list[str]] = {}
    for use in operators:
        by_target.setdefault((use.target, use.reason), []).append(use.origin)
    targets = len({use.target for use in operators})
    lines = [
        f"the program uses {targets} operator{'s' if targets > 1 else ''} "
        "that castoff cannot compile:"
    ]
    for (target, reason), origins in sorted(by_target.items()):
        known = list(dict.fromkeys(origin for origin in origins if origin))
        uses = "1 use" if len(origins) == 1 else f"{len(origins)} uses"
        lines.append(f"  {target}: {reason + '; ' if reason else ''}{uses}")
        lines += [f"      {origin}" for origin in known[:_SHOWN_USES]]
        if len(known) > _SHOWN_USES:
            lines.append(f"      and {len(known) - _SHOWN_USES} more places")
    return "\n".join(lines)
