"""The manifest of an artefact, and how it lies in the file behind the ELF image.

    [ELF image] [zeros to 4096] [weights] [manifest, JSON] [footer, 64 bytes]

All of it is read without loading or running the file. templates/abi/castoff_image.c reads the same
footer.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import BinaryIO, NamedTuple, TypeVar, Union

from .errors import ArtefactError

# Written into every artefact; CASTOFF_ABI_MAJOR and _MINOR of castoff.h.
ABI_MAJOR = 1
ABI_MINOR = 1
MANIFEST_FORMAT = 1
# Where weights begin in the file, and each constant in the weights.
WEIGHTS_ALIGNMENT = 4096
CONSTANT_ALIGNMENT = 64

_MAGIC = b"CSTOFF\r\n"
# magic, ABI major and minor, weights offset and size, manifest offset and size, file size, crc32 of
# the manifest, of the footer
_FOOTER = struct.Struct("<8sII5QII")
_CRC = struct.Struct("<I")
_MAX_MANIFEST_BYTES = 1 << 28

# e_machine of an ELF header
MACHINES: Mapping[str, int] = {"x86_64": 62, "aarch64": 183, "riscv64": 243, "ppc64le": 21}

# A value that stands in a call spec instead of a tensor.
Constant = Union[None, bool, int, float, complex, str]  # noqa: UP007 (evaluated at run time on 3.10 too)


class SymbolSpec(NamedTuple):
    """A symbolic size: its name and the range that is enforced; None means unbounded."""

    name: str
    min: int | None = None
    max: int | None = None


class TensorSpec(NamedTuple):
    """An input or an output of the program.

    `path` is where the caller finds it (`args[0]`, `kwargs['mask']`, `result[1]`); a size in
    `shape` is a number or the text of an expression over symbols. `kind` is "tensor", or "int",
    "float" or "bool" for a Python number, which the program sees as an int64, float64 or bool of
    rank 0.
    """

    name: str
    path: str
    dtype: str
    shape: tuple[int | str, ...]
    kind: str = "tensor"
    mutated: bool = False
    data_dependent: bool = False

    def __str__(self) -> str:
        if self.kind != "tensor":
            return self.kind
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


class Argument(NamedTuple):
    """A leaf of the input tree, in order.

    "input" number `index` of the program, or a "constant" that must equal `value`.
    """

    kind: str
    index: int = -1  # type: ignore[assignment]  # no one searches a record
    value: Constant = None


class Result(NamedTuple):
    """A leaf of the output tree, in order.

    "output" number `index` of the program, the "argument" leaf number `index` itself (the caller's
    own object), or a "constant".
    """

    kind: str
    index: int = -1  # type: ignore[assignment]
    value: Constant = None


class ConstantSpec(NamedTuple):
    """A constant in the weights; `replaceable` where it is held as the source program has it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset_bytes: int
    size_bytes: int
    replaceable: bool = True


class BufferSpec(NamedTuple):
    """State of an instance, first constant number `initial_constant`, or zeros (-1)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    initial_constant: int = -1


class StepSpec(NamedTuple):
    """A step of a program built with the option `profile`: what it is called, where it is from."""

    name: str
    origins: tuple[str, ...] = ()


class Manifest(NamedTuple):
    """What an artefact says of itself.

    `in_spec` and `out_spec` are treespecs in the JSON of torch.utils._pytree; `namedtuple_fields`
    holds the fields of the named tuples they mention. `forward_arg_names` are the names of the
    positional arguments, where known. `libraries` are opened when the program is loaded.
    `weights_report` says how far compressed weights are from what they were, `tuning` what
    max_autotune chose.
    """

    name: str
    in_spec: str
    out_spec: str
    arguments: tuple[Argument, ...]
    results: tuple[Result, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    constants: tuple[ConstantSpec, ...] = ()
    buffers: tuple[BufferSpec, ...] = ()
    symbols: tuple[SymbolSpec, ...] = ()
    forward_arg_names: tuple[str, ...] = ()
    namedtuple_fields: Mapping[str, tuple[str, ...]] | None = None
    device: str = "cpu"
    target: str = ""
    levels: tuple[str, ...] = ()
    machine: str = "x86_64"
    weights_size_bytes: int = 0
    weights_digest: str = ""
    program_digest: str = ""
    castoff_version: str = ""
    builder: str = ""
    compiler: str = ""
    source_schema: str = ""
    steps: tuple[StepSpec, ...] = ()
    libraries: tuple[str, ...] = ()
    weights_report: str = ""
    tuning: tuple[str, ...] = ()
    format: int = MANIFEST_FORMAT

    def as_dict(self) -> dict[str, object]:
        """The manifest as JSON-able dicts and lists, keys in the order of the fields."""
        return {name: _encode(getattr(self, name)) for name in self._fields}

    def to_json(self) -> bytes:
        """The bytes that go into the file: equal manifests give equal bytes."""
        text = json.dumps(
            self.as_dict(), ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
        return text.encode("utf-8", "surrogatepass")

    @staticmethod
    def from_json(text: bytes) -> Manifest:
        """Reads `to_json()`, ignoring unknown keys. Raises ArtefactError for nonsense."""
        try:
            data = json.loads(text.decode("utf-8", "surrogatepass"))
            if data["format"] != MANIFEST_FORMAT:
                raise ArtefactError(
                    f"the manifest has format {data['format']}, this castoff reads "
                    f"{MANIFEST_FORMAT}: "
                    "use a newer castoff"
                )
            return _decode_manifest(data)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ArtefactError(
                f"the manifest is damaged: {type(error).__name__}: {error}"
            ) from error

    @property
    def digest(self) -> str:
        """sha256 of the manifest's bytes, which hold the digests of program and weights."""
        import hashlib  # costs milliseconds that loading an artefact need not pay

        return hashlib.sha256(self.to_json()).hexdigest()


