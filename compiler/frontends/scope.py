"""What is shared while one program is imported, and what one graph's names are bound to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field

from ...runtime.errors import CastoffError
from ..errors import UnsupportedOperator
from ..exported.schema import Graph as FileGraph
from ..ir import shapes
from ..ir.graph import Guard, Origin, TensorType, Value
from ..ir.shapes import Dim, Symbol
from ..ops.base import OperatorError
from ..ops.random_streams import RandomStreams
from ..ops.symbols import Refine
from ..records import dataclass
from .arguments import DTYPES, ScalarBinding, tensor_names
from .autocast import Autocast
from .functionalize import ImportBuilder, SymbolNames, TensorRef, fresh
from .symbols import SymbolTable


@dataclass(slots=True)
class ImportContext:
    """What all graphs of one program share."""

    symbols: SymbolTable
    names: SymbolNames = field(default_factory=SymbolNames)
    random: RandomStreams = field(default_factory=RandomStreams)
    remove_runtime_assertions: bool = False
    unsupported: list[UnsupportedOperator] = field(default_factory=list)
    guards: list[Guard] = field(default_factory=list)
    backed: set[Symbol] = field(default_factory=set)
    """Symbols that the inputs of a call decide: conditions on these alone are guards."""

    def refuse(self, origin: Origin, reason: str) -> None:
        """Note a node that cannot be imported."""
        place = str(Origin(origin.source, origin.module)).removeprefix("at ")
        self.unsupported.append(UnsupportedOperator(origin.target, place, reason))


@dataclass(slots=True, eq=False)
class Scope:
    """Names of one graph of the file, while its nodes are added to a builder."""

    context: ImportContext
    builder: ImportBuilder
    graph: FileGraph
    autocast: Autocast | None = None
    is_root: bool = False
    outer: Scope | None = None
    """Where names that this graph does not have are looked up, to be read as further inputs."""
    captured: dict[str, tuple[TensorRef, Value]] = field(default_factory=dict)
    """Tensors of the outer scope, by name: there, and as an input here."""
    _tensors: dict[str, TensorRef] = field(default_factory=dict)
    _scalars: dict[str, ScalarBinding] = field(default_factory=dict)
    _doubted: set[str] = field(default_factory=set)
    """Tensors about which the file is not believed."""
    _read: set[str] | None = None

    def inlined(self, graph: FileGraph, autocast: Autocast | None) -> Scope:
        """A scope for a subgraph whose nodes become nodes of this one."""
        return Scope(self.context, self.builder, graph, autocast, self.is_root)

    # ---- names

    def reads(self, name: str) -> bool:
        """Whether a node or an output of the graph reads a tensor."""
        if self._read is None:
            arguments = [named.arg for node in self.graph.nodes for named in node.inputs]
            self._read = {
                used
                for argument in (*arguments, *self.graph.outputs)
                for used in tensor_names(argument)
            }
        return name in self._read

    def tensor(self, name: str) -> TensorRef:
        """The tensor of a name."""
        ref = self._tensors.get(name)
        if ref is None and self.outer is not None:
            source = self.outer.tensor(name)
            value = source.read(self.outer.builder)
            inner = Value(self.builder.unique_name(name), value.type)
            ref = self._tensors[name] = fresh(inner)
            self.captured[name] = (source, inner)
        if ref is None:
            raise OperatorError(f"the program uses {name!r} before it is defined")
        return ref

    def scalar(self, name: str) -> ScalarBinding:
        """The symbolic number of a name."""
        if name not in self._scalars:
            if self.outer is not None:
                return self.outer.scalar(name)
            raise OperatorError(f"the program uses {name!r} before it is defined")
        return self._scalars[name]

    def bind_scalar(self, name: str, value: ScalarBinding) -> None:
        """From here on, `name` is this number."""
        self._scalars[name] = value
        if isinstance(value, (int, shapes.SymExpr)):
            meta = self.graph.sym_int_values.get(name)
            if meta is not None and not isinstance(meta, (int, bool)):
                symbol = self.context.symbols.single_symbol(meta)
                if symbol is not None and not self.context.symbols.knows(symbol):
                    self.context.symbols.define(symbol, value)

    def bind_tensor(self, name: str, ref: TensorRef) -> None:
        """From here on, `name` is this tensor; its type is held against what the file says of
        it."""
        if name in self._doubted:
            self._tensors[name] = ref
            return
        value = ref.read(self.builder)
        refined = self.refined(name, value)
        if refined is not value:
            node = self.builder.producer(refined)
            assert node is not None, "refining adds a node"
            ref = ref.viewed((node.op,), refined)
        self._tensors[name] = ref

    def rebind_tensor(self, name: str, ref: TensorRef) -> None:
        """An operator changed how `name` itself sees its memory."""
        self._tensors[name] = ref

    # ---- types

    def doubt(self, names: Iterable[str]) -> None:
        """What the file says of the types of these tensors is wrong, or follows from what is."""
        self._doubted.update(names)

    def doubts(self, name: str) -> bool:
        """Whether the file is not believed about a tensor."""
        return name in self._doubted

    def shape_of(self, name: str) -> tuple[Dim | None, ...] | None:
        """The sizes the file gives a tensor, None for unknown ones."""
        meta = self.graph.tensor_values.get(name)
        return None if meta is None else self.context.symbols.shape(meta.sizes)

    def strides_of(self, name: str) -> tuple[Dim | None, ...] | None:
        """The strides the file gives a tensor, None for unknown ones."""
        meta = self.graph.tensor_values.get(name)
        return None if meta is None else self.context.symbols.shape(meta.strides)

    def storage_offset_of(self, name: str) -> Dim | None:
        """Where the file has a tensor begin in its memory, None where that is not known."""
        meta = self.graph.tensor_values.get(name)
        return None if meta is None else self.context.symbols.shape((meta.storage_offset,))[0]

    def refined(self, name: str, value: Value) -> Value:
        """`value`, with the size expressions of the file where they are other expressions of the
        same sizes.

        Raises `OperatorError` where type and file contradict each other.
        """
        meta = self.graph.tensor_values.get(name)
        if meta is None:
            return value
        expected = self.context.symbols.shape(meta.sizes)
        dtype = DTYPES.get(meta.dtype)
        sizes: list[Dim] = []
        if dtype is value.dtype and None in expected and len(expected) != value.rank:
            for recorded, size in zip(meta.sizes, value.shape, strict=False):
                self._learn(recorded, size)
            return value  # PyTorch records a wrong rank for some data-dependent results
        fits = dtype is value.dtype and len(expected) == value.rank
        for axis, (size, wanted) in enumerate(zip(value.shape, expected, strict=False)):
            if wanted is None:
                self._learn(meta.sizes[axis], size)
            elif shapes.is_equal(size, wanted) is False:
                fits = False
            elif isinstance(wanted, int) and self.context.symbols.is_measured(size):
                pass  # a size of some data-dependent results is recorded as the largest it may have
            elif not isinstance(size, int):
                size = wanted
            sizes.append(size)
        if not fits:
            known = ", ".join("?" if size is None else str(size) for size in expected)
            said = f"{dtype.value if dtype else meta.dtype.name}[{known}]"
            raise OperatorError(f"castoff built {value.type} where the program says {said}")
        if tuple(sizes) == value.shape:
            return value
        return self.builder.emit1(Refine(tuple(sizes)), value)

    def records_wrong_rank(self, name: str, value: Value) -> bool:
        """PyTorch does so for some data-dependent results; what it says of their sizes is wrong."""
        meta = self.graph.tensor_values.get(name)
        if meta is None or DTYPES.get(meta.dtype) is not value.dtype:
            return False
        expected = self.context.symbols.shape(meta.sizes)
        return None in expected and len(expected) != value.rank

    def _learn(self, size: object, value: Dim) -> None:
        """A size that only the run decides got its symbol from the operator: the file's name stands
        for it from now on."""
        symbols = self.context.symbols
        symbol = symbols.single_symbol(size)  # type: ignore[arg-type]
        if symbol is not None and not symbols.knows(symbol):
            symbols.define(symbol, value)

    def placeholder(self, name: str) -> TensorRef:
        """A stand-in for a tensor whose operator could not be imported, so that the rest can be
        looked at."""
        meta = self.graph.tensor_values.get(name)
        if meta is None:
            raise CastoffError(f"the program describes no tensor {name!r}")
        symbols = self.context.symbols
        for size in meta.sizes:
            for symbol in symbols.unknown_symbols(size):
                symbols.define(symbol, shapes.of_atom(Symbol(symbol, 0)))
        sizes = tuple(1 if size is None else size for size in symbols.shape(meta.sizes))
        dtype = DTYPES.get(meta.dtype)
        if dtype is None:
            raise CastoffError(f"tensor {name!r} has the element type {meta.dtype.name}")
        value = Value(self.builder.unique_name(name), TensorType(dtype, sizes))
        return fresh(value)
