"""Dense linear algebra against NumPy and SciPy (LAPACK), signs and pivots included."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg as sl

from .clib import COMMON, compile_shared

DTYPES = {"f32": np.float32, "f64": np.float64, "c64": np.complex64, "c128": np.complex128}
REAL = {"f32": np.float32, "f64": np.float64, "c64": np.float32, "c128": np.float64}
COMPLEX = {"f32": np.complex64, "f64": np.complex128, "c64": np.complex64, "c128": np.complex128}
C_TYPES = {
    "f32": ("float", "float", "castoff_c64"),
    "f64": ("double", "double", "castoff_c128"),
    "c64": ("castoff_c64", "float", "castoff_c64"),
    "c128": ("castoff_c128", "double", "castoff_c128"),
}
SQUARE = (1, 2, 3, 5, 8, 17)
SHAPES = ((1, 1), (5, 3), (3, 5), (7, 7), (20, 4), (4, 20), (1, 6), (6, 1))
Call = Callable[..., int]


def _exports() -> str:
    """Every batched function of linalg.h under an exported name, read off the header."""
    text = (COMMON / "linalg_batched.h").read_text()
    lines = ['#include "linalg.h"']
    for suffix, types in C_TYPES.items():
        for result, name, parameters in re.findall(
            r"CASTOFF_LARGE (\w+) NAME\((\w+)\)\(([^{]*?)\) \{", text
        ):
            if name in ("lu_apply", "load_hermitian"):
                continue
            for letter, ctype in zip("TRC", types, strict=True):
                parameters = re.sub(rf"\b{letter}\b", ctype, parameters)
            names = ", ".join(re.findall(r"(\w+)(?:,|$)", parameters))
            declaration = f"{result} {name}_{suffix}({parameters})"
            body = f"castoff_{name}_{suffix}({names});"
            lines.append(
                f"{declaration}; {declaration} {{ {'return ' if result == 'int' else ''}{body} }}"
            )
    lines.append("int64_t scratch_bytes(int64_t m, int64_t n);")
    lines.append(
        "int64_t scratch_bytes(int64_t m, int64_t n) { return castoff_linalg_scratch_bytes(m, n); }"
    )
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """All of linalg.h; it stops at undefined behaviour."""
    flags = ("-O1", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    found = compile_shared(tmp_path_factory.mktemp("linalg"), "linalg", _exports(), *flags)
    found.scratch_bytes.restype = ctypes.c_int64
    return found


@pytest.fixture(params=DTYPES)
def suffix(request: pytest.FixtureRequest) -> str:
    """An element type."""
    return str(request.param)


@pytest.fixture
def call(library: ctypes.CDLL, suffix: str) -> Call:
    """call(name, (m, n) for the scratch, arguments…), which checks that the scratch suffices."""

    def run(name: str, extent: tuple[int, int], *arguments: np.ndarray | int) -> int:
        size = library.scratch_bytes(*(ctypes.c_int64(d) for d in extent))
        scratch = np.full(size + 64, 7, np.uint8)
        offset = -scratch.ctypes.data % 16
        passed = [
            ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_int64(a)
            for a in arguments
        ]
        status = getattr(library, f"{name}_{suffix}")(
            *passed, ctypes.c_void_p(scratch.ctypes.data + offset)
        )
        assert (scratch[size + offset :] == 7).all(), "wrote past its scratch"
        return int(status)

    return run


def _random(suffix: str, *shape: int) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    x = rng.normal(size=shape) + (1j * rng.normal(size=shape) if suffix[0] == "c" else 0)
    return np.ascontiguousarray(x.astype(DTYPES[suffix]))


def _adjoint(x: np.ndarray) -> np.ndarray:
    return np.conj(np.swapaxes(x, -1, -2))


def _close(got: np.ndarray, want: np.ndarray, suffix: str, factor: float = 1) -> None:
    tolerance = (2e-5 if suffix in ("f32", "c64") else 1e-11) * factor
    assert np.abs(got - want).max(initial=0) <= tolerance * max(1, np.abs(want).max(initial=0))


@pytest.mark.parametrize(("m", "n"), [(n, n) for n in SQUARE] + [*SHAPES[1:]])
def test_lu_has_lapacks_pivots(call: Call, suffix: str, m: int, n: int) -> None:
    a = _random(suffix, 2, m, n)
    lu, pivots, info = np.empty_like(a), np.empty((2, min(m, n)), np.int32), np.empty(2, np.int32)
    assert call("lu_factor", (m, n), lu, pivots, info, a, 2, m, n, 1) == 0
    for k in range(2):
        want, rows, _ = sl.lapack.get_lapack_funcs("getrf", (a[k],))(a[k])
        assert list(pivots[k]) == [row + 1 for row in rows]
        _close(lu[k], want, suffix, 30)


@pytest.mark.parametrize("n", SQUARE)
def test_solutions_inverses_and_determinants(call: Call, suffix: str, n: int) -> None:
    a, b, right = _random(suffix, 2, n, n), _random(suffix, 2, n, 4), _random(suffix, 2, 4, n)
    extent = (n, max(n, 4))
    lu, pivots, info = np.empty_like(a), np.empty((2, n), np.int32), np.empty(2, np.int32)
    x, y, inverse = np.empty_like(b), np.empty_like(right), np.empty_like(a)
    assert call("solve", extent, x, lu, pivots, info, a, b, 2, n, 4, 1, 1) == 0
    _close(x, np.linalg.solve(a, b), suffix, 300)
    assert call("solve", extent, y, lu, pivots, info, a, right, 2, n, 4, 0, 1) == 0
    _close(y @ a, right, suffix, 300)
    for adjoint in (0, 1):
        operand = _adjoint(a) if adjoint else a
        call("lu_solve", extent, x, lu, pivots, b, 2, n, 4, 1, adjoint)
        _close(operand @ x, b, suffix, 300)
        call("lu_solve", extent, y, lu, pivots, right, 2, n, 4, 0, adjoint)
        _close(y @ operand, right, suffix, 300)
    assert call("inverse", extent, inverse, info, a, 2, n, 1) == 0
    _close(inverse @ a, np.eye(n), suffix, 300)
    det, sign, logabsdet = (
        np.empty(2, DTYPES[suffix]),
        np.empty(2, DTYPES[suffix]),
        np.empty(2, REAL[suffix]),
    )
    call("det", extent, det, a, 2, n)
    _close(det, np.linalg.det(a), suffix, 30)
    call("slogdet", extent, sign, logabsdet, a, 2, n)
    want = np.linalg.slogdet(a)
    _close(sign, want[0], suffix, 30)
    _close(logabsdet, want[1], suffix, 30)


def test_a_singular_matrix_is_reported_and_has_determinant_zero(call: Call, suffix: str) -> None:
    a = np.ones((1, 3, 3), DTYPES[suffix])
    out, info, det = np.empty_like(a), np.empty(1, np.int32), np.empty(1, DTYPES[suffix])
    assert call("inverse", (3, 3), out, info, a, 1, 3, 1) == 1 and info[0] == 2
    assert call("inverse", (3, 3), out, info, a, 1, 3, 0) == 0
    call("det", (3, 3), det, a, 1, 3)
    logabsdet = np.empty(1, REAL[suffix])
    call("slogdet", (3, 3), out, logabsdet, a, 1, 3)
    assert det[0] == 0 and logabsdet[0] == -np.inf and out.flat[0] == 0


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("n", SQUARE)
def test_hermitian_matrices_factor_and_diagonalise_from_one_triangle(
    call: Call, suffix: str, n: int, upper: int
) -> None:
    a, b = _random(suffix, 2, n, n), _random(suffix, 2, n, 4)
    matrix = (a @ _adjoint(a) + np.eye(n)).astype(DTYPES[suffix])
    stored = matrix.copy()
    stored[:, ~(np.triu(np.ones((n, n), bool)) if upper else np.tril(np.ones((n, n), bool)))] = 99
    factor, info = np.empty_like(a), np.empty(2, np.int32)
    extent = (n, max(n, 4))
    assert call("cholesky", extent, factor, info, stored, 2, n, upper, 1) == 0
    want = np.linalg.cholesky(matrix)
    _close(factor, _adjoint(want) if upper else want, suffix, 5)
    x, inverse = np.empty_like(b), np.empty_like(a)
    call("cholesky_solve", extent, x, b, factor, 2, n, 4, upper)
    _close(matrix @ x, b, suffix, 100)
    call("cholesky_inverse", extent, inverse, factor, 2, n, upper)
    _close(matrix @ inverse, np.eye(n), suffix, 100)
    values, vectors = np.empty((2, n), REAL[suffix]), np.empty_like(a)
    call("eigh", extent, values, vectors, stored, 2, n, upper)
    _close(values, np.linalg.eigvalsh(matrix), suffix, 3)
    _close(vectors * values[:, None] @ _adjoint(vectors), matrix, suffix, 3)
    call("eigvalsh", extent, values, stored, 2, n, upper)
    _close(values, np.linalg.eigvalsh(matrix), suffix, 3)
    assert (
        call("cholesky", extent, factor, info, -matrix, 2, n, upper, 1) == 1 and (info == 1).all()
    )


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("transpose", [0, 1, 2])
@pytest.mark.parametrize("unit", [0, 1])
def test_triangular_systems_in_all_their_forms(
    call: Call, suffix: str, upper: int, transpose: int, unit: int
) -> None:
    n = 9
    a, b, right = _random(suffix, 2, n, n) / 4, _random(suffix, 2, n, 4), _random(suffix, 2, 4, n)
    a += 3 * np.eye(n, dtype=DTYPES[suffix])
    triangle = np.triu(a) if upper else np.tril(a)
    if unit:
        triangle[:, range(n), range(n)] = 1
    operand = (triangle, np.swapaxes(triangle, 1, 2), _adjoint(triangle))[transpose]
    x, y = np.empty_like(b), np.empty_like(right)
    call("triangular_solve", (n, n), x, a, b, 2, n, 4, upper, transpose, unit, 1)
    _close(operand @ x, b, suffix, 50)
    call("triangular_solve", (n, n), y, a, right, 2, n, 4, upper, transpose, unit, 0)
    _close(y @ operand, right, suffix, 50)


@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_qr_has_lapacks_signs(call: Call, suffix: str, m: int, n: int) -> None:
    a, k = _random(suffix, 2, m, n), min(m, n)
    raw, tau = np.empty_like(a), np.empty((2, k), DTYPES[suffix])
    call("geqrf", (m, n), raw, tau, a, 2, m, n)
    for columns in (k, m):
        q, r = np.empty((2, m, columns), DTYPES[suffix]), np.empty((2, columns, n), DTYPES[suffix])
        call("qr", (m, max(m, n)), q, r, a, 2, m, n, columns, columns)
        _close(q @ r, a, suffix, 3)
        _close(_adjoint(q) @ q, np.eye(columns), suffix, 3)
        for i in range(2):
            want_q, want_r = np.linalg.qr(a[i])
            _close(r[i, :k], want_r, suffix, 3)
            _close(q[i, :, :k], want_q, suffix, 3)
            (want_raw, want_tau), _ = sl.qr(a[i], mode="raw")
            _close(raw[i], want_raw, suffix, 3)
            _close(tau[i], want_tau, suffix, 3)
    if m < n:
        return
    q = np.empty_like(a)
    call("householder_product", (m, n), q, raw, tau, 2, m, n, k)
    _close(q, np.stack([np.linalg.qr(x)[0] for x in a]), suffix, 3)
    full, r = np.empty((2, m, m), DTYPES[suffix]), np.empty((2, m, n), DTYPES[suffix])
    call("qr", (m, m), full, r, a, 2, m, n, m, m)
    for left, adjoint in ((0, 0), (0, 1), (1, 0), (1, 1)):
        c = _random(suffix, 2, m, 4) if left else _random(suffix, 2, 4, m)
        out = np.empty_like(c)
        call("ormqr", (m, max(m, 4)), out, raw, tau, c, 2, c.shape[1], c.shape[2], k, left, adjoint)
        operand = _adjoint(full) if adjoint else full
        _close(out, operand @ c if left else c @ operand, suffix, 5)


@pytest.mark.parametrize("n", SQUARE)
def test_eigenvectors_of_general_matrices(call: Call, suffix: str, n: int) -> None:
    a = _random(suffix, 2, n, n)
    values, vectors = np.empty((2, n), COMPLEX[suffix]), np.empty((2, n, n), COMPLEX[suffix])
    call("eig", (n, n), values, vectors, a, 2, n)
    _close(a @ vectors, vectors * values[:, None], suffix, 10)
    _close(np.linalg.norm(vectors, axis=1), np.ones((2, n)), suffix, 3)
    again = np.empty_like(values)
    call("eigvals", (n, n), again, a, 2, n)
    _close(again, values, suffix, 10)
    if suffix == "f64":
        _close(values, np.linalg.eigvals(a), suffix, 100)  # in LAPACK's order
        assert np.array_equal(np.sort_complex(values), np.sort_complex(np.conj(values)))


def test_eigenvalues_of_a_defective_and_of_a_zero_matrix(call: Call, suffix: str) -> None:
    a = np.zeros((2, 4, 4), DTYPES[suffix])
    a[0] += np.eye(4, k=1, dtype=DTYPES[suffix]) + 2 * np.eye(4, dtype=DTYPES[suffix])
    values, vectors = np.empty((2, 4), COMPLEX[suffix]), np.empty((2, 4, 4), COMPLEX[suffix])
    call("eig", (4, 4), values, vectors, a, 2, 4)
    assert np.array_equal(values, [[2] * 4, [0] * 4]) and np.isfinite(vectors).all()


@pytest.mark.parametrize(("m", "n"), SHAPES)
@pytest.mark.parametrize("is_full", [0, 1])
def test_singular_values_and_vectors(call: Call, suffix: str, m: int, n: int, is_full: int) -> None:
    k = min(m, n)
    regular, low_rank = _random(suffix, 2, m, n), np.zeros((2, m, n), DTYPES[suffix])
    low_rank[:, 0] = 3
    extent = (max(m, n), max(m, n)) if is_full else (m, n)
    for a in (regular, low_rank, np.zeros_like(low_rank)):
        u, vh = (
            np.empty((2, m, m if is_full else k), DTYPES[suffix]),
            np.empty((2, n if is_full else k, n), DTYPES[suffix]),
        )
        s = np.empty((2, k), REAL[suffix])
        call("svd", extent, u, s, vh, a, 2, m, n, is_full)
        _close(s, np.linalg.svd(a, compute_uv=False), suffix, 5)
        _close(u[:, :, :k] * s[:, None] @ vh[:, :k], a, suffix, 5)
        _close(_adjoint(u) @ u, np.eye(u.shape[2]), suffix, 5)
        _close(vh @ _adjoint(vh), np.eye(vh.shape[1]), suffix, 5)
        alone = np.empty_like(s)
        call("svdvals", (m, n), alone, a, 2, m, n)
        _close(alone, s, suffix)


@pytest.mark.parametrize("n", SQUARE)
@pytest.mark.parametrize("norm", [0.01, 1, 4, 30])
def test_matrix_exponential_is_scipys(call: Call, suffix: str, n: int, norm: float) -> None:
    a = _random(suffix, 2, n, n)
    a = (a * (norm / np.abs(a).sum(axis=1).max())).astype(DTYPES[suffix])
    out = np.empty_like(a)
    call("matrix_exp", (n, n), out, a, 2, n)
    _close(out, sl.expm(a.astype(COMPLEX["f64"])), suffix, 10)
