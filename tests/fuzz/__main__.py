"""`python -m tests.fuzz READER --inputs 1000000` feeds one reader what coverage-guided mutation
makes; without a reader, each of them in turn.

Needs atheris, which the extra `fuzz` brings. What covers more than the seeds do is kept in
build/fuzz/<reader>, to start from the next time. A finding is written to
tests/fuzz/findings/<reader>, where the tests read it again.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .readers import FINDINGS, READERS, Reader

_MAX_INPUT_BYTES = 1 << 14
_HANG_SECONDS = 600
"""Of wall time, for what never comes back; `feed` measures the processor time of what does."""
_ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """The command line; exit status 1 where there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("reader", nargs="?", choices=READERS)
    parser.add_argument("--inputs", type=int, default=100_000, help="how many, to each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="start from the seeds, keep nothing")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what libFuzzer says")
    options = parser.parse_args()
    found = 0
    for name in [options.reader] if options.reader else READERS:
        with tempfile.TemporaryDirectory() as scratch:
            kept = Path(scratch if options.fresh else _ROOT / "build" / "fuzz") / name
            found += not _fuzz(name, Path(scratch), kept, options)
    return 1 if found else 0


def _fuzz(name: str, scratch: Path, kept: Path, options: argparse.Namespace) -> bool:
    """Feed one reader, and print what came of it; whether nothing did."""
    seeds, words = _written(READERS[name], scratch)
    findings = FINDINGS / name
    for folder in (kept, findings):
        folder.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "tests.fuzz.feed", name),
        f"-runs={options.inputs}",
        f"-seed={options.seed}",
        f"-max_len={_MAX_INPUT_BYTES}",
        f"-timeout={_HANG_SECONDS}",
        f"-artifact_prefix={findings}/",
        f"-dict={words}",
        "-rss_limit_mb=0",
        *(str(kept), str(seeds)),
    ]
    started = time.monotonic()
    run = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False)
    said = run.stderr.decode("utf-8", "replace")
    done = re.search(r"^Done (\d+) runs", said, re.MULTILINE)
    is_clean = run.returncode == 0 and done is not None
    if options.verbose or not is_clean:
        print(said if options.verbose else said[-4000:])
    outcome = f"{done[1]} inputs, nothing found" if is_clean and done else "a finding"
    print(f"{name}: {outcome} ({time.monotonic() - started:.0f} s)", flush=True)
    if not any(findings.iterdir()):
        findings.rmdir()
    return is_clean


def _written(reader: Reader, scratch: Path) -> tuple[Path, Path]:
    """The seeds as a folder of files, the words as a dictionary of libFuzzer."""
    seeds, words = scratch / "seeds", scratch / "words"
    seeds.mkdir()
    for number, content in enumerate(reader.seeds()):
        (seeds / str(number)).write_bytes(content)
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in reader.words())
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    return seeds, words


if __name__ == "__main__":
    sys.exit(main())
