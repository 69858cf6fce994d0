"""Operators on lists of tensors, as optimisers use them: the operator of each element in turn."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.dtypes import DType
from ..ir.graph import Value
from .base import Builder, Operand, WeakScalar, target

_UNARY = (
    "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor", "frac",
    "lgamma", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt", "sigmoid", "sign",
    "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
_ONE = ("mul", "div")
_LISTS = {
    "mul": "mul.Tensor", "div": "div.Tensor", "pow": "pow.Tensor_Tensor", "clamp_max": "clamp_max.Tensor",
    "clamp_min": "clamp_min.Tensor", "maximum": "maximum.default", "minimum": "minimum.default",
}  # fmt: skip
"""The operator of each pair of tensors."""
_SCALED = ("add", "sub")
_NUMBERS = {
    "add": "add.Tensor", "sub": "sub.Tensor", "mul": "mul.Tensor", "div": "div.Tensor",
    "pow": "pow.Tensor_Scalar", "clamp_max": "clamp_max.default", "clamp_min": "clamp_min.default",
    "maximum": "clamp_min.default", "minimum": "clamp_max.default",
}  # fmt: skip
"""The operator of each tensor and a number."""
_TERNARY = ("addcmul", "addcdiv")
_REDUCED = {"norm": "linalg_vector_norm.default", "powsum": "linalg__powsum.default"}
"""The operator that makes a number of each tensor."""


def _register_unary(name: str) -> None:
    @target(f"aten._foreach_{name}.default", samples=["([T[3, 4], T[2]]) | float32 float64"])
    def each(b: Builder, self: Sequence[Value]) -> list[Value]:
        return [b.call(f"aten.{name}.default", x) for x in self]


def _register_lists(name: str, each: str) -> None:
    @target(f"aten._foreach_{name}.List", samples=["([T[3, 4], T[2]], [T[4], T[2]]) | float32"])
    def with_list(b: Builder, self: Sequence[Value], other: Sequence[Value]) -> list[Value]:
        return [b.call(f"aten.{each}", x, y) for x, y in zip(self, other, strict=True)]


def _register_one(name: str) -> None:
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


def _register_numbers(name: str, each: str) -> None:
    @target(f"aten._foreach_{name}.Scalar", samples=["([T[3, 4], T[2]], 2) | float32 int64"])
    def with_number(b: Builder, self: Sequence[Value], scalar: Operand) -> list[Value]:
        return [b.call(f"aten.{each}", x, scalar) for x in self]

    @target(f"aten._foreach_{name}.ScalarList", samples=["([T[3, 4], T[2]], [2, 3]) | float32"])
    def with_numbers(b: Builder, self: Sequence[Value], scalars: Sequence[Operand]) -> list[Value]:
        return [b.call(f"aten.{each}", x, y) for x, y in zip(self, scalars, strict=True)]


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

    @target(
        f"aten._foreach_{name}.ScalarList",
        samples=["([T[3, 4], T[2]], [T[3, 4], T[2]], [T[3, 4], T[2]], [2, 3]) | float32"],
    )
    def with_numbers(
        b: Builder, self: Sequence[Value], tensor1: Sequence[Value], tensor2: Sequence[Value],
        scalars: Sequence[Operand],
    ) -> list[Value]:  # fmt: skip
        rows = zip(self, tensor1, tensor2, scalars, strict=True)
        return [b.call(f"aten.{name}.default", *each, value=value) for *each, value in rows]

    @target(
        f"aten._foreach_{name}.Tensor",
        samples=["([T[3, 4], T[2]], [T[3, 4], T[2]], [T[3, 4], T[2]], T[2]) | float32"],
    )
    def with_tensor(
        b: Builder, self: Sequence[Value], tensor1: Sequence[Value], tensor2: Sequence[Value],
        scalars: Value,
    ) -> list[Value]:  # fmt: skip
        """`scalars` [len(self)] holds the number of each."""
        values = [WeakScalar(b.select(scalars, 0, i)) for i in range(len(self))]
        return with_numbers(b, self, tensor1, tensor2, values)


def _register_reduced(name: str, each: str) -> None:
    @target(
        f"aten._foreach_{name}.Scalar",
        samples=["([T[3, 4], T[2]]) | float32 float64", "([T[3, 4], T[2]], 1) | float32"],
    )
    def reduced(
        b: Builder, self: Sequence[Value], ord: Operand = 2, dtype: DType | None = None
    ) -> list[Value]:
        return [b.call(f"aten.{each}", x, ord, dtype=dtype) for x in self]


@target("aten._foreach_add.Tensor", samples=["([T[3, 4], T[2]], T[()], alpha=2) | float32"])
def add_one(b: Builder, self: Sequence[Value], other: Value, *, alpha: Operand = 1) -> list[Value]:
    return [b.call("aten.add.Tensor", x, other, alpha=alpha) for x in self]


@target(
    "aten._foreach_lerp.Scalar",
    samples=["([T[3, 4], T[2]], [T[3, 4], T[2]], 0.25) | float32"],
)
def lerp(
    b: Builder, self: Sequence[Value], tensors1: Sequence[Value], weight: Operand
) -> list[Value]:
    pairs = zip(self, tensors1, strict=True)
    return [b.call("aten.lerp.Scalar", x, y, weight) for x, y in pairs]


@target(
    "aten._foreach_lerp.List",
    samples=["([T[3, 4], T[2]], [T[3, 4], T[2]], [T[3, 4], T[2]]) | float32"],
)
def lerp_lists(
    b: Builder, self: Sequence[Value], tensors1: Sequence[Value], weights: Sequence[Value]
) -> list[Value]:
    triples = zip(self, tensors1, weights, strict=True)
    return [b.call("aten.lerp.Tensor", *each) for each in triples]


@target(
    "aten._foreach_lerp.ScalarList",
    samples=["([T[3, 4], T[2]], [T[3, 4], T[2]], [0.25, 0.75]) | float32"],
)
def lerp_numbers(
    b: Builder, self: Sequence[Value], tensors1: Sequence[Value], weight: Sequence[Operand]
) -> list[Value]:
    triples = zip(self, tensors1, weight, strict=True)
    return [b.call("aten.lerp.Scalar", *each) for each in triples]


@target("aten._foreach_mm.default", samples=["([T[3, 4], T[2, 5]], [T[4, 2], T[5, 1]]) | float32"])
def mm(b: Builder, self: Sequence[Value], mat2: Sequence[Value]) -> list[Value]:
    return [b.call("aten.mm.default", x, y) for x, y in zip(self, mat2, strict=True)]


@target("aten._foreach_max.default", samples=["([T[3, 4], T[2]]) | float32 int64"])
def largest(b: Builder, self: Sequence[Value]) -> list[Value]:
    return [b.call("aten.max.default", x) for x in self]


@target("aten._foreach_clone.default", samples=["([T[3, 4], T[2]]) | float32 int64"])
def clone(b: Builder, self: Sequence[Value], *, memory_format: object = None) -> list[Value]:
    return [b.call("aten.clone.default", x) for x in self]


@target("aten._foreach_zero.default", samples=["([T[3, 4], T[2]]) | float32 int64"])
def zero(b: Builder, self: Sequence[Value]) -> list[Value]:
    return [b.full(x.shape, 0, x.dtype) for x in self]


@target("aten._foreach_pow.ScalarAndTensor", samples=["(2, [T[3, 4], T[2]]) | float32"])
def powers(b: Builder, self: Operand, exponent: Sequence[Value]) -> list[Value]:
    return [b.call("aten.pow.Scalar", self, x) for x in exponent]


@target(
    "aten._foreach_copy.default",
    samples=["([T[3, 4], T[2]], [int64[4], T[2]]) | float32"],
)
def copy(
    b: Builder, self: Sequence[Value], src: Sequence[Value], non_blocking: bool = False
) -> list[Value]:
    return [b.call("aten.copy.default", x, y) for x, y in zip(self, src, strict=True)]


for _name in _UNARY:
    _register_unary(_name)
for _name, _each in _LISTS.items():
    _register_lists(_name, _each)
for _name in _ONE:
    _register_one(_name)
for _name in _SCALED:
    _register_scaled(_name)
for _name, _each in _NUMBERS.items():
    _register_numbers(_name, _each)
for _name in _TERNARY:
    _register_ternary(_name)
for _name, _each in _REDUCED.items():
    _register_reduced(_name, _each)
