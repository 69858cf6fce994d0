"""`castoff.package`, a function that has `Exporter`, `Importer` and relatives as its attributes.

It is an object of a class, for a function has no attributes that a type checker knows, and a
module cannot be called; imports happen on use, for loading an archive needs nothing of the
compiler.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .compiler.exported.archive import Source
    from .compiler.exported.program import ExportedProgram
    from .compiler.package.exporter import Exporter
    from .compiler.package.write import Artefacts, File
    from .runtime.package_importer import Importer


class _Package:
    """Makes deployment archives: `castoff.package("pkg.pt2", {"forward": "model.so"})`."""

    def __call__(
        self,
        path: File,
        artefacts: Artefacts | None = None,
        *,
        programs: Mapping[str, ExportedProgram | Source] | None = None,
        extra_files: Mapping[str, str | bytes] | None = None,
        code: Exporter | None = None,
    ) -> str:
        """Writes a deployment archive to `path` and returns that.

        artefacts: what `aot_compile` made, by the method each one is for: {"forward": "m.so"}.
            Several of one method, for other devices, levels or shapes, are a list, or named:
            {"encode": {"short": "e64.so", "long": "e512.so"}}. The only one of a method has the
            method's name, others that of their file.
        programs: exported programs by name, as what `castoff.load` gives or reads. `castoff.load`
            and `torch.export.load` open one called "model" unasked.
        extra_files: files of the user's own, text or bytes, by name.
        code: an `Exporter` with Python modules and objects.

        Weights of equal bytes are stored once, whether artefacts, programs or objects hold them.
        The archive appears whole or not at all; equal arguments give equal bytes.

        Raises ArtefactError for files that are no artefacts or damaged, PackageError for names
        that cannot be used and modules that are missing, ProgramFormatError for bad programs,
        OutputError where `path` cannot be written.
        """
        from .compiler.package.write import write_package

        return write_package(path, artefacts, programs=programs, extra_files=extra_files, code=code)

    @property
    def Exporter(self) -> type[Exporter]:  # noqa: N802 (a class)
        """Collects Python modules and objects for an archive."""
        from .compiler.package.exporter import Exporter

        return Exporter

    @property
    def Importer(self) -> type[Importer]:  # noqa: N802 (a class)
        """Loads Python modules and objects from an archive."""
        from .runtime.package_importer import Importer

        return Importer

    def extract(self, path: File, artefact: str, output: File) -> None:
        """Writes the artefact of that name to a file of its own, its C header beside it.

        Raises PackageError for an unknown name, ProgramFormatError and ArtefactError for damage,
        OutputError where `output` cannot be written; nothing is written then.
        """
        from .compiler.package.extract import extract_artefact

        extract_artefact(path, artefact, Path(output))

    def verify(self, path: File) -> None:
        """Reads all of an archive and compares its digests.

        Raises ProgramFormatError or ArtefactError for the first thing that is not as written.
        """
        from .runtime.package import Package

        Package(path).verify()


package = _Package()
