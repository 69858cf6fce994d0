"""Constant operands in the layouts that the CPU kernels read, packed at build time.

The C twins are `castoff_pack_panels_*` in `templates/cpu/packing.h`; one packing serves every CPU level.
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
    """Panels of the last two axes `[k, n]` of `b`, as `[..., ceil(n / 16), k, 16]`, zero past column n.

    The dtype is kept; bfloat16 may come as ml_dtypes.bfloat16 or as its bits in uint16.
    """
    if b.ndim < 2:
        raise ValueError(f"expected an operand with at least 2 axes [k, n], got shape {b.shape}")
    *batch, k, n = b.shape
    count = -(-n // PANEL)
    padded = np.zeros((*batch, k, count * PANEL), b.dtype)
    padded[..., :n] = b
    split = padded.reshape(*batch, k, count, PANEL)
    return np.ascontiguousarray(np.moveaxis(split, -2, -3))
