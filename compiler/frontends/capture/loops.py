"""What each ufunc computes, on tensors that have the types of NumPy's loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...ir.dtypes import DType, Kind
from ..graph_writer import Tensor
from .recorder import Recorder
from .where import refused

Loop = Callable[..., Any]


def _unary(target: str) -> Loop:
    return lambda r, x: r.record(f"{target}.default", self=x)


def _binary(target: str) -> Loop:
    return lambda r, x, y: r.record(target, self=x, other=y)


def _rounding(target: str) -> Loop:
    """Integers and truth values are whole already."""
    return lambda r, x: x if not x.dtype.is_float else r.record(f"{target}.default", self=x)


def _only_floats(target: str, otherwise: bool) -> Loop:
    """A question about floats that other types answer all in the same way."""

    def loop(r: Recorder, x: Tensor) -> Tensor:
        if x.dtype.kind < Kind.FLOAT:
            return r.full(x.shape, otherwise, DType.BOOL)
        result: Tensor = r.record(f"{target}.default", self=x)
        return result

    return loop


def _identity(r: Recorder, x: Tensor) -> Tensor:
    return x


def _where(r: Recorder, condition: Tensor, then: Tensor, otherwise: Tensor) -> Tensor:
    result: Tensor = r.record("where.self", condition=condition, self=then, other=otherwise)
    return result


def _number(r: Recorder, value: float, like: Tensor) -> Tensor:
    return r.number(value, like.dtype)


def _compare(target: str) -> Loop:
    def loop(r: Recorder, x: Tensor, y: Tensor) -> Tensor:
        signs = {x.dtype, y.dtype}
        if signs == {DType.INT64, DType.UINT64}:
            return _compare_signs(r, target, x, y)
        if x.dtype.is_complex and target not in ("eq", "ne"):
            return _compare_complex(r, target, x, y)
        result: Tensor = r.record(f"{target}.Tensor", self=x, other=y)
        return result

    return loop


def _compare_signs(r: Recorder, target: str, x: Tensor, y: Tensor) -> Tensor:
    """int64 with uint64, by value: a negative number is less than all of the others."""
    signed = x if x.dtype is DType.INT64 else y
    is_negative = r.record("lt.Tensor", self=signed, other=_number(r, 0, signed))
    both = r.record(f"{target}.Tensor", self=r.cast(x, DType.UINT64), other=r.cast(y, DType.UINT64))
    answer = target in (("lt", "le", "ne") if signed is x else ("gt", "ge", "ne"))
    return _where(r, is_negative, r.number(answer, DType.BOOL), both)


def _compare_complex(r: Recorder, target: str, x: Tensor, y: Tensor) -> Tensor:
    """By real parts, then by imaginary ones."""
    (a, b), (c, d) = (
        (r.record("real.default", self=z), r.record("imag.default", self=z)) for z in (x, y)
    )
    strict = r.record(f"{target[0]}t.Tensor", self=a, other=c)
    tie = r.record(f"{target}.Tensor", self=b, other=d)
    same = r.record("eq.Tensor", self=a, other=c)
    tied = r.record("logical_and.default", self=same, other=tie)
    result: Tensor = r.record("logical_or.default", self=strict, other=tied)
    return result


def _divided(target: str, **options: str) -> Loop:
    """Integer division, which is 0 where NumPy divides by 0."""

    def loop(r: Recorder, x: Tensor, y: Tensor) -> Tensor:
        if x.dtype.is_float:
            result: Tensor = r.record(target, self=x, other=y, **options)
            return result
        is_zero = r.record("eq.Tensor", self=y, other=_number(r, 0, y))
        divisor = _where(r, is_zero, _number(r, 1, y), y)
        quotient = r.record(target, self=x, other=divisor, **options)
        return _where(r, is_zero, _number(r, 0, x), quotient)

    return loop


def _divmod(r: Recorder, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return LOOPS[np.floor_divide](r, x, y), LOOPS[np.remainder](r, x, y)


def _shift(target: str) -> Loop:
    """Bits that leave the type are gone: shifting by its width and more leaves 0, or the sign."""

    def loop(r: Recorder, x: Tensor, y: Tensor) -> Tensor:
        width = _number(r, x.dtype.itemsize * 8, y)
        is_wide = r.record("ge.Tensor", self=y, other=width)
        if y.dtype.is_signed:
            below = r.record("lt.Tensor", self=y, other=_number(r, 0, y))
            is_wide = r.record("logical_or.default", self=is_wide, other=below)
        amount = _where(r, is_wide, _number(r, 0, y), y)
        shifted = r.record(f"bitwise_{target}_shift.Tensor", self=x, other=amount)
        rest = _number(r, 0, x)
        if target == "right" and x.dtype.is_signed:
            is_negative = r.record("lt.Tensor", self=x, other=rest)
            rest = _where(r, is_negative, _number(r, -1, x), rest)
        return _where(r, is_wide, rest, shifted)

    return loop


def _reciprocal(r: Recorder, x: Tensor) -> Tensor:
    if x.dtype.kind >= Kind.FLOAT:
        result: Tensor = r.record("reciprocal.default", self=x)
        return result
    quotient: Tensor = _divided("div.Tensor_mode", rounding_mode="trunc")(r, _number(r, 1, x), x)
    return quotient


def _next_after(r: Recorder, x: Tensor, y: Tensor) -> Tensor:
    if x.dtype.itemsize < 4:
        raise refused("np.nextafter of float16")
    result: Tensor = r.record("nextafter.default", self=x, other=y)
    return result


def _cube_root(r: Recorder, x: Tensor) -> Tensor:
    """By a power, in float64, and a step of Newton's method: (2 y + |x| / y²) / 3."""
    wide = r.cast(x, DType.FLOAT64)
    size = r.record("abs.default", self=wide)
    third, two = r.number(1 / 3, DType.FLOAT64), r.number(2.0, DType.FLOAT64)
    root = r.record("pow.Tensor_Tensor", self=size, exponent=third)
    square = r.record("mul.Tensor", self=root, other=root)
    quotient = r.record("div.Tensor", self=size, other=square)
    twice = r.record("mul.Tensor", self=two, other=root)
    better = r.record(
        "mul.Tensor", self=r.record("add.Tensor", self=twice, other=quotient), other=third
    )
    zero = r.number(0.0, DType.FLOAT64)
    is_zero = r.record("eq.Tensor", self=size, other=zero)
    is_infinite = r.record("isinf.default", self=size)
    is_exact = r.record("logical_or.default", self=is_zero, other=is_infinite)
    magnitude = _where(r, is_exact, size, better)
    return r.record("copysign.Tensor", self=magnitude, other=wide)  # type: ignore[no-any-return]


