"""Quantisation to integers and back, by tensor, channel, row or group."""

from __future__ import annotations

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from .activation import number
from .base import Builder, Operand, OperatorError, normalize_axis, target

_PREFIX = "quantized_decomposed."


def _real_input(b: Builder, x: Value) -> Value:
    if not x.dtype.is_float:
        raise OperatorError(f"quantisation of {x}: expected floats")
    return b.cast(x, x.dtype.compute)


def _scalar(b: Builder, value: Operand, dtype: DType) -> Value:
    """A parameter of the whole tensor, 0-d, from a number or a tensor of one element."""
    x = b.tensor(value, dtype)
    return b.reshape(x, ())


def _clamped(b: Builder, x: Value, low: Operand, high: Operand, dtype: DType) -> Value:
    x = b.apply("maximum", x, _scalar(b, low, x.dtype))
    return b.cast(b.apply("minimum", x, _scalar(b, high, x.dtype)), dtype)


def _quantized(
    b: Builder,
    x: Value,
    inverse: Value,
    zero_point: Value,
    low: Operand,
    high: Operand,
    dtype: DType,
) -> Value:
    """clamp(round(x * inverse) + zero_point)."""
    level = b.apply("round", b.apply("mul", x, b.cast(inverse, x.dtype)))
    level = b.apply("add", level, b.cast(zero_point, x.dtype))
    return _clamped(b, level, low, high, dtype)


def _inverse(b: Builder, scale: Operand) -> Value:
    """1 / scale, in double where the scale is a number, which is what Python computes it in."""
    if isinstance(scale, (int, float)):
        return b.full((), 1.0 / scale, DType.FLOAT32)
    return b.apply("reciprocal", _scalar(b, scale, DType.FLOAT64))


@target(*(f"{_PREFIX}quantize_per_tensor.{o}" for o in ("default", "tensor", "tensor2")))
def quantize_per_tensor(
    b: Builder, input: Value, scale: Operand, zero_point: Operand, quant_min: Operand,
    quant_max: Operand, dtype: DType,
) -> Value:  # fmt: skip
    x = _real_input(b, input)
    offset = _scalar(b, zero_point, x.dtype)
    return _quantized(b, x, _inverse(b, scale), offset, quant_min, quant_max, dtype)


@target(*(f"{_PREFIX}dequantize_per_tensor.{o}" for o in ("default", "tensor", "tensor2")))
def dequantize_per_tensor(
    b: Builder, input: Value, scale: Operand, zero_point: Operand, quant_min: Operand,
    quant_max: Operand, dtype: DType, *, out_dtype: DType | None = None,
) -> Value:  # fmt: skip
    result = out_dtype or DType.FLOAT32
    inner = result.compute
    centred = b.apply("sub", b.cast(input, inner), _scalar(b, zero_point, inner))
    return b.cast(b.apply("mul", centred, _scalar(b, scale, inner)), result)


def _along(b: Builder, values: Value, axis: int, rank: int) -> Value:
    """One value for each position of an axis, shaped to broadcast."""
    return b.reshape(values, tuple(values.shape[0] if a == axis else 1 for a in range(rank)))


@target(f"{_PREFIX}quantize_per_channel.default")
def quantize_per_channel(
    b: Builder, input: Value, scales: Value, zero_points: Value, axis: int, quant_min: int,
    quant_max: int, dtype: DType,
) -> Value:  # fmt: skip
    x, axis = _real_input(b, input), normalize_axis(axis, input.rank)
    inverse = b.apply("reciprocal", _along(b, scales, axis, x.rank))
    offset = _along(b, zero_points, axis, x.rank)
    return _quantized(b, x, inverse, offset, quant_min, quant_max, dtype)


@target(f"{_PREFIX}dequantize_per_channel.default")
def dequantize_per_channel(
    b: Builder, input: Value, scales: Value, zero_points: Value | None, axis: int, quant_min: int,
    quant_max: int, dtype: DType, *, out_dtype: DType | None = None,
) -> Value:  # fmt: skip
    axis = normalize_axis(axis, input.rank)
    offset = None if zero_points is None else _along(b, zero_points, axis, input.rank)
    return _dequantized(b, input, _along(b, scales, axis, input.rank), offset, out_dtype)


