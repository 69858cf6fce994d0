"""Constant operands in the layouts that the CPU kernels read, packed at build time.

The C twins are `castoff_pack_panels_*` in `templates/cpu/packing.h`; one packing serves every CPU
level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PANEL = 16
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
    """What `weight_packed` of `templates/cpu/conv.h` points at.

    `weight` is `[out_channels, in_channels / groups, *kernel]`. One input channel a group stays as
    it is; otherwise each group becomes the panels of `[in_channels / groups * kernel points,
    out_channels / groups]`. Transposed convolutions read their weight as it is.
    """
    out_channels, in_channels = weight.shape[:2]
    if in_channels == 1:
        return np.ascontiguousarray(weight)
    rows = weight.reshape(groups, out_channels // groups, -1)
    return pack_panels(np.swapaxes(rows, 1, 2))
