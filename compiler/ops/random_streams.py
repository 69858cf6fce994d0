"""What tells the random operators of a program apart."""

from __future__ import annotations

from ..records import dataclass


@dataclass(slots=True)
class RandomStreams:
    """The seed of a program, and the numbers of its random operators, those of its subgraphs too."""

    seed: int = 0
    used: int = 0

    def next(self) -> int:
        """A number not given out before."""
        self.used += 1
        return self.used - 1
