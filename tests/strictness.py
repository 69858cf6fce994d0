"""Strict ways to build generated code: with warnings as errors, or under sanitizers.

Commands that compile many programs take `--warnings` and `--sanitize`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping

from castoff.compiler.toolchain.compilers import find_compiler

WARNINGS = ("-Wall", "-Wextra", "-Werror")
SANITIZERS = "address,undefined"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a command that compiles."""
    parser.add_argument("--warnings", action="store_true", help="a warning of the C compiler fails")
    parser.add_argument(
        "--sanitize", action="store_true", help="run under the address and undefined sanitizers"
    )


def strict_options(*, warnings: bool, sanitize: bool) -> Mapping[str, object]:
    """The options to compile with; a process that runs what is sanitized starts again first.

    The run times of sanitizers have to be loaded before anything else, so a Python that loads sanitized programs
    begins with them.
    """
    options: dict[str, object] = {}
    if warnings:
        options["cc"] = " ".join([*find_compiler(None).command, *WARNINGS])
    if sanitize:
        _start_again_under_sanitizers()
        options["sanitize"] = SANITIZERS
    return options


def _start_again_under_sanitizers() -> None:
    if "LD_PRELOAD" in os.environ:
        del os.environ["LD_PRELOAD"]  # the compilers that are started need none of it
        return
    command = [*find_compiler(None).command, "-print-file-name=libasan.so"]
    library = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    os.environ |= {
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",  # what Python keeps to its end is no leak of ours
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    sys.stdout.flush()
    os.execv(sys.executable, sys.orig_argv)
