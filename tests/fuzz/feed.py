"""Feeds one reader coverage-guided inputs, in a process that ends with the last of them.

    python -m tests.fuzz.feed READER FOLDER -runs=1000 ...

FOLDER holds `seeds` and `words`; the rest are options of libFuzzer.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["castoff"]):
    from .readers import READERS, Reader
from .trees import mutated_tree

_MAX_SECONDS = 1.0
_MAX_BYTES = 1 << 30


class TooSlow(Exception):
    """One input took more processor time than it may."""


def feed(name: str, options: list[str]) -> None:
    """Does not come back: libFuzzer ends the process."""
    reader = READERS[name]

    def mutated(data: bytes, max_size: int, seed: int) -> bytes:
        tree = mutated_tree(data, seed) if reader.is_json and seed % 2 else None
        changed = atheris.Mutate(data, max_size) if tree is None else tree
        return reader.repaired(changed)[:max_size]

    atheris.Setup([name, *options], _watched(reader), custom_mutator=mutated)
    _limit_memory()
    atheris.Fuzz()


def _watched(reader: Reader):  # type: ignore[no-untyped-def]
    def read(data: bytes) -> None:
        started = time.thread_time()
        reader.survives(data)
        taken = time.thread_time() - started
        if taken > _MAX_SECONDS:
            raise TooSlow(f"{taken:.1f} s for {len(data)} bytes")

    return read


def _limit_memory() -> None:
    """One gigabyte on top of what the process has now; what asks for more gets a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _MAX_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    feed(sys.argv[1], sys.argv[2:])
