"""`numpy.fft`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import tensor_of
from ..recorder import Recorder
from ..sizes import dim_of
from .calls import array_of, call, normalized_axes, normalized_axis, xp
from .reductions import finished
from .table import implements


def _prepared(r: Recorder, a: Any, is_real: bool) -> Any:
    """The array in a type that NumPy transforms: float16 as float32, whole numbers as float64."""
    x = array_of(r, a)
    if x.dtype.kind in "biu":
        x = x.astype(np.float64)
    if x.dtype == np.float16:
        x = x.astype(np.float32)
    return x.real if is_real and x.dtype.kind == "c" else x


def _one_axis(name: str, is_real: bool) -> Any:
    def handler(
        r: Recorder, a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None
    ) -> Any:
        x = _prepared(r, a, is_real)
        given = {} if n is None else {"n": dim_of(n)}
        if tensor_of(x).shape[normalized_axis(axis, x.ndim)] == 0 and n is None:
            raise ValueError("Invalid number of FFT data points (0) specified.")
        result = call(r, f"fft_{name}.default", self=x, dim=int(axis), norm=norm, **given)
        return finished(result, out, f"np.fft.{name}")

    return handler


def _several_axes(name: str, is_real: bool, default: Any) -> Any:
    def handler(
        r: Recorder, a: Any, s: Any = None, axes: Any = default, norm: Any = None, out: Any = None
    ) -> Any:
        x = _prepared(r, a, is_real)
        given: dict[str, Any] = {} if s is None else {"s": [dim_of(size) for size in s]}
        if axes is not None:
            given["dim"] = list(normalized_axes(tuple(axes), x.ndim))
        elif s is not None:
            given["dim"] = list(range(x.ndim - len(s), x.ndim))
        result = call(r, f"fft_{name.replace('2', 'n')}.default", self=x, norm=norm, **given)
        return finished(result, out, f"np.fft.{name}")

    return handler


for _name in ("fft", "ifft", "hfft", "irfft"):
    implements(f"fft.{_name}")(_one_axis(_name, is_real=False))
for _name in ("rfft", "ihfft"):
    implements(f"fft.{_name}")(_one_axis(_name, is_real=True))
for _name, _default in (("fft2", (-2, -1)), ("ifft2", (-2, -1)), ("irfft2", (-2, -1)),
                        ("fftn", None), ("ifftn", None), ("irfftn", None)):  # fmt: skip
    implements(f"fft.{_name}")(_several_axes(_name, False, _default))
for _name, _default in (("rfft2", (-2, -1)), ("rfftn", None)):
    implements(f"fft.{_name}")(_several_axes(_name, True, _default))


def _shifted(sign: int) -> Any:
    def handler(r: Recorder, x: Any, axes: Any = None) -> Any:
        given = array_of(r, x)
        where = normalized_axes(axes, given.ndim)
        shifts = [given.shape[axis] // 2 for axis in where]
        return xp.roll(given, tuple(sign * shift for shift in shifts), where)

    return handler


implements("fft.fftshift")(_shifted(1))
implements("fft.ifftshift")(_shifted(-1))
