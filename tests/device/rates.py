"""How much of a GPU's memory bandwidth programs reach, each beside a copy of as many bytes in the same run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from castoff.compiler.ir.graph import Graph
from castoff.runtime.device_runner import DeviceRunner
from castoff.runtime.runner import aot_load
from tests.graphs import GraphBuilder, build

COLUMNS = 4096


@dataclass(frozen=True, slots=True)
class Rate:
    """Bytes that a program has to read and write, the seconds it takes, and a copy's rate beside it."""

    name: str
    size_bytes: int
    seconds: float
    copy_bytes_per_second: float

    @property
    def share(self) -> float:
        """Of the rate of the copy."""
        return self.size_bytes / self.seconds / self.copy_bytes_per_second


def copy(rows: int) -> Graph:
    """A copy by the driver."""
    b = GraphBuilder()
    return b.graph(b.call("aten.clone.default", b.input("x", rows, COLUMNS)))


def pointwise(rows: int) -> Graph:
    """One read, one write."""
    b = GraphBuilder()
    x = b.input("x", rows, COLUMNS)
    return b.graph(b.call("aten.gelu.default", x))


def softmax(rows: int) -> Graph:
    """Along rows."""
    b = GraphBuilder()
    return b.graph(b.call("aten.softmax.int", b.input("x", rows, COLUMNS), -1))


def layer_norm(rows: int) -> Graph:
    """Along rows."""
    b = GraphBuilder()
    x = b.input("x", rows, COLUMNS)
    return b.graph(b.call("aten.layer_norm.default", x, [COLUMNS]))


def row_sums(rows: int) -> Graph:
    """One read."""
    b = GraphBuilder()
    return b.graph(b.reduce("sum", b.input("x", rows, COLUMNS), [1]))


def transpose(rows: int) -> Graph:
    """Rows become columns, in memory."""
    b = GraphBuilder()
    x = b.input("x", rows, COLUMNS)
    return b.graph(b.call("aten.clone.default", b.call("aten.t.default", x)))


PROGRAMS: Mapping[str, tuple[Callable[[int], Graph], int]] = {
    "pointwise": (pointwise, 2),
    "softmax": (softmax, 2),
    "layer norm": (layer_norm, 2),
    "sum of rows": (row_sums, 1),
    "transpose": (transpose, 2),
}
"""Each with how often it has to touch every element."""


def seconds_of(program: DeviceRunner, arguments: tuple[Any, ...], at_least: float) -> float:
    """Of one call, of as many as fill the time, enqueued one after the other."""
    calls = 1
    while True:
        program.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            program(*arguments)
        program.synchronize()
        spent = time.perf_counter() - start
        if spent >= at_least:
            return spent / calls
        calls *= max(2, min(10, round(at_least / max(spent, 1e-6))))


def measure(size_bytes: int, options: Mapping[str, Any], at_least: float = 0.2) -> list[Rate]:
    """Every program over an input of that size."""
    rows = max(size_bytes // (COLUMNS * 4), 1)
    found: list[Rate] = []
    with tempfile.TemporaryDirectory(prefix="castoff-rates-") as folder:

        def load(name: str, graph: Graph) -> DeviceRunner:
            place = Path(folder) / name.replace(" ", "_")
            place.mkdir()
            program = aot_load(build(graph, place, **options), "cuda", results="device")
            assert isinstance(program, DeviceRunner), "programs for CUDA run on a device"
            return program

        copier = load("copy", copy(rows))
        (x,) = copier(np.ones((rows, COLUMNS), np.float32))
        rate = 2 * rows * COLUMNS * 4 / seconds_of(copier, (x,), at_least)
        for name, (make, touched) in PROGRAMS.items():
            seconds = seconds_of(load(name, make(rows)), (x,), at_least)
            found.append(Rate(name, touched * rows * COLUMNS * 4, seconds, rate))
    return found
