"""The layouts that kernels read constant operands in: the type of each, and the bytes an array becomes in it."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ..ir.dtypes import DType
from ..ir.graph import Constant, TensorType, Value
from ..ir.shapes import Shape
from ..records import dataclass
from .coding import Coded, Coding, encode, relative_error
from .packing import (
    bf16_size,
    conv_pairs_size,
    conv_quads_size,
    conv_rows_shape,
    conv_weight_size,
    pack_conv_pairs,
    pack_conv_quads,
    pack_conv_rows,
    pack_conv_weight,
    pack_conv_winograd,
    pack_pair_panels,
    pack_panels,
    pack_quad_panels,
    panels_size,
    quads_size,
)

Array: TypeAlias = NDArray[np.generic]
Sizes: TypeAlias = tuple[int, ...]


class PackedLayout(Protocol):
    """A layout that keeps the numbers of a constant, or narrows each by itself."""

    @property
    def type(self) -> TensorType:
        """Of the packed array."""

    def pack(self, array: Array) -> Array:
        """The constant in this layout."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A `[rows, columns]` view of a constant; offset and strides in elements."""

    offset: int
    row_stride: int
    column_stride: int
    rows: int
    columns: int

    def of(self, array: Array) -> Array:
        """The view, without a copy of a contiguous array."""
        flat = np.ascontiguousarray(array).reshape(-1)
        start, bytes_each = flat[self.offset :], flat.itemsize
        last = (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride
        assert last < start.size, "the view lies inside the constant"
        strides = (self.row_stride * bytes_each, self.column_stride * bytes_each)
        matrix: Array = np.ndarray((self.rows, self.columns), flat.dtype, start, 0, strides)
        return matrix


@dataclass(frozen=True, slots=True)
class Panels:
    """Columns of a right operand in panels."""

    matrix: Matrix
    dtype: DType

    @property
    def type(self) -> TensorType:
        """Of the packed array."""
        return TensorType(self.dtype, (panels_size(self.matrix.rows, self.matrix.columns),))

    def pack(self, array: Array) -> Array:
        """The constant in this layout."""
        return pack_panels(self.matrix.of(array))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Panels of a right operand in bfloat16, two rows together."""

    matrix: Matrix

    @property
    def type(self) -> TensorType:
        """Of the packed array."""
        return TensorType(DType.BFLOAT16, (bf16_size(self.matrix.columns, self.matrix.rows),))

    def pack(self, array: Array) -> Array:
        """The constant in this layout."""
        return pack_pair_panels(_bfloat16(self.matrix.of(array)))


@dataclass(frozen=True, slots=True)
class Quads:
    """Panels of a right operand in int8, four rows together."""

    matrix: Matrix

    @property
    def type(self) -> TensorType:
        """Of the packed array."""
        return TensorType(DType.INT8, (quads_size(self.matrix.columns, self.matrix.rows),))

    def pack(self, array: Array) -> Array:
        """The constant in this layout."""
        return pack_quad_panels(self.matrix.of(array))


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of the columns of a right operand in int8."""

    matrix: Matrix

    @property
    def type(self) -> TensorType:
        """Of the packed array."""
        return TensorType(DType.INT32, (self.matrix.columns,))

    def pack(self, array: Array) -> Array:
        """The constant in this layout."""
        return _sums(self.matrix.of(array), (0,))


@dataclass(frozen=True, slots=True)
class ConvolutionPanels:
    """The weight of a convolution, `sizes` as the source program has them, in panels of output channels."""

    sizes: Sizes
    groups: int
    dtype: DType

    @property
    def type(self) -> TensorType:
        """Of the packed array."""
        return TensorType(self.dtype, (conv_weight_size(self.sizes, self.groups),))

    def pack(self, array: Array) -> Array:
        """The constant in this layout."""
        wide = np.float64 if array.dtype == np.float64 else np.float32
        return pack_conv_weight(np.ascontiguousarray(array.astype(wide)), self.groups)


@dataclass(frozen=True, slots=True)
class ConvolutionPairs:
    """The weight of a convolution as panels in bfloat16."""

    sizes: Sizes
    groups: int

    @property
    def type(self) -> TensorType:
        """Of the packed array."""
        return TensorType(DType.BFLOAT16, (conv_pairs_size(self.sizes, self.groups),))

    def pack(self, array: Array) -> Array:
        """The constant in this layout."""
        return pack_conv_pairs(_bfloat16(np.ascontiguousarray(array)), self.groups)


@dataclass(frozen=True, slots=True)
class ConvolutionQuads:
    """The weight of a convolution of levels as panels in int8."""

    sizes: Sizes
    groups: int

    @property
    def type(self) -> TensorType:
        """Of the packed array."""
        return TensorType(DType.INT8, (conv_quads_size(self.sizes, self.groups),))

    def pack(self, array: Array) -> Array:
        """The constant in this layout."""
        return pack_conv_quads(np.ascontiguousarray(array), self.groups)


@dataclass(frozen=True, slots=True)
class ConvolutionRows:
    """The weight of a convolution as rows of output channels."""

    sizes: Sizes
    groups: int
    dtype: DType

    @property
    def type(self) -> TensorType:
        """Of the packed array."""
        shape = conv_rows_shape(self.sizes, self.groups, self.dtype.itemsize)
        return TensorType(self.dtype, shape)

    def pack(self, array: Array) -> Array:
        """The constant in this layout."""
        return pack_conv_rows(np.ascontiguousarray(array), self.groups)


@dataclass(frozen=True, slots=True)
class ConvolutionWinograd:
    """The transformed weight of a 3x3 convolution in float32."""

    sizes: Sizes

    @property
    def type(self) -> TensorType:
        """Of the packed array."""
        return TensorType(DType.FLOAT32, (36 * self.sizes[0] * self.sizes[1],))

    def pack(self, array: Array) -> Array:
        """The constant in this layout."""
        return pack_conv_winograd(np.ascontiguousarray(array))


@dataclass(frozen=True, slots=True)
class ChannelSums:
    """The sums of a weight of levels, one for each output channel."""

    sizes: Shape

    @property
    def type(self) -> TensorType:
        """Of the packed array."""
        return TensorType(DType.INT32, self.sizes[:1])

    def pack(self, array: Array) -> Array:
        """The constant in this layout."""
        return _sums(array, tuple(range(1, array.ndim)))


@dataclass(frozen=True, slots=True)
class Codes:
    """A right operand as codes of few bits, in panels or channel by channel."""

    matrix: Matrix
    coding: Coding
    in_panels: bool

    @property
    def type(self) -> TensorType:
        """Of the packed array."""
        bytes_of = self.coding.code_bytes if self.in_panels else self.coding.channel_code_bytes
        dtype = DType.INT8 if self.coding.bits == 8 else DType.UINT8
        return TensorType(dtype, (bytes_of(self.matrix.rows, self.matrix.columns),))

    def part(self, coded: Coded) -> Array:
        """Of the coded matrix, what lies in this layout."""
        return coded.packed_codes() if self.in_panels else coded.channel_codes()


@dataclass(frozen=True, slots=True)
class Scales:
    """The scales beside `Codes`."""

    matrix: Matrix
    coding: Coding
    in_panels: bool

    @property
    def type(self) -> TensorType:
        """Of the packed array."""
        count_of = self.coding.scale_count if self.in_panels else self.coding.channel_scale_count
        return TensorType(DType.FLOAT32, (count_of(self.matrix.rows, self.matrix.columns),))

    def part(self, coded: Coded) -> Array:
        """Of the coded matrix, what lies in this layout."""
        return coded.packed_scales() if self.in_panels else coded.channel_scales()


CodedLayout: TypeAlias = Codes | Scales
Layout: TypeAlias = PackedLayout | CodedLayout


class Coder:
    """Lays constants out; codes each matrix once for its codes and its scales, and knows what that cost."""

    def __init__(self) -> None:
        self._coded: dict[tuple[Value, Matrix, Coding], Coded] = {}
        self._errors: dict[str, float] = {}

    def lay_out(self, source: Value, constant: Constant, layout: Layout | None) -> Array:
        """The constant in a layout; as it is where that is None."""
        if layout is None:
            return constant.array
        if not isinstance(layout, CodedLayout):
            return layout.pack(constant.array)
        key = (source, layout.matrix, layout.coding)
        if key not in self._coded:
            matrix = layout.matrix.of(constant.array)
            self._coded[key] = encode(matrix, layout.coding)
            self._errors[constant.name] = relative_error(matrix, self._coded[key])
        return layout.part(self._coded[key])

    def report(self) -> str:
        """How far the weights are from what they were, in a sentence; "" where none was coded."""
        if not self._coded:
            return ""
        count = len(self._coded)
        (bits,) = {coded.coding.bits for coded in self._coded.values()}
        worst = max(self._errors, key=lambda name: self._errors[name])
        mean = sum(self._errors.values()) / len(self._errors)
        return (
            f"{count} {'matrices' if count != 1 else 'matrix'} in int{bits}, off by {mean:.2%} of their root mean "
            f"square on average, {self._errors[worst]:.2%} at most ({worst})"
        )


def _sums(array: Array, axes: tuple[int, ...]) -> Array:
    sums: Array = np.asarray(np.sum(array.astype(np.int32), axes, np.int32))
    return sums


def _bfloat16(array: Array) -> Array:
    rounded: Array = array.astype(ml_dtypes.bfloat16)
    return rounded
