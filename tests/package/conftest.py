"""Artefacts and archives the tests share, compiled once per session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import castoff
from castoff.compiler.ir.shapes import Dim

from ..graphs import GraphBuilder, build, size

WEIGHT = np.arange(64 * 256, dtype=np.float32).reshape(64, 256)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Images go to a folder of the test session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASTOFF_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


def weighted(operator: str, batch: Dim, folder: Path, target_cpu: str = "x86-64-v3") -> Path:
    """The artefact of `operator(x, weight)` for x: float32[batch, 64, 256]."""
    b = GraphBuilder()
    x = b.input("x", batch, 64, 256)
    folder.mkdir()
    return build(
        b.graph(b.apply(operator, x, b.array(WEIGHT, "weight"))), folder, target_cpu=target_cpu
    )


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("artefacts")
    return {
        "one": weighted("add", 1, folder / "one"),
        "few": weighted("add", size("n", 2, 8), folder / "few"),
        "many": weighted("add", size("n", 9, 64), folder / "many"),
        "times": weighted("mul", size("n"), folder / "times"),
        "plain": weighted("mul", size("n"), folder / "plain", "x86-64"),
    }


@pytest.fixture(scope="session")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefact of a program that counts its calls in one buffer and sums them in another."""
    b = GraphBuilder()
    x = b.input("x", 2)
    count, total = b.buffer("count", np.zeros(2, np.float32)), b.buffer("sum", np.zeros(2, "f4"))
    counted, summed = b.apply("add", count, x), b.apply("sub", total, x)
    graph = b.graph(counted, summed, mutations=[(count, counted), (total, summed)])
    return build(graph, tmp_path_factory.mktemp("counter"))


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory, artefacts: dict[str, Path]) -> Path:
    """Two methods; the first for three ranges of sizes, the second for two CPU levels."""
    path = tmp_path_factory.mktemp("archive") / "pkg.pt2"
    castoff.package(
        path,
        {
            "add": {name: artefacts[name] for name in ("one", "few", "many")},
            "mul": {"fast": artefacts["times"], "plain": artefacts["plain"]},
        },
        extra_files={"labels.txt": "cat\ndog\n", "table.bin": b"\x00\xff"},
    )
    return path
