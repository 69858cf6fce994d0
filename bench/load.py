"""`python -m bench.load [--megabytes 500]`: how long it takes to load a large `.pt2`, and how much memory.

castoff and `torch.export.load` take turns, each load in a process of its own; what is timed begins
after the imports, with the file in the page cache. "load" is what a compilation does first, "read"
goes on to read every weight, which verifies its checksum: `torch.export.load` has done that by then.
Memory is the peak of what the process has that no file backs, above what it had before: pages of a
mapped file are the page cache's, and are counted apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

_ROUNDS = 5
_LAYERS = 50
_ENGINES = ("castoff load", "castoff read", "torch load")


def write_program(path: Path, megabytes: int) -> None:
    """A chain of linear layers whose weights have about this size."""
    import torch

    width = int((megabytes * 1e6 / 4 / _LAYERS) ** 0.5)
    layers = [torch.nn.Linear(width, width) for _ in range(_LAYERS)]
    model = torch.nn.Sequential(*layers).eval()
    torch.export.save(torch.export.export(model, (torch.zeros(1, width),)), path)


def load_once(engine: str, path: str) -> dict[str, float]:
    """Seconds and bytes of one load in this process."""
    if engine.startswith("castoff"):
        import castoff

        load = castoff.load
        load(_small_program())
    else:
        import torch

        load = torch.export.load
        load(_small_program())
    before = _memory_bytes()
    started = time.perf_counter()
    program = load(path)
    if engine == "castoff read":
        for tensor in program.state_dict.values():
            assert tensor.array is not None
    seconds = time.perf_counter() - started
    after = _memory_bytes()
    return {
        "seconds": seconds,
        "anonymous": after["RssAnon"] - before["RssAnon"],
        "mapped": after["RssFile"] - before["RssFile"],
        "peak": _peak_bytes() - before["VmRSS"],
    }


def _small_program() -> str:
    """The sample of the tree: its load imports whatever a first load imports."""
    return str(Path(__file__).parent.parent / "examples" / "digits" / "digits.pt2")


def _status() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) * 1024 for name, size, _ in fields}


def _memory_bytes() -> dict[str, int]:
    return _status()


def _peak_bytes() -> int:
    return _status()["VmHWM"]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--file", help="a .pt2 to load instead of one that is made")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--once", nargs=2, metavar=("ENGINE", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(load_once(*options.once)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(options.file or Path(folder) / "model.pt2")
        if not options.file:
            write_program(path, options.megabytes)
        size = path.stat().st_size
        found: dict[str, list[dict[str, float]]] = {engine: [] for engine in _ENGINES}
        for _ in range(options.rounds):
            for engine in _ENGINES:
                command = [sys.executable, "-m", "bench.load", "--once", engine, str(path)]
                run = subprocess.run(command, capture_output=True, text=True, check=True)
                found[engine].append(json.loads(run.stdout.splitlines()[-1]))
    peer = median(each["seconds"] for each in found["torch load"])
    print(f"{size / 1e6:.0f} MB, median of {options.rounds} rounds")
    print("                seconds  to torch  memory/file  mapped/file  peak/file")
    for engine, results in found.items():
        seconds = median(each["seconds"] for each in results)
        shares = [
            median(each[key] for each in results) / size for key in ("anonymous", "mapped", "peak")
        ]
        numbers = "  ".join(f"{share:11.3f}" for share in shares)
        print(f"{engine:14}  {seconds:7.4f}  {seconds / peer:8.3f}  {numbers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
