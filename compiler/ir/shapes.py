"""Integer expressions over symbols: sizes of dimensions and positions inside tensors.

`Dim` is an `int` or a `SymExpr`. A `SymExpr` is a polynomial with integer coefficients over atoms:
symbols, and floor divisions, remainders, maxima and minima of other expressions. Equal expressions
built in different ways compare equal where expanding the polynomial shows it, so that shapes can be
compared and index arithmetic of views simplifies while it is built: `(i*64 + j) // 64` is `i` where
`0 <= j < 64`.

It is our own and small because index arithmetic is what the code generator does all day: the same
expressions through sympy took longer than all the rest of a compilation, and sympy alone takes
half a second to import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import gcd, prod

from ..records import dataclass
from . import reals
from .reals import Operand, Real

INFINITY = 1 << 62
"""A bound that stands for "no bound": larger than any size, and safe in int64 arithmetic."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named integer with inclusive bounds; `extent`, where given, is an exclusive symbolic bound."""

    name: str
    low: int = 0
    high: int = INFINITY
    extent: SymExpr | None = None
    order: int = 0
    """Position in the list of loops: keeps terms of index expressions in a readable order."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Func:
    """An opaque integer function of expressions: floordiv, mod, max, min, equal/less (0 or 1), or real."""

    name: str
    args: tuple[Dim, ...]
    formula: Real | None = None
    """What a "real" does with its arguments, in float64."""

    def __str__(self) -> str:
        if self.formula is not None:
            return reals.text_of(self.formula, lambda operand: f"({self.args[operand.position]})")
        left, right = (str(a) for a in self.args)
        if self.name == "floordiv":
            return f"({left})//({right})"
        if self.name == "mod":
            return f"({left})%({right})"
        return f"{self.name}({left}, {right})"


@dataclass(frozen=True, slots=True)
class Indirect:
    """An integer read from memory while the kernel runs (an index), known to be in [0, size)."""

    scalar: object
    """The `kernels.Scalar` that computes it; opaque here, since the IR knows nothing of kernels."""
    size: Dim

    def __str__(self) -> str:
        return f"[{self.scalar}]"


Atom = Symbol | Func | Indirect
Monomial = tuple[tuple[Atom, int], ...]  # atoms with their powers, sorted


def _atom_key(atom: Atom) -> tuple[int, int, str]:
    if isinstance(atom, Symbol):
        return (0, atom.order, atom.name)
    return (1, 0, str(atom)) if isinstance(atom, Func) else (2, 0, str(atom))


class SymExpr:
    """A polynomial over atoms. Build with `+ - *`, `floordiv`, `mod`, `maximum`, `minimum`."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: dict[Monomial, int]) -> None:
        self.terms: dict[Monomial, int] = terms
        self._hash = hash(frozenset(terms.items()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SymExpr):
            return self._hash == other._hash and self.terms == other.terms
        return False

    def __add__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            if other == 0:
                return self
            other_terms: Mapping[Monomial, int] = {(): other}
        else:
            other_terms = other.terms
        terms = dict(self.terms)
        for monomial, coefficient in other_terms.items():
            total = terms.get(monomial, 0) + coefficient
            if total:
                terms[monomial] = total
            else:
                terms.pop(monomial, None)
        return _make(terms)

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return SymExpr({m: -c for m, c in self.terms.items()})

    def __sub__(self, other: Dim) -> Dim:
        return self + (-other)

    def __rsub__(self, other: int) -> Dim:
        return (-self) + other

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            if other == 0:
                return 0
            return self if other == 1 else SymExpr({m: c * other for m, c in self.terms.items()})
        terms: dict[Monomial, int] = {}
        for left, a in self.terms.items():
            for right, b in other.terms.items():
                monomial = _multiply(left, right)
                total = terms.get(monomial, 0) + a * b
                if total:
                    terms[monomial] = total
                else:
                    del terms[monomial]
        return _make(terms)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    def __rfloordiv__(self, other: int) -> Dim:
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return mod(self, other)

    def __rmod__(self, other: int) -> Dim:
        return mod(other, self)

    def sorted_terms(self) -> list[tuple[Monomial, int]]:
        """Terms in the order they are written: by atoms, the constant last."""
        return sorted(
            self.terms.items(),
            key=lambda term: (not term[0], [(*_atom_key(a), p) for a, p in term[0]]),
        )

    def __str__(self) -> str:
        text = ""
        for monomial, coefficient in self.sorted_terms():
            factors = [str(a) if p == 1 else f"{a}**{p}" for a, p in monomial]
            if abs(coefficient) != 1 or not factors:
                factors.append(str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+" if text else ""
            text += sign + "*".join(factors)
        return text

    def __repr__(self) -> str:
        return str(self)


Dim = int | SymExpr
Shape = tuple[Dim, ...]


def _make(terms: dict[Monomial, int]) -> Dim:
    if not terms:
        return 0
    if len(terms) == 1 and () in terms:
        return terms[()]
    return SymExpr(terms)


def _multiply(left: Monomial, right: Monomial) -> Monomial:
    if not left:
        return right
    if not right:
        return left
    powers = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda item: _atom_key(item[0])))


