"""The limits of the machine, measured in the same run by a small C program."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .case import Work
from .workers import ROOT, Place


@dataclass(frozen=True, slots=True)
class Limits:
    """What one core can do: float32 operations and copied bytes (read and written) per second."""

    flops_per_second: float
    bytes_per_second: float

    def seconds(self, work: Work, threads: int) -> float:
        """The least time for that work: cores multiply, the bandwidth is taken as shared."""
        return max(
            work.flops / self.flops_per_second / threads, work.size_bytes / self.bytes_per_second
        )


def measure_limits(place: Place) -> Limits:
    """Compiles and runs `limits.c` for the processor at hand."""
    source = Path(__file__).with_name("limits.c")
    compiler = (os.environ.get("CC") or "gcc").split()
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "limits")
        flags = ["-O3", "-march=native", "-mprefer-vector-width=512"]
        includes = [f"-I{ROOT / 'templates' / 'cpu'}", f"-I{source.parent}"]
        subprocess.run([*compiler, *flags, *includes, str(source), "-o", program], check=True)
        said = subprocess.run(
            [program], check=True, capture_output=True, text=True, preexec_fn=place.pin
        )
    flops, copied = (float(number) * 1e9 for number in said.stdout.split())
    return Limits(flops, copied)
