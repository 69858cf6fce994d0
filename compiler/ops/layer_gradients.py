"""Derivatives of layers, as graphs of training hold them: convolutions, norms, attention, padding, pools, tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from .attention import scores_of
from .base import Builder, OperatorError, normalize_axis, target
from .convolution import Convolve, convolve, convolve_transposed, per_axis
from .embedding import bag_of_each
from .loss import MEAN, NONE, class_axis
from .normalization import per_channel
from .padding import pad_edges
from .statistics import mean_of

Masked = tuple[Value | None, ...]


# ------------------------------------------------------------------------------------ convolutions


@target("aten.convolution_backward.default")
def convolution_backward(
    b: Builder, grad_output: Value, input: Value, weight: Value,
    bias_sizes: Sequence[Dim] | None = None, stride: Sequence[Dim] = (1,),
    padding: Sequence[Dim] = (0,), dilation: Sequence[Dim] = (1,), transposed: bool = False,
    output_padding: Sequence[Dim] = (0,), groups: int = 1,
    output_mask: Sequence[bool] = (True, True, True),
) -> Masked:  # fmt: skip
    """The derivatives by input, weight and bias, those that `output_mask` asks for.

    That by the input is the adjoint convolution; that by the weight is a convolution of input and gradient with
    batch and channels exchanged, and stride and dilation too.
    """
    rank = weight.rank - 2
    steps, gaps = per_axis(stride, rank), per_axis(dilation, rank)
    edges = per_axis(padding, rank)
    by_input = by_weight = by_bias = None
    if output_mask[0] and transposed:
        found = convolve(b, grad_output, weight, None, steps, edges, gaps, groups)
        for axis in range(2, input.rank):  # an output padding of a stride or more has more
            found = b.slice(found, axis, 0, input.shape[axis])
        by_input = found
    elif output_mask[0]:
        extra = [
            size - ((count - 1) * step - 2 * edge + gap * (kernel - 1) + 1)
            for size, count, kernel, step, edge, gap in zip(
                input.shape[2:], grad_output.shape[2:], weight.shape[2:], steps, edges, gaps,
                strict=True,
            )
        ]  # fmt: skip
        by_input = convolve_transposed(
            b, grad_output, weight, None, steps, edges, extra, groups, gaps
        )
    if output_mask[1]:
        whole, windows = (grad_output, input) if transposed else (input, grad_output)
        by_weight = _by_weight(b, whole, windows, weight.shape[2:], steps, edges, gaps, groups)
    if output_mask[2]:
        wide = b.widen(grad_output)
        total = b.reduce("sum", wide, [axis for axis in range(wide.rank) if axis != 1])
        by_bias = b.cast(total, grad_output.dtype)
    return by_input, by_weight, by_bias


def _by_weight(
    b: Builder, x: Value, gradient: Value, kernel: Sequence[Dim], steps: Sequence[Dim],
    edges: Sequence[Dim], gaps: Sequence[Dim], groups: int,
) -> Value:  # fmt: skip
    """[O, C / groups, *kernel] for x [N, C, *sizes] and the gradient [N, O, *counts]."""
    batch, channels, *sizes = x.shape
    inner = shapes.floordiv(channels, groups)
    pads = [
        (edge, gap * (size - 1) + step * (count - 1) + 1 - length - edge)
        for edge, gap, size, step, count, length in zip(
            edges, gaps, kernel, steps, gradient.shape[2:], sizes, strict=True
        )
    ]
    padded = b.pad(x, [(0, 0), (0, 0), *pads])
    split = b.reshape(padded, (batch, groups, inner, *padded.shape[2:]))
    planes = b.permute(split, (2, 1, 0, *range(3, split.rank)))
    planes = b.reshape(planes, (inner, groups * batch, *padded.shape[2:]))
    op = Convolve(tuple(gaps), ((0, 0),) * len(sizes), tuple(steps), groups)
    return b.transpose(b.emit1(op, planes, b.transpose(gradient, 0, 1)), 0, 1)


# ------------------------------------------------------------------------------------------- norms


def _by_normalized(
    b: Builder, gradient: Value, x: Value, deviation: Value, axes: Sequence[int]
) -> Value:
    """The derivative by what was normalized to `x` over axes, for the gradient of `x`."""
    projected = b.apply("mul", x, mean_of(b, b.apply("mul", gradient, x), axes))
    rest = b.apply("sub", b.apply("sub", gradient, mean_of(b, gradient, axes)), projected)
    return b.apply("mul", rest, deviation)


def _masked(
    b: Builder, mask: Sequence[bool], results: Sequence[Value], dtypes: Sequence[DType]
) -> Masked:
    triples = zip(mask, results, dtypes, strict=True)
    return tuple(b.cast(value, dtype) if asked else None for asked, value, dtype in triples)


@target("aten.native_layer_norm_backward.default")
def native_layer_norm_backward(
    b: Builder, grad_out: Value, input: Value, normalized_shape: Sequence[Dim], mean: Value,
    rstd: Value, weight: Value | None, bias: Value | None, output_mask: Sequence[bool],
) -> Masked:  # fmt: skip
    """The derivatives by input, weight and bias."""
    lead = input.rank - len(normalized_shape)
    gradient, x = b.widen(grad_out), b.widen(input)
    centre, deviation = b.cast(mean, x.dtype), b.cast(rstd, x.dtype)
    normal = b.apply("mul", b.apply("sub", x, centre), deviation)
    by_weight = b.reduce("sum", b.apply("mul", gradient, normal), range(lead))
    by_bias = b.reduce("sum", gradient, range(lead)) if lead else gradient
    by_weight = by_weight if lead else b.apply("mul", gradient, normal)
    scaled = gradient if weight is None else b.apply("mul", gradient, b.cast(weight, x.dtype))
    by_input = _by_normalized(b, scaled, normal, deviation, range(lead, input.rank))
    dtype = input.dtype if weight is None else weight.dtype
    mask = (
        output_mask[0],
        output_mask[1] and weight is not None,
        output_mask[2] and bias is not None,
    )
    return _masked(b, mask, (by_input, by_weight, by_bias), (input.dtype, dtype, dtype))


@target("aten.native_group_norm_backward.default")
def native_group_norm_backward(
    b: Builder, grad_out: Value, input: Value, mean: Value, rstd: Value, weight: Value | None,
    N: Dim, C: Dim, HxW: Dim, group: int, output_mask: Sequence[bool],  # noqa: N803
) -> Masked:  # fmt: skip
    """The derivatives by input, weight and bias."""
    inner = shapes.floordiv(C, group)
    members = (N, group, inner, HxW)
    gradient, x = (b.reshape(b.widen(value), members) for value in (grad_out, input))
    centre, deviation = (b.reshape(b.cast(s, x.dtype), (N, group, 1, 1)) for s in (mean, rstd))
    normal = b.apply("mul", b.apply("sub", x, centre), deviation)
    by_weight = b.reshape(b.reduce("sum", b.apply("mul", gradient, normal), (0, 3)), (C,))
    by_bias = b.reshape(b.reduce("sum", gradient, (0, 3)), (C,))
    if weight is not None:
        wide = b.reshape(b.cast(weight, x.dtype), (1, group, inner, 1))
        gradient = b.apply("mul", gradient, wide)
    by_input = b.reshape(_by_normalized(b, gradient, normal, deviation, (2, 3)), input.shape)
    dtype = input.dtype if weight is None else weight.dtype
    return _masked(b, output_mask, (by_input, by_weight, by_bias), (input.dtype, dtype, dtype))


@target("aten.native_batch_norm_backward.default")
def native_batch_norm_backward(
    b: Builder, grad_out: Value, input: Value, weight: Value | None, running_mean: Value | None,
    running_var: Value | None, save_mean: Value | None, save_invstd: Value | None, train: bool,
    eps: float, output_mask: Sequence[bool],
) -> Masked:  # fmt: skip
    """The derivatives by input, weight and bias."""
    gradient, x = b.widen(grad_out), b.widen(input)
    axes = [axis for axis in range(x.rank) if axis != 1]
    if train:
        mean, deviation = save_mean, save_invstd
    else:
        mean, deviation = running_mean, running_var
    if mean is None or deviation is None:
        raise OperatorError("the derivative of a batch norm without the statistics it used")
    centre, scale = (per_channel(b, b.cast(s, x.dtype), x.rank) for s in (mean, deviation))
    if not train:
        scale = b.apply("rsqrt", b.apply("add", scale, b.full((), eps, x.dtype)))
    normal = b.apply("mul", b.apply("sub", x, centre), scale)
    by_weight = b.reduce("sum", b.apply("mul", gradient, normal), axes)
    by_bias = b.reduce("sum", gradient, axes)
    if weight is not None:
        gradient = b.apply("mul", gradient, per_channel(b, b.cast(weight, x.dtype), x.rank))
    if train:
        by_input = _by_normalized(b, gradient, normal, scale, axes)
    else:
        by_input = b.apply("mul", gradient, scale)
    dtype = input.dtype if weight is None else weight.dtype
    return _masked(b, output_mask, (by_input, by_weight, by_bias), (input.dtype, dtype, dtype))


# --------------------------------------------------------------------------------------- attention


@target("aten._scaled_dot_product_flash_attention_for_cpu_backward.default")
def flash_attention_for_cpu_backward(
    b: Builder, grad_out: Value, query: Value, key: Value, value: Value, out: Value,
    logsumexp: Value, dropout_p: float, is_causal: bool, *, attn_mask: Value | None = None,
    scale: float | None = None,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """The derivatives by query, key and value.

    Graphs of training have the weights themselves, of the rank of the query, in the place of the logarithms of the
    sums of their exponentials: PyTorch takes the forward pass apart and leaves the derivative whole.
    """
    if shapes.is_equal(query.shape[-3], key.shape[-3]) is False:
        raise OperatorError("the derivative of attention whose heads share keys")
    dtype = query.dtype
    q, k, v, gradient, result = (b.widen(x) for x in (query, key, value, grad_out, out))
    root = b.apply("rsqrt", b.dim(query.shape[-1], q.dtype))
    factor = root if scale is None else b.full((), scale, q.dtype)
    q = b.apply("mul", q, factor)
    if logsumexp.rank == query.rank:
        weights = b.cast(logsumexp, q.dtype)
    else:
        scores = scores_of(b, q, k, attn_mask, is_causal, 1.0)
        shift = b.unsqueeze(b.cast(logsumexp, scores.dtype), -1)
        weights = b.apply("exp", b.apply("sub", scores, shift))
    by_value = b.matmul(b.transpose(weights, -1, -2), gradient)
    by_weights = b.matmul(gradient, b.transpose(v, -1, -2))
    share = b.reduce("sum", b.apply("mul", gradient, result), (-1,), keepdim=True)
    by_scores = b.apply("mul", weights, b.apply("sub", by_weights, share))
    by_query = b.apply("mul", b.matmul(by_scores, k), factor)
    by_key = b.matmul(b.transpose(by_scores, -1, -2), q)
    return b.cast(by_query, dtype), b.cast(by_key, dtype), b.cast(by_value, dtype)


# ------------------------------------------------------- padding, pools and what else takes elements


def put_back(b: Builder, gradient: Value, axis: int, size: Dim, taken: Value) -> Value:
    """Gradients of elements `taken` along an axis, added up for each of its `size` elements."""
    shape = (*gradient.shape[:axis], size, *gradient.shape[axis + 1 :])
    zeros = b.full(shape, 0, gradient.dtype)
    result: Value = b.call("aten.index_add.default", zeros, axis, taken, gradient)
    return result


def _register_pad_backward(name: str, mode: str) -> None:
    @target(*(f"aten.{name}_pad{rank}d_backward.default" for rank in (1, 2, 3)))
    def pad_backward(b: Builder, grad_output: Value, self: Value, padding: Sequence[Dim]) -> Value:
        """Every element's gradients, its own and those of its copies, added up."""
        gradient = b.widen(grad_output)
        for pair in range(len(padding) // 2):
            axis = self.rank - 1 - pair
            size = self.shape[axis]
            taken = pad_edges(b, b.iota(size), padding[2 * pair : 2 * pair + 2], mode)
            gradient = put_back(b, gradient, axis, size, taken)
        return b.cast(gradient, self.dtype)


_register_pad_backward("reflection", "reflect")
_register_pad_backward("replication", "replicate")


def _register_adaptive_average_backward(rank: int) -> None:
    @target(f"aten._adaptive_avg_pool{rank}d_backward.default")
    def adaptive_average_backward(b: Builder, grad_output: Value, self: Value) -> Value:
        """Every gradient shared out equally over its window."""
        gradient = b.widen(grad_output)
        for axis in range(self.rank - rank, self.rank):
            gradient = _shared_out(b, gradient, axis, self.shape[axis])
        return b.cast(gradient, self.dtype)


_register_adaptive_average_backward(2)
_register_adaptive_average_backward(3)


def _shared_out(b: Builder, gradient: Value, axis: int, size: Dim) -> Value:
    """Gradients of windows along an axis, shared out over its `size` elements.

    An element is in few windows, which lie over the windows as windows do over the elements.
    """
    count = gradient.shape[axis]
    start, end = _spans(b, count, size)
    length = b.cast(b.apply("sub", end, start), gradient.dtype)
    along = tuple(count if i == axis else 1 for i in range(gradient.rank))
    shares = b.apply("div", gradient, b.reshape(length, along))
    first, last = (b.unsqueeze(edge, 1) for edge in _spans(b, size, count))
    most = shapes.floordiv(count - 1, size) + 2
    number = b.apply("add", first, b.iota(most))
    is_over = b.apply("lt", number, last)
    taken = b.reshape(b.apply("minimum", number, b.dim(count - 1)), (size * most,))
    found: Value = b.call("aten.index_select.default", shares, axis, taken)
    lead, rest = gradient.shape[:axis], gradient.shape[axis + 1 :]
    found = b.reshape(found, (*lead, size, most, *rest))
    is_over = b.reshape(is_over, (size, most, *(1 for _ in rest)))
    used = b.where(is_over, found, b.full((), 0, found.dtype))
    return b.reduce("sum", used, (axis + 1,))


def _spans(b: Builder, count: Dim, size: Dim) -> tuple[Value, Value]:
    """Where each of `count` windows over `size` elements begins and ends."""
    window, sizes, counts = b.iota(count), b.dim(size), b.dim(count)
    start = b.apply("floor_divide", b.apply("mul", window, sizes), counts)
    reach = b.apply("mul", b.apply("add", window, b.dim(1)), sizes)
    return start, b.apply("floor_divide", b.apply("add", reach, b.dim(count - 1)), counts)


@target("aten.select_backward.default")
def select_backward(
    b: Builder, grad_output: Value, input_sizes: Sequence[Dim], dim: int, index: Dim
) -> Value:
    """The gradient at the place that was selected, zeros elsewhere."""
    zeros = b.full(input_sizes, 0, grad_output.dtype)
    result: Value = b.call("aten.select_scatter.default", zeros, grad_output, dim, index)
    return result


@target("aten.slice_backward.default")
def slice_backward(
    b: Builder, grad_output: Value, input_sizes: Sequence[Dim], dim: int, start: Dim, end: Dim,
    step: Dim,
) -> Value:  # fmt: skip
    """The gradient in the slice, zeros beside it."""
    zeros = b.full(input_sizes, 0, grad_output.dtype)
    bounds = (dim, start, end, step)
    result: Value = b.call("aten.slice_scatter.default", zeros, grad_output, *bounds)
    return result


@target("aten.diagonal_backward.default")
def diagonal_backward(
    b: Builder, grad_output: Value, input_sizes: Sequence[Dim], offset: int, dim1: int, dim2: int
) -> Value:
    """The gradient on the diagonal, zeros beside it."""
    zeros = b.full(input_sizes, 0, grad_output.dtype)
    axes = (offset, dim1, dim2)
    result: Value = b.call("aten.diagonal_scatter.default", zeros, grad_output, *axes)
    return result


@target("aten.index_select_backward.default")
def index_select_backward(
    b: Builder, grad: Value, self_sizes: Sequence[Dim], dim: int, index: Value
) -> Value:
    """The gradients of what the indices took, added up where they took the same."""
    axis = normalize_axis(dim, len(self_sizes))
    return b.cast(put_back(b, b.widen(grad), axis, self_sizes[axis], index), grad.dtype)


# ---------------------------------------------------------------------------------- tables and rows


@target("aten.embedding_dense_backward.default")
def embedding_dense_backward(
    b: Builder, grad_output: Value, indices: Value, num_weights: Dim, padding_idx: Dim,
    scale_grad_by_freq: bool,
) -> Value:  # fmt: skip
    """The gradients of the rows of a table, added up by the row that was taken."""
    count = shapes.element_count(indices.shape)
    taken = b.reshape(b.cast(indices, DType.INT64), (count,))
    rows = b.reshape(b.widen(grad_output), (count, grad_output.shape[-1]))
    rows = _without(b, rows, taken, padding_idx)
    if scale_grad_by_freq:
        rows = b.apply("div", rows, _frequencies(b, taken, num_weights, rows.dtype))
    return b.cast(put_back(b, rows, 0, num_weights, taken), grad_output.dtype)


def _without(b: Builder, rows: Value, taken: Value, padding_idx: Dim) -> Value:
    """Zeros for the rows that stand for padding."""
    if isinstance(padding_idx, int) and padding_idx < 0:
        return rows
    is_used = b.unsqueeze(b.apply("ne", taken, b.dim(padding_idx)), 1)
    return b.where(is_used, rows, b.full((), 0, rows.dtype))


def _frequencies(b: Builder, taken: Value, count: Dim, dtype: DType) -> Value:
    """[n, 1]: how often each of the n rows was taken."""
    ones = b.full(taken.shape, 1, dtype)
    counts = put_back(b, ones, 0, count, taken)
    found: Value = b.call("aten.index_select.default", counts, 0, taken)
    return b.unsqueeze(found, 1)


_MEAN, _MAX = 1, 2


@target("aten._embedding_bag_backward.default")
def embedding_bag_backward(
    b: Builder, grad: Value, indices: Value, offsets: Value, offset2bag: Value, bag_size: Value,
    maximum_indices: Value, num_weights: Dim, scale_grad_by_freq: bool, mode: int, sparse: bool,
    per_sample_weights: Value | None, padding_idx: int = -1,
) -> Value:  # fmt: skip
    """The gradients of the rows of a table whose bags were summed, averaged or searched for the largest."""
    wide = b.widen(grad)
    if mode == _MAX:
        zeros = b.full((num_weights, grad.shape[1]), 0, wide.dtype)
        places = b.cast(maximum_indices, DType.INT64)
        has_members = b.unsqueeze(b.apply("gt", b.cast(bag_size, DType.INT64), b.dim(0)), 1)
        added = b.where(has_members, wide, b.full((), 0, wide.dtype))
        largest: Value = b.call("aten.scatter_add.default", zeros, 0, places, added)
        return b.cast(largest, grad.dtype)
    if mode == _MEAN:
        members = b.cast(b.apply("maximum", bag_size, b.full((), 1, bag_size.dtype)), wide.dtype)
        wide = b.apply("div", wide, b.unsqueeze(members, 1))
    if shapes.is_equal(offset2bag.shape[0], 0) is True:  # PyTorch's quick way to sums has none
        offset2bag = bag_of_each(b, offsets, indices.shape[0])
    rows: Value = b.call("aten.index_select.default", wide, 0, offset2bag)
    if per_sample_weights is not None:
        rows = b.apply("mul", rows, b.unsqueeze(b.cast(per_sample_weights, rows.dtype), 1))
    taken = b.cast(indices, DType.INT64)
    rows = _without(b, rows, taken, padding_idx)
    if scale_grad_by_freq:
        rows = b.apply("div", rows, _frequencies(b, taken, num_weights, rows.dtype))
    return b.cast(put_back(b, rows, 0, num_weights, taken), grad.dtype)


# ------------------------------------------------------------------------------------------- losses


@target("aten.nll_loss_backward.default", "aten.nll_loss2d_backward.default")
def nll_loss_backward(
    b: Builder, grad_output: Value, self: Value, target: Value, weight: Value | None,
    reduction: int, ignore_index: Dim, total_weight: Value,
) -> Value:  # fmt: skip
    """Minus the weight of the class at the place of each label, zero elsewhere."""
    axis = class_axis(self)
    classes = self.shape[axis]
    dtype = self.dtype.compute
    labels = b.unsqueeze(b.cast(target, DType.INT64), axis)
    wide = tuple(classes if i == axis else 1 for i in range(self.rank))
    number = b.reshape(b.iota(classes), wide)
    is_picked = b.apply(
        "logical_and", b.apply("eq", number, labels), b.apply("ne", labels, b.dim(ignore_index))
    )
    gradient = b.cast(grad_output, dtype)
    if reduction == NONE:
        gradient = b.unsqueeze(gradient, axis)
    elif reduction == MEAN:
        gradient = b.apply("div", gradient, b.cast(total_weight, dtype))
    share = b.apply("neg", gradient)
    if weight is not None:
        share = b.apply("mul", share, b.reshape(b.cast(weight, dtype), wide))
    return b.cast(b.where(is_picked, share, b.full((), 0, dtype)), self.dtype)


# ---------------------------------------------------------------------------------------- distances


def _by_difference(
    b: Builder, difference: Value, distance: Value, gradient: Value, p: float
) -> Value:
    """The derivative of norms of differences by the differences; zero where a norm is zero."""
    zero, one = b.full((), 0, difference.dtype), b.full((), 1, difference.dtype)
    sign = b.apply("sign", difference)
    if p == 0:
        return b.apply("mul", difference, zero)
    if p == 1:
        return b.apply("mul", sign, gradient)
    magnitude = b.apply("abs", difference)
    if math.isinf(p):
        is_largest = b.apply("eq", magnitude, distance)
        return b.where(is_largest, b.apply("mul", sign, gradient), zero)
    is_zero = b.apply("eq", distance, zero)
    ratio = b.apply("div", magnitude, b.where(is_zero, one, distance))
    powered = b.apply("pow", ratio, b.full((), p - 1, ratio.dtype))
    scaled = b.apply("mul", b.apply("mul", sign, powered), gradient)
    touches = b.apply("logical_or", is_zero, b.apply("eq", difference, zero))
    return b.where(touches, zero, scaled)


@target("aten._cdist_backward.default")
def cdist_backward(b: Builder, grad: Value, x1: Value, x2: Value, p: float, cdist: Value) -> Value:
    """The derivative of the distances between rows by the rows of x1."""
    first, second, gradient, distance = (b.widen(value) for value in (x1, x2, grad, cdist))
    difference = b.apply("sub", b.unsqueeze(first, -2), b.unsqueeze(second, -3))
    parts = _by_difference(b, difference, b.unsqueeze(distance, -1), b.unsqueeze(gradient, -1), p)
    return b.cast(b.reduce("sum", parts, (-2,)), x1.dtype)


@target("aten._pdist_backward.default")
def pdist_backward(b: Builder, grad: Value, self: Value, p: float, pdist: Value) -> Value:
    """The derivative of the distances between the rows of a matrix by the rows."""
    x, gradient, distance = (b.widen(value) for value in (self, grad, pdist))
    pairs = b.call("aten.triu_indices.default", self.shape[0], self.shape[0], 1)
    left, right = (b.select(pairs, 0, side) for side in (0, 1))
    rows = [b.call("aten.index_select.default", x, 0, side) for side in (left, right)]
    difference = b.apply("sub", *rows)
    parts = _by_difference(b, difference, b.unsqueeze(distance, 1), b.unsqueeze(gradient, 1), p)
    result = put_back(b, parts, 0, self.shape[0], left)
    minus: Value = b.call("aten.index_add.default", result, 0, right, b.apply("neg", parts))
    return b.cast(minus, self.dtype)
