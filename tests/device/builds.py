"""What building models for CUDA takes, which needs no GPU: `python -m tests.device.builds [MODEL...] [--jobs N]`.

Models of the benchmarks, for the default architectures and with nothing from the cache: seconds by the wall, what the
file has beside its weights, and the libraries it opens beside the driver. Exit status 1 where a file is too large.
Needs torch, to export them.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import castoff
from bench.report import table
from castoff.runtime.manifest import read_manifest
from tests.conformance.check import MOST_CODE_BYTES

MODELS = ("bert-base-128", "resnet50", "vit-b16", "gpt2-prefill-128", "llama-decode-512")


@dataclass(frozen=True, slots=True)
class Built:
    """An artefact that was built from nothing."""

    path: str
    seconds: float
    code_bytes: int
    """What the file has beside its weights."""
    libraries: tuple[str, ...]
    """What it opens beside the driver."""


def saved(exported: Any) -> bytes:
    """A program of PyTorch as the bytes of a `.pt2`."""
    import torch

    file = io.BytesIO()
    torch.export.save(exported, file)
    return file.getvalue()


def build(program: bytes, output: Path, options: Mapping[str, object]) -> Built:
    """The artefact of a program for CUDA, without the cache."""
    start = time.perf_counter()
    path = castoff.aot_compile(
        program, output=output, options={"device": "cuda", **options, "cache": False}
    )
    seconds = time.perf_counter() - start
    manifest = read_manifest(path)
    code_bytes = os.path.getsize(path) - manifest.weights_size_bytes
    return Built(path, seconds, code_bytes, tuple(manifest.libraries))


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds models and prints what that took."""
    parser = argparse.ArgumentParser(prog="python -m tests.device.builds", description=__doc__)
    parser.add_argument(
        "models", nargs="*", default=MODELS, metavar="MODEL", help="of bench/names.py"
    )
    parser.add_argument(
        "-j", "--jobs", type=int, default=2, help="compilers at a time: %(default)s"
    )
    options = parser.parse_args(arguments)
    import torch

    from bench.models import make_subject

    rows = []
    is_good = True
    with tempfile.TemporaryDirectory(prefix="castoff-builds-") as folder, torch.inference_mode():
        for name in options.models:
            try:
                subject = make_subject(name)
            except ImportError as error:  # bench/requirements.txt has what defines them
                rows.append((name, f"not built: {error}", "", ""))
                is_good = False
                continue
            exported = torch.export.export(
                subject.program, subject.example, dynamic_shapes=subject.dynamic_shapes
            )
            built = build(saved(exported), Path(folder) / "model.so", {"jobs": options.jobs})
            megabytes, libraries = built.code_bytes / 1e6, ", ".join(built.libraries)
            rows.append((name, f"{built.seconds:.1f}", f"{megabytes:.2f}", libraries or "none"))
            is_good = is_good and built.code_bytes <= MOST_CODE_BYTES
            print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    print(table(("model", "seconds", "MB beside weights", "libraries"), rows))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
