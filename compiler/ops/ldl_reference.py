"""L D L^T of symmetric or hermitian matrices by diagonal pivoting in NumPy, step by step.

J. R. Bunch, L. Kaufman, "Some stable methods for calculating inertia and solving symmetric linear
systems", 1977, with what LAPACK's sytf2 and hetf2 store: the lower triangle of L below the blocks
of D, and row swaps; negative ones mark blocks of two rows.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
_THRESHOLD = (1 + 17**0.5) / 8


def _sizes(x: Array) -> Array:
    result: Array = np.abs(x.real) + np.abs(x.imag)
    return result


def _pivot(a: Array, k: int) -> tuple[int, int]:
    """The row to bring to the front, and how many rows the next block of D has."""
    count = a.shape[0]
    here = float(_sizes(a[k, k]))
    column = _sizes(a[k + 1 :, k])
    largest = float(column.max(initial=0.0))
    if here >= _THRESHOLD * largest:
        return k, 1
    row = k + 1 + int(np.argmax(column))
    others = np.concatenate([_sizes(a[row, k:row]), _sizes(a[row + 1 : count, row])])
    beside = float(others.max(initial=0.0))
    if here >= _THRESHOLD * largest * (largest / beside):
        return k, 1
    return row, 1 if _sizes(a[row, row]) >= _THRESHOLD * beside else 2


def _swap(a: Array, first: int, second: int, hermitian: bool) -> None:
    """Rows and columns `first` < `second` of the lower triangle, from `first` on, exchanged."""
    below = slice(second + 1, None)
    a[below, [first, second]] = a[below, [second, first]]
    between = slice(first + 1, second)
    left, right = a[between, first].copy(), a[second, between].copy()
    a[between, first] = right.conj() if hermitian else right
    a[second, between] = left.conj() if hermitian else left
    if hermitian:
        a[second, first] = a[second, first].conj()
    a[[first, second], [first, second]] = a[[second, first], [second, first]]


def factor(matrix: Array, hermitian: bool) -> tuple[Array, Array, Array]:
    """Packed factors, row swaps (1-based), and the first zero pivot or 0."""
    a: Array = np.tril(matrix)
    count = a.shape[0]
    pivots = np.zeros(count, np.int32)
    info, k = 0, 0
    if hermitian:
        np.fill_diagonal(a, np.diagonal(a).real)
    while k < count:
        if max(_sizes(a[k, k]), _sizes(a[k + 1 :, k]).max(initial=0.0)) == 0:
            info = info or k + 1
            pivots[k] = k + 1
            k += 1
            continue
        chosen, step = _pivot(a, k)
        last = k + step - 1
        if chosen != last:
            _swap(a, last, chosen, hermitian)
            if step == 2:
                a[[last, chosen], k] = a[[chosen, last], k]
        pivots[k : k + step] = chosen + 1 if step == 1 else -(chosen + 1)
        rest = slice(k + step, count)
        block = a[k : k + step, k : k + step]
        if step == 2:
            corner = block[1, 0].conj() if hermitian else block[1, 0]
            block = np.array([[block[0, 0], corner], [block[1, 0], block[1, 1]]])
        columns = a[rest, k : k + step].copy()
        lower = columns @ np.linalg.inv(block)
        a[rest, rest] -= np.tril(lower @ (columns.conj().T if hermitian else columns.T))
        a[rest, k : k + step] = lower
        k += step
    return a, pivots, np.array(info, np.int32)


def _divided(block: Array, x: Array) -> Array:
    """The inverse of a block of one or two rows times x."""
    (p, q), (r, s) = block if len(block) == 2 else ((block[0, 0], 0), (0, 1))
    second = x[-1] if len(block) == 2 else np.zeros_like(x[0])
    rows = [s * x[0] - q * second, p * second - r * x[0]]
    result: Array = np.stack(rows[: len(block)]) / (p * s - q * r)
    return result


def solve(packed: Array, pivots: Array, b: Array, hermitian: bool) -> Array:
    """X with A X = B, from the packed factors of A."""
    x: Array = b.copy()
    count = packed.shape[0]
    blocks: list[tuple[int, int]] = []
    k = 0
    while k < count:
        step = 1 if pivots[k] > 0 else 2
        blocks.append((k, step))
        last, chosen = k + step - 1, abs(int(pivots[k])) - 1
        x[[last, chosen]] = x[[chosen, last]]
        rest = slice(k + step, count)
        x[rest] -= packed[rest, k : k + step] @ x[k : k + step]
        block = packed[k : k + step, k : k + step].copy()
        if step == 2:
            block[0, 1] = block[1, 0].conj() if hermitian else block[1, 0]
        with np.errstate(all="ignore"):
            x[k : k + step] = _divided(block, x[k : k + step])
        k += step
    for k, step in reversed(blocks):
        rest = slice(k + step, count)
        lower = packed[rest, k : k + step]
        x[k : k + step] -= (lower.conj().T if hermitian else lower.T) @ x[rest]
        last, chosen = k + step - 1, abs(int(pivots[k])) - 1
        x[[last, chosen]] = x[[chosen, last]]
    return x