def _modf(r: Recorder, x: Tensor) -> tuple[Tensor, Tensor]:
    whole = r.record("trunc.default", self=x)
    is_infinite = r.record("isinf.default", self=x)
    rest = r.record("sub.Tensor", self=x, other=whole)
    rest = _where(r, is_infinite, _number(r, 0.0, x), rest)
    return r.record("copysign.Tensor", self=rest, other=x), whole


def _frexp(r: Recorder, x: Tensor) -> tuple[Tensor, Tensor]:
    mantissa, exponent = r.record("frexp.Tensor", self=x)
    return mantissa, exponent


def _matmul(r: Recorder, x: Tensor, y: Tensor) -> Tensor:
    if x.rank == 0 or y.rank == 0:
        raise ValueError("matmul: an operand has no dimensions")
    r.sizes.require_equal(x.shape[-1], y.shape[-2 if y.rank > 1 else 0], "np.matmul")
    r.sizes.broadcast([x.shape[:-2], y.shape[:-2]], "np.matmul")
    if x.dtype is DType.BOOL:  # ATen multiplies no truth values: any of the products
        product = _matmul(r, r.cast(x, DType.INT64), r.cast(y, DType.INT64))
        return r.cast(product, DType.BOOL)
    result: Tensor = r.record("matmul.default", self=x, other=y)
    return result


def _vecdot(r: Recorder, x: Tensor, y: Tensor) -> Tensor:
    if x.dtype.is_complex:
        x = r.record("conj_physical.default", self=x)
    product = r.record("mul.Tensor", self=x, other=y)
    total = r.record("sum.dim_IntList", self=product, dim=[-1])
    return r.cast(total, product.dtype)


def _logical(target: str) -> Loop:
    return lambda r, *inputs: r.record(
        f"logical_{target}.default", **dict(zip(("self", "other"), inputs, strict=False))
    )


def _sign(r: Recorder, x: Tensor) -> Tensor:
    if x.dtype.is_complex:
        result: Tensor = r.record("sgn.default", self=x)
        return result
    result = r.record("sign.default", self=x)
    if x.dtype.is_float:  # NumPy keeps NaN
        result = _where(r, r.record("isnan.default", self=x), x, result)
    return result


def _float_power(r: Recorder, x: Tensor, y: Tensor) -> Tensor:
    result: Tensor = r.record("pow.Tensor_Tensor", self=x, exponent=y)
    return result


def _heaviside(r: Recorder, x: Tensor, y: Tensor) -> Tensor:
    result = r.record("heaviside.default", self=x, values=y)
    return _where(r, r.record("isnan.default", self=x), x, result)


def _ldexp(r: Recorder, x: Tensor, y: Tensor) -> Tensor:
    result: Tensor = r.record("ldexp.Tensor", self=x, other=y)
    return result


