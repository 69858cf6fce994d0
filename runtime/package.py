"""Deployment archives: compiled artefacts, their programs and their weights in one `.pt2`.

A zip in the layout that torch.export writes, so that torch and `castoff.load` open the programs in
it, as they would any `.pt2`:

    archive/archive_format                    "pt2"; beside it archive_version, byteorder
    archive/models/<name>.json                source programs, with data/weights, data/constants …
    archive/data/castoff/package.json         which artefacts there are
    archive/data/castoff/artefacts/<sha256>   an artefact without weights: [ELF][manifest][footer]
    archive/data/castoff/constants/<sha256>   a constant as kernels read it, for all who read it
    archive/data/castoff/python/…             Python code and objects: see package_python
    archive/extra/<name>                      the user's own files

Entries are stored, not compressed, at multiples of 64. Constants are mapped from the archive and
never copied, nor read, and so not verified, when an artefact is loaded: `Package.verify` reads all.
One whose bytes are a weight of a source program is that program's entry. The system loads machine
code from files only, so the small rest of an artefact is copied out once, under its digest, into
the cache folder, or into memory where there is none (package_image). An archive that was packed
again by another tool still loads: what is no longer aligned is copied.

Reading an archive runs nothing of it. Loading an artefact runs its machine code, as loading any
library does: take archives from those you would take programs from. Digests find damage, they prove
no origin.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import re
import weakref
from collections.abc import Iterator
from typing import NamedTuple

from .errors import ArtefactError, CastoffError, PackageError, ProgramFormatError
from .manifest import CONSTANT_ALIGNMENT, ConstantSpec, Manifest, read_manifest_from
from .zip_reader import ZipReader

PACKAGE_FORMAT = 1
# torch names the root after the file; one name for all keeps the bytes free of it.
ROOT = "archive/"
PACKAGE_ENTRY = "data/castoff/package.json"
ARTEFACTS_FOLDER = "data/castoff/artefacts/"
CONSTANTS_FOLDER = "data/castoff/constants/"
PROGRAMS_FOLDER = "models/"
EXTRA_FOLDER = "extra/"

_MAX_JSON_BYTES = 1 << 24
# What is smaller is copied: a mapping costs more.
_MAPPED_BYTES = 1 << 16
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class PackagedArtefact(NamedTuple):
    """An artefact of an archive.

    `entry` holds it without weights and `digest` is the sha256 of that; `constants` are the entries
    of its constants, in the order of its manifest, "" for one of no size.
    """

    name: str
    method: str
    entry: str
    digest: str
    constants: tuple[str, ...]


class Package:
    """An opened archive. Reading it runs nothing.

    Raises ProgramFormatError, naming the entry, for damage and for what no honest archive holds,
    and PackageError where the file is a `.pt2` without artefacts.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._file = _opened(self.path)
        weakref.finalize(self, os.close, self._file).atexit = False
        self.zip = ZipReader(_mapped(self._file, self.path), self.path)
        self._root = self._find_root()
        self.artefacts = self._read_artefacts()

    # ---- entries ----

    def has(self, entry: str) -> bool:
        """Whether there is such an entry; names leave out the root folder."""
        return self._root + entry in self.zip

    def read(self, entry: str) -> memoryview:
        """The bytes of an entry, its checksum verified."""
        return self.zip.read(self._root + entry)

    def mapped(self, entry: str, size_bytes: int) -> memoryview:
        """The `size_bytes` bytes of an entry as they lie in the file, unread, so unverified."""
        name = self._root + entry
        if name in self.zip and self.zip.size_bytes(name) != size_bytes:
            raise ProgramFormatError(
                f"{self.path}: entry '{name}' should have {size_bytes} bytes, it has "
                f"{self.zip.size_bytes(name)}"
            )
        return self.zip.view(name)

    def writable(self, entry: str) -> memoryview:
        """The bytes of an entry, its checksum verified, in memory of the caller's own.

        Large entries are mapped: pages are those of the file until they are written to.
        """
        content = self.read(entry)
        offset = self.zip.data_offset(self._root + entry)
        if offset is None or offset % CONSTANT_ALIGNMENT or len(content) < _MAPPED_BYTES:
            return memoryview(bytearray(content))
        lead = offset % mmap.ALLOCATIONGRANULARITY
        size = lead + len(content)
        mapping = mmap.mmap(self._file, size, access=mmap.ACCESS_COPY, offset=offset - lead)
        return memoryview(mapping)[lead:]

    def size_bytes(self, entry: str) -> int:
        """The unpacked size of an entry."""
        return self.zip.size_bytes(self._root + entry)

    def names_in(self, folder: str) -> tuple[str, ...]:
        """Names of the entries below a folder, without it."""
        prefix = self._root + folder
        return tuple(n.removeprefix(prefix) for n in self.zip.names if n.startswith(prefix))

    def read_json(self, entry: str) -> object:
        """An entry as JSON. Raises ProgramFormatError."""
        if self.zip.size_bytes(self._root + entry) > _MAX_JSON_BYTES:
            raise self.damaged(entry, "it is larger than any list of artefacts")
        try:
            value: object = json.loads(str(self.read(entry), "utf-8"))
        except (ValueError, RecursionError) as error:
            raise self.damaged(entry, str(error)) from None
        return value

    def damaged(self, entry: str, why: str) -> ProgramFormatError:
        """The error for an entry that says nonsense."""
        return ProgramFormatError(f"{self.path}: entry '{self._root}{entry}' is damaged: {why}")

    # ---- what is there ----

    @property
    def programs(self) -> tuple[str, ...]:
        """Names of the source programs: `castoff.load(path, program_name=…)`."""
        names = self.names_in(PROGRAMS_FOLDER)
        return tuple(name.removesuffix(".json") for name in names if name.endswith(".json"))

    @property
    def extra_files(self) -> tuple[str, ...]:
        """Names of the user's own files."""
        return self.names_in(EXTRA_FOLDER)

    def read_extra_file(self, name: str) -> bytes:
        """One of the user's own files. Raises ProgramFormatError where there is no such file."""
        return bytes(self.read(EXTRA_FOLDER + name))

    def artefact(self, name: str) -> PackagedArtefact:
        """The artefact of that name. Raises PackageError with the names there are."""
        for artefact in self.artefacts:
            if artefact.name == name:
                return artefact
        names = ", ".join(repr(artefact.name) for artefact in self.artefacts)
        raise PackageError(f"{self.path} holds no artefact named {name!r}; it holds {names}")

    def image(self, artefact: PackagedArtefact) -> memoryview:
        """An artefact's file without weights, its digest verified."""
        content = self.read(artefact.entry)
        if hashlib.sha256(content).hexdigest() != artefact.digest:
            raise self.damaged(artefact.entry, "it has not the digest that package.json gives")
        return content

    def manifest(self, artefact: PackagedArtefact) -> Manifest:
        """What an artefact says of itself. Raises ArtefactError where that is damaged."""
        label = f"{self.path}: artefact {artefact.name!r}"
        manifest = read_manifest_from(io.BytesIO(self.read(artefact.entry)), label)
        if len(manifest.constants) != len(artefact.constants):
            raise self.damaged(
                PACKAGE_ENTRY,
                f"artefact {artefact.name!r} has {len(manifest.constants)} constants, "
                f"not {len(artefact.constants)}",
            )
        return manifest

    def constant(self, artefact: PackagedArtefact, number: int, spec: ConstantSpec) -> memoryview:
        """The bytes of a constant as they lie in the file, unread."""
        if spec.size_bytes == 0:
            return memoryview(b"")
        return self.mapped(artefact.constants[number], spec.size_bytes)

    def verify(self) -> None:
        """Reads every byte and raises ProgramFormatError or ArtefactError for the first that is
        not as it was written.
        """
        for name in self.zip.names:
            self.zip.read(name)
        for artefact in self.artefacts:
            self.image(artefact)
            for _ in self.weights(artefact, self.manifest(artefact)):
                pass

    def weights(self, artefact: PackagedArtefact, manifest: Manifest) -> Iterator[memoryview]:
        """The weights as a file of the artefact alone holds them, in pieces, gaps zeroed.

        Raises ProgramFormatError or, at the latest at the end, ArtefactError where they are not
        what the manifest says.
        """
        digest = hashlib.sha256()
        position = 0
        for number, spec in enumerate((*manifest.constants, None)):
            start = manifest.weights_size_bytes if spec is None else spec.offset_bytes
            gap = start - position
            if not 0 <= gap < CONSTANT_ALIGNMENT:
                raise self._bad_weights(artefact)
            piece = memoryview(b"")
            if spec is not None and spec.size_bytes:
                piece = self.constant(artefact, number, spec)
                self.read(artefact.constants[number])
            for part in (memoryview(bytes(gap)), piece):
                digest.update(part)
                yield part
            position = start + len(piece)
        if manifest.weights_digest and digest.hexdigest() != manifest.weights_digest:
            raise self._bad_weights(artefact)

    def _bad_weights(self, artefact: PackagedArtefact) -> ArtefactError:
        return ArtefactError(
            f"{self.path}: artefact {artefact.name!r} is damaged: its constants are not the "
            "weights that its manifest describes"
        )

    # ---- reading package.json ----

    def _find_root(self) -> str:
        tail = "/archive_format"
        roots = [name.removesuffix(tail) for name in self.zip.names if name.endswith(tail)]
        roots = [root for root in roots if "/" not in root]
        if len(roots) != 1 or bytes(self.zip.read(roots[0] + tail)) != b"pt2":
            raise ProgramFormatError(
                f"{self.path}: expected one root folder with an 'archive_format' entry that says "
                f"'pt2', got {len(roots)}"
            )
        return roots[0] + "/"

    def _read_artefacts(self) -> tuple[PackagedArtefact, ...]:
        if not self.has(PACKAGE_ENTRY):
            return ()
        data = self.read_json(PACKAGE_ENTRY)
        if isinstance(data, dict) and data.get("format") != PACKAGE_FORMAT:
            raise ProgramFormatError(
                f"{self.path}: entry '{self._root}{PACKAGE_ENTRY}' has format "
                f"{str(data.get('format'))[:40]}, this castoff reads {PACKAGE_FORMAT}: "
                "use a newer castoff"
            )
        match data:
            case {"artefacts": [*items]}:
                artefacts = tuple(map(self._artefact, items))
            case _:
                raise self.damaged(PACKAGE_ENTRY, "expected a list of artefacts")
        names = [artefact.name for artefact in artefacts]
        if len(set(names)) != len(names):
            raise self.damaged(PACKAGE_ENTRY, "two artefacts have one name")
        return artefacts

    def _artefact(self, item: object) -> PackagedArtefact:
        match item:
            case {
                "name": str(name),
                "method": str(method),
                "entry": str(entry),
                "digest": str(digest),
                "constants": [*constants],
            } if _DIGEST.fullmatch(digest) and all(isinstance(c, str) for c in constants):
                for part in (name, method):
                    if not is_name(part):
                        raise self.damaged(PACKAGE_ENTRY, f"{part[:100]!r} is no name")
                return PackagedArtefact(name, method, entry, digest, tuple(constants))
        raise self.damaged(PACKAGE_ENTRY, f"{str(item)[:200]} describes no artefact")


def is_package(path: str | os.PathLike[str]) -> bool:
    """Whether a zip is a deployment archive: other `.pt2` files hold programs alone.

    Raises ProgramFormatError where it is damaged.
    """
    name = os.fspath(path)
    file = _opened(name)
    try:
        names = ZipReader(_mapped(file, name), name).names
    finally:
        os.close(file)
    return any(entry.endswith("/" + PACKAGE_ENTRY) for entry in names)


def is_name(text: str) -> bool:
    """Whether an artefact or a method may be called so."""
    return _NAME.fullmatch(text) is not None


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CastoffError(f"cannot read {path}: {error.strerror or error}") from error


def _mapped(file: int, path: str) -> memoryview:
    try:
        if os.fstat(file).st_size == 0:
            raise ProgramFormatError(f"{path}: not a .pt2 file: it is empty")
        return memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise CastoffError(f"cannot read {path}: {error}") from error
