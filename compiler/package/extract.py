"""An artefact of an archive as the file it was before: for C programs, which read no archives."""

from __future__ import annotations

import io
import os
from pathlib import Path

from ...runtime.manifest import footer_bytes, read_layout
from ...runtime.package import Package
from ..errors import OutputError
from ..exported.atomic import written_aside


def extract_artefact(path: str | os.PathLike[str], name: str, output: Path) -> None:
    """Writes the artefact called `name` to `output`: the very bytes that were packaged.

    Raises PackageError for an unknown name, ProgramFormatError and ArtefactError for damage,
    OutputError where `output` cannot be written.
    """
    package = Package(path)
    artefact = package.artefact(name)
    manifest = package.manifest(artefact)
    image = package.image(artefact)
    layout = read_layout(io.BytesIO(image), f"{package.path}: artefact {name!r}")
    text = bytes(image[layout.manifest_offset :][: layout.manifest_size])
    try:
        with written_aside(output, 0o777) as file:
            file.write(image[: layout.weights_offset])
            for piece in package.weights(artefact, manifest):
                file.write(piece)
            file.write(text)
            size = manifest.weights_size_bytes
            file.write(footer_bytes(layout.weights_offset, size, text))
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror or error}") from error
