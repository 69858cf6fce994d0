"""What arrays meet as: constants, numbers and sizes as arrays, and conversions between types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ..graph_writer import Tensor
from .array import TracedArray, recorder_of, tensor_of, traced
from .recorder import Recorder, dtype_of
from .sizes import SymbolicInt
from .where import refused

Weak = type[int] | type[float] | type[complex]


def is_weak(value: object) -> bool:
    """Whether NumPy lets a value take the type of the arrays it meets: Python's own numbers."""
    return isinstance(value, SymbolicInt) or type(value) in (int, float, complex)


def as_array(recorder: Recorder, value: object) -> TracedArray:
    """Anything that NumPy makes an array of, as one of this capture."""
    if isinstance(value, TracedArray):
        if recorder_of(value) is not recorder:
            raise refused("an array of another capture is used here")
        return value
    if isinstance(value, SymbolicInt):
        size = recorder.record("scalar_tensor.default", s=value, dtype=DType.INT64)
        return traced(recorder, size)
    if isinstance(value, (list, tuple)) and _holds_traced(value):
        from .functions.joining import stacked

        joined: TracedArray = stacked([as_array(recorder, item) for item in value])
        return joined
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if not isinstance(value, np.ndarray) and array.ndim == 0:
        return traced(recorder, recorder.number(array.item(), dtype_of(array.dtype)))
    return traced(recorder, recorder.constant(array))


def _holds_traced(values: Sequence[object]) -> bool:
    return any(
        isinstance(item, (TracedArray, SymbolicInt))
        or (isinstance(item, (list, tuple)) and _holds_traced(item))
        for item in values
    )


def converted(array: TracedArray, dtype: np.dtype[Any]) -> TracedArray:
    """The elements as another type, as `astype` converts them; the array itself where it has it."""
    wanted = dtype_of(dtype)
    tensor = tensor_of(array)
    if tensor.dtype is wanted:
        return array
    recorder = recorder_of(array)
    return traced(recorder, convert(recorder, tensor, wanted))


def convert(recorder: Recorder, tensor: Tensor, dtype: DType) -> Tensor:
    """As `converted`, of tensors: complex numbers lose their imaginary part, and anything but 0 is true."""
    if tensor.dtype.is_complex and not dtype.is_complex:
        if dtype is DType.BOOL:
            zero = recorder.full((), 0, tensor.dtype)
            different: Tensor = recorder.record("ne.Tensor", self=tensor, other=zero)
            return different
        tensor = recorder.record("real.default", self=tensor)
    return recorder.cast(tensor, dtype)


def number_as(recorder: Recorder, value: Any, dtype: np.dtype[Any]) -> Tensor:
    """A Python number (or a size) as a 0-d tensor of the type NumPy computes in.

    Raises `OverflowError`, as NumPy does, for an integer that the type cannot hold.
    """
    kind = dtype_of(dtype)
    if isinstance(value, SymbolicInt):
        size: Tensor = recorder.record("scalar_tensor.default", s=value, dtype=DType.INT64)
        return recorder.cast(size, kind)
    if type(value) is int and kind.is_integer:
        limits = np.iinfo(dtype)
        if not int(limits.min) <= value <= int(limits.max):
            raise OverflowError(f"Python integer {value} out of bounds for {dtype}")
        return recorder.number(value, kind)
    return recorder.number(np.asarray(value).astype(dtype).item(), kind)
