"""What operators are lowered to: scalar expressions and the definitions built from them.

A *definition* says how the elements of a value come about, leaving loops, memory and fusion to `lowering`:

- `Pointwise`: one scalar expression per element. Views are pointwise definitions that only load.
- `Reduction`: a combination over extra loop variables.
- `Scatter`: a base, and updates at computed positions.
- `LibraryCall`: a C function of the headers in `templates/`, over whole contiguous arrays.
- `MatrixProduct`, `Convolution`, `Attention`: the register-tiled kernels, whose epilogue lowering fuses.

A `Scalar` is an expression over elements. Loads name graph values and positions in them; what is inlined
and what is memory is decided later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field

from .ir import shapes
from .ir.dtypes import DType
from .ir.graph import Graph, Value
from .ir.shapes import Dim, Indirect, Shape
from .records import dataclass

Number = bool | int | float | complex
Index = tuple[Dim, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """An expression for one element. `dtype` is the type it is computed in (float32 for narrow floats)."""

    dtype: DType

    def __add__(self, other: Scalar | Number) -> Scalar:
        return apply("add", self, literal_like(other, self))

    def __radd__(self, other: Number) -> Scalar:
        return apply("add", literal_like(other, self), self)

    def __sub__(self, other: Scalar | Number) -> Scalar:
        return apply("sub", self, literal_like(other, self))

    def __rsub__(self, other: Number) -> Scalar:
        return apply("sub", literal_like(other, self), self)

    def __mul__(self, other: Scalar | Number) -> Scalar:
        return apply("mul", self, literal_like(other, self))

    def __rmul__(self, other: Number) -> Scalar:
        return apply("mul", literal_like(other, self), self)

    def __truediv__(self, other: Scalar | Number) -> Scalar:
        return apply("div", self, literal_like(other, self))

    def __neg__(self) -> Scalar:
        return apply("neg", self)


@dataclass(frozen=True, slots=True, eq=False)
class Literal(Scalar):
    """A constant."""

    value: Number

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class IndexValue(Scalar):
    """The int64 value of an index expression."""

    expression: Dim

    def __str__(self) -> str:
        return f"<{self.expression}>"


@dataclass(frozen=True, slots=True, eq=False)
class Load(Scalar):
    """An element of a value; the position must be inside its shape."""

    value: Value
    index: Index

    def __str__(self) -> str:
        return f"{self.value.name}[{', '.join(map(str, self.index))}]"


@dataclass(frozen=True, slots=True, eq=False)
class Apply(Scalar):
    """A scalar operation by name; what it is called in C is the target's business."""

    name: str
    args: tuple[Scalar, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.args))})"


@dataclass(frozen=True, slots=True, eq=False)
class Cast(Scalar):
    """Conversion to `to`, rounded to it: `dtype` is `to.compute`."""

    arg: Scalar
    to: DType

    def __str__(self) -> str:
        return f"{self.to.value}({self.arg})"


@dataclass(frozen=True, slots=True, eq=False)
class Masked(Scalar):
    """`body` where `condition` holds, else `otherwise`; `body` is not evaluated (no load) otherwise."""

    condition: Scalar
    body: Scalar
    otherwise: Scalar

    def __str__(self) -> str:
        return f"masked({self.condition}, {self.body}, {self.otherwise})"


def literal(value: Number, dtype: DType) -> Literal:
    """A constant of a type, converted as C converts (int to float, float to int by truncation)."""
    compute = dtype.compute
    if compute is DType.BOOL:
        value = bool(value)
    elif compute.is_integer:
        value = int(value.real if isinstance(value, complex) else value)
        bits = compute.itemsize * 8
        value &= (1 << bits) - 1
        if compute.is_signed and value >> (bits - 1):
            value -= 1 << bits
    elif compute.is_float:
        value = float(value.real if isinstance(value, complex) else value)
    else:
        value = complex(value)
    return Literal(compute, value)


