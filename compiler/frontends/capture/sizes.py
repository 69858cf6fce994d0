"""Symbolic sizes as the Python integers that a captured function sees.

Arithmetic gives symbolic sizes again. A comparison whose answer depends on the sizes of a call is
decided by the sizes of the example, and what was decided becomes a condition on the inputs: a guard
where the user left the choice to castoff (`Dim.AUTO`), an error where a `Dim` promised more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from ...ir import shapes
from ...ir.shapes import Dim, Shape, Symbol
from .where import refused


class Specialised(Exception):
    """Sizes that may be fixed have to be: the function is captured again with them as numbers."""

    def __init__(self, symbols: frozenset[str]) -> None:
        super().__init__(symbols)
        self.symbols = symbols


@dataclass(frozen=True, slots=True)
class Size:
    """One size that the inputs decide: `label` is the user's name of it, `source` where a guard
    reads it (`L['x'].size()[0]`), `is_promised` whether it was declared to vary in all of its range.
    """

    symbol: Symbol
    label: str
    source: str
    example: int
    is_promised: bool
    low: int
    """As declared; the symbol's own bound is what readers of the file take it for."""


@dataclass(eq=False)
class Sizes:
    """The symbolic sizes of one capture, and what was decided about them."""

    known: dict[Symbol, Size] = field(default_factory=dict)
    guards: list[str] = field(default_factory=list)
    apply_ufunc: Callable[..., object] | None = None
    """How a ufunc is computed that meets a size, set by the capture."""

    def add(self, size: Size) -> None:
        """A size that the inputs decide."""
        self.known[size.symbol] = size
        if size.low > size.symbol.low:
            self._guard(f"{size.source} >= {size.low}")

    def of(self, dim: Dim) -> int:
        """A size as the user's code sees it."""
        return dim if isinstance(dim, int) else SymbolicInt(self, dim)  # type: ignore[return-value]

    def shape(self, shape: Shape) -> tuple[int, ...]:
        """A shape as the user's code sees it."""
        return tuple(self.of(dim) for dim in shape)

    def example(self, dim: Dim) -> int | None:
        """The value of an expression for the example; None where only the run decides it."""
        symbols = shapes.symbols_in(dim)
        if not all(symbol in self.known for symbol in symbols):
            return None
        return shapes.evaluate(dim, {s.name: self.known[s].example for s in symbols})

    def text(self, dim: Dim) -> str:
        """An expression in the user's names."""
        return self._replaced(dim, lambda size: size.label)

    def _replaced(self, dim: Dim, name: Callable[[Size], str]) -> str:
        text = str(dim)
        for symbol, size in self.known.items():
            text = re.sub(rf"\b{symbol.name}\b", lambda _, size=size: name(size), text)  # type: ignore[misc]
        return text

    # ---- decisions

    def equal(self, left: Dim, right: Dim) -> bool:
        """Whether two sizes are equal."""
        left, right = self._declared(left), self._declared(right)
        answer = True if _agree(left, right) else shapes.is_equal(left, right)
        if answer is None:
            answer = self._example_of(left) == self._example_of(right)
            self._decided(left, right, "==" if answer else "!=")
        return answer

    def less(self, left: Dim, right: Dim) -> bool:
        """Whether one size is less than another."""
        left, right = self._declared(left), self._declared(right)
        answer = shapes.is_less(left, right)
        if answer is None:
            answer = self._example_of(left) < self._example_of(right)
            self._decided(left, right, "<" if answer else ">=")
        return answer

    def number(self, dim: Dim) -> int:
        """A size as a plain integer: it is that of the example from here on."""
        if isinstance(dim, int):
            return dim
        low, high = shapes.bounds(self._declared(dim))
        if low == high:
            return low
        value = self._example_of(dim)
        self._decided(dim, value, "==")
        return value

    def require_equal(self, left: Dim, right: Dim, what: str) -> None:
        """`what` asks for equal sizes; raises where they are not."""
        if not self.equal(left, right):
            raise refused(f"{what}: {self.text(left)} and {self.text(right)} differ")

    def require_less(self, left: Dim, right: Dim) -> bool:
        """Whether one size is less than another in the example, where it then has to be in every call:
        for the function itself raises where it is not."""
        answer = shapes.is_less(self._declared(left), self._declared(right))
        if answer is None and all(s in self.known for s in shapes.symbols_in(right - left)):
            answer = self._example_of(left) < self._example_of(right)
            texts = [self._replaced(side, lambda size: size.source) for side in (left, right)]
            self._guard(f"{texts[0]} < {texts[1]}")
        return answer is not False

    def broadcast(self, parts: Iterable[Shape], what: str) -> Shape:
        """The shape that arrays of these shapes broadcast to."""
        result: list[Dim] = []
        for shape in parts:
            missing = len(shape) - len(result)
            result = [*shape[: max(missing, 0)], *result]
            for axis in range(-1, -min(len(shape), len(result)) - 1, -1):
                mine, other = result[axis], shape[axis]
                if other == 1 or mine == other or _agree(mine, other):
                    continue
                if mine != 1:
                    self._require_alike(mine, other, what)
                    if isinstance(mine, int):
                        continue
                result[axis] = other
        return tuple(result)

    def _require_alike(self, mine: Dim, other: Dim, what: str) -> None:
        """Neither of two sizes that meet is the number 1: they are equal in every call, or it is refused."""
        mine_now, other_now = self._example_of(mine), self._example_of(other)
        if mine_now == other_now:
            self.equal(mine, other)
            return
        for dim, now in ((mine, mine_now), (other, other_now)):
            if now == 1 and not isinstance(dim, int):
                names = [
                    size for size in self.known.values() if size.symbol in shapes.symbols_in(dim)
                ]
                if not any(size.is_promised for size in names):
                    raise Specialised(frozenset(size.symbol.name for size in names))
                raise refused(
                    f"{what}: the size {self.text(dim)} is 1 in the example and broadcasts, which it would "
                    "not in every call; give its Dim a min= that makes it 1, or make it static"
                )
        raise refused(
            f"{what}: shapes do not broadcast, {self.text(mine)} beside {self.text(other)}"
        )

    def is_at_least(self, dim: Dim, number: int) -> bool:
        """Whether a size is declared to be no less than a number."""
        return shapes.lower_bound(self._declared(dim)) >= number

    def _declared(self, dim: Dim) -> Dim:
        """The expression with symbols that have the bounds the user declared."""
        narrower: dict[shapes.Atom, Dim] = {
            symbol: shapes.symbol(symbol.name, size.low, symbol.high)
            for symbol in shapes.symbols_in(dim)
            if (size := self.known.get(symbol)) is not None and size.low > symbol.low
        }
        return shapes.substitute(dim, narrower) if narrower else dim

    def _example_of(self, dim: Dim) -> int:
        by_name = {symbol.name: size.example for symbol, size in self.known.items()}
        unknown = [s.name for s in shapes.symbols_in(dim) if s.name not in by_name]
        if unknown:
            raise refused(
                f"the size {dim} is decided by the data of a call, so that no Python code can depend on it"
            )
        return shapes.evaluate(dim, by_name)

    def _decided(self, left: Dim, right: Dim, relation: str) -> None:
        """What the example decides holds of every call from here on, if that is allowed."""
        names = {s.name for s in shapes.symbols_in(left)} | {
            s.name for s in shapes.symbols_in(right)
        }
        involved = [size for size in self.known.values() if size.symbol.name in names]
        condition = f"{self.text(left)} {relation} {self.text(right)}"
        promised = [size for size in involved if size.is_promised]
        if promised and relation != "!=":
            raise refused(self._broken_promise(promised, left, right, relation, condition))
        if relation == "==":
            raise Specialised(frozenset(names))
        texts = [self._replaced(side, lambda size: size.source) for side in (left, right)]
        self._guard(f"{texts[0]} {relation} {texts[1]}")

    def _broken_promise(
        self, promised: list[Size], left: Dim, right: Dim, relation: str, condition: str
    ) -> str:
        size = promised[0]
        atom = shapes.atom_of(left)
        if relation == "==" and isinstance(right, int) and isinstance(atom, Symbol):
            return (
                f"{size.label} was specialised to {right} here, but dynamic_shapes declares that it "
                "varies; make it static, or use it as a size of captured arrays only: np.zeros_like(x, "
                "shape=…), np.full(shape, value, like=x) and np.arange(n, like=x) take it"
            )
        names = " and ".join(dict.fromkeys(each.label for each in promised))
        return (
            f"what is captured here holds for {condition} only, but dynamic_shapes declares that {names} "
            "varies; narrow its range with min= and max=, make it static, or leave it to Dim.AUTO"
        )

    def _guard(self, text: str) -> None:
        if text not in self.guards:
            self.guards.append(text)


