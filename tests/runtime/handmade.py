"""Artefacts made by hand: C programs, and the manifests a compiler would have written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from castoff.runtime.manifest import (
    Argument,
    BufferSpec,
    ConstantSpec,
    Manifest,
    Result,
    SymbolSpec,
    TensorSpec,
    append_payload,
)

HERE = Path(__file__).resolve().parent
ABI = HERE.parent.parent / "templates" / "abi"
COMPILER = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang") or ""

WEIGHT = np.array([1, 2, 3, 4], np.float32)
LEAF = {"type": None, "context": None, "children_spec": []}


def container(name: str, context: object, *children: object) -> dict[str, object]:
    return {"type": name, "context": context, "children_spec": list(children)}


def treespec(root: object) -> str:
    return json.dumps([1, root])


def positional(count: int, *names: str) -> str:
    return treespec(
        container(
            "builtins.tuple",
            "null",
            container("builtins.tuple", "null", *[LEAF] * count),
            container("builtins.dict", json.dumps(names), *[LEAF] * len(names)),
        )
    )


def compile_library(
    program: str, output: Path, flags: Sequence[str] = (), sources: Sequence[Path] = ()
) -> None:
    units = [HERE / "programs" / program, ABI / "castoff_all.c", *sources]
    shared = [] if output.suffix == "" else ["-shared", "-fPIC"]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        [
            COMPILER,
            "-std=c11",
            "-O1",
            "-g",
            "-fvisibility=hidden",
            *warnings,
            *shared,
            *flags,
            f"-I{ABI}",
        ]
        + [str(unit) for unit in units]
        + ["-o", str(output), "-lm", "-lpthread", "-ldl"],
        check=True,
    )


def affine_manifest() -> Manifest:
    tensor = ("float32", ("batch", 4))
    return Manifest(
        name="affine",
        in_spec=positional(2),
        out_spec=treespec(LEAF),
        arguments=(Argument("input", 0), Argument("input", 1)),
        results=(Result("output", 0),),
        inputs=(TensorSpec("x", "args[0]", *tensor), TensorSpec("y", "args[1]", *tensor)),
        outputs=(TensorSpec("result", "result", *tensor),),
        constants=(
            ConstantSpec("layer.weight", "float32", (4,), 0, 16),
            ConstantSpec("layer.packed", "float32", (4,), 64, 16, replaceable=False),
        ),
        symbols=(SymbolSpec("batch", 1, 1 << 20),),
        forward_arg_names=("x", "y"),
        levels=("x86-64", "x86-64-v3"),
        machine=os.uname().machine,
        weights_size_bytes=80,
    )


def append_affine(output: Path) -> None:
    append_payload(output, [(0, WEIGHT.tobytes()), (64, WEIGHT.tobytes())], affine_manifest())


def make_affine(output: Path, flags: Sequence[str] = ()) -> Path:
    compile_library("affine.c", output, flags)
    append_affine(output)
    return output


def state_manifest() -> Manifest:
    """Called as f(data, mode, k=, note=): constant arguments, and every kind of result."""
    results = container(
        "builtins.dict",
        json.dumps(["counter", "found", "half", "data", "note", "again"]),
        *[LEAF] * 6,
    )
    return Manifest(
        name="state",
        in_spec=positional(2, "k", "note"),
        out_spec=treespec(results),
        arguments=(
            Argument("input", 0),
            Argument("constant", value="relu"),
            Argument("input", 1),
            Argument("constant", value=None),
        ),
        results=(
            Result("output", 0),
            Result("output", 1),
            Result("output", 2),
            Result("argument", 0),
            Result("constant", value=0.5),
            Result("output", 1),
        ),
        inputs=(
            TensorSpec("data", "args[0]", "int64", ("2*half",), mutated=True),
            TensorSpec("k", "kwargs['k']", "int64", (), kind="int"),
        ),
        outputs=(
            TensorSpec("counter", "result['counter']", "int64", ()),
            TensorSpec("found", "result['found']", "int64", ("u0",), data_dependent=True),
            TensorSpec("half", "result['half']", "int64", (), kind="int"),
        ),
        constants=(ConstantSpec("counter", "int64", (), 0, 8, replaceable=False),),
        buffers=(BufferSpec("counter", "int64", (), 0),),
        forward_arg_names=("data", "mode", "k", "note"),
        levels=("x86-64",),
        machine=os.uname().machine,
        weights_size_bytes=8,
    )


def append_state(output: Path) -> None:
    append_payload(output, [(0, np.array(41, np.int64).tobytes())], state_manifest())


def make_state(output: Path, flags: Sequence[str] = ()) -> Path:
    compile_library("state.c", output, flags)
    append_state(output)
    return output
