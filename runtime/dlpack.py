"""Tensors in the memory of a device, as DLPack hands them over.

Capsules are read and made with ctypes: cffi knows no Python objects.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._abi_cdef import ffi
from .abi import DTYPE_CODES
from .errors import DeviceError
from .library import CData

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
LEGACY_STREAM = 1
STREAM_OF_THREAD = 2
"""What artefacts copy on outside of runs."""

_DTYPES: Mapping[tuple[int, int], str] = {code: name for name, code in DTYPE_CODES.items()}
_PLAIN, _VERSIONED = b"dltensor", b"dltensor_versioned"
# Of a DLManagedTensorVersioned: version, manager_ctx, deleter, flags, then the tensor.
_TENSOR_IN_VERSIONED = 32
_FLAGS_IN_VERSIONED = 24
_IS_READ_ONLY = 1

_api = ctypes.pythonapi
_api.PyCapsule_IsValid.argtypes = [ctypes.py_object, ctypes.c_char_p]
_api.PyCapsule_IsValid.restype = ctypes.c_int
_api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_api.PyCapsule_GetPointer.restype = ctypes.c_void_p
_api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_api.PyCapsule_New.restype = ctypes.py_object
# The same functions for objects by their address.
_raw = ctypes.PyDLL(None)
_raw.PyCapsule_IsValid.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_raw.PyCapsule_IsValid.restype = ctypes.c_int
_raw.PyCapsule_GetPointer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_raw.PyCapsule_GetPointer.restype = ctypes.c_void_p


@dataclass(frozen=True, slots=True)
class Lent:
    """A tensor of someone else's, as long as `keep` lives; `strides` in elements, None: dense."""

    address: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    device: tuple[int, int]
    is_read_only: bool
    keep: object


def device_of(value: object) -> tuple[int, int] | None:
    """DLPack's device of a value, None for what is no tensor."""
    ask = getattr(value, "__dlpack_device__", None)
    if ask is None:
        return None
    kind, index = ask()
    return int(kind), int(index)


def is_on_gpu(device: tuple[int, int] | None) -> bool:
    """Whether it is memory that a GPU works on."""
    return device is not None and device[0] in (CUDA, CUDA_MANAGED)


def borrow(value: Any, stream: int) -> Lent:
    """The memory of a tensor, once what it holds can be read on `stream`. Raises DeviceError."""
    device = device_of(value)
    assert device is not None, "only what has a device is borrowed"
    detach = getattr(value, "detach", None)  # torch lends no tensor that wants a gradient
    try:
        capsule = (value if detach is None else detach()).__dlpack__(stream=stream)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise DeviceError(f"a {type(value).__name__} does not lend its memory: {error}") from error
    is_read_only = False
    if _api.PyCapsule_IsValid(capsule, _VERSIONED):
        address = _api.PyCapsule_GetPointer(capsule, _VERSIONED)
        flags = ffi.cast("uint64_t *", address + _FLAGS_IN_VERSIONED)[0]
        is_read_only = bool(flags & _IS_READ_ONLY)
        address += _TENSOR_IN_VERSIONED
    else:
        address = _api.PyCapsule_GetPointer(capsule, _PLAIN)
    tensor = ffi.cast("DLTensor *", address)
    rank = tensor.ndim
    code = (tensor.dtype.code, tensor.dtype.bits)
    dtype = _DTYPES.get(code, f"DLPack dtype {code}") if tensor.dtype.lanes == 1 else "vectors"
    return Lent(
        int(ffi.cast("uintptr_t", tensor.data)) + tensor.byte_offset,
        dtype,
        tuple(tensor.shape[0:rank]),
        tuple(tensor.strides[0:rank]) if tensor.strides != ffi.NULL else None,
        (tensor.device.device_type, tensor.device.device_id),
        is_read_only,
        capsule,
    )


def lent_tensor(lent: Lent) -> tuple[CData, object]:
    """A DLTensor over memory that was lent, and what has to outlive it."""
    sizes = ffi.new("int64_t[]", lent.shape)
    strides = ffi.NULL if lent.strides is None else ffi.new("int64_t[]", lent.strides)
    tensor = ffi.new("DLTensor *")
    tensor.data = ffi.cast("void *", lent.address)
    tensor.device.device_type, tensor.device.device_id = lent.device
    tensor.ndim = len(lent.shape)
    tensor.dtype.code, tensor.dtype.bits = DTYPE_CODES[lent.dtype]
    tensor.dtype.lanes = 1
    tensor.shape, tensor.strides = sizes, strides
    return tensor, (sizes, strides, lent)


def stream_handle(stream: Any) -> int:
    """A stream as DLPack numbers it: an int, or an object of torch, cupy or `__cuda_stream__`.

    Raises DeviceError.
    """
    if isinstance(stream, int) and not isinstance(stream, bool) and stream >= 0:
        return stream or LEGACY_STREAM
    if hasattr(stream, "__cuda_stream__"):
        _, handle = stream.__cuda_stream__()
        return int(handle) or LEGACY_STREAM
    for name in ("cuda_stream", "ptr"):
        handle = getattr(stream, name, None)
        if isinstance(handle, int):
            return handle or LEGACY_STREAM
    raise DeviceError(f"stream: expected a CUDA stream or its address, got {stream!r}")


def _forget_capsule(address: int) -> None:
    """What nobody took out of a capsule goes back. The capsule is dying: it must not be referred to."""
    if _raw.PyCapsule_IsValid(address, _PLAIN):
        managed = ffi.cast("castoff_managed_tensor *", _raw.PyCapsule_GetPointer(address, _PLAIN))
        managed.deleter(managed)


_forget = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(_forget_capsule)
_forget_address = ctypes.cast(_forget, ctypes.c_void_p).value


def make_capsule(managed: CData) -> object:
    """A capsule that owns a castoff_managed_tensor until a consumer takes it."""
    address = int(ffi.cast("uintptr_t", managed))
    return _api.PyCapsule_New(address, _PLAIN, _forget_address)
