"""All that is worth doing on a GPU, in under eight minutes: `python3 build.py gpu-check`.

The tests of this folder, a share of the operators and models of the corpus, the memory bandwidth of kernels, products,
attention and models beside what PyTorch and AOTInductor do. Writes bench/results/cuda-<gpu>.md. With --emulated all of
it is done on the emulated device with small arrays: it shows that the command works, and its times mean nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.machine import machine
from bench.report import RESULTS, table, write
from castoff.compiler.options import resolve_options
from castoff.compiler.toolchain.toolkit import find_toolkit
from tests.emulation.home import cuda_home_for_tests

from . import peers, rates
from .machine import Gpu, first_gpu

BUDGET_SECONDS = 460.0
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Step:
    """A suite that was run: what it was, how it went."""

    name: str
    outcome: str
    is_good: bool


def run_suite(name: str, command: Sequence[str], seconds: float) -> Step:
    """Runs a command of ours; its last line is the outcome."""
    print(f"== {name}", flush=True)
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, timeout=max(seconds, 1), check=False
        )
    except subprocess.TimeoutExpired:
        return Step(name, f"not finished in {seconds:.0f} s", False)
    print(done.stdout, end="", flush=True)
    lines = [line for line in done.stdout.splitlines() if re.search(r"\bpass", line)]
    return Step(name, lines[-1].strip() if lines else "no outcome", done.returncode == 0)


def suites(deadline: float) -> list[Step]:
    """The tests, then as many cases of the corpus as an eighth, a third of them."""
    python = sys.executable
    conformance = [python, "-m", "tests.conformance.run", "--device", "cuda", "--passing"]
    conformance += ["--jobs", str(os.cpu_count() or 1)]
    wanted = {
        "smoke": [python, "-m", "pytest", "tests/device", "-q"],
        "structure": [*conformance, "--family", "structure", "--every", "4"],
        "operators": [*conformance, "--family", "ops", "--every", "8"],
        "models": [*conformance, "--family", "models", "--every", "4"],
    }
    return [
        run_suite(name, command, deadline - time.monotonic()) for name, command in wanted.items()
    ]


def rates_table(found: Sequence[rates.Rate]) -> str:
    """Gigabytes a second, and the share of what a copy reaches."""
    return table(
        ("program", "GB/s", "of a copy"),
        [(r.name, f"{r.size_bytes / r.seconds / 1e9:.0f}", f"{r.share:.2f}") for r in found],
    )


def peers_table(found: Mapping[str, Mapping[str, float] | str]) -> str:
    """Milliseconds of a call; a reason where there is none."""
    engines = ("castoff", "castoff, graphs", "eager", "AOTInductor")
    rows = []
    for name, times in found.items():
        if isinstance(times, str):
            rows.append((name, times, *[""] * (len(engines) - 1)))
        else:
            rows.append((name, *(f"{times[e]:.3f}" if e in times else "" for e in engines)))
    return table(("milliseconds", *engines), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the check and writes the results; exit status 1 where a suite failed, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="build.py gpu-check", description=__doc__)
    parser.add_argument("--emulated", action="store_true", help="on the emulated device")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + BUDGET_SECONDS
    gpu = Gpu("emulated", 90, "emulated") if options.emulated else first_gpu()
    if gpu is None:
        print("there is no GPU here; --emulated shows what would be done", file=sys.stderr)
        return 2
    os.environ["CUDA_HOME"] = cuda_home_for_tests()
    build_options: dict[str, Any] = {
        "device": "cuda",
        "cuda_home": os.environ["CUDA_HOME"],
        "cuda_architectures": (gpu.architecture,),
    }
    steps = [] if options.emulated else suites(deadline - 180)
    size_bytes, seconds = (1 << 16, 0.01) if options.emulated else (GIB, 0.2)
    found = rates.measure(size_bytes, build_options, seconds)
    reason = peers.missing()
    compared: dict[str, Mapping[str, float] | str] = {}
    if not reason:
        compared.update(peers.compare_kernels(build_options, 3.0))
        compared.update(peers.compare_models(build_options, 5.0, deadline))
    facts = {
        **machine(),
        "GPU": f"{gpu.name}, sm_{gpu.architecture}",
        "driver": gpu.driver,
        "toolkit": str(find_toolkit(resolve_options().cuda_home)),
        "peers": reason or _torch_version(),
    }
    text = "\n\n".join(
        [
            table(("", ""), list(facts.items())),
            table(("suite", "outcome"), [(s.name, s.outcome) for s in steps]),
            f"Memory bandwidth, {size_bytes / (1 << 20):g} MiB of float32:",
            rates_table(found),
            "Beside PyTorch:" if compared else f"Without peers: {reason}.",
            *([peers_table(compared)] if compared else []),
        ]
    )
    record = {
        "machine": facts,
        "suites": [asdict(step) for step in steps],
        "rates": [asdict(rate) for rate in found],
        "peers": compared,
    }
    name = "cuda-" + re.sub(r"[^a-z0-9]+", "-", gpu.name.lower()).strip("-")
    print(f"written: {write(name, f'On {gpu.name}', text, record, options.results)}")
    return 0 if all(step.is_good for step in steps) else 1


def _torch_version() -> str:
    import torch

    return f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}"


if __name__ == "__main__":
    sys.exit(main())
