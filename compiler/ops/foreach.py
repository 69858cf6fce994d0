"""Operators on lists of tensors, as optimisers use them: the operator of each element in turn."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import Value
from .base import Builder, Operand, target

_UNARY = (
    "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor", "frac",
    "lgamma", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt", "sigmoid", "sign",
    "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
_BINARY = ("mul", "div")
_SCALED = ("add", "sub")
_TERNARY = ("addcmul", "addcdiv")


def _register_unary(name: str) -> None:
    @target(f"aten._foreach_{name}.default", samples=["([T[3, 4], T[2]]) | float32 float64"])
    def each(b: Builder, self: Sequence[Value]) -> list[Value]:
        return [b.call(f"aten.{name}.default", x) for x in self]


def _register_binary(name: str) -> None:
    @target(f"aten._foreach_{name}.List", samples=["([T[3, 4], T[2]], [T[4], T[2]]) | float32"])
    def with_list(b: Builder, self: Sequence[Value], other: Sequence[Value]) -> list[Value]:
        return [b.call(f"aten.{name}.Tensor", x, y) for x, y in zip(self, other, strict=True)]

    @target(f"aten._foreach_{name}.Tensor", samples=["([T[3, 4], T[2]], T[()]) | float32"])
    def with_one(b: Builder, self: Sequence[Value], other: Value) -> list[Value]:
        return [b.call(f"aten.{name}.Tensor", x, other) for x in self]


def _register_scaled(name: str) -> None:
    @target(
        f"aten._foreach_{name}.List",
        samples=["([T[3, 4], T[2]], [T[4], T[2]], alpha=2) | float32 int64"],
    )
    def with_list(
        b: Builder, self: Sequence[Value], other: Sequence[Value], *, alpha: Operand = 1
    ) -> list[Value]:
        pairs = zip(self, other, strict=True)
        return [b.call(f"aten.{name}.Tensor", x, y, alpha=alpha) for x, y in pairs]


def _register_numbers(name: str) -> None:
    @target(f"aten._foreach_{name}.Scalar", samples=["([T[3, 4], T[2]], 2) | float32 int64"])
    def with_number(b: Builder, self: Sequence[Value], scalar: Operand) -> list[Value]:
        return [b.call(f"aten.{name}.Tensor", x, scalar) for x in self]

    @target(f"aten._foreach_{name}.ScalarList", samples=["([T[3, 4], T[2]], [2, 3]) | float32"])
    def with_numbers(b: Builder, self: Sequence[Value], scalars: Sequence[Operand]) -> list[Value]:
        return [b.call(f"aten.{name}.Tensor", x, y) for x, y in zip(self, scalars, strict=True)]


def _register_ternary(name: str) -> None:
    @target(
        f"aten._foreach_{name}.Scalar",
        samples=["([T[3, 4], T[2]], [T[3, 4], T[2]], [T[3, 4], T[2]], 2) | float32"],
    )
    def with_number(
        b: Builder, self: Sequence[Value], tensor1: Sequence[Value], tensor2: Sequence[Value],
        value: Operand = 1,
    ) -> list[Value]:  # fmt: skip
        triples = zip(self, tensor1, tensor2, strict=True)
        return [b.call(f"aten.{name}.default", *each, value=value) for each in triples]


for _name in _UNARY:
    _register_unary(_name)
for _name in _BINARY:
    _register_binary(_name)
for _name in _SCALED:
    _register_scaled(_name)
for _name in _BINARY + _SCALED:
    _register_numbers(_name)
for _name in _TERNARY:
    _register_ternary(_name)
