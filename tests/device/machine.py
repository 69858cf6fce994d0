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
    """The first GPU that CUDA shows this process, None where nvidia-smi knows none.

    Numbers in CUDA_VISIBLE_DEVICES are read as nvidia-smi counts, which is CUDA's order where the GPUs are alike.
    """
    path = shutil.which("nvidia-smi")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if path is None or visible == "":
        return None
    command = [path, "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    first = (visible or "").split(",")[0].strip()
    if first and not first.startswith("MIG-"):  # a part of a GPU: nvidia-smi asks for none by name
        command.append(f"--id={first}")
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
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
