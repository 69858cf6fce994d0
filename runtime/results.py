"""`out=`: arrays of the caller's that receive results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .diagnose import describe
from .errors import InputMismatchError
from .manifest import Manifest
from .tensors import Array, as_array, as_storage, matches, storage_dtype


class Receiver(Protocol):
    """Something of the caller's at result number `position`, which takes an output."""

    @property
    def position(self) -> int: ...

    @property
    def output(self) -> int: ...

    def receive(self, value: object) -> object:
        """What the caller gets once it holds `value`."""


@dataclass(frozen=True, slots=True)
class Target:
    """The caller's `leaf` at result number `position`, which takes output number `output`.

    `array` is its memory in the storage dtype; `is_direct` where the program can write to it
    itself.
    """

    position: int
    output: int
    leaf: object
    array: Array
    is_direct: bool

    def receive(self, value: object) -> object:
        """The leaf, once it holds `value`. Raises InputMismatchError for another shape."""
        assert isinstance(value, np.ndarray), "numbers are not written to arrays"
        if self.array is not value:
            if self.array.shape != value.shape:
                raise InputMismatchError(
                    f"out: expected {describe(value)}, got {describe(self.leaf)}"
                )
            self.array[...] = value
        return self.leaf


def find_targets(
    manifest: Manifest,
    paths: Sequence[str],
    leaves: Sequence[object],
    shapes: Sequence[tuple[int, ...]],
) -> list[Target]:
    """The leaves of `out` that take outputs of these shapes; sizes of -1 are not known yet.

    None stands for a result that is made as usual, and so does whatever stands for an argument or a
    constant among the results. Raises InputMismatchError with every problem.
    """
    targets: list[Target] = []
    problems: list[str] = []
    for position, (result, leaf, path) in enumerate(
        zip(manifest.results, leaves, paths, strict=True)
    ):
        if leaf is None or result.kind != "output":
            continue
        spec = manifest.outputs[result.index]
        shape = shapes[result.index]
        where = "out" + path.removeprefix("result")
        array = as_array(leaf) if spec.kind == "tensor" else None
        if array is None or not matches(array, spec.dtype) or not _fits(array.shape, shape):
            sizes = ", ".join("?" if size < 0 else str(size) for size in shape)
            expected = f"{spec.dtype}[{sizes}]" if spec.kind == "tensor" else "None"
            problems.append(f"{where}: expected {expected}, got {describe(leaf)}")
        elif not array.flags.writeable:
            problems.append(f"{where}: expected a writable array, got a read-only one")
        else:
            stored = as_storage(array, spec.dtype)
            is_direct = stored.flags.carray and stored.dtype == storage_dtype(spec.dtype)
            targets.append(Target(position, result.index, leaf, stored, is_direct))
    if problems:
        raise InputMismatchError("\n".join(problems))
    return targets


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(
        size in (-1, got) for size, got in zip(expected, shape, strict=True)
    )