def symbol(name: str, low: int = 0, high: int = INFINITY) -> SymExpr:
    """A size or integer input by name, with inclusive bounds."""
    return of_atom(Symbol(name, low, high))


def loop_variable(name: str, extent: Dim, order: int = 0) -> Dim:
    """A loop variable in [0, extent); the constant 0 where the extent is 1."""
    if extent == 1:
        return 0
    if isinstance(extent, int):
        return of_atom(Symbol(name, 0, max(extent - 1, 0), None, order))
    high = upper_bound(extent)
    return of_atom(Symbol(name, 0, INFINITY if high >= INFINITY else high - 1, extent, order))


def of_atom(atom: Atom) -> SymExpr:
    """The expression that is one atom."""
    return SymExpr({((atom, 1),): 1})


def atom_of(expression: Dim) -> Atom | None:
    """The atom an expression consists of alone, if it does."""
    if isinstance(expression, int) or len(expression.terms) != 1:
        return None
    ((monomial, coefficient),) = expression.terms.items()
    return monomial[0][0] if coefficient == 1 and len(monomial) == 1 == monomial[0][1] else None


# ---------------------------------------------------------------------------------------- bounds


def _clamp(value: int) -> int:
    return max(-INFINITY, min(INFINITY, value))


def _atom_bounds(atom: Atom) -> tuple[int, int]:
    if isinstance(atom, Symbol):
        return atom.low, atom.high
    if isinstance(atom, Indirect):
        high = upper_bound(atom.size)
        return 0, high if high >= INFINITY else high - 1
    if atom.formula is not None:
        return reals.bounds(atom.formula, [bounds(arg) for arg in atom.args])
    (a_low, a_high), (b_low, b_high) = (bounds(arg) for arg in atom.args)
    match atom.name:
        case "max":
            return max(a_low, b_low), max(a_high, b_high)
        case "min":
            return min(a_low, b_low), min(a_high, b_high)
        case "mod" if b_low > 0:
            return 0, b_high if b_high >= INFINITY else b_high - 1
        case "floordiv" if b_low > 0:
            low = a_low // b_low if a_low < 0 else (0 if b_high >= INFINITY else a_low // b_high)
            if a_high >= INFINITY:
                return low, INFINITY
            return low, a_high // b_low if a_high >= 0 else a_high // b_high
        case "equal" | "less":
            return 0, 1
    return -INFINITY, INFINITY


