"""Spellings of other ways to look at the same elements, and of writing through them."""

from __future__ import annotations

from collections.abc import Sequence

from ...exported import schema
from ...frontends.graph_writer import GraphWriter, Tensor
from ...ir.graph import Node
from ...ir.shapes import Dim
from ...ops.symbols import Refine
from ...ops.view import (
    AsStrided,
    AsStridedScatter,
    Concatenate,
    Expand,
    Flip,
    Pad,
    Permute,
    Reshape,
    Slice,
    SliceScatter,
)
from ...ops.windows import Diagonal, DiagonalScatter
from .table import call, spells, viewed


@spells(Reshape)
def _reshape(w: GraphWriter, node: Node, op: Reshape, x: Tensor) -> Sequence[Tensor]:
    return [viewed(w, x, node.outputs[0].shape, node.outputs[0].name)]


@spells(Refine)
def _refine(w: GraphWriter, node: Node, op: Refine, x: Tensor) -> Sequence[Tensor]:
    """The same sizes by another expression: nothing to call."""
    return [Tensor(x.name, node.outputs[0].type, x.is_dense)]


@spells(Permute)
def _permute(w: GraphWriter, node: Node, op: Permute, x: Tensor) -> Sequence[Tensor]:
    return call(w, node, "permute.default", dense=False, self=x, dims=list(op.order))


@spells(Expand)
def _expand(w: GraphWriter, node: Node, op: Expand, x: Tensor) -> Sequence[Tensor]:
    shape = list(node.outputs[0].shape)
    return call(w, node, "expand.default", dense=False, self=x, size=shape)


@spells(Slice)
def _slice(w: GraphWriter, node: Node, op: Slice, x: Tensor) -> Sequence[Tensor]:
    return call(
        w, node, "slice.Tensor", dense=False, self=x, dim=op.axis, start=op.start,
        end=_slice_end(op), step=op.step,
    )  # fmt: skip


def _slice_end(op: Slice | SliceScatter) -> Dim:
    """One behind the last position: no further than the dimension goes."""
    return op.start + (op.length - 1) * op.step + 1 if op.length != 0 else op.start


@spells(SliceScatter)
def _slice_scatter(
    w: GraphWriter, node: Node, op: SliceScatter, x: Tensor, source: Tensor
) -> Sequence[Tensor]:
    return call(
        w, node, "slice_scatter.default", dense=x.is_dense, self=x, src=source, dim=op.axis,
        start=op.start, end=_slice_end(op), step=op.step,
    )  # fmt: skip


@spells(Flip)
def _flip(w: GraphWriter, node: Node, op: Flip, x: Tensor) -> Sequence[Tensor]:
    return call(w, node, "flip.default", dense=x.is_dense, self=x, dims=list(op.axes))


@spells(AsStrided)
def _as_strided(w: GraphWriter, node: Node, op: AsStrided, x: Tensor) -> Sequence[Tensor]:
    return call(
        w, node, "as_strided.default", dense=False, self=_copied(w, x), size=list(op.shape),
        stride=list(op.strides), storage_offset=op.offset,
    )  # fmt: skip


def _copied(w: GraphWriter, x: Tensor) -> Tensor:
    """In memory of its own from its first element on: strides count in whole storages."""
    contiguous = schema.MemoryFormat.CONTIGUOUS
    return w.call("clone.default", x.type, self=x, memory_format=contiguous)


@spells(AsStridedScatter)
def _as_strided_scatter(
    w: GraphWriter, node: Node, op: AsStridedScatter, x: Tensor, source: Tensor
) -> Sequence[Tensor]:
    return call(
        w, node, "as_strided_scatter.default", self=_copied(w, x), src=source,
        size=list(source.shape), stride=list(op.strides), storage_offset=op.offset,
    )  # fmt: skip


@spells(Concatenate)
def _concatenate(w: GraphWriter, node: Node, op: Concatenate, *inputs: Tensor) -> Sequence[Tensor]:
    return call(w, node, "cat.default", dense=False, tensors=list(inputs), dim=op.axis)


@spells(Pad)
def _pad(w: GraphWriter, node: Node, op: Pad, x: Tensor) -> Sequence[Tensor]:
    amounts = [amount for pair in reversed(op.padding) for amount in pair]
    value = op.value
    return call(w, node, "constant_pad_nd.default", dense=False, self=x, pad=amounts, value=value)


@spells(Diagonal)
def _diagonal(w: GraphWriter, node: Node, op: Diagonal, x: Tensor) -> Sequence[Tensor]:
    return call(
        w, node, "diagonal.default", dense=False, self=x, offset=op.offset, dim1=-2, dim2=-1
    )


@spells(DiagonalScatter)
def _diagonal_scatter(
    w: GraphWriter, node: Node, op: DiagonalScatter, x: Tensor, source: Tensor
) -> Sequence[Tensor]:
    return call(
        w, node, "diagonal_scatter.default", self=x, src=source, offset=op.offset, dim1=-2,
        dim2=-1,
    )  # fmt: skip
