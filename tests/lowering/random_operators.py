"""Operators of random programs that join, look up, multiply, or run graphs of their own."""

from __future__ import annotations

import numpy as np

from castoff.compiler.ir import shapes
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Value
from castoff.compiler.ir.shapes import Dim, Shape
from castoff.compiler.ops.control_flow import Branch, ScanLoop, WhileLoop

from ..graphs import GraphBuilder
from .random_elements import reduced_count
from .random_programs import ROUNDING, Item, Maker, Rejected, is_plain


def join(m: Maker) -> list[Item]:
    x = m.pick(lambda item: bool(item.shape))
    axis = m.axis(x)
    parts = [x]
    for _ in range(m.rng.randint(1, 3)):

        def fits(y: Item) -> bool:
            if y.dtype is not x.dtype or len(y.shape) != len(x.shape):
                return False
            sizes = enumerate(zip(y.shape, x.shape, strict=True))
            return all(a == b for i, (a, b) in sizes if i != axis)

        if m.rng.random() < 0.6:
            parts.append(m.pick(fits))
        else:
            parts.append(m.leaf((*x.shape[:axis], m.dim(), *x.shape[axis + 1 :]), x.dtype))
    m.rng.shuffle(parts)
    made = m.b.concatenate([p.value for p in parts], axis)
    return [Item(made, max(p.bound for p in parts), max(p.error for p in parts))]


def pad(m: Maker) -> list[Item]:
    x = m.pick(lambda item: bool(item.shape))
    padding = [(m.rng.choice((0, 0, 1, 3, -1)), m.rng.choice((0, 0, 1, 2, -1))) for _ in x.shape]
    if any(
        shapes.is_less(s, -min(before, 0) - min(after, 0)) is not False
        for s, (before, after) in zip(x.shape, padding, strict=True)
    ):
        raise Rejected
    value: bool | int = m.rng.choice((0, 1))
    return [
        Item(
            m.b.pad(x.value, padding, bool(value) if x.dtype is DType.BOOL else value),
            max(x.bound, 1),
            x.error,
        )
    ]


def gather(m: Maker) -> list[Item]:
    x = m.pick(lambda item: bool(item.shape))
    axis = m.axis(x)
    extent = x.shape[axis]
    low = shapes.lower_bound(extent)
    if low == 0:
        raise Rejected
    count = m.dim()
    kind = m.rng.choice(("select", "index", "gather"))
    if kind == "gather":
        ids = m.input((*x.shape[:axis], count, *x.shape[axis + 1 :]), DType.INT64, 0, low - 1)
        return [Item(m.b.call("aten.gather.default", x.value, axis, ids.value), x.bound, x.error)]
    if kind == "select":
        ids = m.input((count,), m.rng.choice((DType.INT64, DType.INT32)), 0, low - 1)
        return [
            Item(m.b.call("aten.index_select.default", x.value, axis, ids.value), x.bound, x.error)
        ]
    ids = m.input(m.rng.choice(((count,), (2, 3), ())), DType.INT64, -low, low - 1)
    return [
        Item(m.b.call("aten.index.Tensor", x.value, [None] * axis + [ids.value]), x.bound, x.error)
    ]


