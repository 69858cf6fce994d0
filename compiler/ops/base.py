"""What an operator is, how graphs are built from operators, and which PyTorch targets they answer to.

Two things are registered in the modules beside this one:

- **Primitives**: subclasses of `Op`, frozen dataclasses whose fields are the attributes. Each holds its
  inference (`infer`), its NumPy reference (`reference`) and its lowering (`define`). Graphs consist of primitives only.
- **Targets**: functions under `@target("aten.gelu.default")` that take a `Builder` and the arguments of the
  operator's schema (names and defaults are the function's own) and build it from primitives or other targets.
  Inference, reference and lowering of a target follow from what it is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, fields
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from ...runtime.errors import CastoffError
from ..ir import shapes
from ..ir.dtypes import DType, Kind, promote
from ..ir.graph import Constant, Graph, Node, Origin, TensorType, Value
from ..ir.shapes import Dim
from ..kernels import Definition, Number
from ..records import dataclass
from .random_streams import RandomStreams


class OperatorError(CastoffError):
    """An operator was given arguments it does not take (wrong rank, shapes that do not match, …)."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What the NumPy reference runs in: the values of symbols, and a way to run subgraphs."""

    symbols: dict[str, int] = field(default_factory=dict)

    def size(self, dim: Dim) -> int:
        """The integer a `Dim` stands for in this run."""
        return shapes.evaluate(dim, self.symbols)

    def shape(self, dims: Iterable[Dim]) -> tuple[int, ...]:
        """The integers a shape stands for in this run."""
        return tuple(self.size(dim) for dim in dims)

    def run(self, graph: Graph, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs of a subgraph."""
        from .interpret import run_graph  # it knows all operators, operators know it only here

        return run_graph(graph, arguments, self)


@dataclass(frozen=True, slots=True)
class Op:
    """A primitive operator. Subclasses are frozen dataclasses; two instances are equal if their attributes are."""

    is_view: ClassVar[bool] = False
    """Its only output holds elements of its first input, rearranged: `inverse` exists."""
    has_effect: ClassVar[bool] = False
    """Kept though nobody reads its outputs."""
    cost: ClassVar[int] = 1
    """Rough instructions per element of what is defined by an expression: `Row.cost` of `pointwise`."""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """Types of the outputs; raises `OperatorError` for inputs it does not take."""
        raise NotImplementedError

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """The outputs by NumPy. Narrow floats are computed in float32 and rounded at the end."""
        raise NotImplementedError

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        """How the outputs are computed: one `Definition` per output, or one `LibraryCall` for all of them."""
        raise NotImplementedError

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        """For views: `base` with the elements this view shows replaced by `updated`."""
        raise OperatorError(f"{self}: writing through this view is not possible")

    def __str__(self) -> str:
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        attributes = ", ".join(f"{name}={x}" for name, x in given.items() if x is not None)
        name = type(self).__name__
        return f"{name}[{attributes}]" if attributes else name


@dataclass(frozen=True, slots=True, eq=False)
class WeakScalar:
    """A 0-d value that stands for a Python number: it takes part in type promotion as a number does."""

    value: Value


Operand = Value | WeakScalar | Number | shapes.SymExpr
"""What a Tensor argument of a schema may hold: a value, a number, or a symbolic number."""


class TargetFunction(Protocol):
    """A function registered for a target: builds it from primitives, gives its result (a tuple for several)."""

    def __call__(self, b: Builder, /, *args: Any, **kwargs: Any) -> Any: ...


_TARGETS: dict[str, TargetFunction] = {}
_ALIASING: set[str] = set()
_MISDESCRIBED: set[str] = set()
_SAMPLES: dict[str, tuple[str, ...]] = {}
F = TypeVar("F", bound=Callable[..., Any])


def target(
    *names: str, alias: bool = False, misdescribed: bool = False, samples: Sequence[str] = ()
) -> Callable[[F], F]:
    """Register a function for operator targets, as `aten.add.Tensor`.

    `alias`: where the result is a chain of views of the first argument, it shares memory with it in PyTorch,
    so that writing to one is seen through the other. In-place forms (`aten.add_.Tensor`) need no registration: the
    importer makes them from the functional one.

    `misdescribed`: PyTorch records other types of the results than the operator gives; they are not held against ours.

    `samples`: calls that tests run, as `(float32[3, 4], dim=1)`; each goes for every name. `samples/` says how they
    read, and holds most.
    """

    def register(function: F) -> F:
        for name in names:
            assert name not in _TARGETS, f"two definitions of {name}"
            _TARGETS[name] = function
            if samples:
                _SAMPLES[name] = tuple(samples)
            if alias:
                _ALIASING.add(name)
            if misdescribed:
                _MISDESCRIBED.add(name)
        return function

    return register


def find_target(name: str) -> TargetFunction | None:
    """The function registered for a target, if there is one."""
    return _TARGETS.get(name)


def is_aliasing(name: str) -> bool:
    """Whether the target's result may share memory with its first argument."""
    return name in _ALIASING


def is_misdescribed(name: str) -> bool:
    """Whether files have other types for the target's results than it gives."""
    return name in _MISDESCRIBED


def registered_targets() -> Mapping[str, TargetFunction]:
    """Every registered target."""
    return _TARGETS


def registered_samples() -> Mapping[str, tuple[str, ...]]:
    """The samples that stand with registrations, by target."""
    return _SAMPLES


class Builder:
    """Adds nodes to a graph under construction; one per graph.

    The methods here are what targets are written with. Shapes and dtypes are inferred as nodes are added, so a target
    can look at `value.shape` and `value.dtype` at any time.
    """

    def __init__(self) -> None:
        self.random = RandomStreams()
        self.nodes: list[Node] = []
        self.constants: dict[Value, Constant] = {}
        self.origin = Origin()
        self.name_hint = ""
        self._names: dict[str, int] = {}
        self._producers: dict[Value, Node] = {}
        self._fresh_symbols = 0

    # ---- the base

    def unique_name(self, hint: str) -> str:
        """A name no other value of this graph has, close to `hint`."""
        count = self._names.get(hint, 0)
        self._names[hint] = count + 1
        if count == 0:
            return hint
        return self.unique_name(f"{hint}_{count}")

    def emit(self, op: Op, *inputs: Value) -> tuple[Value, ...]:
        """Add a node; its outputs."""
        types = op.infer(*(value.type for value in inputs))
        hint = self.name_hint or type(op).__name__.lower()
        outputs = tuple(Value(self.unique_name(hint), t) for t in types)
        node = Node(op, inputs, outputs, self.origin)
        self.nodes.append(node)
        for output in outputs:
            self._producers[output] = node
        return outputs

    def emit1(self, op: Op, *inputs: Value) -> Value:
        """Add a node that has one output; the output."""
        (output,) = self.emit(op, *inputs)
        return output

    def producer(self, value: Value) -> Node | None:
        """The node that made a value, if one of this builder's did."""
        return self._producers.get(value)

    def array(self, array: np.ndarray, name: str = "constant") -> Value:
        """A constant with these elements."""
        from ..ir.dtypes import from_numpy

        value = Value(
            self.unique_name(name), TensorType(from_numpy(array.dtype), tuple(array.shape))
        )
        self.constants[value] = Constant(
            value.name, np.ascontiguousarray(array).reshape(array.shape)
        )
        return value

    def fresh_symbol(self, low: int = 0, high: int = shapes.INFINITY) -> shapes.Symbol:
        """A new symbol for a size that only the run decides."""
        self._fresh_symbols += 1
        return shapes.Symbol(f"n{self._fresh_symbols}", low, high)

    def read_symbol(
        self, value: Value, low: int = 0, high: int = shapes.INFINITY
    ) -> shapes.SymExpr:
        """A new symbol that is the value of a 0-d integer; the run fails where it is outside [low, high]."""
        from .symbols import ReadSymbol

        symbol = self.fresh_symbol(low, high)
        self.emit(ReadSymbol(symbol), self.cast(value, DType.INT64))
        return shapes.of_atom(symbol)

    def write(self, value: Value, updated: Value) -> None:
        """The source program changes `value` in place to `updated` (same type)."""
        raise OperatorError(f"in-place change of {value} outside an imported program")

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Build another target, by name: `b.call("aten.softmax.int", x, -1)`."""
        return _TARGETS[name](self, *args, **kwargs)

    # ---- primitives used everywhere (their classes are in the family modules)

    def full(self, shape: Sequence[Dim], value: Number, dtype: DType) -> Value:
        """A tensor of one number."""
        from .creation import Full

        return self.emit1(Full(tuple(shape), value, dtype))

    def dim(self, expression: Dim, dtype: DType = DType.INT64) -> Value:
        """A 0-d tensor that holds a size or another symbolic integer."""
        from .creation import DimValue

        if isinstance(expression, int):
            return self.full((), expression, dtype)
        return self.cast(self.emit1(DimValue(expression)), dtype)

    def iota(self, length: Dim, dtype: DType = DType.INT64) -> Value:
        """0, 1, …, length - 1."""
        from .creation import Iota

        return self.cast(self.emit1(Iota(length)), dtype)

    def apply(self, name: str, *inputs: Value) -> Value:
        """A pointwise primitive by its name in `pointwise.TABLE`; inputs broadcast and have one dtype."""
        from .pointwise import pointwise

        return self.emit1(pointwise(name), *inputs)

    def cast(self, x: Value, dtype: DType) -> Value:
        """Conversion to a dtype; `x` itself where it has it."""
        from .pointwise import CastTo

        return x if x.dtype is dtype else self.emit1(CastTo(dtype), x)

    def widen(self, operand: Operand, dtype: DType | None = None) -> Value:
        """An operand of arithmetic in `dtype` (its own where none is given), in the type that is done in.

        For operators that have no steps: `Widen` says what they see of what was computed beside them.
        """
        from .pointwise import Widen

        if isinstance(operand, Value) and dtype in (None, operand.dtype):
            is_narrow = operand.dtype is not operand.dtype.compute
            return self.emit1(Widen(), operand) if is_narrow else operand
        return self.tensor(operand, None if dtype is None else dtype.compute)

    def where(self, condition: Value, then: Value, otherwise: Value) -> Value:
        """Elementwise select; all broadcast, `then` and `otherwise` have one dtype."""
        from .pointwise import Where

        return self.emit1(Where(), condition, then, otherwise)

    def reshape(self, x: Value, shape: Sequence[Dim]) -> Value:
        """The elements in row-major order under another shape (no -1)."""
        from .view import Reshape

        shape = tuple(shape)
        return x if shape == x.shape else self.emit1(Reshape(shape), x)

    def permute(self, x: Value, order: Sequence[int]) -> Value:
        """Dimensions in another order."""
        from .view import Permute

        order = tuple(axis % max(x.rank, 1) for axis in order)
        return x if order == tuple(range(x.rank)) else self.emit1(Permute(order), x)

    def transpose(self, x: Value, first: int, second: int) -> Value:
        """Two dimensions swapped."""
        order = list(range(x.rank))
        order[first], order[second] = order[second], order[first]
        return self.permute(x, order)

    def expand(self, x: Value, shape: Sequence[Dim]) -> Value:
        """Broadcast to a shape (leading dimensions are added, sizes of 1 stretched)."""
        from .view import Expand

        shape = tuple(shape)
        return x if shape == x.shape else self.emit1(Expand(shape), x)

    def slice(self, x: Value, axis: int, start: Dim, length: Dim, step: int = 1) -> Value:
        """`length` elements along an axis from `start` (>= 0, in range) on, every `step`-th."""
        from .view import Slice

        axis %= x.rank
        if start == 0 and step == 1 and length == x.shape[axis]:
            return x
        return self.emit1(Slice(axis, start, length, step), x)

    def select(self, x: Value, axis: int, position: Dim) -> Value:
        """One position along an axis, which disappears."""
        axis %= x.rank
        return self.squeeze(self.slice(x, axis, position, 1), axis)

    def squeeze(self, x: Value, axis: int) -> Value:
        """Without an axis of size 1."""
        axis %= x.rank
        return self.reshape(x, x.shape[:axis] + x.shape[axis + 1 :])

    def unsqueeze(self, x: Value, axis: int) -> Value:
        """With a new axis of size 1 at `axis` (of the result)."""
        axis %= x.rank + 1
        return self.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))

    def flip(self, x: Value, axes: Sequence[int]) -> Value:
        """Elements in reverse order along some axes."""
        from .view import Flip

        return self.emit1(Flip(tuple(sorted(axis % x.rank for axis in axes))), x) if axes else x

    def concatenate(self, values: Sequence[Value], axis: int) -> Value:
        """Values of one dtype, one after the other along an axis."""
        from .view import Concatenate

        return self.emit1(Concatenate(axis % values[0].rank), *values)

    def pad(self, x: Value, padding: Sequence[tuple[Dim, Dim]], value: Number = 0) -> Value:
        """`padding[axis]` = (before, after) elements of `value`; negative numbers crop."""
        from .view import Pad

        return self.emit1(Pad(tuple(padding), value), x)

    def reduce(self, kind: str, x: Value, axes: Sequence[int], keepdim: bool = False) -> Value:
        """A reduction ("sum", "prod", "max", "min", "any", "all", "xor") over axes; the dtype stays."""
        from .reduction import Reduce

        axes = tuple(sorted({axis % max(x.rank, 1) for axis in axes}))
        result = self.emit1(Reduce(kind, axes), x) if x.rank else self.emit1(Reduce(kind, ()), x)
        if not keepdim:
            return result
        return self.reshape(result, tuple(1 if a in axes else s for a, s in enumerate(x.shape)))

    def matmul(self, left: Value, right: Value) -> Value:
        """Matrix product over the last two dimensions with broadcast batch dimensions; one dtype."""
        from .matmul import MatMul

        dtype = left.dtype
        if dtype.is_float and dtype.itemsize == 1:  # float8 is for storage, no kernel multiplies it
            left, right = self.cast(left, dtype.compute), self.cast(right, right.dtype.compute)
        return self.cast(self.emit1(MatMul(), left, right), dtype)

    # ---- type promotion

    def result_type(self, *operands: Operand) -> DType:
        """The dtype `torch.result_type` gives: tensors outrank 0-d tensors outrank numbers, within one kind."""
        levels: list[DType | None] = [None, None, None]
        for operand in operands:
            level, dtype = _promotion_level(operand)
            current = levels[level]
            levels[level] = dtype if current is None else promote(current, dtype)
        result: DType | None = None
        for level, dtype_or_none in enumerate(levels):
            if dtype_or_none is None:
                continue
            if result is None:
                result = dtype_or_none
            elif dtype_or_none.kind > result.kind:
                if level == 2 and dtype_or_none.is_complex and result.is_float:
                    result = result.complex
                else:
                    result = dtype_or_none
        return result or DType.FLOAT32

    def tensor(self, operand: Operand, dtype: DType | None = None) -> Value:
        """An operand as a value of a dtype (its own where none is given)."""
        if isinstance(operand, WeakScalar):
            operand = operand.value
        if isinstance(operand, Value):
            return operand if dtype is None else self.cast(operand, dtype)
        if isinstance(operand, shapes.SymExpr):
            return self.dim(operand, dtype or DType.INT64)
        return self.full((), operand, dtype or _promotion_level(operand)[1])

    def promoted(self, *operands: Operand, floating: bool = False) -> tuple[Value, ...]:
        """Operands cast to their common dtype; `floating` makes integers float32 first."""
        dtype = self.result_type(*operands)
        if floating and dtype.kind < Kind.FLOAT:
            dtype = DType.FLOAT32
        return tuple(self.tensor(operand, dtype) for operand in operands)


def _promotion_level(operand: Operand) -> tuple[int, DType]:
    match operand:
        case Value():
            return (0 if operand.rank else 1), operand.dtype
        case WeakScalar():
            dtype = operand.value.dtype
            return 2, DType.FLOAT32 if dtype.is_float else dtype
        case bool():
            return 2, DType.BOOL
        case int() | shapes.SymExpr():
            return 2, DType.INT64
        case float():
            return 2, DType.FLOAT32
        case complex():
            return 2, DType.COMPLEX64
    raise OperatorError(f"{operand!r} is neither a tensor nor a number")


def normalize_axis(axis: int, rank: int) -> int:
    """A dimension counted from the front; 0-d tensors have the virtual dimension 0."""
    limit = max(rank, 1)
    if not -limit <= axis < limit:
        raise OperatorError(f"dimension {axis} of a tensor with {rank} dimensions")
    return axis % limit


def normalize_axes(axes: Sequence[int] | int | None, rank: int) -> tuple[int, ...]:
    """Sorted dimensions from the front; None and the empty list mean all."""
    if isinstance(axes, int):
        axes = (axes,)
    if not axes:
        return tuple(range(rank))
    return tuple(sorted({normalize_axis(axis, rank) for axis in axes})) if rank else ()
