"""Operators on the bits of integers; on bool tensors they are the logical ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir.dtypes import DType
from ..ir.graph import Value
from .base import Builder, Operand, OperatorError, target
from .pointwise import apply_promoted, compute_operands, register_pointwise

_OVERLOADS = ("Tensor", "Scalar", "Scalar_Tensor")


def _register_binary(name: str) -> None:
    dunder = f"aten.__{name}__"
    overloads = (f"aten.bitwise_{name}.{overload}" for overload in _OVERLOADS)

    @target(*overloads, f"{dunder}.Tensor", f"{dunder}.Scalar")
    def combine(b: Builder, self: Operand, other: Operand) -> Value:
        dtype = b.result_type(self, other)
        if dtype.is_float or dtype.is_complex:
            raise OperatorError(f"bitwise_{name} of {dtype.value} tensors")
        primitive = f"logical_{name}" if dtype is DType.BOOL else f"bitwise_{name}"
        return apply_promoted(b, primitive, self, other)


for _name in ("and", "or", "xor"):
    _register_binary(_name)


@target("aten.bitwise_not.default", "prims.bitwise_not.default")
def bitwise_not(b: Builder, self: Value) -> Value:
    return b.apply("logical_not" if self.dtype is DType.BOOL else "bitwise_not", self)


def _register_shift(direction: str, dunder: str) -> None:
    name = f"bitwise_{direction}_shift"
    overloads = (f"aten.{name}.{o}" for o in ("Tensor", "Tensor_Scalar", "Scalar_Tensor"))

    @target(*overloads, f"aten.{dunder}.Tensor", f"aten.{dunder}.Scalar")
    def shift(b: Builder, self: Operand, other: Operand) -> Value:
        dtype = b.result_type(self, other)
        if not dtype.is_float:
            return apply_promoted(b, name, self, other)
        # The shift operators of float tensors scale by a power of two.
        _, (x, count) = compute_operands(b, self, other)
        factor = b.apply("exp2", count)
        return b.cast(b.apply("mul" if direction == "left" else "div", x, factor), dtype)


_register_shift("left", "__lshift__")
_register_shift("right", "__rshift__")


def _shift_left(x: np.ndarray, count: np.ndarray) -> np.ndarray:
    bits = x.dtype.itemsize * 8
    inside = (count >= 0) & (count.astype(np.int64) < bits)
    shifted = np.left_shift(x, np.where(inside, count, 0).astype(x.dtype))
    return np.where(inside, shifted, 0).astype(x.dtype)


def _shift_right(x: np.ndarray, count: np.ndarray) -> np.ndarray:
    signed = x.dtype.kind == "i"
    bits = x.dtype.itemsize * 8 - signed
    inside = (count >= 0) & (count.astype(np.int64) < bits)
    shifted = np.right_shift(x, np.where(inside, count, bits if signed else 0).astype(x.dtype))
    return np.where(inside | signed, shifted, 0).astype(x.dtype)


_ROWS: dict[str, tuple[Callable[..., np.ndarray], str]] = {
    "bitwise_and": (np.bitwise_and, "bi"),
    "bitwise_or": (np.bitwise_or, "bi"),
    "bitwise_xor": (np.bitwise_xor, "bi"),
    "bitwise_not": (np.invert, "bi"),
    "bitwise_left_shift": (_shift_left, "i"),
    "bitwise_right_shift": (_shift_right, "i"),
}
for _row, (_reference, _kinds) in _ROWS.items():
    register_pointwise(_row, _reference, kinds=_kinds)
