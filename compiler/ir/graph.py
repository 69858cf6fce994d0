"""The graph: typed values in SSA form, joined by operators.

A `Node` applies an operator (an instance of a class in `compiler/ops`, whose fields are the attributes)
to values. Graphs are functional: no operator changes a value. What the source program changes in place is
listed once, in `Graph.mutations`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING

import numpy as np

from ..records import dataclass
from . import shapes
from .dtypes import DType
from .shapes import Dim, Shape, Symbol

if TYPE_CHECKING:
    from ..ops.base import Op


@dataclass(frozen=True, slots=True)
class TensorType:
    """dtype and shape of a value."""

    dtype: DType
    shape: Shape

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.value}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in the user's program a node comes from."""

    source: str = ""
    """The innermost line of the user's own code, as `file.py:12 in forward`."""
    module: str = ""
    """The module path, as `layers.0.mlp`."""
    target: str = ""
    """The operator as the exported program calls it, as `aten.add.Tensor`."""

    def __str__(self) -> str:
        where = f"{self.source} ({self.module})" if self.module else self.source
        return " ".join(part for part in (self.target, where and f"at {where}") if part)


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """The result of a node, an input, a constant or a buffer; compared by identity."""

    name: str
    type: TensorType

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.type.dtype

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.type.shape)

    def __str__(self) -> str:
        return f"%{self.name}: {self.type}"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One application of an operator."""

    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    origin: Origin = Origin()

    def __str__(self) -> str:
        outputs = ", ".join(map(str, self.outputs))
        return f"{outputs} = {self.op}({', '.join('%' + v.name for v in self.inputs)})"


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A weight: its qualified name in the source program and its elements."""

    name: str
    array: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A functional program over tensors."""

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[Value, Constant] = field(default_factory=dict)
    buffers: Mapping[Value, Constant] = field(default_factory=dict)
    """State that the program changes: its value when a run starts, with what a fresh instance holds."""
    mutations: tuple[tuple[Value, Value], ...] = ()
    """(input or buffer, value it holds after the run)."""
    symbols: tuple[Symbol, ...] = ()
    """Sizes and integers that the inputs decide ("backed"), with their ranges."""
    bindings: tuple[Binding, ...] = ()
    """How each symbol is read off the inputs."""
    guards: tuple[Guard, ...] = ()
    """What must hold of the symbols for the program to be valid."""

    def results(self) -> Iterator[Value]:
        """Every value that leaves the graph: outputs, then what mutations store."""
        yield from self.outputs
        for _, value in self.mutations:
            yield value

    def values(self) -> Iterator[Value]:
        """Every value, definitions before uses."""
        yield from self.inputs
        yield from self.constants
        yield from self.buffers
        for node in self.nodes:
            yield from node.outputs


@dataclass(frozen=True, slots=True)
class Binding:
    """`symbol` equals size `axis` of input `input_index`, or, with axis None, the integer input itself."""

    symbol: Symbol
    input_index: int
    axis: int | None


@dataclass(frozen=True, slots=True)
class Guard:
    """`expression != 0` must hold; `text` says it in the user's words."""

    expression: Dim
    text: str


def users(nodes: Iterable[Node]) -> dict[Value, list[Node]]:
    """For every value, the nodes that read it, once per operand position."""
    result: dict[Value, list[Node]] = {}
    for node in nodes:
        for value in node.inputs:
            result.setdefault(value, []).append(node)
    return result


__all__ = [
    "Binding", "Constant", "Graph", "Guard", "Node", "Origin", "TensorType", "Value", "shapes", "users",
]  # fmt: skip
