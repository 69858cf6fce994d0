"""Operators of random programs over the elements and shapes of one value or a few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from castoff.compiler.ir import shapes
from castoff.compiler.ir.dtypes import DType

from .random_programs import ROUNDING, Item, Maker, Rejected


def unary(m: Maker) -> list[Item]:
    x = m.pick_float()
    name = m.rng.choice(
        ("neg", "abs", "tanh", "sigmoid", "sin", "cos", "relu", "gelu", "exp", "silu")
    )
    if name == "exp":
        if x.bound > 4:
            raise Rejected
        top = float(np.exp(x.bound))
        return [m.rounded(m.b.apply("exp", x.value), top, x.error * top)]
    if name in ("neg", "abs"):
        return [Item(m.b.apply(name, x.value), x.bound, x.error)]
    if name in ("relu", "gelu", "silu"):
        made = m.b.call(f"aten.{name}.default", x.value)
        return [
            m.rounded(made, x.bound, x.error * 1.5)
            if name != "relu"
            else Item(made, x.bound, x.error)
        ]
    return [m.rounded(m.b.apply(name, x.value), 1, x.error)]


def binary(m: Maker) -> list[Item]:
    x = m.pick(lambda item: item.dtype is not DType.BOOL)
    y = m.partner(x)
    name = m.rng.choice(("add", "sub", "mul", "maximum", "minimum", "add", "mul"))
    if name in ("maximum", "minimum") and x.dtype.is_complex:
        raise Rejected
    if m.rng.random() < 0.5:
        x, y = y, x
    made = m.b.apply(name, x.value, y.value)
    if name == "mul":
        return [m.rounded(made, x.bound * y.bound, x.error * y.bound + y.error * x.bound, 4)]
    if name in ("maximum", "minimum"):
        return [Item(made, max(x.bound, y.bound), max(x.error, y.error))]
    return [m.rounded(made, x.bound + y.bound, x.error + y.error)]


def compare(m: Maker) -> list[Item]:
    x = m.pick(
        lambda item: item.is_exact and not item.dtype.is_complex and item.dtype is not DType.BOOL
    )
    y = m.partner(x)
    if not y.is_exact:
        raise Rejected
    return [Item(m.b.apply(m.rng.choice(("lt", "le", "gt", "eq", "ne")), x.value, y.value), 1)]


def select(m: Maker) -> list[Item]:
    condition = m.pick(lambda item: item.dtype is DType.BOOL)
    y = m.input(condition.shape, m.rng.choice((DType.FLOAT32, DType.INT64)))
    z = m.partner(y)
    return [
        Item(
            m.b.where(condition.value, y.value, z.value),
            max(y.bound, z.bound),
            max(y.error, z.error),
        )
    ]


def filled(m: Maker) -> list[Item]:
    x = m.pick_float()
    mask = m.input(tuple(1 if m.rng.random() < 0.3 else s for s in x.shape), DType.BOOL)
    if not m.b.call("aten.masked_fill.Scalar", x.value, mask.value, 0.5).shape == x.shape:
        raise Rejected
    return [
        Item(
            m.b.call("aten.masked_fill.Scalar", x.value, mask.value, 0.5), max(x.bound, 1), x.error
        )
    ]


def convert(m: Maker) -> list[Item]:
    x = m.pick(lambda item: not item.dtype.is_complex)
    to = m.rng.choice(
        (
            DType.FLOAT32,
            DType.FLOAT32,
            DType.FLOAT64,
            DType.FLOAT16,
            DType.BFLOAT16,
            DType.INT64,
            DType.INT32,
        )
    )
    if to.is_integer and not x.is_exact:
        raise Rejected
    if to.is_integer:
        return [Item(m.b.cast(x.value, to), x.bound)]
    if x.bound > 1e4:
        raise Rejected
    made = m.b.cast(x.value, to)
    if x.is_exact and x.bound <= 8:
        return [Item(made, x.bound)]
    return [m.rounded(made, x.bound, x.error)]


def reduced_count(m: Maker, x: Item, axes: Sequence[int]) -> int:
    total = 1
    for axis in axes:
        s = x.shape[axis]
        total *= s if isinstance(s, int) else 65
    return total


def reduce_(m: Maker) -> list[Item]:
    x = m.pick()
    axes, keep = m.axes(x), m.rng.random() < 0.5
    if x.dtype is DType.BOOL:
        return [Item(m.b.reduce(m.rng.choice(("any", "all")), x.value, axes, keep), 1)]
    if x.dtype.is_complex:
        return [
            m.rounded(
                m.b.reduce("sum", x.value, axes, keep),
                x.bound * reduced_count(m, x, axes),
                x.error * reduced_count(m, x, axes),
                8,
            )
        ]
    kind = m.rng.choice(("sum", "sum", "max", "min"))
    made = m.b.reduce(kind, x.value, axes, keep)
    if kind != "sum":
        if may_be_empty(x, axes):
            raise Rejected
        return [Item(made, x.bound, x.error)]
    count = max(reduced_count(m, x, axes), 1)
    return [m.rounded(made, x.bound * count, x.error * count, 4)]


def may_be_empty(x: Item, axes: Sequence[int]) -> bool:
    return any(shapes.lower_bound(x.shape[axis]) == 0 for axis in axes)


def argument(m: Maker) -> list[Item]:
    x = m.pick(
        lambda item: (
            item.is_exact
            and not item.dtype.is_complex
            and item.dtype is not DType.BOOL
            and bool(item.shape)
        )
    )
    axis = m.axis(x)
    if may_be_empty(x, [axis]):
        raise Rejected
    name = m.rng.choice(("argmax", "argmin"))
    return [Item(m.b.call(f"aten.{name}.default", x.value, axis, m.rng.random() < 0.5), 65)]


def normalise(m: Maker) -> list[Item]:
    x = m.pick(
        lambda item: (
            item.dtype in (DType.FLOAT32, DType.FLOAT64, DType.FLOAT16) and len(item.shape) >= 1
        )
    )
    axis = m.axis(x)
    name = m.rng.choice(
        ("softmax", "log_softmax", "layer", "rms", "var", "mean", "residual", "cumsum")
    )
    b = m.b
    if name == "cumsum":
        count = reduced_count(m, x, [axis])
        return [
            m.rounded(
                b.call("aten.cumsum.default", x.value, axis), x.bound * count, x.error * count, 8
            )
        ]
    if name in ("softmax", "log_softmax"):
        made = b.call(f"aten.{name}.int", x.value, axis)
        return [
            m.rounded(
                made,
                1 if name == "softmax" else 2 * x.bound + 5,
                2 * x.error + ROUNDING[x.dtype] * x.bound,
                4,
            )
        ]
    if name == "mean":
        return [m.rounded(b.call("aten.mean.dim", x.value, m.axes(x), True), x.bound, x.error, 16)]
    if name == "var":
        if may_be_empty(x, [axis]):
            raise Rejected
        made = b.call(
            "aten.var.correction", x.value, [axis], correction=0, keepdim=m.rng.random() < 0.5
        )
        return [m.rounded(made, x.bound**2, 4 * x.error * x.bound, 16)]
    if x.dtype is DType.FLOAT16 or may_be_empty(x, [axis]):
        raise Rejected
    amplified = 30 * (x.error + ROUNDING[x.dtype] * x.bound)
    if name == "layer":
        last = x.shape[-1]
        if not isinstance(last, int) or last == 0:
            raise Rejected
        weight, bias = m.leaf((last,), x.dtype), m.leaf((last,), x.dtype)
        made = b.call("aten.layer_norm.default", x.value, [last], weight.value, bias.value, 1e-2)
        return [m.rounded(made, 20, 3 * amplified)]
    if name == "rms":
        square = b.call("aten.mean.dim", b.apply("mul", x.value, x.value), [axis], True)
        scale = b.apply("rsqrt", b.call("aten.add.Scalar", square, 1e-2))
        return [
            m.rounded(b.apply("mul", x.value, scale), 10, amplified),
            m.rounded(scale, 10, amplified * 3),
        ]
    total = b.reduce("sum", x.value, [axis], True)
    count = reduced_count(m, x, [axis])
    made = b.apply("tanh", b.apply("sub", x.value, total))
    return [Item(made, 1, (count + 1) * (x.error + 4 * ROUNDING[x.dtype] * x.bound)),
            m.rounded(total, count * x.bound, count * x.error, 4)]  # fmt: skip


def view(m: Maker) -> list[Item]:
    x = m.pick()
    b, rng = m.b, m.rng
    kind = rng.choice(
        ("permute", "reshape", "slice", "flip", "expand", "unsqueeze", "strided", "select", "merge")
    )
    if kind == "unsqueeze":
        return [Item(b.unsqueeze(x.value, rng.randint(0, len(x.shape))), x.bound, x.error)]
    axis = m.axis(x)
    extent = x.shape[axis]
    if kind == "permute":
        order = list(range(len(x.shape)))
        rng.shuffle(order)
        made = b.permute(x.value, order)
    elif kind == "flip":
        made = b.flip(x.value, m.axes(x))
    elif kind == "expand":
        made = b.expand(
            x.value,
            (
                *([m.dim()] if rng.random() < 0.5 else []),
                *(m.dim() if s == 1 else s for s in x.shape),
            ),
        )
    elif kind == "merge":
        if len(x.shape) < 2:
            raise Rejected
        axis = rng.randrange(len(x.shape) - 1)
        made = b.reshape(
            x.value, (*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])
        )
    elif kind == "reshape":
        if isinstance(extent, int) and extent > 3 and extent % 2 == 0:
            half = (2, extent // 2) if rng.random() < 0.5 else (extent // 2, 2)
            made = b.reshape(x.value, (*x.shape[:axis], *half, *x.shape[axis + 1 :]))
        elif len(x.shape) >= 2 and shapes.is_static(x.shape):
            shape = list(x.shape)
            rng.shuffle(shape)
            made = b.reshape(x.value, tuple(shape))
        else:
            made = b.reshape(x.value, (shapes.element_count(x.shape),))
    elif kind == "select":
        if may_be_empty(x, [axis]):
            raise Rejected
        last = extent - 1
        made = b.select(x.value, axis, rng.choice((0, last)))
    elif kind == "strided":
        count = shapes.element_count(x.shape)
        if not isinstance(count, int) or count < 6:
            raise Rejected
        made = b.slice(b.reshape(x.value, (count,)), 0, 1, (count - 1) // 2, 2)
    else:
        low = rng.randint(0, 2)
        if not isinstance(extent, int):
            made = b.call(
                "aten.slice.Tensor",
                x.value,
                axis,
                rng.choice((0, 1, -3)),
                rng.choice((None, 5, -1)),
                rng.choice((1, 2)),
            )
        else:
            step = rng.choice((1, 1, 2, 3))
            if extent <= low:
                raise Rejected
            made = b.slice(
                x.value,
                axis,
                low,
                rng.randint(0 if rng.random() < 0.1 else 1, -(-(extent - low) // step)),
                step,
            )
    return [Item(made, x.bound, x.error)]
