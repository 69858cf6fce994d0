"""Writes a source tree as files that build into the same artefact without castoff."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from importlib import resources
from pathlib import Path

from ...runtime.manifest import ABI_MAJOR, ABI_MINOR, Manifest
from ..codegen.source_tree import SourceTree
from ..errors import OutputError
from ..options import CompileOptions
from .build import Weights, complete_manifest, try_find_tools
from .commands import (
    LINKED_NAME,
    RESPONSE_FILE,
    Tools,
    compile_command,
    link_command,
    prefix_map,
    response_text,
)
from .compilers import Compiler, Family
from .toolkit import Toolkit

SCRIPT_NAME = "build.sh"
SEAL_NAME = "seal.sh"
WEIGHTS_NAME = "weights.bin"
MANIFEST_NAME = "manifest.json"


def write_source_tree(
    tree: SourceTree,
    folder: str | os.PathLike[str],
    *,
    options: CompileOptions,
    manifest: Manifest,
    constants: Weights = (),
) -> Path:
    """Writes the tree, its weights and manifest, and a `build.sh` that makes the artefact; returns
    the folder.

    `sh build.sh [output]` needs a C compiler ($CC, else the one found here), for units with kernels
    a CUDA toolkit ($NVCC, $CUDA_INCLUDE and $CUDA_LIBRARIES, else the one found here), gzip and the
    POSIX tools. With equal tools it gives the bytes that build_shared_library() gives. Raises
    OutputError where the folder cannot be written.
    """
    tools = try_find_tools(tree, options)
    root = Path(folder)
    try:
        for path, text in tree.files().items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        digest = _write_weights(root / WEIGHTS_NAME, constants, manifest.weights_size_bytes)
        complete = complete_manifest(manifest, tree, tools, options)
        complete = complete._replace(weights_digest=digest)
        (root / MANIFEST_NAME).write_bytes(complete.to_json())
        (root / RESPONSE_FILE).write_text(response_text(tree), encoding="utf-8")
        (root / SEAL_NAME).write_text(_seal_script(), encoding="utf-8")
        (root / SCRIPT_NAME).write_text(_build_script(tree, tools, options), encoding="utf-8")
        (root / SCRIPT_NAME).chmod(0o755)
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or root}: {error.strerror}") from error
    return root


def _write_weights(path: Path, constants: Weights, size_bytes: int) -> str:
    """Writes the weights with the gaps between them; returns their sha256."""
    digest = hashlib.sha256()
    position = 0
    with open(path, "wb") as file:

        def write(chunk: bytes | bytearray | memoryview) -> None:
            nonlocal position
            view = memoryview(chunk).cast("B") if len(chunk) else memoryview(b"")
            file.write(view)
            digest.update(view)
            position += len(view)

        for offset, chunk in constants:
            write(bytes(offset - position))
            write(chunk)
        write(bytes(size_bytes - position))
    return digest.hexdigest()


def _seal_script() -> str:
    return (resources.files("castoff.templates") / "abi" / "castoff_seal.sh").read_text("utf-8")


def _build_script(tree: SourceTree, tools: Tools | None, options: CompileOptions) -> str:
    """Text of build.sh: the commands, then the seal. Spelled for gcc and a usual toolkit where none were
    found.
    """
    found = tools or Tools(
        Compiler(("gcc",), Family.GCC, "", "", ""),
        Toolkit("nvcc", "/usr/local/cuda/include", "/usr/local/cuda/lib64", "", "")
        if tree.is_for_device
        else None,
    )
    lines = [
        "#!/bin/sh",
        f"# Builds the artefact {tree.name!r} from the files beside this one:",
        f"#     sh {SCRIPT_NAME} [output]",
        "set -eu",
        "output=${1:-" + shlex.quote(tree.name + ".so") + "}",
        "case $output in /*) ;; *) output=$PWD/$output ;; esac",
        'cd "$(dirname "$0")"',
        f"CC=${{CC:-{shlex.join(found.compiler.command)}}}",
        "export LC_ALL=C",
    ]
    spelled = found
    if found.toolkit is not None:
        # Stand-ins without a letter that a shell would quote: they become the variables below.
        stand_in = Toolkit("@NVCC@", "@CUDA_INCLUDE@", "@CUDA_LIBRARIES@", "", "")
        spelled = Tools(found.compiler, stand_in)
        lines += [
            f"NVCC=${{NVCC:-{found.toolkit.nvcc}}}",
            f"CUDA_INCLUDE=${{CUDA_INCLUDE:-{found.toolkit.include}}}",
            f"CUDA_LIBRARIES=${{CUDA_LIBRARIES:-{found.toolkit.libraries}}}",
        ]
    skip = len(spelled.compiler.command)
    quoted_folder = '"$PWD"'
    for unit in tree.units:
        command = compile_command(unit, spelled, options)[1 if unit.is_for_device else skip :]
        compiler = '"$NVCC"' if unit.is_for_device else "$CC"
        lines.append(f"{compiler} {_joined(command)} {prefix_map(unit, quoted_folder)}")
    lines.append("$CC " + _joined(link_command(tree, spelled, options)[skip:]))
    seal = (SEAL_NAME, LINKED_NAME, WEIGHTS_NAME, MANIFEST_NAME, str(ABI_MAJOR), str(ABI_MINOR))
    lines += [
        f'sh {shlex.join(seal)} > "$output.aside"',
        'chmod 755 "$output.aside"',
        'mv "$output.aside" "$output"',
    ]
    return "\n".join(lines) + "\n"


def _joined(command: tuple[str, ...]) -> str:
    """A command line of a shell, with its variables in the places of their stand-ins."""
    return re.sub(r"@(CUDA_[A-Z]+)@", r'"$\1"', shlex.join(command))
