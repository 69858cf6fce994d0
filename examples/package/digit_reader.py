"""What happens before and after the model: shipped in the archive, not installed anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray  # type: ignore[type-arg]


@dataclass
class DigitReader:
    """Pictures of digits, dark on light, 0 to 255: what the model takes, and what it means.

    `typical` is the average picture of each digit, as the model sees them.
    """

    names: tuple[str, ...]
    typical: Array

    def prepare(self, pictures: Array) -> Array:
        """uint8[n, 8, 8] -> float32[n, 1, 8, 8], light on dark, 0 to 1."""
        return (255 - pictures[:, None].astype(np.float32)) / 255

    def answer(self, logits: Array, images: Array) -> list[str]:
        """A sentence for each image: the digit, how sure, and how far from the average one."""
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        digits = logits.argmax(1)
        distances = np.abs(self.typical[digits] - images[:, 0]).mean((1, 2))
        return [
            f"{self.names[digit]}, {share:.0%} sure, {distance:.2f} from the average one"
            for digit, share, distance in zip(digits, shares.max(1), distances, strict=True)
        ]
