"""Which C compilers there are, and what each of them is."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache

from ..errors import CompilerNotFoundError
from ..records import dataclass

INSTALL_HINT = (
    "install one with `apt-get install gcc`, `dnf install gcc` or `pip install castoff[zig]`, "
    "or name one by $CC or the option cc"
)


class Family(Enum):
    """Compilers that take the same flags."""

    GCC = "gcc"
    CLANG = "clang"
    ZIG = "zig"


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler that answered when asked for its version.

    `identity` changes whenever the compiler does: it holds the version text, the target, and the
    modification time of the program behind the command.
    """

    command: tuple[str, ...]
    family: Family
    version: str
    target: str
    identity: str

    def __str__(self) -> str:
        return f"{shlex.join(self.command)} ({self.version}, {self.target})"

    def adapt_flags(self, flags: tuple[str, ...]) -> tuple[str, ...]:
        """`flags`, written for gcc, as this compiler spells them."""
        match self.family:
            case Family.GCC:
                return flags
            case Family.CLANG:
                # conditions without branches are written with & and |, which it takes for slips
                spelled = tuple(flag for flag in flags if not _is_gcc_only(flag))
                return (*spelled, *_CLANG_QUIET)
            case Family.ZIG:
                # zig names processors with underscores, and traps undefined behaviour unless told
                # not to
                spelled = tuple(
                    flag.replace("-", "_").replace("_march", "-march", 1)
                    if flag.startswith("-march=")
                    else flag
                    for flag in flags
                    if not _is_gcc_only(flag)
                )
                return ("-fno-sanitize=undefined", *spelled)


_CLANG_QUIET = (
    "-Wno-bitwise-conditional-parentheses",
    "-Wno-bitwise-instead-of-logical",
    "-Wno-pass-failed",  # a loop that it does not vectorise
)

_GCC_ONLY = frozenset(
    {
        "-fno-semantic-interposition",
        "-static-libgcc",
        "-fexcess-precision=standard",
    }
)
_GCC_PASSES = (
    "-fvect-cost-model",
    "-fno-tree-",
    "-fno-ipa-",
    "-fno-gcse",
    "-fno-schedule-",
    "-fno-code-hoisting",
)
"""Beginnings of flags that choose among gcc's own passes."""


def _is_gcc_only(flag: str) -> bool:
    return flag in _GCC_ONLY or flag.startswith(_GCC_PASSES)


def find_compiler(cc: str | None = None) -> Compiler:
    """The compiler `cc` names, else the first of gcc, clang, cc and zig that works.

    Raises CompilerNotFoundError where `cc` does not work, or nothing does.
    """
    if cc is not None:
        command = tuple(shlex.split(cc))
        compiler = identify(command) if command else None
        if compiler is None:
            raise CompilerNotFoundError(
                f"the C compiler {cc!r} (from $CC or the option cc) cannot be run; {INSTALL_HINT}"
            )
        return compiler
    for command in default_commands():
        compiler = identify(command)
        if compiler is not None:
            return compiler
    tried = ", ".join(shlex.join(command) for command in _NAMES)
    raise CompilerNotFoundError(f"no C compiler found (tried {tried}); {INSTALL_HINT}")


def available_compilers() -> tuple[Compiler, ...]:
    """Every compiler that find_compiler() would consider, in its order."""
    found = (identify(command) for command in default_commands())
    return tuple(compiler for compiler in found if compiler is not None)


def default_commands() -> tuple[tuple[str, ...], ...]:
    """The commands that are tried where none is named, those that exist only."""
    commands = [command for command in _NAMES if shutil.which(command[0])]
    if importlib.util.find_spec("ziglang") is not None:
        commands.append((sys.executable, "-m", "ziglang", "cc"))
    return tuple(commands)


_NAMES: tuple[tuple[str, ...], ...] = (("gcc",), ("clang",), ("cc",), ("zig", "cc"))

_PROBE_SECONDS = 60  # zig builds parts of itself on its first run


def identify(command: tuple[str, ...]) -> Compiler | None:
    """What the compiler behind `command` is, or None where it cannot be run."""
    program = shutil.which(command[0])
    if program is None:
        return None
    stamp = os.stat(os.path.realpath(program)).st_mtime_ns
    return _identify_program(command, program, stamp)


@lru_cache(maxsize=32)
def _identify_program(command: tuple[str, ...], program: str, stamp: int) -> Compiler | None:
    """Asked once for each state of a program: compiling many models starts no compiler for it."""
    version_text, _ = ask(*command, "--version")
    target = ask(*command, "-dumpmachine")[0].strip()
    if not version_text or not target:
        return None
    first_line = version_text.splitlines()[0].strip()
    lowered = version_text.lower()
    if "zig" in (os.path.basename(command[0]), *command[1:]) or "ziglang" in command:
        family = Family.ZIG
    elif "clang" in lowered:
        family = Family.CLANG
    else:
        family = Family.GCC
    identity = "\n".join((shlex.join(command), program, str(stamp), target, version_text))
    return Compiler(command, family, first_line, target, identity)


def ask(*command: str) -> tuple[str, str]:
    """What a compiler prints when asked about itself, on both streams; no output where it fails."""
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            env=plain_environment(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "", ""
    return (answer.stdout, answer.stderr) if answer.returncode == 0 else ("", answer.stderr)


def plain_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment compilers run in: English messages, and nothing that changes what they read
    or write.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _CHANGES_OUTPUT}
    environment.update(LC_ALL="C", SOURCE_DATE_EPOCH="0", **(extra or {}))
    return environment


_CHANGES_OUTPUT = frozenset(
    {"CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "GCC_COMPARE_DEBUG", "LIBRARY_PATH", "PWD"}
)
