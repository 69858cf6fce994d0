"""`aot_compile`: from a program to an artefact, one stage after the other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.manifest import Manifest
from .codegen.generate import Generated, generate
from .errors import CompileError
from .exported.deserialize import load_program
from .exported.program import ExportedProgram
from .frontends.exported import import_program
from .frontends.program import ImportedProgram
from .ir.graph import Graph
from .lowering.lower import lower
from .lowering.program import Program
from .observe import Observer
from .options import CompileOptions, resolve_options
from .passes.pipeline import optimize
from .toolchain.build import build_shared_library

VERSION = "0.1.0"


@dataclass(frozen=True, slots=True)
class Stages:
    """What each stage made of a program, up to the source text."""

    exported: ExportedProgram
    imported: ImportedProgram
    graph: Graph
    program: Program
    generated: Generated

    @property
    def manifest(self) -> Manifest:
        """What the artefact will say of itself."""
        return self.generated.manifest


def compile_stages(
    source: object, name: str, options: CompileOptions, observer: Observer, *, remove_runtime_assertions: bool = False
) -> Stages:
    """Everything before the C compiler: read, import, optimise, lower, render."""
    from dataclasses import replace

    with observer.stage("read"):
        exported = source if isinstance(source, ExportedProgram) else load_program(source)  # type: ignore[arg-type]
    with observer.stage("import"):
        imported = import_program(exported, remove_runtime_assertions=remove_runtime_assertions)
    with observer.stage("optimise"):
        graph = optimize(imported.graph, observer)
        imported = replace(imported, graph=graph)
    with observer.stage("lower"):
        program = lower(graph)
    with observer.stage("render"):
        generated = generate(imported, program, options, name, VERSION)
    return Stages(exported, imported, graph, program, generated)


def aot_compile(
    f: object,
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    dynamic_shapes: object = None,
    options: CompileOptions | Mapping[str, object] | None = None,
    device: str = "cpu",
    output: str | os.PathLike[str] | None = None,
    remove_runtime_assertions: bool = False,
    disable_constraint_solver: bool = False,
    same_signature: bool = True,
) -> str:
    """Compiles a program into one shared library and returns its path.

    f: path or bytes of a `.pt2`, an ExportedProgram (castoff's or torch's), or, with torch installed, an nn.Module or a
        callable over tensors, which is exported with `args`, `kwargs` and `dynamic_shapes` first.
    options: CompileOptions, or a mapping of its fields.
    device: "cpu".
    output: where the library goes, its C header beside it; by default the program's own path with `.so`.
    remove_runtime_assertions: leave out the assertions the exporter recorded.

    Raises ProgramFormatError for files that are no programs, UnsupportedOperatorError with every operator that cannot be
    compiled, ToolchainError where the C compiler is missing or fails, OutputError where the result cannot be written.
    """
    if device != "cpu":
        raise CompileError(f'device = {device!r}: this build of castoff compiles for "cpu"')
    chosen = resolve_options(options)
    observer = Observer(chosen)
    target = Path(os.fspath(output)) if output is not None else _default_output(f)
    source = _as_source(f, args, kwargs, dynamic_shapes, disable_constraint_solver, same_signature)
    stages = compile_stages(
        source, chosen.name or target.stem, chosen, observer, remove_runtime_assertions=remove_runtime_assertions
    )
    generated = stages.generated
    path = build_shared_library(
        generated.tree, target, options=chosen, manifest=generated.manifest, constants=generated.weights, observer=observer
    )
    return os.fspath(path)


def _default_output(f: object) -> Path:
    if isinstance(f, (str, os.PathLike)):
        return Path(os.fspath(f)).with_suffix(".so")
    return Path("program.so")


def _as_source(
    f: object, args: Sequence[object], kwargs: Mapping[str, object] | None, dynamic_shapes: object,
    disable_constraint_solver: bool, same_signature: bool,
) -> object:  # fmt: skip
    """What `load_program` reads: files and bytes as they are, torch objects exported to bytes."""
    if isinstance(f, (str, os.PathLike, bytes, bytearray, memoryview, ExportedProgram)) or hasattr(f, "read"):
        return f
    from .frontends.torch import export_to_bytes

    return export_to_bytes(f, tuple(args), dict(kwargs or {}), dynamic_shapes)
