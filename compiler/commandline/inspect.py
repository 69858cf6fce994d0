"""`castoff inspect`: what a `.pt2`, an archive or an artefact says of itself. None of them is loaded
or run."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import asdict

from ...runtime.manifest import Manifest, read_manifest
from ...runtime.package import EXTRA_FOLDER, Package, is_package
from ...runtime.package_choice import artefact_line
from ...runtime.package_importer import Importer
from ..errors import CompileError
from ..exported import ExportedProgram, ProgramFormatError, load_program
from ..exported.summary import Summary, TensorRow, summarize, summary_text


def describe_file(path: str) -> Mapping[str, object]:
    """The file's own account as JSON-able records. Raises what is wrong with it."""
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise CompileError(f"cannot read {path}: {error.strerror}") from None
    if magic == b"\x7fELF":
        return {"kind": "artefact", **read_manifest(path).as_dict()}
    if magic[:2] == b"PK" and is_package(path):
        return {"kind": "package", **_package(Package(path))}
    if magic[:2] == b"PK" or zipfile.is_zipfile(path):
        return {"kind": "program", **_program(load_program(path))}
    raise ProgramFormatError(
        f"{path}: expected a castoff artefact or a .pt2 archive, and it is neither"
    )


def _package(package: Package) -> dict[str, object]:
    artefacts: list[dict[str, object]] = []
    constants: dict[str, int] = {}
    apart = 0
    importer = Importer(package.path)
    for artefact in package.artefacts:
        manifest = package.manifest(artefact)
        for entry, spec in zip(artefact.constants, manifest.constants, strict=True):
            constants[entry] = spec.size_bytes
            apart += spec.size_bytes
        artefacts.append(
            {
                "name": artefact.name,
                "method": artefact.method,
                "digest": artefact.digest,
                "image_bytes": package.size_bytes(artefact.entry),
                "summary": artefact_line(artefact, manifest),
                "manifest": manifest.as_dict(),
            }
        )
    return {
        "artefacts": artefacts,
        "weights": {"bytes": sum(constants.values()), "bytes_apart": apart},
        "programs": list(package.programs),
        "extra_files": {
            name: package.size_bytes(EXTRA_FOLDER + name) for name in package.extra_files
        },
        "modules": list(importer.modules),
        "objects": list(importer.objects),
        "requires": list(importer.requires),
    }


def _program(program: ExportedProgram) -> dict[str, object]:
    summary = summarize(program)
    schema = program.schema_version
    entry = program.call_entry
    return {
        "schema": f"{schema.major}.{schema.minor}",
        "torch_version": program.torch_version,
        "dialect": program.dialect,
        "signature": str(entry.signature.forward_arg_names) if entry and entry.signature else "",
        "nodes": summary.calls,
        "operators": summary.operators,
        "tensors": [asdict(row) for row in summary.tensors],
        "bytes": summary.bytes(),
        "symbols": {
            name: [bounds.min_val, bounds.max_val]
            for name, bounds in sorted(program.range_constraints.items())
        },
        "guards": list(program.guards_code),
    }


def as_text(path: str, description: Mapping[str, object]) -> str:
    """The account for people."""
    if description["kind"] == "artefact":
        return artefact_text(path, read_manifest(path))
    if description["kind"] == "package":
        return package_text(path, description)
    lines = [f"{path}: exported program"]
    for key, value in description.items():
        if key not in ("kind", "nodes", "operators", "tensors", "bytes"):
            lines.append(f"  {key.replace('_', ' '):16} {value}")
    return "\n".join([*lines, "", summary_text(_summary(description))])


def _summary(description: Mapping[str, object]) -> Summary:
    operators, tensors = description["operators"], description["tensors"]
    assert isinstance(operators, dict) and isinstance(tensors, list), "as `_program` writes them"
    return Summary(operators, tuple(TensorRow(**row) for row in tensors))


def package_text(path: str, description: Mapping[str, object]) -> str:
    """An archive for people."""
    artefacts, weights = description["artefacts"], description["weights"]
    assert isinstance(artefacts, list) and isinstance(weights, dict), "as _package makes them"
    size = f"{weights['bytes']} bytes, {weights['bytes_apart']} if each artefact had its own"
    lines = [f"{path}: deployment archive", f"  {'weights':14} {size}"]
    for key in ("programs", "extra_files", "modules", "objects", "requires"):
        names = description[key]
        assert isinstance(names, (list, dict)), "names of what there is"
        if names:
            lines.append(f"  {key.replace('_', ' '):14} {', '.join(names)}")
    lines.append("  artefacts")
    lines += [f"    {artefact['name']}: {artefact['summary']}" for artefact in artefacts]
    return "\n".join(lines)


def artefact_text(path: str, manifest: Manifest) -> str:
    """A manifest for people."""
    lines = [f"{path}: artefact of {manifest.name!r}"]
    for label, value in (
        ("device", manifest.device),
        ("machine", manifest.machine),
        ("levels", ", ".join(manifest.levels)),
        ("weights", f"{manifest.weights_size_bytes} bytes, {manifest.weights_digest[:16]}"),
        *([("compressed", manifest.weights_report)] if manifest.weights_report else []),
        *(("measured", choice) for choice in manifest.tuning),
        ("program", manifest.program_digest[:16]),
        ("built by", f"castoff {manifest.castoff_version} {manifest.builder}".strip()),
        ("compiler", manifest.compiler),
        ("source schema", manifest.source_schema),
    ):
        lines.append(f"  {label:14} {value}")
    for label, specs in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        lines.append(f"  {label}")
        lines += [
            f"    {spec.path:20} {spec.name}: {spec}{' (mutated)' if spec.mutated else ''}"
            for spec in specs
        ]
    if manifest.symbols:
        lines.append("  symbols")
    for symbol in manifest.symbols:
        low = "" if symbol.min is None else f"{symbol.min} <= "
        high = "" if symbol.max is None else f" <= {symbol.max}"
        lines.append(f"    {low}{symbol.name}{high}")
    if manifest.buffers:
        lines.append("  buffers")
        lines += [
            f"    {buffer.name}: {buffer.dtype}{list(buffer.shape)}" for buffer in manifest.buffers
        ]
    return "\n".join(lines)
