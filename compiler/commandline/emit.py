"""`castoff compile --emit`: stops at a stage and shows what it made."""

from __future__ import annotations

from pathlib import Path

from ..errors import OptionError, OutputError
from ..exported.text import program_text as exported_text
from ..ir.text import graph_text
from ..lowering.text import program_text
from ..observe import Observer
from ..options import CompileOptions


def emit(program: str, stage: str, output: str | None, options: CompileOptions) -> str:
    """Compiles the `.pt2` `program` as far as `stage`: "program", "ir", "kernel" or "c".

    Texts are returned, or written to `output` whose path is returned; sources are always written,
    to the folder `output` or one named after the program.
    """
    if stage == "c":
        return _emit_sources(program, output, options)
    text = _stage_text(program, stage, options)
    if output is None:
        return text.rstrip("\n")
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror}") from None
    return output


def _stage_text(program: str, stage: str, options: CompileOptions) -> str:
    from ..api import choices_of, graph_stage, kernel_stage, read_stage

    observer = Observer(options)
    exported = read_stage(program, observer)
    if stage == "program":
        return exported_text(exported)
    imported = graph_stage(exported, observer)
    if stage == "ir":
        return graph_text(imported.graph)
    if stage == "kernel":
        return program_text(kernel_stage(imported, observer, choices_of(options)))
    raise OptionError(f"--emit {stage}: expected program, ir, kernel, c or so")


def _emit_sources(program: str, output: str | None, options: CompileOptions) -> str:
    from ..api import compile_stages
    from ..toolchain.emit import write_source_tree

    name = options.name or Path(program).stem
    generated = compile_stages(program, name, options, Observer(options)).generated
    folder = Path(output) if output is not None else Path(f"{name}.source")
    written = write_source_tree(
        generated.tree,
        folder,
        options=options,
        manifest=generated.manifest,
        constants=generated.weights,
    )
    return str(written)
