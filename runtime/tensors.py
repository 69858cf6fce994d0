"""Arrays of any library as NumPy arrays over the same memory, and results of the kind given.

NumPy has no bfloat16 and no float8: inside the runtime those are uint16 and uint8 arrays that hold
the bits.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .errors import DeviceError

Array = np.ndarray[Any, np.dtype[Any]]
# From a NumPy array in its storage dtype, and the name of the dtype it holds, to what the caller
# gets.
Give = Callable[[Array, str], object]

# Dtypes NumPy lacks -> the unsigned integers that hold their bits.
_BITS: Mapping[str, str] = {
    "bfloat16": "uint16",
    "complex32": "uint32",
    "float8_e4m3fn": "uint8",
    "float8_e4m3fnuz": "uint8",
    "float8_e5m2": "uint8",
    "float8_e5m2fnuz": "uint8",
    "float8_e8m0fnu": "uint8",
}
# Where another spelling than the first part of a type's module holds from_dlpack.
_DLPACK_MODULES: Mapping[str, str] = {"jaxlib": "jax.dlpack", "jax": "jax.dlpack"}


def storage_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype that holds elements of a castoff dtype."""
    dtype: np.dtype[Any] = np.dtype(_BITS.get(name, name))
    return dtype


def native_dtype(name: str) -> np.dtype[Any]:
    """The dtype of results: ml_dtypes' where NumPy lacks it and that is installed, else bits."""
    if name in _BITS:
        try:
            dtype: np.dtype[Any] = np.dtype(getattr(importlib.import_module("ml_dtypes"), name))
            return dtype
        except (ImportError, AttributeError):
            pass
    return storage_dtype(name)


def is_extended(name: str) -> bool:
    """Whether NumPy lacks the dtype."""
    return name in _BITS


def matches(array: Array, name: str) -> bool:
    """Whether an array's elements are of a castoff dtype, byte order aside; raw bits count."""
    if name in _BITS and array.dtype.name == name:
        return True
    return bool(array.dtype.newbyteorder("=") == storage_dtype(name))


def as_storage(array: Array, name: str) -> Array:
    """The array over the same memory with its storage dtype; `matches(array, name)` holds."""
    if name in _BITS and array.dtype.name == name:
        return array.view(_BITS[name])
    return array


def is_torch(value: object) -> bool:
    """Whether a value is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def as_array(value: object) -> Array | None:
    """A NumPy array over the memory of `value`, None where it is no array. Raises DeviceError."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.generic):
        return np.asarray(value)
    if is_torch(value):
        return _from_torch(value)
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except (RuntimeError, BufferError, TypeError) as error:
            raise DeviceError(
                f"a {type(value).__name__} cannot be read as a CPU tensor: {error}"
            ) from error
    if hasattr(value, "__array_interface__") or hasattr(value, "__array__"):
        return np.asarray(value)
    return None


def _from_torch(tensor: Any) -> Array:
    """torch's own numpy() refuses dtypes that NumPy lacks, and tensors that want gradients."""
    torch = sys.modules["torch"]
    tensor = tensor.detach()
    if tensor.device.type != "cpu":
        raise DeviceError(f"expected a tensor on the CPU, got one on {tensor.device}")
    tensor = tensor.resolve_conj().resolve_neg()
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in _BITS:
        array: Array = tensor.numpy()
        return array
    signed = {"uint8": torch.uint8, "uint16": torch.int16, "uint32": torch.int32}[_BITS[name]]
    bits: Array = tensor.view(signed).numpy().view(_BITS[name])
    native = native_dtype(name)
    return bits.view(native)


def _give_numpy(array: Array, name: str) -> object:
    return array.view(native_dtype(name)) if name in _BITS else array


def _give_torch(array: Array, name: str) -> object:
    torch = sys.modules["torch"]
    if name not in _BITS:
        return torch.from_numpy(array)
    signed = {"uint8": "uint8", "uint16": "int16", "uint32": "int32"}[_BITS[name]]
    return torch.from_numpy(array.view(signed)).view(getattr(torch, name))


def from_dlpack_of(value: object) -> Callable[[object], object] | None:
    """What makes arrays of a value's kind of what reads DLPack; None where that is not known."""
    root = type(value).__module__.partition(".")[0]
    module = sys.modules.get(_DLPACK_MODULES.get(root, root))
    found: Callable[[object], object] | None = getattr(module, "from_dlpack", None)
    return found


def giver(leaves: tuple[object, ...]) -> Give:
    """What turns results into the kind of array that was given; NumPy's where none is known."""
    foreign = [
        leaf
        for leaf in leaves
        if hasattr(leaf, "__dlpack__") and not isinstance(leaf, (np.ndarray, np.generic))
    ]
    if not foreign:
        return _give_numpy
    if is_torch(foreign[0]):
        return _give_torch
    from_dlpack = from_dlpack_of(foreign[0])
    if from_dlpack is None:
        return _give_numpy
    return lambda array, name: from_dlpack(array) if name not in _BITS else _give_numpy(array, name)
