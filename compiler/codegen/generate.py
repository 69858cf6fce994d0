"""Program -> SourceTree, manifest and weights: everything the toolchain needs."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import numpy as np

from ...runtime.manifest import (
    BufferSpec,
    ConstantSpec,
    Manifest,
    StepSpec,
    layout_constants,
)
from ..frontends.program import ImportedProgram
from ..ir.dtypes import from_numpy
from ..lowering.layouts import Coder
from ..lowering.program import Program
from ..lowering.tuning import Tuning
from ..options import CompileOptions
from ..records import dataclass
from ..targets import cpu
from .definition import make_manifest, write_definition
from .program import ProgramWriter
from .render import template_text
from .source_tree import SourceTree, SourceUnit

ABI_UNIT = "abi/castoff_all.c"
FIXED_FLAGS = ("-Og",)
"""For what is no kernel. -O1 takes half as long again and gives hardly less to execute; -O0 does."""

_FALLBACK_FLAGS = ("-O1",)
"""For processors without AVX2 where there is code for others too: a quarter less to compile, a tenth more to run."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A source tree with the manifest and the constants that go behind its code."""

    tree: SourceTree
    manifest: Manifest
    weights: tuple[tuple[int, memoryview], ...]


@dataclass(frozen=True, slots=True)
class TargetCode:
    """What a target makes of a program: units, and what the artefact says of them."""

    target: str
    levels: tuple[str, ...]
    functions: tuple[tuple[str, str], ...]
    """(enumerator of a level, run function)."""
    units: tuple[SourceUnit, ...]
    carried: Mapping[str, str]
    architectures: tuple[int, ...] = ()
    steps: tuple[StepSpec, ...] = ()
    libraries: tuple[str, ...] = ()
    """Libraries that loading the program opens."""


def generate(
    imported: ImportedProgram,
    program: Program,
    options: CompileOptions,
    name: str,
    version: str,
    tuning: Tuning | None = None,
) -> Generated:
    """Everything that is built into one artefact."""
    coder = Coder()
    arrays, specs, buffers, size = _constants(program, coder)
    code = _cuda_code(program, options) if options.device == "cuda" else _cpu_code(program, options)
    manifest = make_manifest(
        imported, name, specs, buffers, size, code.target, code.levels, platform.machine(), version,
        options.device,
    )._replace(
        steps=code.steps, libraries=code.libraries, weights_report=coder.report(),
        tuning=tuning.report() if tuning else (),
    )  # fmt: skip
    definition = write_definition(
        program.graph,
        manifest,
        program.slots,
        program.static_bytes,
        code.functions,
        code.architectures,
    )
    flags = (*FIXED_FLAGS, "-DCASTOFF_CUDA") if code.architectures else FIXED_FLAGS
    units = [
        *code.units,
        SourceUnit("definition.c", definition, flags),
        SourceUnit(ABI_UNIT, template_text(ABI_UNIT), flags),
    ]
    tree = SourceTree(name, tuple(units), dict(_headers(units, code.carried)))
    offsets = [spec.offset_bytes for spec in specs]
    return Generated(tree, manifest, tuple(zip(offsets, map(_bytes, arrays), strict=True)))


def _cpu_code(program: Program, options: CompileOptions) -> TargetCode:
    """One unit, compiled once per CPU level."""
    writer = ProgramWriter(
        program, notes_steps=options.profile, watches_memory="address" in options.sanitizers
    )
    kernels = writer.write()
    is_narrow = not cpu.NARROW_HEADERS.isdisjoint(writer.headers)
    levels = [cpu.LEVELS[level] for level in options.cpu_levels_for(is_narrow=is_narrow)]
    functions = tuple(
        (level.enumerator, f"castoff_run_{level.name.replace('-', '_')}") for level in levels
    )
    has_fallback = len(levels) > 1 and options.opt_level == 2
    units = tuple(
        SourceUnit(
            "program.c",
            kernels,
            (
                *cpu.FLAGS,
                "-Iabi",
                *level.flags,
                *(_FALLBACK_FLAGS if has_fallback and level.name == "x86-64" else ()),
                f"-DCASTOFF_LEVEL={level.number}",
                f"-DCASTOFF_RUN={function}",
            ),
            f"program.{level.name}.o",
        )
        for level, (_, function) in zip(levels, functions, strict=True)
    )
    names = tuple(level.name for level in levels)
    return TargetCode(
        ",".join(names), names, functions, units, writer.carried, steps=tuple(writer.steps)
    )


