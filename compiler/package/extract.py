"""An artefact of an archive as the file it was before: for C programs, which read no archives."""

from __future__ import annotations

import io
import os
from pathlib import Path

from ...runtime.manifest import footer_bytes, read_layout
from ...runtime.package import Package
from ..codegen.render import template_text
from ..errors import OutputError
from ..exported.atomic import written_aside
from ..toolchain.header import ABI_HEADER, artefact_header


def extract_artefact(path: str | os.PathLike[str], name: str, output: Path) -> None:
    """Writes the artefact called `name` to `output`, the very bytes that were packaged, and its C
    header beside it.

    Raises PackageError for an unknown name, ProgramFormatError and ArtefactError for damage,
    OutputError where `output` cannot be written; nothing is written then.
    """
    package = Package(path)
    artefact = package.artefact(name)
    manifest = package.manifest(artefact)
    image = package.image(artefact)
    layout = read_layout(io.BytesIO(image), f"{package.path}: artefact {name!r}")
    text = bytes(image[layout.manifest_offset :][: layout.manifest_size])
    header = artefact_header(template_text(ABI_HEADER), manifest)
    try:
        # The library is renamed into its place after the header: who sees it sees both.
        with (
            written_aside(output, 0o777) as file,
            written_aside(output.with_suffix(".h")) as header_file,
        ):
            header_file.write(header.encode("utf-8"))
            file.write(image[: layout.weights_offset])
            for piece in package.weights(artefact, manifest):
                file.write(piece)
            file.write(text)
            file.write(footer_bytes(layout.weights_offset, manifest.weights_size_bytes, text))
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror or error}") from error
