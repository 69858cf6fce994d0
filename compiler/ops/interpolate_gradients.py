"""Derivatives of changing the size of images: what every element gave comes back to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir.graph import Value
from ..ir.shapes import Dim
from .base import Builder, OperatorError, target
from .formula import precomputed
from .interpolate import FILTERS, OFFSETS, WEIGHTED, Scaling, Sizes, nearest_positions
from .layer_gradients import put_back

Step = Callable[[Builder, Value, int, Scaling], Value]


def _back(
    b: Builder, gradient: Value, output_size: Sizes, input_size: Sizes,
    factors: Sequence[float | None], align_corners: bool, exact: tuple[int, ...], step: Step,
) -> Value:  # fmt: skip
    """One dimension after the other, each from the size of the result to that of the input."""
    if gradient.rank != len(input_size) or tuple(output_size) != gradient.shape[2:]:
        raise OperatorError(f"gradient {gradient} of an image resized to {list(output_size)}")
    result = b.widen(gradient)
    for axis, factor in enumerate(factors, start=2):
        scaling = Scaling(input_size[axis], gradient.shape[axis], factor, align_corners, exact)
        result = step(b, result, axis, scaling)
    return b.cast(result, gradient.dtype)


def _nearest_back(offset: float) -> Step:
    def step(b: Builder, gradient: Value, axis: int, scaling: Scaling) -> Value:
        def build(builder: Builder) -> tuple[Value, ...]:
            return (nearest_positions(builder, scaling, offset, gradient.dtype),)

        (positions,) = precomputed(b, (scaling.size, scaling.count), build)
        return put_back(b, gradient, axis, scaling.size, positions)

    return step


def _weighted_back(kind: str) -> Step:
    def step(b: Builder, gradient: Value, axis: int, scaling: Scaling) -> Value:
        def build(builder: Builder) -> tuple[Value, ...]:
            return FILTERS[kind](builder, scaling, gradient.dtype)

        positions, weights = precomputed(b, (scaling.size, scaling.count), build)
        count: Dim = positions.shape[0] * positions.shape[1]
        wide = (*weights.shape, *(1 for _ in gradient.shape[axis + 1 :]))
        shares = b.apply("mul", b.unsqueeze(gradient, axis + 1), b.reshape(weights, wide))
        shares = b.reshape(shares, (*gradient.shape[:axis], count, *gradient.shape[axis + 1 :]))
        return put_back(b, shares, axis, scaling.size, b.reshape(positions, (count,)))

    return step


def _register_nearest(name: str, rank: int, offset: float) -> None:
    exact = () if offset else (1, 2)

    @target(f"aten.{name}{rank}d_backward.default")
    def backward(
        b: Builder, grad_output: Value, output_size: Sizes, input_size: Sizes,
        scales_d: float | None = None, scales_h: float | None = None,
        scales_w: float | None = None, scales: float | None = None,
    ) -> Value:  # fmt: skip
        factors = [[scales], [scales_h, scales_w], [scales_d, scales_h, scales_w]][rank - 1]
        step = _nearest_back(offset)
        return _back(b, grad_output, output_size, input_size, factors, False, exact, step)


def _register_weighted(name: str, kind: str) -> None:
    exact = (1,) if kind == "linear" else ()

    @target(f"aten.{name}_backward.default")
    def backward(
        b: Builder, grad_output: Value, output_size: Sizes, input_size: Sizes, align_corners: bool,
        scales_d: float | None = None, scales_h: float | None = None,
        scales_w: float | None = None, scales: float | None = None,
    ) -> Value:  # fmt: skip
        listed = [[scales], [scales_h, scales_w], [scales_d, scales_h, scales_w]]
        factors, step = listed[grad_output.rank - 3], _weighted_back(kind)
        return _back(b, grad_output, output_size, input_size, factors, align_corners, exact, step)


for _rank in (1, 2, 3):
    for _name, _offset in OFFSETS.items():
        _register_nearest(_name, _rank, _offset)
for _name, _kind in WEIGHTED.items():
    _register_weighted(_name, _kind)