def _encode(value: object) -> object:
    """JSON for a field: records become dicts, floats text that keeps inf and nan."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return {"float": repr(value)}
        case complex():
            return {"complex": [repr(value.real), repr(value.imag)]}
        case tuple() if names := getattr(value, "_fields", ()):
            return {name: _encode(getattr(value, name)) for name in names}
        case tuple() | list():
            return [_encode(item) for item in value]
        case Mapping():
            return {str(key): _encode(item) for key, item in value.items()}
    raise TypeError(f"a manifest holds no {type(value).__name__}")


def _decode_constant(value: object) -> Constant:
    match value:
        case {"float": str(text)}:
            return float(text)
        case {"complex": [str(real), str(imaginary)]}:
            return complex(float(real), float(imaginary))
        case None | bool() | int() | str():
            return value
    raise ValueError(f"no constant: {value!r}")


_Record = TypeVar(
    "_Record", SymbolSpec, TensorSpec, Argument, Result, ConstantSpec, BufferSpec, StepSpec
)


def _records(cls: type[_Record], items: object) -> tuple[_Record, ...]:
    if not isinstance(items, list):
        raise ValueError(f"expected a list of {cls.__name__}")
    known = cls._fields
    made = []
    for item in items:
        values = {name: item[name] for name in known if name in item}
        for name in ("shape", "origins"):
            if name in values:
                values[name] = tuple(values[name])
        if "value" in values:
            values["value"] = _decode_constant(values["value"])
        for name, value in values.items():
            _check_plain(name, value)
        made.append(cls(**values))
    return tuple(made)


def _check_plain(name: str, value: object) -> None:
    """Raise unless a field is a number, a text, nothing, or some of these: nothing is nested deeper."""
    items = value if isinstance(value, tuple) else (value,)
    if not all(item is None or isinstance(item, (int, float, complex, str)) for item in items):
        raise ValueError(f"{name} holds what no manifest holds there")


def _decode_manifest(data: Mapping[str, object]) -> Manifest:
    records = {
        "arguments": Argument,
        "results": Result,
        "inputs": TensorSpec,
        "outputs": TensorSpec,
        "constants": ConstantSpec,
        "buffers": BufferSpec,
        "symbols": SymbolSpec,
        "steps": StepSpec,
    }
    values: dict[str, object] = {}
    for name in Manifest._fields:
        if name not in data and name in Manifest._field_defaults:
            continue  # written before there was such a field
        value = data[name]
        if name in records:
            value = _records(records[name], value)
        elif name == "namedtuple_fields":
            value = {key: tuple(names) for key, names in value.items()} if value else None  # type: ignore[attr-defined]
            for names in (value or {}).values():
                _check_plain(name, names)
        else:
            value = tuple(value) if isinstance(value, list) else value
            _check_plain(name, value)
        values[name] = value
    return Manifest(**values)  # type: ignore[arg-type]


# ---- the file ----


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """The manifest of an artefact; nothing of the file is run. Raises ArtefactError."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            return read_manifest_from(file, name)
    except OSError as error:
        raise ArtefactError(f"cannot read {name}: {error.strerror or error}") from error


class FileLayout(NamedTuple):
    """Where the parts of an artefact's file lie, in bytes; the ELF image ends at the weights."""

    weights_offset: int
    weights_size: int
    manifest_offset: int
    manifest_size: int
    manifest_crc32: int
    elf_header: bytes


