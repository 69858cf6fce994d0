"""Attention kernels against NumPy in float64."""

from __future__ import annotations

import ctypes
from ctypes import Structure, byref, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[np.generic]
GUARD = 64
STORAGE = {
    "f32": np.float32,
    "bf16": ml_dtypes.bfloat16,
    "f16": np.float16,
    "tiled_bf16": ml_dtypes.bfloat16,
}


class Args(Structure):
    _fields_ = [
        *(
            (name, c_int64)
            for name in ("batch", "heads", "kv_heads", "queries", "keys", "size", "value_size")
        ),
        *((name, c_void_p) for name in ("q", "k", "v")),
        ("wide", c_int32),
        *((f"{x}_{axis}", c_int64) for x in "qkv" for axis in ("batch", "head", "row")),
        ("tail_keys", c_int64),
        *((f"{x}_tail", c_void_p) for x in "kv"),
        *((f"{x}_tail_{axis}", c_int64) for x in "kv" for axis in ("batch", "head", "row")),
        ("mask_kind", c_int32),
        ("mask", c_void_p),
        *((f"mask_{axis}", c_int64) for axis in ("batch", "head", "row", "col")),
        ("causal", c_int32),
        ("causal_offset", c_int64),
        ("scale", c_float),
        ("out", c_void_p),
        *((f"out_{axis}", c_int64) for axis in ("batch", "head", "row")),
        ("epilogue", c_void_p),
        ("epilogue_context", c_void_p),
    ]


class Output(Structure):
    _fields_ = [("out", c_void_p), ("rows", c_int64), ("cols", c_int64)]


@dataclass(frozen=True, slots=True)
class Case:
    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    size: int
    value_size: int


CASES = {
    "square": Case(2, 3, 3, 70, 70, 16, 16),
    "long": Case(1, 2, 2, 130, 300, 64, 64),
    "grouped": Case(2, 6, 2, 33, 40, 24, 20),
    "values-of-another-size": Case(1, 2, 2, 20, 50, 10, 37),
    "decode": Case(2, 4, 4, 1, 200, 64, 64),
    "decode-odd": Case(1, 2, 2, 1, 131, 33, 21),
    "decode-grouped": Case(1, 6, 2, 1, 129, 16, 17),
    "decode-grouped-many": Case(1, 16, 2, 1, 300, 32, 32),
    "two-queries": Case(1, 3, 3, 2, 5, 8, 8),
    "one-key": Case(1, 1, 1, 4, 1, 8, 8),
    "no-keys": Case(1, 1, 1, 4, 0, 8, 8),
}


def aligned(count: int, dtype: type) -> Array:
    size = count * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype)


def reference(case: Case, q: Array, k: Array, v: Array, added: Array, scale: float) -> Array:
    group = case.heads // case.kv_heads
    wide = [np.repeat(x.astype(np.float64), r, axis=1) for x, r in ((q, 1), (k, group), (v, group))]
    scores = wide[0] @ np.swapaxes(wide[1], 2, 3) * scale + added
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = weights.sum(axis=-1, keepdims=True)
    return (weights / np.where(total == 0, 1, total)) @ wide[2]


def operands(case: Case, storage: type) -> tuple[Array, Array, Array]:
    random = np.random.default_rng(case.keys)
    shapes = (
        (case.batch, case.queries, case.heads, case.size),
        (case.batch, case.keys, case.kv_heads, case.size),
        (case.batch, case.keys, case.kv_heads, case.value_size),
    )
    q, k, v = (np.swapaxes(random.standard_normal(s).astype(storage), 1, 2) for s in shapes)
    return q, k, v


