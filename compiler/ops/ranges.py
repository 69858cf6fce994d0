"""Evenly spaced numbers: arange, linspace, logspace, and the matrix of powers."""

from __future__ import annotations

import math

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from .base import Builder, Operand, OperatorError, WeakScalar, target
from .creation import number_dtype
from .pointwise import apply_promoted

Ignored = object
Bound = float | shapes.SymExpr


@target("aten.arange.default", "aten.arange.start", "aten.arange.start_step")
def arange(
    b: Builder, start: Operand = 0, end: Operand | None = None, step: Operand = 1,
    dtype: DType | None = None, layout: Ignored = None, device: Ignored = None,
    pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    if end is None:
        raise OperatorError("arange without an end")
    result = dtype or number_dtype(start, end, step)
    # An int64 range truncates its bounds before it counts, the narrower ones after.
    bounds = tuple(bound if result.is_float else _whole(b, bound) for bound in (start, end, step))
    length = _range_length(b, *(bounds if result is DType.INT64 else (start, end, step)))
    return _spaced(b, bounds[0], bounds[2], length, result)


@target("aten.range.default", "aten.range.step")
def inclusive_range(
    b: Builder, start: Bound, end: Bound, step: Bound = 1, dtype: DType | None = None,
    layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    """arange, the end included."""
    length: Dim
    if any(isinstance(bound, shapes.SymExpr) for bound in (start, end, step)):
        first, last, stride = _whole_bounds(start, end, step)
        length = shapes.floordiv(last - first, stride) + 1
    else:
        length = math.floor((end - start) / step) + 1  # type: ignore[operator]
    return _spaced(b, start, step, length, dtype or DType.FLOAT32)


def _range_length(b: Builder, start: Operand, end: Operand, step: Operand) -> Dim:
    """How many numbers lie in [start, end). Where it takes the fraction of a number that only the run
    knows, the run counts them."""
    bounds = (start, end, step)
    if any(isinstance(bound, complex) for bound in bounds):
        raise OperatorError(f"arange from {start} to {end} in steps of {step}")
    known = [bound for bound in bounds if isinstance(bound, (int, float))]
    if len(known) == len(bounds):
        return _known_length(*known)
    if all(_is_whole(x) or (isinstance(x, float) and x.is_integer()) for x in bounds):
        first, last, stride = _whole_bounds(*bounds)
        return shapes.maximum(shapes.ceildiv(last - first, stride), 0)
    first_value, last_value, step_value = (b.tensor(bound, DType.FLOAT64) for bound in bounds)
    steps = b.apply("div", b.apply("sub", last_value, first_value), step_value)
    return b.read_symbol(b.cast(b.apply("ceil", steps), DType.INT64))


def _known_length(start: float, end: float, step: float) -> int:
    if step == 0 or (end - start) * step < 0:
        raise OperatorError(f"arange from {start} to {end} in steps of {step}")
    if isinstance(start, int) and isinstance(end, int) and isinstance(step, int):
        return -((start - end) // step)
    return math.ceil((end - start) / step)


def _whole_bounds(*bounds: Operand) -> list[Dim]:
    whole: list[Dim] = []
    for bound in bounds:
        if isinstance(bound, (Value, WeakScalar, complex)):
            raise OperatorError(f"arange: bound {bound} has no value before the program runs")
        if isinstance(bound, float) and not bound.is_integer():
            raise OperatorError(f"arange with a symbolic bound and the fraction {bound}")
        whole.append(bound if isinstance(bound, shapes.SymExpr) else int(bound))
    return whole


def _spaced(b: Builder, start: Operand, step: Operand, length: Dim, dtype: DType) -> Value:
    """start + i * step, in int64 where both are integers, else in double as PyTorch does."""
    inner = DType.FLOAT64 if dtype.is_float else DType.INT64
    if dtype.is_float and _is_whole(start) and _is_whole(step):
        inner = DType.INT64
    positions = b.iota(length, inner)
    if step != 1:
        positions = b.apply("mul", positions, b.tensor(step, inner))
    if start != 0:
        positions = b.apply("add", b.tensor(start, inner), positions)
    return b.cast(positions, dtype)


def _is_whole(number: Operand) -> bool:
    return isinstance(number, (int, shapes.SymExpr))


@target("aten.linspace.default", "aten.linspace.Tensor_Tensor", "aten.linspace.Tensor_Scalar",
        "aten.linspace.Scalar_Tensor")  # fmt: skip
def linspace(
    b: Builder, start: Operand, end: Operand, steps: Dim, dtype: DType | None = None,
    layout: Ignored = None, device: Ignored = None, pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    """Counted from both ends, so that both are met exactly."""
    result = dtype or _linspace_dtype(b, start, end)
    if steps == 1:
        return b.reshape(b.tensor(start, result), (1,))
    if steps == 0:
        return b.full((0,), 0, result)
    # Integers are spaced in double precision and truncated.
    inner = result.compute if result.is_float or result.is_complex else DType.FLOAT64
    integers = not (result.is_float or result.is_complex)
    first, last = (b.tensor(_whole(b, x) if integers else x, inner) for x in (start, end))
    intervals = (
        b.dim(steps - 1, inner)
        if isinstance(steps, shapes.SymExpr)
        else b.full((), steps - 1, inner)
    )
    step = b.apply("div", b.apply("sub", last, first), intervals)
    position = b.iota(steps)
    forward = b.apply("add", first, b.apply("mul", step, b.cast(position, inner)))
    remaining = b.apply("sub", b.dim(steps - 1), position)
    backward = b.apply("sub", last, b.apply("mul", step, b.cast(remaining, inner)))
    half = b.dim(shapes.floordiv(steps, 2))
    return b.cast(b.where(b.apply("lt", position, half), forward, backward), result)


def _whole(b: Builder, bound: Operand) -> Operand:
    """A bound of a range of integers: its fraction is cut off."""
    if isinstance(bound, (Value, WeakScalar)):
        return b.tensor(bound, DType.INT64)
    return int(bound) if isinstance(bound, float) else bound


def _linspace_dtype(b: Builder, start: Operand, end: Operand) -> DType:
    dtype = b.result_type(start, end)
    return DType.COMPLEX64 if dtype.is_complex else DType.FLOAT32


@target("aten.logspace.default", "aten.logspace.Tensor_Tensor", "aten.logspace.Tensor_Scalar",
        "aten.logspace.Scalar_Tensor")  # fmt: skip
def logspace(
    b: Builder, start: Operand, end: Operand, steps: Dim, base: float = 10.0,
    dtype: DType | None = None, layout: Ignored = None, device: Ignored = None,
    pin_memory: Ignored = None,
) -> Value:  # fmt: skip
    result = dtype or _linspace_dtype(b, start, end)
    inner = result.complex if result.is_complex else DType.FLOAT64
    if not (result.is_float or result.is_complex):
        start, end = _whole(b, start), _whole(b, end)
    exponents = linspace(b, start, end, steps, inner)
    return b.cast(apply_promoted(b, "pow", b.full((), base, inner), exponents), result)


@target("aten.vander.default")
def vander(b: Builder, x: Value, N: int | None = None, increasing: bool = False) -> Value:  # noqa: N803
    count = x.shape[0] if N is None else N
    return _powers(b, x, count, increasing)


@target("aten.linalg_vander.default")
def linalg_vander(b: Builder, x: Value, *, N: Dim | None = None) -> Value:  # noqa: N803
    x = b.reshape(x, (1,)) if x.rank == 0 else x
    return _powers(b, x, x.shape[-1] if N is None else N, True)


def _powers(b: Builder, x: Value, count: Dim, increasing: bool) -> Value:
    """Column j holds x**j (or, not `increasing`, x**(count - 1 - j))."""
    dtype = x.dtype
    if not (dtype.is_float or dtype.is_complex):
        dtype = DType.INT64
    base = b.unsqueeze(b.cast(x, dtype), -1)
    exponent = b.iota(count)
    if not increasing:
        exponent = b.apply("sub", b.dim(count - 1), exponent)
    shape = (*x.shape, count)
    if dtype is DType.INT64:
        return b.expand(b.apply("pow", base, exponent), shape)
    # The power 0 is 1 of anything, NaN included, as in a running product.
    powers = b.apply("pow", base, b.cast(exponent, dtype))
    one = b.full((), 1, dtype)
    return b.expand(
        b.where(b.apply("eq", exponent, b.full((), 0, DType.INT64)), one, powers), shape
    )


@target("prims.iota.default")
def iota(
    b: Builder, length: Dim, start: Operand = 0, step: Operand = 1, dtype: DType = DType.INT64,
    device: Ignored = None, requires_grad: bool = False,
) -> Value:  # fmt: skip
    return _spaced(b, start, step, length, dtype)
