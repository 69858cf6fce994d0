"""Spellings of elements that are taken from, or put to, places that tensors name."""

from __future__ import annotations

from collections.abc import Sequence

from ...frontends.graph_writer import GraphWriter, Tensor
from ...ir.dtypes import DType
from ...ir.graph import Node, TensorType
from ...ir.shapes import SymExpr
from ...ops.base import OperatorError
from ...ops.gathering import AdvancedIndex, GatherAxis, IndexPut, Nonzero, ScatterAxis
from .table import call, spells


def _index_list(
    op: AdvancedIndex | IndexPut, rank: int, indices: Sequence[Tensor]
) -> list[Tensor | None]:
    """The indices with None for dimensions that are taken whole, as the operator has them.

    Refused is an order of the result's dimensions that those would not give.
    """
    adjacent = list(op.axes) == list(range(op.axes[0], op.axes[-1] + 1))
    natural = op.axes[0] if adjacent else 0
    if op.position != natural:
        raise OperatorError(f"indices of the dimensions {op.axes} at {op.position}")
    by_axis = dict(zip(op.axes, indices, strict=True))
    return [by_axis.get(axis) for axis in range(op.axes[-1] + 1)]


@spells(AdvancedIndex)
def _index(
    w: GraphWriter, node: Node, op: AdvancedIndex, x: Tensor, *indices: Tensor
) -> Sequence[Tensor]:
    listed = _index_list(op, x.rank, [_as_index(w, index) for index in indices])
    return call(w, node, "index.Tensor", dense=False, self=x, indices=listed)


def _as_index(w: GraphWriter, index: Tensor) -> Tensor:
    """Indices are int64: other integers, of which bytes would be masks, are not taken."""
    if index.dtype is DType.INT64:
        return index
    wide = TensorType(DType.INT64, index.shape)
    return w.call("_to_copy.default", wide, dense=index.is_dense, self=index, dtype=DType.INT64)


@spells(IndexPut)
def _index_put(
    w: GraphWriter, node: Node, op: IndexPut, x: Tensor, values: Tensor, *indices: Tensor
) -> Sequence[Tensor]:
    if op.combine not in ("set", "add"):
        raise OperatorError(f"index_put that combines by {op.combine} has no operator in ATen")
    listed = _index_list(op, x.rank, [_as_index(w, index) for index in indices])
    is_added = op.combine == "add"
    return call(
        w, node, "index_put.default", self=x, indices=listed, values=values, accumulate=is_added
    )


@spells(GatherAxis)
def _gather(
    w: GraphWriter, node: Node, op: GatherAxis, x: Tensor, index: Tensor
) -> Sequence[Tensor]:
    return call(w, node, "gather.default", self=x, dim=op.axis, index=_as_index(w, index))


_SCATTERED = {"mul": "prod", "max": "amax", "min": "amin", "add": "sum"}


@spells(ScatterAxis)
def _scatter(
    w: GraphWriter, node: Node, op: ScatterAxis, x: Tensor, index: Tensor, source: Tensor
) -> Sequence[Tensor]:
    axis, index = op.axis, _as_index(w, index)
    if op.combine == "set":
        return call(w, node, "scatter.src", self=x, dim=axis, index=index, src=source)
    if op.combine == "add":
        return call(w, node, "scatter_add.default", self=x, dim=axis, index=index, src=source)
    way = _SCATTERED[op.combine]
    return call(
        w, node, "scatter_reduce.two", self=x, dim=axis, index=index, src=source, reduce=way
    )


@spells(Nonzero)
def _nonzero(w: GraphWriter, node: Node, op: Nonzero, x: Tensor) -> Sequence[Tensor]:
    if isinstance(op.count, SymExpr) and op.fill == -1:
        return call(w, node, "nonzero.default", dense=False, self=x)
    count, fill = op.count, op.fill
    return call(w, node, "nonzero_static.default", self=x, size=count, fill_value=fill)
