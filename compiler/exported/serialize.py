"""`ExportedProgram` -> `.pt2` file of the layout of torch 2.13, without torch.

The record is always written as schema 8.20. Keys that are no part of it were skipped when the
program was read; a program of a newer minor version, whose further keys may mean something, is
therefore refused rather than written without them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from ...runtime.package import ROOT
from .atomic import written_aside
from .canonicalize import canonicalize
from .errors import ProgramFormatError, SchemaVersionError
from .handlers import write_graph
from .json_writer import encode_payload_config, encode_program
from .program import Constant, ExportedProgram, OpaqueConstant
from .schema import (
    SCHEMA_VERSION,
    GraphModule,
    Layout,
    PayloadConfig,
    PayloadMeta,
    ScalarType,
    SchemaVersion,
    SerializedProgram,
    TensorMeta,
)
from .tensors import TensorData
from .torch_save_writer import NotPicklableError, write_torch_save
from .zip_writer import Content, ZipWriter

Destination = str | os.PathLike[str] | IO[bytes]

_NAME = "model"
_DEFAULT_OPSET = {"aten": 10}
_OBJECT_PREFIXES = ("custom_obj_", "opaque_obj_")


def save_program(
    program: ExportedProgram,
    f: Destination,
    *,
    extra_files: Mapping[str, str | bytes] | None = None,
    opset_version: Mapping[str, int] | None = None,
    canonical: bool = False,
) -> None:
    """Write `program` to a path or a binary file object, as `torch.export.save` does.

    A path is written aside and renamed, so that it holds the old file or the new one, and saving
    over the file that a program was loaded from is safe. `extra_files` takes the place of the
    program's own, `opset_version` replaces versions of single namespaces. `canonical` writes
    `canonicalize(program)`, with the extra files kept. Equal programs give equal bytes.

    Raises `SchemaVersionError` for a program of a newer schema, `ProgramFormatError` for one that
    the layout cannot hold, and `OSError`.
    """
    archive = _Archive(program, extra_files, opset_version, canonical)
    if isinstance(f, (str, os.PathLike)):
        with written_aside(Path(f)) as file:
            archive.write(file.write)
    else:
        archive.write(f.write)


def program_bytes(
    program: ExportedProgram,
    *,
    extra_files: Mapping[str, str | bytes] | None = None,
    opset_version: Mapping[str, int] | None = None,
    canonical: bool = False,
) -> bytes:
    """The bytes that `save_program` writes."""
    parts: list[Content] = []
    _Archive(program, extra_files, opset_version, canonical).write(parts.append)
    return b"".join(parts)


def write_canonical(program: ExportedProgram, write: Callable[[Content], object]) -> None:
    """The canonical file without extra files, piece by piece, to `write`."""
    _Archive(program, {}, None, True).write(write)


def add_programs(archive: ZipWriter, programs: Mapping[str, ExportedProgram]) -> dict[str, str]:
    """Adds programs under their names, their extra files left out, and what makes it a `.pt2`.

    Programs share the weights and constants that are equal in bytes. Returns the entries of these,
    without the root folder, by the sha256 of their bytes. Raises as `save_program`.
    """
    weights, constants = PayloadFiles(shares_equal=True), PayloadFiles(shares_equal=True)
    parts = [_Parts(name, program, {}, weights, constants) for name, program in programs.items()]
    _write_programs(archive, parts, weights, constants)
    _write_marks(archive)
    return {
        digest: f"data/{folder}/{names[0]}"
        for folder, files in (("constants", constants), ("weights", weights))
        for digest, names in files.by_digest.items()
    }


def _write_programs(
    archive: ZipWriter, parts: Sequence[_Parts], weights: PayloadFiles, constants: PayloadFiles
) -> None:
    for folder, files in (("weights", weights), ("constants", constants)):
        for path_name, content in files.contents.items():
            archive.add(f"{ROOT}data/{folder}/{path_name}", content)
        for part in parts:
            listed = part.weights if folder == "weights" else part.constants
            config = encode_payload_config(PayloadConfig(listed))
            archive.add(f"{ROOT}data/{folder}/{part.name}_{folder}_config.json", config)
    for part in parts:
        archive.add(f"{ROOT}models/{part.name}.json", part.record)
        archive.add(f"{ROOT}data/sample_inputs/{part.name}.pt", part.inputs)


def _write_marks(archive: ZipWriter) -> None:
    archive.add(f"{ROOT}archive_format", b"pt2")
    archive.add(f"{ROOT}archive_version", b"0")
    archive.add(f"{ROOT}.data/version", b"6\n")
    archive.add(f"{ROOT}byteorder", b"little")


class _Parts:
    """The records of one program, encoded; its payloads are added to files it may share."""

    def __init__(
        self,
        name: str,
        program: ExportedProgram,
        opset_version: Mapping[str, int],
        weights: PayloadFiles,
        constants: PayloadFiles,
    ) -> None:
        _check_version(program.schema_version)
        self.name = name
        self.record = encode_program(_serialized(program, opset_version))
        self.weights = _collect(program.state_dict, "weight", weights)
        self.constants = _collect(program.constants, "tensor", constants)
        self.inputs = _example_inputs(program)


class _Archive:
    """All records of a file, encoded before the first byte is written."""

    def __init__(
        self,
        program: ExportedProgram,
        extra_files: Mapping[str, str | bytes] | None,
        opset_version: Mapping[str, int] | None,
        canonical: bool,
    ) -> None:
        _check_version(program.schema_version)
        self._extra_files = program.extra_files if extra_files is None else extra_files
        if canonical:
            program = canonicalize(program)
        self._weights, self._constants = PayloadFiles(), PayloadFiles()
        self._parts = _Parts(_NAME, program, opset_version or {}, self._weights, self._constants)

    def write(self, write: Callable[[Content], object]) -> None:
        archive = ZipWriter(write)
        _write_programs(archive, [self._parts], self._weights, self._constants)
        for name, extra in self._extra_files.items():
            content = extra.encode("utf-8") if isinstance(extra, str) else extra
            archive.add(f"{ROOT}extra/{name}", content)
        _write_marks(archive)
        archive.finish()


def _check_version(version: SchemaVersion) -> None:
    major, minor = SCHEMA_VERSION
    if version.major not in (0, major) or (version.major == major and version.minor > minor):
        raise SchemaVersionError(
            f"the program has schema version {version.major}.{version.minor}, but this writer "
            f"knows version {major}.{minor}, and writing it would lose what is new there"
        )


def _serialized(program: ExportedProgram, opset_version: Mapping[str, int]) -> SerializedProgram:
    return SerializedProgram(
        graph_module=GraphModule(
            graph=write_graph(program.graph),
            signature=program.graph_signature,
            module_call_graph=program.module_call_graph,
            metadata=program.metadata,
            treespec_namedtuple_fields=program.treespec_namedtuple_fields,
        ),
        opset_version={**(program.opset_version or _DEFAULT_OPSET), **opset_version},
        range_constraints=program.range_constraints,
        schema_version=SchemaVersion(*SCHEMA_VERSION),
        verifiers=tuple(filter(None, (program.dialect, *program.further_dialects))),
        torch_version=program.torch_version,
        guards_code=program.guards_code,
    )


# --- Weights and constants ---------------------------------------------------------------------


class PayloadFiles:
    """Files of one folder, by name. With `shares_equal`, programs share those of equal bytes."""

    def __init__(self, *, shares_equal: bool = False) -> None:
        self.contents: dict[str, Content] = {}
        self.by_digest: dict[str, list[str]] = {}
        self._shares_equal = shares_equal
        self._counts: dict[str, int] = {}

    def add(self, prefix: str, content: Content, taken: set[str]) -> str:
        """The name of a file that holds `content`, from then on one of those `taken`.

        A program gets each file once: its storages stay apart even where they are equal, for
        whoever opens it may write to one of them.
        """
        name = self._find(prefix, content, taken) if self._shares_equal else None
        if name is None:
            number = self._counts.get(prefix, 0)
            self._counts[prefix] = number + 1
            name = f"{prefix}{number}"
            self.contents[name] = content
            if self._shares_equal:
                self.by_digest.setdefault(_sha256(content), []).append(name)
        taken.add(name)
        return name

    def _find(self, prefix: str, content: Content, taken: set[str]) -> str | None:
        for name in self.by_digest.get(_sha256(content), ()):
            if name.startswith(prefix) and name not in taken:
                return name
        return None


def _sha256(content: Content) -> str:
    return hashlib.sha256(content).hexdigest()


def _collect(
    values: Mapping[str, Constant], kind: str, files: PayloadFiles
) -> dict[str, PayloadMeta]:
    """The list that says which tensor lies in which file.

    Tensors that share memory are written once, whole, as torch does. Only those of one element type
    can share a file: that of the first one is used for all.
    """
    listed: dict[str, PayloadMeta] = {}
    taken: set[str] = set()
    path_names: dict[tuple[int, ScalarType], str] = {}
    for name, value in values.items():
        if isinstance(value, OpaqueConstant):
            listed[name] = _opaque(files, taken, name, value, kind)
            continue
        key = (id(value.storage), value.dtype)
        if key not in path_names:
            path_names[key] = files.add(f"{kind}_", value.storage.data, taken)
        listed[name] = PayloadMeta(
            path_name=path_names[key],
            is_param=value.is_parameter,
            use_pickle=False,
            tensor_meta=_tensor_meta(value),
        )
    return listed


def _opaque(
    files: PayloadFiles, taken: set[str], name: str, value: OpaqueConstant, kind: str
) -> PayloadMeta:
    if value.payload is None or value.meta is None:
        raise ProgramFormatError(
            f"constant '{name}' cannot be written: it is {value.reason}, and was read as a part "
            f"of {value.entry}"
        )
    prefixes = [prefix for prefix in _OBJECT_PREFIXES if value.meta.path_name.startswith(prefix)]
    path_name = files.add(prefixes[0] if prefixes else f"{kind}_", value.payload, taken)
    return PayloadMeta(path_name, value.meta.is_param, True, value.meta.tensor_meta)


def _tensor_meta(tensor: TensorData) -> TensorMeta:
    return TensorMeta(
        dtype=tensor.dtype,
        sizes=tensor.shape,
        requires_grad=tensor.requires_grad,
        device=tensor.device,
        strides=tensor.strides_elements,
        storage_offset=tensor.storage_offset_elements,
        layout=Layout.STRIDED,
    )


# --- Example inputs ----------------------------------------------------------------------------


def _example_inputs(program: ExportedProgram) -> Content:
    """The record of the example inputs: the one that was read if it is still theirs.

    An empty record says that there are none, and stands for inputs of classes that torch could
    not load without them: a program runs without its examples.
    """
    record, inputs = program.inputs_record, program.example_inputs
    if record is not None and record.of is inputs:
        return record.payload
    if inputs is None:
        return b""
    try:
        return write_torch_save((tuple(inputs.args), dict(inputs.kwargs)))
    except NotPicklableError:
        return b""
