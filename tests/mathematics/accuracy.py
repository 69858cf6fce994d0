"""The accuracy table: the largest error of each elementary function, in ulp of the result.

It is the promise of `math_f32.h` and `math_f64.h`: what `castoff_<op>_<type>` may be off by
anywhere in its domain, huge arguments and subnormals included. `test_accuracy.py` measures it
against double precision (float) and mpmath (double). 0.5 is a correctly rounded result; the float
functions of 0.51 run in double and round once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.special


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Largest error in ulp and, as the oracle, the same function in double precision."""

    ulp: float
    reference: Callable[..., np.ndarray]
    arguments: int = 1
    absolute: float = 0
    """Errors that are no larger than this are none."""


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1 + e)


def _sinc(x: np.ndarray) -> np.ndarray:
    turns = np.abs(x) - 2 * np.round(np.abs(x) / 2)
    return np.where(
        x == 0, 1.0, np.sin(np.pi * np.where(np.abs(turns) == 1, 0, turns)) / (np.pi * np.abs(x))
    )


def _erfinv(x: np.ndarray) -> np.ndarray:
    return np.where(x == 0, x, scipy.special.erfinv(x))


F32: Mapping[str, Accuracy] = {
    "exp": Accuracy(1.1, np.exp),
    "exp2": Accuracy(1.3, np.exp2),
    "expm1": Accuracy(0.51, np.expm1),
    "log": Accuracy(1.0, np.log),
    "log2": Accuracy(0.51, np.log2),
    "log10": Accuracy(0.51, np.log10),
    "log1p": Accuracy(0.51, np.log1p),
    "sin": Accuracy(1.6, np.sin),
    "cos": Accuracy(1.6, np.cos),
    "tan": Accuracy(0.51, np.tan),
    "asin": Accuracy(0.51, np.arcsin),
    "acos": Accuracy(0.51, np.arccos),
    "atan": Accuracy(0.51, np.arctan),
    "sinh": Accuracy(0.51, np.sinh),
    "cosh": Accuracy(0.51, np.cosh),
    "tanh": Accuracy(1.5, np.tanh),
    "asinh": Accuracy(0.51, np.arcsinh),
    "acosh": Accuracy(0.51, np.arccosh),
    "atanh": Accuracy(0.51, np.arctanh),
    "erf": Accuracy(1.9, scipy.special.erf),
    "erfc": Accuracy(0.51, scipy.special.erfc),
    "erfinv": Accuracy(0.9, _erfinv),
    "ndtr": Accuracy(3.5, scipy.special.ndtr),
    "gelu": Accuracy(4.0, lambda x: x * scipy.special.ndtr(x), absolute=5e-8),
    "sigmoid": Accuracy(2.5, _sigmoid),
    "silu": Accuracy(3.1, lambda x: x * _sigmoid(x)),
    "log_sigmoid": Accuracy(0.51, lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))),
    "sqrt": Accuracy(0.5, np.sqrt),
    "rsqrt": Accuracy(1.5, lambda x: 1 / np.sqrt(x)),
    "reciprocal": Accuracy(0.5, lambda x: 1 / x),
    "floor": Accuracy(0, np.floor),
    "ceil": Accuracy(0, np.ceil),
    "trunc": Accuracy(0, np.trunc),
    "round": Accuracy(0, np.rint),
    "frac": Accuracy(0, lambda x: x - np.trunc(x)),
    "sinc": Accuracy(2.5, _sinc),
    "pow": Accuracy(0.51, np.power, 2),
    "atan2": Accuracy(0.51, np.arctan2, 2),
    "hypot": Accuracy(0.51, np.hypot, 2),
    "logaddexp": Accuracy(0.51, np.logaddexp, 2),
    "logaddexp2": Accuracy(0.51, np.logaddexp2, 2),
    "copysign": Accuracy(0, np.copysign, 2),
    "fmod": Accuracy(0, np.fmod, 2),
    "maximum": Accuracy(0, np.maximum, 2),
    "minimum": Accuracy(0, np.minimum, 2),
    "fmax": Accuracy(0, np.fmax, 2),
    "fmin": Accuracy(0, np.fmin, 2),
}

F64: Mapping[str, float] = {
    "exp": 1.0,
    "log": 1.0,
    "sigmoid": 2.5,
    "exp2": 1.0,
    "expm1": 1.0,
    "log2": 1.0,
    "log10": 2.0,
    "log1p": 1.0,
    "sin": 1.0,
    "cos": 1.0,
    "tan": 1.0,
    "asin": 1.0,
    "acos": 1.0,
    "atan": 1.0,
    "sinh": 2.5,
    "cosh": 2.0,
    "tanh": 2.5,
    "asinh": 2.0,
    "acosh": 2.0,
    "atanh": 2.0,
    "erf": 1.0,
    "erfc": 4.0,
    "rsqrt": 1.5,
}
"""Measured against mpmath; all but exp, log, sigmoid and rsqrt are the C library's."""

NOT_VECTORISED = ("fmod",)
"""Float functions that take a branch: an exact remainder of a huge quotient is a loop."""
