"""Exports programs of the corpus anew: `python -m tests.conformance.reexported`.

PyTorch opens each program and exports its module again, in two processes: with other hash seeds, and
one in the other order, so that whatever PyTorch counts starts elsewhere. Both exports have to have
the same canonical bytes.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from castoff.compiler.exported import load_program

from .corpus import FAMILIES, Call, Family, find_corpus
from .rewritten import NOT_IN_TORCH, prepare_torch, report, to_torch
from .run import matching

_ROOT = Path(__file__).resolve().parents[2]


def exported_again(program: bytes, call: Call) -> bytes:
    """What PyTorch writes when it exports the module of a program with the arguments of a call."""
    import torch

    opened = torch.export.load(io.BytesIO(program))
    args, kwargs = to_torch(call.args), to_torch(call.kwargs)
    shapes = torch.export.ShapesCollection()
    for leaf, dynamic in zip(
        torch.utils._pytree.tree_leaves((args, kwargs)), _dynamic_axes(opened), strict=True
    ):
        if dynamic:
            shapes[leaf] = dynamic
    again = torch.export.export(opened.module(), args, kwargs, dynamic_shapes=shapes)
    written = io.BytesIO()
    torch.export.save(again, written)
    return written.getvalue()


def _dynamic_axes(program: Any) -> list[dict[int, Any]]:
    """The axes of each user input that have symbolic sizes; PyTorch finds their ranges again."""
    import torch

    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs = [
        values.get(spec.arg.name)
        for spec in program.graph_signature.input_specs
        if spec.kind is torch.export.graph_signature.InputKind.USER_INPUT
    ]
    return [
        {
            axis: torch.export.Dim.AUTO
            for axis, size in enumerate(getattr(value, "shape", ()))
            if isinstance(size, torch.SymInt)
        }
        for value in inputs
    ]


def print_digests(corpus: Path, family: str, names: Sequence[str]) -> None:
    """A line for each case: its name, and the digest of the new export or why there is none."""
    prepare_torch()
    cases = Family(corpus, family)
    for name in names:
        case = cases.load(name)
        try:
            with warnings.catch_warnings(action="ignore"):
                again = exported_again(case.program, case.calls[0])
        except Exception as error:
            said = f"{NOT_IN_TORCH}: {type(error).__name__}: {error}".splitlines()[0]
        else:
            said = load_program(again).digest()
        print(f"{name}\t{said}", flush=True)


def check_cases(corpus: Path, family: str, names: Sequence[str]) -> dict[str, str | None]:
    """What is wrong with each case."""
    first = _digests(corpus, family, names, seed=1)
    second = _digests(corpus, family, names[::-1], seed=2)
    return {name: _difference(first.get(name), second.get(name)) for name in names}


def _difference(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return "PyTorch crashed"
    if one == other:
        return one if one.startswith(NOT_IN_TORCH) else None
    return f"exported twice it has two canonical forms: {one}, {other}"


def _digests(corpus: Path, family: str, names: Sequence[str], *, seed: int) -> Mapping[str, str]:
    command = [sys.executable, "-m", __spec__.name, "--family", family, "--digests", *names]
    environment = {
        **os.environ, "PYTHONHASHSEED": str(seed), "CASTOFF_CORPUS": str(corpus)
    }  # fmt: skip
    run = subprocess.run(
        command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    lines = [line.partition("\t") for line in run.stdout.splitlines()]
    return {name: said for name, tab, said in lines if tab}


def main() -> int:
    """The command line; exit status 1 where a case fails, 2 where there is no corpus."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.reexported")
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("--match", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th case")
    parser.add_argument("--digests", nargs="+", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    corpus = find_corpus()
    if corpus is None:
        print("no corpus: set CASTOFF_CORPUS to its folder", file=sys.stderr)
        return 2
    families = options.family or ["models"]
    if options.digests:
        print_digests(corpus, families[0], options.digests)
        return 0
    failed = 0
    for family in families:
        names = matching(Family(corpus, family).names, options.match)[:: options.every]
        started = time.monotonic()
        outcomes = check_cases(corpus, family, names)
        failed += report(f"{family}, exported again", outcomes, time.monotonic() - started)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
