"""Worker processes: started pinned to processors, spoken to in lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]


class WorkerFailed(Exception):
    """What the engine said instead of an answer."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how workers run: on the first `threads` of the given processors."""

    processors: tuple[int, ...]
    threads: int

    def environment(self, caches: Path) -> dict[str, str]:
        """The environment of a worker: thread counts, nothing from a network, caches of its own in
        that folder.
        """
        threads = str(self.threads)
        paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        inherited = dict(os.environ)
        inherited.pop(
            "PYTHONDONTWRITEBYTECODE", None
        )  # installed packages have theirs: see cold.py
        return {
            **inherited,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TORCHINDUCTOR_COMPILE_THREADS": threads,
            "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
            "CASTOFF_CACHE": str(caches / "castoff"),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }

    def pin(self) -> None:
        """Ties the calling process, and what it starts, to the processors."""
        os.sched_setaffinity(0, self.processors[: self.threads])


def place_for(threads: int, first: int | None) -> Place:
    """The last `threads` of the processors this process may use, or those from `first` on: the first
    processor is where a machine tends to do its chores.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise SystemExit(f"--threads {threads}: this process may use {len(allowed)} processors")
    chosen = allowed[-threads:] if first is None else [p for p in allowed if p >= first][:threads]
    if len(chosen) < threads:
        raise SystemExit(f"--processor {first}: fewer than {threads} processors from there on")
    return Place(tuple(chosen), threads)


class Worker:
    """One process of bench.worker; a context manager that ends it."""

    def __init__(
        self, task: str, engine: str, case: Path, folder: Path, place: Place, log: Path
    ) -> None:
        command = [sys.executable, "-m", "bench.worker", task, engine]
        command += [str(case), str(folder), str(place.threads)]
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=place.environment(folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=place.pin,
            )
        self.log = log

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def answer(self) -> Mapping[str, object]:
        """The next answer. Raises WorkerFailed where it is an error or none comes."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            raise WorkerFailed(f"ended with status {status}; see {self.log.name}")
        answer: Mapping[str, object] = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(str(answer["error"]))
        return answer

    def ask(self, count: int) -> tuple[float, float]:
        """Seconds of one call, by the wall and of the processor, over `count` calls in a row."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        answer = self.answer()
        return float(str(answer["wall"])), float(str(answer["cpu"]))