def _dequantized(
    b: Builder, x: Value, scale: Value, offset: Value | None, dtype: DType | None
) -> Value:
    inner = scale.dtype.compute
    level = b.cast(x, inner)
    if offset is not None:
        level = b.apply("sub", level, b.cast(offset, inner))
    return b.cast(b.apply("mul", level, b.cast(scale, inner)), dtype or DType.FLOAT32)


@target(f"{_PREFIX}quantize_per_token.default")
def quantize_per_token(
    b: Builder, input: Value, scales: Value, zero_points: Value, quant_min: int, quant_max: int,
    dtype: DType,
) -> Value:  # fmt: skip
    """Parameters [..., 1]; the zero point is added before rounding."""
    return _rounded_after(b, input, scales, zero_points, quant_min, quant_max, dtype)


def _rounded_after(
    b: Builder, x: Value, scales: Value, zero_points: Value, low: int, high: int, dtype: DType
) -> Value:
    inner = b.result_type(x, scales).compute
    level = b.apply("mul", b.cast(x, inner), b.apply("reciprocal", b.cast(scales, inner)))
    level = b.apply("round", b.apply("add", level, b.cast(zero_points, inner)))
    return _clamped(b, level, low, high, dtype)


@target(f"{_PREFIX}dequantize_per_token.default")
def dequantize_per_token(
    b: Builder, input: Value, scales: Value, zero_points: Value, quant_min: int, quant_max: int,
    dtype: DType, output_dtype: DType,
) -> Value:  # fmt: skip
    return _dequantized(b, input, scales, zero_points, output_dtype)


def _grouped(b: Builder, x: Value, scales: Value, group_size: int) -> Value:
    """The rows cut into groups, one a row."""
    width = x.shape[-1]
    if isinstance(width, int) and group_size > width and scales.shape[-1] == 1:
        group_size = width
    count = shapes.floordiv(shapes.element_count(x.shape), group_size)
    return b.reshape(x, (count, group_size))


def _column(b: Builder, x: Value) -> Value:
    return b.reshape(x, (shapes.element_count(x.shape), 1))


@target(f"{_PREFIX}quantize_per_channel_group.default")
def quantize_per_channel_group(
    b: Builder, input: Value, scales: Value, zero_points: Value, quant_min: int, quant_max: int,
    dtype: DType, group_size: int,
) -> Value:  # fmt: skip
    groups = _grouped(b, input, scales, group_size)
    parameters = _column(b, scales), _column(b, zero_points)
    levels = _rounded_after(b, groups, *parameters, quant_min, quant_max, dtype)
    return b.reshape(levels, input.shape)


@target(f"{_PREFIX}dequantize_per_channel_group.default")
def dequantize_per_channel_group(
    b: Builder, input: Value, scales: Value, zero_points: Value | None, quant_min: int,
    quant_max: int, dtype: DType, group_size: int, output_dtype: DType,
) -> Value:  # fmt: skip
    groups = _grouped(b, input, scales, group_size)
    offset = None if zero_points is None else _column(b, zero_points)
    return b.reshape(_dequantized(b, groups, _column(b, scales), offset, output_dtype), input.shape)


# ------------------------------------------------------------------------- choosing parameters


@target(f"{_PREFIX}choose_qparams.tensor")
def choose_qparams(
    b: Builder, input: Value, quant_min: int, quant_max: int, eps: float, dtype: DType
) -> tuple[Value, Value]:
    """(scale float64 [1], zero point int64 [1]) that map the values' range and 0 to the levels."""
    low, high = _range_with_zero(b, input)
    levels = number(b, float(quant_max - quant_min), low)
    scale = b.apply("div", b.apply("sub", high, low), levels)
    scale = b.apply("maximum", scale, number(b, eps, scale))
    offset = b.apply("sub", number(b, quant_min, low), b.apply("round", b.apply("div", low, scale)))
    return _parameters(b, scale, _clamped(b, offset, quant_min, quant_max, DType.INT64))


