"""Primitive discrete Fourier transforms along one axis: complex, from reals, to reals."""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim, Shape
from ..kernels import Definition
from ..records import dataclass
from .base import Environment, Op, OperatorError
from .view import replace_axis

_REAL = frozenset({DType.FLOAT32, DType.FLOAT64})
_SUFFIX = {
    DType.FLOAT32: "f32",
    DType.FLOAT64: "f64",
    DType.COMPLEX64: "c64",
    DType.COMPLEX128: "c128",
}


def _around(shape: Shape, axis: int) -> tuple[kernels.Size, kernels.Size]:
    """Elements before and after an axis, as arguments."""
    outer, inner = shape[:axis], shape[axis + 1 :]
    return kernels.Size(shapes.element_count(outer)), kernels.Size(shapes.element_count(inner))


def _scratch(length: Dim) -> kernels.Scratch:
    """What fft.h asks for: castoff_fft_scratch_bytes."""
    return kernels.Scratch((length * 18 + 64) * 16)


@dataclass(frozen=True, slots=True)
class Fourier(Op):
    """The transform of a complex tensor along an axis, times `scale`."""

    axis: int
    forward: bool
    scale: float = 1.0

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        if not inputs[0].dtype.is_complex:
            raise OperatorError(f"complex transform of {inputs[0]}")
        return inputs

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        if self.forward:
            result = np.fft.fft(x.astype(np.complex128), axis=self.axis)
        else:
            result = np.fft.ifft(x.astype(np.complex128), axis=self.axis, norm="forward")
        return ((result * self.scale).astype(x.dtype),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        outer, inner = _around(x.shape, self.axis)
        length = x.shape[self.axis]
        arguments = (
            kernels.Out(0), kernels.In(0), outer, kernels.Size(length), inner,
            kernels.Size(int(self.forward)), kernels.Real(self.scale), _scratch(length),
        )  # fmt: skip
        name = f"castoff_fft_{_SUFFIX[x.dtype]}"
        return (kernels.LibraryCall(name, ("common/fft.h",), arguments),)


@dataclass(frozen=True, slots=True)
class FourierOfReal(Op):
    """The first half (length // 2 + 1 elements) of a real tensor's transform, times `scale`."""

    axis: int
    scale: float = 1.0

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.dtype not in _REAL:
            raise OperatorError(f"real transform of {x}")
        kept = shapes.floordiv(x.shape[self.axis], 2) + 1
        return (TensorType(x.dtype.complex, replace_axis(x.shape, self.axis, kept)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        result = np.fft.rfft(inputs[0].astype(np.float64), axis=self.axis) * self.scale
        return (result.astype(np.complex64 if inputs[0].dtype == np.float32 else np.complex128),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        outer, inner = _around(x.shape, self.axis)
        length = x.shape[self.axis]
        arguments = (
            kernels.Out(0), kernels.In(0), outer, kernels.Size(length), inner,
            kernels.Size(outputs[0].shape[self.axis]), kernels.Real(self.scale), _scratch(length),
        )  # fmt: skip
        name = f"castoff_rfft_{_SUFFIX[x.dtype]}"
        return (kernels.LibraryCall(name, ("common/fft.h",), arguments),)


@dataclass(frozen=True, slots=True)
class FourierToReal(Op):
    """The inverse transform, times `scale`, of the first half of a hermitian tensor.

    Along `axis` the input has length // 2 + 1 elements, the real result `length`.
    """

    axis: int
    length: Dim
    scale: float = 1.0

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        half = shapes.floordiv(self.length, 2) + 1
        if not x.dtype.is_complex or shapes.is_equal(x.shape[self.axis], half) is False:
            raise OperatorError(f"inverse real transform of {x} to {self.length} elements")
        return (TensorType(x.dtype.real, replace_axis(x.shape, self.axis, self.length)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        length = env.size(self.length)
        wide = x.astype(np.complex128)
        result = np.fft.irfft(wide, n=length, axis=self.axis, norm="forward") * self.scale
        return (result.astype(np.float32 if x.dtype == np.complex64 else np.float64),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        outer, inner = _around(x.shape, self.axis)
        arguments = (
            kernels.Out(0), kernels.In(0), outer, kernels.Size(self.length), inner,
            kernels.Real(self.scale), _scratch(self.length),
        )  # fmt: skip
        name = f"castoff_irfft_{_SUFFIX[x.dtype.real]}"
        return (kernels.LibraryCall(name, ("common/fft.h",), arguments),)
