"""Finds the sentence that answers each question, in a process that can import neither torch nor
the compiler, and checks every embedding against PyTorch's.

    python examples/sentences/search.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

FORBIDDEN = ("torch", "castoff.compiler", "castoff.templates", "jinja2", "rich", "ml_dtypes")
sys.modules.update(dict.fromkeys(FORBIDDEN))  # type: ignore[arg-type]  # None: import fails

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
from fetch import fetch_model  # noqa: E402
from sentences import ANSWERS, SENTENCES  # noqa: E402
from tokens import load_tokenizer, tokenize  # noqa: E402

import castoff  # noqa: E402

TOLERANCE = 1e-4


def main(folder: Path) -> int:
    """Prints what was found; returns 1 where an answer or an embedding is not the right one."""
    tokenizer = load_tokenizer(fetch_model())
    encoder = castoff.aot_load(folder / "sentences.so")

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.asarray(encoder(*tokenize(tokenizer, texts)), np.float32)

    embeddings = {"sentences": embed(SENTENCES), "questions": embed(tuple(ANSWERS))}
    with np.load(folder / "embeddings.npz") as stored:
        difference = max(float(np.abs(embeddings[name] - stored[name]).max()) for name in stored)

    nearness = embeddings["questions"] @ embeddings["sentences"].T
    found = [SENTENCES[i] for i in nearness.argmax(1)]
    for question, sentence, similarity in zip(ANSWERS, found, nearness.max(1), strict=True):
        print(f"{question}\n    {similarity:.2f}  {sentence}")
    right = sum(map(str.__eq__, found, ANSWERS.values()))
    print(f"right answers  {right} of {len(ANSWERS)}")
    print(f"embeddings     differ from PyTorch's by {difference:.1e} at most")
    return 0 if right == len(ANSWERS) and difference <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
