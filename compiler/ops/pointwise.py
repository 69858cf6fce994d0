"""Pointwise primitives: one row of `TABLE` each, and the conversions and selects beside them.

A pointwise primitive broadcasts its inputs, which have one dtype, and applies the scalar operation
of the same name (`targets/` spells it in C). To add one: a row here, its C spelling if it is not
`castoff_<name>_<type>`, and a target that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType, Kind
from ..ir.graph import TensorType, Value
from ..kernels import Definition
from ..records import dataclass
from .base import Builder, Environment, Op, Operand, OperatorError, WeakScalar


@dataclass(frozen=True, slots=True)
class Row:
    """One pointwise primitive: its NumPy function and how its dtype follows from its inputs'."""

    reference: Callable[..., Any]
    result: str = "same"
    """"same", "bool" (a predicate), "real" or "complex" (the dtype of, or made of, real parts) or
    "int32"."""
    cost: int = 1
    """Rough instructions per element: what costs more than a few is not computed twice to save a
    store."""
    kinds: str = "f"
    """What it computes with: b(ool), i(ntegers), f(loats), c(omplex numbers)."""
    is_step: bool = False
    """It jumps: numbers that round to one of a narrow type may give different results, so it is
    given what its operands are rounded to, in a fused loop too."""


_KINDS: Mapping[str, Kind] = {kind.name[0].lower(): kind for kind in Kind}

TABLE: dict[str, Row] = {}


def register_pointwise(
    name: str,
    reference: Callable[..., Any],
    result: str = "same",
    cost: int = 1,
    kinds: str = "f",
    is_step: bool = False,
) -> None:
    """Add a primitive; called by the family modules when they are imported."""
    assert name not in TABLE, f"two pointwise primitives called {name}"
    TABLE[name] = Row(reference, result, cost, kinds, is_step)


