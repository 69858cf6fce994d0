"""Constant operands of products and convolutions: which layout each takes, and the bytes it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Constant, Graph, TensorType, Value
from ..ir.shapes import Shape
from ..kernels import Convolution
from .choices import Context
from .coding import LEAST_ELEMENTS, Coded, Coding, coding_of, encode, relative_error
from .packing import (
    bf16_size,
    conv_pairs_size,
    conv_quads_size,
    conv_rows_shape,
    conv_weight_size,
    is_depthwise,
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
from .program import Buffer, CodedRight, StridedView
from .storage import StoragePlan

Array: TypeAlias = NDArray[np.generic]

_PACKED = (DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16, DType.FLOAT16)
_CODED_IN_PANELS = (DType.FLOAT32, DType.BFLOAT16)
_CODED_BY_CHANNELS = (DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16)


@dataclass(frozen=True, slots=True)
class ConstantRight:
    """A constant right operand, in a layout."""

    buffer: Buffer
    coded: CodedRight | None = None
    column_sums: Buffer | None = None


class ConstantOperands:
    """Gives the constant operands of one graph their layouts."""

    def __init__(self, context: Context, graph: Graph, plan: StoragePlan) -> None:
        self.context = context
        self.graph = graph
        self.plan = plan

    def right(
        self,
        value: Value,
        view: StridedView,
        dtype: DType,
        *,
        may_code: bool,
        is_levels: bool = False,
    ) -> ConstantRight | None:
        """The right operand of a product whose elements are multiplied as `dtype`: panels, or codes
        where the options say so, or int8 levels; None where it is no constant matrix.
        """
        source = self.plan.strided_base(value)
        depth, columns = view.shape[-2:]
        packs = self.context.choices.packs_constants
        if (
            source not in self.graph.constants
            or not (isinstance(depth, int) and isinstance(columns, int))
            or not (value.dtype in _PACKED or is_levels)
            or any(stride != 0 for stride in view.strides[:-2])
            or not isinstance(view.offset, int)
        ):
            return None
        row, column = view.strides[-2:]
        place = f"{view.offset}:{row}:{column}:{depth}:{columns}"
        if value.dtype is DType.INT8:
            quads = TensorType(DType.INT8, (quads_size(columns, depth),))
            sums = TensorType(DType.INT32, (columns,))
            return ConstantRight(
                self._buffer(source, "panels", quads, f"quads:{place}"),
                column_sums=self._buffer(source, "sums", sums, f"sums:{place}"),
            )
        coding = self._coding(source, depth, columns) if may_code else None
        if coding is not None:
            where = f"{coding.bits}:{coding.group}:{place}"
            sizes = (
                (coding.code_bytes(depth, columns), coding.scale_count(depth, columns))
                if packs
                else (
                    coding.channel_code_bytes(depth, columns),
                    coding.channel_scale_count(depth, columns),
                )
            )
            codes = TensorType(DType.INT8 if coding.bits == 8 else DType.UINT8, sizes[:1])
            scales = TensorType(DType.FLOAT32, sizes[1:])
            prefix = "" if packs else "channel_"
            return ConstantRight(
                self._buffer(source, "codes", codes, f"{prefix}codes:{where}"),
                CodedRight(
                    self._buffer(source, "scales", scales, f"{prefix}scales:{where}"), coding
                ),
            )
        if not packs:
            return None
        if dtype is DType.BFLOAT16:
            pairs = TensorType(dtype, (bf16_size(columns, depth),))
            return ConstantRight(self._buffer(source, "panels", pairs, f"pairs:{place}"))
        panels = TensorType(dtype, (panels_size(depth, columns),))
        return ConstantRight(self._buffer(source, "panels", panels, f"panels:{place}"))

    def _coding(self, source: Value, depth: int, columns: int) -> Coding | None:
        packs = self.context.choices.packs_constants
        if source.dtype not in (_CODED_IN_PANELS if packs else _CODED_BY_CHANNELS):
            return None
        if depth * columns < LEAST_ELEMENTS:
            return None
        coding = coding_of(self.context.choices.weights, depth)
        if coding is None:
            return None
        array = self.graph.constants[source].array
        return coding if np.isfinite(array.astype(np.float32)).all() else None

    def weight(
        self, weight: Value, attributes: Convolution, output: Shape, dtype: DType
    ) -> StridedView | None:
        """The weight of a convolution whose elements are multiplied as `dtype`; what has no kernel of
        its own type is widened. None where it is no constant.
        """
        source = self.plan.contiguous_base(weight)
        if source not in self.graph.constants or source.shape != weight.shape:
            return None
        sizes = tuple(size for size in weight.shape if isinstance(size, int))
        groups = attributes.groups
        if not self.context.choices.packs_constants:
            layout = f"convolution_rows:{groups}"
            packed = TensorType(weight.dtype, conv_rows_shape(sizes, groups, weight.dtype.itemsize))
        elif self.context.choices.uses_winograd(dtype, sizes, attributes, output):
            layout = "convolution_winograd"
            packed = TensorType(dtype, (36 * sizes[0] * sizes[1],))
        elif attributes.zero is not None:
            layout = f"convolution_quads:{groups}"
            packed = TensorType(DType.INT8, (conv_quads_size(sizes, groups),))
        elif dtype is DType.BFLOAT16 and not is_depthwise(sizes, groups):
            layout = f"convolution_pairs:{groups}"
            packed = TensorType(dtype, (conv_pairs_size(sizes, groups),))
        else:
            layout = f"convolution:{groups}"
            packed = TensorType(weight.dtype.compute, (conv_weight_size(sizes, groups),))
        buffer = self._buffer(source, "packed", packed, layout)
        return StridedView(buffer, 0, weight.shape, shapes.contiguous_strides(weight.shape))

    def channel_sums(self, weight: Value) -> Buffer:
        """The sums of a constant weight of levels, one for each output channel."""
        source = self.plan.contiguous_base(weight)
        sums = TensorType(DType.INT32, weight.shape[:1])
        return self._buffer(source, "sums", sums, "channel_sums")

    def _buffer(self, source: Value, kind: str, packed: TensorType, layout: str) -> Buffer:
        name = f"{self.graph.constants[source].name}.{kind}"
        return self.context.constant(source, name, packed, layout)


def lay_out(array: Array, layout: str) -> Array:
    """The constant in a layout that keeps its numbers, or narrows each by itself."""
    kind, *numbers = layout.split(":")
    if kind == "plain":
        return array
    if kind == "convolution_pairs":
        return pack_conv_pairs(_bfloat16(np.ascontiguousarray(array)), int(numbers[0]))
    if kind == "convolution_rows":
        return pack_conv_rows(np.ascontiguousarray(array), int(numbers[0]))
    if kind == "convolution_quads":
        return pack_conv_quads(np.ascontiguousarray(array), int(numbers[0]))
    if kind == "channel_sums":
        return _sums(array, tuple(range(1, array.ndim)))
    if kind == "convolution_winograd":
        return pack_conv_winograd(np.ascontiguousarray(array))
    if kind == "convolution":
        wide = np.float64 if array.dtype == np.float64 else np.float32
        return pack_conv_weight(np.ascontiguousarray(array.astype(wide)), int(numbers[0]))
    assert kind in ("panels", "pairs", "quads", "sums"), f"an unknown layout {layout}"
    matrix = _matrix(array, numbers)
    if kind == "quads":
        return pack_quad_panels(matrix)
    if kind == "sums":
        return _sums(matrix, (0,))
    return pack_pair_panels(_bfloat16(matrix)) if kind == "pairs" else pack_panels(matrix)


_CODED_LAYOUTS: Mapping[str, Callable[[Coded], Array]] = {
    "codes": Coded.packed_codes,
    "scales": Coded.packed_scales,
    "channel_codes": Coded.channel_codes,
    "channel_scales": Coded.channel_scales,
}


class Coder:
    """Codes constants, each matrix once for its codes and its scales, and knows what that cost."""

    def __init__(self) -> None:
        self._coded: dict[tuple[Value, str], Coded] = {}
        self._errors: dict[str, float] = {}

    def lay_out(self, source: Value, constant: Constant, layout: str) -> Array:
        """The constant in any layout."""
        kind, _, rest = layout.partition(":")
        if kind not in _CODED_LAYOUTS:
            return lay_out(constant.array, layout)
        if (source, rest) not in self._coded:
            bits, group, *place = rest.split(":")
            matrix = _matrix(constant.array, place)
            coded = encode(matrix, Coding(int(bits), int(group)))
            self._coded[source, rest] = coded
            self._errors[constant.name] = relative_error(matrix, coded)
        return _CODED_LAYOUTS[kind](self._coded[source, rest])

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


def _matrix(array: Array, numbers: list[str]) -> Array:
    """The view of a constant that `offset:row stride:column stride:rows:columns` describe."""
    offset, row, column, depth, columns = map(int, numbers)
    flat = np.ascontiguousarray(array).reshape(-1)
    start, bytes_each = flat[offset:], flat.itemsize
    assert (depth - 1) * row + (columns - 1) * column < start.size, (
        "the view lies inside the constant"
    )
    strides = (row * bytes_each, column * bytes_each)
    matrix: Array = np.ndarray((depth, columns), flat.dtype, start, 0, strides)
    return matrix
