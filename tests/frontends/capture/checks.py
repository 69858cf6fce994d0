"""A function captured and run, held against NumPy running it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import castoff
from castoff.compiler.frontends.capture.pytrees import leaves_of

TOLERANCES = {"float16": 2e-3, "float32": 2e-5, "complex64": 2e-5}


def assert_same(got: Any, expected: Any, *, scale: float = 1.0) -> None:
    """Results of the same containers, shapes and types, and of the same values within rounding."""
    ours, theirs = list(leaves_of(got)), list(leaves_of(expected))
    assert [path for path, _ in ours] == [path for path, _ in theirs]
    for (path, mine), (_, its) in zip(ours, theirs, strict=True):
        if not isinstance(its, (np.ndarray, np.generic)):
            assert type(mine) is type(its) and mine == its, path
            continue
        array, reference = np.asarray(mine), np.asarray(its)
        assert array.dtype == reference.dtype, f"{path}: {array.dtype}, NumPy has {reference.dtype}"
        assert array.shape == reference.shape, f"{path}: {array.shape}, NumPy has {reference.shape}"
        if reference.dtype.kind in "fc":
            tolerance = TOLERANCES.get(reference.dtype.name, 1e-9) * scale
            np.testing.assert_allclose(
                np.asarray(array, np.complex128), np.asarray(reference, np.complex128),
                rtol=tolerance, atol=tolerance,
            )  # fmt: skip
        else:
            np.testing.assert_array_equal(array, reference)


def assert_captured(
    f: Callable[..., Any], *args: Any, dynamic_shapes: object = None, others: tuple[Any, ...] = (),
    scale: float = 1.0,
) -> castoff.ExportedProgram:  # fmt: skip
    """Capture `f` and run it by the reference; `others` are further arguments of the same program."""
    program = castoff.export(f, args, dynamic_shapes=dynamic_shapes)
    module = program.module()
    for given in (args, *others):
        with np.errstate(all="ignore"):
            expected = f(*copy.deepcopy(given))
        assert_same(module(*copy.deepcopy(given)), expected, scale=scale)
    return program


def assert_compiled(
    f: Callable[..., Any], *args: Any, folder: Path, dynamic_shapes: object = None,
    others: tuple[Any, ...] = (), scale: float = 1.0,
) -> None:  # fmt: skip
    """As `assert_captured`, of the artefact."""
    path = castoff.aot_compile(f, args, dynamic_shapes=dynamic_shapes, output=folder / "program.so")
    run = castoff.aot_load(path)
    for given in (args, *others):
        with np.errstate(all="ignore"):
            expected = f(*copy.deepcopy(given))
        assert_same(run(*copy.deepcopy(given)), expected, scale=scale)
