"""Programs for CUDA, built and run: on a GPU where there is one, else emulated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulation.home import cuda_home_for_tests

from .building import DeviceBuilds


@pytest.fixture(scope="session")
def device_builds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceBuilds]:
    """Builds and loads graphs for the device."""
    home = cuda_home_for_tests()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_HOME", home)  # where artefacts look for cuBLASLt
        yield DeviceBuilds(home, tmp_path_factory)
