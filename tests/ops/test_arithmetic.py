"""Arithmetic: promotion, rounding modes, powers, clamps."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from castoff.compiler.ops.base import OperatorError

from .evaluation import evaluate

INTEGERS = np.array([-7, -1, 0, 1, 7], np.int32)
FLOATS = np.array([-7.5, -0.5, 0.0, 0.5, 7.5], np.float32)


def test_add_scales_the_second_operand_by_alpha() -> None:
    (result,) = evaluate("aten.add.Tensor", FLOATS, FLOATS, alpha=2)
    np.testing.assert_array_equal(result, FLOATS * 3)


def test_integers_with_a_float_number_become_float32() -> None:
    (result,) = evaluate("aten.mul.Tensor", INTEGERS, 0.5)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, INTEGERS / 2)


def test_a_number_keeps_its_digits_beside_a_narrow_float() -> None:
    x = np.array([1.0, 3.0], ml_dtypes.bfloat16)
    (result,) = evaluate("aten.mul.Tensor", x, 1.005)
    expected = (x.astype(np.float32) * np.float32(1.005)).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(result.astype(np.float32), expected.astype(np.float32))


def test_subtraction_of_bool_is_refused() -> None:
    flags = np.array([True, False])
    with pytest.raises(OperatorError, match="bool"):
        evaluate("aten.sub.Tensor", flags, flags)


@pytest.mark.parametrize("name", ["maximum", "minimum", "fmax", "fmin"])
def test_the_larger_of_complex_numbers_is_refused(name: str) -> None:
    numbers = np.array([1j, 2.0])
    with pytest.raises(OperatorError, match="order"):
        evaluate(f"aten.{name}.default", numbers, numbers)


@pytest.mark.parametrize(
    ("mode", "expected"), [("trunc", [-3, 0, 0, 0, 3]), ("floor", [-4, -1, 0, 0, 3])]
)
def test_integer_quotients_round_as_asked(mode: str, expected: list[int]) -> None:
    (result,) = evaluate("aten.div.Tensor_mode", INTEGERS, 2, rounding_mode=mode)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, expected)


def test_remainder_has_the_sign_of_the_divisor_and_fmod_of_the_dividend() -> None:
    x = np.array([-7.0, 7.0, -7.0, 7.0], np.float32)
    y = np.array([3.0, 3.0, -3.0, -3.0], np.float32)
    np.testing.assert_array_equal(evaluate("aten.remainder.Tensor", x, y)[0], [2, 1, -1, -2])
    np.testing.assert_array_equal(evaluate("aten.fmod.Tensor", x, y)[0], [-1, 1, -1, 1])


@pytest.mark.parametrize("exponent", [-2, -1, -0.5, 0, 0.5, 1, 2, 3, 2.5])
def test_powers_by_numbers_agree_with_the_general_power(exponent: float) -> None:
    x = np.array([0.25, 1.0, 2.0, 9.0], np.float32)
    (result,) = evaluate("aten.pow.Tensor_Scalar", x, exponent)
    np.testing.assert_allclose(result, np.power(x.astype(float), exponent), rtol=1e-6)


def test_negative_integer_powers_of_integers_are_refused() -> None:
    with pytest.raises(OperatorError, match="negative"):
        evaluate("aten.pow.Tensor_Scalar", INTEGERS, -1)


def test_clamp_with_float_bounds_promotes_integers_and_keeps_nan() -> None:
    (result,) = evaluate("aten.clamp.default", INTEGERS, -0.5, 0.5)
    np.testing.assert_array_equal(result, np.array([-0.5, -0.5, 0, 0.5, 0.5], np.float32))
    (result,) = evaluate("aten.clamp.default", np.array([np.nan, 3], np.float32), 0, 1)
    np.testing.assert_array_equal(result, [np.nan, 1])


def test_lerp_is_exact_at_both_ends() -> None:
    start, end = np.array([1e8], np.float32), np.array([1.0], np.float32)
    for weight, expected in ((np.float32(0), start), (np.float32(1), end)):
        (result,) = evaluate("aten.lerp.Tensor", start, end, np.array([weight]))
        np.testing.assert_array_equal(result, expected)


def test_xlogy_is_zero_for_zero_unless_the_other_is_nan() -> None:
    x, y = np.zeros(3, np.float32), np.array([0, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(evaluate("aten.xlogy.Tensor", x, y)[0], [0, 0, np.nan])


def test_nan_to_num_fills_with_the_limits_of_the_dtype() -> None:
    x = np.array([np.nan, np.inf, -np.inf], np.float16)
    (result,) = evaluate("aten.nan_to_num.default", x)
    np.testing.assert_array_equal(result, np.array([0, 65504, -65504], np.float16))


def test_shifts_past_the_width_empty_the_number() -> None:
    x, count = np.array([-8, 8], np.int8), np.array([9, 9], np.int8)
    np.testing.assert_array_equal(evaluate("aten.bitwise_left_shift.Tensor", x, count)[0], [0, 0])
    np.testing.assert_array_equal(evaluate("aten.bitwise_right_shift.Tensor", x, count)[0], [-1, 0])


def test_comparisons_promote_and_give_bool() -> None:
    (result,) = evaluate("aten.gt.Scalar", INTEGERS, 0.5)
    assert result.dtype == bool
    np.testing.assert_array_equal(result, INTEGERS > 0.5)


def test_isclose_takes_the_tolerance_from_the_second_operand() -> None:
    x, y = np.array([100.0, 1.0], np.float32), np.array([101.0, 1.02], np.float32)
    (result,) = evaluate("aten.isclose.default", x, y, 0.01, 0.0)
    np.testing.assert_array_equal(result, [True, False])


def test_sign_of_nan_is_zero() -> None:
    x = np.array([np.nan, -2.0, 3.0], np.float32)
    np.testing.assert_array_equal(evaluate("aten.sign.default", x)[0], [0, -1, 1])


@pytest.mark.parametrize(("decimals", "expected"), [(1, 1234.6), (-2, 1200.0), (0, 1235.0)])
def test_rounding_to_decimals(decimals: int, expected: float) -> None:
    (result,) = evaluate("aten.round.decimals", np.array([1234.56]), decimals=decimals)
    np.testing.assert_allclose(result, [expected])
