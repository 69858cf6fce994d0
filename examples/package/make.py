"""Compiles the sample classifier for three kinds of processors and puts it into one archive, with
its source program and with what happens before and after it.

    python examples/package/make.py digits-package.pt2
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import castoff

HERE = Path(__file__).resolve().parent
DIGITS = HERE.parent / "digits"
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def main(output: str) -> None:
    """Writes the archive and says how large it is."""
    sys.path.insert(0, str(HERE))
    from digit_reader import DigitReader

    exporter = castoff.package.Exporter()
    exporter.add_module("digit_reader")
    exporter.add_object("reader", DigitReader(NAMES, average_digits()))
    exporter.add_object("names", NAMES)

    program = castoff.load(DIGITS / "digits.pt2")
    with tempfile.TemporaryDirectory() as folder:
        artefacts = {
            level: castoff.aot_compile(
                program, output=Path(folder, f"{level}.so"), options={"target_cpu": level}
            )
            for level in ("x86-64", "x86-64-v3", "x86-64-v4")
        }
        alone = sum(Path(path).stat().st_size for path in artefacts.values())
        castoff.package(
            output,
            {"classify": artefacts},
            programs={"model": program},
            extra_files={"licence.txt": "Apache-2.0"},
            code=exporter,
        )
    size = Path(output).stat().st_size
    print(f"{output}: {size / 1024:.0f} KiB; the three artefacts alone have {alone / 1024:.0f}")


def average_digits() -> np.ndarray:  # type: ignore[type-arg]
    """float32[10, 8, 8]: what each digit looks like on average."""
    with np.load(DIGITS / "test_images.npz") as stored:
        images, labels = stored["images"], stored["labels"]
    return np.stack([images[labels == digit, 0].mean(0) for digit in range(10)])


if __name__ == "__main__":
    main(sys.argv[1])
