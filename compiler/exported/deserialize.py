"""`.pt2` file -> `ExportedProgram`, without torch and without running anything of the file."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from ...runtime.unpickle import ForeignClassError
from .archive import Archive, PayloadKind, ProgramEntries, Source
from .errors import ProgramFormatError, SchemaVersionError, UnsafePickleError
from .handlers import read_graph
from .json_records import decode_payload_config, decode_program
from .program import Constant, ExampleInputs, ExportedProgram, InputsRecord, OpaqueConstant
from .schema import PayloadMeta, SerializedProgram, SymInt
from .tensors import Storage, TensorData, meta_tensor, strided_tensor
from .torch_save import read_torch_save
from .verifier import known_dialect, verify_program


def load_program(
    source: Source,
    *,
    expected_opset_version: Mapping[str, int] | None = None,
    extra_files: MutableMapping[str, str] | None = None,
    program_name: str | None = None,
    verify: bool | str = True,
) -> ExportedProgram:
    """The program in a `.pt2` given as a path, bytes or a binary file object.

    A path is mapped, not read: its weights are views into the file, which must not be changed
    while the program is in use. The checksums of large weights are verified when the first of them
    is read (`TensorData.array`), all of them at once; everything else is verified here.
    `extra_files`, if given, is filled with the user's own files as text. `program_name` picks one of
    several programs; the default is "model" or the only one.
    `verify` checks that the records fit together (see `verifier`), by the rules of the program's own
    dialect, or of the one that it names ("TRAINING", "ATEN" or "CORE"; `ValueError` for another).

    Raises `SchemaVersionError` for another major schema version or an opset other than expected,
    `UnsafePickleError` for a pickle that asks for more than data, `InvalidProgramError` for records
    that do not fit together, and their base
    `ProgramFormatError`, naming the entry, for whatever else is wrong; `OSError` if the file
    cannot be opened.
    """
    dialect = known_dialect(verify) if isinstance(verify, str) else None
    archive = Archive(source)
    entries = archive.entries_of(_pick_program(archive, program_name))
    label = f"{archive.source}: {entries.program}"
    serialized = decode_program(archive.zip.read(entries.program), label)
    _check_opset(serialized, expected_opset_version, label)
    state_dict, constants = _load_tensors(archive, entries)
    stored_extra_files = archive.extra_files()
    if extra_files is not None:
        for name, content in stored_extra_files.items():
            extra_files[name] = _decode_extra_file(content, name, archive.source)
    module = serialized.graph_module
    example_inputs, inputs_record = _load_example_inputs(archive, entries)
    program = ExportedProgram(
        graph=read_graph(module.graph, label),
        graph_signature=module.signature,
        state_dict=state_dict,
        constants=constants,
        range_constraints=serialized.range_constraints,
        module_call_graph=module.module_call_graph,
        guards_code=serialized.guards_code,
        opset_version=serialized.opset_version,
        schema_version=serialized.schema_version,
        torch_version=serialized.torch_version,
        dialect=serialized.verifiers[0] if serialized.verifiers else "",
        example_inputs=example_inputs,
        extra_files=stored_extra_files,
        treespec_namedtuple_fields=module.treespec_namedtuple_fields,
        metadata=module.metadata,
        inputs_record=inputs_record,
        further_dialects=serialized.verifiers[1:],
    )
    if verify:
        verify_program(program, label, dialect=dialect)
    return program


def _pick_program(archive: Archive, wanted: str | None) -> str:
    names = archive.program_names
    if wanted is None:
        if "model" in names:
            return "model"
        if len(names) == 1:
            return names[0]
    elif wanted in names:
        return wanted
    listed = ", ".join(repr(name) for name in names) or "none"
    raise ProgramFormatError(
        f"{archive.source}: expected a program {wanted or 'model'!r}, got {listed}"
    )


def _check_opset(
    program: SerializedProgram, expected: Mapping[str, int] | None, label: str
) -> None:
    for namespace, version in (expected or {}).items():
        stored = program.opset_version.get(namespace)
        if stored is not None and stored != version:
            raise SchemaVersionError(
                f"{label}: expected opset '{namespace}' version {version}, got {stored}"
            )


def _decode_extra_file(content: bytes, name: str, source: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ProgramFormatError(
            f"{source}: extra file '{name}' is no UTF-8 text; "
            "read it from ExportedProgram.extra_files"
        ) from None


# --- Weights and constants ---------------------------------------------------------------------


def _load_tensors(
    archive: Archive, entries: ProgramEntries
) -> tuple[dict[str, TensorData], dict[str, Constant]]:
    match entries.payload_kind:
        case PayloadKind.RAW:
            weights = _load_raw(archive, entries.weights)
            constants = _load_raw(archive, entries.constants)
        case PayloadKind.TORCH_SAVE:
            weights = _load_saved(archive, entries.weights)
            constants = _load_saved(archive, entries.constants)
    state_dict: dict[str, TensorData] = {}
    for name, value in weights.items():
        if isinstance(value, OpaqueConstant):
            raise UnsafePickleError(f"{archive.source}: weight '{name}': {value.reason}")
        state_dict[name] = value
    return state_dict, constants


def _load_raw(archive: Archive, config_entry: str | None) -> dict[str, Constant]:
    if config_entry is None:
        return {}
    label = f"{archive.source}: {config_entry}"
    payloads = decode_payload_config(archive.zip.read(config_entry), label).config
    folder = config_entry.rpartition("/")[0]
    storages: dict[str, Storage] = {}
    loaded: dict[str, Constant] = {}
    for name, payload in payloads.items():
        entry = f"{folder}/{payload.path_name}"
        where = f"{archive.source}: '{name}' in {entry}"
        if payload.use_pickle:
            loaded[name] = _load_pickled(archive, entry, payload, where)
            continue
        storage = storages.get(entry)
        if storage is None:
            storage = storages[entry] = Storage(entry, *archive.zip.read_later(entry))
        loaded[name] = _strided(storage, payload, where)
    return loaded


def _strided(storage: Storage, payload: PayloadMeta, where: str) -> TensorData:
    meta = payload.tensor_meta
    if meta is None:
        raise ProgramFormatError(f"{where}: expected a description of the tensor, got none")
    sizes = tuple(_static(size, where) for size in meta.sizes)
    strides = tuple(_static(stride, where) for stride in meta.strides)
    offset = _static(meta.storage_offset, where)
    kinds = {"requires_grad": meta.requires_grad, "is_parameter": payload.is_param}
    if meta.device.type == "meta" and not storage.size_bytes:
        return meta_tensor(storage, meta.dtype, sizes, strides, offset, where, **kinds)
    if not storage.size_bytes and 0 not in sizes:
        # torch fills such tensors with zeros; answers made of those would look like answers.
        raise ProgramFormatError(
            f"{where}: the tensor of shape {list(sizes)} has no bytes: the program was saved "
            "without its weights (under fake tensors) or the file is damaged"
        )
    return strided_tensor(
        storage,
        meta.dtype,
        sizes,
        strides,
        offset,
        where,
        device=meta.device,
        **kinds,
    )


def _static(value: SymInt, where: str) -> int:
    if isinstance(value, int):
        return value
    raise ProgramFormatError(f"{where}: expected fixed sizes, got {value.expr_str!r}")


def _load_pickled(archive: Archive, entry: str, payload: PayloadMeta, where: str) -> Constant:
    if entry.rpartition("/")[2].startswith(("custom_obj_", "opaque_obj_")):
        content = archive.zip.read(entry)
        return OpaqueConstant(entry, "a pickled object that is no tensor", content, payload)
    content = archive.zip.read(entry)
    try:
        value = read_torch_save(content, where)
    except ForeignClassError as error:
        return OpaqueConstant(entry, str(error), content, payload)
    if isinstance(value, TensorData):
        return value
    return OpaqueConstant(entry, _no_tensor(value), content, payload)


def _load_saved(archive: Archive, entry: str | None) -> dict[str, Constant]:
    if entry is None:
        return {}
    data = archive.zip.read(entry)
    if not data:
        return {}
    label = f"{archive.source}: {entry}"
    values = read_torch_save(data, label)
    if not isinstance(values, dict):
        raise ProgramFormatError(
            f"{label}: expected a dict of tensors, got {type(values).__name__}"
        )
    return {str(name): _as_constant(value, f"{entry}[{name!r}]") for name, value in values.items()}


def _as_constant(value: object, entry: str) -> Constant:
    if isinstance(value, TensorData):
        return value
    return OpaqueConstant(entry, _no_tensor(value))


def _no_tensor(value: object) -> str:
    return f"a pickled {type(value).__name__}, which is no tensor"


# --- Example inputs ----------------------------------------------------------------------------


def _load_example_inputs(
    archive: Archive, entries: ProgramEntries
) -> tuple[ExampleInputs | None, InputsRecord | None]:
    """The inputs the program was exported with, or None where there are none we could build, and
    the record that holds them.

    They describe nothing that the program needs, so classes of other packages among them are no
    error; a pickle that reaches for Python's own modules still is.
    """
    if entries.example_inputs is None or not archive.zip.size_bytes(entries.example_inputs):
        return None, None
    data = archive.zip.read(entries.example_inputs)
    try:
        values = read_torch_save(data, f"{archive.source}: {entries.example_inputs}")
    except ForeignClassError:
        return None, InputsRecord(data, None)
    match values:
        case (tuple(args), dict(kwargs)) if all(isinstance(name, str) for name in kwargs):
            found = ExampleInputs(args, kwargs)
            return found, InputsRecord(data, found)
        case _:
            return None, InputsRecord(data, None)