def _cuda_code(program: Program, options: CompileOptions) -> TargetCode:
    """A unit for the device, and one of what the host computes, where there is such."""
    from ..targets import cuda  # what compiles for CPUs need not wait for it
    from .cuda_program import BLAS_UNIT, CudaProgramWriter

    architectures = options.cuda_architectures or cuda.ARCHITECTURES
    writer = CudaProgramWriter(program, is_tf32=options.compute == "tf32")
    flags = ("-Iabi", *cuda.FLAGS, *cuda.architecture_flags(architectures))
    units = [SourceUnit("program.cu", writer.write(), flags)]
    units += [SourceUnit(path, template_text(path), flags) for path in writer.units]
    host_calls = writer.write_host_calls()
    if host_calls is not None:
        units.append(SourceUnit("host_calls.c", host_calls, (*cpu.FLAGS, "-Iabi")))
    return TargetCode(
        "cuda",
        tuple(f"sm_{number}" for number in sorted(architectures)),
        (("CASTOFF_LEVEL_BASELINE", "castoff_run_cuda"),),
        tuple(units),
        writer.carried,
        tuple(sorted(architectures)),
        libraries=("cublasLt",) if BLAS_UNIT in writer.units else (),
    )


def _headers(units: list[SourceUnit], carried: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Every header of `templates/`, or `carried` by an operator, that the units include, through other headers too."""
    pending = [(unit.path, unit.text) for unit in units]
    seen: set[str] = set()
    while pending:
        path, text = pending.pop()
        for included in re.findall(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', text, re.MULTILINE):
            for folder in (str(PurePosixPath(path).parent), "", "abi"):
                candidate = f"{folder}/{included}" if folder not in ("", ".") else included
                if candidate in seen:
                    break
                try:
                    header = (
                        carried[candidate] if candidate in carried else template_text(candidate)
                    )
                except FileNotFoundError:
                    continue
                seen.add(candidate)
                pending.append((candidate, header))
                yield candidate, header
                break
            else:
                raise LookupError(f"{path} includes {included}, which templates/ does not have")


def _constants(
    program: Program, coder: Coder
) -> tuple[list[np.ndarray], tuple[ConstantSpec, ...], tuple[BufferSpec, ...], int]:
    """Arrays in the layouts the kernels read, with their specs; initial values of buffers come last."""
    graph = program.graph
    arrays: list[np.ndarray] = []
    names: list[str] = []
    replaceable: list[bool] = []
    packed_sources = {c.source for _, c in program.constants if c.layout is not None}
    for buffer, constant in program.constants:
        arrays.append(
            coder.lay_out(constant.source, graph.constants[constant.source], constant.layout)
        )
        names.append(buffer.name)
        replaceable.append(constant.layout is None and constant.source not in packed_sources)
    buffers: list[BufferSpec] = []
    for value, initial in graph.buffers.items():
        shape = tuple(int(size) for size in initial.array.shape)
        buffers.append(BufferSpec(initial.name, value.dtype.value, shape, len(arrays)))
        arrays.append(initial.array)
        names.append(f"{initial.name} (initial)")
        replaceable.append(False)
    offsets, size = layout_constants([array.nbytes for array in arrays])
    specs = tuple(
        ConstantSpec(
            name,
            from_numpy(array.dtype).value,
            tuple(array.shape),
            offset,
            array.nbytes,
            is_replaceable,
        )
        for name, array, offset, is_replaceable in zip(
            names, arrays, offsets, replaceable, strict=True
        )
    )
    return arrays, specs, tuple(buffers), size


def _bytes(array: np.ndarray) -> memoryview:
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).data if flat.size else memoryview(b"")