@target(f"{_PREFIX}choose_qparams_symmetric.tensor")
def choose_qparams_symmetric(
    b: Builder, input: Value, quant_min: int, quant_max: int, eps: float, dtype: DType
) -> tuple[Value, Value]:
    """As `choose_qparams`, for a range symmetric about 0."""
    low, high = _range_with_zero(b, input)
    reach = b.apply("maximum", b.apply("neg", low), high)
    scale = b.apply("div", reach, number(b, (quant_max - quant_min) / 2, reach))
    scale = b.apply("maximum", scale, number(b, eps, scale))
    middle = 128 if dtype is DType.UINT8 else 0
    return _parameters(b, scale, b.full((), middle, DType.INT64))


def _range_with_zero(b: Builder, x: Value) -> tuple[Value, Value]:
    x = _real_input(b, x)
    low, high = b.reduce("min", x, range(x.rank)), b.reduce("max", x, range(x.rank))
    zero = number(b, 0, x)
    return b.apply("minimum", low, zero), b.apply("maximum", high, zero)


def _parameters(b: Builder, scale: Value, zero_point: Value) -> tuple[Value, Value]:
    return b.reshape(b.cast(scale, DType.FLOAT64), (1,)), b.reshape(zero_point, (1,))


@target(f"{_PREFIX}choose_qparams_per_token.default", misdescribed=True)
def choose_qparams_per_token(b: Builder, input: Value, dtype: DType) -> tuple[Value, Value]:
    """(scales, zeros), symmetric to int8, for each row of the last dimension."""
    scales = b.reduce("max", b.call("aten.abs.default", input), (input.rank - 1,), True)
    if scales.dtype is DType.FLOAT16:
        scales = b.cast(scales, DType.FLOAT32)
    scales = b.apply("maximum", scales, number(b, 1e-5, scales))
    scales = b.apply("div", scales, number(b, 127, scales))
    return scales, b.full(scales.shape, 0, scales.dtype)


@target(
    f"{_PREFIX}choose_qparams_per_token_asymmetric.default",
    f"{_PREFIX}_choose_qparams_per_token_asymmetric_impl.default",
)
def choose_qparams_per_token_asymmetric(
    b: Builder, input: Value, dtype: DType
) -> tuple[Value, Value]:
    """(scales float64, zero points int64) to int8 for each row of the last dimension."""
    x = _real_input(b, input)
    axes, zero = (x.rank - 1,), number(b, 0, x)
    low = b.apply("minimum", b.reduce("min", x, axes, True), zero)
    high = b.apply("maximum", b.reduce("max", x, axes, True), zero)
    scale = b.apply("div", b.apply("sub", high, low), number(b, 255.0, x))
    scale = b.apply("maximum", scale, number(b, 2.0**-23, scale))
    low, high = b.apply("div", low, scale), b.apply("div", high, scale)
    bottom, top = number(b, -128, x), number(b, 127, x)
    errors = b.apply("add", b.apply("add", bottom, low), b.apply("add", top, high))
    offset = b.where(
        b.apply("gt", errors, zero), b.apply("sub", bottom, low), b.apply("sub", top, high)
    )
    offset = b.apply("minimum", b.apply("maximum", offset, bottom), top)
    return b.cast(scale, DType.FLOAT64), b.cast(b.apply("round", offset), DType.INT64)


@target(f"{_PREFIX}convert_element_type.no_fuse")
def convert_element_type(b: Builder, input: Value, dtype: DType) -> Value:
    return b.cast(input, dtype)


# ----------------------------------------------------------------------------- fake quantisation


def _fake(
    b: Builder, x: Value, scale: Value, zero_point: Value, low: int, high: int
) -> tuple[Value, Value]:
    """(x after a round trip through the levels, where it stayed inside)."""
    wide = b.cast(x, x.dtype.compute)
    factor, offset = b.cast(scale, wide.dtype), b.cast(zero_point, wide.dtype)
    level = b.apply("mul", wide, b.apply("reciprocal", factor))
    level = b.apply("round", b.apply("add", level, offset))
    bottom, top = number(b, low, level), number(b, high, level)
    inside = b.apply("logical_and", b.apply("ge", level, bottom), b.apply("le", level, top))
    level = b.apply("minimum", b.apply("maximum", level, bottom), top)
    result = b.apply("mul", b.apply("sub", level, offset), factor)
    return b.cast(result, x.dtype), inside


