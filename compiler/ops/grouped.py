"""Matrix products of groups: of rows, each with a matrix of its own (mixture of experts), or of what is summed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType, from_numpy
from ..ir.graph import TensorType, Value
from ..kernels import Definition
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError, target

_SUFFIX = {
    DType.FLOAT16: "f16",
    DType.BFLOAT16: "bf16",
    DType.FLOAT32: "f32",
    DType.FLOAT64: "f64",
}


@dataclass(frozen=True, slots=True)
class GroupedMatMul(Op):
    """Rows [T, K] times the matrix [G, K, N] of their group; `ends` [G] (int64) says where each
    group stops.

    Rows behind the last group give zeros. Narrow floats are summed in float32.
    """

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        rows, matrices, ends = inputs
        if rows.dtype is not matrices.dtype or rows.dtype not in _SUFFIX:
            raise OperatorError(f"grouped product of {rows} and {matrices}")
        fits = (rows.rank, matrices.rank, ends.rank) == (2, 3, 1)
        if not fits or shapes.is_equal(rows.shape[1], matrices.shape[1]) is False:
            raise OperatorError(f"grouped product of {rows} and {matrices} up to {ends}")
        return (TensorType(rows.dtype, (rows.shape[0], matrices.shape[2])),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        rows, matrices, ends = inputs
        wide = from_numpy(rows.dtype).compute.numpy
        result = np.zeros((rows.shape[0], matrices.shape[2]), wide)
        for matrix, (start, stop) in zip(matrices, _spans(ends), strict=True):
            result[start:stop] = rows[start:stop].astype(wide) @ matrix.astype(wide)
        return (result.astype(rows.dtype),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        rows, matrices, ends = inputs
        return (_call("castoff_grouped_product", rows, matrices, ends),)


@dataclass(frozen=True, slots=True)
class GroupedDepthMatMul(Op):
    """A product [G, M, N] for each group of the inner dimension of [M, K] and [K, N]; `ends` [G] (int64) says
    where each group stops.

    A group of nothing gives zeros. Narrow floats are summed in float32.
    """

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        rows, matrix, ends = inputs
        if rows.dtype is not matrix.dtype or rows.dtype not in _SUFFIX:
            raise OperatorError(f"grouped product of {rows} and {matrix}")
        fits = (rows.rank, matrix.rank, ends.rank) == (2, 2, 1)
        if not fits or shapes.is_equal(rows.shape[1], matrix.shape[0]) is False:
            raise OperatorError(f"grouped product of {rows} and {matrix} up to {ends}")
        return (TensorType(rows.dtype, (ends.shape[0], rows.shape[0], matrix.shape[1])),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        rows, matrix, ends = inputs
        wide = from_numpy(rows.dtype).compute.numpy
        result = np.zeros((len(ends), rows.shape[0], matrix.shape[1]), wide)
        for group, (start, stop) in enumerate(_spans(ends)):
            result[group] = rows[:, start:stop].astype(wide) @ matrix[start:stop].astype(wide)
        return (result.astype(rows.dtype),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        rows, matrix, ends = inputs
        return (_call("castoff_grouped_depths", rows, matrix, ends),)


def _spans(ends: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where each group starts and stops: none starts before another has stopped."""
    start = 0
    for end in ends:
        stop = max(start, int(end))
        yield start, stop
        start = stop


def _call(function: str, rows: Value, right: Value, ends: Value) -> kernels.LibraryCall:
    sizes = (*rows.shape, right.shape[-1], ends.shape[0])
    return kernels.LibraryCall(
        f"{function}_{_SUFFIX[rows.dtype]}",
        ("common/grouped.h",),
        (
            kernels.Out(0),
            *(kernels.In(i) for i in range(3)),
            *(kernels.Size(size) for size in sizes),
        ),
    )


def grouped_product(b: Builder, rows: Value, matrices: Value, ends: Value) -> Value:
    """`GroupedMatMul`, with `ends` of any integers."""
    return b.emit1(GroupedMatMul(), rows, matrices, b.cast(ends, DType.INT64))


@target("transformers.grouped_mm_fallback.default")
def grouped_mm_fallback(b: Builder, input: Value, weight: Value, offs: Value) -> Value:
    """The operator Hugging Face's mixtures of experts export on CPU."""
    return grouped_product(b, input, weight, offs)


@target("aten._grouped_mm.default")
def grouped_mm(
    b: Builder,
    self: Value,
    mat2: Value,
    offs: Value | None = None,
    bias: Value | None = None,
    out_dtype: DType | None = None,
) -> Value:
    """Products of groups: of rows, of columns, of parts of the inner dimension, or of a whole
    batch.
    """
    match self.rank, mat2.rank:
        case 3, 3:
            result = b.matmul(self, mat2)
        case 2, 3 if offs is not None:
            result = grouped_product(b, self, mat2, offs)
        case 3, 2 if offs is not None:  # groups of columns are groups of rows of the transpose
            columns, matrices = b.transpose(mat2, 0, 1), b.transpose(self, 1, 2)
            result = b.transpose(grouped_product(b, columns, matrices, offs), 0, 1)
        case 2, 2 if offs is not None:
            result = b.emit1(GroupedDepthMatMul(), self, mat2, b.cast(offs, DType.INT64))
        case _:
            raise OperatorError(f"_grouped_mm of {self} and {mat2} without offsets")
    if bias is not None:
        result = b.apply("add", result, b.cast(bias, result.dtype))
    return result if out_dtype is None else b.cast(result, out_dtype)
