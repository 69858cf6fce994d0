"""Times one engine in a process of its own.

    python examples/sentences/latency.py castoff|onnxruntime FOLDER

prints, as JSON, the median milliseconds of a call for each workload.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fetch import fetch_model
from sentences import ANSWERS, SENTENCES
from tokens import Ints, load_tokenizer, tokenize

WORKLOADS = {
    "one question": tuple(ANSWERS)[:1],
    f"{len(SENTENCES)} sentences": SENTENCES,
}
SECONDS = 1.0


def load_castoff(folder: Path) -> Callable[[Ints, Ints], object]:
    """The compiled encoder."""
    import castoff

    return castoff.aot_load(folder / "sentences.so")


def load_onnxruntime(folder: Path) -> Callable[[Ints, Ints], object]:
    """A session with its default options, which turn every optimisation on."""
    import onnxruntime  # type: ignore[import-untyped,import-not-found,unused-ignore]

    session = onnxruntime.InferenceSession(
        str(folder / "sentences.onnx"), providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]

    def run(tokens: Ints, mask: Ints) -> object:
        return session.run(None, dict(zip(names, (tokens, mask), strict=True)))

    return run


ENGINES = {"castoff": load_castoff, "onnxruntime": load_onnxruntime}


def milliseconds(run: Callable[[Ints, Ints], object], tokens: Ints, mask: Ints) -> float:
    """Median of the calls that fit in `SECONDS`, after two that are not counted."""
    run(tokens, mask)
    run(tokens, mask)
    seconds: list[float] = []
    while sum(seconds) < SECONDS:
        started = time.perf_counter()
        run(tokens, mask)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds) * 1e3)


def main(engine: str, folder: Path) -> None:
    """Prints the medians."""
    tokenizer = load_tokenizer(fetch_model())
    run = ENGINES[engine](folder)
    medians = {
        workload: milliseconds(run, *tokenize(tokenizer, texts))
        for workload, texts in WORKLOADS.items()
    }
    print(json.dumps(medians))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