def literal_like(value: Scalar | Number, like: Scalar) -> Scalar:
    """`value` as a scalar of the type of `like`."""
    return value if isinstance(value, Scalar) else literal(value, like.dtype)


COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
PREDICATES = COMPARISONS | {"isnan", "isinf", "isfinite", "logical_and", "logical_or", "logical_not",
                            "logical_xor", "signbit"}  # fmt: skip
"""Scalar operations whose result is bool whatever they are applied to."""


def apply(name: str, *args: Scalar, dtype: DType | None = None) -> Scalar:
    """A scalar operation; its type is `dtype`, bool for predicates, else the last argument's."""
    if dtype is None:
        dtype = DType.BOOL if name in PREDICATES else args[-1].dtype
    return Apply(dtype, name, args)


def decided(comparison: Apply) -> bool | None:
    """What a comparison of an unsigned number with 0 always gives; None for all others."""
    left, right = comparison.args[0], comparison.args[-1]
    if left.dtype.is_float or left.dtype.is_complex or left.dtype.is_signed:
        return None
    match comparison.name, left, right:
        case ("lt", _, Literal(value=0)) | ("gt", Literal(value=0), _):
            return False
        case ("ge", _, Literal(value=0)) | ("le", Literal(value=0), _):
            return True
    return None


def cast(arg: Scalar, to: DType) -> Scalar:
    """Conversion to a type, rounding to it; nothing where it is of that type already."""
    if arg.dtype is to:
        return arg
    if isinstance(arg, Literal) and to.compute is to and not (to.is_integer and arg.dtype.is_float):
        return literal(arg.value, to)
    return Cast(to.compute, arg, to)


def load(value: Value, index: Index) -> Load:
    """The element of a value at an index (one `Dim` per dimension)."""
    assert len(index) == value.rank, f"{value} indexed with {len(index)} positions"
    return Load(value.dtype.compute, value, index)


def load_broadcast(value: Value, index: Index) -> Load:
    """The element a value broadcast to the rank of `index` has there."""
    index = index[len(index) - value.rank :]
    return load(
        value, tuple(0 if size == 1 else i for i, size in zip(index, value.shape, strict=True))
    )


def load_rounded(value: Value, index: Index) -> Scalar:
    """As `load`, rounded to a narrow type where the element is computed in the same loop."""
    return cast(load(value, index), value.dtype)


def index_value(expression: Dim) -> Scalar:
    """An index expression as an int64 scalar."""
    if isinstance(expression, int):
        return Literal(DType.INT64, expression)
    return IndexValue(DType.INT64, expression)


def where(condition: Scalar, then: Scalar, otherwise: Scalar) -> Scalar:
    """A select: both sides are evaluated."""
    if isinstance(condition, Literal):
        return then if condition.value else otherwise
    return apply("where", condition, then, otherwise, dtype=then.dtype)


def masked(condition: Scalar, body: Scalar, otherwise: Scalar) -> Scalar:
    """`body` guarded by a condition: it is evaluated (and its loads done) only where the condition holds."""
    if isinstance(condition, Literal):
        return body if condition.value else otherwise
    return Masked(body.dtype, condition, body, otherwise)


def all_of(conditions: Sequence[Scalar]) -> Scalar:
    """The conjunction; constants are folded."""
    result: Scalar = Literal(DType.BOOL, True)
    for condition in conditions:
        if isinstance(condition, Literal):
            if not condition.value:
                return condition
        elif isinstance(result, Literal):
            result = condition
        else:
            result = apply("logical_and", result, condition)
    return result


def compare(name: str, left: Dim, right: Dim) -> Scalar:
    """A comparison ("lt", "le", "gt", "ge", "eq", "ne") of index expressions, folded where it is known."""
    match name:
        case "lt":
            known = shapes.is_less(left, right)
        case "gt":
            known = shapes.is_less(right, left)
        case "le" | "ge":
            less = shapes.is_less(right, left) if name == "le" else shapes.is_less(left, right)
            known = None if less is None else not less
        case _:
            known = shapes.is_equal(left, right)
            known = known if known is None or name == "eq" else not known
    if known is not None:
        return Literal(DType.BOOL, known)
    return apply(name, index_value(left), index_value(right))


