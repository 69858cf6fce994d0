"""Writes what `torch_save` reads: containers, Python numbers and tensors, as torch.save does.

The pickle is written opcode by opcode, in protocol 2; nothing of the values is asked how it wants
to be pickled.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from .schema import Device, ScalarType
from .tensors import Storage, TensorData
from .torch_save import DTYPE_NAMES, STORAGE_TYPES
from .zip_writer import Content, ZipWriter

_STORAGE_NAMES = {dtype: name for name, dtype in STORAGE_TYPES.items() if dtype is not None}
_TORCH_NAMES = {dtype: name for name, dtype in DTYPE_NAMES.items()}


class NotPicklableError(Exception):
    """A value of a type that is outside the closed list; the argument names it."""


def write_torch_save(value: object) -> bytes:
    """A torch.save payload of `value`; `NotPicklableError` for what it cannot hold."""
    pickler = _Pickler()
    pickle = b"\x80\x02" + pickler.encode(value) + b"."
    parts: list[Content] = []
    archive = ZipWriter(parts.append)
    archive.add("archive/data.pkl", pickle)
    archive.add("archive/byteorder", b"little")
    for key, storage in enumerate(pickler.storages):
        archive.add(f"archive/data/{key}", storage.data)
    archive.add("archive/version", b"3\n")
    archive.finish()
    return b"".join(parts)


class _Pickler:
    def __init__(self) -> None:
        self.storages: list[Storage] = []
        self._keys: dict[int, int] = {}

    def encode(self, value: object) -> bytes:
        """The opcodes that leave `value` on the stack."""
        # Subclasses of the containers (namedtuples, enums) are classes of their own.
        kind = type(value)
        if value is None:
            return b"N"
        if isinstance(value, bool):
            return b"\x88" if value else b"\x89"
        if isinstance(value, ScalarType) and value in _TORCH_NAMES:
            return _global("torch", _TORCH_NAMES[value])
        if isinstance(value, Device):
            index = () if value.index is None else (value.index,)
            return self._call("torch", "device", value.type, *index)
        if isinstance(value, TensorData):
            return self._tensor(value)
        if kind is int:
            return _integer(value)  # type: ignore[arg-type]
        if kind is float:
            return b"G" + struct.pack(">d", value)
        if kind is str:
            return _string(value)  # type: ignore[arg-type]
        if kind is complex:
            assert isinstance(value, complex)
            return self._call("__builtin__", "complex", value.real, value.imag)
        if kind is tuple:
            return self._tuple(value)  # type: ignore[arg-type]
        if kind is list:
            return b"](" + b"".join(map(self.encode, value)) + b"e"  # type: ignore[call-overload]
        if kind is dict:
            return b"}(" + self._items(value) + b"u"  # type: ignore[arg-type]
        if kind is OrderedDict:
            made = self._call("collections", "OrderedDict")
            return made + b"(" + self._items(value) + b"u"  # type: ignore[arg-type]
        raise NotPicklableError(kind.__name__)

    def _items(self, items: Mapping[object, object]) -> bytes:
        return b"".join(self.encode(key) + self.encode(value) for key, value in items.items())

    def _tuple(self, items: Iterable[object]) -> bytes:
        return b"(" + b"".join(map(self.encode, items)) + b"t"

    def _call(self, module: str, name: str, *arguments: object) -> bytes:
        return _global(module, name) + self._tuple(arguments) + b"R"

    def _tensor(self, tensor: TensorData) -> bytes:
        name = _STORAGE_NAMES.get(tensor.dtype)
        has_storage_type = name is not None
        itemsize = tensor.array_as_mapped.itemsize if has_storage_type else 1
        data = tensor.storage.data
        key = self._keys.get(id(tensor.storage))
        if key is None:
            key = self._keys[id(tensor.storage)] = len(self.storages)
            self.storages.append(tensor.storage)
        module = "torch" if has_storage_type else "torch.storage"
        storage = (
            b"("
            + _string("storage")
            + _global(module, name or "UntypedStorage")
            + _string(str(key))
            + _string("cpu")
            + _integer(len(data) // itemsize)
            + b"tQ"
        )
        arguments = (
            storage
            + _integer(tensor.storage_offset_elements)
            + self._tuple(tensor.shape)
            + self._tuple(tensor.strides_elements)
            + self.encode(tensor.requires_grad and not tensor.is_parameter)
            + self._call("collections", "OrderedDict")
        )
        if has_storage_type:
            rebuilt = _global("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"
        else:
            arguments += self.encode(tensor.dtype)
            rebuilt = _global("torch._utils", "_rebuild_tensor_v3") + b"(" + arguments + b"tR"
        if not tensor.is_parameter:
            return rebuilt
        further = self.encode(tensor.requires_grad) + self._call("collections", "OrderedDict")
        return _global("torch._utils", "_rebuild_parameter") + b"(" + rebuilt + further + b"tR"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _string(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integer(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    if len(content) > 255:
        raise NotPicklableError("an int of more than 255 bytes")
    return b"\x8a" + bytes([len(content)]) + content
