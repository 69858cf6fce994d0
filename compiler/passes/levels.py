"""Multiplies the 8-bit levels of quantised programs as they are, where those were turned into floats first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ir import shapes
from ..ir.dtypes import DType, from_numpy
from ..ir.graph import Constant, Graph, Node, TensorType, Value
from ..ops.base import Environment, Op
from ..ops.convolution import Convolve
from ..ops.matmul import LEVELS, MatMul
from ..ops.pointwise import CastTo, PointwiseOp
from ..ops.view import Reshape
from ..records import dataclass

LARGEST_DEPTH = (1 << 31) // (255 * 128)
"""Up to how many products of levels are summed in 32 bits whatever they are."""


def multiply_levels(graph: Graph) -> Graph:
    """Before: %x = mul(sub(cast(%q), %z), %s); %w = mul(cast(%codes), %scales); %y = MatMul(%x, %w)
    After:  %sum = MatMul[zero=z](%q, %codes); %y = mul(cast(%sum), %s * %scales)

    For products and convolutions of what `quantized_decomposed.dequantize_*` gives, by tensor on the
    left and by tensor or output channel on the right, where the weight is a constant whose level 0
    stands for 0. Sums are exact; the float32 result is rounded once, where the sum of floats was
    rounded at every step. A zero point that the run decides is taken off by the sums of the columns.
    Views between are moved past the conversion.
    """
    return _Rewriter(graph).run()


@dataclass(frozen=True, slots=True)
class _Left:
    """levels, the views that lead from them to the operand, and what they stand for."""

    levels: Value
    views: tuple[Op, ...]
    scale: Value
    zero: Value | None


@dataclass(frozen=True, slots=True)
class _Right:
    """The levels of a constant as the operand has them, and the scale of each output channel."""

    levels: np.ndarray
    scales: np.ndarray


class _Rewriter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producer = {value: node for node in graph.nodes for value in node.outputs}
        self.constants = dict(graph.constants)
        self.names = {value.name for value in graph.values()}
        self.nodes: list[Node] = []
        self._known: dict[Value, np.ndarray | None] = {}

    def run(self) -> Graph:
        for node in self.graph.nodes:
            if not self._rewrite(node):
                self.nodes.append(node)
        if len(self.nodes) == len(self.graph.nodes):
            return self.graph
        return replace(self.graph, nodes=tuple(self.nodes), constants=self.constants)

    def _rewrite(self, node: Node) -> bool:
        op = node.op
        if not isinstance(op, (MatMul, Convolve)) or op.zero is not None:
            return False
        if not _has_kernel(node) or node.outputs[0].dtype is not DType.FLOAT32:
            return False
        left = self._left(node.inputs[0])
        right = self._right(node.inputs[1], -1 if isinstance(op, MatMul) else 0) if left else None
        if left is None or right is None:
            return False
        zero = 0 if left.zero is None else self._number(left.zero)
        low, high = LEVELS[left.levels.dtype]
        is_given = zero is not None and zero == round(zero) and low <= zero <= high
        if not is_given and (zero is not None or isinstance(op, Convolve)):
            return False
        levels = left.levels
        for view in left.views:
            levels = self._emit(node, view, levels)
        weight = self._constant(f"{node.outputs[0].name}_levels", right.levels)
        static = int(zero) if zero is not None else 0
        total = self._emit(node, replace(op, zero=static), levels, weight)
        if zero is None:
            assert left.zero is not None, "a zero point that the run decides"
            total = self._without_zero(node, total, left.zero, right)
        scales = right.scales
        if isinstance(op, Convolve):
            scales = scales.reshape((-1,) + (1,) * (total.rank - 2))
        scale = self._number(left.scale)
        wide = self._emit(node, CastTo(DType.FLOAT32), total)
        if scale is None:
            own = self._emit(node, Reshape(()), left.scale)
            wide = self._emit(node, PointwiseOp("mul"), wide, own)
        else:
            scales = scales * np.float64(scale)
        factors = self._constant(f"{node.outputs[0].name}_scales", scales.astype(np.float32))
        self.nodes.append(Node(PointwiseOp("mul"), (wide, factors), node.outputs, node.origin))
        return True

    def _without_zero(self, node: Node, total: Value, zero: Value, right: _Right) -> Value:
        """The sums without what a zero point that the run decides added to them."""
        sums = right.levels.astype(np.int64).sum(0).astype(np.int32)
        columns = self._constant(f"{node.outputs[0].name}_sums", sums)
        point = self._emit(node, CastTo(DType.INT32), self._emit(node, Reshape(()), zero))
        taken = self._emit(node, PointwiseOp("mul"), columns, point)
        return self._emit(node, PointwiseOp("sub"), total, taken)

    def _left(self, value: Value) -> _Left | None:
        views, node = self._behind_views(value)
        found = self._dequantized(node)
        if found is None:
            return None
        levels, scale, zero = found
        single = all(p is None or shapes.element_count(p.shape) == 1 for p in (scale, zero))
        return _Left(levels, views, scale, zero) if single else None

    def _behind_views(self, value: Value) -> tuple[tuple[Op, ...], Node | None]:
        """The views that make `value`, in order, and the node whose result they are views of."""
        views: list[Op] = []
        node = self.producer.get(value)
        while node is not None and node.op.is_view and _keeps_dtype(node):
            views.insert(0, node.op)
            node = self.producer.get(node.inputs[0])
        return tuple(views), node

    def _dequantized(self, node: Node | None) -> tuple[Value, Value, Value | None] | None:
        """(levels, scale, zero point) of float32 that levels were turned into; whichever side the scale is."""
        if node is None or not _is(node, "mul") or node.outputs[0].dtype is not DType.FLOAT32:
            return None
        for centred, scale in (node.inputs, node.inputs[::-1]):
            inner, zero = self.producer.get(centred), None
            if centred.shape != node.outputs[0].shape or inner is None:
                continue
            if _is(inner, "sub") and inner.inputs[0].shape == centred.shape:
                zero = inner.inputs[1]
                inner = self.producer.get(inner.inputs[0])
            if (
                inner is not None
                and isinstance(inner.op, CastTo)
                and inner.inputs[0].dtype in LEVELS
            ):
                return inner.inputs[0], scale, zero
        return None

    def _right(self, value: Value, axis: int) -> _Right | None:
        """A constant operand whose scales differ along its output channels, at `axis`, at most."""
        views, node = self._behind_views(value)
        found = self._dequantized(node)
        if found is None or found[0].dtype is not DType.INT8:
            return None
        levels, scales = self.known(found[0]), self.known(found[1])
        zero = np.zeros((), np.float32) if found[2] is None else self.known(found[2])
        if levels is None or scales is None or zero is None or zero.any():
            return None
        whole = np.broadcast_to(scales, levels.shape)
        try:
            for view in views:
                (levels,) = view.reference(Environment(), levels)
                (whole,) = view.reference(Environment(), whole)
        except KeyError:  # a view whose shape has symbols
            return None
        if axis == -1 and levels.ndim != 2:
            return None
        channels = np.moveaxis(whole, axis, 0).reshape(whole.shape[axis], -1)
        depth = channels.shape[1]
        if not 0 < depth <= LARGEST_DEPTH or (channels != channels[:, :1]).any():
            return None
        return _Right(np.ascontiguousarray(levels), channels[:, 0].astype(np.float64))

    def known(self, value: Value) -> np.ndarray | None:
        """The elements of what depends on constants alone."""
        if value in self.constants:
            return self.constants[value].array
        if value not in self._known:
            self._known[value] = self._computed(value)
        return self._known[value]

    def _computed(self, value: Value) -> np.ndarray | None:
        node = self.producer.get(value)
        if node is None or len(node.outputs) != 1 or node.op.has_effect:
            return None
        inputs = [self.known(x) for x in node.inputs]
        if any(x is None for x in inputs):
            return None
        try:
            result = node.op.reference(Environment(), *(x for x in inputs if x is not None))[0]
        except (KeyError, NotImplementedError):  # symbols of the run, or control flow over them
            return None
        return np.asarray(result, dtype=value.dtype.numpy)

    def _number(self, value: Value) -> float | None:
        array = self.known(value)
        return None if array is None or array.size != 1 else float(array.reshape(-1)[0])

    def _emit(self, node: Node, op: Op, *inputs: Value) -> Value:
        (result,) = op.infer(*(value.type for value in inputs))
        value = Value(self._name(node.outputs[0].name), result)
        self.nodes.append(Node(op, inputs, (value,), node.origin))
        return value

    def _constant(self, name: str, array: np.ndarray) -> Value:
        array = np.ascontiguousarray(array).reshape(array.shape)
        value = Value(self._name(name), TensorType(from_numpy(array.dtype), tuple(array.shape)))
        self.constants[value] = Constant(value.name, array)
        return value

    def _name(self, stem: str) -> str:
        name, number = stem, 1
        while name in self.names:
            number += 1
            name = f"{stem}_{number}"
        self.names.add(name)
        return name


def _has_kernel(node: Node) -> bool:
    """Whether a product has a kernel of levels, and one that pays."""
    op = node.op
    if isinstance(op, MatMul):
        return all(size != 0 for size in (*node.outputs[0].shape, node.inputs[0].shape[-1]))
    assert isinstance(op, Convolve), "a product or a convolution"
    sizes = (*op.stride, *op.dilation, *(size for pair in op.padding for size in pair))
    channels = node.inputs[1].shape[1]
    is_depthwise = op.groups > 1 and channels == 1
    return len(op.stride) <= 3 and not is_depthwise and all(isinstance(s, int) for s in sizes)


def _keeps_dtype(node: Node) -> bool:
    return node.outputs[0].dtype is node.inputs[0].dtype


def _is(node: Node, name: str) -> bool:
    return isinstance(node.op, PointwiseOp) and node.op.name == name