def bounds(expression: Dim) -> tuple[int, int]:
    """Inclusive bounds of an expression; ±INFINITY where nothing is known."""
    if isinstance(expression, int):
        return expression, expression
    low = high = 0
    for monomial, coefficient in expression.terms.items():
        term_low = term_high = 1
        for atom, power in monomial:
            atom_low, atom_high = _atom_bounds(atom)
            for _ in range(power):
                corners = [
                    _clamp(x * y) for x in (term_low, term_high) for y in (atom_low, atom_high)
                ]
                term_low, term_high = min(corners), max(corners)
        corners = [_clamp(term_low * coefficient), _clamp(term_high * coefficient)]
        low, high = _clamp(low + min(corners)), _clamp(high + max(corners))
    return low, high


def lower_bound(expression: Dim) -> int:
    """The largest integer known to be <= the expression."""
    return bounds(expression)[0]


def upper_bound(expression: Dim) -> int:
    """The smallest integer known to be >= the expression (INFINITY if none)."""
    return bounds(expression)[1]


def is_nonnegative(expression: Dim) -> bool:
    """Whether the expression is known to be >= 0, using symbolic extents of loop variables too."""
    if lower_bound(expression) >= 0:
        return True
    if isinstance(expression, int):
        return False
    # Replace every loop variable with a negative coefficient by its largest value, extent - 1.
    replaced = expression
    for monomial, coefficient in expression.terms.items():
        if coefficient < 0:
            for atom, _ in monomial:
                if isinstance(atom, Symbol) and atom.extent is not None:
                    return is_nonnegative(substitute(replaced, {atom: atom.extent - 1}))
                if isinstance(atom, Indirect) and not isinstance(atom.size, int):
                    return is_nonnegative(substitute(replaced, {atom: atom.size - 1}))
                if isinstance(atom, Func) and atom.name == "mod":
                    divisor = atom.args[1]
                    if isinstance(divisor, SymExpr) and lower_bound(divisor) > 0:
                        return is_nonnegative(substitute(replaced, {atom: divisor - 1}))
    return False


def is_less(left: Dim, right: Dim) -> bool | None:
    """left < right: True, False, or None where it depends on the symbols."""
    if is_nonnegative(right - left - 1):
        return True
    return False if is_nonnegative(left - right) else None


def is_equal(left: Dim, right: Dim) -> bool | None:
    """left == right: True, False, or None where it depends on the symbols."""
    if left == right:
        return True
    low, high = bounds(left - right)
    return False if low > 0 or high < 0 else None


# ------------------------------------------------------------------------------------- functions


def floordiv(left: Dim, right: Dim) -> Dim:
    """Floor division, simplified where bounds allow."""
    if right == 1:
        return left
    if isinstance(left, int) and isinstance(right, int) and right != 0:
        return left // right
    if left == 0:
        return 0
    if left == right and lower_bound(left) > 0:
        return 1
    divisible, rest = split_multiple(left, right)
    if divisible != 0:
        return divisible + floordiv(rest, right)
    if is_nonnegative(left) and is_less(left, right):
        return 0
    if isinstance(left, SymExpr) and isinstance(right, int) and right > 1:
        left, right = _cancel(left, right)
        if right == 1:
            return left
        inner = atom_of(left)
        if isinstance(inner, Func) and inner.name == "floordiv" and isinstance(inner.args[1], int):
            return floordiv(inner.args[0], inner.args[1] * right)
    return of_atom(Func("floordiv", (left, right)))


def mod(left: Dim, right: Dim) -> Dim:
    """Remainder with the sign of the divisor, simplified where bounds allow."""
    if right == 1 or left == 0:
        return 0
    if isinstance(left, int) and isinstance(right, int) and right != 0:
        return left % right
    divisible, rest = split_multiple(left, right)
    if divisible != 0:
        return mod(rest, right)
    if is_nonnegative(left) and is_less(left, right):
        return left
    inner = atom_of(left)
    if isinstance(inner, Func) and inner.name == "mod" and isinstance(right, int):
        divisor = inner.args[1]
        if isinstance(divisor, int) and divisor % right == 0:
            return mod(inner.args[0], right)
    return of_atom(Func("mod", (left, right)))


