"""Random operators whose draws may be rejected and drawn again: gamma, Dirichlet, Poisson, binomial.

The algorithms are those of `templates/common/distributions.h`, which names their sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from .. import kernels
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..kernels import Definition
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError, target
from .pointwise import broadcast
from .random import philox_words, random_bits

Ignored = object


@dataclass(frozen=True, slots=True)
class Draw(Op):
    """A draw of a distribution for each key of 64 random bits: input 0, uint64. The other inputs, its
    parameters, are float64 and broadcast to the keys' shape; so is the result."""

    distribution: str
    cost: ClassVar[int] = 100

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        keys, *parameters = inputs
        if keys.dtype is not DType.UINT64 or any(p.dtype is not DType.FLOAT64 for p in parameters):
            raise OperatorError(f"{self.distribution} of {', '.join(map(str, inputs))}")
        return (TensorType(DType.FLOAT64, broadcast(self.distribution, *inputs)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        draw = _DRAWS[self.distribution]
        keys, *parameters = np.broadcast_arrays(*inputs)
        rows = zip(keys.flat, *(p.flat for p in parameters), strict=True)
        drawn = [draw(_Draws(int(key)), *map(float, numbers)) for key, *numbers in rows]
        return (np.array(drawn, np.float64).reshape(keys.shape),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        def body(index: kernels.Index) -> kernels.Scalar:
            loads = (kernels.load_broadcast(x, index) for x in inputs)
            return kernels.apply(self.distribution, *loads)

        return (kernels.Pointwise(body),)


class _Draws:
    """The numbers that a key stands for, in order."""

    def __init__(self, key: int) -> None:
        self._key, self._drawn = key, 0

    def _words(self, stream: int) -> tuple[int, int]:
        low, high = philox_words(self._key, stream, np.array([self._drawn], np.uint64))
        self._drawn += 1
        return int(low[0]), int(high[0])

    def uniform(self) -> float:
        """On (0, 1]."""
        return 1.0 - (self._words(0)[0] >> 11) * 2.0**-53

    def normal(self) -> float:
        """Standard normal, by Box and Muller."""
        radius, turn = ((word >> 11) for word in self._words(1))
        length = math.sqrt(-2.0 * math.log((radius + 1) * 2.0**-53))
        return length * math.cos(2 * math.pi * turn * 2.0**-53)


def _standard_gamma(draws: _Draws, alpha: float) -> float:
    scale = 1.0
    if not alpha > 0:
        return 0.0 if alpha == 0 else math.nan
    if alpha == math.inf:
        return alpha
    if alpha < 1:
        scale = draws.uniform() ** (1 / alpha)
        alpha += 1
    d = alpha - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        x = draws.normal()
        y = 1 + c * x
        if y <= 0:
            continue
        v = y * y * y
        if math.log(draws.uniform()) < 0.5 * x * x + d * (1 - v + math.log(v)):
            return scale * d * v


def _poisson(draws: _Draws, rate: float) -> float:
    if not rate > 0:
        return 0.0 if rate == 0 else math.nan
    if rate == math.inf:
        return rate
    if rate < 10:
        least, count, product = math.exp(-rate), 0.0, draws.uniform()
        while product > least:
            product *= draws.uniform()
            count += 1
        return count
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse, squeeze = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2)
    while True:
        u, v = draws.uniform() - 0.5, draws.uniform()
        us = 0.5 - abs(u)
        if us == 0:
            continue
        k = float(math.floor((2 * a / us + b) * u + rate + 0.43))
        if us >= 0.07 and v <= squeeze:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        left = math.log(v) + math.log(inverse) - math.log(a / (us * us) + b)
        if left <= k * math.log(rate) - rate - math.lgamma(k + 1):
            return k


def _binomial(draws: _Draws, count: float, p: float) -> float:
    if math.isnan(count) or math.isnan(p):
        return math.nan
    if count <= 0 or p <= 0:
        return 0.0
    if p >= 1 or count == math.inf:
        return count
    return (
        _binomial_half(draws, count, p) if p <= 0.5 else count - _binomial_half(draws, count, 1 - p)
    )


def _binomial_half(draws: _Draws, count: float, p: float) -> float:
    """For p of at most one half."""
    q = 1 - p
    if count * p < 10:
        logarithm, found, place = math.log1p(-p), -1.0, 0.0
        while place <= count:
            place += math.ceil(math.log(draws.uniform()) / logarithm)
            found += 1
        return found
    spread = math.sqrt(count * p * q)
    b = 1.15 + 2.53 * spread
    a, c = -0.0873 + 0.0248 * b + 0.01 * p, count * p + 0.5
    squeeze, alpha, mode = 0.92 - 4.2 / b, (2.83 + 5.1 / b) * spread, math.floor((count + 1) * p)
    while True:
        u, v = draws.uniform() - 0.5, draws.uniform()
        us = 0.5 - abs(u)
        if us == 0:
            continue
        k = float(math.floor((2 * a / us + b) * u + c))
        if us >= 0.07 and v <= squeeze:
            return k
        if k < 0 or k > count:
            continue
        left = math.log(v * alpha / (a / (us * us) + b))
        right = (k - mode) * math.log(p / q) + math.lgamma(mode + 1) - math.lgamma(k + 1)
        if left <= right + math.lgamma(count - mode + 1) - math.lgamma(count - k + 1):
            return k


_DRAWS: Mapping[str, Callable[..., float]] = {
    "standard_gamma": _standard_gamma, "poisson": _poisson, "binomial": _binomial,
}  # fmt: skip


def _draw(b: Builder, distribution: str, *parameters: Value) -> Value:
    shape = broadcast(distribution, *(p.type for p in parameters))
    wide = (b.cast(p, DType.FLOAT64) for p in parameters)
    return b.emit1(Draw(distribution), random_bits(b, shape), *wide)


def _floating(what: str, x: Value) -> Value:
    if not x.dtype.is_float:
        raise OperatorError(f"{what} of {x}: expected a floating-point dtype")
    return x


@target("aten.poisson.default", samples=["(unit(T[3, 4])) | floats"])
def poisson(b: Builder, self: Value, generator: Ignored = None) -> Value:
    """Whole numbers with these means."""
    return b.cast(_draw(b, "poisson", _floating("poisson", self)), self.dtype)


@target("aten.binomial.default", samples=["(T[3, 4], unit(T[3, 4])) | floats"])
def binomial(b: Builder, count: Value, prob: Value, generator: Ignored = None) -> Value:
    """Successes among `count` trials."""
    drawn = _draw(b, "binomial", _floating("binomial", count), _floating("binomial", prob))
    return b.cast(drawn, count.dtype)


def _smallest(b: Builder, dtype: DType) -> Value:
    """The smallest normal number: draws are not rounded to 0."""
    return b.full(
        (),
        float(np.finfo(dtype.numpy).tiny) if dtype.numpy.kind == "f" else 2.0**-126,
        DType.FLOAT64,
    )


@target("aten._standard_gamma.default", samples=["(unit(T[3, 4])) | floats"])
def standard_gamma(b: Builder, self: Value, generator: Ignored = None) -> Value:
    """Of these shapes, with scale 1."""
    drawn = _draw(b, "standard_gamma", _floating("_standard_gamma", self))
    return b.cast(b.apply("maximum", drawn, _smallest(b, self.dtype)), self.dtype)


@target("aten._sample_dirichlet.default", samples=["(unit(T[3, 4])) | floats"])
def sample_dirichlet(b: Builder, self: Value, generator: Ignored = None) -> Value:
    """Shares of the last dimension, which are 1 together."""
    smallest = _smallest(b, self.dtype)
    drawn = b.apply(
        "maximum", _draw(b, "standard_gamma", _floating("_sample_dirichlet", self)), smallest
    )
    shares = b.apply("div", drawn, b.reduce("sum", drawn, (-1,), True))
    return b.cast(b.apply("maximum", shares, smallest), self.dtype)
