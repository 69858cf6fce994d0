"""Functional forms of targets that overwrite a tensor: copy, fill, zero."""

from __future__ import annotations

from ..ir.graph import Value
from .base import Builder, Operand, target


@target("aten.copy.default")
def copy(b: Builder, self: Value, src: Operand, non_blocking: bool = False) -> Value:
    """The elements of `src` in the dtype and shape of `self`."""
    return b.expand(b.tensor(src, self.dtype), self.shape)


@target("aten.fill.Scalar", "aten.fill.Tensor")
def fill(b: Builder, self: Value, value: Operand) -> Value:
    """A tensor like `self` that holds one number."""
    if isinstance(value, (bool, int, float, complex)):
        return b.full(self.shape, value, self.dtype)
    return b.expand(b.tensor(value, self.dtype), self.shape)


@target("aten.zero.default")
def zero(b: Builder, self: Value) -> Value:
    """A tensor like `self` that holds zeros."""
    return b.full(self.shape, 0, self.dtype)