def in_range(expression: Dim, size: Dim) -> Scalar:
    """Whether 0 <= expression < size."""
    return all_of([compare("ge", expression, 0), compare("lt", expression, size)])


def checked_index(scalar: Scalar, size: Dim, *, wrap: bool = True) -> Dim:
    """A position in [0, size) read from memory.

    Negative values count from the end where `wrap`. A value outside makes the run fail with
    "index out of range"; the position is then 0, so that nothing is read outside the tensor.
    """
    if isinstance(scalar, Literal) and isinstance(size, int):
        position = int(scalar.value.real)
        if position < 0 and wrap:
            position += size
        if 0 <= position < size:
            return position
    name = "wrap_index" if wrap else "check_index"
    checked = apply(name, cast(scalar, DType.INT64), index_value(size), dtype=DType.INT64)
    return shapes.of_atom(Indirect(checked, size))


def clamped_index(scalar: Scalar, size: Dim) -> Dim:
    """A computed int64 position that is known to be in [0, size): no check is generated."""
    return shapes.of_atom(Indirect(cast(scalar, DType.INT64), size))


def is_inside(index: Index, shape: Shape) -> Scalar:
    """Whether there is an element at an index whose computed positions are `checked_index`.

    A position that failed its check is 0, which is inside every dimension but an empty one.
    """
    return all_of(
        [
            apply("lt", index_value(i), index_value(size))
            for i, size in zip(index, shape, strict=True)
            if any(isinstance(atom, Indirect) for atom in shapes.atoms_in(i))
            and shapes.lower_bound(size) <= 0
        ]
    )


def load_checked(value: Value, index: Index) -> Scalar:
    """As `load`, for an index with `checked_index` in it: 0 where there is no element at all."""
    return masked(is_inside(index, value.shape), load(value, index), literal(0, value.dtype))


# ----------------------------------------------------------------------------------- definitions


@dataclass(frozen=True, slots=True)
class Pointwise:
    """`body(index)` gives the element at an index of the output."""

    body: Callable[[Index], Scalar]
    is_view: bool = False
    """The body is one load: never stored for its own sake."""


REDUCTIONS = ("sum", "prod", "max", "min", "any", "all", "xor", "argmax", "argmin")


@dataclass(frozen=True, slots=True)
class Reduction:
    """`kind` over `body(index, reduced)` for `reduced` in the box `extents`.

    The output's shape is that of `index` alone. max and min propagate NaN. argmax and argmin give the row-major
    position in the box of the first largest (smallest) element, a NaN winning. An empty box gives the neutral
    element.
    """

    kind: str
    extents: Shape
    body: Callable[[Index, Index], Scalar]


@dataclass(frozen=True, slots=True)
class Scatter:
    """`base(index)` everywhere, then for every position of `domain` in row-major order: combine
    `value(position)` into the element at `target(position)`.

    combine: "set" (the last wins), "add", "mul", "max", "min". Where `condition` is given, positions for
    which it is false are left out.
    """

    base: Callable[[Index], Scalar]
    domain: Shape
    target: Callable[[Index], Index]
    value: Callable[[Index], Scalar]
    combine: str = "set"
    condition: Callable[[Index], Scalar] | None = None


@dataclass(frozen=True, slots=True)
class In:
    """Argument: pointer to the elements of an input, contiguous, row-major (`const T *`)."""

    position: int


@dataclass(frozen=True, slots=True)
class Out:
    """Argument: pointer to an output's elements, contiguous (`T *`)."""

    position: int


@dataclass(frozen=True, slots=True)
class Scratch:
    """Argument: pointer to `size_bytes` bytes of 64-byte aligned temporary memory."""

    size_bytes: Dim


@dataclass(frozen=True, slots=True)
class Size:
    """Argument: an `int64_t`."""

    value: Dim


