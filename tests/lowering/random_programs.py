"""Random programs: values whose size and rounding error are known as they grow."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from castoff.compiler.ir import shapes
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, Value
from castoff.compiler.ir.shapes import Dim, Shape

from ..graphs import GraphBuilder, size

SIZES = (1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 32, 33)
LARGEST = 6000
"""Elements a value has at most, where symbols are small."""
ROUNDING = {DType.FLOAT64: 2e-15, DType.FLOAT32: 1e-6, DType.FLOAT16: 2e-3, DType.BFLOAT16: 1.6e-2,
            DType.COMPLEX64: 2e-6, DType.COMPLEX128: 4e-15}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """A value of a program: how large its elements can be, and how far off."""

    value: Value
    bound: float
    error: float = 0.0

    @property
    def is_exact(self) -> bool:
        return self.error == 0.0

    @property
    def shape(self) -> Shape:
        return self.value.shape

    @property
    def dtype(self) -> DType:
        return self.value.dtype


@dataclass(frozen=True)
class Given:
    """An input and what it may hold."""

    value: Value
    low: float
    high: float


class Rejected(Exception):
    """An operator that the values at hand do not suit."""


class Maker:
    """Grows programs in one builder."""

    def __init__(self, is_symbolic: bool) -> None:
        self.b = GraphBuilder()
        self.rng = random.Random(0)
        self.given: list[Given] = []
        self.outputs: list[Item] = []
        self.owner: list[int] = []
        self.mutations: list[tuple[Value, Value]] = []
        self.symbols: list[Dim] = []
        if is_symbolic:
            self.symbols = [size("s0", 0, 64), size("s1", 1, 64)]
            for symbol in self.symbols:  # bound whether a program uses them or not
                self.input((symbol,), DType.FLOAT32)
        self.pool: list[Item] = []

    # ---- leaves

    def dim(self) -> Dim:
        if self.symbols and self.rng.random() < 0.3:
            symbol = self.rng.choice(self.symbols)
            return symbol + 1 if self.rng.random() < 0.15 else symbol
        if self.rng.random() < 0.01:
            return 0
        return self.rng.choice(SIZES)

    def shape(self, rank: int | None = None) -> Shape:
        rank = self.rng.choice((0, 1, 1, 2, 2, 2, 3, 3, 4)) if rank is None else rank
        dims = [self.dim() for _ in range(rank)]
        while weight_of(dims) > LARGEST:
            dims[self.rng.randrange(rank)] = self.rng.choice((1, 2, 3))
        return tuple(dims)

    def input(self, shape: Shape, dtype: DType, low: float = -2, high: float = 2) -> Item:
        value = self.b.input("x", *shape, dtype=dtype)
        self.given.append(Given(value, low, high))
        return Item(value, max(abs(low), abs(high)))

    def leaf(self, shape: Shape, dtype: DType) -> Item:
        """An input, or sometimes a constant."""
        if shapes.is_static(shape) and self.rng.random() < 0.3:
            array = sample(
                np.random.default_rng(self.rng.randrange(1 << 30)),
                tuple(int(str(s)) for s in shape),
                dtype,
                -2,
                2,
            )
            return Item(self.b.array(array, "c"), 2)
        return self.input(shape, dtype)

    def pick(self, test: Callable[[Item], bool] = lambda item: True) -> Item:
        found = [item for item in self.pool if test(item)]
        if not found:
            raise Rejected
        return self.rng.choice(found[-4:] if self.rng.random() < 0.6 else found)

    def pick_float(self, rank: int = 0) -> Item:
        return self.pick(lambda x: x.dtype.is_float and len(x.shape) >= rank)

    def partner(self, x: Item) -> Item:
        """Something that broadcasts with `x`."""

        def fits(y: Item) -> bool:
            return y.dtype is x.dtype and broadcasts(y.shape, x.shape)

        if self.rng.random() < 0.6:
            try:
                return self.pick(fits)
            except Rejected:
                pass
        shape = tuple(1 if self.rng.random() < 0.25 else s for s in x.shape)
        return self.leaf(shape[self.rng.choice((0, 0, 0, 1)) if shape else 0 :], x.dtype)

    def axis(self, x: Item) -> int:
        if not x.shape:
            raise Rejected
        return self.rng.randrange(len(x.shape))

    def axes(self, x: Item) -> list[int]:
        return (
            sorted(self.rng.sample(range(len(x.shape)), self.rng.randint(1, len(x.shape))))
            if x.shape
            else []
        )

    # ---- growth

    def rounded(self, value: Value, bound: float, error: float, factor: float = 1.0) -> Item:
        """A value computed with one more rounding; values that got large are brought back."""
        if value.dtype in ROUNDING:
            error += factor * ROUNDING[value.dtype] * max(bound, 1e-3)
        if value.dtype.is_float and bound > 50:
            value = self.b.apply("tanh", value)
            return Item(value, 1.0, error + ROUNDING[value.dtype])
        if value.dtype.is_integer and bound > 100:
            return (
                Item(self.b.cast(value, DType.INT64), bound) if bound < 1e12 else self._small(value)
            )
        if value.dtype.is_complex and bound > 1000:
            raise Rejected
        return Item(value, bound, error)

    def _small(self, value: Value) -> Item:
        b = self.b
        return Item(b.call("aten.remainder.Scalar", value, 7), 7)

    def program(self, seed: int, operators: Sequence[Operator], steps: int = 8) -> None:
        """Adds one program."""
        self.rng = random.Random(seed)
        self.pool = [
            self.leaf(self.shape(), self.rng.choice(_DTYPES)) for _ in range(self.rng.randint(1, 3))
        ]
        for _ in range(self.rng.randint(2, steps)):
            for _attempt in range(30):
                step = self.rng.choice(operators)
                try:
                    made = step(self)
                except Rejected:
                    continue
                made = [x for x in made if weight_of(x.shape) <= 4 * LARGEST]
                if made:
                    self.pool += made
                    break
        for item in self.rng.sample(self.pool, min(len(self.pool), self.rng.randint(1, 3))):
            self._output(item, seed)
        self._output(self.pool[-1], seed)
        if self.rng.random() < 0.15:
            with contextlib.suppress(Rejected):
                self._mutate()

    def _output(self, item: Item, seed: int) -> None:
        self.outputs.append(item)
        self.owner.append(seed)

    def _mutate(self) -> None:
        item = self.pick(
            lambda x: (
                shapes.is_static(x.shape)
                and x.value not in self.b.constants
                and x.value not in self.b.buffers
            )
        )
        shape = tuple(int(str(s)) for s in item.shape)
        state = self.b.buffer("state", np.zeros(shape, item.dtype.numpy))
        self.mutations.append((state, item.value))

    def graph(self) -> Graph:
        return self.b.graph(*(item.value for item in self.outputs), mutations=self.mutations)

    def arrays(self, seed: int, values: Sequence[int]) -> list[np.ndarray]:
        """Inputs for these values of the symbols."""
        rng = np.random.default_rng(seed)
        known = {str(symbol): value for symbol, value in zip(self.symbols, values, strict=False)}
        return [
            sample(
                rng,
                tuple(shapes.evaluate(s, known) for s in g.value.shape),
                g.value.dtype,
                g.low,
                g.high,
            )
            for g in self.given
        ]


def weight_of(shape: Sequence[Dim]) -> int:
    total = 1
    for s in shape:
        total *= s if isinstance(s, int) else 8
    return total


def is_plain(shape: Shape) -> bool:
    """Whether every size is a number or a symbol."""
    return all(isinstance(s, int) or isinstance(shapes.atom_of(s), shapes.Symbol) for s in shape)


def broadcasts(shape: Shape, target: Shape) -> bool:
    if len(shape) > len(target):
        return False
    return all(a == 1 or a == b for a, b in zip(reversed(shape), reversed(target), strict=False))


def sample(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DType, low: float, high: float
) -> np.ndarray:
    """Multiples of 1/8, so that every float type holds them exactly."""
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.is_integer:
        return rng.integers(
            max(int(low), 0) if not dtype.is_signed else int(low), int(high) + 1, shape
        ).astype(dtype.numpy)
    numbers = rng.integers(int(low * 8), int(high * 8) + 1, shape) / 8
    if dtype.is_complex:
        numbers = numbers + 1j * rng.integers(-8, 9, shape) / 8
    return numbers.astype(dtype.numpy)


_DTYPES = [DType.FLOAT32] * 10 + [DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16, DType.INT64, DType.INT64, DType.INT32,
           DType.UINT8, DType.BOOL, DType.COMPLEX64]  # fmt: skip

Operator = Callable[[Maker], list[Item]]
"""Makes new values from those of a program; raises `Rejected` where none suits."""
