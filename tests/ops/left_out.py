"""What the sweep leaves out, each with its reason: `left_out.txt`, which the page of operators prints.

Lines of `target what…: reason`, where `what` is a type that PyTorch takes and castoff does not, or not as PyTorch
does, or `sizes` where not all sizes of a sample can be symbols.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from castoff.compiler.ops.samples import Sample, parse_samples

FILE = Path(__file__).parent / "left_out.txt"
SIZES = "sizes"
TYPES = (
    *("float32", "float64", "float16", "bfloat16", "complex64", "complex128"),
    *("int64", "int32", "int16", "int8", "uint8", "bool", "uint16", "uint32", "uint64"),
    *("float8_e4m3fn", "float8_e5m2"),
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Types of a target, or `SIZES`, and why."""

    target: str
    what: tuple[str, ...]
    reason: str


def left_out() -> Iterator[LeftOut]:
    """The lines of the file."""
    for line in FILE.read_text(encoding="utf-8").splitlines():
        head, _, reason = line.partition(": ")
        target, *what = head.split()
        yield LeftOut(target, tuple(what), reason)


def left_out_by_target() -> Mapping[str, frozenset[str]]:
    """What is left out of each target."""
    found: dict[str, frozenset[str]] = {}
    for line in left_out():
        found[line.target] = found.get(line.target, frozenset()) | set(line.what)
    return found


def samples_of_other_types(target: str, samples: Sequence[Sample]) -> Iterator[tuple[str, Sample]]:
    """The types that no sample of a target has, each in a sample made for it."""
    listed = {dtype.value for sample in samples for dtype in sample.dtypes}
    uniform = sorted((s for s in samples if len(s.dtypes) == 1), key=lambda s: s.text)
    for sample in uniform[:1]:
        (old,) = sample.dtypes
        for dtype in TYPES:
            if dtype not in listed:
                changed = re.sub(rf"\b{old.value}\[", f"{dtype}[", sample.text)
                yield dtype, next(parse_samples(target, changed))
