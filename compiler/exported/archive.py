"""The `.pt2` zip: which entry holds what, in each layout that torch has written.

- torch 2.9 on: one root folder of any name; the program in `models/<name>.json`, weights as raw
  bytes listed by `data/weights/<name>_weights_config.json`, constants likewise.
- torch 2.8: the same, but weights and constants are `data/{weights,constants}/<name>.pt`, each a
  torch.save payload.
- torch 2.7 and before: a flat zip of `serialized_*` entries, whose tensors are torch.save
  payloads under either `.pt` or `.json` names.
"""

from __future__ import annotations

import mmap
import os
from enum import Enum
from typing import IO

from ...runtime.zip_reader import ZipReader
from ..records import dataclass
from .errors import ProgramFormatError, SchemaVersionError
from .schema import SCHEMA_VERSION

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]


class PayloadKind(Enum):
    """How the tensors of an archive are written."""

    RAW = "raw bytes and a list of them"
    TORCH_SAVE = "one torch.save payload"


@dataclass(frozen=True, slots=True)
class ProgramEntries:
    """Names of the entries that make up one program; None where the file has no such entry.

    For `PayloadKind.RAW`, `weights` and `constants` are the lists, and the tensors they list
    are entries of the same folder.
    """

    program: str
    payload_kind: PayloadKind
    weights: str | None
    constants: str | None
    example_inputs: str | None


class Archive:
    """An opened `.pt2`. Raises `ProgramFormatError` if it is none or is not to be trusted."""

    def __init__(self, source: Source) -> None:
        data, self.source = _open(source)
        self.zip = ZipReader(data, self.source)
        if "serialized_exported_program.json" in self.zip:
            self._root = None
        else:
            self._root = self._find_root()

    def _find_root(self) -> str:
        roots = sorted(
            {
                name.removesuffix("archive_format")
                for name in self.zip.names
                if name.count("/") == 1 and name.endswith("/archive_format")
            }
            or {
                name.split("/", 1)[0] + "/"
                for name in self.zip.names
                if "/models/" in name and name.endswith(".json")
            }
        )
        if len(roots) != 1:
            raise ProgramFormatError(
                f"{self.source}: not a .pt2 file: expected one root folder with an "
                f"'archive_format' entry, got {len(roots)}"
            )
        [root] = roots
        stated = f"{root}archive_format"
        if stated in self.zip and bytes(self.zip.read(stated)) != b"pt2":
            raise ProgramFormatError(
                f"{self.source}: entry '{stated}' should say 'pt2': "
                "this archive is of another format"
            )
        byte_order = f"{root}byteorder"
        if byte_order in self.zip and bytes(self.zip.read(byte_order)) != b"little":
            raise ProgramFormatError(
                f"{self.source}: entry '{byte_order}' should say 'little': files written on "
                "big-endian machines are not read"
            )
        return root

    @property
    def program_names(self) -> tuple[str, ...]:
        """Names of the programs in the file; `torch.export.save` calls its one "model"."""
        if self._root is None:
            return ("model",)
        prefix = f"{self._root}models/"
        return tuple(
            name.removeprefix(prefix).removesuffix(".json")
            for name in self.zip.names
            if name.startswith(prefix) and name.endswith(".json")
        )

    def entries_of(self, program_name: str) -> ProgramEntries:
        """Where the parts of one program lie; the version of older layouts is checked here."""
        if self._root is None:
            self._check_flat_version()
            return ProgramEntries(
                "serialized_exported_program.json",
                PayloadKind.TORCH_SAVE,
                self._first_of("serialized_state_dict.pt", "serialized_state_dict.json"),
                self._first_of("serialized_constants.pt", "serialized_constants.json"),
                self._first_of("serialized_example_inputs.pt", "serialized_example_inputs.json"),
            )
        data = f"{self._root}data/"
        program = f"{self._root}models/{program_name}.json"
        example_inputs = self._first_of(f"{data}sample_inputs/{program_name}.pt")
        weights = self._first_of(f"{data}weights/{program_name}.pt")
        constants = self._first_of(f"{data}constants/{program_name}.pt")
        if weights is not None or constants is not None:
            kind = PayloadKind.TORCH_SAVE
        else:
            kind = PayloadKind.RAW
            weights = f"{data}weights/{program_name}_weights_config.json"
            constants = f"{data}constants/{program_name}_constants_config.json"
        return ProgramEntries(program, kind, weights, constants, example_inputs)

    def extra_files(self) -> dict[str, bytes]:
        """The user's own files, by the names they were saved under."""
        prefix = "extra_files/" if self._root is None else f"{self._root}extra/"
        return {
            name.removeprefix(prefix): bytes(self.zip.read(name))
            for name in self.zip.names
            if name.startswith(prefix)
        }

    def _first_of(self, *names: str) -> str | None:
        return next((name for name in names if name in self.zip), None)

    def _check_flat_version(self) -> None:
        if "version" not in self.zip:
            return
        text = bytes(self.zip.read("version")[:32]).decode("utf-8", "replace").strip()
        major = text.split(".", 1)[0]
        if major != str(SCHEMA_VERSION[0]):
            raise SchemaVersionError(
                f"{self.source}: entry 'version' says schema version {text!r}, but this reader "
                f"knows version {SCHEMA_VERSION[0]}.{SCHEMA_VERSION[1]}; export the program again "
                "with a matching release of torch"
            )


def _open(source: Source) -> tuple[memoryview, str]:
    """The bytes of the file, mapped where it has a path, and a name for it."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return memoryview(source).toreadonly().cast("B"), "<bytes>"
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise ProgramFormatError(f"{path}: not a .pt2 file: it is empty")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), path
    if not hasattr(source, "read"):
        got = type(source).__name__
        raise TypeError(f"expected a path, bytes or a binary file object, got {got}")
    content = source.read()
    if not isinstance(content, bytes):
        raise ProgramFormatError("file object: expected it to be opened in binary mode")
    return memoryview(content), str(getattr(source, "name", "<file object>"))
