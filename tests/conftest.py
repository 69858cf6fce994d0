"""Options of the whole suite."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says what else the machine is doing.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what is generated now to tests/golden/"
    )


def pytest_configure() -> None:
    # What an emulated device says as it ends the process would be lost with what pytest captured.
    os.environ["CASTOFF_EMULATION_STDERR"] = f"{os.getpid()}:{os.dup(2)}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("torch") and find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
