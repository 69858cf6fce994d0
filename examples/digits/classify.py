"""Classifies the test images with a compiled artefact, in a process that refuses to import torch
or the compiler.

    python examples/digits/classify.py digits.so
"""

from __future__ import annotations

import importlib.abc
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

FORBIDDEN = ("torch", "castoff.compiler", "castoff.templates", "jinja2", "rich", "ml_dtypes")


class Refuser(importlib.abc.MetaPathFinder):
    """Fails the import of everything that only compiling needs."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.startswith(tuple(f"{root}." for root in FORBIDDEN)) or name in FORBIDDEN:
            raise ImportError(f"{name} must not be needed to run an artefact")
        return None


sys.meta_path.insert(0, Refuser())

import numpy as np  # noqa: E402

import castoff  # noqa: E402

HERE = Path(__file__).resolve().parent
TIMED_CALLS = 300


def main(artefact: str) -> int:
    """Prints what the artefact is worth; returns 1 where an answer differs from PyTorch's."""
    with np.load(HERE / "test_images.npz") as stored:
        images, labels, expected = stored["images"], stored["labels"], stored["logits"]
    classify = castoff.aot_load(artefact)

    logits = np.asarray(classify(images))
    one_by_one = np.concatenate([np.asarray(classify(images[i : i + 1])) for i in range(16)])
    is_right = logits.shape == expected.shape
    is_right = is_right and bool(np.allclose(logits, expected, rtol=1e-4, atol=1e-4))
    is_right = is_right and bool(np.allclose(one_by_one, expected[:16], rtol=1e-4, atol=1e-4))

    print(f"accuracy       {np.mean(logits.argmax(1) == labels):.2%} of {len(images)} images")
    print(f"latency        {latency(classify, images[:1]):.1f} us for one image (median)")
    print(f"               {latency(classify, images[:64]):.1f} us for 64 images (median)")
    print(f"file size      {os.path.getsize(artefact) / 1024:.0f} KiB")
    print("links to       " + ", ".join(linked_libraries(artefact)))
    if is_right:
        print("answers        equal to PyTorch's")
        return 0
    difference = float(np.abs(logits - expected).max()) if logits.shape == expected.shape else None
    print(f"answers        DIFFER from PyTorch's (largest difference: {difference})")
    return 1


def latency(classify: castoff.Runner, images: np.ndarray) -> float:  # type: ignore[type-arg]
    """Median microseconds of a call."""
    seconds = []
    for _ in range(TIMED_CALLS):
        started = time.perf_counter()
        classify(images)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds) * 1e6)


def linked_libraries(artefact: str) -> list[str]:
    """What `ldd` says the artefact needs."""
    try:
        text = subprocess.run(["ldd", artefact], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ["(ldd is not here to tell)"]
    return [Path(line.split()[0]).name for line in text.splitlines() if line.strip()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
