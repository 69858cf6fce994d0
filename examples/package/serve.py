"""Reads digits with what lies in the archive alone: no compiler, no PyTorch, no module of ours.

python examples/package/serve.py digits-package.pt2
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import castoff

IMAGES = Path(__file__).resolve().parent.parent / "digits" / "test_images.npz"


def main(archive: str) -> int:
    """Prints some answers and how many are right; returns 1 where it is not nearly all of them."""
    classify = castoff.aot_load(archive, method="classify")
    print(f"artefact   {classify.artefact}, runs on {classify.cpu_level}")

    # Data needs no permission, code does: this archive is our own.
    print(f"names      {', '.join(castoff.package.Importer(archive).load('names'))}")
    reader = castoff.package.Importer(archive, allow_code=True).load("reader")

    with np.load(IMAGES) as stored:
        pictures = (255 - 255 * stored["images"][:, 0]).round().astype(np.uint8)
        labels = stored["labels"]
    images = reader.prepare(pictures)
    answers = reader.answer(classify(images), images)
    for answer in answers[:3]:
        print(f"           {answer}")
    expected = [f"{reader.names[label]}," for label in labels]
    right = np.mean([text.startswith(e) for text, e in zip(answers, expected, strict=True)])
    print(f"accuracy   {right:.2%} of {len(answers)} pictures")
    needed = {"torch", "castoff.compiler", "digit_reader"} & set(sys.modules)
    print(f"imported   {', '.join(sorted(needed)) or 'nothing but castoff and NumPy'}")
    return 0 if right > 0.95 and not needed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
