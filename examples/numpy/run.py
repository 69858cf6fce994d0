"""Captures the classifier, compiles it, and holds its answers against NumPy's.

python examples/numpy/run.py [folder]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from spectra import SAMPLES, Classifier

import castoff


def main(arguments: list[str]) -> int:
    """Gives the exit status: 1 where the answers differ."""
    folder = Path(arguments[0] if arguments else tempfile.mkdtemp())
    generator = np.random.default_rng(1)
    model = Classifier()
    example = np.zeros((8, SAMPLES), np.float32)
    program = castoff.export(
        model, (example,), dynamic_shapes={"sound": {0: castoff.Dim("frames")}}
    )
    castoff.save(program, folder / "spectra.pt2")
    compiled = castoff.aot_load(castoff.aot_compile(program, output=folder / "spectra.so"))
    largest = 0.0
    for frames in (8, 1, 100):
        sound = generator.standard_normal((frames, SAMPLES)).astype(np.float32)
        largest = max(largest, float(np.abs(compiled(sound) - model(sound)).max()))
    print(f"largest difference from NumPy: {largest:.1e}")
    return int(largest > 1e-4)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
