"""Compiles loops over scalar functions of `templates/common`, and calls them on NumPy arrays."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

COMMON = Path(__file__).resolve().parents[2] / "templates" / "common"
FLAGS = (
    "-std=gnu11",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Werror",
)
LEVELS = ("x86-64", "x86-64-v3", "x86-64-v4")

C_TYPE = {
    "f32": "float",
    "f64": "double",
    "c64": "castoff_c64",
    "c128": "castoff_c128",
    "b8": "castoff_b8",
    "f16": "castoff_f16",
    "bf16": "castoff_bf16",
    **{f"i{n}": f"int{n}_t" for n in (8, 16, 32, 64)},
    **{f"u{n}": f"uint{n}_t" for n in (8, 16, 32, 64)},
}
NUMPY_TYPE = {
    "f32": np.float32,
    "f64": np.float64,
    "c64": np.complex64,
    "c128": np.complex128,
    "b8": np.uint8,
    "f16": np.uint16,
    "bf16": np.uint16,
    **{f"i{n}": getattr(np, f"int{n}") for n in (8, 16, 32, 64)},
    **{f"u{n}": getattr(np, f"uint{n}") for n in (8, 16, 32, 64)},
}


@dataclass(frozen=True, slots=True)
class Function:
    """`castoff_<name>` and the suffixes of its result and arguments."""

    name: str
    result: str
    arguments: tuple[str, ...]


def same(name: str, suffix: str, count: int = 1, result: str | None = None) -> Function:
    """`castoff_<name>_<suffix>` of `count` arguments of that type."""
    return Function(f"{name}_{suffix}", result or suffix, (suffix,) * count)


def loops(headers: Sequence[str], functions: Sequence[Function]) -> str:
    """One loop a line: `loop_<name>(n, out, x0, x1, …)`."""
    lines = [f'#include "{header}"' for header in headers]
    for function in functions:
        parameters = "".join(
            f", const {C_TYPE[t]} *restrict x{i}" for i, t in enumerate(function.arguments)
        )
        arguments = ", ".join(f"x{i}[i]" for i in range(len(function.arguments)))
        result = C_TYPE[function.result]
        head = f"void loop_{function.name}(int n, {result} *restrict out{parameters})"
        body = f"for (int i = 0; i < n; i++) out[i] = castoff_{function.name}({arguments});"
        lines.append(f"{head}; {head} {{ {body} }}")
    return "\n".join(lines) + "\n"


def c_compiler() -> str:
    """gcc, or a skip."""
    found = shutil.which("gcc")
    if found is None:
        pytest.skip("needs gcc")
    return found


def compile_shared(folder: Path, name: str, source: str, *flags: str) -> ctypes.CDLL:
    """The source as a loaded shared library; a warning is an error."""
    path = folder / f"{name}.c"
    path.write_text(source)
    target = folder / f"{name}.so"
    command = [
        c_compiler(),
        *FLAGS,
        *flags,
        "-shared",
        "-fPIC",
        f"-I{COMMON}",
        str(path),
        "-o",
        str(target),
        "-lm",
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return ctypes.CDLL(str(target))


@dataclass(frozen=True)
class Loops:
    """Callable loops over functions."""

    library: ctypes.CDLL
    functions: tuple[Function, ...]

    @cached_property
    def by_name(self) -> dict[str, Function]:
        return {function.name: function for function in self.functions}

    def __call__(self, name: str, *arrays: np.ndarray) -> np.ndarray:
        function = self.by_name[name]
        inputs = [
            np.ascontiguousarray(x, NUMPY_TYPE[t])
            for x, t in zip(arrays, function.arguments, strict=True)
        ]
        out = np.empty(inputs[0].shape, NUMPY_TYPE[function.result])
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (out, *inputs)]
        getattr(self.library, f"loop_{name}")(ctypes.c_int(out.size), *pointers)
        return out


def compile_loops(
    folder: Path, name: str, headers: Sequence[str], functions: Sequence[Function], *flags: str
) -> Loops:
    """Loops over scalar functions, ready to call."""
    return Loops(compile_shared(folder, name, loops(headers, functions), *flags), tuple(functions))
