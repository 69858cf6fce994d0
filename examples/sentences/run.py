"""Compiles a sentence encoder with real weights, searches with it without PyTorch, and times it
beside ONNX Runtime where that is installed.

    python examples/sentences/run.py [folder for what is built] [--no-latency]

Needs torch, safetensors and tokenizers; what searches (`search.py`) needs tokenizers alone.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import castoff

HERE = Path(__file__).resolve().parent
NEEDED = ("torch", "safetensors", "tokenizers")
NEEDED_FOR_ONNX = ("onnxruntime", "onnx", "onnxscript")
ROUNDS = 3


def main(arguments: list[str]) -> int:
    """Exports, compiles, searches; returns the exit status: 1 where an answer is not right."""
    folders = [Path(argument) for argument in arguments if not argument.startswith("--")]
    folder = folders[0] if folders else HERE / "built"
    folder.mkdir(parents=True, exist_ok=True)
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        print(f"this example needs: pip install {' '.join(missing)}", file=sys.stderr)
        return 2

    started = time.perf_counter()
    with_latency = "--no-latency" not in arguments
    with_onnx = with_latency and all(map(find_spec, NEEDED_FOR_ONNX))
    if status := start("export.py", folder, *["--onnx"] * with_onnx):
        return status
    print(f"exported       in {time.perf_counter() - started:.1f} s", flush=True)

    started = time.perf_counter()
    artefact = folder / "sentences.so"
    options = {"progress": sys.stderr.isatty()}
    try:
        castoff.aot_compile(folder / "sentences.pt2", output=artefact, options=options)
    except castoff.CastoffError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"compiled       {artefact} in {time.perf_counter() - started:.1f} s", flush=True)

    status = start("search.py", folder)
    if with_latency:
        print_latency(folder, ("castoff", "onnxruntime") if with_onnx else ("castoff",))
    return status


def start(script: str, folder: Path, *options: str) -> int:
    """Runs a script of this example in a process of its own; returns its exit status."""
    command = [sys.executable, str(HERE / script), str(folder), *options]
    return subprocess.run(command, check=False).returncode


def print_latency(folder: Path, engines: tuple[str, ...]) -> None:
    """Times the engines in turns, so that what else the machine does meets each of them."""
    rounds: list[dict[str, dict[str, float]]] = []
    for _ in range(ROUNDS):
        rounds.append({})
        for engine in engines:
            command = [sys.executable, str(HERE / "latency.py"), engine, str(folder)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rounds[-1][engine] = json.loads(printed)
    for workload in rounds[0][engines[0]]:
        medians = (
            f"{engine} {statistics.median(times[engine][workload] for times in rounds):.2f} ms"
            for engine in engines
        )
        print(f"latency        {workload}: {', '.join(medians)}")
    if "onnxruntime" not in engines:
        print(f"               (ONNX Runtime's needs: pip install {' '.join(NEEDED_FOR_ONNX)})")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
