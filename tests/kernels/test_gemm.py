"""Matrix product kernels against NumPy in float64."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from itertools import product

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from castoff.compiler.lowering.packing import (
    bf16_size,
    pack_pair_panels,
    pack_panels,
    panels_size,
)  # fmt: skip

Array = NDArray[np.generic]


class Axis(Structure):
    _fields_ = [(name, c_int64) for name in ("size", "a", "b", "c")]


class Args(Structure):
    _fields_ = [
        ("m", c_int64),
        ("n", c_int64),
        ("k", c_int64),
        ("a", c_void_p),
        ("a_row", c_int64),
        ("a_col", c_int64),
        ("b", c_void_p),
        ("b_row", c_int64),
        ("b_col", c_int64),
        ("b_packed", c_void_p),
        ("batch_rank", c_int32),
        ("batch_axes", POINTER(Axis)),
        ("c", c_void_p),
        ("c_row", c_int64),
        ("bias_row", c_void_p),
        ("bias_col", c_void_p),
        ("relu", c_int32),
        ("epilogue", c_void_p),
        ("epilogue_context", c_void_p),
        ("last", c_int32 * 3),  # a_from and b_from of bf16; the cut of the others
    ]


class Output(Structure):
    _fields_ = [("out", c_void_p), ("rows", c_int64), ("cols", c_int64)]


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    storage: type
    output: type
    tolerance: float


KINDS = {
    "f32": Kind("f32", np.float32, np.float32, 2e-6),
    "f64": Kind("f64", np.float64, np.float64, 4e-15),
    "bf16": Kind("bf16", ml_dtypes.bfloat16, np.float32, 2e-6),
    "f16": Kind("f16", np.float16, np.float32, 2e-6),
}
GUARD = 64


def aligned(count: int, dtype: type) -> Array:
    size = count * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype)


def multiply(
    kernels: ctypes.CDLL,
    kind: Kind,
    a: Array,
    b: Array,
    *,
    packed: bool = False,
    threads: int = 1,
    bias_row: Array | None = None,
    bias_col: Array | None = None,
    relu: bool = False,
    epilogue: bool = False,
    cut: tuple[int, int, int] = (0, 0, 0),
    form: str = "gemm",
) -> Array:
    """a @ b by the kernel; operands are [batch..., rows, cols] views with any strides."""
    *batch, m, k = a.shape
    n = b.shape[-1]
    count = int(np.prod(batch, dtype=int))
    a_strides = [s // a.itemsize for s in a.strides]
    b_strides = [s // b.itemsize for s in b.strides]
    out = aligned(count * m * n + GUARD, kind.output)
    out[:] = 77
    args = Args(m=m, n=n, k=k, a=a.ctypes.data, a_row=a_strides[-2], a_col=a_strides[-1], c_row=n)
    panels = pack_pair_panels(b) if kind.name == "bf16" else pack_panels(b)
    b_batch = b_strides[:-2]
    if packed:
        storage = aligned(panels.size, kind.storage)
        storage[:] = panels.ravel()
        args.b_packed = storage.ctypes.data
        b_batch = [s // panels.itemsize for s in panels.strides[: len(batch)]]
        size = bf16_size(n, k) if kind.name == "bf16" else panels_size(k, n)
        assert panels.size == int(np.prod(b.shape[:-2], dtype=int)) * size
    else:
        args.b, args.b_row, args.b_col = b.ctypes.data, *b_strides[-2:]
    c_batch = [int(np.prod(batch[i + 1 :], dtype=int)) * m * n for i in range(len(batch))]
    axes = (Axis * max(len(batch), 1))(
        *(Axis(*row) for row in zip(batch, a_strides[:-2], b_batch, c_batch, strict=True))
    )
    args.batch_rank, args.batch_axes = len(batch), axes
    if bias_row is not None:
        args.bias_row = bias_row.ctypes.data
    if bias_col is not None:
        args.bias_col = bias_col.ctypes.data
    args.relu = int(relu)
    if kind.name == "bf16":
        args.last = (c_int32 * 3)(a.dtype == np.float32, b.dtype == np.float32, 0)
    else:
        args.last = (c_int32 * 3)(*cut)
    where = Output(out.ctypes.data, m, n)
    if epilogue:
        function = getattr(kernels, f"test_epilogue_{'f64' if kind.name == 'f64' else 'f32'}")
        args.epilogue = ctypes.cast(function, c_void_p).value
        args.epilogue_context = ctypes.addressof(where)
    else:
        args.c = out.ctypes.data
    scratch_size = getattr(kernels, f"test_{form}_{kind.name}_scratch")
    scratch_size.restype = c_int64
    more: tuple[int, ...] = ()
    if any(cut):
        scratch_size, more = kernels.test_gemm_f32_scratch_cut, cut
        scratch_size.restype = c_int64
    size = scratch_size(*map(c_int64, (count, m, n, k)), int(packed), threads, *more)
    scratch = aligned(size + GUARD, np.uint8)
    scratch[:] = 0xFF
    getattr(kernels, f"test_{form}_{kind.name}")(
        byref(args), threads, c_void_p(scratch.ctypes.data)
    )
    assert (scratch[size:] == 0xFF).all(), "wrote past the scratch memory"
    assert (out[count * m * n :] == 77).all(), "wrote past the output"
    return out[: count * m * n].reshape(*batch, m, n)


def random(shape: tuple[int, ...], dtype: type, seed: int = 0) -> Array:
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(dtype)


def check(
    kind: Kind, got: Array, a: Array, b: Array, extra: Array | float = 0.0, relu: bool = False
) -> None:
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    want = wide_a @ wide_b + extra
    bound = np.abs(wide_a) @ np.abs(wide_b) + np.abs(extra) + 1e-30
    if relu:
        want = np.maximum(want, 0)
    assert (np.abs(got - want) / bound).max(initial=0) < kind.tolerance * max(
        1, a.shape[-1] ** 0.5 / 8
    )


SHAPES = [
    *product((1, 2, 3, 5, 6, 7, 14, 15, 29), (1, 7, 16, 17, 31, 33, 64, 100, 129), (1, 3, 40)),
    (1, 300, 200),
    (100, 129, 300),
    (97, 1, 65),
    (64, 256, 0),
    (20, 40, 4500),
    (6, 40, 4500),
]


@pytest.mark.parametrize("name", KINDS)
def test_product_of_a_packed_constant(kernels: ctypes.CDLL, name: str) -> None:
    kind = KINDS[name]
    for m, n, k in SHAPES:
        a, b = random((m, k), kind.storage), random((k, n), kind.storage, 1)
        check(kind, multiply(kernels, kind, a, b, packed=True), a, b)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("layout", ["rows", "columns", "strided"])
def test_product_of_runtime_operands_in_any_layout(
    kernels: ctypes.CDLL, name: str, layout: str
) -> None:
    kind = KINDS[name]
    for m, n, k in SHAPES:
        if layout == "rows":
            a, b = random((m, k), kind.storage), random((k, n), kind.storage, 1)
        elif layout == "columns":
            a, b = random((k, m), kind.storage).T, random((n, k), kind.storage, 1).T
        else:
            a, b = (
                random((m, 3 * k), kind.storage)[:, ::3],
                random((n, 2 * k), kind.storage, 1).T[::-2],
            )
            a = a[::-1] if m > 1 else a
        check(kind, multiply(kernels, kind, a, b), a, b)


@pytest.mark.parametrize("mixed", [False, True], ids=["natural", "transposed-b"])
@pytest.mark.parametrize("k", [1024, 100])
def test_rows_with_aliasing_strides(kernels: ctypes.CDLL, k: int, mixed: bool) -> None:
    kind = KINDS["f32"]
    a, b = random((50, 1024), np.float32)[:, :k], random((k, 200), np.float32, 1)
    if mixed:
        b = random((200, k), np.float32, 1).T
    check(kind, multiply(kernels, kind, a, b), a, b)


@pytest.mark.parametrize("packed", [False, True], ids=["runtime", "packed"])
@pytest.mark.parametrize("shape", [(13, 50, 20), (1, 40, 33), (40, 17, 4100)])
@pytest.mark.parametrize("name", ["f32", "bf16"])
def test_bias_relu_and_epilogue(
    kernels: ctypes.CDLL, name: str, shape: tuple[int, int, int], packed: bool
) -> None:
    m, n, k = shape
    kind = KINDS[name]
    a, b = random((m, k), kind.storage), random((k, n), kind.storage, 1)
    rows, cols = random((m,), np.float32, 2), random((n,), np.float32, 3)
    got = multiply(kernels, kind, a, b, packed=packed, bias_col=cols, relu=True)
    check(kind, got, a, b, cols.astype(np.float64), relu=True)
    got = multiply(kernels, kind, a, b, packed=packed, bias_row=rows)
    check(kind, got, a, b, rows.astype(np.float64)[:, None])
    got = multiply(kernels, kind, a, b, packed=packed, epilogue=True)
    check(kind, (got - 1) / 2, a, b, 1.0 * 0)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("packed", [False, True], ids=["runtime", "packed"])
def test_batches_with_two_axes_and_broadcast_operands(
    kernels: ctypes.CDLL, name: str, packed: bool
) -> None:
    kind = KINDS[name]
    for m, n, k in [(9, 35, 20), (1, 64, 32), (30, 8, 16)]:
        a = np.swapaxes(random((2, m, 3, k), kind.storage), 1, 2)
        b = random((2, 1, k, n), kind.storage, 1)
        spread = np.broadcast_to(b, (2, 3, k, n))
        if packed:
            spread = np.broadcast_to(b[:1, :1], (2, 3, k, n)).copy()
        for threads in (1, 3, 16):
            check(
                kind, multiply(kernels, kind, a, spread, packed=packed, threads=threads), a, spread
            )


@pytest.mark.parametrize("packed", [False, True], ids=["runtime", "packed"])
@pytest.mark.parametrize(
    "shape",
    [(128, 768, 96), (1, 1000, 300), (70, 40, 5000), (300, 5, 64), (5, 2000, 64), (15, 15, 15)],
)
@pytest.mark.parametrize("name", ["f32", "bf16"])
def test_same_bits_for_any_number_of_threads(
    kernels: ctypes.CDLL, name: str, shape: tuple[int, int, int], packed: bool
) -> None:
    m, n, k = shape
    kind = KINDS[name]
    a, b = random((m, k), kind.storage), random((n, k), kind.storage, 1).T
    alone = multiply(kernels, kind, a, b, packed=packed)
    check(kind, alone, a, b)
    for threads in (2, 3, 7, 32):
        many = multiply(kernels, kind, a, b, packed=packed, threads=threads)
        assert many.tobytes() == alone.tobytes()


CUTS = [
    *((rows, 0, 0) for rows in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14)),
    (0, 1, 0), (0, 7, 0), (0, 500, 0), (0, 0, 1), (0, 0, 17), (0, 0, 64), (5, 24, 33), (14, 16, 100),
]  # fmt: skip


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_products_may_be_cut_in_any_way(kernels: ctypes.CDLL, cut: tuple[int, int, int]) -> None:
    kind = KINDS["f32"]
    for m, n, k in [(1, 40, 70), (9, 33, 65), (30, 129, 100), (50, 300, 130)]:
        a, b = random((m, k), kind.storage), random((k, n), kind.storage, 1)
        row, column = random((m,), kind.output, 2), random((n,), kind.output, 3)
        for packed in (True, False):
            alone = multiply(kernels, kind, a, b, packed=packed, cut=cut)
            check(kind, alone, a, b)
            many = multiply(kernels, kind, a, b, packed=packed, cut=cut, threads=3)
            assert many.tobytes() == alone.tobytes()
        by_row = multiply(kernels, kind, a, b, packed=True, cut=cut, bias_row=row, relu=True)
        check(kind, by_row, a, b, row[:, None], relu=True)
        by_column = multiply(kernels, kind, a, b, packed=True, cut=cut, bias_col=column)
        check(kind, by_column, a, b, column)
        finished = multiply(kernels, kind, a, b, packed=True, cut=cut, epilogue=True)
        check(kind, (finished - 1) / 2, a, b)


@pytest.mark.parametrize("name", ["f32", "f64", "f16"])
def test_products_of_one_row(kernels: ctypes.CDLL, name: str) -> None:
    kind = KINDS[name]
    for n, k in product((1, 7, 16, 17, 33, 64, 100, 128, 129, 300), (0, 40, 5000)):
        a, b = random((1, 3 * k), kind.storage)[:, ::-3], random((k, n), kind.storage, 1)
        row, column = random((1,), kind.output, 2), random((n,), kind.output, 3)
        for threads in (1, 3):
            given = {"packed": True, "threads": threads, "form": "gemm_row"}
            check(kind, multiply(kernels, kind, a, b, **given), a, b)
            got = multiply(kernels, kind, a, b, **given, bias_col=column, relu=True)
            check(kind, got, a, b, column, relu=True)
            got = multiply(kernels, kind, a, b, **given, bias_row=row, relu=True)
            check(kind, got, a, b, row[:, None], relu=True)
            got = multiply(kernels, kind, a, b, **given, epilogue=True)
            check(kind, (got - 1) / 2, a, b)


@pytest.mark.parametrize("name", ["f32", "f64", "f16"])
def test_batches_of_one_row_share_what_is_broadcast(kernels: ctypes.CDLL, name: str) -> None:
    kind = KINDS[name]
    a = np.broadcast_to(random((2, 1, 1, 20), kind.storage), (2, 3, 1, 20))
    b = random((2, 3, 20, 150), kind.storage, 1)
    for threads in (1, 4):
        got = multiply(kernels, kind, a, b, packed=True, threads=threads, form="gemm_row")
        check(kind, got, a, b)


@pytest.mark.parametrize("name", ["f32", "bf16"])
def test_nan_and_infinity_reach_the_output(kernels: ctypes.CDLL, name: str) -> None:
    kind = KINDS[name]
    a, b = random((3, 20), kind.storage), random((20, 40), kind.storage, 1)
    a[1, 2], b[5, 7] = np.nan, np.inf
    got = multiply(kernels, kind, a, b, packed=True, relu=True)
    assert np.isnan(got[1]).all()
    assert not np.isfinite(got[0, 7]) or got[0, 7] == 0


@pytest.mark.parametrize("name", ["bf16", "f16"])
def test_every_half_pattern_widens_exactly(kernels: ctypes.CDLL, name: str) -> None:
    kind = KINDS[name]
    patterns = np.arange(1 << 16, dtype=np.uint16).view(kind.storage)
    one = np.ones((1, 1), kind.storage)
    with np.errstate(invalid="ignore"):
        want = patterns.astype(np.float32)
        by_b = multiply(kernels, kind, one, patterns.reshape(1, -1), packed=True)
        by_a = multiply(kernels, kind, patterns.reshape(-1, 1), one, packed=True)
    if name == "bf16":  # the processor's own bfloat16 products take subnormal numbers as zero
        is_subnormal = np.abs(want) < np.finfo(np.float32).tiny
        for got in (by_a, by_b):
            assert (np.abs(got.ravel()[is_subnormal]) < np.finfo(np.float32).tiny).all()
            got.ravel()[is_subnormal] = want[is_subnormal]
    assert np.array_equal(by_b.ravel(), want, equal_nan=True)
    assert np.array_equal(by_a.ravel(), want, equal_nan=True)


@pytest.mark.parametrize("shape", [(1, 40, 33), (13, 50, 20), (70, 129, 600)])
def test_float32_operands_are_rounded_to_bfloat16(
    kernels: ctypes.CDLL, shape: tuple[int, int, int]
) -> None:
    m, n, k = shape
    a, b = random((m, k), np.float32), random((k, n), np.float32, 1)
    a[0, :3], kind = [np.inf, 1e-3, -1], KINDS["bf16"]
    rounded_a, rounded_b = a.astype(kind.storage), b.astype(kind.storage)
    want = multiply(kernels, kind, rounded_a, rounded_b)
    for left, right in ((a, b), (a.T.copy().T, b.T.copy().T)):
        for got in (
            multiply(kernels, kind, left, right),
            multiply(kernels, kind, rounded_a, right),
            multiply(kernels, kind, left, rounded_b, packed=True),
        ):
            assert got.tobytes() == want.tobytes()
