"""How tests get a program onto the emulated device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from castoff.compiler.ir.graph import Graph
from castoff.runtime.runner import Runner, aot_load
from tests.graphs import build

from .machine import architecture


def device_options(home: str) -> Mapping[str, Any]:
    """Options that build for the device of a toolkit, for one architecture."""
    return {"device": "cuda", "cuda_home": home, "cuda_architectures": (architecture(),)}


@dataclass(frozen=True)
class DeviceBuilds:
    """Builds graphs with the emulated toolkit."""

    home: str
    folders: pytest.TempPathFactory

    def build(self, graph: Graph, **options: Any) -> Path:
        """The artefact of a graph."""
        return build(
            graph, self.folders.mktemp("device"), **{**device_options(self.home), **options}
        )

    def load(self, graph: Graph, device: str = "cuda", **options: Any) -> Runner:
        """A graph, built and loaded with these options of aot_load()."""
        return aot_load(self.build(graph), device, **options)