@dataclass(frozen=True, slots=True)
class Real:
    """Argument: a `double` (or, with `dtype` INT64 or BOOL, an integer) constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """Argument: pointer to an array of `int64_t` (`const int64_t *`)."""

    values: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Reals:
    """Argument: pointer to an array of `double` (`const double *`)."""

    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """Argument: a string (`const char *`)."""

    value: str


@dataclass(frozen=True, slots=True)
class Tensors:
    """Argument: pointer to an array that describes all inputs, or all outputs (`const castoff_operand *`)."""

    is_output: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """Argument: the thread pool (`castoff_pool *`)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Argument: `int *` set non-zero by the function where an index is out of range."""


Argument = In | Out | Scratch | Size | Real | Sizes | Reals | Text | Tensors | Pool | Fault


@dataclass(frozen=True, slots=True)
class HeaderText:
    """A header that `templates/` does not have: its path in the source tree, and its text."""

    path: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LibraryCall:
    """A call of a `static` C function of the headers in `templates/` that computes all outputs of a node.

    A function that returns `int` other than 0 makes the run fail with `failure`. `carried` holds those of the
    headers that come with the operator.
    """

    function: str
    headers: tuple[str, ...]
    arguments: tuple[Argument, ...]
    failure: str = ""
    carried: tuple[HeaderText, ...] = ()


@dataclass(frozen=True, slots=True)
class SymbolRead:
    """Defines a symbol as the value of a 0-d int64 input, checked to be in its range."""

    symbol: shapes.Symbol


@dataclass(frozen=True, slots=True)
class Check:
    """Makes the run fail with `message` unless the 0-d bool input is true."""

    message: str


@dataclass(frozen=True, slots=True)
class Branch:
    """Runs one of two graphs: the first where the 0-d bool input 0 is true. Inputs 1.. are their inputs."""

    then: Graph
    otherwise: Graph


@dataclass(frozen=True, slots=True)
class WhileLoop:
    """Runs `body` on the carried values while `condition` gives true.

    Inputs are `carried` values, then values both graphs read unchanged; outputs are the carried values.
    """

    condition: Graph
    body: Graph
    carried: int


@dataclass(frozen=True, slots=True)
class ScanLoop:
    """Runs `body` once per position of axis 0 of the scanned inputs.

    Inputs: `carried` initial values, `scanned` tensors [length, …], then values read unchanged. The body gets
    carried, slices, unchanged and gives carried, then slices that are stacked into the outputs after the carried.
    """

    body: Graph
    carried: int
    scanned: int
    length: Dim
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class MatrixProduct:
    """out[…, m, n] = sum over k of left[…, m, k] * right[…, k, n] with broadcast batch dimensions.

    `left_transposed`/`right_transposed`: the last two dimensions of the operand come swapped. Inputs 0 and 1.
    With `zero`, left holds levels of 8 bits and that is the one for 0; right is a constant of int8, out int32.
    """

    left_transposed: bool = False
    right_transposed: bool = False
    zero: int | None = None


@dataclass(frozen=True, slots=True)
class Convolution:
    """Inputs: x [N, C, *spatial], weight [O, C/groups, *kernel]; output [N, O, *]. No bias.

    `padding` holds (before, after) for every spatial dimension. With `channels_last`, x is
    [N, *spatial, C] and the output [N, *, O]. `zero` as in MatrixProduct.
    """

    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int
    channels_last: bool = False
    zero: int | None = None


@dataclass(frozen=True, slots=True)
class Attention:
    """softmax(scale * q k^T + mask) v. Inputs: q [B…, Hq, L, E], k [B…, Hk, S, E], v [B…, Hk, S, V],
    and, where `has_mask`, a bool (true takes part) or float (added) mask that broadcasts to [B…, Hq, L, S]."""

    scale: float
    is_causal: bool
    has_mask: bool


Definition = (
    Pointwise
    | Reduction
    | Scatter
    | LibraryCall
    | SymbolRead
    | Check
    | Branch
    | WhileLoop
    | ScanLoop
    | MatrixProduct
    | Convolution
    | Attention
)
