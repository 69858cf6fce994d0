"""Functions of single elements that are no ufuncs, and functions of neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import TracedArray, tensor_of
from ..conversion import is_weak
from ..recorder import Recorder
from ..where import refused
from .calls import array_of, call, normalized_axis, xp
from .reductions import finished
from .table import implements


@implements("round", "around")
def round_(r: Recorder, a: Any, decimals: int = 0, out: Any = None) -> Any:
    x = array_of(r, a)
    if x.dtype.kind in "iu" and decimals >= 0:
        return finished(x.copy(), out, "np.round")
    if x.dtype.kind == "b" and decimals:
        raise TypeError("Cannot cast ufunc 'multiply' output from float64 to bool")
    if x.dtype.kind == "b":
        return finished(xp.rint(x.astype(np.float16)), out, "np.round")
    if decimals == 0:
        return finished(xp.rint(x), out, "np.round")
    scale = 10.0 ** abs(decimals)
    if x.dtype.kind in "iu":
        wide = xp.rint(x / scale) * scale
        return finished(wide.astype(x.dtype), out, "np.round")
    result = xp.rint(x * scale) / scale if decimals > 0 else xp.rint(x / scale) * scale
    return finished(result, out, "np.round")


@implements("fix")
def fix(r: Recorder, x: Any, out: Any = None) -> Any:
    return finished(xp.trunc(array_of(r, x)), out, "np.fix")


@implements("nan_to_num")
def nan_to_num(
    r: Recorder, x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    given = array_of(r, x)
    if given.dtype.kind == "c":
        parts = (
            nan_to_num(r, part, True, nan, posinf, neginf) for part in (given.real, given.imag)
        )
        real, imag = parts
        return call(r, "complex.default", real=real, imag=imag)
    if given.dtype.kind != "f":
        return given.copy() if copy else given
    limits = np.finfo(given.dtype)
    kind = given.dtype.type
    result = xp.where(xp.isnan(given), kind(nan), given)
    result = xp.where(
        xp.equal(given, np.inf), kind(limits.max if posinf is None else posinf), result
    )
    result = xp.where(
        xp.equal(given, -np.inf), kind(limits.min if neginf is None else neginf), result
    )
    if copy:
        return result
    given[...] = result
    return given


@implements("isposinf")
def isposinf(r: Recorder, x: Any, out: Any = None) -> Any:
    return finished(xp.equal(array_of(r, x), np.inf), out, "np.isposinf")


@implements("isneginf")
def isneginf(r: Recorder, x: Any, out: Any = None) -> Any:
    return finished(xp.equal(array_of(r, x), -np.inf), out, "np.isneginf")


@implements("iscomplex")
def iscomplex(r: Recorder, x: Any) -> Any:
    given = array_of(r, x)
    return given.imag != 0 if given.dtype.kind == "c" else xp.zeros_like(given, np.bool_)


@implements("isreal")
def isreal(r: Recorder, x: Any) -> Any:
    return ~iscomplex(r, x)


@implements("iscomplexobj")
def iscomplexobj(r: Recorder, x: Any) -> bool:
    return bool(array_of(r, x).dtype.kind == "c")


@implements("isrealobj")
def isrealobj(r: Recorder, x: Any) -> bool:
    return not iscomplexobj(r, x)


@implements("angle")
def angle(r: Recorder, z: Any, deg: bool = False) -> Any:
    x = array_of(r, z)
    if x.dtype.kind == "c":
        result = xp.arctan2(x.imag, x.real)
    else:
        result = xp.arctan2(xp.zeros_like(x), x)
    return result * (180 / np.pi) if deg else result


@implements("real_if_close")
def real_if_close(r: Recorder, a: Any, tol: float = 100) -> Any:
    raise refused("np.real_if_close: the type of its result depends on the elements")


@implements("sinc")
def sinc(r: Recorder, x: Any) -> Any:
    given = array_of(r, x)
    given = given.astype(given.dtype if given.dtype.kind in "fc" else np.float64, copy=False)
    scaled = np.pi * xp.where(xp.equal(given, 0), given.dtype.type(1.0e-20), given)
    return xp.sin(scaled) / scaled


@implements("i0")
def i0(r: Recorder, x: Any) -> Any:
    given = array_of(r, x)
    given = given.astype(np.float64) if given.dtype.kind != "f" else given
    return call(r, "i0.default", self=given)


@implements("isclose")
def isclose(
    r: Recorder, a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False
) -> Any:
    x, y = array_of(r, a), array_of(r, b)
    if y.dtype.kind in "iub":
        y = y.astype(np.result_type(y.dtype, 1.0))
    near = xp.less_equal(xp.absolute(x - y), atol + rtol * xp.absolute(y)) & xp.isfinite(y)
    result = near | xp.equal(x, y)
    return result | (xp.isnan(x) & xp.isnan(y)) if equal_nan else result


@implements("allclose")
def allclose(
    r: Recorder, a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False
) -> Any:
    """A captured truth value: Python code cannot branch on it."""
    return xp.all(isclose(r, a, b, rtol, atol, equal_nan))


@implements("array_equal")
def array_equal(r: Recorder, a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    x, y = array_of(r, a1), array_of(r, a2)
    if x.ndim != y.ndim or any(m != n for m, n in zip(x.shape, y.shape, strict=True)):
        return False
    same = xp.equal(x, y)
    return xp.all(same | (xp.isnan(x) & xp.isnan(y)) if equal_nan else same)


@implements("unwrap")
def unwrap(
    r: Recorder, p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * np.pi
) -> Any:
    x = array_of(r, p)
    along = normalized_axis(axis, x.ndim)
    steps = xp.diff(x, axis=along)
    limit = period / 2 if discont is None else discont
    kind = np.result_type(steps.dtype, period if is_weak(period) else array_of(r, period).dtype)
    if kind.kind in "iu":
        raise refused("np.unwrap of integers with an integer period")
    low, high = -period / 2, period / 2
    wrapped = xp.mod(steps - low, period) + low
    wrapped = xp.where(
        xp.equal(wrapped, low) & (steps > 0), np.asarray(high, wrapped.dtype), wrapped
    )
    correction = xp.where(xp.absolute(steps) < limit, np.zeros((), wrapped.dtype), wrapped - steps)
    later: tuple[Any, ...] = (slice(None),) * along + (slice(1, None),)
    result = x.astype(kind)
    result[later] = x[later] + xp.cumsum(correction, along)
    return result


# ---- neighbours


@implements("gradient")
def gradient(r: Recorder, f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    x = array_of(r, f)
    axes = (
        tuple(range(x.ndim))
        if axis is None
        else axis
        if isinstance(axis, (tuple, list))
        else (axis,)
    )
    axes = tuple(normalized_axis(each, x.ndim) for each in axes)
    if edge_order != 1 or any(np.ndim(step) for step in varargs):
        raise refused("np.gradient with edge_order=2 or with coordinates")
    steps = list(varargs) * (len(axes) if len(varargs) == 1 else 1) or [1.0] * len(axes)
    if x.dtype.kind == "b":
        raise TypeError("numpy boolean subtract, the `-` operator, is not supported")
    if x.dtype.kind in "iu":
        x = x.astype(np.float64)
    if any(not r.sizes.require_less(1, tensor_of(x).shape[each]) for each in axes):
        raise ValueError("Shape of array too small to calculate a numerical gradient")
    results = [_slope(x, along, step) for along, step in zip(axes, steps, strict=True)]
    return results[0] if len(axes) == 1 else tuple(results)


def _slope(x: Any, axis: int, step: Any) -> Any:
    def part(start: int | None, stop: int | None) -> Any:
        key: tuple[Any, ...] = (slice(None),) * axis + (slice(start, stop),)
        return x[key]

    first = (part(1, 2) - part(0, 1)) / step
    middle = (part(2, None) - part(None, -2)) / (2.0 * step)
    last = (part(-1, None) - part(-2, -1)) / step
    return xp.concatenate([first, middle, last], axis)


@implements("trapezoid", "trapz")
def trapezoid(r: Recorder, y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    values = array_of(r, y)
    along = normalized_axis(axis, values.ndim)
    later: tuple[Any, ...] = (slice(None),) * along + (slice(1, None),)
    sooner: tuple[Any, ...] = (slice(None),) * along + (slice(None, -1),)
    width = dx
    if x is not None:
        places = array_of(r, x)
        width = xp.diff(places, axis=-1 if places.ndim == 1 else along)
        if places.ndim == 1:
            width = width[tuple(slice(None) if i == along else None for i in range(values.ndim))]
    return xp.sum(width * (values[later] + values[sooner]) / 2.0, along)


@implements("ediff1d")
def ediff1d(r: Recorder, ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    x = xp.ravel(array_of(r, ary))
    parts = [to_begin, x[1:] - x[:-1], to_end]
    given = [xp.ravel(array_of(r, part)).astype(x.dtype) for part in parts if part is not None]
    return xp.concatenate(given)


@implements("interp")
def interp(r: Recorder, x: Any, xp_: Any = None, fp: Any = None, left: Any = None, right: Any = None,
           period: Any = None, **named: Any) -> Any:  # fmt: skip
    if period is not None:
        raise refused("np.interp with period=")
    places = array_of(r, named.get("xp", xp_)).astype(np.float64)
    values = array_of(r, fp)
    values = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
    given = array_of(r, x).astype(np.float64, casting="safe")
    count = places.shape[0]
    if count == 1:
        flat = xp.broadcast_to(values[0], given.shape)
        result = flat + given * 0
    else:
        position = xp.searchsorted(places, given, "right") - 1
        position = xp.clip(position, 0, array_of(r, count) - 2)
        start, end = places[position], places[position + 1]
        slope = (values[position + 1] - values[position]) / (end - start)
        result = slope * (given - start) + values[position]
        result = xp.where(given >= places[-1], values[-1], result)
    low = values[0] if left is None else array_of(r, left).astype(values.dtype)
    high = values[-1] if right is None else array_of(r, right).astype(values.dtype)
    result = xp.where(given < places[0], low, result)
    return xp.where(given > places[-1], high, result)


_PADS = {
    "constant": None, "reflect": "reflect", "symmetric": "symmetric", "edge": "edge", "wrap": "wrap",
}  # fmt: skip


@implements("pad")
def pad(r: Recorder, array: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    x = array_of(r, array)
    widths = _pairs(pad_width, x.ndim)
    if mode not in _PADS:
        raise refused(f"np.pad with mode={mode!r}; there are {', '.join(_PADS)}")
    if options.get("reflect_type", "even") != "even":
        raise refused("np.pad with reflect_type='odd'")
    if mode == "constant":
        return _padded(r, x, widths, _pairs(options.get("constant_values", 0), x.ndim))
    for axis, (before, after) in enumerate(widths):
        if before or after:
            size = r.sizes.number(tensor_of(x).shape[axis])
            positions = np.pad(np.arange(size), (before, after), mode)
            x = xp.take(x, positions, axis)
    return x.copy() if not any(before or after for before, after in widths) else x


def _padded(r: Recorder, x: Any, widths: list[Any], values: list[Any]) -> Any:
    """One number all around in one call; otherwise axis by axis, as NumPy does."""
    numbers = {value for pair in values for value in pair}
    if len(numbers) == 1:
        (value,) = numbers
        flat = [width for pair in reversed(widths) for width in pair]
        number = np.asarray(value).astype(x.dtype).item()
        return call(r, "constant_pad_nd.default", self=x, pad=flat, value=number)
    for axis, (pair, ends) in enumerate(zip(widths, values, strict=True)):
        parts = []
        for width, value in zip(pair, ends, strict=True):
            shape = tuple(width if i == axis else size for i, size in enumerate(x.shape))
            parts.append(xp.full(shape, value, x.dtype, like=x))
        x = xp.concatenate([parts[0], x, parts[1]], axis)
    return x


def _pairs(given: Any, rank: int) -> list[Any]:
    """(before, after) of every axis, for what `np.pad` takes: a number, a pair, or one for each axis."""
    if isinstance(given, dict):
        found = {normalized_axis(axis, rank): pair for axis, pair in given.items()}
        return [found.get(axis, (0, 0)) if not isinstance(found.get(axis), int) else (found[axis],) * 2
                for axis in range(rank)]  # fmt: skip
    if not isinstance(given, (tuple, list, np.ndarray)):
        return [(given, given)] * rank
    items = list(given)
    if all(not isinstance(item, (tuple, list, np.ndarray)) for item in items):
        pair = tuple(items) if len(items) == 2 else (items[0], items[0])
        return [pair] * rank
    pairs = [tuple(item) if len(item) == 2 else (item[0], item[0]) for item in items]
    return pairs * rank if len(pairs) == 1 else pairs


@implements("polyval")
def polyval(r: Recorder, p: Any, x: Any) -> Any:
    given = array_of(r, x)
    coefficients = list(array_of(r, p) if isinstance(p, TracedArray) else np.asarray(p))
    result = xp.zeros_like(given)
    for coefficient in coefficients:
        result = result * given + coefficient
    return result


@implements("result_type")
def result_type(r: Recorder, *arrays_and_dtypes: Any) -> np.dtype[Any]:
    kinds = (x.dtype if isinstance(x, TracedArray) else x for x in arrays_and_dtypes)
    found: np.dtype[Any] = np.result_type(*kinds)
    return found


@implements("can_cast")
def can_cast(r: Recorder, from_: Any, to: Any, casting: Any = "safe") -> bool:
    return np.can_cast(from_.dtype if isinstance(from_, TracedArray) else from_, to, casting)


@implements("astype")
def astype(r: Recorder, x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return array_of(r, x).astype(dtype, copy=copy)
