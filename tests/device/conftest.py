"""Programs for CUDA, built with the emulated toolkit and run on the emulated device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulation.home import default_home

from .building import DeviceBuilds


@pytest.fixture(scope="session")
def emulated_home() -> str:
    """$CUDA_HOME of the emulation, made once per machine and state of its sources."""
    return str(default_home())


@pytest.fixture(scope="session")
def device_builds(
    emulated_home: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeviceBuilds]:
    """Builds and loads graphs for the emulated device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_HOME", emulated_home)  # where artefacts look for cuBLASLt
        yield DeviceBuilds(emulated_home, tmp_path_factory)
