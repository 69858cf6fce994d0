"""Which artefact of an archive a caller means.

What is asked for must leave one: by device, machine, method and, where artefacts of a method take
other shapes, by the shapes of inputs. Artefacts that differ in nothing but their CPU levels, or in
the GPUs they are for, are one in this: the one with the highest level is tried first, and where
this machine lacks it, the next. Anything else that is left open is an error that lists what there
is, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .device import parse_device
from .errors import PackageError
from .library import host_machine
from .manifest import Manifest, SymbolSpec, TensorSpec
from .package import Package, PackagedArtefact

Shapes = Mapping[str, Sequence[int]]

# The order in which an artefact's own code prefers them, by the names that manifests use.
_LEVELS = ("generic", "x86-64", "x86-64-v3", "x86-64-v4", "x86-64-bf16", "x86-64-amx", "native")


class Request(NamedTuple):
    """What a caller asks an archive for; None leaves it open.

    `shapes` are sizes by the name of an input, or by its path (`args[0]`).
    """

    device: str
    method: str | None = None
    shapes: Shapes | None = None


def choose_artefacts(package: Package, request: Request) -> tuple[str, ...]:
    """Names of the artefacts that answer a request, in the order in which to try them.

    Raises PackageError where none does, or where several do that differ in more than levels,
    DeviceError for a device of which nobody has heard.
    """
    device = parse_device(request.device)
    if not package.artefacts:
        raise PackageError(_no_artefacts(package))
    described = [(artefact, package.manifest(artefact)) for artefact in package.artefacts]
    fitting = [
        (artefact, manifest)
        for artefact, manifest in described
        if manifest.device == device.kind
        and manifest.machine == host_machine()
        and request.method in (None, artefact.method)
        and fits_shapes(manifest, request.shapes or {})
    ]
    if not fitting:
        raise PackageError(
            f"{package.path} holds no artefact for {_asked(request)}; it holds\n"
            + _listing(described)
        )
    interfaces = {(a.method, m.inputs, m.outputs, m.symbols) for a, m in fitting}
    ranks = [max(map(_rank, manifest.levels), default=0) for _, manifest in fitting]
    if len(interfaces) > 1 or len(set(ranks)) < len(ranks):
        raise PackageError(
            f"{package.path} holds {len(fitting)} artefacts for {_asked(request)}; say which by "
            "method=, shapes= (sizes by input name) or artefact= (a name):\n" + _listing(fitting)
        )
    ordered = sorted(zip(ranks, fitting, strict=True), key=lambda pair: -pair[0])
    return tuple(artefact.name for _, (artefact, _) in ordered)


def fits_shapes(manifest: Manifest, shapes: Shapes) -> bool:
    """Whether the inputs named there may have those sizes; an unknown name fits nothing."""
    specs = {spec.name: spec for spec in manifest.inputs}
    specs.update({spec.path: spec for spec in manifest.inputs})
    ranges = {symbol.name: symbol for symbol in manifest.symbols}
    bound: dict[str, int] = {}
    return all(
        name in specs and _fits(specs[name], shape, ranges, bound) for name, shape in shapes.items()
    )


def _fits(
    spec: TensorSpec,
    shape: Sequence[int],
    ranges: Mapping[str, SymbolSpec],
    bound: dict[str, int],
) -> bool:
    """Sizes that are expressions over symbols are left to the call."""
    if len(shape) != len(spec.shape):
        return False
    for expected, size in zip(spec.shape, shape, strict=True):
        if isinstance(expected, int):
            if expected != size:
                return False
        elif (symbol := ranges.get(expected)) is not None:
            low = 0 if symbol.min is None else symbol.min
            if size < low or (symbol.max is not None and size > symbol.max):
                return False
            if bound.setdefault(expected, size) != size:
                return False
    return True


def _rank(level: str) -> int:
    """Higher for what is newer: levels of CPUs in their order, architectures of GPUs by number."""
    if level.startswith("sm_") and level[3:].isdigit():
        return int(level[3:])
    return _LEVELS.index(level) if level in _LEVELS else -1


def _asked(request: Request) -> str:
    parts = [f"device {request.device!r}"]
    if request.method is not None:
        parts.append(f"method {request.method!r}")
    if request.shapes:
        parts.append(f"shapes {dict(request.shapes)!r}")
    return ", ".join([*parts, f"machine {host_machine()}"])


def _listing(described: Iterable[tuple[PackagedArtefact, Manifest]]) -> str:
    return "\n".join(
        f"  {artefact.name}: {artefact_line(artefact, manifest)}"
        for artefact, manifest in described
    )


def artefact_line(artefact: PackagedArtefact, manifest: Manifest) -> str:
    """One line about an artefact, its name left out."""
    inputs = ", ".join(f"{spec.name}: {spec}" for spec in manifest.inputs)
    levels = f" ({', '.join(manifest.levels)})" if manifest.levels else ""
    return (
        f"method {artefact.method}, {manifest.device} {manifest.machine}{levels}, takes ({inputs})"
    )


def _no_artefacts(package: Package) -> str:
    if package.names_in("data/aotinductor/"):
        return (
            f"{package.path} holds artefacts of AOTInductor, which need PyTorch to run: compile "
            "the exported program with castoff.aot_compile"
        )
    if package.programs:
        return (
            f"{package.path} is an exported program, not compiled yet: castoff.aot_compile makes "
            "an artefact of it"
        )
    return f"{package.path} holds no compiled artefact"
