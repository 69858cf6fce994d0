"""Matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.graph import TensorType, Value
from ..kernels import Definition
from .base import Environment, Op, OperatorError
from .pointwise import widen


@dataclass(frozen=True, slots=True)
class MatMul(Op):
    """left [..., M, K] times right [..., K, N] with broadcast batch dimensions; one dtype, float32 accumulation for narrow floats."""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        left, right = inputs
        if (
            left.dtype is not right.dtype
            or min(left.rank, right.rank) < 2
            or shapes.is_equal(left.shape[-1], right.shape[-2]) is False
        ):
            raise OperatorError(f"matrix product of {left} and {right}")
        try:
            batch = shapes.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        except ValueError:
            raise OperatorError(f"matrix product of {left} and {right}") from None
        return (TensorType(left.dtype, (*batch, left.shape[-2], right.shape[-1])),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        left, right = (widen(x) for x in inputs)
        if left.dtype == bool:
            return (np.matmul(left.astype(np.int64), right.astype(np.int64)) != 0,)
        return (np.matmul(left, right),)

    def define(self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]) -> tuple[Definition, ...]:
        return (kernels.MatrixProduct(),)
