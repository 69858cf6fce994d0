"""Operands as strides over memory: transposed, broadcast, merged."""

from __future__ import annotations

from ..ir import shapes
from ..ir.shapes import Dim, Shape
from .program import Buffer, StridedView


def merged_rows(left: StridedView, right: StridedView) -> StridedView | None:
    """The left operand as one matrix, where the right one is the same for the whole batch and rows follow on."""
    if len(left.shape) < 3 or any(stride != 0 for stride in right.strides[:-2]):
        return None
    size, stride = left.shape[-2], left.strides[-2]
    for outer, step in zip(reversed(left.shape[:-2]), reversed(left.strides[:-2]), strict=False):
        if outer == 1:
            continue
        if size == 1:
            size, stride = outer, step
            continue
        if step != stride * size:
            return None
        size = size * outer
    return StridedView(left.buffer, left.offset, (size, left.shape[-1]), (stride, left.strides[-1]))


def whole(buffer: Buffer) -> StridedView:
    shape = buffer.type.shape
    return StridedView(buffer, 0, shape, shapes.contiguous_strides(shape))


def four_dimensional(view: StridedView) -> StridedView:
    """Four dimensions: [batch, heads, rows, columns]."""
    missing = 4 - len(view.shape)
    assert missing >= 0, "attention was given one batch dimension"
    return StridedView(
        view.buffer, view.offset, (1,) * missing + view.shape, (0,) * missing + view.strides
    )


def stretched(view: StridedView, shape: Shape) -> StridedView:
    """A view broadcast to a shape, with stride 0 where it is stretched."""
    missing = len(shape) - len(view.shape)
    strides = tuple(
        0 if size == 1 else stride for size, stride in zip(view.shape, view.strides, strict=False)
    )
    return StridedView(view.buffer, view.offset, shape, (0,) * missing + strides)


def transposed(view: StridedView) -> StridedView:
    shape = (*view.shape[:-2], view.shape[-1], view.shape[-2])
    strides = (*view.strides[:-2], view.strides[-1], view.strides[-2])
    return StridedView(view.buffer, view.offset, shape, strides)


def broadcast_batch(view: StridedView, batch: Shape) -> StridedView:
    """Batch dimensions stretched to `batch`, with stride 0 where they are."""
    own = len(view.shape) - 2
    missing = len(batch) - own
    strides: list[Dim] = [0] * missing
    for size, stride in zip(view.shape[:own], view.strides[:own], strict=False):
        strides.append(0 if size == 1 else stride)
    return StridedView(
        view.buffer, view.offset, (*batch, *view.shape[own:]), (*strides, *view.strides[own:])
    )
