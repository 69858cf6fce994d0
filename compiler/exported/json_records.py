"""JSON text of the wire format -> the records of `schema`. The only module that knows the JSON.

Each record has one decoder, built once at import from a list of its keys. A decoder takes what
`json.loads` gave and returns the record or raises `_Malformed`, which gathers the path to the
offending value while it unwinds; the two entry points turn it into a `ProgramFormatError`.
Unknown keys are ignored: minor versions add keys.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import TypeVar

from . import schema
from .errors import ProgramFormatError, SchemaVersionError

T = TypeVar("T")
E = TypeVar("E", bound=IntEnum)
Decoder = Callable[[object], T]


class _Malformed(Exception):
    def __init__(self, expected: str, got: object) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got
        self.path: list[str | int] = []

    def describe(self) -> str:
        where = ""
        for step in reversed(self.path):
            where += f"[{step}]" if isinstance(step, int) else f".{step}" if where else step
        got = repr(self.got)
        if len(got) > 80:
            got = got[:77] + "..."
        return f"{where or 'top level'}: expected {self.expected}, got {got}"


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


_MISSING = _Missing()


# --- Decoders of plain values ------------------------------------------------------------------


def _string(value: object) -> str:
    if type(value) is str:
        return value
    raise _Malformed("a string", value)


def _integer(value: object) -> int:
    if type(value) is int:
        return value
    raise _Malformed("an integer", value)


def _boolean(value: object) -> bool:
    if type(value) is bool:
        return value
    raise _Malformed("true or false", value)


_SPECIAL_FLOATS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def _number(value: object) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise _Malformed("a float", value) from None
    if type(value) is str and value in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[value]
    raise _Malformed("a float", value)


def _enumeration(cls: type[E]) -> Decoder[E]:
    members: dict[object, E] = {int(member): member for member in cls}

    def decode(value: object) -> E:
        if type(value) is int and value in members:
            return members[value]
        raise _Malformed(f"a number of {cls.__name__}", value)

    return decode


# --- Decoders built from decoders --------------------------------------------------------------


def _optional(decode_value: Decoder[T]) -> Decoder[T | None]:
    def decode(value: object) -> T | None:
        return None if value is None else decode_value(value)

    return decode


def _sequence(decode_item: Decoder[T]) -> Decoder[tuple[T, ...]]:
    def decode(value: object) -> tuple[T, ...]:
        if type(value) is not list:
            raise _Malformed("a list", value)
        items: list[T] = []
        try:
            for item in value:
                items.append(decode_item(item))
        except _Malformed as error:
            error.path.append(len(items))
            raise
        return tuple(items)

    return decode


def _mapping(decode_item: Decoder[T]) -> Decoder[dict[str, T]]:
    def decode(value: object) -> dict[str, T]:
        if type(value) is not dict:
            raise _Malformed("an object", value)
        items: dict[str, T] = {}
        key = ""
        try:
            for key, item in value.items():
                items[key] = decode_item(item)
        except _Malformed as error:
            error.path.append(key)
            raise
        return items

    return decode


def _record(
    construct: Callable[..., T], required: Mapping[str, Decoder[object]], **defaults: object
) -> Decoder[T]:
    """A decoder that gives the values of the keys, in their order, to `construct`.

    A key that is in `defaults` may be absent.
    """
    rows = [(key, decode, defaults.get(key, _MISSING)) for key, decode in required.items()]

    def decode_record(value: object) -> T:
        if type(value) is not dict:
            raise _Malformed("an object", value)
        arguments: list[object] = []
        key = ""
        try:
            for key, decode, default in rows:
                item = value.get(key, _MISSING)
                if item is not _MISSING:
                    arguments.append(decode(item))
                elif default is not _MISSING:
                    arguments.append(default)
                else:
                    raise _Malformed("a value", item)
        except _Malformed as error:
            error.path.append(key)
            raise
        return construct(*arguments)

    return decode_record


def _union(what: str, members: Mapping[str, Decoder[T]]) -> Decoder[T]:
    """A decoder of a one-key object, by its key."""

    def decode(value: object) -> T:
        if type(value) is not dict or len(value) != 1:
            raise _Malformed(f"{what} as an object with one key", value)
        [(tag, item)] = value.items()
        decode_member = members.get(tag)
        if decode_member is None:
            raise _Malformed(f"{what}, one of {', '.join(members)}", tag)
        try:
            return decode_member(item)
        except _Malformed as error:
            error.path.append(tag)
            raise

    return decode


def _wrapped(construct: Callable[[T], object], decode_value: Decoder[T]) -> Decoder[object]:
    def decode(value: object) -> object:
        return construct(decode_value(value))

    return decode


def _to_none(value: object) -> None:
    return None


def _first(value: T) -> T:
    return value


# --- Leaves of the schema ----------------------------------------------------------------------

_scalar_type = _enumeration(schema.ScalarType)
_memory_format = _enumeration(schema.MemoryFormat)
_layout = _enumeration(schema.Layout)
_argument_kind = _enumeration(schema.ArgumentKind)
_metadata = _mapping(_string)

_device = _record(schema.Device, {"type": _string, "index": _optional(_integer)}, index=None)

_hint = _union("a hint", {"as_int": _integer, "as_bool": _boolean, "as_float": _number})
_sym_expr = _record(schema.SymExpr, {"expr_str": _string, "hint": _optional(_hint)}, hint=None)

_sym_int: Decoder[schema.SymInt] = _union("a SymInt", {"as_int": _integer, "as_expr": _sym_expr})
_sym_float: Decoder[schema.SymFloat] = _union(
    "a SymFloat", {"as_float": _number, "as_expr": _sym_expr}
)
_sym_bool: Decoder[schema.SymBool] = _union(
    "a SymBool", {"as_bool": _boolean, "as_expr": _sym_expr}
)

_sym_int_argument: Decoder[int | str] = _union(
    "a symbolic int", {"as_name": _string, "as_int": _integer}
)
_sym_float_argument: Decoder[float | str] = _union(
    "a symbolic float", {"as_name": _string, "as_float": _number}
)
_sym_bool_argument: Decoder[bool | str] = _union(
    "a symbolic bool", {"as_name": _string, "as_bool": _boolean}
)

# A record whose only member is a name becomes that name.
_name: Decoder[str] = _record(_first, {"name": _string})
_optional_name: Decoder[str | None] = _union(
    "an optional tensor", {"as_tensor": _name, "as_none": _to_none}
)

_tensor_meta = _record(
    schema.TensorMeta,
    {
        "dtype": _scalar_type,
        "sizes": _sequence(_sym_int),
        "requires_grad": _boolean,
        "device": _device,
        "strides": _sequence(_sym_int),
        "storage_offset": _sym_int,
        "layout": _layout,
    },
)

_custom_object = _record(schema.AsCustomObject, {"name": _string, "class_fqn": _string})
_complex = _record(complex, {"real": _number, "imag": _number})


# --- Arguments, nodes, graphs; these three refer to each other ---------------------------------


def _graph(value: object) -> schema.Graph:
    return _graph_record(value)


def _argument(value: object) -> schema.Argument:
    return _argument_union(value)


def _none_argument(value: object) -> schema.Argument:
    return _AS_NONE


_AS_NONE = schema.AsNone()


def _tensor_argument(value: object) -> schema.Argument:
    # By far the most frequent member, so it skips the general record decoder.
    if type(value) is dict:
        name = value.get("name")
        if type(name) is str:
            return schema.AsTensor(name)
    raise _Malformed("an object with a name", value)


_argument_members: dict[str, Decoder[object]] = {
    "as_none": _none_argument,
    "as_tensor": _tensor_argument,
    "as_tensors": _wrapped(schema.AsTensors, _sequence(_name)),
    "as_optional_tensor": _wrapped(schema.AsOptionalTensor, _optional_name),
    "as_optional_tensors": _wrapped(schema.AsOptionalTensors, _sequence(_optional_name)),
    "as_nested_tensors": _wrapped(schema.AsNestedTensors, _sequence(_sequence(_name))),
    "as_int": _wrapped(schema.AsInt, _integer),
    "as_ints": _wrapped(schema.AsInts, _sequence(_integer)),
    "as_int_lists": _wrapped(schema.AsIntLists, _sequence(_sequence(_integer))),
    "as_float": _wrapped(schema.AsFloat, _number),
    "as_floats": _wrapped(schema.AsFloats, _sequence(_number)),
    "as_float_lists": _wrapped(schema.AsFloatLists, _sequence(_sequence(_number))),
    "as_bool": _wrapped(schema.AsBool, _boolean),
    "as_bools": _wrapped(schema.AsBools, _sequence(_boolean)),
    "as_string": _wrapped(schema.AsString, _string),
    "as_strings": _wrapped(schema.AsStrings, _sequence(_string)),
    "as_complex": _wrapped(schema.AsComplex, _complex),
    "as_sym_int": _wrapped(schema.AsSymInt, _sym_int_argument),
    "as_sym_ints": _wrapped(schema.AsSymInts, _sequence(_sym_int_argument)),
    "as_sym_float": _wrapped(schema.AsSymFloat, _sym_float_argument),
    "as_sym_floats": _wrapped(schema.AsSymFloats, _sequence(_sym_float_argument)),
    "as_sym_bool": _wrapped(schema.AsSymBool, _sym_bool_argument),
    "as_sym_bools": _wrapped(schema.AsSymBools, _sequence(_sym_bool_argument)),
    "as_scalar_type": _wrapped(schema.AsScalarType, _scalar_type),
    "as_memory_format": _wrapped(schema.AsMemoryFormat, _memory_format),
    "as_layout": _wrapped(schema.AsLayout, _layout),
    "as_device": _wrapped(schema.AsDevice, _device),
    "as_operator": _wrapped(schema.AsOperator, _string),
    "as_graph": _record(schema.AsGraph, {"name": _string, "graph": _graph}),
    "as_custom_obj": _custom_object,
    "as_string_to_argument": _wrapped(schema.AsStringToArgument, _mapping(_argument)),
}
_argument_union: Decoder[schema.Argument] = _union("an Argument", _argument_members)  # type: ignore[arg-type]

_named_argument = _record(
    schema.NamedArgument,
    {"name": _string, "arg": _argument_union, "kind": _optional(_argument_kind)},
    kind=None,
)
_node = _record(
    schema.Node,
    {
        "target": _string,
        "inputs": _sequence(_named_argument),
        "outputs": _sequence(_argument_union),
        "metadata": _metadata,
        "is_hop_single_tensor_return": _optional(_boolean),
        "name": _optional(_string),
    },
    metadata={},
    is_hop_single_tensor_return=None,
    name=None,
)
_graph_record = _record(
    schema.Graph,
    {
        "inputs": _sequence(_argument_union),
        "outputs": _sequence(_argument_union),
        "nodes": _sequence(_node),
        "tensor_values": _mapping(_tensor_meta),
        "sym_int_values": _mapping(_sym_int),
        "sym_bool_values": _mapping(_sym_bool),
        "is_single_tensor_return": _boolean,
        "custom_obj_values": _mapping(_custom_object),
        "sym_float_values": _mapping(_sym_float),
    },
    sym_int_values={},
    sym_bool_values={},
    is_single_tensor_return=False,
    custom_obj_values={},
    sym_float_values={},
)


# --- Signature and program ---------------------------------------------------------------------

_constant_value: Decoder[schema.ConstantValue] = _union(
    "a constant",
    {
        "as_none": _to_none,
        "as_int": _integer,
        "as_float": _number,
        "as_string": _string,
        "as_bool": _boolean,
    },
)


def _named(construct: Callable[..., object], **further: Decoder[object]) -> Decoder[object]:
    """A spec of the signature whose `arg` only wraps a name."""
    return _record(construct, {"arg": _name, **further})


_input_members: dict[str, Decoder[object]] = {
    "user_input": _record(schema.UserInput, {"arg": _argument}),
    "parameter": _named(schema.ParameterInput, parameter_name=_string),
    "buffer": _named(schema.BufferInput, buffer_name=_string, persistent=_boolean),
    "tensor_constant": _named(schema.TensorConstantInput, tensor_constant_name=_string),
    "custom_obj": _record(
        schema.CustomObjectInput, {"arg": _custom_object, "custom_obj_name": _string}
    ),
    "token": _named(schema.TokenInput),
    "constant_input": _record(schema.ConstantInput, {"name": _string, "value": _constant_value}),
}
_output_members: dict[str, Decoder[object]] = {
    "user_output": _record(schema.UserOutput, {"arg": _argument}),
    "loss_output": _named(schema.LossOutput),
    "buffer_mutation": _named(schema.BufferMutation, buffer_name=_string),
    "parameter_mutation": _named(schema.ParameterMutation, parameter_name=_string),
    "user_input_mutation": _named(schema.UserInputMutation, user_input_name=_string),
    "gradient_to_parameter": _named(schema.GradientToParameter, parameter_name=_string),
    "gradient_to_user_input": _named(schema.GradientToUserInput, user_input_name=_string),
    "token": _named(schema.TokenOutput),
}
_signature = _record(
    schema.GraphSignature,
    {
        "input_specs": _sequence(_union("an input spec", _input_members)),
        "output_specs": _sequence(_union("an output spec", _output_members)),
    },
)

_module_call_signature = _record(
    schema.ModuleCallSignature,
    {
        "inputs": _sequence(_argument),
        "outputs": _sequence(_argument),
        "in_spec": _string,
        "out_spec": _string,
        "forward_arg_names": _optional(_sequence(_string)),
    },
    forward_arg_names=None,
)
_module_call_entry = _record(
    schema.ModuleCallEntry,
    {"fqn": _string, "signature": _optional(_module_call_signature)},
    signature=None,
)
_field_names: Decoder[tuple[str, ...]] = _record(_first, {"field_names": _sequence(_string)})
_graph_module = _record(
    schema.GraphModule,
    {
        "graph": _graph,
        "signature": _signature,
        "module_call_graph": _sequence(_module_call_entry),
        "metadata": _metadata,
        "treespec_namedtuple_fields": _mapping(_field_names),
    },
    metadata={},
    treespec_namedtuple_fields={},
)
_range_constraint = _record(
    schema.RangeConstraint, {"min_val": _optional(_integer), "max_val": _optional(_integer)}
)
_schema_version = _record(schema.SchemaVersion, {"major": _integer, "minor": _integer})
_program = _record(
    schema.SerializedProgram,
    {
        "graph_module": _graph_module,
        "opset_version": _mapping(_integer),
        "range_constraints": _mapping(_range_constraint),
        "schema_version": _schema_version,
        "verifiers": _sequence(_string),
        "torch_version": _string,
        "guards_code": _sequence(_string),
    },
    verifiers=(),
    torch_version="<=2.4",
    guards_code=(),
)
_payload_meta = _record(
    schema.PayloadMeta,
    {
        "path_name": _string,
        "is_param": _boolean,
        "use_pickle": _boolean,
        "tensor_meta": _optional(_tensor_meta),
    },
    tensor_meta=None,
)
_payload_config = _record(schema.PayloadConfig, {"config": _mapping(_payload_meta)})


# --- Entry points ------------------------------------------------------------------------------


def _parse(data: bytes | memoryview, source: str) -> object:
    try:
        parsed: object = json.loads(str(data, "utf-8"))
    except UnicodeDecodeError as error:
        raise ProgramFormatError(f"{source}: expected UTF-8 text, {error.reason}") from None
    except json.JSONDecodeError as error:
        raise ProgramFormatError(f"{source}: not JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ProgramFormatError(f"{source}: JSON beyond any limit: {error}") from None
    return parsed


def _decode(decode: Decoder[T], parsed: object, source: str) -> T:
    try:
        return decode(parsed)
    except _Malformed as error:
        raise ProgramFormatError(f"{source}: {error.describe()}") from None
    except RecursionError:
        raise ProgramFormatError(f"{source}: graphs nested beyond any limit") from None


def check_schema_version(version: schema.SchemaVersion, source: str) -> None:
    """Raise `SchemaVersionError` unless this reader knows the major version.

    0.0 is what a program that states no version carries; it is read as the current one.
    """
    known_major, known_minor = schema.SCHEMA_VERSION
    if version.major in (known_major, 0):
        return
    raise SchemaVersionError(
        f"{source}: written for schema version {version.major}.{version.minor}, but this reader "
        f"knows version {known_major}.{known_minor}; export the program again with a matching "
        "release of torch"
    )


def decode_program(data: bytes | memoryview, source: str) -> schema.SerializedProgram:
    """The program record in JSON text; `source` names it in errors.

    Raises `SchemaVersionError` for another major version, before anything else is looked at,
    and `ProgramFormatError` for what does not fit the schema, naming the path to it.
    """
    parsed = _parse(data, source)
    if type(parsed) is dict and "schema_version" in parsed:
        version = _decode(_schema_version, parsed["schema_version"], f"{source}: schema_version")
        check_schema_version(version, source)
    return _decode(_program, parsed, source)


def decode_payload_config(data: bytes | memoryview, source: str) -> schema.PayloadConfig:
    """The list of weights or constants in JSON text; `source` names it in errors."""
    return _decode(_payload_config, _parse(data, source), source)
