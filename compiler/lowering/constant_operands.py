"""Constant operands of products and convolutions: which layout each takes."""

from __future__ import annotations

import numpy as np

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Graph, Value
from ..ir.shapes import Shape
from ..kernels import Convolution
from ..records import dataclass
from .choices import Context
from .coding import LEAST_ELEMENTS, Coding, coding_of
from .layouts import (
    ChannelSums,
    Codes,
    ConvolutionPairs,
    ConvolutionPanels,
    ConvolutionQuads,
    ConvolutionRows,
    ConvolutionWinograd,
    Layout,
    Matrix,
    Pairs,
    Panels,
    Quads,
    Scales,
    Sums,
)
from .packing import is_depthwise
from .program import Buffer, CodedRight, StridedView
from .storage import StoragePlan

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
        row, column = view.strides[-2:]
        packs = self.context.choices.packs_constants
        if (
            source not in self.graph.constants
            or not (isinstance(depth, int) and isinstance(columns, int))
            or not (value.dtype in _PACKED or is_levels)
            or any(stride != 0 for stride in view.strides[:-2])
            or not (isinstance(view.offset, int) and isinstance(row, int))
            or not isinstance(column, int)
        ):
            return None
        matrix = Matrix(view.offset, row, column, depth, columns)
        if value.dtype is DType.INT8:
            return ConstantRight(
                self._buffer(source, "panels", Quads(matrix)),
                column_sums=self._buffer(source, "sums", Sums(matrix)),
            )
        coding = self._coding(source, depth, columns) if may_code else None
        if coding is not None:
            codes = self._buffer(source, "codes", Codes(matrix, coding, packs))
            scales = self._buffer(source, "scales", Scales(matrix, coding, packs))
            return ConstantRight(codes, CodedRight(scales, coding))
        if not packs:
            return None
        panels = Pairs(matrix) if dtype is DType.BFLOAT16 else Panels(matrix, dtype)
        return ConstantRight(self._buffer(source, "panels", panels))

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
        layout: Layout
        if not self.context.choices.packs_constants:
            layout = ConvolutionRows(sizes, groups, weight.dtype)
        elif self.context.choices.uses_winograd(dtype, sizes, attributes, output):
            layout = ConvolutionWinograd(sizes)
        elif attributes.zero is not None:
            layout = ConvolutionQuads(sizes, groups)
        elif dtype is DType.BFLOAT16 and not is_depthwise(sizes, groups):
            layout = ConvolutionPairs(sizes, groups)
        else:
            layout = ConvolutionPanels(sizes, groups, weight.dtype.compute)
        buffer = self._buffer(source, "packed", layout)
        return StridedView(buffer, 0, weight.shape, shapes.contiguous_strides(weight.shape))

    def channel_sums(self, weight: Value) -> Buffer:
        """The sums of a constant weight of levels, one for each output channel."""
        source = self.plan.contiguous_base(weight)
        return self._buffer(source, "sums", ChannelSums(weight.shape))

    def _buffer(self, source: Value, kind: str, layout: Layout) -> Buffer:
        name = f"{self.graph.constants[source].name}.{kind}"
        return self.context.constant(source, name, layout)
