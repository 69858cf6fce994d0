"""Random graphs, compiled and compared with their NumPy reference.

`python -m tests.lowering.fuzz --seconds 600 --seed 1` looks for programs whose compiled form differs from the
reference, from itself with another number of threads, or that cannot be compiled; each failure is
reduced to the seed of one small program, and `--only SEED` runs that one again.

A *program* here is a handful of operators over inputs of its own; many share one graph, so that one
run of the C compiler serves them all. Errors are bounded as programs grow: every value knows how
large it can be and how far rounding can have moved it, and operators with steps (comparisons,
argmax, sort) are only given values that are exact.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from castoff.compiler.ir import shapes
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, Value
from castoff.compiler.ir.shapes import Dim, Shape
from castoff.runtime.runner import aot_load

from ..graphs import GraphBuilder, build, reference, size

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
        while _weight(dims) > LARGEST:
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
            return y.dtype is x.dtype and _broadcasts(y.shape, x.shape)

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

    def program(self, seed: int, steps: int = 8) -> None:
        """Adds one program."""
        self.rng = random.Random(seed)
        self.pool = [
            self.leaf(self.shape(), self.rng.choice(_DTYPES)) for _ in range(self.rng.randint(1, 3))
        ]
        for _ in range(self.rng.randint(2, steps)):
            for _attempt in range(30):
                step = self.rng.choice(_STEPS)
                try:
                    made = step(self)
                except Rejected:
                    continue
                made = [x for x in made if _weight(x.shape) <= 4 * LARGEST]
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


def _weight(shape: Sequence[Dim]) -> int:
    total = 1
    for s in shape:
        total *= s if isinstance(s, int) else 8
    return total


def _is_plain(shape: Shape) -> bool:
    """Whether every size is a number or a symbol."""
    return all(isinstance(s, int) or isinstance(shapes.atom_of(s), shapes.Symbol) for s in shape)


def _broadcasts(shape: Shape, target: Shape) -> bool:
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

# ------------------------------------------------------------------------------------------ operators


def unary(m: Maker) -> list[Item]:
    x = m.pick_float()
    name = m.rng.choice(
        ("neg", "abs", "tanh", "sigmoid", "sin", "cos", "relu", "gelu", "exp", "silu")
    )
    if name == "exp":
        if x.bound > 4:
            raise Rejected
        top = float(np.exp(x.bound))
        return [m.rounded(m.b.apply("exp", x.value), top, x.error * top)]
    if name in ("neg", "abs"):
        return [Item(m.b.apply(name, x.value), x.bound, x.error)]
    if name in ("relu", "gelu", "silu"):
        made = m.b.call(f"aten.{name}.default", x.value)
        return [
            m.rounded(made, x.bound, x.error * 1.5)
            if name != "relu"
            else Item(made, x.bound, x.error)
        ]
    return [m.rounded(m.b.apply(name, x.value), 1, x.error)]


def binary(m: Maker) -> list[Item]:
    x = m.pick(lambda item: item.dtype is not DType.BOOL)
    y = m.partner(x)
    name = m.rng.choice(("add", "sub", "mul", "maximum", "minimum", "add", "mul"))
    if name in ("maximum", "minimum") and x.dtype.is_complex:
        raise Rejected
    if m.rng.random() < 0.5:
        x, y = y, x
    made = m.b.apply(name, x.value, y.value)
    if name == "mul":
        return [m.rounded(made, x.bound * y.bound, x.error * y.bound + y.error * x.bound, 4)]
    if name in ("maximum", "minimum"):
        return [Item(made, max(x.bound, y.bound), max(x.error, y.error))]
    return [m.rounded(made, x.bound + y.bound, x.error + y.error)]


def compare(m: Maker) -> list[Item]:
    x = m.pick(
        lambda item: item.is_exact and not item.dtype.is_complex and item.dtype is not DType.BOOL
    )
    y = m.partner(x)
    if not y.is_exact:
        raise Rejected
    return [Item(m.b.apply(m.rng.choice(("lt", "le", "gt", "eq", "ne")), x.value, y.value), 1)]


def select(m: Maker) -> list[Item]:
    condition = m.pick(lambda item: item.dtype is DType.BOOL)
    y = m.input(condition.shape, m.rng.choice((DType.FLOAT32, DType.INT64)))
    z = m.partner(y)
    return [
        Item(
            m.b.where(condition.value, y.value, z.value),
            max(y.bound, z.bound),
            max(y.error, z.error),
        )
    ]


def filled(m: Maker) -> list[Item]:
    x = m.pick_float()
    mask = m.input(tuple(1 if m.rng.random() < 0.3 else s for s in x.shape), DType.BOOL)
    if not m.b.call("aten.masked_fill.Scalar", x.value, mask.value, 0.5).shape == x.shape:
        raise Rejected
    return [
        Item(
            m.b.call("aten.masked_fill.Scalar", x.value, mask.value, 0.5), max(x.bound, 1), x.error
        )
    ]


def convert(m: Maker) -> list[Item]:
    x = m.pick(lambda item: not item.dtype.is_complex)
    to = m.rng.choice(
        (
            DType.FLOAT32,
            DType.FLOAT32,
            DType.FLOAT64,
            DType.FLOAT16,
            DType.BFLOAT16,
            DType.INT64,
            DType.INT32,
        )
    )
    if to.is_integer and not x.is_exact:
        raise Rejected
    if to.is_integer:
        return [Item(m.b.cast(x.value, to), x.bound)]
    if x.bound > 1e4:
        raise Rejected
    made = m.b.cast(x.value, to)
    if x.is_exact and x.bound <= 8:
        return [Item(made, x.bound)]
    return [m.rounded(made, x.bound, x.error)]


def _count(m: Maker, x: Item, axes: Sequence[int]) -> int:
    total = 1
    for axis in axes:
        s = x.shape[axis]
        total *= s if isinstance(s, int) else 65
    return total


def reduce_(m: Maker) -> list[Item]:
    x = m.pick()
    axes, keep = m.axes(x), m.rng.random() < 0.5
    if x.dtype is DType.BOOL:
        return [Item(m.b.reduce(m.rng.choice(("any", "all")), x.value, axes, keep), 1)]
    if x.dtype.is_complex:
        return [
            m.rounded(
                m.b.reduce("sum", x.value, axes, keep),
                x.bound * _count(m, x, axes),
                x.error * _count(m, x, axes),
                8,
            )
        ]
    kind = m.rng.choice(("sum", "sum", "max", "min"))
    made = m.b.reduce(kind, x.value, axes, keep)
    if kind != "sum":
        if _may_be_empty(x, axes):
            raise Rejected
        return [Item(made, x.bound, x.error)]
    count = max(_count(m, x, axes), 1)
    return [m.rounded(made, x.bound * count, x.error * count, 4)]


def _may_be_empty(x: Item, axes: Sequence[int]) -> bool:
    return any(shapes.lower_bound(x.shape[axis]) == 0 for axis in axes)


def argument(m: Maker) -> list[Item]:
    x = m.pick(
        lambda item: (
            item.is_exact
            and not item.dtype.is_complex
            and item.dtype is not DType.BOOL
            and bool(item.shape)
        )
    )
    axis = m.axis(x)
    if _may_be_empty(x, [axis]):
        raise Rejected
    name = m.rng.choice(("argmax", "argmin"))
    return [Item(m.b.call(f"aten.{name}.default", x.value, axis, m.rng.random() < 0.5), 65)]


def normalise(m: Maker) -> list[Item]:
    x = m.pick(
        lambda item: (
            item.dtype in (DType.FLOAT32, DType.FLOAT64, DType.FLOAT16) and len(item.shape) >= 1
        )
    )
    axis = m.axis(x)
    name = m.rng.choice(
        ("softmax", "log_softmax", "layer", "rms", "var", "mean", "residual", "cumsum")
    )
    b = m.b
    if name == "cumsum":
        count = _count(m, x, [axis])
        return [
            m.rounded(
                b.call("aten.cumsum.default", x.value, axis), x.bound * count, x.error * count, 8
            )
        ]
    if name in ("softmax", "log_softmax"):
        made = b.call(f"aten.{name}.int", x.value, axis)
        return [
            m.rounded(
                made,
                1 if name == "softmax" else 2 * x.bound + 5,
                2 * x.error + ROUNDING[x.dtype] * x.bound,
                4,
            )
        ]
    if name == "mean":
        return [m.rounded(b.call("aten.mean.dim", x.value, m.axes(x), True), x.bound, x.error, 16)]
    if name == "var":
        if _may_be_empty(x, [axis]):
            raise Rejected
        made = b.call(
            "aten.var.correction", x.value, [axis], correction=0, keepdim=m.rng.random() < 0.5
        )
        return [m.rounded(made, x.bound**2, 4 * x.error * x.bound, 16)]
    if x.dtype is DType.FLOAT16 or _may_be_empty(x, [axis]):
        raise Rejected
    amplified = 30 * (x.error + ROUNDING[x.dtype] * x.bound)
    if name == "layer":
        last = x.shape[-1]
        if not isinstance(last, int) or last == 0:
            raise Rejected
        weight, bias = m.leaf((last,), x.dtype), m.leaf((last,), x.dtype)
        made = b.call("aten.layer_norm.default", x.value, [last], weight.value, bias.value, 1e-2)
        return [m.rounded(made, 20, 3 * amplified)]
    if name == "rms":
        square = b.call("aten.mean.dim", b.apply("mul", x.value, x.value), [axis], True)
        scale = b.apply("rsqrt", b.call("aten.add.Scalar", square, 1e-2))
        return [
            m.rounded(b.apply("mul", x.value, scale), 10, amplified),
            m.rounded(scale, 10, amplified * 3),
        ]
    total = b.reduce("sum", x.value, [axis], True)
    count = _count(m, x, [axis])
    made = b.apply("tanh", b.apply("sub", x.value, total))
    return [Item(made, 1, (count + 1) * (x.error + 4 * ROUNDING[x.dtype] * x.bound)),
            m.rounded(total, count * x.bound, count * x.error, 4)]  # fmt: skip


def view(m: Maker) -> list[Item]:
    x = m.pick()
    b, rng = m.b, m.rng
    kind = rng.choice(
        ("permute", "reshape", "slice", "flip", "expand", "unsqueeze", "strided", "select", "merge")
    )
    if kind == "unsqueeze":
        return [Item(b.unsqueeze(x.value, rng.randint(0, len(x.shape))), x.bound, x.error)]
    axis = m.axis(x)
    extent = x.shape[axis]
    if kind == "permute":
        order = list(range(len(x.shape)))
        rng.shuffle(order)
        made = b.permute(x.value, order)
    elif kind == "flip":
        made = b.flip(x.value, m.axes(x))
    elif kind == "expand":
        made = b.expand(
            x.value,
            (
                *([m.dim()] if rng.random() < 0.5 else []),
                *(m.dim() if s == 1 else s for s in x.shape),
            ),
        )
    elif kind == "merge":
        if len(x.shape) < 2:
            raise Rejected
        axis = rng.randrange(len(x.shape) - 1)
        made = b.reshape(
            x.value, (*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])
        )
    elif kind == "reshape":
        if isinstance(extent, int) and extent > 3 and extent % 2 == 0:
            half = (2, extent // 2) if rng.random() < 0.5 else (extent // 2, 2)
            made = b.reshape(x.value, (*x.shape[:axis], *half, *x.shape[axis + 1 :]))
        elif len(x.shape) >= 2 and shapes.is_static(x.shape):
            shape = list(x.shape)
            rng.shuffle(shape)
            made = b.reshape(x.value, tuple(shape))
        else:
            made = b.reshape(x.value, (shapes.element_count(x.shape),))
    elif kind == "select":
        if _may_be_empty(x, [axis]):
            raise Rejected
        last = extent - 1
        made = b.select(x.value, axis, rng.choice((0, last)))
    elif kind == "strided":
        count = shapes.element_count(x.shape)
        if not isinstance(count, int) or count < 6:
            raise Rejected
        made = (
            b.call(
                "aten.as_strided.default",
                b.call("aten.contiguous.default", x.value),
                [2, 2],
                [rng.choice((0, 1, 2)), 1],
                1,
            )
            if False
            else b.slice(b.reshape(x.value, (count,)), 0, 1, (count - 1) // 2, 2)
        )
    else:
        low = rng.randint(0, 2)
        if not isinstance(extent, int):
            made = b.call(
                "aten.slice.Tensor",
                x.value,
                axis,
                rng.choice((0, 1, -3)),
                rng.choice((None, 5, -1)),
                rng.choice((1, 2)),
            )
        else:
            step = rng.choice((1, 1, 2, 3))
            if extent <= low:
                raise Rejected
            made = b.slice(
                x.value,
                axis,
                low,
                rng.randint(0 if rng.random() < 0.1 else 1, -(-(extent - low) // step)),
                step,
            )
    return [Item(made, x.bound, x.error)]


def join(m: Maker) -> list[Item]:
    x = m.pick(lambda item: bool(item.shape))
    axis = m.axis(x)
    parts = [x]
    for _ in range(m.rng.randint(1, 3)):

        def fits(y: Item) -> bool:
            return (y.dtype is x.dtype and len(y.shape) == len(x.shape)
                    and all(a == b for i, (a, b) in enumerate(zip(y.shape, x.shape, strict=True)) if i != axis))  # fmt: skip

        if m.rng.random() < 0.6:
            parts.append(m.pick(fits))
        else:
            parts.append(m.leaf((*x.shape[:axis], m.dim(), *x.shape[axis + 1 :]), x.dtype))
    m.rng.shuffle(parts)
    made = m.b.concatenate([p.value for p in parts], axis)
    return [Item(made, max(p.bound for p in parts), max(p.error for p in parts))]


def pad(m: Maker) -> list[Item]:
    x = m.pick(lambda item: bool(item.shape))
    padding = [(m.rng.choice((0, 0, 1, 3, -1)), m.rng.choice((0, 0, 1, 2, -1))) for _ in x.shape]
    if any(
        shapes.is_less(before + s + after, 0) is not False
        for s, (before, after) in zip(x.shape, padding, strict=True)
    ):
        raise Rejected
    value: bool | int = m.rng.choice((0, 1))
    return [
        Item(
            m.b.pad(x.value, padding, bool(value) if x.dtype is DType.BOOL else value),
            max(x.bound, 1),
            x.error,
        )
    ]


def gather(m: Maker) -> list[Item]:
    x = m.pick(lambda item: bool(item.shape))
    axis = m.axis(x)
    extent = x.shape[axis]
    low = shapes.lower_bound(extent)
    if low == 0:
        raise Rejected
    count = m.dim()
    kind = m.rng.choice(("select", "index", "gather"))
    if kind == "gather":
        ids = m.input((*x.shape[:axis], count, *x.shape[axis + 1 :]), DType.INT64, 0, low - 1)
        return [Item(m.b.call("aten.gather.default", x.value, axis, ids.value), x.bound, x.error)]
    if kind == "select":
        ids = m.input((count,), m.rng.choice((DType.INT64, DType.INT32)), 0, low - 1)
        return [
            Item(m.b.call("aten.index_select.default", x.value, axis, ids.value), x.bound, x.error)
        ]
    ids = m.input(m.rng.choice(((count,), (2, 3), ())), DType.INT64, -low, low - 1)
    return [
        Item(m.b.call("aten.index.Tensor", x.value, [None] * axis + [ids.value]), x.bound, x.error)
    ]


def scatter(m: Maker) -> list[Item]:
    x = m.pick(
        lambda item: (
            bool(item.shape)
            and item.dtype is not DType.BOOL
            and not item.dtype.is_complex
            and item.dtype is not DType.UINT8
        )
    )
    axis = m.axis(x)
    low = shapes.lower_bound(x.shape[axis])
    if low == 0:
        raise Rejected
    count = m.dim()
    kind = m.rng.choice(("index_add", "index_put", "slice_scatter", "scatter_add"))
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    repeats = count if isinstance(count, int) else 65
    if kind == "slice_scatter":
        source = m.input((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)
        made = m.b.call("aten.slice_scatter.default", x.value, source.value, axis, low - 1, low)
        return [Item(made, max(x.bound, source.bound), x.error)]
    source = m.input(shape, x.dtype)
    if kind == "scatter_add":
        ids = m.input(shape, DType.INT64, 0, low - 1)
        made = m.b.call("aten.scatter_add.default", x.value, axis, ids.value, source.value)
        return [m.rounded(made, x.bound + repeats * 2, x.error, max(repeats, 1))]
    ids = m.input((count,), DType.INT64, 0, low - 1)
    if kind == "index_add":
        made = m.b.call("aten.index_add.default", x.value, axis, ids.value, source.value)
        return [m.rounded(made, x.bound + repeats * 2, x.error, max(repeats, 1))]
    made = m.b.call("aten.index_put.default", x.value, [None] * axis + [ids.value], source.value)
    return [Item(made, max(x.bound, 2), x.error)]


def product(m: Maker) -> list[Item]:
    x = m.pick(lambda item: item.dtype in ROUNDING and len(item.shape) >= 2)
    b, rng = m.b, m.rng
    depth = x.shape[-1]
    columns = m.dim()
    batch: Shape = x.shape[:-2] if rng.random() < 0.3 else ()
    if batch and rng.random() < 0.4:
        batch = tuple(1 for _ in batch)
    if not batch and rng.random() < 0.2 and len(x.shape) == 2:
        batch = (rng.choice((2, 3)),)
    if rng.random() < 0.5:
        right = b.transpose((y := m.leaf((*batch, columns, depth), x.dtype)).value, -1, -2)
    else:
        right = (y := m.leaf((*batch, depth, columns), x.dtype)).value
    count = depth if isinstance(depth, int) else 65
    made = (
        b.matmul(x.value, right)
        if rng.random() < 0.8 or columns == 0
        else b.transpose(b.matmul(b.transpose(right, -1, -2), b.transpose(x.value, -1, -2)), -1, -2)
    )
    result = m.rounded(
        made, max(count, 1) * x.bound * y.bound, max(count, 1) * x.error * y.bound, 8
    )
    m.pool.append(result)
    return [result, *(epilogue(m, result) if rng.random() < 0.7 else [])]


def epilogue(m: Maker, x: Item) -> list[Item]:
    """Bias, activation, residual after a product or convolution."""
    made = x
    for _ in range(m.rng.randint(1, 3)):
        kind = m.rng.choice(("column", "row", "residual", "gelu", "relu", "scale"))
        if not made.dtype.is_float:
            return [made]
        if kind in ("gelu", "relu"):
            made = m.rounded(
                m.b.call(f"aten.{kind}.default", made.value), made.bound, made.error * 1.2
            )
            continue
        shape = (
            made.shape
            if kind == "residual"
            else made.shape[-1:]
            if kind == "column"
            else (*made.shape[-2:-1], 1)
        )
        y = m.leaf(shape if kind != "scale" else (), made.dtype)
        if kind == "scale":
            made = m.rounded(m.b.apply("mul", made.value, y.value), made.bound * 2, made.error * 2)
        else:
            made = m.rounded(m.b.apply("add", made.value, y.value), made.bound + 2, made.error)
    return [made]


def convolve(m: Maker) -> list[Item]:
    b, rng = m.b, m.rng
    n = rng.choice((1, 2, 2, 3))
    groups = rng.choice((1, 1, 1, 2, 3))
    inputs, outputs = groups * rng.choice((1, 2, 3, 8)), groups * rng.choice((1, 2, 5, 16))
    kernel = [rng.choice((1, 2, 3)) for _ in range(n)]
    spatial = [rng.choice((3, 4, 5, 8, 9)) for _ in range(n)]
    batch: Dim = rng.choice((1, 2)) if not m.symbols or rng.random() < 0.6 else m.symbols[0]
    dtype = rng.choice((DType.FLOAT32, DType.FLOAT32, DType.FLOAT32, DType.FLOAT64, DType.FLOAT16))
    x = m.input((batch, inputs, *spatial), dtype)
    for _ in range(rng.randint(0, 1)):
        x = Item(b.apply("neg", x.value), x.bound)
    weight = m.leaf((outputs, inputs // groups, *kernel), dtype)
    bias = m.leaf((outputs,), dtype) if rng.random() < 0.5 else None
    stride = [rng.choice((1, 1, 2)) for _ in range(n)]
    padding = [rng.choice((0, 1)) for _ in range(n)]
    dilation = [
        rng.choice((1, 1, 1, 2)) if k + 1 < s else 1 for k, s in zip(kernel, spatial, strict=True)
    ]
    if any(
        s + 2 * p < d * (k - 1) + 1
        for s, p, d, k in zip(spatial, padding, dilation, kernel, strict=True)
    ):
        raise Rejected
    made = b.call(
        "aten.convolution.default",
        x.value,
        weight.value,
        bias and bias.value,
        stride,
        padding,
        dilation,
        False,
        [0] * n,
        groups,
    )
    count = inputs // groups * int(np.prod(kernel))
    if rng.random() < 0.4:
        scale = m.leaf((outputs, *(1 for _ in range(n))), dtype)
        made = b.apply("mul", made, scale.value)
        count *= 2
    result = m.rounded(made, count * 4 + 2, 0, 8)
    m.pool.append(result)
    return [result, *(epilogue(m, result) if rng.random() < 0.6 else [])]


def attend(m: Maker) -> list[Item]:
    b, rng = m.b, m.rng
    batch, heads = rng.choice((1, 2)), rng.choice((1, 2, 4))
    shared = rng.choice((1, 2)) if heads % 2 == 0 else 1
    rows, columns = m.dim(), m.dim()
    width, out = rng.choice((1, 3, 8, 16, 20)), rng.choice((1, 8, 16, 17))
    dtype = rng.choice((DType.FLOAT32, DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16))
    if rng.random() < 0.5:  # as projections leave them

        def operand(h: int, length: Dim, w: int) -> Value:
            return b.permute(m.input((batch, length, h, w), dtype).value, (0, 2, 1, 3))
    else:

        def operand(h: int, length: Dim, w: int) -> Value:
            return m.input((batch, h, length, w), dtype).value

    q = operand(heads, rows, width)
    k, v = operand(heads // shared, columns, width), operand(heads // shared, columns, out)
    mask: Value | None = None
    causal = rng.random() < 0.3
    if not causal and rng.random() < 0.5:
        shape = rng.choice(((rows, columns), (batch, 1, 1, columns), (batch, heads, rows, columns)))
        mask = m.input(shape, rng.choice((DType.BOOL, dtype))).value
    made = b.call(
        "aten.scaled_dot_product_attention.default",
        q,
        k,
        v,
        mask,
        0.0,
        causal,
        enable_gqa=shared > 1,
    )
    rounding = ROUNDING[dtype]
    return [Item(made, 2, 200 * rounding if dtype is not DType.BFLOAT16 else 16 * rounding)]


def pool(m: Maker) -> list[Item]:
    x = m.pick(lambda item: item.dtype in (DType.FLOAT32, DType.FLOAT64) and 3 <= len(item.shape) <= 4
               and all(isinstance(s, int) and s >= 2 for s in item.shape[-2:]))  # fmt: skip
    if m.rng.random() < 0.5:
        made = m.b.call(
            "aten.max_pool2d.default",
            x.value,
            [2, 2],
            [m.rng.choice((1, 2))] * 2,
            [m.rng.choice((0, 1))] * 2,
        )
    else:
        made = m.b.call(
            "aten.avg_pool2d.default",
            x.value,
            [2, 2],
            [m.rng.choice((1, 2))] * 2,
            [m.rng.choice((0, 1))] * 2,
        )
    return [m.rounded(made, x.bound, x.error)]


def order(m: Maker) -> list[Item]:
    x = m.pick(
        lambda item: (
            item.is_exact
            and not item.dtype.is_complex
            and item.dtype is not DType.BOOL
            and bool(item.shape)
        )
    )
    values, places = m.b.call(
        "aten.sort.stable", x.value, stable=True, dim=m.axis(x), descending=m.rng.random() < 0.5
    )
    return [Item(values, x.bound), Item(places, 65)]


def loop(m: Maker) -> list[Item]:
    """A branch, a counted while, or a scan."""
    from castoff.compiler.ops.control_flow import Branch, ScanLoop, WhileLoop

    x = m.pick(
        lambda item: item.dtype is DType.FLOAT32 and item.bound < 50 and _is_plain(item.shape)
    )
    kind = m.rng.choice(("branch", "while", "scan"))
    if kind == "branch":
        condition = m.input((), DType.BOOL)
        graphs = []
        for name in ("tanh", "neg"):
            inner = GraphBuilder()
            y = inner.input("y", *x.shape)
            z = inner.apply(name, y)
            total = inner.reduce("sum", z, [len(x.shape) - 1], True) if x.shape else z
            graphs.append(inner.graph(inner.apply("sub", z, total), y))
        made = m.b.emit(Branch(*graphs), condition.value, x.value)
        count = _count(m, x, [len(x.shape) - 1]) if x.shape else 1
        return [
            m.rounded(made[0], x.bound * (count + 1), (count + 1) * (x.error + 1e-6)),
            Item(made[1], x.bound, x.error),
        ]
    if kind == "while":
        limit = m.input((), DType.INT64, 0, 5)
        condition_, body = GraphBuilder(), GraphBuilder()
        args = [(g.input("step", dtype=DType.INT64), g.input("y", *x.shape), g.input("z", *x.shape), g.input("limit", dtype=DType.INT64))
                for g in (condition_, body)]  # fmt: skip
        test = condition_.graph(condition_.apply("lt", args[0][0], args[0][3]))
        step, y, z, _ = args[1]
        done = body.graph(
            body.call("aten.add.Scalar", step, 1), z, body.apply("tanh", body.apply("add", y, z))
        )
        start = m.b.full((), 0, DType.INT64)
        made = m.b.emit(
            WhileLoop(test, done, 3), start, x.value, m.b.apply("neg", x.value), limit.value
        )
        return [
            Item(made[0], 6),
            Item(made[1], max(x.bound, 1), 80 * (x.error + 1e-6)),
            Item(made[2], max(x.bound, 1), 80 * (x.error + 1e-6)),
        ]
    if not x.shape:
        raise Rejected
    inner = GraphBuilder()
    carried, piece = inner.input("carried", *x.shape[1:]), inner.input("piece", *x.shape[1:])
    total = inner.apply("tanh", inner.apply("add", carried, piece))
    graph = inner.graph(total, inner.apply("mul", total, piece), total)
    first = m.leaf(x.shape[1:], DType.FLOAT32)
    made = m.b.emit(ScanLoop(graph, 1, 1, x.shape[0], m.rng.random() < 0.5), first.value, x.value)
    error = 65 * (x.error + 1e-6)
    return [
        Item(made[0], 2, error),
        Item(made[1], x.bound, error * max(x.bound, 1)),
        Item(made[2], 1, error),
    ]


_STEPS: list[Callable[[Maker], list[Item]]] = [
    *[unary] * 4, *[binary] * 8, *[compare] * 2, select, filled, *[convert] * 2, *[reduce_] * 5, argument, *[normalise] * 5,
    *[view] * 9, *[join] * 3, *[pad] * 2, *[gather] * 2, *[scatter] * 2, *[product] * 3, convolve, attend, pool, order, loop,
]  # fmt: skip


# ------------------------------------------------------------------------------------------ checks

RUNS = ((7, 5), (0, 1), (1, 1), (33, 64), (2, 17))
"""Values of the two symbols."""


def make(seeds: Sequence[int], is_symbolic: bool) -> Maker:
    """One graph with the programs of these seeds."""
    maker = Maker(is_symbolic)
    for seed in seeds:
        maker.program(seed)
    return maker


def check(maker: Maker, folder: Path, **options: object) -> list[tuple[int, str]]:
    """(seed, what is wrong) of every output that is not what the reference gives."""
    graph = maker.graph()
    path = build(graph, folder, **options)
    problems: list[tuple[int, str]] = []
    for number, values in enumerate(RUNS if maker.symbols else RUNS[:1]):
        arrays = maker.arrays(number, values)
        want = reference(graph, *arrays)
        got = aot_load(str(path), threads=1)(*arrays)
        again = aot_load(str(path), threads=3)(*arrays)
        for seed, item, x, y, z in zip(maker.owner, maker.outputs, got, again, want, strict=True):
            where = f"at {values}: {item.value.name} {item.value.type}"
            if x.tobytes() != y.tobytes():
                problems.append((seed, f"{where}: three threads give other bits than one"))
            if (said := difference(x, z, item)) is not None:
                problems.append((seed, f"{where}: {said}"))
    return problems


def difference(got: np.ndarray, want: np.ndarray, item: Item) -> str | None:
    """What is wrong with an output, if anything is."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{got.shape} rather than {want.dtype}{want.shape}"
    if item.dtype not in ROUNDING:
        return (
            None
            if np.array_equal(got, want)
            else f"{int((got != want).sum())} of {got.size} elements differ"
        )
    wide = np.complex128 if item.dtype.is_complex else np.float64
    a, b = got.astype(wide), want.astype(wide)
    allowed = 4 * item.error + ROUNDING[item.dtype] * (1 + np.abs(b))
    with np.errstate(all="ignore"):
        wrong = ~((np.abs(a - b) <= allowed) | (np.isnan(a) & np.isnan(b)) | (a == b))
    if not wrong.any():
        return None
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{int(wrong.sum())} of {got.size} elements differ, {place} is {got[place]}, not {want[place]}"


