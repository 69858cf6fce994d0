"""`castoff run --reference`: calls a program by the NumPy interpreter, which needs no C compiler."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from ... import __version__
from ..codegen.definition import make_manifest
from ..exported import load_program
from ..frontends.exported import import_program
from ..verify import ReferenceProgram
from .run import ShownResult, shown_results
from .tensors import result_arrays
from .verify import program_inputs


def run_reference(program: str, arguments: Sequence[str], output: str | None) -> list[ShownResult]:
    """Calls the `.pt2` once and writes its results to `output` (.npz) if that is given.

    Inputs are `arguments`; without any, those stored in the program, else arbitrary ones.
    """
    exported = load_program(program)
    imported = import_program(exported)
    name, machine = Path(program).stem, platform.machine()
    manifest = make_manifest(
        imported, name, (), (), 0, "reference", (), machine, __version__, "cpu"
    )
    args, kwargs = program_inputs(exported, arguments, manifest)
    results = ReferenceProgram(imported).run(args, kwargs)
    return shown_results(result_arrays(results, manifest), output)
