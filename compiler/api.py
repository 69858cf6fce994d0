"""`aot_compile`: from a program to an artefact, one stage after the other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..runtime.manifest import Manifest
from .codegen.generate import Generated, generate
from .exported.deserialize import load_program
from .exported.program import ExportedProgram
from .exported.text import program_text as exported_text
from .frontends.capture.kinds import is_numpy
from .frontends.exported import import_program
from .frontends.program import ImportedProgram
from .ir.graph import Graph
from .ir.text import graph_text
from .ir.verify import verify_graph
from .lowering.choices import DEFAULT, Choices
from .lowering.lower import lower
from .lowering.program import Program
from .lowering.text import program_text
from .observe import DUMP_ONLY, SHOW_GRAPH, SHOW_KERNELS, SHOW_TIMES, Observer
from .options import CompileOptions, resolve_options
from .passes.pipeline import optimize
from .records import dataclass
from .toolchain.build import build_shared_library
from .toolchain.tune import tune

VERSION = "0.1.0"


@dataclass(frozen=True, slots=True)
class Stages:
    """What each stage made of a program, up to the source text."""

    exported: ExportedProgram
    imported: ImportedProgram
    program: Program
    generated: Generated

    @property
    def graph(self) -> Graph:
        """The optimised graph."""
        return self.imported.graph

    @property
    def manifest(self) -> Manifest:
        """What the artefact will say of itself."""
        return self.generated.manifest


def compile_stages(
    source: object,
    name: str,
    options: CompileOptions,
    observer: Observer,
    *,
    remove_runtime_assertions: bool = False,
) -> Stages:
    """Everything before the C compiler: read, import, optimise, lower, measure where wanted, render."""
    exported = read_stage(source, observer)
    imported = graph_stage(
        exported,
        observer,
        remove_runtime_assertions=remove_runtime_assertions,
        random_seed=options.random_seed,
        has_levels=options.device == "cpu",
    )
    choices = choices_of(options)
    if options.max_autotune:
        with observer.stage("measure"):
            choices = measured(choices, imported.graph, options)
    program = kernel_stage(imported, observer, choices)
    with observer.stage("render"):
        generated = generate(imported, program, options, name, VERSION, choices.tuning)
    if (report := generated.manifest.weights_report) and observer.wants(SHOW_TIMES):
        observer.record("weights.txt", report, SHOW_TIMES)
    return Stages(exported, imported, program, generated)


def read_stage(source: object, observer: Observer) -> ExportedProgram:
    """The program in a `.pt2` (a path, bytes or a binary file), or `source` itself if it is one."""
    with observer.stage("read"):
        if isinstance(source, ExportedProgram):
            exported = source
        else:
            exported = load_program(source)  # type: ignore[arg-type]  # it refuses other types
    if observer.wants(SHOW_GRAPH):
        observer.record("program.txt", exported_text(exported), DUMP_ONLY)
    return exported


def graph_stage(
    exported: ExportedProgram,
    observer: Observer,
    *,
    remove_runtime_assertions: bool = False,
    random_seed: int = 0,
    has_levels: bool = True,
) -> ImportedProgram:
    """The program as a graph: imported, then through every pass, verified after each."""
    with observer.stage("import"):
        imported = import_program(
            exported, remove_runtime_assertions=remove_runtime_assertions, random_seed=random_seed
        )
        verify_graph(imported.graph, after="importing")
    if observer.wants(SHOW_GRAPH):
        observer.record("imported.ir", graph_text(imported.graph), DUMP_ONLY)
    with observer.stage("optimise"):
        graph = optimize(imported.graph, observer, has_levels=has_levels)
    if observer.wants(SHOW_GRAPH):
        observer.record("graph.ir", graph_text(graph), SHOW_GRAPH)
    return replace(imported, graph=graph)


def choices_of(options: CompileOptions) -> Choices:
    """What the options leave to lowering."""
    on_cpu = options.device == "cpu"
    return Choices(on_cpu, options.compute, options.weights, splits_keys=on_cpu, keeps_rows=on_cpu)


def measured(choices: Choices, graph: Graph, options: CompileOptions) -> Choices:
    """The choices with what is fastest on this machine for the shapes of an optimised graph."""
    return replace(choices, tuning=tune(lower(graph, choices), options))


def kernel_stage(
    imported: ImportedProgram, observer: Observer, choices: Choices = DEFAULT
) -> Program:
    """The optimised graph as steps over buffers."""
    with observer.stage("lower"):
        program = lower(imported.graph, choices)
    if observer.wants(SHOW_KERNELS):
        observer.record("kernels.txt", program_text(program), SHOW_KERNELS)
    return program


def aot_compile(
    f: object,
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    dynamic_shapes: object = None,
    options: CompileOptions | Mapping[str, object] | None = None,
    device: str | None = None,
    output: str | os.PathLike[str] | None = None,
    remove_runtime_assertions: bool = False,
    disable_constraint_solver: bool = False,
    same_signature: bool = True,
) -> str:
    """Compiles a program into one shared library and returns its path.

    f: path or bytes of a `.pt2`, an ExportedProgram (castoff's or torch's), a castoff.Module or a
        function of NumPy arrays, or, with torch installed, an nn.Module or a function of tensors. All
        but programs are exported with `args`, `kwargs` and `dynamic_shapes` first.
    options: CompileOptions, or a mapping of its fields.
    device: "cpu" or "cuda"; None takes that of the options, which is "cpu" where they say nothing.
    output: where the library goes, its C header beside it; by default the program's own path with `.so`.
    remove_runtime_assertions: leave out the assertions the exporter recorded; the ranges of symbols, which the code
        relies on, are still checked.
    disable_constraint_solver, same_signature: taken for the sake of callers of PyTorch's function
        of this name; torch.export has no such choices any more, and neither do they change
        anything here.

    Raises ProgramFormatError for files that are no programs, CaptureError for what of a NumPy function
    cannot be captured, UnsupportedOperatorError with every
    operator that cannot be compiled, ToolchainError where the C compiler is missing or fails,
    OutputError where the result cannot be written.
    """
    chosen = resolve_options(options)
    if device is not None:
        chosen = replace(chosen, device=device)
    observer = Observer(chosen)
    target = Path(os.fspath(output)) if output is not None else _default_output(f)
    source = _as_source(f, args, kwargs, dynamic_shapes, observer)
    stages = compile_stages(
        source,
        chosen.name or target.stem,
        chosen,
        observer,
        remove_runtime_assertions=remove_runtime_assertions,
    )
    generated = stages.generated
    path = build_shared_library(
        generated.tree,
        target,
        options=chosen,
        manifest=generated.manifest,
        constants=generated.weights,
        observer=observer,
    )
    return os.fspath(path)


def _default_output(f: object) -> Path:
    if isinstance(f, (str, os.PathLike)):
        return Path(os.fspath(f)).with_suffix(".so")
    return Path("program.so")


def _as_source(
    f: object,
    args: Sequence[object],
    kwargs: Mapping[str, object] | None,
    dynamic_shapes: object,
    observer: Observer,
) -> object:
    """What `load_program` reads: files and bytes as they are, torch objects exported to bytes, and
    what is written in NumPy captured."""
    if isinstance(f, _READABLE) or hasattr(f, "read"):
        return f
    if is_numpy(f, (args, kwargs)):
        from .frontends.capture.export import export

        with observer.stage("capture"):
            return export(f, args, kwargs, dynamic_shapes=dynamic_shapes)  # type: ignore[arg-type]  # it refuses what is not callable
    from .frontends.torch import export_to_bytes

    with observer.stage("export"):
        return export_to_bytes(f, tuple(args), dict(kwargs or {}), dynamic_shapes)


_READABLE = (str, os.PathLike, bytes, bytearray, memoryview, ExportedProgram)
