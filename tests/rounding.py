"""Programs in which something sees a narrow float that is computed beside it: it is to see it rounded.

All products and sums are exact in float32, and many have more digits than the narrow type, so that the
answers are the reference's bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, Value

from .graphs import GraphBuilder

Program = tuple[Graph, list[np.ndarray]]
NARROW = {"bfloat16": DType.BFLOAT16, "float16": DType.FLOAT16}


def numbers(dtype: DType, bound: int, *shape: int) -> np.ndarray:
    """Whole numbers in [-bound, bound]."""
    random = np.random.default_rng(sum(shape))
    return random.integers(-bound, bound + 1, shape).astype(dtype.numpy)


def _large(dtype: DType) -> int:
    """What numbers of one digit are multiplied with to have too many."""
    return 100 if dtype is DType.BFLOAT16 else 1000


def _linear(
    make: Callable[[GraphBuilder, Value], Value], columns: int, dtype: DType, *, bias: bool
) -> Program:
    """`make` of a linear layer; with a bias, only what it is added to fits the narrow type."""
    b = GraphBuilder()
    x = b.input("x", 21, 40, dtype=dtype)
    weight = b.array(numbers(dtype, 1 if bias else _large(dtype), columns, 40))
    shift = b.array(numbers(dtype, _large(dtype), columns) * dtype.numpy.type(8)) if bias else None
    y = b.call("aten.linear.default", x, weight, shift)
    return b.graph(make(b, y)), [numbers(dtype, 3, 21, 40)]


def _convolution(
    make: Callable[[GraphBuilder, Value], Value], groups: int, kernel: int, dtype: DType
) -> Program:
    b = GraphBuilder()
    x = b.input("x", 2, 16, 7, 6, dtype=dtype)
    weight = b.array(numbers(dtype, _large(dtype) // 2, 32, 16 // groups, kernel, kernel))
    pad = [kernel // 2] * 2
    y = b.call("aten.conv2d.default", x, weight, None, [1, 1], pad, [1, 1], groups)
    return b.graph(make(b, y)), [numbers(dtype, 3, 2, 16, 7, 6)]


def _pointwise(make: Callable[[GraphBuilder, Value], Value], dtype: DType) -> Program:
    """`make` of a product of two tensors."""
    b = GraphBuilder()
    x, y = (b.input(name, 19, 33, dtype=dtype) for name in "xy")
    arrays = [numbers(dtype, _large(dtype), 19, 33), numbers(dtype, 30, 33, 19).reshape(19, 33)]
    return b.graph(make(b, b.apply("mul", x, y))), arrays


def _neighbours(make: Callable[[GraphBuilder, Value], Value], dtype: DType) -> Program:
    """`make` of products of which many round to one number."""
    graph, arrays = _pointwise(make, dtype)
    first, step = (181, 1) if dtype is DType.BFLOAT16 else (182, 1 / 8)
    near = [first + array.astype(np.float64) % 4 * step for array in arrays]
    return graph, [array.astype(dtype.numpy) for array in near]


def _fractions(make: Callable[[GraphBuilder, Value], Value], dtype: DType) -> Program:
    """`make` of products of which many round to whole numbers."""
    graph, arrays = _pointwise(make, dtype)
    step = 1 / 16 if dtype is DType.BFLOAT16 else 1 / 64
    near = [8 + array.astype(np.float64) % 32 * step for array in arrays]
    return graph, [array.astype(dtype.numpy) for array in near]


def float32(b: GraphBuilder, x: Value) -> Value:
    """Conversion to a wider type."""
    return b.cast(x, DType.FLOAT32)


def relu_float32(b: GraphBuilder, x: Value) -> Value:
    """A bound, then the conversion."""
    return b.cast(b.call("aten.relu.default", x), DType.FLOAT32)


def float32_sum(b: GraphBuilder, x: Value) -> Value:
    """A sum in a wider type."""
    result: Value = b.call("aten.sum.dim_IntList", x, [-1], False, dtype=DType.FLOAT32)
    return result


def float32_operand(b: GraphBuilder, x: Value) -> Value:
    """Promotion beside a wider operand."""
    result: Value = b.call("aten.add.Tensor", x, b.full((33,), 0.25, DType.FLOAT32))
    return result


def difference(b: GraphBuilder, x: Value) -> Value:
    """What was lost by rounding: nothing, where it is rounded already."""
    return b.apply("sub", b.cast(x, DType.FLOAT64), b.cast(b.cast(x, DType.FLOAT32), DType.FLOAT64))


def int64(b: GraphBuilder, x: Value) -> Value:
    """Conversion to an integer."""
    return b.cast(x, DType.INT64)


def equality(b: GraphBuilder, x: Value) -> Value:
    """Comparison of numbers that are equal where they are rounded."""
    return b.apply("eq", x, b.slice(x, 0, 0, 1))


def argmax(b: GraphBuilder, x: Value) -> Value:
    """The first of the largest, of which rounding makes many."""
    result: Value = b.call("aten.argmax.default", x, 1)
    return result


def floor(b: GraphBuilder, x: Value) -> Value:
    """Of numbers that are whole where they are rounded."""
    return b.apply("floor", x)


def remainder(b: GraphBuilder, x: Value) -> Value:
    """What is left of division by a number."""
    result: Value = b.call("aten.remainder.Scalar", x, 8)
    return result


def largest_places(b: GraphBuilder, x: Value) -> Value:
    """Where windows have their largest elements."""
    image = b.reshape(x, (1, 1, 19, 33))
    result: Value = b.call("aten.max_pool2d_with_indices.default", image, [3, 3], [2, 2])[1]
    return result


PROGRAMS: Mapping[str, Callable[[DType], Program]] = {
    "a linear layer": lambda t: _linear(float32, 48, t, bias=False),
    "a linear layer of odd columns": lambda t: _linear(float32, 33, t, bias=False),
    "a bias": lambda t: _linear(float32, 48, t, bias=True),
    "a bias and relu": lambda t: _linear(relu_float32, 48, t, bias=True),
    "a linear layer's sum": lambda t: _linear(float32_sum, 48, t, bias=False),
    "a convolution": lambda t: _convolution(float32, 1, 3, t),
    "a convolution of single elements": lambda t: _convolution(relu_float32, 1, 1, t),
    "a convolution by channel": lambda t: _convolution(float32, 16, 3, t),
    "conversion": lambda t: _pointwise(float32, t),
    "a sum": lambda t: _pointwise(float32_sum, t),
    "promotion": lambda t: _pointwise(float32_operand, t),
    "two conversions": lambda t: _pointwise(difference, t),
    "int64": lambda t: _pointwise(int64, t),
    "comparison": lambda t: _neighbours(equality, t),
    "argmax": lambda t: _neighbours(argmax, t),
    "floor": lambda t: _fractions(floor, t),
    "remainder": lambda t: _pointwise(remainder, t),
    "places in windows": lambda t: _neighbours(largest_places, t),
}  # fmt: skip
