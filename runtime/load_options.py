"""What a caller may choose when a program is loaded."""

from __future__ import annotations

from typing import NamedTuple

RESULTS = ("as inputs", "device", "numpy")


class LoadOptions(NamedTuple):
    """How to load; `aot_load` says what the fields mean."""

    threads: int | None = None
    check: bool = True
    artefact: str | None = None
    strict_device: bool = False
    cuda_graphs: bool = False
    results: str = "as inputs"

    def checked(self) -> LoadOptions:
        """These options. Raises ValueError for what cannot be meant."""
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads: expected None or at least 1, got {self.threads}")
        if self.results not in RESULTS:
            raise ValueError(f"results: expected one of {RESULTS}, got {self.results!r}")
        return self