def read_layout(file: BinaryIO, name: str) -> FileLayout:
    """Where the parts lie, from the footer. Raises ArtefactError where they cannot."""
    file.seek(0)
    header = file.read(20)
    file_size = file.seek(0, os.SEEK_END)
    if header[:4] != b"\x7fELF":
        raise ArtefactError(f"{name} is not a shared library, so it is no castoff artefact")
    if file_size < 64 + _FOOTER.size:
        raise ArtefactError(f"{name} is truncated: only {file_size} bytes are left")
    file.seek(-_FOOTER.size, os.SEEK_END)
    footer = file.read(_FOOTER.size)
    (
        magic,
        major,
        minor,
        weights_offset,
        weights_size,
        offset,
        size,
        recorded_size,
        crc,
        footer_crc,
    ) = _FOOTER.unpack(footer)
    if magic != _MAGIC:
        raise ArtefactError(
            f"{name} does not end as a castoff artefact does: it is another library, or was "
            "truncated or stripped"
        )
    if zlib.crc32(footer[:-4]) != footer_crc:
        raise ArtefactError(f"{name} is damaged: the checksum of its footer does not match")
    if recorded_size != file_size:
        raise ArtefactError(f"{name} is damaged: expected {recorded_size} bytes, got {file_size}")
    if major != ABI_MAJOR or minor > ABI_MINOR:
        age = "a newer" if (major, minor) > (ABI_MAJOR, ABI_MINOR) else "an older"
        raise ArtefactError(
            f"{name} was built by {age} castoff (ABI {major}.{minor}; this one reads "
            f"{ABI_MAJOR}.0 to {ABI_MAJOR}.{ABI_MINOR}): compile the program again, "
            "or use that castoff"
        )
    if (
        size > _MAX_MANIFEST_BYTES
        or offset + size > file_size
        or weights_offset + weights_size > offset
    ):
        raise ArtefactError(f"{name} is damaged: its parts lie outside the file")
    return FileLayout(weights_offset, weights_size, offset, size, crc, header)


def read_manifest_from(file: BinaryIO, name: str) -> Manifest:
    """The manifest of an open artefact; `name` is for errors. Raises ArtefactError."""
    layout = read_layout(file, name)
    file.seek(layout.manifest_offset)
    text = file.read(layout.manifest_size)
    if zlib.crc32(text) != layout.manifest_crc32:
        raise ArtefactError(f"{name} is damaged: the checksum of its manifest does not match")
    try:
        manifest = Manifest.from_json(text)
    except ArtefactError as error:
        raise ArtefactError(f"{name}: {error}") from error
    _check_machine(layout.elf_header, manifest, name)
    return manifest


def _check_machine(header: bytes, manifest: Manifest, name: str) -> None:
    machine = int.from_bytes(header[18:20], "little")
    if header[4:6] != b"\x02\x01" or MACHINES.get(manifest.machine) != machine:
        raise ArtefactError(
            f"{name} is damaged: its ELF image is not for {manifest.machine}, as its manifest says"
        )


def layout_constants(sizes_bytes: Iterable[int]) -> tuple[tuple[int, ...], int]:
    """Offsets of constants of these sizes, each aligned to 64, and the size of all."""
    offsets = []
    end = 0
    for size in sizes_bytes:
        begin = -(-end // CONSTANT_ALIGNMENT) * CONSTANT_ALIGNMENT
        offsets.append(begin)
        end = begin + size
    return tuple(offsets), end


def append_payload(
    path: str | os.PathLike[str],
    weights: Iterable[tuple[int, bytes | bytearray | memoryview]],
    manifest: Manifest,
) -> Manifest:
    """Appends weights, manifest and footer to a freshly linked library, in place.

    `weights` are (offset in the weights, bytes), ascending; gaps become zeros, and
    `manifest.weights_size_bytes` is the size of all. Returns the manifest as written, with the
    digest of the weights filled in.
    """
    import hashlib

    digest = hashlib.sha256()
    with open(path, "r+b") as file:
        elf_size = file.seek(0, os.SEEK_END)
        weights_offset = -(-elf_size // WEIGHTS_ALIGNMENT) * WEIGHTS_ALIGNMENT
        file.write(bytes(weights_offset - elf_size))
        position = 0

        def write(chunk: bytes | bytearray | memoryview) -> None:
            nonlocal position
            file.write(chunk)
            digest.update(chunk)
            position += len(chunk)

        def pad(end: int) -> None:
            while position < end:
                write(bytes(min(end - position, 1 << 20)))

        for offset, chunk in weights:
            view = memoryview(chunk).cast("B") if len(chunk) else memoryview(b"")
            assert offset >= position, "chunks of weights ascend and do not overlap"
            pad(offset)
            write(view)
        assert position <= manifest.weights_size_bytes, "the manifest knows the size of the weights"
        pad(manifest.weights_size_bytes)
        written = manifest._replace(weights_digest=digest.hexdigest())
        text = written.to_json()
        file.write(text)
        file.write(footer_bytes(weights_offset, position, text))
    return written


def footer_bytes(weights_offset: int, weights_size: int, manifest: bytes) -> bytes:
    """The end of a file in which the manifest's bytes follow the weights."""
    offset = weights_offset + weights_size
    file_size = offset + len(manifest) + _FOOTER.size
    body = _FOOTER.pack(
        _MAGIC,
        ABI_MAJOR,
        ABI_MINOR,
        weights_offset,
        weights_size,
        offset,
        len(manifest),
        file_size,
        zlib.crc32(manifest),
        0,
    )[:-4]
    return body + _CRC.pack(zlib.crc32(body))
