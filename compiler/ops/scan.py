"""Running sums, products, extremes and log-sums; differences of neighbours and trapezoids."""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..kernels import Definition, Number
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError, normalize_axis, target
from .pointwise import widen
from .statistics import accumulated

_SUFFIX = {
    DType.FLOAT16: "f16", DType.BFLOAT16: "bf16", DType.FLOAT32: "f32", DType.FLOAT64: "f64",
    DType.INT8: "i8", DType.INT16: "i16", DType.INT32: "i32", DType.INT64: "i64", DType.UINT8: "u8",
    DType.UINT16: "u16", DType.UINT32: "u32", DType.UINT64: "u64", DType.COMPLEX64: "c64",
    DType.COMPLEX128: "c128",
}  # fmt: skip


def _sizes(x: Value, axis: int) -> tuple[kernels.Argument, ...]:
    """The array seen as [outer, size, inner]."""
    outer = shapes.element_count(x.shape[:axis])
    inner = shapes.element_count(x.shape[axis + 1 :])
    return kernels.Size(outer), kernels.Size(x.shape[axis]), kernels.Size(inner)


@dataclass(frozen=True, slots=True)
class Scan(Op):
    """The running `kind` ("sum", "prod" or "logsumexp") along an axis; the dtype stays."""

    kind: str
    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        floating = x.dtype.is_float or x.dtype.is_complex
        if x.dtype not in _SUFFIX or (self.kind == "logsumexp" and not floating):
            raise OperatorError(f"running {self.kind} of {x}")
        return inputs

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x = widen(inputs[0])
        wide = x.dtype
        if x.dtype.kind == "f":
            wide = np.dtype(np.float64)
        elif x.dtype.kind == "c":
            wide = np.dtype(np.complex128)
        if self.kind != "logsumexp":
            function = np.cumsum if self.kind == "sum" else np.cumprod
            return (function(x.astype(wide), axis=self.axis, dtype=wide).astype(x.dtype),)
        rows = np.moveaxis(x.astype(wide), self.axis, 0)
        result = np.empty_like(rows)
        for k in range(len(rows)):
            result[k] = rows[0] if k == 0 else _log_add(result[k - 1], rows[k])
        return (np.moveaxis(result, 0, self.axis).astype(x.dtype),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        function = f"castoff_scan_{self.kind}_{_SUFFIX[x.dtype]}"
        arguments = (kernels.Out(0), kernels.In(0), *_sizes(x, self.axis))
        return (kernels.LibraryCall(function, ("common/scan.h",), arguments),)


def _log_add(total: np.ndarray, x: np.ndarray) -> np.ndarray:
    if not np.iscomplexobj(x):
        return np.asarray(np.logaddexp(total, x))
    low = np.where(total.real < x.real, total, x)
    high = np.where(total.real < x.real, x, total)
    return np.where(np.isneginf(low.real), high, high + np.log(1 + np.exp(low - high)))


@dataclass(frozen=True, slots=True)
class ScanExtreme(Op):
    """(values, int64 positions) of the running "max" or "min" along an axis.

    A NaN stays once it was met; of equal elements the last one counts.
    """

    kind: str
    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.dtype not in _SUFFIX or x.dtype.is_complex:
            raise OperatorError(f"running {self.kind} of {x}")
        return x, TensorType(DType.INT64, x.shape)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        rows = np.moveaxis(inputs[0], self.axis, 0)
        values, positions = rows.copy(), np.zeros(rows.shape, np.int64)
        for k in range(1, len(rows)):
            held, here = widen(values[k - 1]), widen(rows[k])
            better = here >= held if self.kind == "max" else here <= held
            taken = (here != here) | ((held == held) & better)
            values[k] = np.where(taken, rows[k], values[k - 1])
            positions[k] = np.where(taken, k, positions[k - 1])
        return np.moveaxis(values, 0, self.axis), np.moveaxis(positions, 0, self.axis)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        (x,) = inputs
        function = f"castoff_scan_{self.kind}_{_SUFFIX[x.dtype]}"
        arguments = (kernels.Out(0), kernels.Out(1), kernels.In(0), *_sizes(x, self.axis))
        return (kernels.LibraryCall(function, ("common/scan.h",), arguments),)


@target("aten.cumsum.default")
def cumsum(b: Builder, self: Value, dim: int, dtype: DType | None = None) -> Value:
    return _running(b, "sum", accumulated(b, self, dtype), dim)


@target("aten.cumprod.default")
def cumprod(b: Builder, self: Value, dim: int, dtype: DType | None = None) -> Value:
    return _running(b, "prod", accumulated(b, self, dtype), dim)


@target("aten.logcumsumexp.default", "aten._logcumsumexp.default")
def logcumsumexp(b: Builder, self: Value, dim: int) -> Value:
    (x,) = b.promoted(self, floating=True)
    return _running(b, "logsumexp", x, dim)


def _running(b: Builder, kind: str, x: Value, dim: int) -> Value:
    axis = normalize_axis(dim, x.rank)
    return b.emit1(Scan(kind, axis), x) if x.rank else x


def _running_extreme(b: Builder, kind: str, x: Value, dim: int) -> tuple[Value, Value]:
    axis = normalize_axis(dim, x.rank)
    if not x.rank:
        return x, b.full((), 0, DType.INT64)
    is_bool = x.dtype is DType.BOOL
    values, positions = b.emit(ScanExtreme(kind, axis), b.cast(x, DType.UINT8) if is_bool else x)
    return (b.cast(values, DType.BOOL) if is_bool else values), positions


@target("aten.cummax.default")
def cummax(b: Builder, self: Value, dim: int) -> tuple[Value, Value]:
    return _running_extreme(b, "max", self, dim)


@target("aten.cummin.default")
def cummin(b: Builder, self: Value, dim: int) -> tuple[Value, Value]:
    return _running_extreme(b, "min", self, dim)


# ------------------------------------------------------------------- differences and trapezoids


def neighbours(b: Builder, x: Value, axis: int) -> tuple[Value, Value]:
    """All but the last, and all but the first element along an axis."""
    length = x.shape[axis] - 1
    return b.slice(x, axis, 0, length), b.slice(x, axis, 1, length)


@target("aten.diff.default")
def diff(
    b: Builder, self: Value, n: int = 1, dim: int = -1, prepend: Value | None = None,
    append: Value | None = None,
) -> Value:  # fmt: skip
    axis = normalize_axis(dim, self.rank)
    if n == 0:  # then PyTorch leaves out what is to be put before and after
        return self
    pieces = [piece for piece in (prepend, self, append) if piece is not None]
    if len(pieces) > 1:
        pieces = list(b.promoted(*pieces))
    x = b.concatenate(pieces, axis) if len(pieces) > 1 else self
    for _ in range(n):
        if shapes.is_equal(x.shape[axis], 0) is True:
            break
        before, after = neighbours(b, x, axis)
        x = b.apply("logical_xor" if x.dtype is DType.BOOL else "sub", after, before)
    return x


def _panels(b: Builder, y: Value, x: Value | None, dx: Number, dim: int) -> tuple[Value, int]:
    """The doubled areas of the trapezoids between neighbours along an axis; integers wrap."""
    axis = normalize_axis(dim, y.rank)
    heights = b.call("aten.add.Tensor", *neighbours(b, y, axis))
    if x is None:
        return b.call("aten.mul.Tensor", heights, float(dx.real)), axis
    if x.rank == 1 and y.rank != 1:
        x = b.reshape(x, tuple(x.shape[0] if a == axis else 1 for a in range(y.rank)))
    elif x.rank < y.rank:
        x = b.reshape(x, (*(1,) * (y.rank - x.rank), *x.shape))
    left, right = neighbours(b, x, axis) if x.shape[axis] != 1 else (x, x)
    return b.call("aten.mul.Tensor", b.call("aten.sub.Tensor", right, left), heights), axis


def _halved(b: Builder, x: Value) -> Value:
    result: Value = b.call("aten.div.Tensor", x, 2.0)
    return result


@target("aten.trapezoid.x", "aten.trapezoid.dx", "aten.trapz.x", "aten.trapz.dx")
def trapezoid(b: Builder, y: Value, x: Value | None = None, dx: Number = 1, dim: int = -1) -> Value:
    axis = normalize_axis(dim, y.rank)
    if y.shape[axis] == 0:
        return b.full(y.shape[:axis] + y.shape[axis + 1 :], 0, y.dtype)
    areas, axis = _panels(b, y, x, dx, dim)
    return _halved(b, b.call("aten.sum.dim_IntList", areas, (axis,)))


@target("aten.cumulative_trapezoid.x", "aten.cumulative_trapezoid.dx")
def cumulative_trapezoid(
    b: Builder, y: Value, x: Value | None = None, dx: Number = 1, dim: int = -1
) -> Value:
    areas, axis = _panels(b, y, x, dx, dim)
    return _halved(b, cumsum(b, areas, axis))