def _agree(left: Dim, right: Dim) -> bool:
    """Whether two expressions of one symbol are the same function of it.

    Sums, maxima and minima of linear expressions are linear beyond the last of their breakpoints, which
    no breakpoint lies further away than the numbers in them add up to: looking as far as that decides.
    """
    difference = left - right
    if isinstance(difference, int):
        return difference == 0
    symbols = shapes.symbols_in(difference)
    weight = _weight(difference)
    if len(symbols) != 1 or weight is None or weight > 64:
        return False
    (symbol,) = symbols
    last = min(symbol.high, symbol.low + 2 * weight + 2)
    return all(
        shapes.evaluate(difference, {symbol.name: n}) == 0 for n in range(symbol.low, last + 1)
    )


def _weight(expression: Dim) -> int | None:
    """What the numbers in an expression add up to; None where it is not linear between breakpoints."""
    if isinstance(expression, int):
        return abs(expression)
    total = 0
    for monomial, coefficient in expression.terms.items():
        part: int | None = 1
        if len(monomial) > 1 or any(power > 1 for _, power in monomial):
            return None
        for atom, _ in monomial:
            if isinstance(atom, shapes.Func):
                inner = [_weight(arg) for arg in atom.args]
                part = (
                    None
                    if atom.name not in ("max", "min") or None in inner
                    else sum(w or 0 for w in inner)
                )
            elif not isinstance(atom, Symbol):
                part = None
        if part is None:
            return None
        total += abs(coefficient) * part
    return total


