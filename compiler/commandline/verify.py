"""`castoff verify`: compiles a program and holds its answers against the NumPy reference."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ... import __version__
from ...runtime.manifest import Manifest
from ...runtime.runner import Runner, aot_load
from ..api import aot_compile
from ..codegen.generate import generate
from ..exported import ExportedProgram, TensorData, load_program
from ..frontends.exported import import_program
from ..frontends.program import ImportedProgram, TensorOutput
from ..lowering.lower import lower
from ..observe import Observer
from ..options import CompileOptions
from ..passes.pipeline import optimize
from ..records import dataclass
from ..toolchain import build_shared_library
from ..verify import ReferenceProgram
from .tensors import call_arguments, parse_values, result_arrays, with_arbitrary

# (relative, of the largest magnitude in the result) by the width of an element in bytes
_TOLERANCE: Mapping[int, float] = {1: 1e-1, 2: 2e-2, 4: 1e-4, 8: 1e-8, 16: 1e-8}


@dataclass(frozen=True, slots=True)
class Compared:
    """One result: how far it is from the reference, and whether that is within `tolerance`."""

    path: str
    is_equal: bool
    largest_difference: float
    tolerance: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What the comparison found."""

    results: tuple[Compared, ...]
    first_difference: str = ""
    """Where results differ: the first node whose own values part, with the user's source line."""

    @property
    def is_equal(self) -> bool:
        """Whether every result is within its tolerance."""
        return all(compared.is_equal for compared in self.results)

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able records."""
        return {
            "is_equal": self.is_equal,
            "results": [asdict(item) for item in self.results],
            "first_difference": self.first_difference,
        }

    def __str__(self) -> str:
        lines = [
            f"{'equal ' if item.is_equal else 'DIFFER'}  {item.path}: largest difference "
            f"{item.largest_difference:.3g} (tolerance {item.tolerance:.3g}){item.note}"
            for item in self.results
        ]
        return "\n".join([*lines, self.first_difference] if self.first_difference else lines)


def verify(program: str, arguments: Sequence[str], options: CompileOptions) -> Report:
    """Compiles `program` aside, calls it and the reference with equal inputs, and compares the
    results.

    Inputs are `arguments`; without any, those stored in the program, else arbitrary ones.
    """
    exported = load_program(program)
    reference = ReferenceProgram(import_program(exported, random_seed=options.random_seed))
    with tempfile.TemporaryDirectory(prefix="castoff-verify-") as folder:
        compiled = aot_load(
            aot_compile(program, options=options, output=str(Path(folder) / "verified.so"))
        )
        args, kwargs = program_inputs(exported, arguments, compiled.manifest)
        results = _compare_call(compiled, reference, args, kwargs)
        report = Report(results)
        if report.is_equal:
            return report
        return Report(results, first_difference(exported, options, args, kwargs, folder))


def _compare_call(
    compiled: Runner,
    reference: ReferenceProgram,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> tuple[Compared, ...]:
    """One call of both, with their own copies of the inputs, which programs may change."""
    expected = reference.run(copy.deepcopy(args), copy.deepcopy(dict(kwargs)))
    got = compiled(*copy.deepcopy(args), **copy.deepcopy(dict(kwargs)))
    wanted = result_arrays(expected, compiled.manifest)
    found = result_arrays(got, compiled.manifest)
    return tuple(compare(path, found[path], wanted[path]) for path in wanted)


def first_difference(
    exported: ExportedProgram,
    options: CompileOptions,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    folder: str,
) -> str:
    """Compiles the program once more with every value an output, and names the first node that
    parts.

    What was fused may then be computed apart; where no node parts, the sentence says so.
    """
    probe = probe_program(exported, options.random_seed)
    observer = Observer(options)
    lowered = lower(probe.graph)
    generated = generate(probe, lowered, options, "probe", __version__)
    path = build_shared_library(
        generated.tree,
        Path(folder) / "probe.so",
        options=options,
        manifest=generated.manifest,
        constants=generated.weights,
        observer=observer,
    )
    compared = _compare_call(aot_load(path), ReferenceProgram(probe), args, kwargs)
    nodes = [node for node in probe.graph.nodes for _ in node.outputs]
    for node, item in zip(nodes, compared, strict=True):
        if not item.is_equal:
            return (
                f"first value that parts: {node}\n    {node.origin} ({item.largest_difference:.3g})"
            )
    return "no value parts when every one of them is an output: the difference comes with fusion"


def probe_program(exported: ExportedProgram, random_seed: int = 0) -> ImportedProgram:
    """The program with the outputs of all its nodes, in order, as its results."""
    imported = import_program(exported, random_seed=random_seed)
    graph = optimize(imported.graph, Observer(CompileOptions()))
    values = tuple(value for node in graph.nodes for value in node.outputs)
    leaf: dict[str, object] = {"type": None, "context": None, "children_spec": []}
    root: dict[str, object] = {
        "type": "builtins.tuple",
        "context": "null",
        "children_spec": [leaf] * len(values),
    }
    return replace(
        imported,
        graph=replace(graph, outputs=values),
        out_spec=json.dumps([1, root]),
        outputs=tuple(TensorOutput(value.name, index) for index, value in enumerate(values)),
    )


def program_inputs(
    exported: ExportedProgram, arguments: Sequence[str], manifest: Manifest
) -> tuple[tuple[object, ...], Mapping[str, object]]:
    """The inputs that arguments give; without any, those stored in the program, else arbitrary ones."""
    stored = exported.example_inputs
    if not arguments and stored is not None:
        args = tuple(_as_arrays(item) for item in stored.args)
        return args, {name: _as_arrays(item) for name, item in stored.kwargs.items()}
    return call_arguments(with_arbitrary(parse_values(arguments, manifest), manifest), manifest)


def _as_arrays(tree: object) -> object:
    """A copy of a tree of stored inputs with NumPy arrays for its tensors."""
    match tree:
        case TensorData():
            return np.array(tree.array)
        case dict():
            return type(tree)((key, _as_arrays(item)) for key, item in tree.items())
        case list() | tuple() if type(tree) in (list, tuple):
            return type(tree)(map(_as_arrays, tree))
    return tree


def compare(path: str, got: object, wanted: object) -> Compared:
    """One result against the reference's: exact for integers and booleans, NaN equal to NaN."""
    if wanted is None or isinstance(wanted, str):
        return Compared(path, got == wanted, 0.0, 0.0, "" if got == wanted else f": got {got!r}")
    expected, found = np.asarray(wanted), np.asarray(got)
    if expected.shape != found.shape:
        return Compared(
            path, False, float("inf"), 0.0, f": shape {found.shape}, not {expected.shape}"
        )
    if expected.dtype.kind in "iub":
        is_equal = bool(np.array_equal(expected, found))
        wide = np.abs(expected.astype(np.float64) - found.astype(np.float64))
        return Compared(path, is_equal, float(wide.max(initial=0.0)), 0.0)
    kind = np.complex128 if expected.dtype.kind == "c" else np.float64
    relative = _TOLERANCE[expected.dtype.itemsize // (2 if expected.dtype.kind == "c" else 1)]
    a, b = expected.astype(kind), found.astype(kind)
    with np.errstate(invalid="ignore"):
        is_same = (a == b) | (np.isnan(a) & np.isnan(b))
        difference = np.where(is_same, 0.0, np.abs(a - b))
    finite = np.abs(a[np.isfinite(a)])
    tolerance = relative * max(float(finite.max(initial=0.0)), 1e-6)
    largest = float(np.max(difference, initial=0.0))
    return Compared(path, largest <= tolerance, largest, tolerance)
