"""The table, and what its functions call operators with.

Reduce[kind=sum, axes=(1,)](x: float32[2, 3])   ->   aten.sum.dim_IntList(x, [1], dtype=float32)

Where there is one, the operator is of PyTorch's core set; what has no core operator (eigenvalues,
Bessel functions) is spelled by the one that PyTorch's own decompositions leave as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...exported import schema
from ...frontends.graph_writer import Given, GraphWriter, Tensor
from ...ir.graph import Node, TensorType
from ...ir.shapes import Shape
from ...ops.base import Op

Spelling = Callable[..., Sequence[Tensor]]
SPELLINGS: dict[type[Op], Spelling] = {}
"""Each function is given the writer, the node, its operator and its inputs as they were written, and
gives the results."""


def spells(*kinds: type[Op]) -> Callable[[Spelling], Spelling]:
    """Register the spelling of primitives."""

    def register(function: Spelling) -> Spelling:
        for kind in kinds:
            assert kind not in SPELLINGS, f"two spellings of {kind.__name__}"
            SPELLINGS[kind] = function
        return function

    return register


def call(
    w: GraphWriter, node: Node, target: str, /, *, dense: bool = True, **given: Given
) -> list[Tensor]:
    """Call an operator of aten whose results are those of the node, under their names."""
    return w.calls(
        target,
        [value.type for value in node.outputs],
        dense=dense,
        names=[value.name for value in node.outputs],
        **given,
    )


def dense(w: GraphWriter, x: Tensor) -> Tensor:
    """The tensor in row-major memory."""
    if x.is_dense:
        return x
    contiguous = schema.MemoryFormat.CONTIGUOUS
    return w.call("clone.default", x.type, self=x, memory_format=contiguous)


def viewed(w: GraphWriter, x: Tensor, shape: Shape, name: str = "") -> Tensor:
    result = TensorType(x.dtype, shape)
    return w.call("view.default", result, name=name, self=dense(w, x), size=list(shape))
