"""In-place operators and views as functional ones.

Every tensor of the source program is a `TensorRef`: a storage seen through a chain of view
primitives. Writing to a tensor computes a new value of its storage through the `inverse` of those
views; other tensors over the same storage are read off the new value when they are next used.

    v = x[1]; v.add_(1); use(x)   ->   v' = slice(x) + 1; x' = slice_scatter(x, v'); use(x')
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field

from ..ir import shapes
from ..ir.graph import Value
from ..ir.shapes import Dim, Symbol
from ..ops.base import Builder, Op, OperatorError
from ..ops.random_streams import RandomStreams
from ..records import dataclass


@dataclass(slots=True, eq=False)
class Storage:
    """Memory that tensors share: the value it holds now, as its first tensor sees it."""

    value: Value
    initial: Value
    version: int = 0

    @property
    def is_written(self) -> bool:
        """Whether the program has changed it."""
        return self.value is not self.initial


@dataclass(slots=True, eq=False)
class TensorRef:
    """One tensor of the source program."""

    storage: Storage
    views: tuple[Op, ...] = ()
    _value: Value | None = None
    _version: int = -1

    def read(self, b: Builder) -> Value:
        """Its value now."""
        if not self.views:
            return self.storage.value
        if self._value is None or self._version != self.storage.version:
            value = self.storage.value
            for view in self.views:
                value = b.emit1(view, value)
            self._value, self._version = value, self.storage.version
        return self._value

    def write(self, b: Builder, updated: Value) -> None:
        """Change the elements it shows; every tensor over the same storage changes with it."""
        bases = [self.storage.value]
        for view in self.views[:-1]:
            bases.append(b.emit1(view, bases[-1]))
        result = updated
        for view, base in zip(reversed(self.views), reversed(bases), strict=False):
            result = view.inverse(b, base, result)
        self.storage.value = result
        self.storage.version += 1
        self._value, self._version = updated, self.storage.version

    def remember(self, value: Value) -> None:
        """`value` is what reading it gives at present: it need not be computed again."""
        self._value, self._version = value, self.storage.version

    def viewed(self, views: Sequence[Op], value: Value) -> TensorRef:
        """Another tensor over the same storage, `views` behind this one, that is `value` now."""
        ref = TensorRef(self.storage, (*self.views, *views))
        ref.remember(value)
        return ref


def fresh(value: Value) -> TensorRef:
    """A tensor with memory of its own."""
    return TensorRef(Storage(value, value))


@dataclass(slots=True)
class SymbolNames:
    """Numbers for symbols that a run decides, unique in a program with all its subgraphs."""

    count: int = 0
    taken: set[str] = field(default_factory=set)

    def next(self) -> str:
        """A name not given out before."""
        while True:
            self.count += 1
            name = f"n{self.count}"
            if name not in self.taken:
                return name


class ImportBuilder(Builder):
    """A builder that knows which tensor of the source program each argument of the current operator
    is."""

    def __init__(self, names: SymbolNames, random: RandomStreams) -> None:
        super().__init__()
        self.random = random
        self._symbol_names = names
        self._arguments: dict[Value, TensorRef] = {}

    def fresh_symbol(self, low: int = 0, high: int = shapes.INFINITY) -> Symbol:
        return Symbol(self._symbol_names.next(), low, high)

    def begin_call(self) -> None:
        """A new operator: forget the arguments of the previous one."""
        self._arguments = {}

    def argument(self, ref: TensorRef) -> Value:
        """The present value of an argument, which the operator may `write` to."""
        value = ref.read(self)
        self._arguments[value] = ref
        return value

    def write(self, value: Value, updated: Value) -> None:
        ref = self._arguments.get(value)
        if ref is None:
            raise OperatorError(f"in-place change of {value}, which is no argument")
        self.write_ref(ref, updated)

    def write_ref(self, ref: TensorRef, updated: Value) -> None:
        """In-place change of a tensor: cast and broadcast to what it is."""
        current = ref.read(self)
        updated = self.expand(self.cast(updated, current.dtype), current.shape)
        ref.write(self, updated)

    def view_chain(self, result: Value, start: Value) -> tuple[Op, ...] | None:
        """The views that lead from `start` to `result`; None where anything else lies between."""
        chain: list[Op] = []
        while result is not start:
            node = self.producer(result)
            if node is None or not node.op.is_view or len(node.inputs) != 1:
                return None
            chain.append(node.op)
            (result,) = node.inputs
        return tuple(reversed(chain))


def view_strides(
    shape: Sequence[Dim], strides: Sequence[Dim], new_shape: Sequence[Dim]
) -> tuple[Dim, ...] | None:
    """Strides under which memory of this shape and strides has another shape without a copy; None
    if there are none.

    Symbolic sizes count as different from 1 and from each other unless they are the same
    expression.
    """
    if any(size == 0 for size in shape):
        return shapes.contiguous_strides(tuple(new_shape))
    blocks = _dense_blocks(shape, strides)
    result: list[Dim] = []
    remaining = list(new_shape)
    for count, stride in blocks:
        covered: Dim = 1
        step = stride
        while remaining and (covered != count or remaining[-1] == 1):
            size = remaining[-1]
            if size != 1 and not _divides(covered * size, count):
                break
            remaining.pop()
            result.append(step)
            step = step * size
            covered = covered * size
        if covered != count:
            return None
    while remaining and remaining[-1] == 1:
        remaining.pop()
        result.append(1)
    return None if remaining else tuple(reversed(result))


def _divides(part: Dim, whole: Dim) -> bool:
    if isinstance(part, int) and isinstance(whole, int):
        return part != 0 and whole % part == 0
    return part == whole or shapes.split_multiple(whole, part)[1] == 0


def _dense_blocks(shape: Sequence[Dim], strides: Sequence[Dim]) -> Iterator[tuple[Dim, Dim]]:
    """(elements, innermost stride) of the runs of dimensions that lie densely, from the last to the
    first."""
    count: Dim = 1
    innermost: Dim = 1
    is_open = False
    for size, stride in zip(reversed(shape), reversed(strides), strict=False):
        if size == 1:
            continue
        if is_open and stride == innermost * count:
            count = count * size
            continue
        if is_open:
            yield count, innermost
        count, innermost, is_open = size, stride, True
    if is_open:
        yield count, innermost
