"""Spellings of reductions, running sums, sorting and searching."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...frontends.graph_writer import GraphWriter, Tensor
from ...ir import shapes
from ...ir.dtypes import DType
from ...ir.graph import Node, TensorType
from ...ops import sorting
from ...ops.base import OperatorError
from ...ops.reduction import ArgReduce, Reduce
from ...ops.scan import Scan, ScanExtreme
from ...ops.search import SearchSorted
from .table import call, dense, spells, viewed


@spells(Reduce)
def _reduce(w: GraphWriter, node: Node, op: Reduce, x: Tensor) -> Sequence[Tensor]:
    axes = list(op.axes)
    if not axes:
        return [x]
    match op.kind:
        case "sum":
            return call(w, node, "sum.dim_IntList", self=x, dim=axes, dtype=x.dtype)
        case "max" | "min":
            if any(x.shape[axis] == 0 for axis in axes):
                return _nothing(w, node, op.kind)
            return call(w, node, f"a{op.kind}.default", self=x, dim=axes)
        case "any":
            return call(w, node, "any.dims", self=x, dim=axes)
        case "all":
            opposite = w.call("logical_not.default", x.type, dense=x.is_dense, self=x)
            found = w.call("any.dims", node.outputs[0].type, self=opposite, dim=axes)
            return call(w, node, "logical_not.default", self=found)
        case "prod":
            for axis in reversed(axes):
                kept = TensorType(x.dtype, (*x.shape[:axis], *x.shape[axis + 1 :]))
                x = w.call("prod.dim_int", kept, self=x, dim=axis, dtype=x.dtype)
            return [x]
        case "xor" if x.dtype is DType.INT64:
            bits = TensorType(DType.UINT64, node.outputs[0].shape)
            hashed = w.call("hash_tensor.default", bits, self=x, dim=axes)
            return call(w, node, "view.dtype", self=hashed, dtype=DType.INT64)
    raise OperatorError(f"the reduction {op.kind} has no operator in ATen")


def _nothing(w: GraphWriter, node: Node, kind: str) -> Sequence[Tensor]:
    """The largest or smallest of no elements: less or more than any."""
    (output,) = node.outputs
    if output.dtype.is_float:
        value: float | int = float("-inf") if kind == "max" else float("inf")
    else:
        limits = np.iinfo(output.dtype.numpy)
        value = int(limits.min if kind == "max" else limits.max)
    return call(
        w, node, "full.default", size=list(output.shape), fill_value=value, dtype=output.dtype
    )


@spells(ArgReduce)
def _arg_reduce(w: GraphWriter, node: Node, op: ArgReduce, x: Tensor) -> Sequence[Tensor]:
    axes = op.axes
    if len(axes) != 1:
        kept = [axis for axis in range(x.rank) if axis not in axes]
        order = [*kept, *axes]
        if order != list(range(x.rank)):
            moved = TensorType(x.dtype, tuple(x.shape[axis] for axis in order))
            x = w.call("permute.default", moved, dense=False, self=x, dims=order)
        count = shapes.element_count(tuple(x.shape[len(kept) :]))
        x = viewed(w, x, (*x.shape[: len(kept)], count))
        axes = (x.rank - 1,)
    return call(w, node, f"{op.kind}.default", self=x, dim=axes[0])


@spells(Scan)
def _scan(w: GraphWriter, node: Node, op: Scan, x: Tensor) -> Sequence[Tensor]:
    axis = op.axis
    if op.kind == "logsumexp":
        return call(w, node, "logcumsumexp.default", dense=x.is_dense, self=x, dim=axis)
    target = {"sum": "cumsum.default", "prod": "cumprod.default"}[op.kind]
    return call(w, node, target, dense=x.is_dense, self=x, dim=axis, dtype=x.dtype)


@spells(ScanExtreme)
def _scan_extreme(w: GraphWriter, node: Node, op: ScanExtreme, x: Tensor) -> Sequence[Tensor]:
    return call(w, node, f"cum{op.kind}.default", dense=x.is_dense, self=x, dim=op.axis)


@spells(sorting.Sort)
def _sort(w: GraphWriter, node: Node, op: sorting.Sort, x: Tensor) -> Sequence[Tensor]:
    order = {"stable": op.stable, "dim": op.axis, "descending": op.descending}
    return call(w, node, "sort.stable", dense=False, self=x, **order)


@spells(sorting.TopK)
def _topk(w: GraphWriter, node: Node, op: sorting.TopK, x: Tensor) -> Sequence[Tensor]:
    return call(
        w, node, "topk.default", dense=False, self=x, k=op.k, dim=op.axis, largest=op.largest
    )


@spells(sorting.KthValue)
def _kth_value(w: GraphWriter, node: Node, op: sorting.KthValue, x: Tensor) -> Sequence[Tensor]:
    return call(w, node, "kthvalue.default", self=x, k=op.k, dim=op.axis)


@spells(sorting.Median)
def _median(w: GraphWriter, node: Node, op: sorting.Median, x: Tensor) -> Sequence[Tensor]:
    target = "nanmedian.dim" if op.ignores_nan else "median.dim"
    return call(w, node, target, self=x, dim=op.axis)


@spells(sorting.Mode)
def _mode(w: GraphWriter, node: Node, op: sorting.Mode, x: Tensor) -> Sequence[Tensor]:
    return call(w, node, "mode.default", self=x, dim=op.axis)


@spells(SearchSorted)
def _search(
    w: GraphWriter, node: Node, op: SearchSorted, sequence: Tensor, values: Tensor
) -> Sequence[Tensor]:
    return call(
        w, node, "searchsorted.Tensor", sorted_sequence=dense(w, sequence), self=dense(w, values),
        right=op.right,
    )  # fmt: skip
