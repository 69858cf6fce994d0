"""Random numbers from a counter-based generator: Philox 4x32-10 (Salmon et al., SC 2011).

Element `i` of the n-th random operator of a program is a function of (seed, n, i) alone: equal on
every run, in every round of a loop, on any number of threads and on every target. The seed is an
option of the compilation. The numbers are not PyTorch's, whose generator has a state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim, Shape
from ..kernels import Definition
from ..records import dataclass
from .activation import number
from .base import Builder, Environment, Op, Operand, target

Ignored = object


@dataclass(frozen=True, slots=True)
class RandomBits(Op):
    """64 random bits for each element, as uint64."""

    shape: Shape
    stream: int
    seed: int = 0

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.UINT64, self.shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        shape = env.shape(self.shape)
        index = np.arange(math.prod(shape), dtype=np.uint64)
        return (philox_words(self.seed, self.stream, index)[0].reshape(shape),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        def body(index: kernels.Index) -> kernels.Scalar:
            position = kernels.index_value(shapes.flatten_index(index, self.shape))
            seed, stream = (kernels.literal(x, DType.UINT64) for x in (self.seed, self.stream))
            return kernels.apply("random", seed, stream, kernels.cast(position, DType.UINT64))

        return (kernels.Pointwise(body),)


def philox_words(seed: int, stream: int, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 128 random bits of each position (uint64) of a stream, as two words."""
    low, high = np.uint64(0xFFFFFFFF), np.uint64(32)
    words = [index & low, index >> high, np.full_like(index, stream & 0xFFFFFFFF),
             np.full_like(index, stream >> 32)]  # fmt: skip
    keys = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        first, second = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        words = [
            (second >> high) ^ words[1] ^ np.uint64(keys[0]),
            second & low,
            (first >> high) ^ words[3] ^ np.uint64(keys[1]),
            first & low,
        ]
        keys = [(keys[0] + 0x9E3779B9) & 0xFFFFFFFF, (keys[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return words[1] << high | words[0], words[3] << high | words[2]


def random_bits(b: Builder, shape: Sequence[Dim]) -> Value:
    """Bits of a stream that no other operator of this program uses."""
    return b.emit1(RandomBits(tuple(shape), b.random.next(), b.random.seed))


def uniform(b: Builder, shape: Sequence[Dim], dtype: DType) -> Value:
    """Uniform on [0, 1), with as many random bits as the type computed in has."""
    digits = 53 if dtype is DType.FLOAT64 else 24
    shift = b.full((), 64 - digits, DType.UINT64)
    bits = b.apply("bitwise_right_shift", random_bits(b, shape), shift)
    scale = b.full((), 2.0**-digits, dtype)
    return b.apply("mul", b.cast(bits, dtype), scale)


def standard_normal(b: Builder, shape: Sequence[Dim], dtype: DType) -> Value:
    """Standard normal, by Box and Muller."""
    radius, turn = uniform(b, shape, DType.FLOAT64), uniform(b, shape, DType.FLOAT64)
    inside = b.apply("sub", number(b, 1, radius), radius)  # (0, 1]
    length = b.apply("sqrt", b.apply("mul", b.apply("log", inside), number(b, -2, radius)))
    wave = b.apply("cos", b.apply("mul", turn, number(b, 2 * math.pi, turn)))
    return b.cast(b.apply("mul", length, wave), dtype)


def affine_of(b: Builder, x: Value, factor: Operand, offset: Operand, dtype: DType) -> Value:
    scaled = b.apply("mul", x, b.tensor(factor, x.dtype))
    return b.cast(b.apply("add", scaled, b.tensor(offset, x.dtype)), dtype)


def _drawn(b: Builder, kind: str, shape: Sequence[Dim], dtype: DType) -> Value:
    if dtype.is_complex:  # variance 1 in all: half of it in each part
        parts = (_drawn(b, kind, shape, dtype.real) for _ in range(2))
        value = b.apply("complex", *parts)
        return value if kind == "rand" else b.apply("mul", value, b.full((), math.sqrt(0.5), dtype))
    draw = uniform if kind == "rand" else standard_normal
    return b.cast(draw(b, shape, dtype.compute), dtype)


def _register_drawn(kind: str) -> None:
    @target(f"aten.{kind}.default", f"aten.{kind}.generator")
    def make(
        b: Builder, size: Sequence[Dim], generator: Ignored = None, dtype: DType | None = None,
        layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
    ) -> Value:  # fmt: skip
        return _drawn(b, kind, size, dtype or DType.FLOAT32)

    @target(f"aten.{kind}_like.default", f"aten.{kind}_like.generator")
    def make_like(
        b: Builder, self: Value, generator: Ignored = None, dtype: DType | None = None,
        layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
        memory_format: Ignored = None,
    ) -> Value:  # fmt: skip
        return _drawn(b, kind, self.shape, dtype or self.dtype)


_register_drawn("rand")
_register_drawn("randn")


def _integers(b: Builder, shape: Sequence[Dim], low: Operand, high: Operand, dtype: DType) -> Value:
    """Whole numbers in [low, high)."""
    bits = b.apply("bitwise_right_shift", random_bits(b, shape), b.full((), 1, DType.UINT64))
    start = b.tensor(low, DType.INT64)
    span = b.apply("sub", b.tensor(high, DType.INT64), start)
    offset = b.apply("remainder", b.cast(bits, DType.INT64), span)
    return b.cast(b.apply("add", offset, start), dtype)


@target("aten.randint.default", "aten.randint.generator", "aten.randint.low",
        "aten.randint.low_generator")  # fmt: skip
def randint(
    b: Builder, high: Operand, size: Sequence[Dim], low: Operand = 0, generator: Ignored = None,
    dtype: DType | None = None, layout: Ignored = None, device: Ignored = None,
    pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    return _integers(b, size, low, high, dtype or DType.INT64)


@target(
    "aten.randint_like.default", "aten.randint_like.generator", "aten.randint_like.low_dtype",
    "aten.randint_like.low_generator_dtype", "aten.randint_like.Tensor",
    "aten.randint_like.Tensor_generator",
)  # fmt: skip
def randint_like(
    b: Builder, self: Value, high: Operand, low: Operand = 0, generator: Ignored = None,
    dtype: DType | None = None, layout: Ignored = None, device: Ignored = None,
    pin_memory: Ignored = None, memory_format: Ignored = None,
) -> Value:  # fmt: skip
    return _integers(b, self.shape, low, high, dtype or self.dtype)


@target("aten.randperm.default", "aten.randperm.generator")
def randperm(
    b: Builder, n: Dim, generator: Ignored = None, dtype: DType | None = None,
    layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    keys = b.apply("bitwise_right_shift", random_bits(b, (n,)), b.full((), 1, DType.UINT64))
    order = b.call("aten.argsort.default", b.cast(keys, DType.INT64))
    return b.cast(order, dtype or DType.INT64)


# -------------------------------------------------------------------------------- distributions


@target("aten.normal.Tensor_float", "aten.normal.float_Tensor", "aten.normal.Tensor_Tensor")
def normal(b: Builder, mean: Operand = 0.0, std: Operand = 1.0, generator: Ignored = None) -> Value:
    dtype = b.result_type(mean, std)
    given = [x.shape for x in (mean, std) if isinstance(x, Value)]
    draw = standard_normal(b, shapes.broadcast_shapes(*given), dtype.compute)
    return affine_of(b, draw, std, mean, dtype)


@target("aten.normal.float_float")
def normal_of_size(
    b: Builder, mean: float, std: float, size: Sequence[Dim], generator: Ignored = None,
    dtype: DType | None = None, layout: Ignored = None, device: Ignored = None,
    pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    result = dtype or DType.FLOAT32
    return affine_of(b, standard_normal(b, size, result.compute), std, mean, result)


@target("aten.normal.default", "aten.normal_functional.default")
def normal_like(
    b: Builder, self: Value, mean: float = 0.0, std: float = 1.0, generator: Ignored = None
) -> Value:
    draw = _drawn(b, "randn", self.shape, self.dtype.compute)
    return affine_of(b, draw, std, mean, self.dtype)


@target("aten.uniform.default")
def uniform_like(
    b: Builder, self: Value, generator: Ignored = None, to: float = 1.0, **bounds: float
) -> Value:
    """`from`, a word of Python's own, comes among the keywords."""
    low = bounds.get("from", 0.0)
    draw = _drawn(b, "rand", self.shape, self.dtype.compute)
    return affine_of(b, draw, to - low, low, self.dtype)


@target("aten.random.default", "aten.random.from", "aten.random.to")
def random_like(
    b: Builder, self: Value, to: int | None = None, generator: Ignored = None, **bounds: int
) -> Value:
    largest = 1 << 24 if self.dtype.is_float else min((1 << (8 * self.dtype.itemsize - 1)), 1 << 62)
    if self.dtype is DType.BOOL:
        largest = 2
    high = largest if to is None else to
    return _integers(b, self.shape, bounds.get("from", 0), high, self.dtype)


@target("aten.exponential.default")
def exponential(b: Builder, self: Value, lambd: float = 1.0, generator: Ignored = None) -> Value:
    draw = uniform(b, self.shape, self.dtype.compute)
    waited = b.apply("neg", b.apply("log1p", b.apply("neg", draw)))
    return b.cast(b.apply("div", waited, number(b, lambd, waited)), self.dtype)


@target("aten.cauchy.default")
def cauchy(
    b: Builder, self: Value, median: float = 0.0, sigma: float = 1.0, generator: Ignored = None
) -> Value:
    draw = uniform(b, self.shape, self.dtype.compute)
    angle = affine_of(b, draw, math.pi, -math.pi / 2, draw.dtype)
    return affine_of(b, b.apply("tan", angle), sigma, median, self.dtype)


@target("aten.log_normal.default")
def log_normal(
    b: Builder, self: Value, mean: float = 1.0, std: float = 2.0, generator: Ignored = None
) -> Value:
    draw = standard_normal(b, self.shape, self.dtype.compute)
    return b.cast(b.apply("exp", affine_of(b, draw, std, mean, draw.dtype)), self.dtype)


@target("aten.geometric.default")
def geometric(b: Builder, self: Value, p: float, generator: Ignored = None) -> Value:
    draw = uniform(b, self.shape, DType.FLOAT64)
    logarithm = b.apply("log1p", b.apply("neg", draw))
    trials = b.apply("ceil", b.apply("div", logarithm, number(b, math.log1p(-p), draw)))
    return b.cast(b.apply("maximum", trials, number(b, 1, trials)), self.dtype)


@target(
    "aten.bernoulli.default", "aten.bernoulli.p", "aten.bernoulli.Tensor", "aten.bernoulli.float"
)
def bernoulli(
    b: Builder, self: Value, p: Operand | None = None, generator: Ignored = None
) -> Value:
    """1 with probability `p`, by default the elements themselves."""
    probability = self if p is None else p
    drawn = uniform(b, self.shape, DType.FLOAT64)
    return b.cast(b.apply("lt", drawn, b.tensor(probability, DType.FLOAT64)), self.dtype)


@target("aten.multinomial.default")
def multinomial(
    b: Builder, self: Value, num_samples: Dim, replacement: bool = False, generator: Ignored = None
) -> Value:
    """Positions of the last dimension, drawn with these weights."""
    weights = b.cast(self, DType.FLOAT64)
    if replacement:
        sums = b.call("aten.cumsum.default", weights, -1)
        total = b.slice(sums, -1, self.shape[-1] - 1, 1)
        draws = b.apply("mul", uniform(b, (*self.shape[:-1], num_samples), DType.FLOAT64), total)
        result: Value = b.call("aten.searchsorted.Tensor", sums, draws, right=True)
        return result
    # The largest of weight / exponential are a sample without replacement.
    draw = uniform(b, self.shape, DType.FLOAT64)
    waited = b.apply("neg", b.apply("log1p", b.apply("neg", draw)))
    race = b.apply("div", weights, waited)
    order = b.call("aten.argsort.default", race, -1, True)
    return b.slice(order, -1, 0, num_samples)
