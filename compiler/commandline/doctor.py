"""`castoff doctor`: whether this machine can compile and run, and with what."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata

from ... import __version__
from ..errors import CompilerNotFoundError
from ..options import resolve_options
from ..records import dataclass
from ..toolchain.compilers import available_compilers, find_compiler
from ..toolchain.toolkit import find_toolkit


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `is_good` False means that castoff cannot compile here, None that it
    does without.
    """

    what: str
    found: str
    is_good: bool | None = True


def examine() -> list[Finding]:
    """Everything there is to say about this machine."""
    return [
        Finding("castoff", __version__),
        Finding("python", f"{platform.python_version()} at {sys.executable}"),
        *(_package(name, needed) for name, needed in _PACKAGES),
        Finding("machine", f"{platform.machine()}, {platform.system()} {platform.release()}"),
        Finding("processors", str(len(os.sched_getaffinity(0)))),
        Finding("CPU levels", ", ".join(host_levels()) or "unknown"),
        *_compilers(),
        _cache(),
        _nvcc(),
        *_devices(),
    ]


_PACKAGES = (
    ("numpy", True),
    ("cffi", True),
    ("jinja2", True),
    ("ml_dtypes", True),
    ("torch", False),
)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _package(name: str, is_needed: bool) -> Finding:
    if importlib.util.find_spec(name) is not None:
        return Finding(name, _version(name))
    if is_needed:
        return Finding(name, f"missing: pip install {name}", False)
    return Finding(name, "not installed (not needed)", None)


def host_levels() -> tuple[str, ...]:
    """The x86-64 levels this processor has, from /proc/cpuinfo; empty elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            line = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return ()
    flags = set(line.partition(":")[2].split())
    levels = ["x86-64"] if "sse2" in flags else []
    for level, needed in _LEVEL_FLAGS:
        if levels and needed <= flags:
            levels.append(level)
    return tuple(levels)


_LEVEL_FLAGS = (
    ("x86-64-v3", {"avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe"}),
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("x86-64-bf16", {"avx512_vnni", "avx512_bf16"}),
    ("x86-64-amx", {"avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"}),
)


def _compilers() -> list[Finding]:
    options = resolve_options()
    try:
        chosen = find_compiler(options.cc)
    except CompilerNotFoundError as error:
        return [Finding("C compiler", str(error), False)]
    others = [str(other) for other in available_compilers() if other.command != chosen.command]
    return [
        Finding("C compiler", str(chosen)),
        *(Finding("also", other) for other in others),
    ]


def _cache() -> Finding:
    path = resolve_options().cache_path
    if path is None:
        return Finding("object cache", "off", None)
    size = sum(
        _size(os.path.join(root, name)) for root, _, names in os.walk(path) for name in names
    )
    return Finding("object cache", f"{path}, {size / (1 << 20):.1f} MiB")


def _size(path: str) -> int:
    """In bytes; 0 for what has gone meanwhile, since others use the cache too."""
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _nvcc() -> Finding:
    try:
        return Finding("CUDA toolkit", str(find_toolkit(resolve_options().cuda_home)))
    except CompilerNotFoundError as error:
        return Finding("CUDA toolkit", f"none (only CUDA needs it): {error}", None)


def _devices() -> list[Finding]:
    """Every GPU with its driver, or that there is none."""
    path = shutil.which("nvidia-smi")
    question = "--query-gpu=name,compute_cap,memory.total,driver_version"
    lines = _lines((path, question, "--format=csv,noheader")) if path else []
    found = []
    for number, line in enumerate(lines):
        name, capability, memory, driver = (part.strip() for part in line.split(","))
        architecture = f"sm_{capability.replace('.', '')}"
        found.append(
            Finding(f"cuda:{number}", f"{name}, {architecture}, {memory}, driver {driver}")
        )
    return found or [Finding("GPU", "none (only running for CUDA needs one)", None)]


def _lines(command: tuple[str, ...]) -> list[str]:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.strip().splitlines() if answer.returncode == 0 else []


def as_text(findings: list[Finding]) -> str:
    """The findings as lines; what has to be mended begins with "!!"."""
    marks = {True: "ok", False: "!!", None: "--"}
    return "\n".join(f"{marks[f.is_good]}  {f.what:14} {f.found}" for f in findings)
