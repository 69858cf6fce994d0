"""`castoff.package`: compiled artefacts, their programs and extra files into one archive."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.errors import ArtefactError, PackageError
from ...runtime.manifest import (
    CONSTANT_ALIGNMENT,
    Manifest,
    footer_bytes,
    read_layout,
    read_manifest_from,
)
from ...runtime.package import (
    ARTEFACTS_FOLDER,
    CONSTANTS_FOLDER,
    EXTRA_FOLDER,
    PACKAGE_ENTRY,
    PACKAGE_FORMAT,
    ROOT,
    is_name,
)
from ..errors import OptionError, OutputError
from ..exported.archive import Source
from ..exported.atomic import written_aside
from ..exported.deserialize import load_program
from ..exported.program import ExportedProgram
from ..exported.serialize import add_programs
from ..exported.zip_writer import Content, ZipWriter
from ..records import dataclass

if TYPE_CHECKING:
    from .exporter import Exporter

File = str | os.PathLike[str]
Artefacts = Mapping[str, "File | Sequence[File] | Mapping[str, File]"]
"""Method -> its artefact, its artefacts, or its artefacts by name."""


def write_package(
    path: File,
    artefacts: Artefacts | None = None,
    *,
    programs: Mapping[str, ExportedProgram | Source] | None = None,
    extra_files: Mapping[str, str | bytes] | None = None,
    code: Exporter | None = None,
) -> str:
    """What `castoff.package` does, and says."""
    if not (artefacts or programs or extra_files or code):
        raise OptionError("castoff.package: expected artefacts, programs, code or extra files")
    parts = [_read_artefact(name, method, file) for name, method, file in _named(artefacts or {})]
    loaded = {
        _checked_name(name): source if isinstance(source, ExportedProgram) else load_program(source)
        for name, source in (programs or {}).items()
    }
    target = Path(path)
    try:
        with written_aside(target) as file:
            archive = ZipWriter(file.write)
            digests = add_programs(archive, loaded)
            _add_artefacts(archive, parts, digests)
            if code is not None:
                code.add_to(archive, digests)
            for name, extra in (extra_files or {}).items():
                content = extra.encode("utf-8") if isinstance(extra, str) else extra
                archive.add(f"{ROOT}{EXTRA_FOLDER}{name}", content)
            archive.finish()
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    return os.fspath(path)


@dataclass(frozen=True, slots=True)
class _Artefact:
    name: str
    method: str
    manifest: Manifest
    image: bytes  # without weights
    weights: memoryview


def _named(artefacts: Artefacts) -> list[tuple[str, str, File]]:
    """(name, method, file) of each artefact. Raises PackageError for names used twice."""
    named: list[tuple[str, str, File]] = []
    if not isinstance(artefacts, Mapping):
        raise OptionError('castoff.package: expected artefacts by method: {"forward": "model.so"}')
    for method, given in artefacts.items():
        _checked_name(method)
        if isinstance(given, Mapping):
            named += [(_checked_name(name), method, file) for name, file in given.items()]
        elif isinstance(given, (str, os.PathLike)):
            named.append((method, method, given))
        elif len(given) == 1:
            named.append((method, method, given[0]))
        else:
            named += [(_checked_name(Path(file).stem), method, file) for file in given]
    names = [name for name, _, _ in named]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise PackageError(
            f"two artefacts would be called {', '.join(map(repr, doubled))}; name them: "
            "{method: {name: file}}"
        )
    return named


def _checked_name(name: str) -> str:
    if not is_name(name):
        raise PackageError(
            f"{name!r} cannot name a method, an artefact or a program: expected letters, digits "
            "and _ . + -, up to 100 of them"
        )
    return name


def _read_artefact(name: str, method: str, path: File) -> _Artefact:
    label = os.fspath(path)
    try:
        with open(path, "rb") as file:
            manifest = read_manifest_from(file, label)
            layout = read_layout(file, label)
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise ArtefactError(f"cannot read {label}: {error.strerror or error}") from error
    weights = data[layout.weights_offset :][: layout.weights_size]
    text = bytes(data[layout.manifest_offset :][: layout.manifest_size])
    elf = bytes(data[: layout.weights_offset])
    footer = footer_bytes(len(elf), 0, text)
    _check_weights(manifest, weights, label)
    return _Artefact(name, method, manifest, elf + text + footer, weights)


def _check_weights(manifest: Manifest, weights: memoryview, label: str) -> None:
    """The weights are what the manifest says: its constants, in order, with zeros between."""
    if len(weights) != manifest.weights_size_bytes or (
        manifest.weights_digest and hashlib.sha256(weights).hexdigest() != manifest.weights_digest
    ):
        raise ArtefactError(f"{label} is damaged: its weights are not what its manifest says")
    position = 0
    for spec in (*manifest.constants, None):
        start = len(weights) if spec is None else spec.offset_bytes
        gap = weights[position:start]
        if not 0 <= start - position < CONSTANT_ALIGNMENT or start > len(weights) or any(gap):
            raise ArtefactError(f"{label} is damaged: its constants are not all of its weights")
        position = start + (spec.size_bytes if spec is not None else 0)


def _add_artefacts(
    archive: ZipWriter, artefacts: Sequence[_Artefact], digests: dict[str, str]
) -> None:
    """Adds images and constants; `digests` are entries that are there, by digest, and grow."""
    records: list[dict[str, object]] = []
    for artefact in artefacts:
        entries = []
        for spec in artefact.manifest.constants:
            content = artefact.weights[spec.offset_bytes :][: spec.size_bytes]
            entries.append(add_once(archive, CONSTANTS_FOLDER, content, digests) if content else "")
        image_digest = hashlib.sha256(artefact.image).hexdigest()
        records.append(
            {
                "name": artefact.name,
                "method": artefact.method,
                "entry": add_once(archive, ARTEFACTS_FOLDER, artefact.image, digests),
                "digest": image_digest,
                "constants": entries,
            }
        )
    text = json.dumps({"format": PACKAGE_FORMAT, "artefacts": records}, separators=(",", ":"))
    archive.add(ROOT + PACKAGE_ENTRY, text.encode())


def add_once(archive: ZipWriter, folder: str, content: Content, digests: dict[str, str]) -> str:
    """The entry that holds `content`: one that is there, else a new one named by its digest."""
    digest = hashlib.sha256(content).hexdigest()
    if digest not in digests:
        digests[digest] = folder + digest
        archive.add(ROOT + folder + digest, content)
    return digests[digest]