@dataclass(frozen=True, slots=True)
class PointwiseOp(Op):
    """`name` of the inputs, elementwise, with broadcasting."""

    name: str

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        dtype = inputs[0].dtype
        if any(t.dtype is not dtype for t in inputs):
            raise OperatorError(f"{self.name} of {', '.join(map(str, inputs))}: dtypes differ")
        row = TABLE[self.name]
        if dtype.kind not in map(_KINDS.get, row.kinds):
            taken = " and ".join(_KINDS[letter].name.lower() for letter in row.kinds)
            raise OperatorError(f"{self.name} of {inputs[0]}: it is for {taken} tensors")
        shape = broadcast(self.name, *inputs)
        result = row.result
        if result == "bool":
            dtype = DType.BOOL
        elif result == "real":
            dtype = dtype.real
        elif result == "complex":
            dtype = dtype.complex
        elif result == "int32":
            dtype = DType.INT32
        return (TensorType(dtype, shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (TABLE[self.name].reference(*(widen(x) for x in inputs)),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        dtype = outputs[0].dtype.compute

        def body(index: kernels.Index) -> kernels.Scalar:
            loads: Iterable[kernels.Scalar] = (kernels.load_broadcast(x, index) for x in inputs)
            if TABLE[self.name].is_step:
                loads = (kernels.cast(element, inputs[0].dtype) for element in loads)
            return kernels.apply(self.name, *loads, dtype=dtype)

        return (kernels.Pointwise(body),)

    def __str__(self) -> str:
        return self.name


def pointwise(name: str) -> PointwiseOp:
    """The primitive of a name; `KeyError` where there is none."""
    TABLE[name]
    return PointwiseOp(name)


def elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy function that applies a function of Python floats to each element, in doubles.

    Where it raises, as `math` does outside a function's domain, the element is NaN.
    """

    def one(*numbers: float) -> Any:
        try:
            return function(*numbers)
        except (ValueError, ZeroDivisionError, OverflowError):
            return float("nan")

    def apply(*arrays: np.ndarray) -> np.ndarray:
        dtype = arrays[0].dtype
        wide = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in arrays))
        columns = zip(*(x.reshape(-1) for x in wide), strict=True)
        elements = [one(*map(float, numbers)) for numbers in columns]
        return np.array(elements, np.float64).reshape(wide[0].shape).astype(dtype)

    return apply


def compute_operands(
    b: Builder, *operands: Operand, floating: bool = False
) -> tuple[DType, tuple[Value, ...]]:
    """The common dtype of operands, and the operands in the type its arithmetic is done in.

    For operators of several steps: narrow floats stay float32 between the steps, and numbers are
    not rounded to the narrow type. Cast the result to the dtype that is given first.
    """
    dtype = b.result_type(*operands)
    if floating and not (dtype.is_float or dtype.is_complex):
        dtype = DType.FLOAT32
    return dtype, tuple(b.widen(operand, dtype) for operand in operands)


def apply_promoted(
    b: Builder, name: str, *operands: Operand, floating: bool = False, dtype: DType | None = None
) -> Value:
    """A pointwise primitive of operands cast to their common dtype (or to `dtype`).

    Numbers keep float32 precision beside tensors of narrow floats, as in PyTorch's kernels.
    """
    dtype = dtype or b.result_type(*operands)
    if floating and not (dtype.is_float or dtype.is_complex):
        dtype = DType.FLOAT32
    if all(isinstance(x, Value) for x in operands):
        return b.apply(name, *(b.tensor(operand, dtype) for operand in operands))
    if TABLE[name].is_step:
        values = tuple(b.tensor(operand, dtype.compute) for operand in operands)
    else:
        values = tuple(b.widen(operand, dtype) for operand in operands)
    result = b.apply(name, *values)
    return b.cast(result, dtype) if result.dtype is dtype.compute else result


def plain_number(operand: Operand | None) -> int | float | complex | None:
    """The number an operand is known to be, else None."""
    if isinstance(operand, (Value, WeakScalar, shapes.SymExpr)):
        return None
    return operand


def broadcast(what: str, *inputs: TensorType) -> shapes.Shape:
    """The common shape, or an `OperatorError` that names the operator."""
    try:
        return shapes.broadcast_shapes(*(t.shape for t in inputs))
    except ValueError as error:
        raise OperatorError(f"{what}: {error}") from None


def widen(x: np.ndarray) -> np.ndarray:
    """The array in the type arithmetic is done in: float32 for the narrow floats."""
    if x.dtype.itemsize < 4 and x.dtype.kind not in "biuS":
        return x.astype(np.float32)
    return x


@dataclass(frozen=True, slots=True)
class CastTo(Op):
    """Conversion to a dtype.

    Floats become integers by truncation, anything bool by `!= 0`, complex real by its real part.
    A narrow float is converted as it is rounded to its type, in a fused loop too.
    """

    dtype: DType

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(self.dtype, inputs[0].shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x = widen(inputs[0])
        if np.iscomplexobj(x) and not self.dtype.is_complex:
            x = x.real if self.dtype is not DType.BOOL else x != 0
        if self.dtype is DType.BOOL:
            return (x != 0,)
        if self.dtype.is_integer and x.dtype.kind == "f":
            # Narrow targets take the low bits of the int64, as PyTorch's conversion on x86 does.
            x = x.astype(np.int64) if self.dtype is not DType.UINT64 else x
        if self.dtype is DType.FLOAT8_E4M3FN:  # it saturates, infinities too
            x = np.clip(x, -448, 448)
        elif self.dtype is DType.FLOAT8_E8M0FNU:  # it has neither signs nor a zero
            x = np.maximum(np.abs(x), 2.0**-127)
        return (x.astype(self.dtype.numpy),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        def body(index: kernels.Index) -> kernels.Scalar:
            return kernels.cast(kernels.load_rounded(inputs[0], index), self.dtype)

        return (kernels.Pointwise(body),)


@dataclass(frozen=True, slots=True)
class Widen(Op):
    """The type arithmetic is done in: float32 for the narrow floats, which nothing in it rounds first.

    Inside operators only. What computes x in the same loop has digits that x itself has not.
    """

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(inputs[0].dtype.compute, inputs[0].shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (widen(inputs[0]),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        return (kernels.Pointwise(lambda index: kernels.load(inputs[0], index)),)


@dataclass(frozen=True, slots=True)
class Where(Op):
    """Input 1 where the bool input 0 holds, else input 2; all broadcast."""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        condition, then, otherwise = inputs
        if condition.dtype is not DType.BOOL or then.dtype is not otherwise.dtype:
            raise OperatorError(f"where of {', '.join(map(str, inputs))}")
        return (TensorType(then.dtype, broadcast("where", *inputs)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.where(*inputs),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        return (
            kernels.Pointwise(
                lambda i: kernels.where(*(kernels.load_broadcast(x, i) for x in inputs))
            ),
        )


@dataclass(frozen=True, slots=True)
class BitCast(Op):
    """The same bits as another dtype of the same size."""

    is_view: ClassVar[bool] = True

    dtype: DType

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        if inputs[0].dtype.itemsize != self.dtype.itemsize:
            raise OperatorError(f"{inputs[0]} seen as {self.dtype.value}: sizes differ")
        return (TensorType(self.dtype, inputs[0].shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x = inputs[0]
        return (x.reshape(-1).view(self.dtype.numpy).reshape(x.shape),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        call = kernels.LibraryCall(
            "castoff_copy_bytes",
            ("common/copy.h",),
            (
                kernels.Out(0),
                kernels.In(0),
                kernels.Size(shapes.element_count(inputs[0].shape) * inputs[0].dtype.itemsize),
            ),
        )
        return (call,)

    def inverse(self, builder: Builder, base: Value, updated: Value) -> Value:
        return builder.emit1(BitCast(base.dtype), updated)


def _divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(np.true_divide(x, y, dtype=x.dtype))


def _power(x: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    if x.dtype.kind not in "iu":
        return np.asarray(np.power(x, exponent))
    # A negative power of an integer is 0, but for those of 1 and -1.
    result = np.power(x, np.maximum(exponent, 0))
    parity = np.where(exponent % 2 == 0, 1, x)
    inverse = np.where(np.abs(x) == 1, parity, 0)
    return np.where(exponent < 0, inverse, result).astype(x.dtype)


def _register_table() -> None:
    register_pointwise("add", lambda x, y: x | y if x.dtype == bool else np.add(x, y), kinds="bifc")
    register_pointwise("sub", np.subtract, kinds="bifc")
    register_pointwise(
        "mul", lambda x, y: x & y if x.dtype == bool else np.multiply(x, y), kinds="bifc"
    )
    register_pointwise("neg", np.negative, kinds="ifc")
    register_pointwise("abs", np.abs, "real", kinds="ifc")
    for extreme in (np.maximum, np.minimum, np.fmax, np.fmin):
        register_pointwise(extreme.__name__, extreme, kinds="bif")
    for rounding in (np.floor, np.ceil, np.trunc):
        register_pointwise(rounding.__name__, rounding, is_step=True)
    register_pointwise("round", np.rint, is_step=True)
    # one instruction that takes the time of many
    register_pointwise("div", _divide, cost=6, kinds="fc")
    register_pointwise("sqrt", np.sqrt, cost=6, kinds="fc")
    predicates: Mapping[str, Mapping[str, Callable[..., Any]]] = {
        "bifc": {
            "eq": np.equal, "ne": np.not_equal, "logical_and": np.logical_and,
            "logical_or": np.logical_or, "logical_xor": np.logical_xor, "logical_not": np.logical_not,
        },
        "bif": {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal},
        "fc": {"isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite},
    }  # fmt: skip
    for kinds, functions in predicates.items():
        for name, function in functions.items():
            register_pointwise(name, function, "bool", kinds=kinds, is_step=True)
    costly: Mapping[str, Callable[..., Any]] = {
        "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos, "tanh": np.tanh,
        "rsqrt": lambda x: (1 / np.sqrt(x)).astype(x.dtype),
        "reciprocal": lambda x: (1 / x).astype(x.dtype),
        "sigmoid": lambda x: (1 / (1 + np.exp(-x))).astype(x.dtype),
    }  # fmt: skip
    for name, function in costly.items():
        register_pointwise(name, function, cost=12, kinds="fc")
    register_pointwise("exp_decay", np.exp, cost=12)  # of what is at most 0, at less cost
    register_pointwise("pow", _power, cost=12, kinds="ifc")


_register_table()
