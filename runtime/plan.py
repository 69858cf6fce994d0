"""Plans: the C structures of a call, laid out once per combination of input shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ._abi_cdef import ffi
from .abi import DTYPE_CODES
from .library import CData
from .manifest import Manifest, TensorSpec
from .tensors import Array, storage_dtype

_NUMBER_TYPES = {"int": "int64_t *", "float": "double *", "bool": "uint8_t *"}
_NUMBER_CLASSES: dict[str, Callable[[Any], object]] = {"int": int, "float": float, "bool": bool}
_CPU = 1

# The shape of a tensor, the value of a number.
Key = tuple[object, ...]


def dense_tensor(array: Array, dtype: str) -> tuple[CData, object]:
    """A DLTensor over a contiguous array in its storage dtype, and what has to outlive it."""
    shape = ffi.new("int64_t[]", array.shape)
    tensor = ffi.new("DLTensor *")
    _describe(tensor, dtype, array.ndim, shape)
    buffer = ffi.from_buffer(array)
    tensor.data = buffer
    return tensor, (shape, buffer)


def _describe(tensor: CData, dtype: str, rank: int, shape: CData) -> None:
    tensor.device.device_type = _CPU
    tensor.ndim = rank
    tensor.dtype.code, tensor.dtype.bits = DTYPE_CODES[dtype]
    tensor.dtype.lanes = 1
    tensor.shape = shape


class Plan:
    """One call's tensors; used by one thread at a time.

    `inputs` and `outputs` are DLTensor pointers, `numbers` the cells behind inputs that are Python
    numbers (None elsewhere). `arrays` are (tensor, shape, dtype) of the outputs whose memory Python
    provides; `reads` makes what the program put into the others: numbers, and arrays whose shape
    depends on data. `direct` is what a direct call binds: the inputs, a tensor and a shape for each
    of the outputs, the call.
    """

    __slots__ = (
        "_keep",
        "arrays",
        "call",
        "direct",
        "inputs",
        "numbers",
        "outputs",
        "reads",
        "shapes",
    )

    def __init__(self, manifest: Manifest, key: Key, release: CData) -> None:
        self._keep: list[object] = []
        self.numbers: list[CData | None] = []
        self.inputs = [
            self._input(spec, item) for spec, item in zip(manifest.inputs, key, strict=True)
        ]
        self.shapes: list[tuple[int, ...]] = []
        self.outputs = [self._tensor(spec, (0,) * len(spec.shape)) for spec in manifest.outputs]
        self.arrays: list[tuple[CData, tuple[int, ...], np.dtype[Any]]] = []
        self.reads: list[Callable[[], object] | None] = [
            self._reader(spec, tensor, release)
            for spec, tensor in zip(manifest.outputs, self.outputs, strict=True)
        ]
        inputs = ffi.new("DLTensor *[]", self.inputs)
        outputs = ffi.new("DLTensor *[]", self.outputs)
        self._keep += [inputs, outputs]
        self.call = ffi.new("castoff_call *")
        self.call.n_inputs = len(self.inputs)
        self.call.n_outputs = len(self.outputs)
        self.call.inputs = inputs
        self.call.outputs = outputs
        self.direct: tuple[object, ...] = ()

    def _tensor(self, spec: TensorSpec, shape: Sequence[int]) -> CData:
        sizes = ffi.new("int64_t[]", shape)
        tensor = ffi.new("DLTensor *")
        _describe(tensor, spec.dtype, len(shape), sizes)
        self._keep.append(sizes)
        return tensor

    def _input(self, spec: TensorSpec, item: object) -> CData:
        if spec.kind == "tensor":
            assert isinstance(item, tuple)
            self.numbers.append(None)
            return self._tensor(spec, item)
        cell = ffi.new(_NUMBER_TYPES[spec.kind])
        tensor = self._tensor(spec, ())
        tensor.data = cell
        self.numbers.append(cell)
        return tensor

    def _reader(
        self, spec: TensorSpec, tensor: CData, release: CData
    ) -> Callable[[], object] | None:
        """How the value of an output that Python provides no array for is read after a run."""
        if spec.kind != "tensor":
            cell = ffi.new(_NUMBER_TYPES[spec.kind])
            tensor.data = cell
            self._keep.append(cell)
            make = _NUMBER_CLASSES[spec.kind]
            return lambda: make(cell[0])
        if spec.data_dependent:
            dtype = storage_dtype(spec.dtype)
            return lambda: _adopt(tensor, dtype, release)
        return None

    def set_output_shapes(self, manifest: Manifest, shapes: Sequence[Sequence[int]]) -> None:
        """Fixes the sizes of the outputs, as the artefact answered for these inputs."""
        self.shapes = [tuple(shape) for shape in shapes]
        for spec, tensor, read, shape in zip(
            manifest.outputs, self.outputs, self.reads, self.shapes, strict=True
        ):
            if read is None:
                tensor.shape[0 : len(shape)] = list(shape)
                self.arrays.append((tensor, shape, storage_dtype(spec.dtype)))
        places = [item for tensor, shape, _ in self.arrays for item in (tensor, shape)]
        self.direct = (*self.inputs, *places, self.call)

    def clear_data_dependent(self, manifest: Manifest) -> None:
        """Has the artefact allocate the outputs whose sizes it does not know yet."""
        for spec, tensor in zip(manifest.outputs, self.outputs, strict=True):
            if spec.data_dependent:
                tensor.data = ffi.NULL


def _adopt(tensor: CData, dtype: np.dtype[Any], release: CData) -> Array:
    """An array over memory the artefact allocated; the memory goes back with the array."""
    shape = tuple(tensor.shape[0 : tensor.ndim])
    memory = ffi.gc(tensor.data, release)
    tensor.data = ffi.NULL
    count = prod(shape)
    if count == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(ffi.buffer(memory, count * dtype.itemsize), dtype).reshape(shape)
