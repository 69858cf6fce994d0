"""One graph of a file under construction: calls of operators, added one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..exported import schema
from ..exported.arguments import input_names, names_in, output_names
from ..exported.torch_save import DTYPE_NAMES
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim, Shape, Symbol, SymExpr
from ..ops.base import OperatorError
from .size_nodes import SizeNodes, SymbolTexts

SCALAR_TYPES: Mapping[DType, schema.ScalarType] = {
    DType(name): scalar_type for name, scalar_type in DTYPE_NAMES.items()
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph that is written. `is_dense`: its memory is known to lie in row-major
    order."""

    name: str
    type: TensorType
    is_dense: bool = True

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.type.dtype

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        return self.type.shape

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.type.shape)


Given = (
    Tensor | Dim | float | complex | bool | str | DType | schema.MemoryFormat | schema.AsGraph
    | None | Sequence["Tensor | Dim | None"]
)  # fmt: skip


@dataclass(eq=False)
class GraphWriter:
    """Nodes, and the types of their results, in the order in which they are called.

    `origin` is the metadata of the nodes that follow.
    """

    texts: SymbolTexts
    taken: set[str] = field(default_factory=set)
    metadata: Mapping[str, str] = field(default_factory=dict)
    nodes: list[schema.Node] = field(default_factory=list)
    tensor_values: dict[str, schema.TensorMeta] = field(default_factory=dict)
    sym_int_values: dict[str, schema.SymInt] = field(default_factory=dict)
    sym_bool_values: dict[str, schema.SymBool] = field(default_factory=dict)
    sym_float_values: dict[str, schema.SymFloat] = field(default_factory=dict)
    written: dict[Value, Tensor] = field(default_factory=dict)
    numbers: dict[str, int | float] = field(default_factory=dict)
    """Tensors without dimensions that hold a known number."""
    sizes: SizeNodes = field(init=False)
    _sources: dict[Symbol, tuple[Tensor, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sizes = SizeNodes(self._symbol, self._size, self._real_size, self.texts)

    # ---- names and types

    def unique(self, hint: str) -> str:
        """A name that nothing in the graph has."""
        name, number = hint, 0
        while name in self.taken:
            number += 1
            name = f"{hint}_{number}"
        self.taken.add(name)
        return name

    def describe(self, name: str, value: TensorType) -> None:
        """The type of a tensor, as the file has it."""
        sizes = tuple(map(self.texts.expression, value.shape))
        strides = tuple(map(self.texts.expression, shapes.contiguous_strides(value.shape)))
        self.tensor_values[name] = schema.TensorMeta(
            SCALAR_TYPES[value.dtype], sizes, False, schema.Device("cpu"), strides, 0,
            schema.Layout.STRIDED,
        )  # fmt: skip

    def add_source(self, symbol: Symbol, tensor: Tensor, axis: int) -> None:
        """A symbol is the size of a dimension of this tensor."""
        self._sources.setdefault(symbol, (tensor, axis))

    # ---- calls

    def call(
        self,
        target: str,
        result: TensorType,
        /,
        *,
        dense: bool = True,
        name: str = "",
        **given: Given,
    ) -> Tensor:
        """Add a call with one tensor as its result."""
        [tensor] = self.calls(target, [result], dense=dense, names=[name] if name else [], **given)
        return tensor

    def calls(
        self,
        target: str,
        results: Sequence[TensorType],
        /,
        *,
        dense: bool = True,
        names: Sequence[str] = (),
        **given: Given,
    ) -> list[Tensor]:
        """Add a call of an operator of aten with any number of tensors as results."""
        inputs = [
            schema.NamedArgument(key, self.argument(value))
            for key, value in given.items()
            if value is not None
        ]
        return self.add(f"torch.ops.aten.{target}", inputs, results, dense=dense, names=names)

    def add(
        self,
        target: str,
        inputs: Sequence[schema.NamedArgument],
        results: Sequence[TensorType],
        *,
        dense: bool = True,
        names: Sequence[str] = (),
        is_single: bool | None = None,
    ) -> list[Tensor]:
        """Add a node."""
        base = target.split(".")[-2] if target.count(".") > 2 else target.rpartition(".")[2]
        hints = list(names) or [base.strip("_")] * len(results)
        given = [self.unique(hint) for hint in hints]
        for name, value in zip(given, results, strict=True):
            self.describe(name, value)
        self._append(target, inputs, [schema.AsTensor(name) for name in given], base, is_single)
        return [Tensor(name, value, dense) for name, value in zip(given, results, strict=True)]

    def add_list(
        self, target: str, inputs: Sequence[schema.NamedArgument], results: Sequence[TensorType]
    ) -> list[Tensor]:
        """Add a node whose one result is a list of tensors."""
        base = target.split(".")[-2]
        names = [self.unique(f"{base}_getitem") for _ in results]
        for name, value in zip(names, results, strict=True):
            self.describe(name, value)
        self._append(target, inputs, [schema.AsTensors(tuple(names))], base, None)
        return [Tensor(name, value) for name, value in zip(names, results, strict=True)]

    def number(self, target: str, kind: type[schema.AsSymInt] | type[schema.AsSymFloat] | type[schema.AsSymBool],
               inputs: Sequence[schema.NamedArgument], value: schema.SymInt | schema.SymBool) -> str:  # fmt: skip
        """Add a node whose result is a symbolic number or truth value; its name."""
        base = target.rpartition(".")[2] if target.count(".") < 3 else target.split(".")[-2]
        name = self.unique(base)
        if kind is schema.AsSymInt:
            self.sym_int_values[name] = value
        elif kind is schema.AsSymFloat:
            self.sym_float_values[name] = value
        else:
            self.sym_bool_values[name] = value  # type: ignore[assignment]
        self._append(target, inputs, [kind(name)], name, None)
        return name

    def effect(self, target: str, inputs: Sequence[schema.NamedArgument]) -> None:
        """Add a node without a result."""
        self._append(target, inputs, [], target.split(".")[-2].strip("_"), None)

    def _append(
        self,
        target: str,
        inputs: Sequence[schema.NamedArgument],
        outputs: Sequence[schema.Argument],
        hint: str,
        is_single: bool | None,
    ) -> None:
        match outputs:
            case [schema.AsTensor(name)] if is_single is None:  # else one result of several
                own = name
            case [schema.AsSymInt(str(name)) | schema.AsSymBool(str(name))]:
                own = name
            case _:
                own = self.unique(hint.strip("_"))
        self.nodes.append(
            schema.Node(target, tuple(inputs), tuple(outputs), self.metadata, is_single, own)
        )

    # ---- arguments

    def argument(self, value: Given) -> schema.Argument:
        """An argument as its record."""
        match value:
            case None:
                return schema.AsNone()
            case Tensor():
                return schema.AsTensor(value.name)
            case schema.MemoryFormat():  # an integer too
                return schema.AsMemoryFormat(value)
            case bool():
                return schema.AsBool(value)
            case int():
                return schema.AsInt(value)
            case SymExpr():
                return schema.AsSymInt(self.sizes.argument(value))
            case float():
                return schema.AsFloat(value)
            case complex():
                return schema.AsComplex(value)
            case str():
                return schema.AsString(value)
            case DType():
                return schema.AsScalarType(SCALAR_TYPES[value])
            case schema.AsGraph():
                return value
            case _:
                return self._list(value)

    def _list(self, values: Sequence[Tensor | Dim | None]) -> schema.Argument:
        if any(isinstance(value, Tensor) for value in values):
            names = [value.name if isinstance(value, Tensor) else None for value in values]
            if None in names:
                return schema.AsOptionalTensors(tuple(names))
            return schema.AsTensors(tuple(name for name in names if name is not None))
        if values and all(isinstance(value, bool) for value in values):
            return schema.AsBools(tuple(map(bool, values)))
        if any(isinstance(value, float) for value in values):
            return schema.AsFloats(tuple(float(value) for value in values))  # type: ignore[arg-type]
        dims = [value for value in values if isinstance(value, (int, SymExpr))]
        numbers = [dim for dim in dims if isinstance(dim, int)]
        if len(numbers) == len(dims):
            return schema.AsInts(tuple(numbers))
        return schema.AsSymInts(tuple(self.sizes.argument(dim) for dim in dims))

    # ---- sizes

    def _symbol(self, symbol: Symbol) -> str:
        source = self._sources.get(symbol)
        if source is None:
            raise OperatorError(f"the size {symbol} is not known where it is needed")
        tensor, axis = source
        inputs = [
            schema.NamedArgument("self", schema.AsTensor(tensor.name)),
            schema.NamedArgument("dim", schema.AsInt(axis)),
        ]
        value = self.texts.expression(shapes.of_atom(symbol))
        return self.number("torch.ops.aten.sym_size.int", schema.AsSymInt, inputs, value)

    def _size(self, operator: str, dim: Dim, left: str | int, right: str | int) -> str:
        inputs = [
            schema.NamedArgument(
                key, schema.AsSymInt(side) if isinstance(side, str) else schema.AsInt(side)
            )
            for key, side in (("a", left), ("b", right))
        ]
        return self.number(operator, schema.AsSymInt, inputs, self.texts.expression(dim))

    def _real_size(
        self,
        operator: str,
        is_integer: bool,
        value: schema.SymInt,
        sides: Sequence[schema.Argument],
    ) -> str:
        names = ("x",) if len(sides) == 1 else ("a", "b")
        inputs = [schema.NamedArgument(*pair) for pair in zip(names, sides, strict=True)]
        kind = schema.AsSymInt if is_integer else schema.AsSymFloat
        return self.number(operator, kind, inputs, value)

    # ---- the whole

    def graph(
        self,
        inputs: Sequence[schema.Argument],
        outputs: Sequence[schema.Argument],
        *,
        is_single_tensor_return: bool = False,
        is_pure: bool = False,
    ) -> schema.Graph:
        """What was written, as a graph, without the numbers that turned out not to be needed, and,
        where nothing has an effect, without anything that did."""
        used = {name for argument in outputs for name in names_in(argument)}
        kept: list[schema.Node] = []
        for node in reversed(self.nodes):
            if (is_pure or node.target in _NUMBERS) and used.isdisjoint(output_names(node)):
                continue
            used.update(input_names(node))
            kept.append(node)
        described = {name for argument in inputs for name in names_in(argument)}
        for node in kept:
            described.update(output_names(node))
        return schema.Graph(
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            nodes=tuple(reversed(kept)),
            tensor_values={n: value for n, value in self.tensor_values.items() if n in described},
            sym_int_values={n: value for n, value in self.sym_int_values.items() if n in described},
            sym_bool_values=self.sym_bool_values,
            is_single_tensor_return=is_single_tensor_return,
            custom_obj_values={},
            sym_float_values=self.sym_float_values,
        )


_NUMBERS = frozenset(
    (
        "torch.ops.aten.full.default",
        "torch.ops.aten.scalar_tensor.default",
        "torch.ops.aten.clone.default",
    )
)


__all__ = ["SCALAR_TYPES", "Given", "GraphWriter", "Tensor"]
