"""Where data becomes a size, and where the program states what must hold.

A symbol is defined by reading a 0-d integer (`Builder.read_symbol`); after that, shapes may mention
it. `RuntimeCheck` makes a run fail, `Refine` gives a value the shape expression that the rest of
the program uses for the same sizes.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ...runtime.errors import CastoffError
from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..ir.shapes import Shape
from ..kernels import Definition
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError, WeakScalar, target
from .view import view_of


class RuntimeCheckError(CastoffError):
    """A run was refused: an assertion of the program, or the range of a symbol, does not hold."""


@dataclass(frozen=True, slots=True)
class ReadSymbol(Op):
    """Defines a symbol as the value of a 0-d int64 input; the run fails where it is outside the
    symbol's range."""

    has_effect: ClassVar[bool] = True
    symbol: shapes.Symbol

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.dtype is not DType.INT64 or x.rank:
            raise OperatorError(f"a symbol is read from int64[], not from {x}")
        return ()

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        value = int(inputs[0])
        symbol = self.symbol
        if not symbol.low <= value <= symbol.high:
            high = "" if symbol.high >= shapes.INFINITY else f" and at most {symbol.high}"
            raise RuntimeCheckError(f"{symbol} must be at least {symbol.low}{high}, it is {value}")
        env.symbols[symbol.name] = value
        return ()

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        return (kernels.SymbolRead(self.symbol),)

    def __str__(self) -> str:
        return f"ReadSymbol[{describe_symbol(self.symbol)}]"


def describe_symbol(symbol: shapes.Symbol) -> str:
    """The symbol with its range, as `s0 in [1, 64]`."""
    low = "-inf" if symbol.low <= -shapes.INFINITY else symbol.low
    high = "inf" if symbol.high >= shapes.INFINITY else symbol.high
    return f"{symbol.name} in [{low}, {high}]"


@dataclass(frozen=True, slots=True)
class RuntimeCheck(Op):
    """Makes the run fail with `message` unless the 0-d bool input is true."""

    has_effect: ClassVar[bool] = True
    message: str

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.dtype is not DType.BOOL or x.rank:
            raise OperatorError(f"an assertion takes bool[], not {x}")
        return ()

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        if not inputs[0]:
            raise RuntimeCheckError(self.message)
        return ()

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        return (kernels.Check(self.message),)

    def __str__(self) -> str:
        return f"RuntimeCheck[{self.message!r}]"


@dataclass(frozen=True, slots=True)
class Refine(Op):
    """The input under another expression of the same sizes: `x[n1]` as `x[s0//2]` where the
    exporter knows them equal."""

    is_view: ClassVar[bool] = True
    shape: Shape

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if len(self.shape) != x.rank:
            raise OperatorError(f"{x} has no sizes {list(self.shape)}")
        return (TensorType(x.dtype, self.shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        expected = env.shape(self.shape)
        if inputs[0].shape != expected:
            raise RuntimeCheckError(
                f"sizes {list(self.shape)} are {list(expected)} in this run, "
                f"the value has {list(inputs[0].shape)}"
            )
        return (inputs[0],)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        return view_of(inputs[0], lambda index: index)

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return (
            builder.emit1(Refine(base.shape), updated) if base.shape != updated.shape else updated
        )


def check(b: Builder, condition: Value, message: str) -> None:
    """The run fails with `message` unless the one element of `condition` is true (not zero)."""
    b.emit(RuntimeCheck(message), b.cast(b.reshape(condition, ()), DType.BOOL))


@target("aten._assert_async.msg")
def assert_async(b: Builder, self: Value, assert_msg: str) -> None:
    check(b, self, assert_msg)


@target("aten._assert_async.default")
def assert_async_silent(b: Builder, self: Value) -> None:
    check(b, self, "an assertion of the program does not hold")


@target("aten._functional_assert_async.msg")
def functional_assert_async(b: Builder, self: Value, assert_msg: str, dep_token: Any) -> Any:
    check(b, self, assert_msg)
    return dep_token


@target("aten.is_nonzero.default")
def is_nonzero(b: Builder, self: Value) -> WeakScalar:
    return WeakScalar(b.cast(b.reshape(self, ()), DType.BOOL))


@target("aten._make_dep_token.default")
def make_dep_token(b: Builder, **options: Any) -> Value:
    return b.full((), 0, DType.FLOAT32)


@target("aten.sym_constrain_range.default", "aten.sym_constrain_range_for_size.default")
def sym_constrain_range(
    b: Builder, size: Any, *, min: int | None = None, max: int | None = None
) -> None:
    value = b.tensor(size, DType.INT64)
    if min is not None:
        check(b, b.apply("ge", value, b.full((), min, DType.INT64)), f"value must be >= {min}")
    if max is not None:
        check(b, b.apply("le", value, b.full((), max, DType.INT64)), f"value must be <= {max}")
