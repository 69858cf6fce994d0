"""Dense linear algebra on batches of matrices in NumPy, step by step: the oracle of `linalg_*`.

Everything is computed in double precision; callers round once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Array = np.ndarray


def wide(x: Array) -> Array:
    """In double precision."""
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


def each_matrix(function: Callable[..., tuple[Array, ...]], *inputs: Array) -> list[Array]:
    """The function's results for every matrix of a batch, stacked; inputs have one batch shape."""
    batch = inputs[0].shape[:-2]
    count = math.prod(batch)
    flat = [x.reshape((count, *x.shape[len(batch) :])) for x in inputs]
    if count == 0:
        samples = function(*(np.zeros(x.shape[1:], x.dtype) for x in flat))
        return [np.zeros((*batch, *sample.shape), sample.dtype) for sample in samples]
    results = [function(*items) for items in zip(*flat, strict=True)]
    return [np.stack(part).reshape((*batch, *part[0].shape)) for part in zip(*results, strict=True)]


def lu_factor(a: Array) -> tuple[Array, Array, Array]:
    """LU with partial pivoting in one matrix, 1-based pivots, and the first zero pivot or 0."""
    lu = a.copy()
    rows, columns = lu.shape
    steps = min(rows, columns)
    pivots = np.arange(1, steps + 1, dtype=np.int32)
    info = 0
    for k in range(steps):
        sizes = np.abs(lu[k:, k].real) + np.abs(lu[k:, k].imag)
        chosen = k + int(np.argmax(sizes))
        pivots[k] = chosen + 1
        if lu[chosen, k] == 0:
            info = info or k + 1
            continue
        lu[[k, chosen]] = lu[[chosen, k]]
        lu[k + 1 :, k] /= lu[k, k]
        lu[k + 1 :, k + 1 :] -= np.outer(lu[k + 1 :, k], lu[k, k + 1 :])
    return lu, pivots, np.array(info, np.int32)


def permutation(pivots: Array, size: int) -> Array:
    """The row order that swaps row k with row pivots[k] - 1, one after the other, lead to."""
    order = np.arange(size)
    for k, pivot in enumerate(pivots):
        order[[k, pivot - 1]] = order[[pivot - 1, k]]
    return order


def substitute(a: Array, b: Array, upper: bool, unit: bool) -> Array:
    """X with A X = B for a triangle of A."""
    x: Array = b.copy()
    count = a.shape[0]
    for k in range(count - 1, -1, -1) if upper else range(count):
        if not unit:
            x[k] = x[k] / a[k, k]
        others = slice(0, k) if upper else slice(k + 1, count)
        x[others] -= np.outer(a[others, k], x[k])
    return x


def lu_solve(lu: Array, pivots: Array, b: Array, adjoint: bool) -> Array:
    """X with A X = B (or A^H X = B), from the factors of A."""
    order = permutation(pivots, lu.shape[0])
    if not adjoint:
        return substitute(lu, substitute(lu, b[order], False, True), True, False)
    factors = lu.conj().T
    x = substitute(factors, substitute(factors, b, False, False), True, True)
    result = np.empty_like(x)
    result[order] = x
    return result


def cholesky(a: Array) -> tuple[Array, Array]:
    """Lower L with A = L L^H from the lower triangle, and the first order that is not positive."""
    l = np.tril(a)
    for k in range(a.shape[0]):
        pivot = l[k, k].real - np.sum(np.abs(l[k, :k]) ** 2)
        if not pivot > 0:
            return l, np.array(k + 1, np.int32)
        l[k, k] = np.sqrt(pivot)
        l[k + 1 :, k] -= l[k + 1 :, :k] @ l[k, :k].conj()
        l[k + 1 :, k] /= l[k, k]
    return l, np.array(0, np.int32)


def householder_product(a: Array, tau: Array) -> Array:
    """The first columns of the product of the reflectors below the diagonal of A."""
    rows, columns = a.shape
    q = np.eye(rows, columns, dtype=a.dtype)
    for k in range(tau.shape[0] - 1, -1, -1):
        v = a[:, k].copy()
        v[:k] = 0
        v[k] = 1
        q -= tau[k] * np.outer(v, v.conj() @ q)
    return q


def matrix_exp(a: Array) -> Array:
    """exp(A) by scaling, a Taylor polynomial, and squaring."""
    norm = float(np.abs(a).sum(axis=0).max(initial=0.0))
    if not np.isfinite(norm):
        return np.full_like(a, np.nan)
    squarings = max(0, int(np.ceil(np.log2(norm))) + 2) if norm > 0 else 0
    scaled = a / 2.0**squarings
    total: Array = np.eye(a.shape[0], dtype=a.dtype)
    term = total
    for k in range(1, 20):
        term = term @ scaled / k
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return total
