"""On the device too, what shows it sees rounded numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import reference
from tests.rounding import NARROW, PROGRAMS

from .building import DeviceBuilds


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_shows_it_sees_rounded_numbers(
    device_builds: DeviceBuilds, name: str, dtype: str
) -> None:
    graph, arrays = PROGRAMS[name](NARROW[dtype])
    (want,) = reference(graph, *arrays)
    (got,) = device_builds.load(graph)(*arrays)
    np.testing.assert_array_equal(np.asarray(got, np.float64), np.asarray(want, np.float64))
