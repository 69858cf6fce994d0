"""A program under construction: calls of ATen operators, each inferred as it is recorded.

The types of results are what the operator's definition in `ops/` gives for its arguments: a second
graph of values grows beside the file's, and is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ...exported import schema
from ...exported.operators import find_operator
from ...exported.tensors import TensorData, tensor_of_array
from ...ir import shapes
from ...ir.dtypes import DType, from_numpy
from ...ir.graph import TensorType, Value
from ...ir.shapes import Symbol
from ...ops.base import Builder, OperatorError
from ..forms import find_form
from ..graph_writer import SCALAR_TYPES, GraphWriter, Tensor
from ..size_nodes import SymbolTexts
from .sizes import Size, Sizes, SymbolicInt
from .where import refused, stack_trace

_NO_GRAPH = schema.Graph((), (), (), {}, {}, {}, False, {}, {})


def dtype_of(dtype: np.dtype[Any], what: str = "an array") -> DType:
    """castoff's element type for one of NumPy's; raises `CaptureError` where there is none."""
    try:
        return from_numpy(dtype)
    except ValueError:
        raise refused(
            f"{what} has the dtype {dtype}, which no program can hold: numbers of at most 64 bits "
            "(complex of at most 128) and truth values"
        ) from None


@dataclass(frozen=True, slots=True)
class LiftedConstant:
    """A NumPy array that the function reads and nobody passes to it."""

    tensor: Tensor
    name: str
    data: TensorData


class _ScratchBuilder(Builder):
    """Gives symbols that only the run decides names that the file can use too."""

    def __init__(self, texts: SymbolTexts) -> None:
        super().__init__()
        self._texts = texts

    def fresh_symbol(self, low: int = 0, high: int = shapes.INFINITY) -> Symbol:
        symbol = super().fresh_symbol(low, high)
        return Symbol(self._texts.name(symbol), low, high)


@dataclass(eq=False)
class Recorder:
    """One capture. Everything that tracer arrays do ends in `record`."""

    sizes: Sizes = field(default_factory=Sizes)
    texts: SymbolTexts = field(default_factory=lambda: SymbolTexts(_NO_GRAPH, ()))
    constants: dict[int, LiftedConstant] = field(default_factory=dict)
    module_stack: list[str] = field(default_factory=list)
    is_closed: bool = False

    def __post_init__(self) -> None:
        from .ufuncs import apply_ufunc

        self.sizes.apply_ufunc = partial(apply_ufunc, self)
        self.writer = GraphWriter(self.texts)
        self._builder = _ScratchBuilder(self.texts)
        self._values: dict[str, Value] = {}
        self._kept: list[np.ndarray] = []
        self._numbers: dict[tuple[str, DType], Tensor] = {}
        self._positions: dict[str, tuple[Tensor, ...]] = {}

    # ---- inputs

    def input(self, hint: str, tensor_type: TensorType) -> Tensor:
        """A tensor that the program is given."""
        name = self.writer.unique(hint)
        self.writer.describe(name, tensor_type)
        tensor = Tensor(name, tensor_type)
        self._values[name] = Value(name, tensor_type)
        self._add_sources(tensor)
        return tensor

    def _add_sources(self, tensor: Tensor) -> None:
        """Symbols can be read off a tensor whose sizes they are."""
        for axis, size in enumerate(tensor.shape):
            atom = shapes.atom_of(size)
            if isinstance(atom, Symbol):
                self.writer.add_source(atom, tensor, axis)

    def add_size(self, size: Size) -> None:
        """A size of an input, which is about to be added, is a symbol."""
        high = None if size.symbol.high >= shapes.INFINITY else size.symbol.high
        self.texts.declare(size.symbol.name, size.low, high, size.example)
        self.sizes.add(size)

    def constant(self, array: np.ndarray) -> Tensor:
        """An array that the function knows itself; the same elements in the same place are one constant."""
        known = self.constants.get(id(array))
        if known is not None and known.data.array.tobytes() == array.tobytes():
            return known.tensor
        dtype = dtype_of(array.dtype, "a constant")
        array = array.astype(dtype.numpy, copy=False)
        name = f"lifted_tensor_{len(self._kept)}"
        tensor = self.input(f"c_{name}", TensorType(dtype, tuple(array.shape)))
        self._kept.append(array)  # so that nothing else gets its id
        data = tensor_of_array(array, SCALAR_TYPES[dtype], name)
        self.constants[id(array) if known is None else -len(self._kept)] = LiftedConstant(
            tensor, name, data
        )
        return tensor

    # ---- calls

    @contextmanager
    def within(self, entry: str) -> Iterator[None]:
        """Nodes come from this module, `key,path,type`."""
        self.module_stack.append(entry)
        try:
            yield
        finally:
            self.module_stack.pop()

    def record(self, target: str, /, **given: Any) -> Any:
        """Adds a call of `aten.<target>`: a tensor, or a tuple or list of them, as the operator gives.

        Arguments are tensors, numbers, sizes, dtypes and sequences of them, by their names in the
        operator's schema; those that are None are left out.
        """
        return self.call(f"aten.{target}", given)

    def call(self, target: str, given: Mapping[str, Any]) -> Any:
        """As `record`, for operators of any namespace."""
        if self.is_closed:
            raise refused("an array of a program that is already captured is used outside of it")
        given = {name: _plain(value) for name, value in given.items() if value is not None}
        arguments = {name: self._value_of(value) for name, value in given.items()}
        try:
            result = find_form(target, list(given)).function(self._builder, **arguments)
        except OperatorError as error:
            raise refused(f"{target}: {error}") from error
        return self._written(f"torch.ops.{target}", given, result)

    def _value_of(self, value: Any) -> Any:
        match value:
            case Tensor():
                return self._values[value.name]
            case list() | tuple():
                return [self._value_of(item) for item in value]
            case schema.MemoryFormat():
                return value.name.lower()
        return value

    def _written(self, target: str, given: Mapping[str, Any], result: Any) -> Any:
        writer = self.writer
        writer.metadata = self._metadata()
        inputs = [
            schema.NamedArgument(name, writer.argument(value)) for name, value in given.items()
        ]
        is_single = not isinstance(result, (list, tuple))
        values: list[Value] = [result] if is_single else list(result)
        if not all(isinstance(value, Value) for value in values):
            raise refused(f"{target.removeprefix('torch.ops.')} gives something else than arrays")
        types = [value.type for value in values]
        operator = find_operator(target)
        if operator is not None and operator.results == ("t[]",):
            tensors = writer.add_list(target, inputs, types)
        else:
            tensors = writer.add(target, inputs, types)
        for tensor, value in zip(tensors, values, strict=True):
            self._values[tensor.name] = value
            self._add_sources(tensor)
        if is_single:
            return tensors[0]
        return tensors if isinstance(result, list) else tuple(tensors)

    def _metadata(self) -> Mapping[str, str]:
        metadata = {"stack_trace": stack_trace()}
        if self.module_stack:
            metadata["nn_module_stack"] = ";".join(self.module_stack)
        return metadata

    # ---- calls that everything is made of

    def cast(self, tensor: Tensor, dtype: DType) -> Tensor:
        """Conversion to a dtype; the tensor itself where it has it."""
        if tensor.dtype is dtype:
            return tensor
        return self._one("_to_copy.default", self=tensor, dtype=dtype)

    def _one(self, target: str, /, **given: Any) -> Tensor:
        result: Tensor = self.record(target, **given)
        return result

    def number(self, value: bool | int | float | complex, dtype: DType) -> Tensor:
        """A 0-d tensor that holds a number; the same one for the same number."""
        key = (repr(value), dtype)
        if key not in self._numbers:
            self._numbers[key] = self.full((), value, dtype)
        return self._numbers[key]

    def positions(self, mask: Tensor) -> tuple[Tensor, ...]:
        """Where a mask holds, one vector for each axis; the same ones for the same mask, so that what is
        selected by it twice has one size."""
        if mask.name not in self._positions:
            found = self._one("nonzero.default", self=mask)
            self._positions[mask.name] = tuple(
                self._one("select.int", self=found, dim=1, index=axis) for axis in range(mask.rank)
            )
        return self._positions[mask.name]

    def full(self, shape: Sequence[object], value: object, dtype: DType) -> Tensor:
        """A tensor of one number."""
        return self._one("full.default", size=list(shape), fill_value=_plain(value), dtype=dtype)


def _plain(value: Any) -> Any:
    """Python's own numbers for NumPy's and ours."""
    if isinstance(value, SymbolicInt):
        return value.dim
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
