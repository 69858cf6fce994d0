"""All that is worth doing on a GPU, in under eight minutes: `python3 build.py gpu-check`.

Tests of this folder, a share of the operators and models of the corpus, the memory bandwidth of kernels, products,
attention and models beside what PyTorch and AOTInductor do, and what of it had to be reached. What fails is a line of
the results, and the rest goes on. Writes bench/results/cuda-<gpu>.md. AOTInductor's builds take most of the time:
--no-suites leaves all of it to the measurements. With --emulated it is done on the emulated device with small arrays:
it shows that the command works, and its times mean nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.machine import machine
from bench.report import RESULTS, table, write
from castoff.compiler.errors import CompilerNotFoundError
from castoff.compiler.options import resolve_options
from castoff.compiler.toolchain.toolkit import find_toolkit
from tests.emulation.home import cuda_home_for_tests

from . import goals, peers, rates
from .machine import Gpu, first_gpu

BUDGET_SECONDS = 460.0
GIB = 1 << 30
SMOKE = ("test_runs", "test_device_arrays", "test_refusals", "test_artefacts")
CORPUS = ("operators", "models", "structure")
"""Suites of the conformance corpus."""
KERNELS = ("test_attention", "test_coded_products", "test_grouped_products")


@dataclass(frozen=True, slots=True)
class Step:
    """A suite that was run: what it was, how it went."""

    name: str
    outcome: str
    is_good: bool


def run_suite(name: str, command: Sequence[str], seconds: float) -> Step:
    """Runs a command of ours; the last line that says how many pass is the outcome."""
    print(f"== {name}", flush=True)
    # With a session of its own, so that its workers end with it.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    is_over = False
    try:
        output, _ = process.communicate(timeout=max(seconds, 1))
        is_over = True
    except subprocess.TimeoutExpired:
        return Step(name, f"not finished in {seconds:.0f} s", False)
    finally:
        if not is_over:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            print(process.communicate()[0], end="", flush=True)
    print(output, end="", flush=True)
    lines = [line for line in output.splitlines() if re.search(r"\bpass(ed)?\b", line)]
    return Step(name, lines[-1].strip() if lines else "no outcome", process.returncode == 0)


def suites(deadline: float) -> list[Step]:
    """Tests of runs and of kernels on tensor cores, and a fourth or an eighth of the corpus.

    Each may take half of the time that is left: one that hangs leaves some to the others.
    """
    python, jobs = sys.executable, str(os.cpu_count() or 1)
    conformance = [python, "-m", "tests.conformance.run", "--device", "cuda", "--passing"]
    conformance += ["--jobs", jobs]
    tests = [python, "-m", "pytest", "-q", "-n", jobs]
    wanted = {
        "smoke": [*tests, *(f"tests/device/{name}.py" for name in SMOKE)],
        "operators": [*conformance, "--family", "ops", "--every", "8"],
        "models": [*conformance, "--family", "models", "--every", "4"],
        "structure": [*conformance, "--family", "structure", "--every", "4"],
        "kernels": [*tests, *(f"tests/device/{name}.py" for name in KERNELS)],
    }
    return [
        run_suite(name, command, (deadline - time.monotonic()) / 2)
        for name, command in wanted.items()
    ]


def bandwidth(
    size_bytes: int, options: Mapping[str, Any], at_least: float
) -> list[rates.Rate] | str:
    """What programs reach of the memory's, or why they do not."""
    try:
        return rates.measure(size_bytes, options, at_least)
    except (
        Exception
    ) as error:  # the suites have said something, which is to be written all the same
        return peers.reason_of(error)


def rates_table(found: Sequence[rates.Rate] | str) -> str:
    """Gigabytes a second, and the share of what a copy reaches; a reason where there is nothing."""
    if isinstance(found, str):
        return found
    return table(
        ("program", "GB/s", "of a copy"),
        [(r.name, f"{r.size_bytes / r.seconds / 1e9:.0f}", f"{r.share:.2f}") for r in found],
    )


def peers_table(found: Mapping[str, peers.Compared | str]) -> str:
    """Milliseconds of a call, seconds of both builds; a reason where there is none."""
    engines = ("castoff", "castoff, graphs", "eager", "AOTInductor")
    builds = ("build, s", "AOTInductor's")
    rows = []
    for name, row in found.items():
        if isinstance(row, str):
            rows.append((name, row, *[""] * (len(engines) + len(builds) - 1)))
            continue
        times = row.milliseconds
        seconds = (row.build_seconds, row.peer_build_seconds)
        rows.append(
            (
                name,
                *(f"{times[engine]:.3f}" if engine in times else "" for engine in engines),
                *(f"{value:.1f}" if value else "" for value in seconds),
            )
        )
    return table(("milliseconds", *engines, *builds), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the check and writes the results; exit status 1 where a suite failed, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="build.py gpu-check", description=__doc__)
    parser.add_argument("--emulated", action="store_true", help="on the emulated device")
    parser.add_argument(
        "--no-suites", action="store_true",
        help="leave the time to measurements, which get a results file of their own",
    )  # fmt: skip
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + BUDGET_SECONDS
    gpu = Gpu("emulated", 90, "emulated") if options.emulated else first_gpu()
    if gpu is None:
        print("there is no GPU here; --emulated shows what would be done", file=sys.stderr)
        return 2
    try:
        os.environ["CUDA_HOME"] = cuda_home_for_tests()
    except CompilerNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    build_options: dict[str, Any] = {
        "device": "cuda",
        "cuda_home": os.environ["CUDA_HOME"],
        "cuda_architectures": (gpu.architecture,),
    }
    steps = [] if options.emulated or options.no_suites else suites(deadline - 180)
    size_bytes, seconds = (1 << 16, 0.01) if options.emulated else (GIB, 0.2)
    found = bandwidth(size_bytes, build_options, seconds)
    reason = peers.missing()
    compared: dict[str, peers.Compared | str] = {}
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
    reached = list(
        goals.goals(
            [step.outcome for step in steps if step.name in CORPUS],
            [] if isinstance(found, str) else found,
            compared,
        )
    )
    text = "\n\n".join(
        [
            table(("", ""), list(facts.items())),
            table(("what must be reached", "", "reached", ""), [goal.row for goal in reached]),
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
        "rates": found if isinstance(found, str) else [asdict(rate) for rate in found],
        "peers": {n: row if isinstance(row, str) else asdict(row) for n, row in compared.items()},
        "goals": [asdict(goal) for goal in reached],
    }
    name = "cuda-" + re.sub(r"[^a-z0-9]+", "-", gpu.name.lower()).strip("-")
    name += "-measured" if options.no_suites else ""
    print(f"written: {write(name, f'On {gpu.name}', text, record, options.results)}")
    is_good = all(step.is_good for step in steps) and not isinstance(found, str)
    return 0 if is_good else 1


def _torch_version() -> str:
    import torch

    return f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}"


if __name__ == "__main__":
    sys.exit(main())
