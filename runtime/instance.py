"""An instance of a loaded program: its constants and its buffers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import abi
from ._abi_cdef import ffi
from .device import Device
from .diagnose import describe
from .dlpack import STREAM_OF_THREAD, borrow, device_of, is_on_gpu, lent_tensor
from .errors import ArtefactError, ConstantError, DeviceError, UnsupportedCpuError
from .library import CData, Library
from .load_options import LoadOptions
from .manifest import BufferSpec, ConstantSpec
from .plan import dense_tensor
from .tensors import Array, as_array, as_storage, matches, native_dtype, storage_dtype


class Instance:
    """What a program keeps between calls. Any number of threads may use it at once."""

    def __init__(self, library: Library, device: Device, options: LoadOptions) -> None:
        self.path = library.path
        self.artefact = library.artefact
        self.manifest = library.manifest
        self._api = library.api
        self._device = device
        self._handle = _create(library, device, options)

    @property
    def device(self) -> str:
        """Where the program runs: "cpu", "cuda:0"."""
        return str(self._device)

    @property
    def cpu_level(self) -> str:
        """The CPU level that was chosen: "x86-64-v3"."""
        return _text(self._api.cpu_level(self._handle))

    @property
    def threads(self) -> int:
        """How many threads one call may use."""
        return int(self._api.threads(self._handle))

    def read_constant(self, name: str) -> Array:
        """A copy of a constant, by its qualified name. Raises ConstantError where there is none."""
        return self._read(_find(self.manifest.constants, name, "constant"), self._api.read_constant)

    def read_buffer(self, name: str) -> Array:
        """A copy of a buffer as it is now, by its qualified name. Raises ConstantError."""
        return self._read(_find(self.manifest.buffers, name, "buffer"), self._api.read_buffer)

    def write_buffer(self, name: str, value: object) -> None:
        """Sets a buffer. Raises ConstantError for unknown names, other dtypes or shapes."""
        tensor, _keep = _tensor_for(_find(self.manifest.buffers, name, "buffer"), value)
        self._check(self._api.write_buffer(self._handle, name.encode(), tensor))

    def reset_buffers(self) -> None:
        """Sets all buffers to the values the program was saved with."""
        self._check(self._api.reset_buffers(self._handle))

    def replace_constants(self, values: Mapping[str, object]) -> None:
        """Replaces constants, all or none; calls that run finish with the old ones.

        Raises ConstantError for unknown names, other dtypes or shapes, and constants packed or
        folded at build time.
        """
        tensors = [
            _tensor_for(_find(self.manifest.constants, name, "constant"), value)
            for name, value in values.items()
        ]
        names = [ffi.new("char[]", name.encode()) for name in values]
        self._check(
            self._api.replace_constants(
                self._handle,
                len(names),
                ffi.new("char *[]", names),
                ffi.new("DLTensor *[]", [tensor for tensor, _ in tensors]),
            )
        )

    def _read(
        self, spec: ConstantSpec | BufferSpec, read: Callable[[CData, bytes, CData], int]
    ) -> Array:
        array = np.empty(spec.shape, storage_dtype(spec.dtype))
        tensor, _keep = dense_tensor(array, spec.dtype)
        self._check(read(self._handle, spec.name.encode(), tensor))
        return array.view(native_dtype(spec.dtype))

    def _check(self, status: int) -> None:
        if status:
            raise ConstantError(last_error(self._api))


def _create(library: Library, device: Device, chosen: LoadOptions) -> CData:
    options = ffi.new("castoff_options *")
    options.size_bytes = ffi.sizeof("castoff_options")
    options.threads = chosen.threads or 0
    options.device_id = device.index
    options.flags = chosen.strict_device * abi.STRICT_DEVICE | chosen.cuda_graphs * abi.CUDA_GRAPHS
    options.constants = library.constants
    if library.manifest.libraries:
        from .libraries import offer_libraries  # most artefacts need none

        offer_libraries(library.manifest.libraries)
    created = ffi.new("castoff_instance **")
    status = library.api.create(options, created)
    if status == abi.OK:
        return ffi.gc(created[0], library.api.destroy)
    message = f"{library.label}: {last_error(library.api)}"
    if status == abi.UNSUPPORTED_CPU:
        raise UnsupportedCpuError(message)
    if status == abi.OUT_OF_MEMORY:
        raise MemoryError(message)
    if status in (abi.UNSUPPORTED_DEVICE, abi.DEVICE_ERROR):
        raise DeviceError(message)
    raise ArtefactError(message)


def _text(characters: CData) -> str:
    text: bytes = ffi.string(characters)
    return text.decode("utf-8", "replace")


def last_error(api: CData) -> str:
    """The message of the last refusal in this thread."""
    return _text(api.last_error())


def _find(specs: Sequence[Any], name: str, what: str) -> Any:
    for spec in specs:
        if spec.name == name:
            return spec
    raise ConstantError(
        f"there is no {what} named {name!r}; there are {[spec.name for spec in specs]!r}"
    )


def _tensor_for(spec: ConstantSpec | BufferSpec, value: object) -> tuple[CData, object]:
    """The tensor of a new value, and what has to outlive it: a copy, or memory of a device as it is."""
    if is_on_gpu(device_of(value)):
        lent = borrow(value, STREAM_OF_THREAD)
        if (lent.dtype, lent.shape) != (spec.dtype, spec.shape):
            raise _other_value(spec, f"{lent.dtype}[{', '.join(map(str, lent.shape))}]")
        return lent_tensor(lent)
    array = as_array(value)
    if array is None or not matches(array, spec.dtype) or array.shape != spec.shape:
        raise _other_value(spec, describe(value))
    stored = as_storage(array, spec.dtype)
    dense = np.array(stored, storage_dtype(spec.dtype), order="C", copy=True)
    tensor, keep = dense_tensor(dense, spec.dtype)
    return tensor, (keep, dense)


def _other_value(spec: ConstantSpec | BufferSpec, got: str) -> ConstantError:
    sizes = ", ".join(map(str, spec.shape))
    return ConstantError(f"{spec.name}: expected {spec.dtype}[{sizes}], got {got}")