def attend(
    kernels: ctypes.CDLL,
    case: Case,
    q: Array,
    k: Array,
    v: Array,
    *,
    name: str = "f32",
    mask: Array | None = None,
    causal: bool = False,
    offset: int = 0,
    scale: float = 0.3,
    epilogue: bool = False,
    threads: int = 1,
    tail: int = 0,
) -> Array:
    count = case.batch * case.heads * case.queries * case.value_size
    out = aligned(count + GUARD, np.float32)
    out[:] = 77
    args = Args(
        **{name: getattr(case, name) for name in case.__dataclass_fields__},
        causal=int(causal),
        causal_offset=offset,
        wide=int(k.dtype != q.dtype),
        scale=scale,
        out_batch=case.heads * case.queries * case.value_size,
        out_head=case.queries * case.value_size,
        out_row=case.value_size,
    )
    for letter, x in zip("qkv", (q, k, v), strict=True):
        setattr(args, letter, x.ctypes.data)
        for axis, stride in zip(("batch", "head", "row"), x.strides, strict=False):
            setattr(args, f"{letter}_{axis}", stride // x.itemsize)
    parts = [np.split(x, [case.keys - tail], axis=2)[1].astype(q.dtype) for x in (k, v)]
    if tail:
        cut = [np.where(np.arange(case.keys)[:, None] < case.keys - tail, x, 99) for x in (k, v)]
        cut = [x.astype(k.dtype) for x in cut]
        args.tail_keys = tail
        for letter, x, part in zip("kv", cut, parts, strict=True):
            setattr(args, letter, x.ctypes.data)
            setattr(args, f"{letter}_tail", part.ctypes.data)
            for axis, own, other in zip(
                ("batch", "head", "row"), x.strides, part.strides, strict=False
            ):
                setattr(args, f"{letter}_{axis}", own // x.itemsize)
                setattr(args, f"{letter}_tail_{axis}", other // part.itemsize)
    if mask is not None:
        args.mask_kind = 2 if mask.dtype == np.bool_ else 1
        args.mask = mask.ctypes.data
        for axis, stride in zip(("batch", "head", "row", "col"), mask.strides, strict=True):
            setattr(args, f"mask_{axis}", stride // mask.itemsize)
    where = Output(out.ctypes.data, case.queries, case.value_size)
    if epilogue:
        args.epilogue = ctypes.cast(kernels.test_epilogue_f32, c_void_p).value
        args.epilogue_context = ctypes.addressof(where)
    else:
        args.out = out.ctypes.data
    scratch_size = getattr(kernels, f"test_attention_{name}_scratch")
    scratch_size.restype = c_int64
    size = scratch_size(byref(args), threads)
    scratch = aligned(size + GUARD, np.uint8)
    scratch[:] = 0xFF
    getattr(kernels, f"test_attention_{name}")(byref(args), threads, c_void_p(scratch.ctypes.data))
    assert (scratch[size:] == 0xFF).all(), "wrote past the scratch memory"
    assert (out[count:] == 77).all(), "wrote past the output"
    return out[:count].reshape(case.batch, case.heads, case.queries, case.value_size)


def close(got: Array, want: Array, name: str = "f32") -> bool:
    """The tiles round the weights to bfloat16, where there are instructions for it."""
    most = 2**-8 if name == "tiled_bf16" else 3e-6
    return bool(np.abs(got - want).max(initial=0) < most * max(1, np.abs(want).max(initial=0)))


def causal_mask(case: Case, offset: int) -> Array:
    seen = np.arange(case.keys)[None, :] <= np.arange(case.queries)[:, None] + offset
    return np.where(seen, 0, -np.inf)


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("name", CASES)
def test_attention(kernels: ctypes.CDLL, name: str, storage: str) -> None:
    case = CASES[name]
    q, k, v = operands(case, STORAGE[storage])
    want = reference(case, q, k, v, np.zeros(1), 0.3)
    assert close(attend(kernels, case, q, k, v, name=storage), want, storage)
    got = attend(kernels, case, q, k, v, name=storage, epilogue=True)
    assert close(got, 2 * want + 1, storage)


@pytest.mark.parametrize("tail", ["one", "most", "all"])
@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.keys > 1])
def test_keys_in_two_parts(kernels: ctypes.CDLL, name: str, storage: str, tail: str) -> None:
    case = CASES[name]
    q, k, v = operands(case, STORAGE[storage])
    want = reference(case, q, k, v, causal_mask(case, 3), 0.3)
    count = {"one": 1, "most": case.keys - 1, "all": case.keys}[tail]
    got = attend(kernels, case, q, k, v, name=storage, causal=True, offset=3, tail=count)
    assert close(got, want, storage)


@pytest.mark.parametrize("tail", [0, 1])
@pytest.mark.parametrize("storage", ["bf16", "tiled_bf16"])
@pytest.mark.parametrize("name", CASES)
def test_wide_keys_are_rounded_as_they_are_read(
    kernels: ctypes.CDLL, name: str, storage: str, tail: int
) -> None:
    case = CASES[name]
    q, k, v = (np.asarray(x, np.float32) for x in operands(case, np.float32))
    narrow = [x.astype(ml_dtypes.bfloat16) for x in (q, k, v)]
    want = reference(case, *narrow, np.zeros(1), 0.3)
    got = attend(kernels, case, narrow[0], k, v, name=storage, tail=min(tail, case.keys))
    assert close(got, want, storage)


@pytest.mark.parametrize("storage", ["f32", "tiled_bf16"])
@pytest.mark.parametrize("offset", [0, 7, -3])
@pytest.mark.parametrize("name", CASES)
def test_causal(kernels: ctypes.CDLL, name: str, offset: int, storage: str) -> None:
    case = CASES[name]
    q, k, v = operands(case, STORAGE[storage])
    want = reference(case, q, k, v, causal_mask(case, offset), 0.3)
    got = attend(kernels, case, q, k, v, name=storage, causal=True, offset=offset)
    assert close(got, want, storage)


@pytest.mark.parametrize("storage", ["f32", "tiled_bf16"])
@pytest.mark.parametrize("axes", ["full", "keys-only", "per-head", "transposed"])
@pytest.mark.parametrize("name", CASES)
def test_masks(kernels: ctypes.CDLL, name: str, axes: str, storage: str) -> None:
    case = CASES[name]
    q, k, v = operands(case, STORAGE[storage])
    random = np.random.default_rng(3)
    full = (case.batch, case.heads, case.queries, case.keys)
    shape = {
        "full": full,
        "keys-only": (case.batch, 1, 1, case.keys),
        "per-head": (1, case.heads, case.queries, case.keys),
        "transposed": (case.batch, case.heads, case.keys, case.queries),
    }[axes]
    added = random.standard_normal(shape).astype(np.float32)
    keep = random.random(shape) < 0.6
    if axes == "transposed":
        added, keep = np.swapaxes(added, 2, 3), np.swapaxes(keep, 2, 3)
    added, keep = np.broadcast_to(added, full), np.broadcast_to(keep, full)
    want = reference(case, q, k, v, added.astype(np.float64), 0.3)
    assert close(attend(kernels, case, q, k, v, name=storage, mask=added), want, storage)
    want = reference(case, q, k, v, np.where(keep, 0, -np.inf), 0.3)
    assert close(attend(kernels, case, q, k, v, name=storage, mask=keep), want, storage)
    both = np.where(keep, 0, -np.inf) + causal_mask(case, 2)
    got = attend(kernels, case, q, k, v, name=storage, mask=keep, causal=True, offset=2)
    assert close(got, reference(case, q, k, v, both, 0.3), storage)


@pytest.mark.parametrize("storage", ["f32", "tiled_bf16"])
@pytest.mark.parametrize("name", ["square", "long", "decode", "grouped"])
def test_queries_that_see_no_key_give_zeros(kernels: ctypes.CDLL, name: str, storage: str) -> None:
    case = CASES[name]
    q, k, v = operands(case, STORAGE[storage])
    keep = np.ones((case.batch, case.heads, case.queries, case.keys), np.bool_)
    keep[:, 0, 0] = False
    got = attend(kernels, case, q, k, v, name=storage, mask=keep)
    assert (got[:, 0, 0] == 0).all()
    added = np.where(keep, 0, -np.inf).astype(np.float32)
    assert got.tobytes() == attend(kernels, case, q, k, v, name=storage, mask=added).tobytes()


@pytest.mark.parametrize("storage", ["f32", "tiled_bf16"])
@pytest.mark.parametrize("name", CASES)
def test_same_bits_for_any_number_of_threads(kernels: ctypes.CDLL, name: str, storage: str) -> None:
    case = CASES[name]
    q, k, v = operands(case, STORAGE[storage])
    alone = attend(kernels, case, q, k, v, name=storage)
    for threads in (2, 5, 16):
        got = attend(kernels, case, q, k, v, name=storage, threads=threads)
        assert got.tobytes() == alone.tobytes()


@pytest.mark.parametrize("name", ["square", "decode"])
def test_large_scores_do_not_overflow_and_nan_spreads(kernels: ctypes.CDLL, name: str) -> None:
    case = CASES[name]
    q, k, v = operands(case, np.float32)
    got = attend(kernels, case, q, k, v, scale=300.0)
    assert np.abs(got - reference(case, q, k, v, np.zeros(1), 300.0)).max() < 1e-2
    k = k.copy()
    k[0, 0, 5] = np.nan
    assert np.isnan(attend(kernels, case, q, k, v)[0, 0]).all()
    narrow = [x.astype(ml_dtypes.bfloat16) for x in (q, k, v)]
    assert np.isnan(attend(kernels, case, *narrow, name="tiled_bf16")[0, 0]).all()
