"""NumPy's functions, one call a line: what is captured of each has to give what NumPy gives.

A case is a function of the arrays that `ARRAYS` names: its parameters are their names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_draw = np.random.default_rng(11)


def _floats(*shape: int, dtype: str = "float32") -> np.ndarray:
    return (_draw.standard_normal(shape) * 2).astype(dtype)


_square = _floats(3, 3, dtype="float64")
_holes = _floats(4, 3, dtype="float64")
_holes[0, 1] = _holes[2, 2] = np.nan
_special = np.array([[0.0, -0.0, np.inf], [-np.inf, np.nan, 1.5]], np.float32)

ARRAYS: Mapping[str, np.ndarray] = {
    "x": _floats(4, 3),
    "y": _floats(4, 3),
    "v": _floats(3),
    "w": _floats(6),
    "t": _floats(2, 3, 4),
    "u": _floats(2, 4, 5),
    "d": _floats(4, 3, dtype="float64"),
    "h": _floats(4, 3, dtype="float16"),
    "z": _floats(4, 3, dtype="complex64"),
    "m": _square,
    "p": _square @ _square.T + 3 * np.eye(3),
    "holes": _holes,
    "special": _special,
    "i": _draw.integers(-9, 9, (4, 3)).astype(np.int32),
    "j": _draw.integers(-9, 9, (4, 3)),
    "n": _draw.integers(0, 3, 5),
    "b": _draw.integers(0, 200, (4, 3)).astype(np.uint8),
    "c": _draw.integers(0, 2, (4, 3)).astype(np.bool_),
    "k": _draw.integers(0, 2, 4).astype(np.bool_),
    "row": np.array([-1.0, 0.5, 2.0, 7.0]),
}


def _masked_sets(x: Any, y: Any, mask: Any) -> Any:
    x[mask] = y[mask] * 2
    x[x < -1] = 0
    x[mask[:, 0], 1] = 5
    x[1:][mask[1:]] += 1
    np.fill_diagonal(x, 9)
    return x


CASES: list[Callable[..., Any]] = [
    # sums and what is like them
    lambda x: np.sum(x),
    lambda x: x.sum(0),
    lambda t: np.sum(t, axis=(0, 2), keepdims=True),
    lambda i, b, c: [i.sum(), b.sum(1), c.sum(0), np.sum(i, dtype=np.int16)],
    lambda h: h.sum(axis=0),
    lambda x, c: np.sum(x, axis=1, where=c, initial=2),
    lambda x, i, b: [np.prod(x, 0), i.prod(), b.prod(1), np.prod(x, (0, 1), keepdims=True)],
    lambda x, i, b, c: [x.max(), i.max(0), b.min(1), np.max(c), x.min(axis=(0, 1), keepdims=True)],
    lambda x, c: np.max(x, axis=0, where=c, initial=-5),
    lambda special: [special.max(1), special.min(0), np.nanmax(special), np.nanmin(special)],
    lambda x, i: [np.ptp(x), np.ptp(i, 0)],
    lambda c, i, x: [c.any(), c.all(1), np.any(i, 0), np.all(x, keepdims=True)],
    lambda x, i, c: [x.argmax(), i.argmin(0), np.argmax(c, 1), np.argmin(x, 1, keepdims=True)],
    lambda special: [special.argmax(1), special.argmin(1)],
    lambda x, i, b, h, z: [x.mean(), i.mean(0), b.mean(), h.mean(1), z.mean()],
    lambda x, c: [np.mean(x, 0, where=c), np.mean(c), x.mean(dtype=np.float64)],
    lambda x, i, d: [x.var(), i.var(0), d.std(1, ddof=1), np.std(x, keepdims=True)],
    lambda h, z: [h.std(), h.var(0), z.var(1)],
    lambda x: np.average(x, 0, weights=[1, 2, 3, 4]),
    lambda x, y: np.average(x, weights=abs(y), returned=True),
    lambda x, i, c: [np.cumsum(x), i.cumsum(0), c.cumsum(1), np.cumprod(x, 1)],
    lambda v: np.cumulative_sum(v, include_initial=True),
    lambda x: [np.diff(x), np.diff(x, 2, 0), np.diff(x, prepend=0, axis=0, append=x[:1])],
    lambda c: np.diff(c, axis=0),
    lambda x, c: [np.count_nonzero(x), np.count_nonzero(c, axis=1, keepdims=True)],
    lambda holes: [np.nansum(holes), np.nanmean(holes, 0), np.nanstd(holes, 1), np.nanvar(holes, ddof=1)],
    lambda holes: [np.nanprod(holes, 0), np.nanmax(holes, 1), np.nanargmax(holes, 0), np.nancumsum(holes)],
    lambda holes: [np.nanmedian(holes), np.nanquantile(holes, 0.3, axis=0), np.nanpercentile(holes, 70)],
    lambda x, d: [np.median(x), np.median(d, 0), np.quantile(d, [0.1, 0.5], axis=1), np.percentile(d, 30)],
    lambda t: np.quantile(t, 0.25, axis=(0, 2), keepdims=True),
    lambda d: [np.quantile(d, 0.4, method=m) for m in ("lower", "higher", "nearest", "midpoint")],
    # shapes
    lambda x: [x.reshape(2, 6), x.reshape(-1), np.reshape(x, (3, -1)), x.reshape(4, 3, order="F")],
    lambda t: [np.ravel(t), t.ravel("F"), t.flatten(), t.T, t.transpose(1, 0, 2), np.swapaxes(t, 0, -1)],
    lambda t: [np.moveaxis(t, 0, -1), np.moveaxis(t, (0, 1), (1, 2)), np.rollaxis(t, 2), t.mT],
    lambda v: [np.expand_dims(v, 0), np.expand_dims(v, (0, 2)), np.squeeze(v[None, :, None])],
    lambda v, x: [np.atleast_2d(v), np.atleast_3d(x), np.atleast_1d(v, x)],
    lambda v, x: [np.broadcast_to(v, (2, 3)), *np.broadcast_arrays(v, x)],
    lambda x: [np.flip(x), np.flip(x, 0), np.fliplr(x), np.flipud(x), np.rot90(x), np.rot90(x, 3)],
    lambda x, t: [np.diagonal(x), np.diagonal(t, 1, 1, 2), np.trace(x), np.trace(t, axis1=1, axis2=2)],
    lambda x: [np.shape(x), np.ndim(x), np.size(x), len(x), x.size, x.ndim, x.nbytes, x.dtype.itemsize],
    lambda z, x: [z.real, np.imag(z), x.imag, np.conj(z), z.conj(), np.angle(z), np.angle(x, deg=True)],
    lambda x: [np.copy(x), x.copy(), x.astype(np.float64), x.astype(int), x.astype("bool")],
    # joined and split
    lambda x, y: [np.concatenate([x, y]), np.concatenate((x, y), 1), np.concatenate([x, y], None)],
    lambda x, i, d: [np.concatenate([x, i]), np.stack([x, d]), np.stack([x, x], -1)],
    lambda x, y, v: [np.vstack([x, v]), np.hstack([v, v]), np.hstack([x, y]), np.dstack([x, y])],
    lambda x, v: [np.column_stack([v, v]), np.append(x, 1), np.append(x, x, 0), np.block([[x, x], [x, x]])],
    lambda x, w: [*np.split(w, 3), *np.split(x, [1, 3]), *np.array_split(w, 4), *np.hsplit(x, 3)],
    lambda x, v: [np.tile(v, 2), np.tile(x, (2, 1)), np.tile(v, (2, 2)), np.repeat(v, 2), x.repeat(2, 1)],
    lambda x, n, v: [np.repeat(x, [1, 0, 2, 1], 0), np.unstack(x), np.repeat(v, 3, axis=0)],
    lambda x: [np.roll(x, 1), np.roll(x, 2, 0), np.roll(x, (1, -1), (0, 1))],
    # chosen
    lambda x, y, c: [np.where(c, x, y), np.where(x > 0, x, 0), np.where(c, 1, 0), np.where(c, x, 2.5)],
    lambda i, x, c: [np.where(c, i, x), np.where(c, i, 1.5), np.where(c, 1, x)],
    lambda x, i, b: [np.clip(x, -1, 1), x.clip(0), np.clip(i, None, 3), np.clip(b, 10, 100), x.clip(max=0.5)],
    lambda x, i: [np.clip(i, -1.5, 2), np.clip(x, x.min(0), 1)],
    lambda x: [np.take(x, 2), np.take(x, [0, 2], 1), x.take([[0, 1], [2, 3]]), np.take(x, [5, -7], mode="wrap")],
    lambda x, w, n: [w[n], np.take(w, n), x[n[0]] if False else x[1], w.take(n + 9, mode="clip")],
    lambda x: [np.take_along_axis(x, np.argsort(x, 0), 0), np.take_along_axis(x, x.argmax(1)[:, None], 1)],
    lambda x: [np.sort(x), np.sort(x, 0), np.sort(x, None), np.argsort(x), np.argsort(x, 0)],
    lambda special, i: [np.sort(special), np.sort(i, 0), np.argsort(i, kind="stable")],
    lambda row, x: [np.searchsorted(row, x), np.searchsorted(row, x, "right"), np.digitize(x, row)],
    lambda x: np.digitize(x, [2.0, 0.0, -1.0]),
    lambda n, w: [np.bincount(n, minlength=4)[:3], np.bincount(n, weights=w[:5], minlength=4)[:3]],
    lambda i, n: [np.isin(i, [1, 2, -3]), np.isin(i, n, invert=True)],
    lambda x, y: np.select([x > 1, x > 0], [x, y], 0),
    lambda n, w: np.choose(n, [w[:5], w[1:], 7]),
    lambda i, j: np.lexsort((i[:, 0], j[:, 1])),
    # made
    lambda x: [np.zeros_like(x), np.ones_like(x, int), np.full_like(x, 7), np.full_like(x, 2.5, shape=(2,))],
    lambda x: [np.zeros((2, 3), like=x), np.ones(3, int, like=x), np.full((2,), 1.5, like=x), np.eye(3, like=x)],
    lambda x: [np.arange(5, like=x), np.arange(1, 9, 2.5, like=x), np.asarray([1, 2], like=x), np.tri(3, like=x)],
    lambda v: [np.linspace(v, 1, 4), np.linspace(0, v[0], 5, endpoint=False), np.linspace(v, v + 1, 3, axis=1)],
    lambda x, m, v: [np.tril(x), np.triu(x, 1), np.tril(m, -1), np.diag(v), np.diag(m), np.diag(v, 1)],
    lambda v, n: [*np.meshgrid(v, n), *np.meshgrid(v, n, indexing="ij"), *np.meshgrid(v, n, sparse=True)],
    lambda v, n: [np.vander(v), np.vander(n, 3, increasing=True)],
    lambda v, x: [np.diagflat(v), np.identity(3, like=x), x[np.ix_([0, 2], [1, 2])]],
    # elements
    lambda x, d, i: [np.round(x, 2), d.round(1), np.round(i), np.round(i, -1), np.around(d), np.fix(x)],
    lambda special, z: [np.nan_to_num(special), np.nan_to_num(special, nan=1, posinf=9, neginf=-9), np.nan_to_num(z)],
    lambda special: [np.isposinf(special), np.isneginf(special), np.isnan(special), np.isreal(special)],
    lambda x, i: [np.sinc(x), np.sinc(i), np.i0(x), np.iscomplex(x), np.isrealobj(x)],
    lambda x, y: [np.isclose(x, y), np.isclose(x, x + 1e-9), x > np.allclose(x, x), x > np.array_equal(x, y)],
    lambda d: [np.unwrap(d), np.unwrap(d * 4, axis=0)],
    lambda x, i: [np.gradient(x[0]), *np.gradient(x), np.gradient(x, 2.0, axis=0), np.gradient(i, axis=1)],
    lambda x, v: [np.trapezoid(x), np.trapezoid(x, v), np.trapezoid(x, dx=0.5, axis=0), np.ediff1d(v)],
    lambda d, row: np.interp(d, row, row**2),
    lambda d, row: np.interp(d, row, row * 2 + 1, left=-9, right=9),
    lambda x: [np.pad(x, 1), np.pad(x, (1, 2)), np.pad(x, ((1, 0), (0, 2)), constant_values=5)],
    lambda x: [np.pad(x, ((0, 0), (2, 1)), mode) for mode in ("edge", "reflect", "symmetric", "wrap")],
    lambda x: np.pad(x, 1, constant_values=((1, 2), (3, 4))),
    # products
    lambda x, y: [x @ y.T, np.dot(x, y.T), np.matmul(x, y[0]), np.inner(x, y), np.outer(x, y)],
    lambda v, i: [v @ v, np.vdot(v, v), np.inner(v, v), np.dot(v, 2), i @ i.T],
    lambda t, u: [np.matmul(t, u), np.dot(t, u[0]), np.tensordot(t, u, ((0, 2), (0, 1)))],
    lambda t, u, c: [np.dot(t, u), c @ c.T],
    lambda x, y, t, u: [np.einsum("ij,ij->i", x, y), np.einsum("ij,kj", x, y), np.einsum("bij,bjk->bik", t, u)],
    lambda m, t: [np.einsum("ii", m), np.einsum("ii->i", m), np.einsum("...ij->...ji", t)],
    lambda v, x: [np.kron(v, x), np.cross(x, v), np.convolve(v, v), np.correlate(v, v, "full")],
    lambda w, v: [np.convolve(w, v, m) for m in ("full", "same", "valid")],
    lambda w, v: [np.correlate(w, v, m) for m in ("full", "same", "valid")],
    lambda x, d: [np.cov(d), np.corrcoef(d), np.cov(d, rowvar=False), np.cov(x[0], bias=True)],
    lambda m, p, v: [np.linalg.inv(m), np.linalg.det(m), np.linalg.solve(m, v), np.linalg.cholesky(p)],
    lambda m, p: [tuple(np.linalg.slogdet(m)), np.linalg.eigvalsh(p), np.linalg.svd(m, compute_uv=False)],
    lambda p: (lambda e: e.eigenvectors * e.eigenvalues @ e.eigenvectors.T)(np.linalg.eigh(p)),
    lambda x: (lambda f: f.Q @ f.R)(np.linalg.qr(x)),
    lambda d: (lambda f: (f.U * f.S) @ f.Vh)(np.linalg.svd(d, full_matrices=False)),
    lambda m, d: [np.linalg.pinv(d), np.linalg.matrix_power(m, 5), np.linalg.matrix_power(m, -1)],
    lambda x, v, z: [np.linalg.norm(x), np.linalg.norm(x, axis=1), np.linalg.norm(v, 3), np.linalg.norm(z, axis=0)],
    lambda d: [np.linalg.norm(d, o) for o in (1, -1, 2, -2, np.inf, "fro", "nuc")],
    lambda v: [np.linalg.norm(v, o) for o in (0, 1, np.inf, -np.inf)],
    lambda w, x: [np.fft.fft(w), np.fft.rfft(x), np.fft.ifft(x, axis=0), np.fft.irfft(np.fft.rfft(w), 6)],
    lambda x, d, i: [np.fft.fft2(d), np.fft.rfft2(x), np.fft.fftn(d, norm="ortho"), np.fft.fft(i, 5)],
    lambda x: [np.fft.fftshift(x), np.fft.ifftshift(x, 0)],
    # ufuncs by their methods
    lambda x, i: [np.add.reduce(x), np.maximum.reduce(i, 1), np.multiply.accumulate(x), np.add.outer(x[0], x[1])],
    lambda i: [np.maximum.accumulate(i, 0), np.minimum.accumulate(i, 1)],
    lambda x, c: np.add(x, 1, where=c, out=np.zeros_like(x)),
    # indices
    lambda x: [x[0], x[-1, 1], x[1:], x[::2], x[::-1], x[:, ::-2], x[2:0:-1], x[..., 0], x[None, 1], x[-9:9]],
    lambda t: [t[0, ..., 1:3], t[:, [0, 2]], t[[0, 1], :, [1, 2]], t[0, [1, 2]], t[:, [[0, 1], [2, 0]], 1]],
    lambda x, i, n: [x[n % 4], x[n % 4, n], x[:, n], x[i[0] % 4], x[np.array([True, False, True, True])]],
    lambda w, n: [w[n[:, None] + n], w[-n - 1], w[[]]],
    lambda x, y, c: [x[c], x[c] * y[c], x[x > 0].sum(), np.nonzero(c), x[np.where(c)], np.argwhere(c)],
    lambda x, t, k: [x[k], x[k, 1], t[0][:, x[:, 0] > 0], t[:, t[0, :, 0] > 0, 1:], np.compress(k, x, 0)],
    lambda x, y, c: _masked_sets(x + 0, y, c),
    lambda x: [np.polyval([1, 2, 3], x), np.delete(x, [0, 2], 0), np.partition(x, 1)[:, 1]],
    lambda x: [np.lib.stride_tricks.sliding_window_view(x, (2, 2)), np.histogram(x, 4, (-2, 2))[0]],
    lambda x, i: [x.astype(np.result_type(x, i)), np.astype(x, np.float64), np.can_cast(x.dtype, "f8")],
]  # fmt: skip


def name_of(case: Callable[..., Any]) -> str:
    """Where a case stands, for the name of its test."""
    return f"{case.__code__.co_firstlineno}-{'-'.join(inspect.signature(case).parameters)}"


def arguments_of(case: Callable[..., Any]) -> tuple[np.ndarray, ...]:
    """The arrays that a case takes."""
    return tuple(ARRAYS[name] for name in inspect.signature(case).parameters)
