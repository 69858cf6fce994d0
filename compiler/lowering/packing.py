"""Constant operands in the layouts that the CPU kernels read, packed at build time.

The C twins are `castoff_pack_panels_*` in `templates/cpu/packing.h`; one packing serves every CPU
level.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

PANEL = 16
CONVOLUTION_COLUMNS = 32
ALIGNMENT_BYTES = 64


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


def pack_conv_weight(weight: NDArray[np.generic], groups: int) -> NDArray[np.generic]:
    """What `weight_packed` of `templates/cpu/conv.h` points at, as a vector.

    `weight` is `[out_channels, in_channels / groups, *kernel]`. Depthwise becomes
    `[kernel points, channels]`; otherwise each group becomes blocks of 32 output channels (the last
    may be of 16), `[kernel points, in_channels / groups, block]` each.
    """
    out_channels, inner = weight.shape[:2]
    points = weight.reshape(out_channels, inner, -1).transpose(2, 1, 0)
    if groups > 1 and inner == 1 and out_channels == groups:
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
    if groups > 1 and inner == 1 and out_channels == groups:
        return out_channels * depth
    return -(-(out_channels // groups) // PANEL) * PANEL * depth * groups
