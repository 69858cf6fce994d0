"""Random graphs: views, pointwise operators, reductions, products, joins, in any order on top of one another."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from castoff.compiler.ir import shapes
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, Value
from castoff.compiler.ir.shapes import Dim

from ..graphs import GraphBuilder, size

SYMBOL = size("n", 1, 64)
SIZES: tuple[Dim, ...] = (1, 2, 3, 5, 8, 17)
LARGEST = 4096
"""Elements of a value at most, with 8 for the symbol."""


class RandomGraph:
    """Grows a graph of float32 values, all of magnitude around 1, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.builder = GraphBuilder()
        self.sizes = SIZES + ((SYMBOL, SYMBOL) if seed % 2 else ())
        self.values: list[Value] = []

    def make(self, nodes: int, results: int) -> Graph:
        """A graph with about as many operators, and results taken from the last of them."""
        for number in range(3):
            rank = self.random.randint(1, 4)
            shape = tuple(self.random.choice(self.sizes) for _ in range(rank))
            if _count(shape) <= LARGEST:
                self.values.append(self.builder.input(f"x{number}", *shape))
        if not self.values:
            self.values.append(self.builder.input("x", SYMBOL, 3))
        steps = (
            self.unary, self.binary, self.binary, self.reduce, self.softmax, self.permute,
            self.slice, self.flip, self.merge, self.split, self.unsqueeze, self.join, self.pad,
            self.product, self.cumulate, self.select_rows, self.choose, self.round_trip,
        )  # fmt: skip
        while len(self.builder.nodes) < nodes:
            step: Callable[[], Value | None] = self.random.choice(steps)
            value = step()
            if value is not None and value.rank <= 5 and _count(value.shape) <= LARGEST:
                self.values.append(value)
        chosen = self.random.sample(self.values[-8:], min(results, len(self.values[-8:])))
        return self.builder.graph(*chosen)

    def any(self) -> Value:
        """A value, rather a late one."""
        return self.random.choice(self.values[-6:])

    def with_rank(self, least: int) -> Value | None:
        """A value with that many dimensions, if there is one."""
        found = [value for value in self.values[-8:] if value.rank >= least]
        return self.random.choice(found) if found else None

    def axis(self, value: Value) -> int:
        """One of the dimensions of a value."""
        return self.random.randrange(value.rank)

    def unary(self) -> Value:
        """A function that keeps magnitudes."""
        return self.builder.apply(self.random.choice(["tanh", "neg", "abs", "sin"]), self.any())

    def binary(self) -> Value | None:
        """Two values that broadcast, or a value with a part of itself."""
        x, y = self.any(), self.random.choice(self.values)
        try:
            shapes.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            y = self.builder.reduce("max", x, [self.axis(x)], True) if x.rank else x
        if not _is_safe(x.shape, y.shape):
            return None
        name = self.random.choice(["add", "sub", "mul", "maximum", "minimum"])
        return self.builder.apply("tanh", self.builder.apply(name, x, y))

    def reduce(self) -> Value | None:
        """Over some dimensions."""
        x = self.with_rank(1)
        if x is None or not all(shapes.lower_bound(s) > 0 for s in x.shape):
            return None
        axes = self.random.sample(range(x.rank), self.random.randint(1, x.rank))
        kind = self.random.choice(["max", "min", "sum"])
        y = self.builder.reduce(kind, x, axes, self.random.random() < 0.5)
        return self.builder.apply("tanh", y) if kind == "sum" else y

    def softmax(self) -> Value | None:
        """Along any dimension."""
        x = self.with_rank(1)
        return None if x is None else self.builder.call("aten.softmax.int", x, self.axis(x))

    def permute(self) -> Value:
        """Dimensions in any order."""
        x = self.any()
        return self.builder.permute(x, self.random.sample(range(x.rank), x.rank))

    def slice(self) -> Value | None:
        """Every so-many-th element of a part."""
        x = self.with_rank(1)
        if x is None:
            return None
        axis = self.axis(x)
        length = x.shape[axis]
        if not isinstance(length, int):
            return None
        start = self.random.randrange(length)
        step = self.random.randint(1, 3)
        count = self.random.randint(1, 1 + (length - 1 - start) // step)
        return self.builder.slice(x, axis, start, count, step)

    def flip(self) -> Value | None:
        """Backwards."""
        x = self.with_rank(1)
        return None if x is None else self.builder.flip(x, [self.axis(x)])

    def merge(self) -> Value | None:
        """Two neighbouring dimensions as one."""
        x = self.with_rank(2)
        if x is None:
            return None
        axis = self.random.randrange(x.rank - 1)
        merged = x.shape[axis] * x.shape[axis + 1]
        return self.builder.reshape(x, (*x.shape[:axis], merged, *x.shape[axis + 2 :]))

    def split(self) -> Value | None:
        """One dimension as two."""
        x = self.with_rank(1)
        if x is None:
            return None
        axis = self.axis(x)
        length = x.shape[axis]
        if not isinstance(length, int):
            return None
        inner = self.random.choice([n for n in range(1, length + 1) if length % n == 0])
        parts = (length // inner, inner)
        return self.builder.reshape(x, (*x.shape[:axis], *parts, *x.shape[axis + 1 :]))

    def unsqueeze(self) -> Value:
        """A new dimension, stretched now and then."""
        x = self.any()
        axis = self.random.randint(0, x.rank)
        y = self.builder.unsqueeze(x, axis)
        if self.random.random() < 0.5:
            return self.builder.expand(y, (*x.shape[:axis], 3, *x.shape[axis:]))
        return y

    def join(self) -> Value | None:
        """A value beside something made of it."""
        x = self.with_rank(1)
        if x is None:
            return None
        other = self.builder.apply(self.random.choice(["neg", "tanh"]), x)
        parts = self.random.sample([x, other, self.builder.flip(x, [0])], 2)
        return self.builder.concatenate(parts, self.axis(x))

    def pad(self) -> Value | None:
        """More or less at the borders."""
        x = self.with_rank(1)
        if x is None:
            return None
        padding = [(0, 0)] * x.rank
        axis = self.axis(x)
        least = shapes.lower_bound(x.shape[axis])
        padding[axis] = (
            self.random.randint(0, 2),
            self.random.randint(1 - least if least else 0, 2),
        )
        return self.builder.pad(x, padding, 0.5)

    def product(self) -> Value | None:
        """A matrix with its own transpose, or with a weight."""
        x = self.with_rank(2)
        if x is None:
            return None
        y = self.builder.transpose(x, -1, -2)
        depth = x.shape[-1]
        if isinstance(depth, int) and self.random.random() < 0.5:
            columns = self.random.choice([1, 4, 19])
            y = self.builder.array(_values(depth * columns).reshape(depth, columns), "weight")
        z = self.builder.matmul(x, y)
        return self.builder.apply("tanh", self.builder.apply("mul", z, self.constant(0.1)))

    def constant(self, number: float) -> Value:
        """A number as a value."""
        return self.builder.full((), number, DType.FLOAT32)

    def cumulate(self) -> Value | None:
        """Running sums."""
        x = self.with_rank(1)
        if x is None:
            return None
        return self.builder.apply("tanh", self.builder.call("aten.cumsum.default", x, self.axis(x)))

    def select_rows(self) -> Value | None:
        """Elements by computed positions."""
        x = self.with_rank(1)
        if x is None or not isinstance(x.shape[0], int):
            return None
        count = self.random.randint(1, 6)
        positions = np.array([self.random.randrange(x.shape[0]) for _ in range(count)])
        chosen: Value = self.builder.call(
            "aten.index_select.default", x, 0, self.builder.array(positions, "positions")
        )
        return chosen

    def choose(self) -> Value:
        """One of two by a comparison."""
        x = self.any()
        condition = self.builder.apply("gt", x, self.constant(0.1))
        return self.builder.where(condition, x, self.builder.apply("neg", x))

    def round_trip(self) -> Value:
        """Through another dtype and back."""
        dtype = self.random.choice([DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16, DType.INT32])
        return self.builder.cast(self.builder.cast(self.any(), dtype), DType.FLOAT32)


def _count(shape: tuple[Dim, ...]) -> int:
    return shapes.evaluate(shapes.element_count(shape), {"n": 8})


def _is_safe(left: tuple[Dim, ...], right: tuple[Dim, ...]) -> bool:
    """Whether the shapes broadcast for every value of the symbol."""
    pairs = zip(reversed(left), reversed(right), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


def _values(count: int) -> np.ndarray:
    return np.sin(np.arange(count, dtype=np.float32) * 1.7 + 0.3).astype(np.float32)


def random_graph(seed: int, nodes: int = 24) -> Graph:
    """The graph of a seed."""
    return RandomGraph(seed).make(nodes, 3)


def inputs_of(graph: Graph, n: int) -> list[np.ndarray]:
    """Arrays for a graph whose symbol is `n`."""
    arrays = []
    for number, value in enumerate(graph.inputs):
        shape = tuple(shapes.evaluate(dim, {"n": n}) for dim in value.shape)
        arrays.append(np.roll(_values(int(np.prod(shape))), number).reshape(shape))
    return arrays
