"""The CUDA target: architectures and how units for them are compiled.

Scalars are spelled as on the CPU: the headers of `templates/common/` compile for both sides.
"""

from __future__ import annotations

from collections.abc import Sequence

ARCHITECTURES = (80, 86, 89, 90, 100, 120)
"""What a program is compiled for unless the options say otherwise: GPUs from 2020 on (80: sm_80)."""

FLAGS = (
    "-std=c++20",
    "-O3",
    "-fmad=false",
    "--expt-relaxed-constexpr",
    "-diag-suppress=177",
)
"""For every unit with kernels.

Contraction stays off, as on the CPU: what needs fused multiply-adds asks for them. 177: functions of the headers that
a program does not use.
"""


def architecture_flags(architectures: Sequence[int]) -> tuple[str, ...]:
    """Machine code for each architecture, and PTX of the newest for those to come."""
    newest = max(architectures)
    codes = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in sorted(architectures)]
    return (*codes, f"-gencode=arch=compute_{newest},code=compute_{newest}")
