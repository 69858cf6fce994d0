"""Weight-only compression: constant right operands of products as int8 or int4 codes with scales.

`weights="int8"` keeps a code of 8 bits and one scale per output channel; `weights="int4"` one of 4
bits and a scale for every 64 weights of an output channel. There are two layouts: panels, which
`templates/cpu/gemm_coded.h` reads, and channels one after the other, for `templates/cuda/coded.cuh`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..records import dataclass
from .packing import PANEL, pack_panels

GROUP = 64
"""Weights of an output channel that share a scale, with 4 bits."""
CHANNELS = 16
"""Of the layout by channels: their number is rounded up to it."""
LEAST_ELEMENTS = 4096
"""A smaller matrix is left as it is: it would save nothing worth its error."""


@dataclass(frozen=True, slots=True)
class Coding:
    """How many bits a weight takes, and how many of a column share a scale."""

    bits: int
    group: int

    def code_bytes(self, k: int, n: int) -> int:
        """Size of the codes of a `[k, n]` matrix."""
        return -(-n // PANEL) * PANEL * (k if self.bits == 8 else -(-k // 2))

    def scale_count(self, k: int, n: int) -> int:
        """How many scales it has."""
        return -(-n // PANEL) * PANEL * -(-k // self.group)

    @property
    def step(self) -> int:
        """Codes of a channel that the layout by channels keeps in 64 bytes: k is rounded up to it."""
        return 512 // self.bits

    def channel_code_bytes(self, k: int, n: int) -> int:
        """Size of the codes by channels."""
        return -(-n // CHANNELS) * CHANNELS * -(-k // self.step) * 64

    def channel_scale_count(self, k: int, n: int) -> int:
        """How many scales there are beside them."""
        return -(-n // CHANNELS) * CHANNELS * -(-k // self.group)


@dataclass(frozen=True, slots=True)
class Coded:
    """A `[k, n]` matrix as codes: signed numbers, and scales `[groups, n]`."""

    coding: Coding
    codes: NDArray[np.int8]
    scales: NDArray[np.float32]

    def decoded(self) -> NDArray[np.float32]:
        """The matrix the codes stand for."""
        spread = np.repeat(self.scales, self.coding.group, 0)[: self.codes.shape[0]]
        decoded: NDArray[np.float32] = self.codes * spread
        return decoded

    def packed_codes(self) -> NDArray[np.int8] | NDArray[np.uint8]:
        """As the kernels read them: for 4 bits two rows a byte, plus 8, the even row in the low half."""
        if self.coding.bits == 8:
            return pack_panels(self.codes).astype(np.int8)
        k, n = self.codes.shape
        raised = np.full((k + k % 2, n), 8, np.uint8)
        raised[:k] = (self.codes + 8).astype(np.uint8)
        return pack_panels(raised[0::2] | raised[1::2] << 4).astype(np.uint8)

    def packed_scales(self) -> NDArray[np.float32]:
        """As the kernels read them."""
        return pack_panels(self.scales).astype(np.float32)

    def channel_codes(self) -> NDArray[np.int8] | NDArray[np.uint8]:
        """Channel by channel, `[n, k]`, sizes rounded up with codes of 0.

        With 4 bits the 64 bytes of 128 codes are four pieces of 16 bytes. A piece has 16 codes of
        the first half and then 16 of the second; a word of it has 8 codes plus 8, two by two: the
        first of pair p in the bits from 4 p on, the second in those from 16 + 4 p on.
        """
        k, n = self.codes.shape
        steps = -(-k // self.coding.step)
        padded = np.zeros((-(-n // CHANNELS) * CHANNELS, steps * self.coding.step), np.int8)
        padded[:n, :k] = self.codes.T
        if self.coding.bits == 8:
            return padded
        raised = (padded + 8).astype(np.uint32)
        pieces = raised.reshape(len(padded), steps, 2, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4, 5, 6)
        shifts = np.array([[4 * pair, 16 + 4 * pair] for pair in range(4)], np.uint32)
        words = (pieces << shifts).sum((-2, -1), dtype=np.uint32)
        packed: NDArray[np.uint8] = words.astype("<u4").reshape(len(padded), -1).view(np.uint8)
        return packed

    def channel_scales(self) -> NDArray[np.float32]:
        """Beside `channel_codes`: `[groups, n]`, n rounded up."""
        groups, n = self.scales.shape
        padded = np.zeros((groups, -(-n // CHANNELS) * CHANNELS), np.float32)
        padded[:, :n] = self.scales
        return padded


def coding_of(weights: str, k: int) -> Coding | None:
    """What the option `weights` asks for; None where weights stay as they are."""
    match weights:
        case "int8":
            return Coding(8, k)
        case "int4":
            return Coding(4, GROUP)
    return None


def encode(matrix: NDArray[np.generic], coding: Coding) -> Coded:
    """The nearest codes of a `[k, n]` matrix of finite numbers.

    With 8 bits the largest of a group in magnitude becomes 127 or -127, with 4 bits it becomes -8.
    """
    wide = matrix.astype(np.float32)
    k, n = wide.shape
    groups = -(-k // coding.group)
    padded = np.zeros((groups * coding.group, n), np.float32)
    padded[:k] = wide
    grouped = padded.reshape(groups, coding.group, n)
    largest = np.take_along_axis(grouped, np.abs(grouped).argmax(1)[:, None], 1)[:, 0]
    scales = np.abs(largest) / 127 if coding.bits == 8 else largest / -8
    divisor = np.where(scales == 0, 1, scales)[:, None]
    low, high = (-127, 127) if coding.bits == 8 else (-8, 7)
    codes = np.clip(np.rint(grouped / divisor), low, high).astype(np.int8)
    return Coded(coding, codes.reshape(-1, n)[:k], scales.astype(np.float32))


def relative_error(matrix: NDArray[np.generic], coded: Coded) -> float:
    """Root mean square of what coding changed, relative to that of the matrix."""
    wide = matrix.astype(np.float64)
    norm = float(np.linalg.norm(wide))
    return float(np.linalg.norm(wide - coded.decoded())) / norm if norm else 0.0
