"""Arithmetic on values as it is written on paper, for targets that are formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Graph, Value
from ..ir.shapes import Dim
from ..records import dataclass
from .base import Builder, Environment


@dataclass(frozen=True, slots=True, eq=False)
class Formula:
    """A value with operators; the other operand is a formula of the same dtype or a number."""

    b: Builder
    value: Value

    def apply(self, name: str, *others: Formula | float) -> Formula:
        """A pointwise primitive of this and others."""
        operands = (self._value(other) for other in others)
        return Formula(self.b, self.b.apply(name, self.value, *operands))

    def _value(self, other: Formula | float) -> Value:
        if isinstance(other, Formula):
            return other.value
        return self.b.full((), other, self.value.dtype)

    def __add__(self, other: Formula | float) -> Formula:
        return self.apply("add", other)

    def __sub__(self, other: Formula | float) -> Formula:
        return self.apply("sub", other)

    def __mul__(self, other: Formula | float) -> Formula:
        return self.apply("mul", other)

    def __truediv__(self, other: Formula | float) -> Formula:
        return self.apply("div", other)

    def __rsub__(self, other: float) -> Formula:
        return Formula(self.b, self._value(other)) - self

    def __neg__(self) -> Formula:
        return self.apply("neg")

    def clamp(self, low: Formula | float, high: Formula | float) -> Formula:
        """The nearest number in [low, high]."""
        return self.apply("maximum", low).apply("minimum", high)

    def cast(self, dtype: DType) -> Formula:
        """The same number in another dtype."""
        return Formula(self.b, self.b.cast(self.value, dtype))

    def where(self, condition: Formula, otherwise: Formula | float) -> Formula:
        """This where the condition holds, else the other."""
        return Formula(self.b, self.b.where(condition.value, self.value, self._value(otherwise)))

    def reshape(self, *shape: Dim) -> Formula:
        """The same elements under another shape."""
        return Formula(self.b, self.b.reshape(self.value, shape))


@dataclass(frozen=True, slots=True, eq=False)
class RoundedFormula(Formula):
    """A formula in `narrow.compute` whose every step is rounded to `narrow`, where that shows."""

    narrow: DType

    def apply(self, name: str, *others: Formula | float) -> Formula:
        """The primitive, rounded."""
        exact = Formula(self.b, self.value).apply(name, *others)
        if exact.value.dtype is not self.narrow.compute:
            return exact
        rounded = exact.cast(self.narrow).cast(self.narrow.compute)
        return RoundedFormula(self.b, rounded.value, self.narrow)


def size_formula(b: Builder, size: Dim, dtype: DType) -> Formula:
    """A size as a number of a dtype."""
    return Formula(b, b.dim(size, dtype))


def count_up(b: Builder, length: Dim, dtype: DType) -> Formula:
    """0, 1, …, length - 1."""
    return Formula(b, b.iota(length, dtype))


def evaluated(build: Callable[[Builder], tuple[Value, ...]]) -> list[np.ndarray]:
    """The arrays that a graph without inputs gives: what depends on static sizes alone."""
    from .interpret import run_graph  # the interpreter knows all operators

    scratch = Builder()
    outputs = build(scratch)
    graph = Graph("constants", (), outputs, tuple(scratch.nodes), scratch.constants)
    return run_graph(graph, [], Environment())


def precomputed(
    b: Builder, sizes: tuple[Dim, ...], build: Callable[[Builder], tuple[Value, ...]]
) -> tuple[Value, ...]:
    """What `build` makes of nothing but `sizes`: constants where these are static."""
    if not shapes.is_static(sizes):
        return build(b)
    return tuple(b.array(array, "table") for array in evaluated(build))