def scatter(m: Maker) -> list[Item]:
    x = m.pick(
        lambda item: (
            bool(item.shape)
            and item.dtype is not DType.BOOL
            and not item.dtype.is_complex
            and item.dtype is not DType.UINT8
        )
    )
    axis = m.axis(x)
    low = shapes.lower_bound(x.shape[axis])
    if low == 0:
        raise Rejected
    count = m.dim()
    kind = m.rng.choice(("index_add", "index_put", "slice_scatter", "scatter_add"))
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    repeats = count if isinstance(count, int) else 65
    if kind == "slice_scatter":
        source = m.input((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)
        made = m.b.call("aten.slice_scatter.default", x.value, source.value, axis, low - 1, low)
        return [Item(made, max(x.bound, source.bound), x.error)]
    source = m.input(shape, x.dtype)
    if kind == "scatter_add":
        ids = m.input(shape, DType.INT64, 0, low - 1)
        made = m.b.call("aten.scatter_add.default", x.value, axis, ids.value, source.value)
        return [m.rounded(made, x.bound + repeats * 2, x.error, max(repeats, 1))]
    ids = m.input((count,), DType.INT64, 0, low - 1)
    if kind == "index_add":
        made = m.b.call("aten.index_add.default", x.value, axis, ids.value, source.value)
        return [m.rounded(made, x.bound + repeats * 2, x.error, max(repeats, 1))]
    made = m.b.call("aten.index_put.default", x.value, [None] * axis + [ids.value], source.value)
    return [Item(made, max(x.bound, 2), x.error)]


def product(m: Maker) -> list[Item]:
    x = m.pick(lambda item: item.dtype in ROUNDING and len(item.shape) >= 2)
    b, rng = m.b, m.rng
    depth = x.shape[-1]
    columns = m.dim()
    batch: Shape = x.shape[:-2] if rng.random() < 0.3 else ()
    if batch and rng.random() < 0.4:
        batch = tuple(1 for _ in batch)
    if not batch and rng.random() < 0.2 and len(x.shape) == 2:
        batch = (rng.choice((2, 3)),)
    if rng.random() < 0.5:
        right = b.transpose((y := m.leaf((*batch, columns, depth), x.dtype)).value, -1, -2)
    else:
        right = (y := m.leaf((*batch, depth, columns), x.dtype)).value
    count = depth if isinstance(depth, int) else 65
    made = (
        b.matmul(x.value, right)
        if rng.random() < 0.8 or columns == 0
        else b.transpose(b.matmul(b.transpose(right, -1, -2), b.transpose(x.value, -1, -2)), -1, -2)
    )
    result = m.rounded(
        made, max(count, 1) * x.bound * y.bound, max(count, 1) * x.error * y.bound, 8
    )
    m.pool.append(result)
    return [result, *(epilogue(m, result) if rng.random() < 0.7 else [])]


def epilogue(m: Maker, x: Item) -> list[Item]:
    """Bias, activation, residual after a product or convolution."""
    made = x
    for _ in range(m.rng.randint(1, 3)):
        kind = m.rng.choice(("column", "row", "residual", "gelu", "relu", "scale"))
        if not made.dtype.is_float:
            return [made]
        if kind in ("gelu", "relu"):
            made = m.rounded(
                m.b.call(f"aten.{kind}.default", made.value), made.bound, made.error * 1.2
            )
            continue
        shape = (
            made.shape
            if kind == "residual"
            else made.shape[-1:]
            if kind == "column"
            else (*made.shape[-2:-1], 1)
        )
        y = m.leaf(shape if kind != "scale" else (), made.dtype)
        if kind == "scale":
            made = m.rounded(m.b.apply("mul", made.value, y.value), made.bound * 2, made.error * 2)
        else:
            made = m.rounded(m.b.apply("add", made.value, y.value), made.bound + 2, made.error)
    return [made]


def convolve(m: Maker) -> list[Item]:
    b, rng = m.b, m.rng
    n = rng.choice((1, 2, 2, 3))
    groups = rng.choice((1, 1, 1, 2, 3))
    inputs, outputs = groups * rng.choice((1, 2, 3, 8)), groups * rng.choice((1, 2, 5, 16))
    kernel = [rng.choice((1, 2, 3)) for _ in range(n)]
    spatial = [rng.choice((3, 4, 5, 8, 9)) for _ in range(n)]
    batch: Dim = rng.choice((1, 2)) if not m.symbols or rng.random() < 0.6 else m.symbols[0]
    dtype = rng.choice((DType.FLOAT32, DType.FLOAT32, DType.FLOAT32, DType.FLOAT64, DType.FLOAT16))
    x = m.input((batch, inputs, *spatial), dtype)
    for _ in range(rng.randint(0, 1)):
        x = Item(b.apply("neg", x.value), x.bound)
    weight = m.leaf((outputs, inputs // groups, *kernel), dtype)
    bias = m.leaf((outputs,), dtype) if rng.random() < 0.5 else None
    stride = [rng.choice((1, 1, 2)) for _ in range(n)]
    padding = [rng.choice((0, 1)) for _ in range(n)]
    dilation = [
        rng.choice((1, 1, 1, 2)) if k + 1 < s else 1 for k, s in zip(kernel, spatial, strict=True)
    ]
    if any(
        s + 2 * p < d * (k - 1) + 1
        for s, p, d, k in zip(spatial, padding, dilation, kernel, strict=True)
    ):
        raise Rejected
    made = b.call(
        "aten.convolution.default",
        x.value,
        weight.value,
        bias and bias.value,
        stride,
        padding,
        dilation,
        False,
        [0] * n,
        groups,
    )
    count = inputs // groups * int(np.prod(kernel))
    if rng.random() < 0.4:
        scale = m.leaf((outputs, *(1 for _ in range(n))), dtype)
        made = b.apply("mul", made, scale.value)
        count *= 2
    result = m.rounded(made, count * 4 + 2, 0, 8)
    m.pool.append(result)
    return [result, *(epilogue(m, result) if rng.random() < 0.6 else [])]


def attend(m: Maker) -> list[Item]:
    b, rng = m.b, m.rng
    batch, heads = rng.choice((1, 2)), rng.choice((1, 2, 4))
    shared = rng.choice((1, 2)) if heads % 2 == 0 else 1
    rows, columns = m.dim(), m.dim()
    width, out = rng.choice((1, 3, 8, 16, 20)), rng.choice((1, 8, 16, 17))
    dtype = rng.choice((DType.FLOAT32, DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16))
    if rng.random() < 0.5:  # as projections leave them

        def operand(h: int, length: Dim, w: int) -> Value:
            return b.permute(m.input((batch, length, h, w), dtype).value, (0, 2, 1, 3))
    else:

        def operand(h: int, length: Dim, w: int) -> Value:
            return m.input((batch, h, length, w), dtype).value

    q = operand(heads, rows, width)
    k, v = operand(heads // shared, columns, width), operand(heads // shared, columns, out)
    mask: Value | None = None
    causal = rng.random() < 0.3
    if not causal and rng.random() < 0.5:
        shape = rng.choice(((rows, columns), (batch, 1, 1, columns), (batch, heads, rows, columns)))
        mask = m.input(shape, rng.choice((DType.BOOL, dtype))).value
    made = b.call(
        "aten.scaled_dot_product_attention.default",
        q,
        k,
        v,
        mask,
        0.0,
        causal,
        enable_gqa=shared > 1,
    )
    rounding = ROUNDING[dtype]
    return [Item(made, 2, 200 * rounding if dtype is not DType.BFLOAT16 else 16 * rounding)]


def pool(m: Maker) -> list[Item]:
    x = m.pick(lambda item: item.dtype in (DType.FLOAT32, DType.FLOAT64) and 3 <= len(item.shape) <= 4
               and all(isinstance(s, int) and s >= 2 for s in item.shape[-2:]))  # fmt: skip
    if m.rng.random() < 0.5:
        made = m.b.call(
            "aten.max_pool2d.default",
            x.value,
            [2, 2],
            [m.rng.choice((1, 2))] * 2,
            [m.rng.choice((0, 1))] * 2,
        )
    else:
        made = m.b.call(
            "aten.avg_pool2d.default",
            x.value,
            [2, 2],
            [m.rng.choice((1, 2))] * 2,
            [m.rng.choice((0, 1))] * 2,
        )
    return [m.rounded(made, x.bound, x.error)]


def order(m: Maker) -> list[Item]:
    x = m.pick(
        lambda item: (
            item.is_exact
            and not item.dtype.is_complex
            and item.dtype is not DType.BOOL
            and bool(item.shape)
        )
    )
    values, places = m.b.call(
        "aten.sort.stable", x.value, stable=True, dim=m.axis(x), descending=m.rng.random() < 0.5
    )
    return [Item(values, x.bound), Item(places, 65)]


def loop(m: Maker) -> list[Item]:
    """A branch, a counted while, or a scan."""
    x = m.pick(
        lambda item: item.dtype is DType.FLOAT32 and item.bound < 50 and is_plain(item.shape)
    )
    kind = m.rng.choice(("branch", "while", "scan"))
    if kind == "branch":
        condition = m.input((), DType.BOOL)
        graphs = []
        for name in ("tanh", "neg"):
            inner = GraphBuilder()
            y = inner.input("y", *x.shape)
            z = inner.apply(name, y)
            total = inner.reduce("sum", z, [len(x.shape) - 1], True) if x.shape else z
            graphs.append(inner.graph(inner.apply("sub", z, total), y))
        made = m.b.emit(Branch(*graphs), condition.value, x.value)
        count = reduced_count(m, x, [len(x.shape) - 1]) if x.shape else 1
        return [
            m.rounded(made[0], x.bound * (count + 1), (count + 1) * (x.error + 1e-6)),
            Item(made[1], x.bound, x.error),
        ]
    if kind == "while":
        limit = m.input((), DType.INT64, 0, 5)
        condition_, body = GraphBuilder(), GraphBuilder()
        args = [
            (
                g.input("step", dtype=DType.INT64),
                g.input("y", *x.shape),
                g.input("z", *x.shape),
                g.input("limit", dtype=DType.INT64),
            )
            for g in (condition_, body)
        ]
        test = condition_.graph(condition_.apply("lt", args[0][0], args[0][3]))
        step, y, z, _ = args[1]
        done = body.graph(
            body.call("aten.add.Scalar", step, 1), z, body.apply("tanh", body.apply("add", y, z))
        )
        start = m.b.full((), 0, DType.INT64)
        made = m.b.emit(
            WhileLoop(test, done, 3), start, x.value, m.b.apply("neg", x.value), limit.value
        )
        return [
            Item(made[0], 6),
            Item(made[1], max(x.bound, 1), 80 * (x.error + 1e-6)),
            Item(made[2], max(x.bound, 1), 80 * (x.error + 1e-6)),
        ]
    if not x.shape:
        raise Rejected
    inner = GraphBuilder()
    carried, piece = inner.input("carried", *x.shape[1:]), inner.input("piece", *x.shape[1:])
    total = inner.apply("tanh", inner.apply("add", carried, piece))
    graph = inner.graph(total, inner.apply("mul", total, piece), total)
    first = m.leaf(x.shape[1:], DType.FLOAT32)
    made = m.b.emit(ScanLoop(graph, 1, 1, x.shape[0], m.rng.random() < 0.5), first.value, x.value)
    error = 65 * (x.error + 1e-6)
    return [
        Item(made[0], 2, error),
        Item(made[1], x.bound, error * max(x.bound, 1)),
        Item(made[2], 1, error),
    ]
