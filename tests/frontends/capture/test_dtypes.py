"""Functions in every type and in shapes at the edge, and chains of views and writes, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import castoff

from .checks import assert_captured

DTYPES = (
    "bool", "int8", "int32", "int64", "uint8", "uint64", "float16", "float32", "float64", "complex64",
)  # fmt: skip
SHAPES = ((4, 3), (3,), (), (2, 1, 3), (0, 3), (3, 0))

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: [np.sum(x), np.sum(x, -1)],
    "prod": lambda x: [np.prod(x), np.prod(x, 0)],
    "max": lambda x: [np.max(x), np.max(x, -1)],
    "min": lambda x: [np.min(x, 0), np.min(x, keepdims=True)],
    "mean": lambda x: [np.mean(x), np.mean(x, -1)],
    "std": lambda x: [np.std(x), np.var(x, 0)],
    "any": lambda x: [np.any(x), np.all(x, 0)],
    "argmax": lambda x: [np.argmax(x), np.argmin(x, -1)],
    "cumsum": lambda x: [np.cumsum(x), np.cumsum(x, 0)],
    "cumprod": lambda x: np.cumprod(x, -1),
    "nansum": lambda x: [np.nansum(x), np.nanmax(x, 0)],
    "nanmean": lambda x: [np.nanmean(x), np.nanstd(x, 0)],
    "count_nonzero": lambda x: [np.count_nonzero(x), np.count_nonzero(x, 0)],
    "ptp": lambda x: np.ptp(x, 0),
    "diff": lambda x: np.diff(x),
    "sort": lambda x: np.sort(x),
    "argsort": lambda x: np.argsort(x, kind="stable"),
    "median": lambda x: np.median(x),
    "quantile": lambda x: np.quantile(x, 0.25, axis=0),
    "clip": lambda x: [np.clip(x, 0, 1), np.clip(x, x, x)],
    "round": lambda x: [np.round(x), np.round(x, 1)],
    "where": lambda x: [np.where(x, x, 0), np.where(x == 1, x, x)],
    "concatenate": lambda x: [np.concatenate([x, x]), np.stack([x, x], -1)],
    "roll": lambda x: [np.roll(x, 1), np.roll(x, -1, 0), np.flip(x)],
    "reshape": lambda x: [np.ravel(x), x.reshape(-1), x.T, np.expand_dims(x, -1), np.atleast_2d(x)],
    "tile": lambda x: [np.tile(x, 2), np.repeat(x, 2)],
    "pad": lambda x: [np.pad(x, 1), np.pad(x, 1, "edge")],
    "take": lambda x: [np.take(x, [0, 0], -1), x[..., 0], x[None], x[..., ::-1]],
    "astype": lambda x: [x.astype(t) for t in ("f4", "i4", "?", "c8")],
    "nan_to_num": lambda x: np.nan_to_num(x),
    "real": lambda x: [np.real(x), np.imag(x), np.conj(x)],
    "dot": lambda x: [np.dot(x, x.T), np.inner(x, x), np.matmul(x, x.T)],
    "outer": lambda x: [np.outer(x, x), np.kron(x, x)],
    "linspace": lambda x: np.linspace(x, 2, 3),
    "average": lambda x: np.average(x, -1, weights=[1, 2, 3]),
    "isclose": lambda x: [np.isclose(x, 1), np.isfinite(x), np.isreal(x)],
    "interp": lambda x: np.interp(x, [0.0, 1.0, 3.0], [1.0, 5.0, 2.0]),
    "gradient": lambda x: np.gradient(x, axis=-1),
    "trapezoid": lambda x: np.trapezoid(x),
    "fft": lambda x: [np.fft.fft(x), np.fft.ifft(x)],
    "norm": lambda x: [np.linalg.norm(x), np.linalg.norm(x, axis=-1)],
    "tril": lambda x: [np.tril(x), np.triu(x)],
    "zeros_like": lambda x: [np.zeros_like(x), np.ones_like(x), np.full_like(x, 1)],
    "cov": lambda x: np.cov(x),
    "searchsorted": lambda x: np.searchsorted([0, 1, 2], x),
    "isin": lambda x: np.isin(x, [0, 1]),
    "arithmetic": lambda x: [x + x, x * 2, x / 2, x**2, x**3, abs(x), -x, x == x, 1 + x],
    "division": lambda x: [x // 2, x % 2, divmod(x, 2)],
}


def _array(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    draw = np.random.default_rng(len(shape))
    kind = np.dtype(dtype).kind
    if kind == "c":
        return np.asarray(draw.standard_normal(shape) + 1j * draw.standard_normal(shape)).astype(
            dtype
        )
    if kind == "f":
        return np.asarray(draw.standard_normal(shape)).astype(dtype)
    return np.asarray(draw.integers(0, 4, shape)).astype(dtype)


# What is refused although NumPy has it: the order of complex numbers.
_UNORDERED = (
    "max", "min", "ptp", "argmax", "sort", "argsort", "median", "searchsorted", "nansum", "nanmean",
)  # fmt: skip


def _is_left_out(name: str, dtype: str, shape: tuple[int, ...]) -> bool:
    if name == "cov":  # the type of what NumPy makes of nothing is its own
        return shape == (0, 3)
    return name == "fft" and dtype == "float16"  # NumPy is less accurate there


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_in_every_type_and_shape(name: str) -> None:
    """All at once; a type that NumPy refuses has to be refused when it is captured too."""
    function = FUNCTIONS[name]
    taken: list[np.ndarray] = []
    for dtype in DTYPES:
        for shape in SHAPES:
            x = _array(dtype, shape)
            try:
                function(x)
            except TypeError:
                with pytest.raises((TypeError, castoff.CaptureError)):
                    castoff.export(function, (x,))
                continue
            except (ValueError, IndexError):
                continue
            if name in _UNORDERED and x.dtype.kind == "c":
                with pytest.raises(castoff.CaptureError, match="complex"):
                    castoff.export(function, (x,))
            elif not _is_left_out(name, dtype, shape):
                taken.append(x)
    assert taken, "every function is known in some type"
    assert_captured(lambda *xs: [function(x) for x in xs], *taken, scale=5)


# ---- views and writes

_VIEWS: list[tuple[str, Callable[[Any], Any]]] = [
    ("first", lambda x: x[0] if x.ndim > 1 else x),
    ("reverse", lambda x: x[::-1]),
    ("cut", lambda x: x[..., 1:]),
    ("step", lambda x: x[::2]),
    ("transpose", lambda x: x.T),
    ("axis", lambda x: x[:, None] if x.ndim == 1 else x[None]),
    ("flat", lambda x: x.reshape(-1)),
    ("ravel", lambda x: x.ravel()),
    ("swap", lambda x: np.swapaxes(x, 0, -1)),
    ("squeeze", lambda x: np.squeeze(x)),
    ("copy", lambda x: x.copy()),
    ("move", lambda x: np.moveaxis(x, -1, 0)),
]
_WRITES: list[tuple[str, Callable[[Any], None]]] = [
    ("add", lambda x: x.__iadd__(1)),
    ("set", lambda x: x.__setitem__(Ellipsis, x * 2 + 1)),
    ("last", lambda x: x.__setitem__((..., -1), 7)),
    ("mask", lambda x: x.__setitem__(x > 3, -1)),
    ("index", lambda x: x.__setitem__([0, -1], 5)),
    ("slice", lambda x: x.__setitem__(slice(1, None), x[:-1] + 1)),
    ("fill", lambda x: x.fill(2)),
    ("sort", lambda x: x.sort()),
    ("put", lambda x: np.add.at(x, [0, 0], 3)),
]


@settings(
    derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from(_VIEWS), st.sampled_from(_WRITES)),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_views_and_writes_in_any_order_do_what_numpy_does(
    steps: list[tuple[int, tuple[str, Any], tuple[str, Any]]],
) -> None:
    def f(x: Any) -> list[Any]:
        arrays = [x + 0]
        for which, (_, view), (_, write) in steps:
            arrays.append(view(arrays[which % len(arrays)]))
            if arrays[-1].ndim and all(size > 0 for size in arrays[-1].shape):
                write(arrays[-1])
        return arrays

    assert_captured(f, np.arange(12.0).reshape(4, 3))
