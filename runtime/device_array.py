"""Results in the memory of a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._abi_cdef import ffi
from .abi import RUNTIME_ERROR
from .dlpack import CUDA, LEGACY_STREAM, Lent, lent_tensor, make_capsule, stream_handle
from .errors import DeviceError, ProgramError
from .library import CData
from .tensors import Array, native_dtype, storage_dtype


class DeviceArray:
    """A dense array that a program left on its GPU, perhaps still being computed there.

    Anything that reads DLPack takes it without a copy: `torch.from_dlpack(array)`, and castoff's
    programs. `numpy()` waits for it and copies it. `dtype` is castoff's name for it.
    """

    __slots__ = (
        "__weakref__",
        "_api",
        "_instance",
        "_shared",
        "address",
        "device_index",
        "dtype",
        "shape",
        "stream",
    )

    def __init__(
        self, instance: CData, api: CData, address: CData, dtype: str, shape: tuple[int, ...], index: int, stream: int
    ) -> None:  # fmt: skip
        self._api = api
        self._instance = instance
        shared = api.share(address, ffi.cast("void *", stream))
        if shared == ffi.NULL:
            raise MemoryError("out of memory for a result")
        self._shared = ffi.gc(shared, api.unshare)
        self.address = int(ffi.cast("uintptr_t", address))
        self.dtype = dtype
        self.shape = shape
        self.device_index = index
        self.stream = stream

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def device(self) -> str:
        """Where it lies: "cuda:0"."""
        return f"cuda:{self.device_index}"

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self.device_index

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """The array for a consumer, which reads it on `stream`: None the legacy default, -1 whichever.

        The stream has to live until the array and all that was made of it is gone: its memory is given back in
        the order of what its consumers' streams then hold.
        """
        if copy or (dl_device is not None and tuple(dl_device) != self.__dlpack_device__()):
            raise BufferError(f"the array lies on {self.device} and is lent there only")
        consumer = (
            LEGACY_STREAM if stream is None else -1 if stream == -1 else stream_handle(stream)
        )
        if consumer != -1:
            self._follow(consumer)
        tensor, _keep = self._tensor()
        managed = self._api.lend(self._shared, tensor, ffi.cast("void *", consumer))
        if managed == ffi.NULL:
            raise MemoryError("out of memory for a tensor that is lent")
        return make_capsule(managed)

    def _follow(self, consumer: int) -> None:
        """What `consumer` does from now on comes after what computes the array."""
        if consumer == self.stream:
            return
        streams = [ffi.cast("void *", handle) for handle in (self.stream, consumer)]
        if self._api.order_streams(self._instance, *streams):
            raise DeviceError(ffi.string(self._api.last_error()).decode("utf-8", "replace"))

    def _tensor(self) -> tuple[CData, object]:
        place = self.__dlpack_device__()
        return lent_tensor(Lent(self.address, self.dtype, self.shape, None, place, False, self))

    def numpy(self) -> Array:
        """A copy in host memory, once the array is computed.

        Raises DeviceError, and ProgramError where a run before it on its stream read an index out
        of range.
        """
        array = np.empty(self.shape, storage_dtype(self.dtype))
        tensor, _keep = self._tensor()
        host = ffi.from_buffer(array)
        status = self._api.copy_to_host(
            self._instance, tensor, host, ffi.cast("void *", self.stream)
        )
        if status:
            kind = ProgramError if status == RUNTIME_ERROR else DeviceError
            raise kind(ffi.string(self._api.last_error()).decode("utf-8", "replace"))
        return array.view(native_dtype(self.dtype))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("an array on a device is not read without a copy")
        array = self.numpy()
        return array if dtype is None else array.astype(dtype)

    def __repr__(self) -> str:
        return f"<{self.dtype}[{', '.join(map(str, self.shape))}] on {self.device}>"
