"""Constant operands in the layouts that the CPU kernels read, packed at build time.

The C twins are `castoff_pack_panels_*` in `templates/cpu/packing.h`; one packing serves every CPU
level.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..ir.shapes import Shape
from ..kernels import Convolution

PANEL = 16
CONVOLUTION_COLUMNS = 32
ALIGNMENT_BYTES = 64
STEP = 32
"""Of the inner dimension: 16 rows or columns of bfloat16 by this many are one kilobyte."""


def panels_size(k: int, n: int) -> int:
    """Elements of the panels of a `[k, n]` operand."""
    return -(-n // PANEL) * PANEL * k


def pack_panels(b: NDArray[np.generic]) -> NDArray[np.generic]:
    """Panels of the last two axes of `b` `[..., k, n]`: `[..., ceil(n / 16), k, 16]`.

    Columns past n in the last panel are zero. The dtype is kept; bfloat16 may
    come as ml_dtypes.bfloat16 or as its bits in uint16.
    """
    if b.ndim < 2:
        raise ValueError(f"expected an operand with at least 2 axes [k, n], got shape {b.shape}")
    *batch, k, n = b.shape
    count = -(-n // PANEL)
    padded = b
    if n % PANEL:
        padded = np.zeros((*batch, k, count * PANEL), b.dtype)
        padded[..., :n] = b
    split = padded.reshape(*batch, k, count, PANEL)
    return np.ascontiguousarray(np.moveaxis(split, -2, -3))


def bf16_size(count: int, k: int) -> int:
    """Elements of the pair panels of so many columns of length k."""
    return -(-count // PANEL) * -(-k // STEP) * PANEL * STEP


def pack_pair_panels(b: NDArray[np.generic]) -> NDArray[np.generic]:
    """Pair panels of the last two axes of `b` `[..., k, n]`: `[..., ceil(n / 16), ceil(k / 32), 16, 16, 2]`.

    What lies past k and n is zero. The C twin is `castoff_bf16_pack_panels` in `templates/cpu/bf16.h`.
    """
    *batch, k, n = b.shape
    panels, steps = -(-n // PANEL), -(-k // STEP)
    padded = np.zeros((*batch, steps * STEP, panels * PANEL), b.dtype)
    padded[..., :k, :n] = b
    pairs = padded.reshape(*batch, steps, STEP // 2, 2, panels, PANEL)
    return np.ascontiguousarray(np.moveaxis(pairs, (-2, -1, -3), (-5, -2, -1)))


QUAD_STEP = 64
"""Of the inner dimension: 16 columns of 8-bit levels by this many are one kilobyte."""


def quads_size(count: int, k: int) -> int:
    """Bytes of the quad panels of so many columns of length k."""
    return -(-count // PANEL) * -(-k // QUAD_STEP) * PANEL * QUAD_STEP


def pack_quad_panels(b: NDArray[np.generic]) -> NDArray[np.generic]:
    """Quad panels of the last two axes of `b` `[..., k, n]`: `[..., ceil(n / 16), ceil(k / 64), 16, 16, 4]`.

    What lies past k and n is zero; `templates/cpu/levels.h` reads them.
    """
    *batch, k, n = b.shape
    panels, steps = -(-n // PANEL), -(-k // QUAD_STEP)
    padded = np.zeros((*batch, steps * QUAD_STEP, panels * PANEL), b.dtype)
    padded[..., :k, :n] = b
    quads = padded.reshape(*batch, steps, QUAD_STEP // 4, 4, panels, PANEL)
    return np.ascontiguousarray(np.moveaxis(quads, (-2, -1, -3), (-5, -2, -1)))


def is_depthwise(shape: Shape, groups: int) -> bool:
    """Whether a convolution with a weight of this shape has one input and one output channel a group."""
    return groups > 1 and shape[1] == 1 and shape[0] == groups


def conv_matrices(weight: NDArray[np.generic], groups: int) -> NDArray[np.generic]:
    """The weight of a convolution as a matrix for each group: `[groups, points * in_channels, out_channels]`."""
    out_channels, inner = weight.shape[:2]
    points = weight.reshape(groups, out_channels // groups, inner, -1)
    matrices: NDArray[np.generic] = points.transpose(0, 3, 2, 1).reshape(
        groups, -1, out_channels // groups
    )
    return matrices


def pack_conv_pairs(weight: NDArray[np.generic], groups: int) -> NDArray[np.generic]:
    """What `weight_packed` of `templates/cpu/conv_bf16.h` points at: pair panels of each group."""
    return pack_pair_panels(conv_matrices(weight, groups))


def pack_conv_quads(weight: NDArray[np.generic], groups: int) -> NDArray[np.generic]:
    """What `weight_packed` of `templates/cpu/conv_levels.h` points at: quad panels of each group."""
    return pack_quad_panels(conv_matrices(weight, groups))


def conv_pairs_size(shape: tuple[int, ...], groups: int) -> int:
    """Elements of what `pack_conv_pairs` gives for a weight of a shape."""
    out_channels, inner, *kernel = shape
    return groups * bf16_size(out_channels // groups, inner * math.prod(kernel))


def conv_quads_size(shape: tuple[int, ...], groups: int) -> int:
    """Elements of what `pack_conv_quads` gives for a weight of a shape."""
    out_channels, inner, *kernel = shape
    return groups * quads_size(out_channels // groups, inner * math.prod(kernel))


def pack_conv_weight(weight: NDArray[np.generic], groups: int) -> NDArray[np.generic]:
    """What `weight_packed` of `templates/cpu/conv.h` points at, as a vector.

    `weight` is `[out_channels, in_channels / groups, *kernel]`. Depthwise becomes
    `[kernel points, channels]`; otherwise each group becomes blocks of 32 output channels (the last
    may be of 16), `[kernel points, in_channels / groups, block]` each.
    """
    out_channels, inner = weight.shape[:2]
    points = weight.reshape(out_channels, inner, -1).transpose(2, 1, 0)
    if is_depthwise(weight.shape, groups):
        return np.ascontiguousarray(points).reshape(-1)
    outer = out_channels // groups
    padded = np.zeros((groups, points.shape[0] * inner, -(-outer // PANEL) * PANEL), weight.dtype)
    padded[:, :, :outer] = points.reshape(-1, groups, outer).swapaxes(0, 1)
    blocks = [
        group[:, start : start + CONVOLUTION_COLUMNS].reshape(-1)
        for group in padded
        for start in range(0, padded.shape[2], CONVOLUTION_COLUMNS)
    ]
    return np.concatenate(blocks) if blocks else np.zeros(0, weight.dtype)


def conv_weight_size(shape: tuple[int, ...], groups: int) -> int:
    """Elements of what `pack_conv_weight` gives for a weight of a shape."""
    out_channels, inner, *kernel = shape
    depth = inner * math.prod(kernel)
    if is_depthwise(shape, groups):
        return out_channels * depth
    return -(-(out_channels // groups) // PANEL) * PANEL * depth * groups


ROW_BYTES = 64
"""Rows of `pack_conv_rows` are whole pieces of so many bytes: `CASTOFF_CONVOLUTION_DEPTH` in `templates/cuda/`."""


def conv_rows_shape(shape: tuple[int, ...], groups: int, itemsize: int) -> tuple[int, int]:
    """The shape of what `pack_conv_rows` gives for a weight of a shape."""
    out_channels, inner, *kernel = shape
    points = math.prod(kernel)
    if is_depthwise(shape, groups):
        return points, out_channels
    piece = ROW_BYTES // itemsize
    return out_channels, -(-points * inner // piece) * piece


def pack_conv_rows(weight: NDArray[np.generic], groups: int) -> NDArray[np.generic]:
    """[channel, kernel points * input channels], zeros at the end of each row; depthwise [kernel point, channel]."""
    out_channels, inner = weight.shape[:2]
    points = weight.reshape(out_channels, inner, -1)
    if is_depthwise(weight.shape, groups):
        return np.ascontiguousarray(points[:, 0].T)
    rows = np.zeros(conv_rows_shape(weight.shape, groups, weight.dtype.itemsize), weight.dtype)
    rows[:, : inner * points.shape[2]] = points.swapaxes(1, 2).reshape(out_channels, -1)
    return rows


WINOGRAD_PIXELS = 196
"""From how many output pixels on a 3 x 3 convolution is computed by transforms: with fewer, reading the
larger weight takes what the multiplications save."""


def takes_winograd(weight: Shape, attributes: Convolution) -> bool:
    """Whether `templates/cpu/conv_winograd.h` can compute a float convolution."""
    outer, inner, *kernel = weight
    return (
        kernel == [3, 3]
        and attributes.stride == attributes.dilation == (1, 1)
        and attributes.groups == 1
        and isinstance(outer, int)
        and isinstance(inner, int)
        and outer % PANEL == inner % PANEL == 0
    )


def suits_winograd(weight: Shape, attributes: Convolution, output: Shape) -> bool:
    """Whether it is the faster form for a convolution that gives this shape, [N, *spatial, O]."""
    pixels = output[1:-1]
    return (
        takes_winograd(weight, attributes)
        and all(isinstance(size, int) for size in pixels)
        and math.prod(size for size in pixels if isinstance(size, int)) >= WINOGRAD_PIXELS
    )


def pack_conv_winograd(weight: NDArray[np.generic]) -> NDArray[np.generic]:
    """The weight `[out_channels, in_channels, 3, 3]` that `templates/cpu/conv_winograd.h` reads.

    Each of the 36 points of G w G^T is packed as the weight of a 1 x 1 convolution. Computed in
    float64 and rounded once.
    """
    outer = np.einsum("pi,ocij,qj->pqoc", _WINOGRAD, weight.astype(np.float64), _WINOGRAD)
    points = outer.reshape(36, *weight.shape[:2], 1, 1).astype(weight.dtype)
    return np.concatenate([pack_conv_weight(point, 1) for point in points])


_WINOGRAD = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
"""G of Lavin and Gray (2015) for F(4x4, 3x3)."""
