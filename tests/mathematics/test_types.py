"""Conversions between element types: exhaustive over 8 and 16 bits, sampled over float."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from .clib import C_TYPE, NUMPY_TYPE, Function, Loops, compile_loops

FLOAT8 = {
    "f8e4m3fn": ml_dtypes.float8_e4m3fn,
    "f8e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "f8e5m2": ml_dtypes.float8_e5m2,
    "f8e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "f8e8m0fnu": ml_dtypes.float8_e8m0fnu,
}
INTEGERS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")


@pytest.fixture(scope="module")
def convert(tmp_path_factory: pytest.TempPathFactory) -> Loops:
    """A loop for every conversion to and from float, and from the floats to the integers."""
    C_TYPE.update({name: f"castoff_{name}" for name in FLOAT8})
    NUMPY_TYPE.update(dict.fromkeys(FLOAT8, np.uint8))
    functions = []
    for narrow in ("f16", "bf16", *FLOAT8):
        functions += [
            Function(f"f32_to_{narrow}", narrow, ("f32",)),
            Function(f"{narrow}_to_f32", "f32", (narrow,)),
        ]
    for source in ("f32", "f64"):
        functions += [
            Function(f"{source}_to_{target}", target, (source,)) for target in (*INTEGERS, "b8")
        ]
    return compile_loops(tmp_path_factory.mktemp("types"), "types", ["types.h"], functions)


def _same_bits(got: np.ndarray, want: np.ndarray) -> bool:
    """Equal bits, any NaN being equal to any other."""
    is_nan = np.isnan(want)
    return bool(
        np.array_equal(np.isnan(got), is_nan)
        and np.array_equal(got[~is_nan].view(np.uint32), want[~is_nan].view(np.uint32))
    )


def _midpoints(values: np.ndarray) -> np.ndarray:
    """The finite values, the middles between neighbours, and the floats around those."""
    finite = np.unique(values[np.isfinite(values)])
    middle = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)
    around = [np.nextafter(middle, np.float32(side)) for side in (-np.inf, np.inf)]
    return np.concatenate([finite, middle, *around]).astype(np.float32)


@pytest.mark.parametrize(("name", "dtype"), [("f16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_16_bit_floats_convert_exactly_and_round_to_even(
    convert: Loops, floats: np.ndarray, name: str, dtype: type
) -> None:
    bits = np.arange(2**16, dtype=np.uint32).astype(np.uint16)
    wide = bits.view(dtype).astype(np.float32)
    assert _same_bits(convert(f"{name}_to_f32", bits), wide)
    samples = np.concatenate([floats, _midpoints(wide)])
    with np.errstate(over="ignore"):
        want = samples.astype(dtype).astype(np.float32)
    got = convert(f"f32_to_{name}", samples).view(dtype).astype(np.float32)
    assert _same_bits(got, want)


@pytest.mark.parametrize("name", [name for name in FLOAT8 if name != "f8e8m0fnu"])
def test_8_bit_floats_convert_exactly_and_round_to_even(
    convert: Loops, floats: np.ndarray, name: str
) -> None:
    bits = np.arange(256, dtype=np.uint8)
    wide = bits.view(FLOAT8[name]).astype(np.float32)
    assert _same_bits(convert(f"{name}_to_f32", bits), wide)
    samples = np.concatenate(
        [floats, _midpoints(wide), np.float32([464, 465, 480, 500, 57344, 61440, 61441, 65536])]
    )
    want = samples.astype(FLOAT8[name]).astype(np.float32)
    if name == "f8e4m3fn":  # PyTorch saturates where ml_dtypes gives NaN
        want = np.where(np.isnan(want) & ~np.isnan(samples), np.copysign(448, samples), want)
        want = want.astype(np.float32)
    assert _same_bits(
        convert(f"f32_to_{name}", samples).view(FLOAT8[name]).astype(np.float32), want
    )


def test_e8m0_rounds_to_the_nearer_power_of_two_and_up_between_normals(convert: Loops) -> None:
    bits = np.arange(256, dtype=np.uint8)
    assert _same_bits(
        convert("f8e8m0fnu_to_f32", bits), bits.view(FLOAT8["f8e8m0fnu"]).astype(np.float32)
    )
    x = np.float32(
        [1, 1.49, 1.5, 2, 2.9, 3, -4, np.inf, np.nan, 0, 2.0**-127, 2.0**-127 * 1.5, 2.0**-149]
    )
    assert list(convert("f32_to_f8e8m0fnu", x)) == [
        127,
        127,
        128,
        128,
        128,
        129,
        129,
        255,
        255,
        0,
        0,
        1,
        0,
    ]


@pytest.mark.parametrize("source", ["f32", "f64"])
@pytest.mark.parametrize("target", INTEGERS)
def test_floats_become_integers_as_the_processor_does(
    convert: Loops, source: str, target: str
) -> None:
    floats = NUMPY_TYPE[source]
    info = np.iinfo(NUMPY_TYPE[target])
    inside = np.concatenate(
        [
            np.linspace(-120, 120, 97),
            [-0.9, 0.9, 127.9, 255.5, 32767.5, 65535.5, 2.0**31 - 65, 2.0**62, 2.0**63],
        ]
    )
    inside = inside.astype(floats)
    inside = inside[(inside > float(info.min) - 1) & (inside < 2.0 ** int(info.max).bit_length())]
    assert [int(x) for x in convert(f"{source}_to_{target}", inside)] == [int(x) for x in inside]
    outside = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30], floats)
    lowest = {"i32": -(2**31), "i64": -(2**63), "u64": 2**63}.get(target, 0)
    got = [int(x) for x in convert(f"{source}_to_{target}", outside)]
    assert got[0] == lowest and got[2] == lowest and got[4] == lowest


def test_anything_but_zero_is_true(convert: Loops) -> None:
    x = np.array([0.0, -0.0, 1e-45, np.nan, np.inf, -2], np.float32)
    assert list(convert("f32_to_b8", x)) == [0, 0, 1, 1, 1, 1]
