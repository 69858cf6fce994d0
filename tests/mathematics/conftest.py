"""Sample points shared by the tests of the C headers."""

from __future__ import annotations

import numpy as np
import pytest

EDGES = np.array(
    [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        1,
        -1,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        3.5,
        1e-45,
        -1e-45,
        2e-40,
        1.1754944e-38,
        3.4028235e38,
        -3.4028235e38,
        88.72,
        88.73,
        -87.33,
        -103.9,
        -104,
        127.99999,
        128,
        -126.5,
        -149,
        -150,
        0.99999994,
        -0.99999994,
        1.0000001,
        np.pi,
        np.pi / 2,
        0.625,
        0.9375,
        4,
        2**23,
        2**23 + 1,
        2**24,
        2**31,
        -(2.0**31),
        1e30,
    ],
    np.float32,
)


@pytest.fixture(scope="session")
def floats() -> np.ndarray:
    """Edges, bit patterns over the whole range of float, dense stretches of interesting parts."""
    rng = np.random.default_rng(0)
    whole = np.arange(0, 2**32, 9973, dtype=np.uint64).astype(np.uint32).view(np.float32)
    dense = [rng.uniform(-reach, reach, 60_000).astype(np.float32) for reach in (1.0, 10.0, 110.0)]
    return np.concatenate([EDGES, whole, *dense])


@pytest.fixture(scope="session")
def float_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Pairs of edges, of any floats, of moderate ones, and of those with whole numbers."""
    rng = np.random.default_rng(1)
    whole = np.arange(0, 2**32, 9973, dtype=np.uint64).astype(np.uint32).view(np.float32)
    left = [np.repeat(EDGES, EDGES.size), rng.choice(whole, 100_000), rng.uniform(0, 50, 100_000)]
    right = [np.tile(EDGES, EDGES.size), rng.choice(whole, 100_000), rng.uniform(-5, 5, 100_000)]
    left.append(rng.uniform(-20, 20, 50_000))
    right.append(np.rint(rng.uniform(-9, 9, 50_000)))
    return np.concatenate(left).astype(np.float32), np.concatenate(right).astype(np.float32)
