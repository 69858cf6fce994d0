"""What GPUs there are, asked without CUDA."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as nvidia-smi describes it."""

    name: str
    architecture: int
    driver: str


def has_gpu() -> bool:
    """Whether the driver is loaded and has a GPU."""
    return os.path.exists("/dev/nvidiactl") and first_gpu() is not None


def first_gpu() -> Gpu | None:
    """The first GPU, None where nvidia-smi knows none."""
    path = shutil.which("nvidia-smi")
    if path is None:
        return None
    question = "--query-gpu=name,compute_cap,driver_version"
    answer = subprocess.run(
        [path, question, "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    lines = answer.stdout.strip().splitlines()
    if answer.returncode != 0 or not lines:
        return None
    name, capability, driver = (part.strip() for part in lines[0].split(","))
    digits = capability.replace(".", "")  # "[N/A]" where the driver does not say
    return Gpu(name, int(digits), driver) if digits.isdigit() else None


def architecture() -> int:
    """What tests compile for: the first GPU's architecture; sm_90, which the emulation stands for, without one."""
    gpu = first_gpu()
    return 90 if gpu is None else gpu.architecture
