"""Products of vectors and matrices, and `numpy.linalg`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..array import tensor_of
from ..recorder import Recorder
from ..where import refused
from .calls import array_of, call, normalized_axes, xp
from .joining import common_type
from .reductions import finished
from .shaping import diagonal_view
from .table import implements


@implements("dot")
def dot(r: Recorder, a: Any, b: Any, out: Any = None) -> Any:
    x, y = array_of(r, a), array_of(r, b)
    if x.ndim == 0 or y.ndim == 0:
        result = xp.multiply(x, y)
    elif y.ndim <= 2 or x.ndim == 1 == y.ndim:
        result = xp.matmul(x, y)
    else:
        result = tensordot(r, x, y, ((-1,), (-2,)))
    return finished(result, out, "np.dot")


@implements("inner")
def inner(r: Recorder, a: Any, b: Any, /) -> Any:
    x, y = array_of(r, a), array_of(r, b)
    if x.ndim == 0 or y.ndim == 0:
        return xp.multiply(x, y)
    return tensordot(r, x, y, ((-1,), (-1,)))


@implements("outer", "linalg.outer")
def outer(r: Recorder, a: Any, b: Any, out: Any = None) -> Any:
    x, y = xp.ravel(array_of(r, a)), xp.ravel(array_of(r, b))
    return finished(x[:, None] * y, out, "np.outer")


@implements("vdot")
def vdot(r: Recorder, a: Any, b: Any, /) -> Any:
    return xp.matmul(xp.conj(xp.ravel(array_of(r, a))), xp.ravel(array_of(r, b)))


@implements("tensordot", "linalg.tensordot")
def tensordot(r: Recorder, a: Any, b: Any, axes: Any = 2) -> Any:
    x, y = array_of(r, a), array_of(r, b)
    if isinstance(axes, (int, np.integer)):
        mine = tuple(range(x.ndim - int(axes), x.ndim))
        its = tuple(range(int(axes)))
    else:
        mine, its = (normalized_axes(part, z.ndim) for part, z in zip(axes, (x, y), strict=True))
    for i, j in zip(mine, its, strict=True):
        r.sizes.require_equal(tensor_of(x).shape[i], tensor_of(y).shape[j], "np.tensordot")
    kept_x = [i for i in range(x.ndim) if i not in mine]
    kept_y = [j for j in range(y.ndim) if j not in its]
    shape = (*[x.shape[i] for i in kept_x], *[y.shape[j] for j in kept_y])
    count = 1
    for i in mine:
        count = count * x.shape[i]
    left = xp.reshape(xp.transpose(x, (*kept_x, *mine)), (_product(x, kept_x), count))
    right = xp.reshape(xp.transpose(y, (*its, *kept_y)), (count, _product(y, kept_y)))
    return xp.reshape(xp.matmul(left, right), shape)


def _product(x: Any, axes: Sequence[int]) -> Any:
    count = 1
    for axis in axes:
        count = count * x.shape[axis]
    return count


@implements("einsum")
def einsum(
    r: Recorder, *operands: Any, out: Any = None, optimize: Any = False, **others: Any
) -> Any:
    equation, given = operands[0], operands[1:]
    if not isinstance(equation, str):
        raise refused("np.einsum with lists of axes: write the subscripts as text")
    arrays = [array_of(r, x) for x in given]
    wanted = others.get("dtype") or common_type(arrays)
    arrays = [x.astype(wanted, copy=False) for x in arrays]
    equation = equation.replace(" ", "")
    if "->" not in equation:
        equation = f"{equation}->{_implicit(equation)}"
    _check_subscripts(r, equation, arrays)
    if len(arrays) == 1 and out is None and _selects(equation):
        return _selected(r, equation, arrays[0])
    result = call(r, "einsum.default", equation=equation, tensors=arrays)
    return finished(result, out, "np.einsum")


def _implicit(equation: str) -> str:
    """The subscripts of the result where none are given: those that occur once, in alphabetical order."""
    letters = sorted(c for c in set(equation) if c.isalpha() and equation.count(c) == 1)
    return ("..." if "..." in equation else "") + "".join(letters)


def _selects(equation: str) -> bool:
    """Whether nothing is summed: NumPy gives a view then."""
    term, _, result = equation.partition("->")
    return set(term) == set(result) and "." not in term


def _selected(r: Recorder, equation: str, x: Any) -> Any:
    """Diagonals and another order of axes, of one operand."""
    term, _, result = equation.partition("->")
    letters = list(term)
    for letter in dict.fromkeys(term):  # in one order on every run
        while letters.count(letter) > 1:
            first = letters.index(letter)
            second = letters.index(letter, first + 1)
            x = diagonal_view(r, x, 0, first, second, is_writable=True)
            letters = [c for i, c in enumerate(letters) if i not in (first, second)] + [letter]
    return xp.transpose(x, [letters.index(letter) for letter in result])


def _check_subscripts(r: Recorder, equation: str, arrays: Sequence[Any]) -> None:
    """One letter is one size."""
    sizes: dict[str, Any] = {}
    for term, x in zip(equation.partition("->")[0].split(","), arrays, strict=True):
        if "..." in term:
            continue
        for letter, size in zip(term, tensor_of(x).shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                r.sizes.require_equal(sizes[letter], size, f"np.einsum, subscript {letter}")


@implements("kron")
def kron(r: Recorder, a: Any, b: Any) -> Any:
    x, y = array_of(r, a), array_of(r, b)
    rank = max(x.ndim, y.ndim)
    x, y = (z[(None,) * (rank - z.ndim)] if z.ndim < rank else z for z in (x, y))
    left = x[tuple(part for _ in range(rank) for part in (slice(None), None))]
    right = y[tuple(part for _ in range(rank) for part in (None, slice(None)))]
    shape = tuple(m * n for m, n in zip(x.shape, y.shape, strict=True))
    return xp.reshape(left * right, shape) if rank else x * y


@implements("cross")
def cross(
    r: Recorder, a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None
) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    x = xp.moveaxis(array_of(r, a), axisa, -1)
    y = xp.moveaxis(array_of(r, b), axisb, -1)
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        raise refused("np.cross of vectors that have not three elements")
    (x0, x1, x2), (y0, y1, y2) = ([z[..., i] for i in range(3)] for z in (x, y))
    parts = [x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0]
    return xp.moveaxis(xp.stack(parts, -1), -1, axisc)


@implements("linalg.cross")
def linalg_cross(r: Recorder, x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return cross(r, x1, x2, axis=axis)


@implements("convolve")
def convolve(r: Recorder, a: Any, v: Any, mode: str = "full") -> Any:
    x, y = array_of(r, a), array_of(r, v)
    if r.sizes.less(tensor_of(x).shape[0], tensor_of(y).shape[0]):
        x, y = y, x
    return _slid(r, x, y[::-1], mode)


@implements("correlate")
def correlate(r: Recorder, a: Any, v: Any, mode: str = "valid") -> Any:
    x, y = array_of(r, a), array_of(r, v)
    if r.sizes.less(tensor_of(x).shape[0], tensor_of(y).shape[0]):
        return _slid(r, xp.conj(y), x, mode)[::-1]
    return _slid(r, x, xp.conj(y), mode)


def _slid(r: Recorder, x: Any, y: Any, mode: str) -> Any:
    """Products of `y` with the windows of `x`, which is as long at least."""
    count = y.shape[0]
    common = common_type([x, y])
    before = {"full": count - 1, "same": count // 2, "valid": 0}[mode]
    after = {"full": count - 1, "same": count - 1 - count // 2, "valid": 0}[mode]
    if mode == "same":
        before, after = count - 1 - (count - 1) // 2, (count - 1) // 2
    x = xp.pad(x.astype(common), (before, after)) if before or after else x.astype(common)
    windows = call(r, "unfold.default", self=x, dimension=0, size=count, step=1)
    return xp.matmul(windows, y.astype(common))


@implements("linalg.multi_dot")
def multi_dot(r: Recorder, arrays: Any, *, out: Any = None) -> Any:
    result, *rest = [array_of(r, x) for x in arrays]
    for each in rest:
        result = dot(r, result, each)
    return finished(result, out, "np.linalg.multi_dot")


@implements("linalg.matmul")
def matmul(r: Recorder, x1: Any, x2: Any, /) -> Any:
    return xp.matmul(x1, x2)


@implements("linalg.vecdot")
def vecdot(r: Recorder, x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    x, y = xp.moveaxis(array_of(r, x1), axis, -1), xp.moveaxis(array_of(r, x2), axis, -1)
    return xp.vecdot(x, y)


@implements("cov")
def cov(r: Recorder, m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None,
        fweights: Any = None, aweights: Any = None, *, dtype: Any = None) -> Any:  # fmt: skip
    if fweights is not None or aweights is not None:
        raise refused("np.cov with weights")
    x = xp.atleast_2d(array_of(r, m))
    if not rowvar and array_of(r, m).ndim != 1:
        x = x.T
    if y is not None:
        other = xp.atleast_2d(array_of(r, y))
        x = xp.concatenate([x, other.T if not rowvar and other.shape[0] != 1 else other])
    x = x.astype(dtype or np.result_type(x.dtype, np.float64))
    freedom = (0 if bias else 1) if ddof is None else ddof
    x = x - xp.mean(x, 1, keepdims=True)
    count = xp.maximum(array_of(r, x.shape[1]) - freedom, 0)
    product = xp.matmul(x, xp.conj(x.T)) / count.astype(np.float64)
    return xp.squeeze(product)


@implements("corrcoef")
def corrcoef(
    r: Recorder, x: Any, y: Any = None, rowvar: bool = True, *args: Any, **kwargs: Any
) -> Any:
    found = cov(r, x, y, rowvar)
    if found.ndim == 0:
        return found / found
    spread = xp.sqrt(xp.real(xp.diagonal(found)))
    result = found / spread[:, None] / spread[None, :]
    return xp.clip(result, -1, 1)


# ---- numpy.linalg


def _inexact(r: Recorder, a: Any) -> Any:
    """The type that numpy.linalg computes in: float64 for whole numbers; float16 is refused as there."""
    x = array_of(r, a)
    if x.dtype == np.float16:
        raise TypeError("array type float16 is unsupported in linalg")
    return x.astype(np.float64) if x.dtype.kind in "biu" else x


class SlogdetResult(NamedTuple):
    """As NumPy names it."""

    sign: Any
    logabsdet: Any


class EighResult(NamedTuple):
    """As NumPy names it."""

    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    """As NumPy names it."""

    Q: Any
    R: Any


class SVDResult(NamedTuple):
    """As NumPy names it."""

    U: Any
    S: Any
    Vh: Any


@implements("linalg.inv")
def inv(r: Recorder, a: Any) -> Any:
    return call(r, "linalg_inv.default", A=_inexact(r, a))


@implements("linalg.det")
def det(r: Recorder, a: Any) -> Any:
    return call(r, "linalg_det.default", A=_inexact(r, a))


@implements("linalg.slogdet")
def slogdet(r: Recorder, a: Any) -> Any:
    return SlogdetResult(*call(r, "linalg_slogdet.default", A=_inexact(r, a)))


@implements("linalg.solve")
def solve(r: Recorder, a: Any, b: Any) -> Any:
    x, y = _inexact(r, a), _inexact(r, b)
    common = common_type([x, y])
    x, y = x.astype(common), y.astype(common)
    if y.ndim == 1:
        return call(r, "linalg_solve.default", A=x, B=y[:, None])[..., 0]
    return call(r, "linalg_solve.default", A=x, B=y)


@implements("linalg.cholesky")
def cholesky(r: Recorder, a: Any, /, *, upper: bool = False) -> Any:
    return call(r, "linalg_cholesky.default", self=_inexact(r, a), upper=upper)


@implements("linalg.qr")
def qr(r: Recorder, a: Any, mode: str = "reduced") -> Any:
    if mode not in ("reduced", "complete", "r"):
        raise refused(f"np.linalg.qr with mode={mode!r}")
    q, upper = call(r, "linalg_qr.default", A=_inexact(r, a), mode=mode)
    return upper if mode == "r" else QRResult(q, upper)


@implements("linalg.svd")
def svd(
    r: Recorder,
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
) -> Any:
    x = _inexact(r, a)
    if not compute_uv:
        return call(r, "linalg_svdvals.default", A=x)
    return SVDResult(*call(r, "linalg_svd.default", A=x, full_matrices=full_matrices))


@implements("linalg.svdvals")
def svdvals(r: Recorder, x: Any, /) -> Any:
    return call(r, "linalg_svdvals.default", A=_inexact(r, x))


@implements("linalg.eigh")
def eigh(r: Recorder, a: Any, UPLO: str = "L") -> Any:  # noqa: N803  # NumPy's name
    return EighResult(*call(r, "linalg_eigh.default", self=_inexact(r, a), UPLO=UPLO))


@implements("linalg.eigvalsh")
def eigvalsh(r: Recorder, a: Any, UPLO: str = "L") -> Any:  # noqa: N803  # NumPy's name
    return call(r, "linalg_eigvalsh.default", self=_inexact(r, a), UPLO=UPLO)


@implements("linalg.pinv")
def pinv(
    r: Recorder, a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None
) -> Any:
    x = _inexact(r, a)
    limit = 1e-15 if rcond is None and rtol is None else rcond if rtol is None else rtol
    if not isinstance(limit, float):
        raise refused("np.linalg.pinv with a tolerance that is no number")
    return call(r, "linalg_pinv.atol_rtol_float", self=x, rtol=limit, hermitian=hermitian)


@implements("linalg.matrix_power")
def matrix_power(r: Recorder, a: Any, n: int) -> Any:
    x = array_of(r, a)
    if n < 0:
        x, n = inv(r, x), -n
    result = xp.broadcast_to(xp.eye(x.shape[-1], dtype=x.dtype, like=x), x.shape).copy()
    while n:
        result = xp.matmul(result, x) if n & 1 else result
        x, n = (xp.matmul(x, x) if n > 1 else x), n >> 1
    return result


@implements("linalg.norm")
def norm(r: Recorder, x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    given = array_of(r, x)
    given = given.astype(np.float64) if given.dtype.kind not in "fc" else given
    if axis is None and (
        ord is None or (ord in ("f", "fro") and given.ndim == 2) or (ord == 2 and given.ndim == 1)
    ):
        total = xp.sqrt(xp.sum(_squares(given)))
        return xp.reshape(total, (1,) * given.ndim) if keepdims else total
    axes = normalized_axes(axis, given.ndim)
    if len(axes) == 1:
        return _vector_norm(given, ord, axes[0], keepdims)
    if len(axes) != 2:
        raise ValueError("Improper number of dimensions to norm.")
    return _matrix_norm(r, given, ord, axes, keepdims)


def _squares(x: Any) -> Any:
    return x.real * x.real + x.imag * x.imag if x.dtype.kind == "c" else x * x


def _vector_norm(x: Any, order: Any, axis: Any, keepdims: bool) -> Any:
    size = xp.absolute(x)
    if order is None or order == 2:
        return xp.sqrt(xp.sum(_squares(x), axis, keepdims=keepdims))
    if order == np.inf:
        return xp.max(size, axis, keepdims=keepdims)
    if order == -np.inf:
        return xp.min(size, axis, keepdims=keepdims)
    if order == 0:
        return xp.sum((x != 0).astype(size.dtype), axis, keepdims=keepdims)
    if isinstance(order, str):
        raise ValueError(f"Invalid norm order '{order}' for vectors")
    if order == 1:
        return xp.sum(size, axis, keepdims=keepdims)
    return xp.sum(size**order, axis, keepdims=keepdims) ** (1.0 / order)


def _matrix_norm(r: Recorder, x: Any, order: Any, axes: Sequence[int], keepdims: bool) -> Any:
    row, column = axes
    if order in (None, "fro", "f"):
        return xp.sqrt(xp.sum(_squares(x), tuple(axes), keepdims=keepdims))
    size = xp.absolute(x)
    if order in (1, -1, np.inf, -np.inf):
        inner_axis, outer_axis = (row, column) if abs(order) == 1 else (column, row)
        sums = xp.sum(size, inner_axis, keepdims=True)
        result = (xp.max if order > 0 else xp.min)(sums, outer_axis, keepdims=True)
    else:
        values = svdvals(r, xp.moveaxis(x, (row, column), (-2, -1)))
        kinds: dict[Any, Any] = {2: xp.max, -2: xp.min, "nuc": xp.sum}
        if order not in kinds:
            raise ValueError("Invalid norm order for matrices.")
        result = xp.expand_dims(kinds[order](values, -1), tuple(sorted(axes)))
    return result if keepdims else xp.squeeze(result, tuple(axes))


@implements("linalg.vector_norm")
def vector_norm(
    r: Recorder, x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2
) -> Any:
    given = array_of(r, x)
    given = given.astype(np.float64) if given.dtype.kind not in "fc" else given
    axes = normalized_axes(axis, given.ndim)
    return _vector_norm(given, ord, tuple(axes), keepdims)


@implements("linalg.matrix_norm")
def matrix_norm(r: Recorder, x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return norm(r, x, ord, (-2, -1), keepdims)
