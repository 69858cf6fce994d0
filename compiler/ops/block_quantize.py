"""Quantisation as torchao has it: blocks of any shape, each with a scale and a zero point."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..records import dataclass
from .base import Builder, OperatorError, target

Level = int | float
_LEVELS = {
    DType.UINT8: (0, 255),
    DType.INT8: (-128, 127),
    DType.INT16: (-(1 << 15), (1 << 15) - 1),
    DType.INT32: (-(1 << 31), (1 << 31) - 1),
}


@dataclass(frozen=True, slots=True)
class Blocks:
    """A tensor cut into blocks, each of which has one scale: [6, 4] in blocks of [2, 4] is [3, 2, 1, 4]."""

    counts: tuple[Dim, ...]
    sizes: tuple[Dim, ...]

    @classmethod
    def of(cls, x: Value, block_size: Sequence[Dim]) -> Blocks:
        pairs = list(zip(x.shape, block_size, strict=False))
        uneven = any(shapes.mod(size, block) != 0 for size, block in pairs if size != block)
        if len(block_size) != x.rank or uneven:
            raise OperatorError(f"{x} in blocks of {list(map(str, block_size))}")
        counts = tuple(
            1 if size == block else shapes.floordiv(size, block) for size, block in pairs
        )
        return cls(counts, tuple(block for _, block in pairs))

    def cut(self, b: Builder, x: Value) -> Value:
        """[count, size, count, size, ...]."""
        pairs = zip(self.counts, self.sizes, strict=True)
        return b.reshape(x, tuple(size for pair in pairs for size in pair))

    def parameters(self, b: Builder, values: Value) -> Value:
        """One value for each block, shaped to broadcast over it."""
        return b.reshape(values, tuple(size for count in self.counts for size in (count, 1)))

    def results(self, b: Builder, values: Value, keepdim: bool) -> Value:
        """One value for each block; without `keepdim` dimensions that lie in one block are gone."""
        pairs = zip(self.counts, self.sizes, strict=True)
        shape = tuple(count for count, size in pairs if keepdim or count != 1 or size == 1)
        return b.reshape(values, shape)


def _limits(dtype: DType, low: Level | None, high: Level | None) -> tuple[Level, Level]:
    if dtype not in _LEVELS:
        raise OperatorError(f"levels of the type {dtype}")
    lowest, highest = _LEVELS[dtype]
    return lowest if low is None else low, highest if high is None else high


@target("torchao.choose_qparams_affine.default")
def choose_qparams_affine(
    b: Builder, input: Value, mapping_type: str, block_size: Sequence[Dim], target_dtype: DType,
    quant_min: Level | None = None, quant_max: Level | None = None, eps: float | None = None,
    scale_dtype: DType | None = None, zero_point_dtype: DType | None = None, keepdim: bool = False,
) -> tuple[Value, Value]:  # fmt: skip
    """(scales, zero points), one for each block, that map its range and 0 to the levels."""
    if not input.dtype.is_float:
        raise OperatorError(f"quantisation of {input}: expected floats")
    bottom, top = _limits(target_dtype, quant_min, quant_max)
    blocks = Blocks.of(input, block_size)
    x = blocks.cut(b, input)
    axes = [2 * axis + 1 for axis in range(input.rank)]
    low = b.call("aten.clamp.default", b.call("aten.amin.default", x, axes), None, 0)
    high = b.call("aten.clamp.default", b.call("aten.amax.default", x, axes), 0)
    smallest = float(ml_dtypes.finfo(input.dtype.numpy).smallest_normal) if eps is None else eps  # type: ignore[no-untyped-call]
    if mapping_type == "ASYMMETRIC":
        scale = b.call("aten.div.Tensor", b.call("aten.sub.Tensor", high, low), float(top - bottom))
        scale = b.call("aten.clamp.default", scale, smallest)
        offset = b.call("aten.round.default", b.call("aten.div.Tensor", low, scale))
        offset = b.call("aten.rsub.Scalar", offset, bottom)
        offset = b.call("aten.clamp.default", offset, bottom, top)
        zero_point_dtype = zero_point_dtype or DType.INT32
    else:
        scale = _symmetric_scale(b, mapping_type, low, high, bottom, top)
        offset = b.full(scale.shape, int((top + bottom + 1) / 2), scale.dtype)
        scale = b.call("aten.clamp.default", scale, smallest)
    return (
        b.cast(blocks.results(b, scale, keepdim), scale_dtype or input.dtype),
        b.cast(blocks.results(b, offset, keepdim), zero_point_dtype or offset.dtype),
    )


def _symmetric_scale(
    b: Builder, mapping_type: str, low: Value, high: Value, bottom: Level, top: Level
) -> Value:
    scale: Value
    if mapping_type == "SYMMETRIC":
        reach = b.apply("maximum", b.call("aten.neg.default", low), high)
        scale = b.call("aten.div.Tensor", reach, float(top - bottom) / 2)
        return scale
    if mapping_type != "SYMMETRIC_NO_CLIPPING_ERR":
        raise OperatorError(f"choose_qparams_affine: the mapping {mapping_type!r} is not known")
    below = b.call("aten.div.Tensor", low, float(bottom))
    above = b.call("aten.div.Tensor", high, float(top))
    return b.where(b.apply("gt", below, above), below, above)


@target("torchao.quantize_affine.default")
def quantize_affine(
    b: Builder, input: Value, block_size: Sequence[Dim], scale: Value, zero_point: Value | None,
    output_dtype: DType, quant_min: Level | None = None, quant_max: Level | None = None,
) -> Value:  # fmt: skip
    """clamp(round(x / scale) + zero_point), with a scale and a zero point for each block."""
    bottom, top = _limits(output_dtype, quant_min, quant_max)
    blocks = Blocks.of(input, block_size)
    inverse = b.call("aten.reciprocal.default", blocks.parameters(b, scale))
    level = b.call("aten.mul.Tensor", blocks.cut(b, input), inverse)
    level = b.call("aten.round.default", level)
    if zero_point is not None:
        level = b.call("aten.add.Tensor", level, blocks.parameters(b, zero_point))
    level = b.call("aten.clamp.default", level, bottom, top)
    return b.reshape(b.cast(level, output_dtype), input.shape)


@target("torchao.dequantize_affine.default")
def dequantize_affine(
    b: Builder, input: Value, block_size: Sequence[Dim], scale: Value, zero_point: Value | None,
    input_dtype: DType, quant_min: Level | None = None, quant_max: Level | None = None,
    output_dtype: DType = DType.FLOAT32,
) -> Value:  # fmt: skip
    """(level - zero_point) * scale, with a scale and a zero point for each block."""
    blocks = Blocks.of(input, block_size)
    level = b.cast(blocks.cut(b, input), output_dtype)
    if zero_point is not None:
        offset = b.cast(blocks.parameters(b, zero_point), output_dtype)
        level = b.call("aten.sub.Tensor", level, offset)
    result = b.call("aten.mul.Tensor", level, blocks.parameters(b, scale))
    return b.reshape(b.cast(result, output_dtype), input.shape)
