"""Padding in every mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import shapes
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..kernels import Number
from .base import Builder, OperatorError, target


def _pairs(x: Value, pad: Sequence[Dim]) -> list[tuple[Dim, Dim]]:
    """(before, after) for every dimension; `pad` lists pairs from the last dimension on."""
    if len(pad) % 2 or len(pad) > 2 * x.rank:
        raise OperatorError(f"padding {list(pad)} of {x}")
    pairs: list[tuple[Dim, Dim]] = [(0, 0)] * x.rank
    for i in range(len(pad) // 2):
        pairs[x.rank - 1 - i] = (pad[2 * i], pad[2 * i + 1])
    return pairs


@target("aten.constant_pad_nd.default")
def constant_pad_nd(b: Builder, self: Value, pad: Sequence[Dim], value: Number = 0) -> Value:
    """Surrounded by a number; negative counts crop."""
    pairs = _pairs(self, pad)
    return b.pad(self, pairs, value) if any(pair != (0, 0) for pair in pairs) else self


def _slices(b: Builder, x: Value, axis: int, start: Dim, length: Dim, *, flip: bool) -> Value:
    part = b.slice(x, axis, start, length)
    return b.flip(part, (axis,)) if flip else part


def _reflected(b: Builder, x: Value, axis: int, before: Dim, after: Dim) -> list[Value]:
    size = x.shape[axis]
    if shapes.is_less(before, size) is False or shapes.is_less(after, size) is False:
        raise OperatorError(f"reflection padding ({before}, {after}) of {x}: less than the size")
    return [
        _slices(b, x, axis, 1, before, flip=True),
        _slices(b, x, axis, size - 1 - after, after, flip=True),
    ]


def _wrapped(b: Builder, x: Value, axis: int, before: Dim, after: Dim) -> list[Value]:
    size = x.shape[axis]
    if shapes.is_less(size, before) is True or shapes.is_less(size, after) is True:
        raise OperatorError(f"circular padding ({before}, {after}) of {x}: at most the size")
    return [b.slice(x, axis, size - before, before), b.slice(x, axis, 0, after)]


def _replicated(b: Builder, x: Value, axis: int, before: Dim, after: Dim) -> list[Value]:
    def edge(position: Dim, count: Dim) -> Value:
        part = b.slice(x, axis, position, 1)
        return b.expand(part, (*x.shape[:axis], count, *x.shape[axis + 1 :]))

    return [edge(0, before), edge(x.shape[axis] - 1, after)]


Edges = Callable[[Builder, Value, int, Dim, Dim], list[Value]]
_MODES: dict[str, Edges] = {
    "reflect": _reflected, "replicate": _replicated, "circular": _wrapped,
}  # fmt: skip


def pad_edges(b: Builder, x: Value, pad: Sequence[Dim], mode: str) -> Value:
    """Padding with elements of the tensor itself, dimension by dimension; negative counts crop."""
    for axis, (before, after) in enumerate(_pairs(x, pad)):
        crop_before = shapes.maximum(-before, 0)
        crop_after = shapes.maximum(-after, 0)
        grow_before, grow_after = shapes.maximum(before, 0), shapes.maximum(after, 0)
        if mode == "circular":  # what is wrapped round is what cropping leaves
            x = b.slice(x, axis, crop_before, x.shape[axis] - crop_before - crop_after)
            crop_before = crop_after = 0
        source = x
        if grow_before != 0 or grow_after != 0:
            first, last = _MODES[mode](b, x, axis, grow_before, grow_after)
            parts = [first, x, last]
            kept = [part for part in parts if part.shape[axis] != 0]
            source = b.concatenate(kept, axis) if len(kept) > 1 else kept[0]
        length = source.shape[axis] - crop_before - crop_after
        x = b.slice(source, axis, crop_before, length)
    return x


@target("aten.pad.default")
def pad(
    b: Builder,
    self: Value,
    pad: Sequence[Dim],
    mode: str = "constant",
    value: float | None = None,
) -> Value:
    """Padding by the name of a mode: constant, reflect, replicate or circular."""
    if mode == "constant":
        return constant_pad_nd(b, self, pad, 0 if value is None else value)
    if mode not in _MODES:
        raise OperatorError(f"padding with mode {mode!r}")
    return pad_edges(b, self, pad, mode)


@target("aten._pad_enum.default")
def pad_enum(
    b: Builder, self: Value, pad: Sequence[Dim], mode: int, value: float | None = None
) -> Value:
    """Padding by the number of a mode."""
    name = ("reflect", "replicate", "circular", "constant")[mode]
    if name == "constant":
        return constant_pad_nd(b, self, pad, 0 if value is None else value)
    return pad_edges(b, self, pad, name)


@target("aten._pad_circular.default")
def pad_circular(b: Builder, self: Value, pad: Sequence[Dim]) -> Value:
    """Padding as if the tensor repeated itself."""
    return pad_edges(b, self, pad, "circular")


@target(
    "aten.reflection_pad1d.default",
    "aten.reflection_pad2d.default",
    "aten.reflection_pad3d.default",
)
def reflection_pad(b: Builder, self: Value, padding: Sequence[Dim]) -> Value:
    """Padding with the mirror image, the edge itself left out."""
    return pad_edges(b, self, padding, "reflect")


@target(
    "aten.replication_pad1d.default",
    "aten.replication_pad2d.default",
    "aten.replication_pad3d.default",
)
def replication_pad(b: Builder, self: Value, padding: Sequence[Dim]) -> Value:
    """Padding with the elements at the edge."""
    return pad_edges(b, self, padding, "replicate")
