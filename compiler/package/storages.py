"""Memory of arrays and tensors, apart from the objects that hold them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...runtime.errors import PackageError
from ...runtime.package_python import dtype_name

Array = np.ndarray[Any, np.dtype[Any]]


class StorageTable:
    """Storages in the order in which they were met; arrays over one memory have one.

    `runtime.package_python` reads the identifiers.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], int] = {}
        self._memory: list[Array] = []

    def identifier(self, value: object) -> object:
        """What stands in a pickle for an array or a torch storage; None for everything else."""
        if type(value) in (np.ndarray, np.memmap):
            return self._array(np.asarray(value))
        if isinstance(value, np.generic) and (dtype := dtype_name(value.dtype)) is not None:
            return ("scalar", dtype, value.tobytes())
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.storage.TypedStorage):
            dtype = str(value.dtype).removeprefix("torch.")
            return ("torch", self._number(_torch_bytes(value._untyped_storage, torch)), dtype)
        if torch is not None and isinstance(value, torch.UntypedStorage):
            return ("torch", self._number(_torch_bytes(value, torch)), "")
        return None

    def contents(self) -> Iterator[memoryview]:
        """The bytes of each storage."""
        for memory in self._memory:
            yield memoryview(memory)  # type: ignore[arg-type]  # arrays have buffers

    def _array(self, array: Array) -> object:
        dtype = dtype_name(array.dtype)
        if dtype is None:
            return None  # objects, records, dates: NumPy's own pickles hold them
        root = array
        while type(root.base) is np.ndarray:
            root = root.base
        is_plain = root.flags.forc and not root.dtype.hasobject and array.dtype.isnative
        if not (is_plain and _is_inside(array, root)):
            array = root = np.array(array, array.dtype.newbyteorder("="), order="C")
        number = self._number(root.ravel(order="K").view(np.uint8))
        offset = _address(array) - _address(root)
        return ("array", number, dtype, offset, array.shape, array.strides)

    def _number(self, memory: Array) -> int:
        key = (_address(memory), memory.nbytes)
        if key not in self._numbers or not memory.nbytes:
            self._numbers[key] = len(self._memory)
            self._memory.append(memory)
        return self._numbers[key]


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def _is_inside(array: Array, root: Array) -> bool:
    begin = end = _address(array)
    for size, stride in zip(array.shape, array.strides, strict=True):
        reach = (size - 1) * stride
        begin, end = begin + min(reach, 0), end + max(reach, 0)
    root_begin = _address(root)
    is_within = root_begin <= begin and end + array.itemsize <= root_begin + root.nbytes
    return array.size > 0 and is_within


def _torch_bytes(storage: Any, torch: Any) -> Array:
    if storage.device.type != "cpu":
        raise PackageError(f"a tensor is on {storage.device}: move it to the CPU to package it")
    memory: Array = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
    return memory
