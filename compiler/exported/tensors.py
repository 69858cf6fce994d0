"""Tensors of a file as NumPy arrays: views into the bytes as they lie, strided, read-only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import ml_dtypes
import numpy as np
import numpy.typing as npt

from ..records import dataclass
from .errors import ProgramFormatError
from .schema import Device, ScalarType

NUMPY_DTYPES: Mapping[ScalarType, np.dtype[np.generic]] = MappingProxyType(
    {
        ScalarType.BYTE: np.dtype("<u1"),
        ScalarType.CHAR: np.dtype("<i1"),
        ScalarType.SHORT: np.dtype("<i2"),
        ScalarType.INT: np.dtype("<i4"),
        ScalarType.LONG: np.dtype("<i8"),
        ScalarType.HALF: np.dtype("<f2"),
        ScalarType.FLOAT: np.dtype("<f4"),
        ScalarType.DOUBLE: np.dtype("<f8"),
        # NumPy has no half-precision complex number; the two halves are named fields.
        ScalarType.COMPLEXHALF: np.dtype([("real", "<f2"), ("imag", "<f2")]),
        ScalarType.COMPLEXFLOAT: np.dtype("<c8"),
        ScalarType.COMPLEXDOUBLE: np.dtype("<c16"),
        ScalarType.BOOL: np.dtype(np.bool_),
        ScalarType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
        ScalarType.UINT16: np.dtype("<u2"),
        ScalarType.FLOAT8E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
        ScalarType.FLOAT8E5M2: np.dtype(ml_dtypes.float8_e5m2),
        ScalarType.FLOAT8E4M3FNUZ: np.dtype(ml_dtypes.float8_e4m3fnuz),
        ScalarType.FLOAT8E5M2FNUZ: np.dtype(ml_dtypes.float8_e5m2fnuz),
        ScalarType.FLOAT8E8M0FNU: np.dtype(ml_dtypes.float8_e8m0fnu),
        ScalarType.UINT32: np.dtype("<u4"),
        ScalarType.UINT64: np.dtype("<u8"),
    }
)
"""The NumPy type whose bytes are those of each element type of the file."""

_MAX_ELEMENTS = 1 << 62
_MAX_RANK = 64

CPU = Device("cpu")


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """The bytes behind one or more tensors; tensors that share memory share this object.

    `bytes_as_mapped` may not have been held against their checksum yet: `check` does that, where it
    is given, and raises `ProgramFormatError` for damage.
    """

    name: str
    bytes_as_mapped: memoryview
    check: Callable[[], None] | None = None

    @property
    def data(self) -> memoryview:
        """The bytes, found to be whole."""
        if self.check is not None:
            self.check()
        return self.bytes_as_mapped

    @property
    def size_bytes(self) -> int:
        """How many there are."""
        return len(self.bytes_as_mapped)


@dataclass(frozen=True, slots=True, eq=False)
class TensorData:
    """One tensor: a read-only view of `storage`, with the strides it had in torch.

    `device` is where the tensor was when it was saved; its bytes are in memory here.
    Tied weights and views of one another have the same `storage` (compare with `is`);
    `storage_offset_elements` and the strides say which part each one is.
    """

    array_as_mapped: npt.NDArray[np.generic]
    """The elements, which may not have been held against their checksum yet."""
    dtype: ScalarType
    storage: Storage
    storage_offset_elements: int
    requires_grad: bool = False
    is_parameter: bool = False
    device: Device = CPU
    stated_strides: tuple[int, ...] | None = None
    """The strides in elements of a tensor that has none, on the device "meta"."""

    @property
    def array(self) -> npt.NDArray[np.generic]:
        """The elements. Raises `ProgramFormatError` where the file is damaged or holds none."""
        if self.has_no_elements:
            raise ProgramFormatError(
                f"{self.storage.name}: a tensor of the device 'meta' has a type and no elements"
            )
        if self.storage.check is not None:
            self.storage.check()
        return self.array_as_mapped

    @property
    def has_no_elements(self) -> bool:
        """Whether it is a type alone, saved from the device "meta"."""
        return self.stated_strides is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return tuple(self.array_as_mapped.shape)

    @property
    def strides_elements(self) -> tuple[int, ...]:
        """The strides, counted in elements."""
        if self.stated_strides is not None:
            return self.stated_strides
        array = self.array_as_mapped
        return tuple(stride // array.itemsize for stride in array.strides)


def numpy_dtype(dtype: ScalarType, where: str) -> np.dtype[np.generic]:
    """The NumPy type of `dtype`; `where` names the tensor in the error."""
    found = NUMPY_DTYPES.get(dtype)
    if found is None:
        raise ProgramFormatError(f"{where}: element type {dtype.name} cannot be stored")
    return found


def _checked_shape(
    sizes: tuple[int, ...], strides: tuple[int, ...], offset: int, where: str
) -> str:
    """What lies where, in words, once it is known to be a tensor that could be."""
    text = f"{list(sizes)} with strides {list(strides)} at offset {offset}"
    numbers = (*sizes, *strides, offset)
    if len(sizes) != len(strides) or min(numbers) < 0:
        raise ProgramFormatError(f"{where}: {text} is not a tensor shape")
    if len(sizes) > _MAX_RANK or max(numbers) > _MAX_ELEMENTS:
        raise ProgramFormatError(f"{where}: {text} is past what can be addressed")
    return text


def strided_tensor(
    storage: Storage,
    dtype: ScalarType,
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    where: str,
    *,
    requires_grad: bool = False,
    is_parameter: bool = False,
    device: Device = CPU,
) -> TensorData:
    """The tensor at `offset` of `storage`; strides and offset are in elements.

    Raises `ProgramFormatError`, naming `where`, unless all of it lies inside the storage.
    """
    element_type = numpy_dtype(dtype, where)
    shape_text = _checked_shape(sizes, strides, offset, where)
    array: npt.NDArray[np.generic]
    is_empty = 0 in sizes
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    needed_bytes = 0 if is_empty else (last + 1) * element_type.itemsize
    if needed_bytes > storage.size_bytes:
        raise ProgramFormatError(
            f"{where}: {shape_text} of {element_type.name} needs {needed_bytes} bytes, but "
            f"'{storage.name}' holds {storage.size_bytes}"
        )
    try:
        # Built from the buffer itself: `as_strided` does not know the types of ml_dtypes.
        byte_strides = tuple(stride * element_type.itemsize for stride in strides)
        start = 0 if is_empty else offset * element_type.itemsize
        array = np.ndarray(sizes, element_type, storage.bytes_as_mapped, start, byte_strides)
    except (ValueError, OverflowError) as error:
        raise ProgramFormatError(f"{where}: {shape_text} is no array: {error}") from None
    array.flags.writeable = False
    return TensorData(array, dtype, storage, offset, requires_grad, is_parameter, device)


def tensor_of_array(
    array: npt.NDArray[np.generic], dtype: ScalarType, name: str, *, is_parameter: bool = False
) -> TensorData:
    """A copy of an array as a tensor in memory of its own, in row-major order."""
    packed = np.ascontiguousarray(array).reshape(array.shape)
    data = memoryview(packed.tobytes())
    view = np.frombuffer(data, packed.dtype).reshape(array.shape)
    return TensorData(view, dtype, Storage(name, data), 0, is_parameter=is_parameter)


def meta_tensor(
    storage: Storage,
    dtype: ScalarType,
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    where: str,
    *,
    requires_grad: bool = False,
    is_parameter: bool = False,
) -> TensorData:
    """A tensor that has a type and no elements, as PyTorch has them on its device "meta".

    Raises `ProgramFormatError`, naming `where`, for what is no tensor shape.
    """
    shape_text = _checked_shape(sizes, strides, offset, where)
    try:
        array = np.broadcast_to(np.zeros((), numpy_dtype(dtype, where)), sizes)
    except ValueError as error:
        raise ProgramFormatError(f"{where}: {shape_text} is no array: {error}") from None
    device = Device("meta")
    return TensorData(
        array, dtype, storage, offset, requires_grad, is_parameter, device, stated_strides=strides
    )