LOOPS: Mapping[np.ufunc, Loop] = {
    # arithmetic
    np.add: _binary("add.Tensor"),
    np.subtract: _binary("sub.Tensor"),
    np.multiply: _binary("mul.Tensor"),
    np.true_divide: _binary("div.Tensor"),
    np.floor_divide: _divided("floor_divide.default"),
    np.remainder: _divided("remainder.Tensor"),
    np.fmod: _divided("fmod.Tensor"),
    np.divmod: _divmod,
    np.power: _float_power,
    np.float_power: _float_power,
    np.negative: _unary("neg"),
    np.positive: _identity,
    np.absolute: _unary("abs"),
    np.fabs: _unary("abs"),
    np.sign: _sign,
    np.reciprocal: _reciprocal,
    np.square: lambda r, x: r.record("mul.Tensor", self=x, other=x),
    np.conjugate: lambda r, x: (
        x if not x.dtype.is_complex else r.record("conj_physical.default", self=x)
    ),
    np.gcd: _binary("gcd.default"),
    np.lcm: _binary("lcm.default"),
    np.matmul: _matmul,
    # rounding
    np.floor: _rounding("floor"),
    np.ceil: _rounding("ceil"),
    np.trunc: _rounding("trunc"),
    np.rint: lambda r, x: _rint(r, x),
    np.modf: _modf,
    np.frexp: _frexp,
    np.ldexp: _ldexp,
    np.copysign: _binary("copysign.Tensor"),
    np.nextafter: _next_after,
    np.heaviside: _heaviside,
    # exponentials and logarithms
    np.sqrt: _unary("sqrt"),
    np.cbrt: _cube_root,
    np.exp: _unary("exp"),
    np.exp2: _unary("exp2"),
    np.expm1: _unary("expm1"),
    np.log: _unary("log"),
    np.log2: _unary("log2"),
    np.log10: _unary("log10"),
    np.log1p: _unary("log1p"),
    np.logaddexp: _binary("logaddexp.default"),
    np.logaddexp2: _binary("logaddexp2.default"),
    # trigonometry
    np.sin: _unary("sin"),
    np.cos: _unary("cos"),
    np.tan: _unary("tan"),
    np.arcsin: _unary("asin"),
    np.arccos: _unary("acos"),
    np.arctan: _unary("atan"),
    np.sinh: _unary("sinh"),
    np.cosh: _unary("cosh"),
    np.tanh: _unary("tanh"),
    np.arcsinh: _unary("asinh"),
    np.arccosh: _unary("acosh"),
    np.arctanh: _unary("atanh"),
    np.arctan2: _binary("atan2.default"),
    np.hypot: _binary("hypot.default"),
    np.degrees: _unary("rad2deg"),
    np.rad2deg: _unary("rad2deg"),
    np.radians: _unary("deg2rad"),
    np.deg2rad: _unary("deg2rad"),
    # order
    np.maximum: lambda r, x, y: _extreme(r, "maximum", np.greater_equal, x, y),
    np.minimum: lambda r, x, y: _extreme(r, "minimum", np.less_equal, x, y),
    np.fmax: lambda r, x, y: _extreme(r, "fmax", np.greater_equal, x, y),
    np.fmin: lambda r, x, y: _extreme(r, "fmin", np.less_equal, x, y),
    np.equal: _compare("eq"),
    np.not_equal: _compare("ne"),
    np.less: _compare("lt"),
    np.less_equal: _compare("le"),
    np.greater: _compare("gt"),
    np.greater_equal: _compare("ge"),
    # bits and truth
    np.bitwise_and: _binary("bitwise_and.Tensor"),
    np.bitwise_or: _binary("bitwise_or.Tensor"),
    np.bitwise_xor: _binary("bitwise_xor.Tensor"),
    np.invert: _unary("bitwise_not"),
    np.left_shift: _shift("left"),
    np.right_shift: _shift("right"),
    np.logical_and: _logical("and"),
    np.logical_or: _logical("or"),
    np.logical_xor: _logical("xor"),
    np.logical_not: _logical("not"),
    # what floats are
    np.isnan: _only_floats("isnan", False),
    np.isinf: _only_floats("isinf", False),
    np.isfinite: _only_floats("isfinite", True),
    np.signbit: _unary("signbit"),
}


def _rint(r: Recorder, x: Tensor) -> Tensor:
    if x.dtype.is_complex:
        real, imag = (
            r.record("round.default", self=r.record(f"{part}.default", self=x))
            for part in ("real", "imag")
        )
        result: Tensor = r.record("complex.default", real=real, imag=imag)
        return result
    return _rounding("round")(r, x)  # type: ignore[no-any-return]


def _extreme(r: Recorder, target: str, comparison: np.ufunc, x: Tensor, y: Tensor) -> Tensor:
    """Complex numbers are in lexicographic order; NaN wins in `maximum`, and loses in `fmax`."""
    if not x.dtype.is_complex:
        result: Tensor = r.record(f"{target}.default", self=x, other=y)
        return result
    wins = LOOPS[comparison](r, x, y)
    is_nan = r.record("isnan.default", self=y if target.startswith("f") else x)
    return _where(r, r.record("logical_or.default", self=wins, other=is_nan), x, y)


if hasattr(np, "vecdot"):  # NumPy 2
    LOOPS = {**LOOPS, np.vecdot: _vecdot}
