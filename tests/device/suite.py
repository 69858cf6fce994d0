"""The suites on a GPU: `python -m tests.device.suite [--all] [--sanitizer TOOL]`.

Structure, models and operators of the conformance corpus that pass on CPUs, and the tests of this folder. Where there
is no GPU, every artefact is compiled with nvcc instead, and it says that nothing was run. Without --all a sample of
each family is taken.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from castoff.compiler.errors import CompilerNotFoundError
from castoff.compiler.options import resolve_options
from castoff.compiler.toolchain.toolkit import find_toolkit

from .machine import has_gpu

# How many of the cases of a family are taken where not all are asked for: each N-th.
SAMPLE = {"structure": 16, "models": 24, "ops": 120}
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")


def conformance(family: str, every: int, extra: Sequence[str]) -> list[str]:
    """The command that takes each `every`-th case of a family through the device."""
    return [
        sys.executable, "-m", "tests.conformance.run", "--device", "cuda", "--passing",
        "--family", family, "--every", str(every), *extra,
    ]  # fmt: skip


def under_sanitizer(sanitizer: str, tool: str, command: Sequence[str]) -> list[str]:
    """A command whose kernels, in every process it starts, are watched."""
    return [
        sanitizer, "--tool", tool, "--target-processes", "all", "--error-exitcode", "1", *command
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the suites, or builds them; exit status 1 where something failed, 2 where nothing can be done."""
    parser = argparse.ArgumentParser(prog="build.py test --device cuda", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every case")
    parser.add_argument(
        "--sanitizer",
        choices=SANITIZERS,
        help="run the operator suite under compute-sanitizer instead; needs a GPU",
    )
    parser.add_argument("-j", "--jobs", default="1", help="cases at a time")
    options = parser.parse_args(arguments)
    try:
        toolkit = find_toolkit(resolve_options().cuda_home)
    except CompilerNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    if options.sanitizer is not None:
        places = os.pathsep.join([os.environ.get("PATH", ""), os.path.dirname(toolkit.nvcc)])
        sanitizer = shutil.which("compute-sanitizer", path=places)
        if not has_gpu() or sanitizer is None:
            print("the sanitizer needs a GPU and compute-sanitizer", file=sys.stderr)
            return 2
        command = conformance("ops", 1 if options.all else SAMPLE["ops"], ["--jobs", options.jobs])
        return subprocess.call(under_sanitizer(sanitizer, options.sanitizer, command))
    jobs = ["--jobs", options.jobs]
    takes_all = options.all and has_gpu()
    extra = jobs + ([] if has_gpu() else ["--build-only"])
    statuses = [
        subprocess.call(conformance(family, 1 if takes_all else every, extra))
        for family, every in SAMPLE.items()
    ]
    if has_gpu():
        statuses.append(subprocess.call([sys.executable, "-m", "pytest", "tests/device"]))
    else:
        what = "a sample of the artefacts"
        if options.all:
            what += ", and every CUDA source,"
            statuses.append(subprocess.call([sys.executable, "-m", "tests.device.bundles", *jobs]))
        print(f"\nno GPU: {what} was compiled with {toolkit}, and nothing was run")
    return 2 if 2 in statuses else int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
