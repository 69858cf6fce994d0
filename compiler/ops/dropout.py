"""Dropout outside of training, where it does nothing. What it does in training is random and is refused."""

from __future__ import annotations

from ..ir.dtypes import DType
from ..ir.graph import Value
from .base import Builder, OperatorError, target


def _inference(b: Builder, x: Value, p: float, train: bool | None) -> Value:
    if train is False or p == 0 or 0 in x.shape:
        return x
    if p == 1 and x.dtype.is_float:
        # Not zeros: PyTorch multiplies by a mask of zeros, which keeps NaN.
        return b.apply("mul", x, b.full((), 0, x.dtype))
    raise OperatorError(
        "dropout in training mode is random: export the program after model.eval()"
    )


@target(
    "aten.dropout.default", "aten.feature_dropout.default", "aten.alpha_dropout.default",
    "aten.feature_alpha_dropout.default", alias=True,
)  # fmt: skip
def dropout(b: Builder, input: Value, p: float, train: bool) -> Value:
    return _inference(b, input, p, train)


@target("aten.native_dropout.default")
def native_dropout(b: Builder, input: Value, p: float, train: bool | None) -> tuple[Value, Value]:
    result = _inference(b, input, p, train)
    return result, b.full(input.shape, not (train and p == 1), DType.BOOL)
