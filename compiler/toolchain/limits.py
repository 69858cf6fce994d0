"""What the machine at hand can do at most, measured by a small C program."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..codegen.render import TEMPLATES
from ..errors import ToolchainError
from ..records import dataclass
from .compilers import find_compiler, plain_environment


@dataclass(frozen=True, slots=True)
class Limits:
    """What one core can do: float32 operations and copied bytes (read and written) per second."""

    flops_per_second: float
    bytes_per_second: float

    def seconds(self, operations: float, size_bytes: float, threads: int = 1) -> float:
        """The least time for that work: cores multiply, the bandwidth is taken as shared."""
        return max(operations / self.flops_per_second / threads, size_bytes / self.bytes_per_second)


def measure_limits(cc: str | None = None, pin: Callable[[], None] | None = None) -> Limits:
    """Compiles `templates/measure/limits.c` for this processor and runs it, after `pin` in its process.

    Raises CompilerNotFoundError or ToolchainError.
    """
    compiler = find_compiler(cc)
    with tempfile.TemporaryDirectory(prefix="castoff-") as folder:
        program = Path(folder) / "limits"
        flags = compiler.adapt_flags(("-O3", "-march=native", "-mprefer-vector-width=512"))
        command = [*compiler.command, *flags, f"-I{TEMPLATES}"]
        built = subprocess.run(
            [*command, str(TEMPLATES / "measure" / "limits.c"), "-o", str(program)],
            env=plain_environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if built.returncode != 0:
            raise ToolchainError(f"the limits cannot be measured: {built.stderr.strip()}")
        ran = subprocess.run([program], capture_output=True, text=True, check=False, preexec_fn=pin)
        if ran.returncode != 0:
            raise ToolchainError(f"the limits cannot be measured: status {ran.returncode}")
    flops, copied = (float(number) * 1e9 for number in ran.stdout.split())
    return Limits(flops, copied)
