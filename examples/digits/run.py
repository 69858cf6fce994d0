"""Compiles the sample classifier, casts off the framework, and checks every answer against
PyTorch's.

    python examples/digits/run.py [folder for the artefact]

The images are classified in a second process that can import neither torch nor the compiler
(`classify.py`).
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import castoff

HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    """Compiles and classifies; returns the exit status: 1 where an answer differs from
    PyTorch's.
    """
    folder = Path(arguments[0]) if arguments else HERE / "built"
    folder.mkdir(parents=True, exist_ok=True)
    artefact = folder / "digits.so"
    started = time.perf_counter()
    options = {"progress": sys.stderr.isatty()}
    try:
        castoff.aot_compile(str(HERE / "digits.pt2"), output=str(artefact), options=options)
    except castoff.CastoffError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"compiled       {artefact} in {time.perf_counter() - started:.1f} s", flush=True)
    command = [sys.executable, str(HERE / "classify.py"), str(artefact)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
