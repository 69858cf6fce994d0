"""Arguments of the file as what operators are called with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, Union

from ..exported import schema
from ..exported.schema import Argument, ScalarType
from ..ir.dtypes import DType
from ..ir.shapes import SymExpr
from ..ops.base import Builder, OperatorError, WeakScalar
from ..records import dataclass
from .functionalize import TensorRef

DTYPES = {
    ScalarType.BYTE: DType.UINT8,
    ScalarType.CHAR: DType.INT8,
    ScalarType.SHORT: DType.INT16,
    ScalarType.INT: DType.INT32,
    ScalarType.LONG: DType.INT64,
    ScalarType.HALF: DType.FLOAT16,
    ScalarType.FLOAT: DType.FLOAT32,
    ScalarType.DOUBLE: DType.FLOAT64,
    ScalarType.COMPLEXHALF: DType.COMPLEX32,
    ScalarType.COMPLEXFLOAT: DType.COMPLEX64,
    ScalarType.COMPLEXDOUBLE: DType.COMPLEX128,
    ScalarType.BOOL: DType.BOOL,
    ScalarType.BFLOAT16: DType.BFLOAT16,
    ScalarType.UINT16: DType.UINT16,
    ScalarType.UINT32: DType.UINT32,
    ScalarType.UINT64: DType.UINT64,
    ScalarType.FLOAT8E4M3FN: DType.FLOAT8_E4M3FN,
    ScalarType.FLOAT8E5M2: DType.FLOAT8_E5M2,
    ScalarType.FLOAT8E4M3FNUZ: DType.FLOAT8_E4M3FNUZ,
    ScalarType.FLOAT8E5M2FNUZ: DType.FLOAT8_E5M2FNUZ,
    ScalarType.FLOAT8E8M0FNU: DType.FLOAT8_E8M0FNU,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A symbolic bool: true where the expression is not 0 (it is 0 or 1)."""

    expression: SymExpr


@dataclass(frozen=True, slots=True)
class OperatorName:
    """An operator passed as a value."""

    target: str


Number = bool | int | float | complex
ScalarBinding = Number | SymExpr | Condition | WeakScalar
"""What a symbolic int, float or bool of the file is while importing."""

Argued = Union[
    None, TensorRef, ScalarBinding, str, DType, schema.Graph, OperatorName, "list[Argued]",
    "dict[str, Argued]",
]  # fmt: skip
"""A decoded argument; tensors are references still."""


class Names(Protocol):
    """Looks up what the names of the file are bound to."""

    def tensor(self, name: str) -> TensorRef:
        """The tensor of a name."""
        ...

    def scalar(self, name: str) -> ScalarBinding:
        """The symbolic number of a name."""
        ...


def decode(argument: Argument, names: Names) -> Argued:
    """The Python value of an argument."""

    def scalar(value: Any) -> Argued:
        return names.scalar(value) if isinstance(value, str) else value

    match argument:
        case schema.AsNone():
            return None
        case schema.AsTensor(name):
            return names.tensor(name)
        case schema.AsOptionalTensor(name):
            return None if name is None else names.tensor(name)
        case schema.AsTensors(tensors):
            return [names.tensor(name) for name in tensors]
        case schema.AsOptionalTensors(optional):
            return [None if name is None else names.tensor(name) for name in optional]
        case schema.AsNestedTensors(nested):
            return [[names.tensor(name) for name in group] for group in nested]
        case (
            schema.AsInt(value) | schema.AsFloat(value) | schema.AsBool(value)
            | schema.AsString(value) | schema.AsComplex(value)
        ):  # fmt: skip
            return value
        case (
            schema.AsInts(values) | schema.AsFloats(values) | schema.AsBools(values)
            | schema.AsStrings(values)
        ):  # fmt: skip
            return list(values)
        case schema.AsIntLists(lists) | schema.AsFloatLists(lists):
            return [list(row) for row in lists]
        case schema.AsSymInt(value) | schema.AsSymFloat(value) | schema.AsSymBool(value):
            return scalar(value)
        case schema.AsSymInts(values) | schema.AsSymFloats(values) | schema.AsSymBools(values):
            return [scalar(value) for value in values]
        case schema.AsScalarType(code):
            if code not in DTYPES:
                raise OperatorError(f"element type {code.name}")
            return DTYPES[code]
        case schema.AsMemoryFormat(memory_format):
            return memory_format.name.lower()
        case schema.AsLayout(layout):
            return layout.name.lower()
        case schema.AsDevice(device):
            return device.type
        case schema.AsOperator(target):
            return OperatorName(target.removeprefix("torch.ops."))
        case schema.AsGraph(_, graph):
            return graph
        case schema.AsStringToArgument(items):
            return {key: decode(item, names) for key, item in items.items()}
        case schema.AsCustomObject(name, class_fqn):
            raise OperatorError(f"argument {name} is an object of {class_fqn}")
    raise OperatorError(f"an argument of the kind {type(argument).__name__}")


def tensor_names(argument: Argument) -> Iterator[str]:
    """The names of the tensors in an argument."""
    match argument:
        case schema.AsTensor(name) | schema.AsOptionalTensor(str(name)):
            yield name
        case schema.AsTensors(names) | schema.AsOptionalTensors(names):
            yield from (name for name in names if name is not None)
        case schema.AsNestedTensors(groups):
            for group in groups:
                yield from group
        case schema.AsStringToArgument(items):
            for item in items.values():
                yield from tensor_names(item)


def as_operand(argument: Argued, b: Builder) -> Any:
    """A scalar argument as operators take it: numbers, `SymExpr`, `WeakScalar`."""
    if isinstance(argument, Condition):
        return WeakScalar(b.cast(b.dim(argument.expression), DType.BOOL))
    if isinstance(argument, list):
        return [as_operand(item, b) for item in argument]
    return argument


def as_value(scalar: ScalarBinding, b: Builder) -> Any:
    """A symbolic number as a 0-d int64, float64 or bool value."""
    match scalar:
        case WeakScalar(value):
            return value
        case Condition(expression):
            return b.cast(b.dim(expression), DType.BOOL)
        case bool():
            return b.full((), scalar, DType.BOOL)
        case int() | SymExpr():
            return b.dim(scalar)
        case float():
            return b.full((), scalar, DType.FLOAT64)
    raise OperatorError(f"{scalar!r} as a tensor")


def scalar_kind(scalar: ScalarBinding) -> str:
    """ "int", "float" or "bool"."""
    match scalar:
        case bool() | Condition():
            return "bool"
        case int() | SymExpr():
            return "int"
        case WeakScalar(value):
            if value.dtype is DType.BOOL:
                return "bool"
            return "int" if value.dtype.is_integer else "float"
    return "float"
