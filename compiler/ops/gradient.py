"""Numerical gradients of sampled functions."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.dtypes import DType
from ..ir.graph import Value
from ..kernels import Number
from .base import Builder, OperatorError, normalize_axis, target

Spacing = Number | Value


@target(
    "aten.gradient.scalarint", "aten.gradient.scalararray", "aten.gradient.array",
    "aten.gradient.scalarrayarray", "aten.gradient.scalarrayint", "aten.gradient.tensorarray",
    "aten.gradient.tensorarrayint",
)  # fmt: skip
def gradient(
    b: Builder, self: Value, spacing: Spacing | Sequence[Spacing] | None = None,
    dim: int | Sequence[int] | None = None, edge_order: int = 1,
) -> list[Value]:  # fmt: skip
    """Central differences inside, one-sided ones at the ends, along each dimension asked for.

    `spacing`: distances between samples (one, or one for each dimension), or their coordinates.
    """
    if edge_order not in (1, 2):
        raise OperatorError(f"gradient: expected edge_order 1 or 2, got {edge_order}")
    dims = range(self.rank) if dim is None else (dim,) if isinstance(dim, int) else dim
    axes = [normalize_axis(d, self.rank) for d in dims]
    if spacing is None:
        spacing = 1
    spacings: list[Spacing] = (
        [spacing] * len(axes)
        if isinstance(spacing, (bool, int, float, complex, Value))
        else [*spacing]
    )
    if len(spacings) != len(axes):
        raise OperatorError(f"gradient along {len(axes)} dimensions with {len(spacings)} spacings")
    return [
        _along(b, self, axis, step, edge_order) for axis, step in zip(axes, spacings, strict=True)
    ]


def _along(b: Builder, x: Value, axis: int, spacing: Spacing, edge_order: int) -> Value:
    if not (x.dtype.is_float or x.dtype.is_complex):
        x = b.cast(x, DType.FLOAT32)
    size = x.shape[axis]

    def part(start: int, back: int) -> Value:
        """Elements from `start` up to `back` before the end."""
        return b.slice(x, axis, start, size - start - back)

    def at(position: int) -> Value:
        return b.slice(x, axis, position if position >= 0 else size + position, 1)

    if isinstance(spacing, Value):
        return _with_coordinates(b, x, axis, spacing, edge_order)

    def scaled(value: Value, divisor: Number) -> Value:
        result: Value = b.call("aten.div.Tensor", value, divisor)
        return result

    inner = scaled(b.apply("sub", part(2, 0), part(0, 2)), 2 * spacing)
    if edge_order == 1:
        first = scaled(b.apply("sub", at(1), at(0)), spacing)
        last = scaled(b.apply("sub", at(-1), at(-2)), spacing)
    else:
        first = scaled(_weighted(b, (at(0), at(1), at(2)), (-1.5, 2, -0.5)), spacing)
        last = scaled(_weighted(b, (at(-1), at(-2), at(-3)), (1.5, -2, 0.5)), spacing)
    return b.concatenate([first, inner, last], axis)


def _weighted(b: Builder, values: Sequence[Value], weights: Sequence[Number | Value]) -> Value:
    """The sum of values times weights."""
    total: Value | None = None
    for value, weight in zip(values, weights, strict=True):
        term = b.call("aten.mul.Tensor", value, weight)
        total = term if total is None else b.apply("add", total, term)
    assert total is not None, "a sum of at least one term"
    return total


def _with_coordinates(b: Builder, x: Value, axis: int, where: Value, edge_order: int) -> Value:
    size = x.shape[axis]
    wide = tuple(size if a == axis else 1 for a in range(x.rank))
    position = b.reshape(b.cast(where, x.dtype), wide)
    steps = b.apply(
        "sub", b.slice(position, axis, 1, size - 1), b.slice(position, axis, 0, size - 1)
    )

    def divided(top: Value, bottom: Value) -> Value:
        return b.apply("div", top, bottom)

    left, right = b.slice(steps, axis, 0, size - 2), b.slice(steps, axis, 1, size - 2)
    both = b.apply("add", left, right)
    weights = (
        b.apply("neg", divided(right, b.apply("mul", left, both))),
        divided(b.apply("sub", right, left), b.apply("mul", left, right)),
        divided(left, b.apply("mul", right, both)),
    )
    inner = _weighted(b, [b.slice(x, axis, i, size - 2) for i in range(3)], weights)

    def at(position: int) -> Value:
        return b.slice(x, axis, position if position >= 0 else size + position, 1)

    def step(position: int) -> Value:
        return b.slice(steps, axis, position if position >= 0 else size - 1 + position, 1)

    if edge_order == 1:
        first = divided(b.apply("sub", at(1), at(0)), step(0))
        last = divided(b.apply("sub", at(-1), at(-2)), step(-1))
        return b.concatenate([first, inner, last], axis)

    def edge(near: Value, far: Value, values: Sequence[Value], sign: int) -> Value:
        total = b.apply("add", near, far)
        numerators = b.apply("neg", b.apply("add", b.apply("add", near, near), far))
        terms = (
            divided(numerators, b.apply("mul", near, total)),
            divided(total, b.apply("mul", near, far)),
            b.apply("neg", divided(near, b.apply("mul", far, total))),
        )
        result = _weighted(b, values, terms)
        return result if sign > 0 else b.apply("neg", result)

    first = edge(step(0), step(1), (at(0), at(1), at(2)), 1)
    last = edge(step(-1), step(-2), (at(-1), at(-2), at(-3)), -1)
    return b.concatenate([first, inner, last], axis)