def investigate(seeds: Sequence[int], is_symbolic: bool, **options: object) -> list[str]:
    """What is wrong with these programs, each alone where it is wrong alone too."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            problems = check(make(seeds, is_symbolic), Path(folder), **options)
        except Exception as error:
            if len(seeds) == 1:
                said = "".join(traceback.format_exception(error))[-1500:]
                return [f"seed {seeds[0]} symbolic={is_symbolic}: {said}"]
            half = len(seeds) // 2
            found = [
                text
                for part in (seeds[:half], seeds[half:])
                for text in investigate(part, is_symbolic, **options)
            ]
            return found or [
                f"seeds {seeds} fail together only: {type(error).__name__}: {str(error)[:500]}"
            ]
    return [f"seed {seed} symbolic={is_symbolic}: {said}" for seed, said in problems]


def main() -> int:
    """The command: nothing found is exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*", help="seeds of single programs")
    parser.add_argument("--symbolic", action="store_true", help="with --only: sizes are symbols")
    parser.add_argument("--programs", type=int, default=25, help="programs in one artefact")
    parser.add_argument("--level", default="x86-64-v3", help="CPU level")
    parser.add_argument("--show", action="store_true", help="with --only: print the graph")
    arguments = parser.parse_args()
    if arguments.only:
        from castoff.compiler.ir.text import graph_text

        for seed in arguments.only:
            if arguments.show:
                print(graph_text(make([seed], arguments.symbolic).graph()))
            print(
                "\n".join(investigate([seed], arguments.symbolic, target_cpu=arguments.level))
                or "fine"
            )
        return 0
    end = time.monotonic() + arguments.seconds
    number, count, failures = arguments.seed * 1_000_000, 0, 0
    while time.monotonic() < end:
        rng = random.Random(number)
        seeds = range(number, number + arguments.programs)
        for text in investigate(seeds, rng.random() < 0.5, target_cpu=arguments.level):
            failures += 1
            print(text, flush=True)
        number += arguments.programs
        count += arguments.programs
        print(f"-- {count} programs, {failures} failures", file=sys.stderr, flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