def _cancel(left: SymExpr, right: int) -> tuple[Dim, int]:
    """(a*k + r) // (b*k) == a // b for 0 <= r < k: take the common factor k out."""
    constant = left.terms.get((), 0)
    variable = [c for m, c in left.terms.items() if m]
    for common in sorted({gcd(right, *variable), *(gcd(right, c) for c in variable)}, reverse=True):
        whole = {m: c // common for m, c in left.terms.items() if m and c % common == 0}
        rest = _make({m: c for m, c in left.terms.items() if m and c % common} | {(): constant})
        low, high = bounds(rest)
        if common > 1 and low // common == high // common:
            return _make(whole) + low // common, right // common
    return left, right


def split_multiple(left: Dim, right: Dim) -> tuple[Dim, Dim]:
    """(q, r) with left == q*right + r, q collecting the terms that are multiples of right."""
    if isinstance(left, int):
        return 0, left
    if isinstance(right, int):
        quotient: dict[Monomial, int] = {}
        rest: dict[Monomial, int] = {}
        for monomial, coefficient in left.terms.items():
            q, r = divmod(coefficient, right)
            if not monomial or r == 0:
                if q:
                    quotient[monomial] = q
                if r:
                    rest[monomial] = r
            else:
                rest[monomial] = coefficient
        return _make(quotient), _make(rest)
    if len(right.terms) == 1:
        ((divisor, scale),) = right.terms.items()
        quotient, rest = {}, {}
        for monomial, coefficient in left.terms.items():
            reduced = _divide(monomial, divisor)
            if reduced is not None and coefficient % scale == 0:
                quotient[reduced] = coefficient // scale
            else:
                rest[monomial] = coefficient
        return _make(quotient), _make(rest)
    return _split_by_sum(left, right)


def _split_by_sum(left: SymExpr, right: SymExpr) -> tuple[Dim, Dim]:
    """Polynomial long division by a sum, by its leading term; gives up as soon as one does not divide."""
    # The leading term is one of the highest degree: then every step lowers the degree of what is left.
    lead, scale = max(right.sorted_terms(), key=lambda term: sum(power for _, power in term[0]))
    quotient: Dim = 0
    rest: Dim = left
    for _ in range(len(left.terms)):
        if isinstance(rest, int):
            break
        for monomial, coefficient in rest.sorted_terms():
            reduced = _divide(monomial, lead)
            if reduced is not None and coefficient % scale == 0:
                factor = _make({reduced: coefficient // scale})
                shorter = rest - factor * right
                break
        else:
            break
        if isinstance(shorter, SymExpr) and len(shorter.terms) >= len(rest.terms) + 1:
            break
        quotient, rest = quotient + factor, shorter
    return quotient, rest


def _divide(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    powers = dict(monomial)
    for atom, power in divisor:
        left = powers.get(atom, 0) - power
        if left < 0:
            return None
        powers[atom] = left
    return tuple((atom, power) for atom, power in powers.items() if power)


def maximum(left: Dim, right: Dim) -> Dim:
    """The larger of two expressions."""
    if is_nonnegative(left - right):
        return left
    if is_nonnegative(right - left):
        return right
    return of_atom(Func("max", (left, right)))


def minimum(left: Dim, right: Dim) -> Dim:
    """The smaller of two expressions."""
    if is_nonnegative(left - right):
        return right
    if is_nonnegative(right - left):
        return left
    return of_atom(Func("min", (left, right)))


def recombine(expression: Dim) -> Dim:
    """Puts quotients and remainders of the same division together again: `n*(p//n) + p%n` is `p`, and
    `n*((p % nm)//n) + p%n` is `p % nm`.
    """
    if isinstance(expression, int):
        return expression
    for monomial, coefficient in expression.terms.items():
        if len(monomial) != 1 or monomial[0][1] != 1:
            continue
        atom = monomial[0][0]
        if not isinstance(atom, Func) or atom.name not in ("mod", "floordiv"):
            continue
        dividend, divisor = atom.args
        if atom.name == "mod":
            scale = coefficient
        elif isinstance(divisor, int) and coefficient % divisor == 0:
            scale = coefficient // divisor
        else:
            continue
        quotient = floordiv(dividend, divisor) * divisor * scale
        both = quotient + mod(dividend, divisor) * scale
        if isinstance(both, SymExpr) and all(
            expression.terms.get(m) == c for m, c in both.terms.items()
        ):
            recombined = expression - both + dividend * scale
            if recombined != expression:
                return recombine(recombined)
    return expression


def stride_along(
    expression: Dim,
    variable: Symbol,
    reads: Callable[[Indirect, Symbol], bool] = lambda atom, variable: True,
) -> Dim | None:
    """By how much the expression grows with the variable, or None where that is not constant.

    `reads` says whether what an indirect index reads changes with the variable.
    """
    if isinstance(expression, int):
        return 0
    stride: Dim = 0
    for monomial, coefficient in expression.terms.items():
        rest: Dim = coefficient
        power_seen = 0
        for atom, power in monomial:
            if atom == variable:
                power_seen = power
                continue
            inner = set(atoms_in(of_atom(atom)))
            if not isinstance(atom, Symbol) and (
                variable in inner
                or any(isinstance(a, Indirect) and reads(a, variable) for a in (atom, *inner))
            ):
                return None
            for _ in range(power):
                rest = rest * of_atom(atom)
        if power_seen > 1:
            return None
        if power_seen == 1:
            stride = stride + rest
    return stride


def ceildiv(left: Dim, right: Dim) -> Dim:
    """Division rounded towards plus infinity."""
    return -floordiv(-left, right)


def equal(left: Dim, right: Dim) -> Dim:
    """1 where left == right, else 0."""
    known = is_equal(left, right)
    return int(known) if known is not None else of_atom(Func("equal", (left, right)))


def less(left: Dim, right: Dim) -> Dim:
    """1 where left < right, else 0."""
    known = is_less(left, right)
    return int(known) if known is not None else of_atom(Func("less", (left, right)))


def real(formula: Real, operands: Sequence[Dim]) -> Dim:
    """The integer that a formula of real numbers gives for these integers."""
    numbers = [operand for operand in operands if isinstance(operand, int)]
    if len(numbers) == len(operands):
        return reals.evaluate(formula, numbers)
    low, high = reals.bounds(formula, [bounds(operand) for operand in operands])
    return low if low == high else of_atom(Func("real", tuple(operands), formula))


_LONGEST_FRACTION = 1 << 20


def scaled(size: Dim, factor: float) -> Dim:
    """size * factor without its fraction, worked out in float64.

    Where no product rounds, it is a fraction of integers. The factor is finite.
    """
    numerator, denominator = factor.as_integer_ratio()
    is_short = denominator <= _LONGEST_FRACTION and 0 <= numerator <= _LONGEST_FRACTION
    if is_short and is_nonnegative(size):
        return floordiv(size * numerator, denominator)
    return real(Real("trunc", (Real("mul", (factor, Operand(0))),)), (size,))


_FUNCTIONS: Mapping[str, Callable[[Dim, Dim], Dim]] = {
    "floordiv": floordiv,
    "mod": mod,
    "max": maximum,
    "min": minimum,
    "equal": equal,
    "less": less,
}


def _applied(function: Func, args: Sequence[Dim]) -> Dim:
    if function.formula is not None:
        return real(function.formula, args)
    return _FUNCTIONS[function.name](*args)


def substitute(
    expression: Dim,
    values: Mapping[Atom, Dim],
    scalar: Callable[[object], object] | None = None,
) -> Dim:
    """Replace atoms by expressions; `scalar` maps what `Indirect` atoms hold."""
    if isinstance(expression, int):
        return expression
    total: Dim = 0
    for monomial, coefficient in expression.terms.items():
        term: Dim = coefficient
        for atom, power in monomial:
            value = _substitute_atom(atom, values, scalar)
            for _ in range(power):
                term = term * value
        total = total + term
    return total


def _substitute_atom(
    atom: Atom, values: Mapping[Atom, Dim], scalar: Callable[[object], object] | None
) -> Dim:
    replacement = values.get(atom)
    if replacement is not None:
        return replacement
    if isinstance(atom, Func):
        args = tuple(substitute(arg, values, scalar) for arg in atom.args)
        return _applied(atom, args) if args != atom.args else of_atom(atom)
    if isinstance(atom, Indirect) and scalar is not None:
        return of_atom(Indirect(scalar(atom.scalar), substitute(atom.size, values, scalar)))
    return of_atom(atom)


def evaluate(expression: Dim, values: Mapping[str, int]) -> int:
    """The integer an expression has when symbols have these values, by name; KeyError if one is missing."""
    if isinstance(expression, int):
        return expression
    total = 0
    for monomial, coefficient in expression.terms.items():
        term = coefficient
        for atom, power in monomial:
            if isinstance(atom, Symbol):
                value = values[atom.name]
            else:
                assert isinstance(atom, Func), "indirect indices have no value at compile time"
                result = _applied(atom, [evaluate(arg, values) for arg in atom.args])
                assert isinstance(result, int), "a function of integers is an integer"
                value = result
            term *= value**power
        total += term
    return total


def atoms_in(expression: Dim) -> Iterable[Atom]:
    """Every atom of an expression, those inside functions included."""
    if isinstance(expression, int):
        return
    for monomial in expression.terms:
        for atom, _ in monomial:
            yield atom
            if isinstance(atom, Func):
                for arg in atom.args:
                    yield from atoms_in(arg)


def symbols_in(expression: Dim) -> set[Symbol]:
    """Every symbol of an expression."""
    return {atom for atom in atoms_in(expression) if isinstance(atom, Symbol)}


# ---------------------------------------------------------------------------------------- shapes


def is_static(shape: Iterable[Dim]) -> bool:
    """Whether all sizes are integers."""
    return all(isinstance(size, int) for size in shape)


def element_count(shape: Iterable[Dim]) -> Dim:
    """The product of the sizes; 1 for a scalar."""
    return prod(shape, start=1)


def contiguous_strides(shape: Shape) -> tuple[Dim, ...]:
    """Row-major strides, in elements."""
    strides: list[Dim] = []
    step: Dim = 1
    for size in reversed(shape):
        strides.append(step)
        step = step * size
    return tuple(reversed(strides))


def flatten_index(index: Iterable[Dim], shape: Shape) -> Dim:
    """The row-major position of an index."""
    position: Dim = 0
    for i, size in zip(index, shape, strict=True):
        position = position * size + i
    return recombine(position)


def unflatten_index(position: Dim, shape: Shape) -> tuple[Dim, ...]:
    """The index at a row-major position."""
    index: list[Dim] = []
    for size, stride in zip(shape, contiguous_strides(shape), strict=True):
        if size == 1:
            index.append(0)
            continue
        quotient = floordiv(position, stride)
        index.append(quotient)
        position = mod(position, stride)
    return tuple(index)


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape tensors of these shapes broadcast to; `ValueError` where they do not.

    A size that is not known to be 1 wins over one that is; two symbolic sizes that are not known to
    differ are taken to be equal, which is what the exporter has proved.
    """
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[Dim] = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, start=rank - len(shape)):
            if result[axis] == 1:
                result[axis] = size
            elif size != 1:
                if is_equal(result[axis], size) is False:
                    raise ValueError(f"shapes {', '.join(map(str, shapes))} do not broadcast")
                if isinstance(size, int):
                    result[axis] = size
    return tuple(result)
