"""Compiles a model that uses an operator castoff does not know, runs it and compares with
PyTorch's answer.

    python examples/custom_op/run.py [output.so]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soft_shrink

import castoff

HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    """Gives the exit status: 1 where the answers differ."""
    soft_shrink.register()
    output = arguments[0] if arguments else str(HERE / "model.so")
    denoise = castoff.aot_load(castoff.aot_compile(str(HERE / "model.pt2"), output=output))
    with np.load(HERE / "sample.npz") as sample:
        difference = float(np.abs(denoise(sample["x"]) - sample["y"]).max())
    print(f"largest difference from PyTorch: {difference:.1e}")
    return int(difference > 1e-5)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
