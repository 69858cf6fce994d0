"""`castoff package`: archives made from what the command line names, and taken apart again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import OptionError
from ..package.exporter import Exporter
from ..package.extract import extract_artefact
from ..package.write import write_package


def create(
    output: str,
    artefacts: Iterable[str],
    *,
    programs: Iterable[str] = (),
    extra_files: Iterable[str] = (),
    modules: Iterable[str] = (),
    requires: Iterable[str] = (),
) -> str:
    """Writes an archive of METHOD=FILE or METHOD:NAME=FILE artefacts, of NAME=FILE programs and
    NAME=FILE extra files. Returns its path; raises OptionError for what is written otherwise.
    """
    exporter = Exporter(requires=requires)
    for module in modules:
        exporter.add_module(module)
    methods: dict[str, dict[str, str]] = {}
    for text in artefacts:
        target, file = _split(text, "an artefact as METHOD=FILE or METHOD:NAME=FILE")
        method, _, name = target.partition(":")
        named = methods.setdefault(method, {})
        if (name or method) in named:
            raise OptionError(f"two artefacts of {method!r}: name them, METHOD:NAME=FILE")
        named[name or method] = file
    return write_package(
        output,
        methods,
        programs=dict(_split(text, "--program NAME=FILE") for text in programs),
        extra_files={
            name: _content(file)
            for name, file in (_split(text, "--extra NAME=FILE") for text in extra_files)
        },
        code=exporter if modules else None,
    )


def extract(package: str, name: str, output: str | None) -> str:
    """Writes an artefact of an archive to a file of its own and returns the path of that."""
    path = output or f"{name}.so"
    extract_artefact(package, name, Path(path))
    return path


def _split(text: str, expected: str) -> tuple[str, str]:
    name, sign, file = text.partition("=")
    if not (name and sign and file):
        raise OptionError(f"expected {expected}, got {text!r}")
    return name, file


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise OptionError(f"--extra: cannot read {file}: {error.strerror or error}") from error
