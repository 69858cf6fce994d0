"""What torch.save writes: a zip with one pickle and the raw bytes of each storage.

Tensors and parameters become `TensorData` over the bytes as they lie in the file, `torch.Size` a
tuple, a device a `schema.Device`, a dtype a `ScalarType`. Everything else is outside the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...runtime.constructors import PYTHON_GLOBALS, Constructor, Globals
from ...runtime.unpickle import unpickle
from ...runtime.zip_reader import ZipReader, is_zip
from ..records import dataclass
from .errors import ProgramFormatError
from .schema import Device, ScalarType
from .tensors import Storage, TensorData, numpy_dtype, strided_tensor

DTYPE_NAMES = {
    "uint8": ScalarType.BYTE,
    "int8": ScalarType.CHAR,
    "int16": ScalarType.SHORT,
    "int32": ScalarType.INT,
    "int64": ScalarType.LONG,
    "float16": ScalarType.HALF,
    "float32": ScalarType.FLOAT,
    "float64": ScalarType.DOUBLE,
    "complex32": ScalarType.COMPLEXHALF,
    "complex64": ScalarType.COMPLEXFLOAT,
    "complex128": ScalarType.COMPLEXDOUBLE,
    "bool": ScalarType.BOOL,
    "bfloat16": ScalarType.BFLOAT16,
    "uint16": ScalarType.UINT16,
    "uint32": ScalarType.UINT32,
    "uint64": ScalarType.UINT64,
    "float8_e4m3fn": ScalarType.FLOAT8E4M3FN,
    "float8_e5m2": ScalarType.FLOAT8E5M2,
    "float8_e4m3fnuz": ScalarType.FLOAT8E4M3FNUZ,
    "float8_e5m2fnuz": ScalarType.FLOAT8E5M2FNUZ,
    "float8_e8m0fnu": ScalarType.FLOAT8E8M0FNU,
}


@dataclass(frozen=True, slots=True)
class _StorageType:
    """A storage class of torch; `dtype` is None for the untyped one, which counts bytes."""

    dtype: ScalarType | None


STORAGE_TYPES = {
    "ByteStorage": ScalarType.BYTE,
    "CharStorage": ScalarType.CHAR,
    "ShortStorage": ScalarType.SHORT,
    "IntStorage": ScalarType.INT,
    "LongStorage": ScalarType.LONG,
    "HalfStorage": ScalarType.HALF,
    "FloatStorage": ScalarType.FLOAT,
    "DoubleStorage": ScalarType.DOUBLE,
    "ComplexFloatStorage": ScalarType.COMPLEXFLOAT,
    "ComplexDoubleStorage": ScalarType.COMPLEXDOUBLE,
    "BoolStorage": ScalarType.BOOL,
    "BFloat16Storage": ScalarType.BFLOAT16,
    "UntypedStorage": None,
}


@dataclass(frozen=True, slots=True)
class _TypedStorage:
    storage: Storage
    dtype: ScalarType | None


@dataclass(frozen=True, slots=True)
class _TensorClass:
    """`torch.Tensor` or `torch.nn.Parameter`, where a pickle passes the class itself."""

    is_parameter: bool


def read_torch_save(data: memoryview, source: str) -> object:
    """The object in a torch.save payload; `source` names it in errors.

    Raises `UnsafePickleError` for what is outside the closed list of constructors, its subclass
    `ForeignClassError` where that is a class of another package, and `ProgramFormatError` for
    damage.
    """
    if not is_zip(data):
        raise ProgramFormatError(
            f"{source}: expected a torch.save payload in zip format, got something else"
        )
    return _Payload(data, source).read()


class _Payload:
    def __init__(self, data: memoryview, source: str) -> None:
        self._zip = ZipReader(data, source)
        self._source = source
        pickles = [name for name in self._zip.names if name.split("/", 1)[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise ProgramFormatError(
                f"{source}: expected one 'data.pkl' entry in a torch.save payload, "
                f"got {len(pickles)}"
            )
        self._pickle_name = pickles[0]
        self._root = self._pickle_name.removesuffix("data.pkl")
        self._storages: dict[str, Storage] = {}

    def read(self) -> object:
        byte_order = f"{self._root}byteorder"
        if byte_order in self._zip and bytes(self._zip.read(byte_order)) != b"little":
            raise ProgramFormatError(f"{self._source}: expected little-endian bytes")
        return unpickle(
            self._zip.read(self._pickle_name),
            _ALLOWED,
            self._load_storage,
            f"{self._source}/{self._pickle_name}",
        )

    def _load_storage(self, identifier: object) -> object:
        match identifier:
            case ("storage", _StorageType(dtype), str(key), str(), int(count)):
                pass
            case _:
                raise ValueError("a persistent object that is no storage")
        itemsize = 1 if dtype is None else numpy_dtype(dtype, self._source).itemsize
        storage = self._storages.get(key)
        if storage is None:
            name = f"{self._root}data/{key}"
            storage = Storage(f"{self._source}/{name}", self._zip.read(name))
            self._storages[key] = storage
        if count < 0 or count * itemsize > len(storage.data):
            raise ProgramFormatError(
                f"{self._source}: storage '{key}' should hold {count} elements of {itemsize} "
                f"bytes, but its entry has {len(storage.data)} bytes"
            )
        return _TypedStorage(storage, dtype)


def _rebuild_tensor(
    stored: _TypedStorage, offset: int, sizes: Sequence[int], strides: Sequence[int]
) -> TensorData:
    if not isinstance(stored, _TypedStorage) or stored.dtype is None:
        raise ValueError("a tensor over something that is no typed storage")
    return strided_tensor(
        stored.storage, stored.dtype, _integers(sizes), _integers(strides), offset, "tensor"
    )


def _rebuild_tensor_v2(
    stored: _TypedStorage,
    offset: int,
    sizes: Sequence[int],
    strides: Sequence[int],
    requires_grad: bool,
    hooks: object,
    metadata: object = None,
) -> TensorData:
    tensor = _rebuild_tensor(stored, offset, sizes, strides)
    return _with_metadata(replace(tensor, requires_grad=bool(requires_grad)), metadata)


def _rebuild_tensor_v3(
    stored: _TypedStorage,
    offset: int,
    sizes: Sequence[int],
    strides: Sequence[int],
    requires_grad: bool,
    hooks: object,
    dtype: ScalarType,
    metadata: object = None,
) -> TensorData:
    if not isinstance(stored, _TypedStorage) or not isinstance(dtype, ScalarType):
        raise ValueError("a tensor over something that is no storage")
    typed = _TypedStorage(stored.storage, dtype)
    return _rebuild_tensor_v2(typed, offset, sizes, strides, requires_grad, hooks, metadata)


def _rebuild_parameter(data: TensorData, requires_grad: bool, hooks: object) -> TensorData:
    if not isinstance(data, TensorData):
        raise ValueError("a parameter that is no tensor")
    return replace(data, requires_grad=bool(requires_grad), is_parameter=True)


def _rebuild_parameter_with_state(
    data: TensorData, requires_grad: bool, hooks: object, state: object
) -> TensorData:
    # The state is Python attributes the user hung on the parameter; no program reads them.
    return _rebuild_parameter(data, requires_grad, hooks)


def _rebuild_from_type(
    rebuild: Constructor, tensor_class: _TensorClass, arguments: tuple[object, ...], state: object
) -> TensorData:
    if not isinstance(rebuild, Constructor) or not isinstance(tensor_class, _TensorClass):
        raise ValueError("a tensor of a class that is not torch's own")
    if rebuild.build not in _TENSOR_BUILDERS:
        raise ValueError("a tensor rebuilt by something that makes no tensors")
    tensor = rebuild.build(*arguments)
    assert isinstance(tensor, TensorData), "tensor builders return tensors"
    return replace(tensor, is_parameter=tensor.is_parameter or tensor_class.is_parameter)


def _with_metadata(tensor: TensorData, metadata: object) -> TensorData:
    """The tensor with the lazy conjugation and negation that torch keeps as flags carried out."""
    if not metadata:
        return tensor
    if not isinstance(metadata, dict) or not set(metadata) <= {"conj", "neg"}:
        raise ValueError("tensor metadata that is neither conj nor neg")
    if tensor.array.size * tensor.array.itemsize > len(tensor.storage.data):
        raise ValueError("a conjugated tensor larger than its storage")
    array = tensor.array
    if metadata.get("conj"):
        array = np.conjugate(array)
    if metadata.get("neg"):
        array = np.negative(array)
    packed = np.ascontiguousarray(array)
    storage = Storage(tensor.storage.name, memoryview(packed.tobytes()))
    strides = tuple(stride // packed.itemsize for stride in packed.strides)
    return strided_tensor(
        storage,
        tensor.dtype,
        tensor.array.shape,
        strides,
        0,
        tensor.storage.name,
        requires_grad=tensor.requires_grad,
    )


def _integers(values: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or any(type(value) is not int for value in values):
        raise ValueError("sizes that are no integers")
    return tuple(values)


def _device(kind: str, index: int | None = None) -> Device:
    name, _, number = kind.partition(":")
    return Device(name, int(number) if number else index)


_TENSOR_BUILDERS = {_rebuild_tensor, _rebuild_tensor_v2, _rebuild_tensor_v3, _rebuild_parameter}

_ALLOWED: Globals = {
    **PYTHON_GLOBALS,
    ("torch._utils", "_rebuild_tensor"): Constructor("_rebuild_tensor", _rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Constructor("_rebuild_tensor_v2", _rebuild_tensor_v2),
    ("torch._utils", "_rebuild_tensor_v3"): Constructor("_rebuild_tensor_v3", _rebuild_tensor_v3),
    ("torch._utils", "_rebuild_parameter"): Constructor("_rebuild_parameter", _rebuild_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): Constructor(
        "_rebuild_parameter_with_state", _rebuild_parameter_with_state
    ),
    ("torch._tensor", "_rebuild_from_type_v2"): Constructor(
        "_rebuild_from_type_v2", _rebuild_from_type
    ),
    ("torch", "Tensor"): _TensorClass(is_parameter=False),
    ("torch.nn.parameter", "Parameter"): _TensorClass(is_parameter=True),
    ("torch", "Size"): Constructor("Size", _integers, copies_argument=True),
    ("torch", "device"): Constructor("device", _device),
    ("torch.storage", "UntypedStorage"): _StorageType(None),
    **{("torch", name): _StorageType(dtype) for name, dtype in STORAGE_TYPES.items()},
    **{("torch", name): dtype for name, dtype in DTYPE_NAMES.items()},
}
