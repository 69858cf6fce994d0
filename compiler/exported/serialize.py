"""`ExportedProgram` -> `.pt2` file of the layout of torch 2.13, without torch.

The record is always written as schema 8.20. Keys that are no part of it were skipped when the
program was read; a program of a newer minor version, whose further keys may mean something, is
therefore refused rather than written without them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from .atomic import written_aside
from .canonicalize import canonicalize
from .errors import ProgramFormatError, SchemaVersionError
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

# torch names the root after the file; one name for all keeps the bytes free of it.
_ROOT = "archive"
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
        self._record = encode_program(_serialized(program, opset_version or {}))
        self._weights = _collect(program.state_dict, "weight")
        self._constants = _collect(program.constants, "tensor")
        self._inputs = _example_inputs(program)

    def write(self, write: Callable[[Content], object]) -> None:
        archive = ZipWriter(write)
        for folder, config, payloads in (
            ("weights", f"{_NAME}_weights_config.json", self._weights),
            ("constants", f"{_NAME}_constants_config.json", self._constants),
        ):
            for path_name, content in payloads.files.items():
                archive.add(f"{_ROOT}/data/{folder}/{path_name}", content)
            listed = encode_payload_config(PayloadConfig(payloads.listed))
            archive.add(f"{_ROOT}/data/{folder}/{config}", listed)
        archive.add(f"{_ROOT}/models/{_NAME}.json", self._record)
        archive.add(f"{_ROOT}/data/sample_inputs/{_NAME}.pt", self._inputs)
        for name, extra in self._extra_files.items():
            content = extra.encode("utf-8") if isinstance(extra, str) else extra
            archive.add(f"{_ROOT}/extra/{name}", content)
        archive.add(f"{_ROOT}/archive_format", b"pt2")
        archive.add(f"{_ROOT}/archive_version", b"0")
        archive.add(f"{_ROOT}/.data/version", b"6\n")
        archive.add(f"{_ROOT}/byteorder", b"little")
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
            graph=program.graph,
            signature=program.graph_signature,
            module_call_graph=program.module_call_graph,
            metadata=program.metadata,
            treespec_namedtuple_fields=program.treespec_namedtuple_fields,
        ),
        opset_version={**(program.opset_version or _DEFAULT_OPSET), **opset_version},
        range_constraints=program.range_constraints,
        schema_version=SchemaVersion(*SCHEMA_VERSION),
        verifiers=(program.dialect,) if program.dialect else (),
        torch_version=program.torch_version,
        guards_code=program.guards_code,
    )


# --- Weights and constants ---------------------------------------------------------------------


class _Payloads:
    """Files of one folder and the list that says which tensor lies where."""

    def __init__(self) -> None:
        self.listed: dict[str, PayloadMeta] = {}
        self.files: dict[str, Content] = {}
        self._counts: dict[str, int] = {}

    def add(self, prefix: str, content: Content) -> str:
        number = self._counts.get(prefix, 0)
        self._counts[prefix] = number + 1
        path_name = f"{prefix}{number}"
        self.files[path_name] = content
        return path_name


def _collect(values: Mapping[str, Constant], kind: str) -> _Payloads:
    """Tensors that share memory are written once, whole, as torch does.

    Only those of one element type can share a file: that of the first one is used for all.
    """
    payloads = _Payloads()
    path_names: dict[tuple[int, ScalarType], str] = {}
    for name, value in values.items():
        if isinstance(value, OpaqueConstant):
            payloads.listed[name] = _opaque(payloads, name, value, kind)
            continue
        key = (id(value.storage), value.dtype)
        if key not in path_names:
            path_names[key] = payloads.add(f"{kind}_", value.storage.data)
        payloads.listed[name] = PayloadMeta(
            path_name=path_names[key],
            is_param=value.is_parameter,
            use_pickle=False,
            tensor_meta=_tensor_meta(value),
        )
    return payloads


def _opaque(payloads: _Payloads, name: str, value: OpaqueConstant, kind: str) -> PayloadMeta:
    if value.payload is None or value.meta is None:
        raise ProgramFormatError(
            f"constant '{name}' cannot be written: it is {value.reason}, and was read as a part "
            f"of {value.entry}"
        )
    prefixes = [prefix for prefix in _OBJECT_PREFIXES if value.meta.path_name.startswith(prefix)]
    path_name = payloads.add(prefixes[0] if prefixes else f"{kind}_", value.payload)
    return PayloadMeta(path_name, value.meta.is_param, True, value.meta.tensor_meta)


def _tensor_meta(tensor: TensorData) -> TensorMeta:
    return TensorMeta(
        dtype=tensor.dtype,
        sizes=tuple(tensor.array.shape),
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
