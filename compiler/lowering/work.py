"""What a step costs at least: bytes it moves and operations it does, as functions of the sizes.

A loop that adds a float32 bias of 64 elements to a tensor of 32 x 64 moves 4 * (32*64 + 64 + 32*64) bytes and does
32*64 operations. Profiles compare that with what the machine can do.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from .. import kernels
from ..ir import shapes
from ..ir.shapes import Dim
from ..records import dataclass
from .expand import scalars_in
from .memory import buffers_of
from .program import (
    Accumulate,
    AttentionStep,
    Buffer,
    CallStep,
    ConvolutionStep,
    CopyStep,
    Epilogue,
    LoopKernel,
    ProductStep,
    Store,
    StridedView,
)


@dataclass(frozen=True, slots=True)
class Work:
    """`size_bytes`: every element that is read or written, once. `operations`: additions,
    multiplications and calls of functions, each one; a multiply-add is two.
    """

    size_bytes: Dim
    operations: Dim


WorkingStep = LoopKernel | ProductStep | ConvolutionStep | AttentionStep | CallStep | CopyStep
"""Steps that do work; the others decide what runs."""


def work_of(step: WorkingStep) -> Work:
    """The work of a step."""
    match step:
        case LoopKernel():
            return _loop_work(step)
        case ProductStep():
            count = prod((*step.batch, step.rows, step.columns, step.depth), start=2)
            return Work(_moved(step, (step.left, step.right), step.epilogue), count)
        case ConvolutionStep():
            taps = shapes.element_count(step.weight_type.shape[1:])
            count = 2 * shapes.element_count(step.output.shape) * taps
            return Work(_moved(step, (step.x, step.weight), step.epilogue), count)
        case AttentionStep():
            return _attention_work(step)
        case CallStep():
            views = sum((_view_bytes(view) for view in step.inputs), start=0)
            return Work(views + sum((_size_bytes(b) for b in step.outputs), start=0), 0)
        case CopyStep():
            return Work(2 * _size_bytes(step.source), 0)


def _loop_work(kernel: LoopKernel) -> Work:
    rows = prod((loop.extent for loop in kernel.rows), start=1)
    if kernel.tile is not None:
        rows = rows * kernel.tile.extent
    operations: Dim = 0
    iterations: Dim = 0
    for phase in kernel.phases:
        inner = prod((loop.extent for loop in phase.loops), start=rows)
        operations = operations + inner * _operation_count(phase.body)
        iterations = shapes.maximum(iterations, inner)
    buffers = dict.fromkeys(buffers_of(kernel))
    moved = (
        shapes.minimum(_size_bytes(buffer), iterations * buffer.dtype.itemsize)
        for buffer in buffers
    )
    return Work(sum(moved, start=0), operations)


def _operation_count(statements: Iterable[Store | Accumulate]) -> int:
    """Functions applied to an element, reductions included."""
    statements = tuple(statements)
    reductions = sum(isinstance(statement, Accumulate) for statement in statements)
    scalars = scalars_in(statement.value for statement in statements)
    applied = (scalar for scalar in scalars if isinstance(scalar, kernels.Apply))
    return reductions + sum(scalar.dtype.is_float or scalar.dtype.is_complex for scalar in applied)


def _attention_work(step: AttentionStep) -> Work:
    *lead, queries, size = step.query.shape
    keys, value_size = step.keys, step.value.shape[-1]
    scores = prod(lead, start=queries * keys)
    if step.attributes.is_causal and queries == keys:
        scores = shapes.floordiv(scores, 2)
    return Work(_moved(step, step.operands, step.epilogue), 2 * scores * (size + value_size))


def _moved(step: WorkingStep, operands: Iterable[StridedView], epilogue: Epilogue) -> Dim:
    """Bytes of the operands, and of what the epilogue reads and writes."""
    views = list(operands)
    read = sum((_view_bytes(view) for view in views), start=0)
    others = dict.fromkeys(buffers_of(step))
    for view in views:
        others.pop(view.buffer, None)
    count = prod((epilogue.batch.extent, epilogue.row.extent, epilogue.column.extent), start=1)
    return read + sum(
        (shapes.minimum(_size_bytes(b), count * b.dtype.itemsize) for b in others), start=0
    )


def _view_bytes(view: StridedView) -> Dim:
    """Bytes of the elements a view shows, those it repeats once; all of a packed constant."""
    if not any(view.strides):
        return _size_bytes(view.buffer)
    count = prod(
        (size for size, stride in zip(view.shape, view.strides, strict=True) if stride != 0),
        start=1,
    )
    return count * view.buffer.dtype.itemsize


def _size_bytes(buffer: Buffer) -> Dim:
    return shapes.element_count(buffer.type.shape) * buffer.dtype.itemsize