@target(
    "aten.fake_quantize_per_tensor_affine.default",
    "aten.fake_quantize_per_tensor_affine.tensor_qparams",
)
def fake_quantize_per_tensor(
    b: Builder, self: Value, scale: Operand, zero_point: Operand, quant_min: int, quant_max: int
) -> Value:
    return fake_quantize_per_tensor_mask(b, self, scale, zero_point, quant_min, quant_max)[0]


@target("aten.fake_quantize_per_tensor_affine_cachemask.default")
def fake_quantize_per_tensor_mask(
    b: Builder, self: Value, scale: Operand, zero_point: Operand, quant_min: int, quant_max: int
) -> tuple[Value, Value]:
    inner = self.dtype.compute
    parameters = _scalar(b, scale, inner), _scalar(b, zero_point, inner)
    return _fake(b, self, *parameters, quant_min, quant_max)


@target("aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default")
def fake_quantize_per_tensor_switched(
    b: Builder, self: Value, scale: Value, zero_point: Value, fake_quant_enabled: Value,
    quant_min: int, quant_max: int,
) -> tuple[Value, Value]:  # fmt: skip
    """Only where `fake_quant_enabled` is not 0."""
    result, inside = fake_quantize_per_tensor_mask(b, self, scale, zero_point, quant_min, quant_max)
    enabled = b.reshape(b.cast(fake_quant_enabled, DType.BOOL), ())
    always = b.full((), True, DType.BOOL)
    return b.where(enabled, result, self), b.where(enabled, inside, always)


@target("aten._fake_quantize_learnable_per_tensor_affine.default")
def fake_quantize_learnable_per_tensor(
    b: Builder, self: Value, scale: Value, zero_point: Value, quant_min: int, quant_max: int,
    grad_factor: float = 1.0,
) -> Value:  # fmt: skip
    return fake_quantize_per_tensor(b, self, scale, _whole(b, zero_point, quant_min, quant_max),
                                    quant_min, quant_max)  # fmt: skip


def _whole(b: Builder, zero_point: Value, low: int, high: int) -> Value:
    """A learned zero point: rounded, and kept among the levels."""
    return _clamped(b, b.apply("round", zero_point), low, high, zero_point.dtype)


@target("aten.fake_quantize_per_channel_affine.default", f"{_PREFIX}fake_quant_per_channel.default")
def fake_quantize_per_channel(
    b: Builder, self: Value | None = None, scale: Value | None = None,
    zero_point: Value | None = None, axis: int = 0, quant_min: int = 0, quant_max: int = 255,
    input: Value | None = None, scales: Value | None = None, zero_points: Value | None = None,
) -> Value:  # fmt: skip
    """Two schemas, which differ in the names of their arguments."""
    x, factors, offsets = self or input, scale or scales, zero_point or zero_points
    assert x is not None and factors is not None and offsets is not None, "one schema's arguments"
    return fake_quantize_per_channel_mask(b, x, factors, offsets, axis, quant_min, quant_max)[0]


@target("aten.fake_quantize_per_channel_affine_cachemask.default")
def fake_quantize_per_channel_mask(
    b: Builder, self: Value, scale: Value, zero_point: Value, axis: int, quant_min: int,
    quant_max: int,
) -> tuple[Value, Value]:  # fmt: skip
    axis = normalize_axis(axis, self.rank)
    factors = _along(b, scale, axis, self.rank)
    return _fake(b, self, factors, _along(b, zero_point, axis, self.rank), quant_min, quant_max)


@target("aten._fake_quantize_learnable_per_channel_affine.default")
def fake_quantize_learnable_per_channel(
    b: Builder, self: Value, scale: Value, zero_point: Value, axis: int, quant_min: int,
    quant_max: int, grad_factor: float = 1.0,
) -> Value:  # fmt: skip
    offset = _whole(b, zero_point, quant_min, quant_max)
    return fake_quantize_per_channel_mask(b, self, scale, offset, axis, quant_min, quant_max)[0]
