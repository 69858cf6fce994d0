"""Runs one case in one mode and says what is wrong with it."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from castoff.runtime.errors import CastoffError
from castoff.runtime.manifest import read_manifest
from tests.device.machine import architecture

from .compare import differences
from .corpus import Case

Program = Callable[..., Any]
MODES = ("reference", "compiled")
QUICK: Mapping[str, object] = {"target_cpu": "x86-64-v3", "opt_level": 1, "jobs": 1}
"""What programs are compiled with unless all CPU levels are asked for: cases run side by side."""


MOST_CODE_BYTES = 20_000_000
"""What the file of a program for CUDA may take beside its weights."""


def on_device(*, portable: bool = False) -> Mapping[str, object]:
    """The same for CUDA: the architecture at hand alone, unless all that are compiled for by default are asked for."""
    options: Mapping[str, object] = {"device": "cuda", "jobs": 1}
    return options if portable else {**options, "cuda_architectures": (architecture(),)}


def check_case(case: Case, mode: str, options: Mapping[str, object] = QUICK) -> str | None:
    """None where the case passes, else what is wrong.

    "reference" runs the imported program by NumPy; "compiled" compiles it with `options` and loads
    it; "built" only compiles it.
    """
    if mode == "built":
        return _built(case, options)
    if mode == "reference":
        return _check(case, lambda: _reference(case.program))
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        return _check(case, lambda: _compiled(case.program, Path(folder) / "program.so", options))


def _check(case: Case, prepare: Callable[[], Callable[[], Program]]) -> str | None:
    try:
        make = prepare()
        program = make()
    except CastoffError as error:
        if case.expect_error is not None:
            expected = case.expect_error in str(error)
            return None if expected else f"refused, but without {case.expect_error!r}: {error}"
        return f"{type(error).__name__}: {error}"
    if case.expect_error is not None:
        return f"must be refused with {case.expect_error!r}"
    for number, call in enumerate(case.calls):
        if number and not case.stateful:
            program = make()
        args, kwargs = copy.deepcopy((call.args, call.kwargs))
        where = f"call {number}: " if len(case.calls) > 1 else ""
        try:
            result = program(*args, **kwargs)
        except CastoffError as error:
            if call.raises is not None:
                continue
            return f"{where}{type(error).__name__}: {error}"
        if call.raises is not None:
            return f"{where}must be refused ({call.raises})"
        wrong = list(differences(result, call.out, case.rtol, case.atol))
        if call.args_after is not None:
            wrong += differences(args, call.args_after, case.rtol, case.atol, "args")
        if call.kwargs_after is not None:
            wrong += differences(kwargs, call.kwargs_after, case.rtol, case.atol, "kwargs")
        if wrong:
            return where + wrong[0]
    return None


def _built(case: Case, options: Mapping[str, object]) -> str | None:
    import castoff

    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        try:
            path = castoff.aot_compile(
                case.program, output=Path(folder) / "program.so", options=options
            )
        except CastoffError as error:
            if case.expect_error is not None and case.expect_error in str(error):
                return None
            return f"{type(error).__name__}: {error}"
        return _too_large(path) if options.get("device") == "cuda" else None


def _too_large(artefact: str) -> str | None:
    code_bytes = os.path.getsize(artefact) - read_manifest(artefact).weights_size_bytes
    if code_bytes <= MOST_CODE_BYTES:
        return None
    return f"the file has {code_bytes} bytes beside its weights, of at most {MOST_CODE_BYTES}"


def _reference(program: bytes) -> Callable[[], Program]:
    from castoff.compiler.exported import load_program
    from castoff.compiler.frontends.exported import import_program
    from castoff.compiler.verify import ReferenceProgram

    imported = import_program(load_program(program))
    return lambda: ReferenceProgram(imported)


def _compiled(
    program: bytes, artefact: Path, options: Mapping[str, object]
) -> Callable[[], Program]:
    import castoff

    path = castoff.aot_compile(program, output=artefact, options=options)
    return lambda: castoff.aot_load(path, device=str(options.get("device", "cpu")))