def dim_of(value: object) -> Dim:
    """A size given by the user as an expression."""
    if isinstance(value, SymbolicInt):
        return value.dim
    return int(value)  # type: ignore[call-overload, no-any-return]


def is_size(value: object) -> bool:
    """Whether a value is an integer, symbolic or not."""
    return isinstance(value, SymbolicInt) or (
        hasattr(value, "__index__") and not isinstance(value, bool) and not hasattr(value, "shape")
    )


class SymbolicInt:
    """A size that is not known before the call; behaves as an `int` as far as the program allows."""

    __slots__ = ("dim", "sizes")

    def __init__(self, sizes: Sizes, dim: shapes.SymExpr) -> None:
        self.sizes = sizes
        self.dim = dim

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: object, **kwargs: object
    ) -> object:
        assert self.sizes.apply_ufunc is not None, "a capture says how it computes"
        return self.sizes.apply_ufunc(ufunc, method, inputs, kwargs)

    def _with(self, other: object, compute: Callable[[Dim, Dim], Dim]) -> object:
        if isinstance(other, SymbolicInt) or type(other) is int:
            return self.sizes.of(compute(self.dim, dim_of(other)))
        if isinstance(other, float):
            raise refused(
                f"{self} in arithmetic with a float, away from arrays: combine it with an array first, "
                f"or make it one, np.full((), n, np.float64, like=x)"
            )
        return NotImplemented

    def __add__(self, other: object) -> object:
        return self._with(other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: object) -> object:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: object) -> object:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: object) -> object:
        if isinstance(other, (tuple, list)):
            return other * self.sizes.number(self.dim)
        return self._with(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __floordiv__(self, other: object) -> object:
        return self._with(other, self._floordiv)

    def __rfloordiv__(self, other: object) -> object:
        return self._with(other, lambda a, b: self._floordiv(b, a))

    def __mod__(self, other: object) -> object:
        return self._with(other, self._mod)

    def __rmod__(self, other: object) -> object:
        return self._with(other, lambda a, b: self._mod(b, a))

    def __divmod__(self, other: object) -> object:
        return self // other, self % other

    def _floordiv(self, left: Dim, right: Dim) -> Dim:
        self._check_divisor(right)
        return shapes.floordiv(left, right)

    def _mod(self, left: Dim, right: Dim) -> Dim:
        self._check_divisor(right)
        return shapes.mod(left, right)

    def _check_divisor(self, divisor: Dim) -> None:
        if self.sizes.equal(divisor, 0):
            raise ZeroDivisionError(f"{self.sizes.text(divisor)} is zero")

    def __pow__(self, exponent: object) -> object:
        if type(exponent) is not int or exponent < 0:
            return NotImplemented
        result: Dim = 1
        for _ in range(exponent):
            result = result * self.dim
        return self.sizes.of(result)

    def __truediv__(self, other: object) -> object:
        return self._with(
            float(other) if isinstance(other, float) else other, self._refuse_quotient
        )

    __rtruediv__ = __truediv__

    def _refuse_quotient(self, left: Dim, right: Dim) -> Dim:
        raise refused(
            f"{self} divided with /, away from arrays: use //, or divide an array by it "
            "(where NumPy itself divided, for a range or a grid: np.arange(n, like=x))"
        )

    def __neg__(self) -> object:
        return self.sizes.of(-self.dim)

    def __pos__(self) -> object:
        return self

    def __abs__(self) -> object:
        return self.sizes.of(shapes.maximum(self.dim, -self.dim))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SymbolicInt) or type(other) is int:
            return self.sizes.equal(self.dim, dim_of(other))
        return NotImplemented

    def __lt__(self, other: object) -> bool:
        if isinstance(other, SymbolicInt) or type(other) is int:
            return self.sizes.less(self.dim, dim_of(other))
        return NotImplemented

    def __gt__(self, other: object) -> bool:
        if isinstance(other, SymbolicInt) or type(other) is int:
            return self.sizes.less(dim_of(other), self.dim)
        return NotImplemented

    def __le__(self, other: object) -> bool:
        return not self > other

    def __ge__(self, other: object) -> bool:
        return not self < other

    def __bool__(self) -> bool:
        return not self.sizes.equal(self.dim, 0)

    def __hash__(self) -> int:
        return hash(self.sizes.number(self.dim))

    def __index__(self) -> int:
        return self.sizes.number(self.dim)

    __int__ = __index__

    def __float__(self) -> float:
        return float(self.sizes.number(self.dim))

    def __str__(self) -> str:
        return self.sizes.text(self.dim)

    __repr__ = __str__
