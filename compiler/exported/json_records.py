"""JSON text of the wire format -> the records of `schema`. The only module that knows the JSON.

Each record has one decoder, a row of its keys. Unknown keys are ignored: minor versions add keys.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TypeVar

from . import schema
from .decoders import (
    Decoder,
    Malformed,
    boolean,
    enumeration,
    integer,
    mapping,
    number,
    optional,
    record,
    sequence,
    string,
    to_none,
    union,
    unwrapped,
    wrapped,
)
from .errors import ProgramFormatError, SchemaVersionError

T = TypeVar("T")

# --- Leaves of the schema ----------------------------------------------------------------------

_scalar_type = enumeration(schema.ScalarType)
_memory_format = enumeration(schema.MemoryFormat)
_layout = enumeration(schema.Layout)
_argument_kind = enumeration(schema.ArgumentKind)
_metadata = mapping(string)

_device = record(schema.Device, {"type": string, "index": optional(integer)}, index=None)

_hint = union("a hint", {"as_int": integer, "as_bool": boolean, "as_float": number})
_sym_expr = record(schema.SymExpr, {"expr_str": string, "hint": optional(_hint)}, hint=None)

_sym_int: Decoder[schema.SymInt] = union("a SymInt", {"as_int": integer, "as_expr": _sym_expr})
_sym_float: Decoder[schema.SymFloat] = union(
    "a SymFloat", {"as_float": number, "as_expr": _sym_expr}
)
_sym_bool: Decoder[schema.SymBool] = union("a SymBool", {"as_bool": boolean, "as_expr": _sym_expr})

_sym_int_argument: Decoder[int | str] = union(
    "a symbolic int", {"as_name": string, "as_int": integer}
)
_sym_float_argument: Decoder[float | str] = union(
    "a symbolic float", {"as_name": string, "as_float": number}
)
_sym_bool_argument: Decoder[bool | str] = union(
    "a symbolic bool", {"as_name": string, "as_bool": boolean}
)

# A record whose only member is a name becomes that name.
_name: Decoder[str] = record(unwrapped, {"name": string})
_optional_name: Decoder[str | None] = union(
    "an optional tensor", {"as_tensor": _name, "as_none": to_none}
)

_tensor_meta = record(
    schema.TensorMeta,
    {
        "dtype": _scalar_type,
        "sizes": sequence(_sym_int),
        "requires_grad": boolean,
        "device": _device,
        "strides": sequence(_sym_int),
        "storage_offset": _sym_int,
        "layout": _layout,
    },
)

_custom_object = record(schema.AsCustomObject, {"name": string, "class_fqn": string})
_complex = record(complex, {"real": number, "imag": number})


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
    raise Malformed("an object with a name", value)


_argument_members: dict[str, Decoder[object]] = {
    "as_none": _none_argument,
    "as_tensor": _tensor_argument,
    "as_tensors": wrapped(schema.AsTensors, sequence(_name)),
    "as_optional_tensor": wrapped(schema.AsOptionalTensor, _optional_name),
    "as_optional_tensors": wrapped(schema.AsOptionalTensors, sequence(_optional_name)),
    "as_nested_tensors": wrapped(schema.AsNestedTensors, sequence(sequence(_name))),
    "as_int": wrapped(schema.AsInt, integer),
    "as_ints": wrapped(schema.AsInts, sequence(integer)),
    "as_int_lists": wrapped(schema.AsIntLists, sequence(sequence(integer))),
    "as_float": wrapped(schema.AsFloat, number),
    "as_floats": wrapped(schema.AsFloats, sequence(number)),
    "as_float_lists": wrapped(schema.AsFloatLists, sequence(sequence(number))),
    "as_bool": wrapped(schema.AsBool, boolean),
    "as_bools": wrapped(schema.AsBools, sequence(boolean)),
    "as_string": wrapped(schema.AsString, string),
    "as_strings": wrapped(schema.AsStrings, sequence(string)),
    "as_complex": wrapped(schema.AsComplex, _complex),
    "as_sym_int": wrapped(schema.AsSymInt, _sym_int_argument),
    "as_sym_ints": wrapped(schema.AsSymInts, sequence(_sym_int_argument)),
    "as_sym_float": wrapped(schema.AsSymFloat, _sym_float_argument),
    "as_sym_floats": wrapped(schema.AsSymFloats, sequence(_sym_float_argument)),
    "as_sym_bool": wrapped(schema.AsSymBool, _sym_bool_argument),
    "as_sym_bools": wrapped(schema.AsSymBools, sequence(_sym_bool_argument)),
    "as_scalar_type": wrapped(schema.AsScalarType, _scalar_type),
    "as_memory_format": wrapped(schema.AsMemoryFormat, _memory_format),
    "as_layout": wrapped(schema.AsLayout, _layout),
    "as_device": wrapped(schema.AsDevice, _device),
    "as_operator": wrapped(schema.AsOperator, string),
    "as_graph": record(schema.AsGraph, {"name": string, "graph": _graph}),
    "as_custom_obj": _custom_object,
    "as_string_to_argument": wrapped(schema.AsStringToArgument, mapping(_argument)),
}
_argument_union: Decoder[schema.Argument] = union("an Argument", _argument_members)  # type: ignore[arg-type]

_named_argument = record(
    schema.NamedArgument,
    {"name": string, "arg": _argument_union, "kind": optional(_argument_kind)},
    kind=None,
)
_node = record(
    schema.Node,
    {
        "target": string,
        "inputs": sequence(_named_argument),
        "outputs": sequence(_argument_union),
        "metadata": _metadata,
        "is_hop_single_tensor_return": optional(boolean),
        "name": optional(string),
    },
    metadata={},
    is_hop_single_tensor_return=None,
    name=None,
)
_graph_record = record(
    schema.Graph,
    {
        "inputs": sequence(_argument_union),
        "outputs": sequence(_argument_union),
        "nodes": sequence(_node),
        "tensor_values": mapping(_tensor_meta),
        "sym_int_values": mapping(_sym_int),
        "sym_bool_values": mapping(_sym_bool),
        "is_single_tensor_return": boolean,
        "custom_obj_values": mapping(_custom_object),
        "sym_float_values": mapping(_sym_float),
    },
    sym_int_values={},
    sym_bool_values={},
    is_single_tensor_return=False,
    custom_obj_values={},
    sym_float_values={},
)


# --- Signature and program ---------------------------------------------------------------------

_constant_value: Decoder[schema.ConstantValue] = union(
    "a constant",
    {
        "as_none": to_none,
        "as_int": integer,
        "as_float": number,
        "as_string": string,
        "as_bool": boolean,
    },
)


def _named(construct: Callable[..., object], **further: Decoder[object]) -> Decoder[object]:
    """A spec of the signature whose `arg` only wraps a name."""
    return record(construct, {"arg": _name, **further})


_input_members: dict[str, Decoder[object]] = {
    "user_input": record(schema.UserInput, {"arg": _argument}),
    "parameter": _named(schema.ParameterInput, parameter_name=string),
    "buffer": _named(schema.BufferInput, buffer_name=string, persistent=boolean),
    "tensor_constant": _named(schema.TensorConstantInput, tensor_constant_name=string),
    "custom_obj": record(
        schema.CustomObjectInput, {"arg": _custom_object, "custom_obj_name": string}
    ),
    "token": _named(schema.TokenInput),
    "constant_input": record(schema.ConstantInput, {"name": string, "value": _constant_value}),
}
_output_members: dict[str, Decoder[object]] = {
    "user_output": record(schema.UserOutput, {"arg": _argument}),
    "loss_output": _named(schema.LossOutput),
    "buffer_mutation": _named(schema.BufferMutation, buffer_name=string),
    "parameter_mutation": _named(schema.ParameterMutation, parameter_name=string),
    "user_input_mutation": _named(schema.UserInputMutation, user_input_name=string),
    "gradient_to_parameter": _named(schema.GradientToParameter, parameter_name=string),
    "gradient_to_user_input": _named(schema.GradientToUserInput, user_input_name=string),
    "token": _named(schema.TokenOutput),
}
_signature = record(
    schema.GraphSignature,
    {
        "input_specs": sequence(union("an input spec", _input_members)),
        "output_specs": sequence(union("an output spec", _output_members)),
    },
)

_module_call_signature = record(
    schema.ModuleCallSignature,
    {
        "inputs": sequence(_argument),
        "outputs": sequence(_argument),
        "in_spec": string,
        "out_spec": string,
        "forward_arg_names": optional(sequence(string)),
    },
    forward_arg_names=None,
)
_module_call_entry = record(
    schema.ModuleCallEntry,
    {"fqn": string, "signature": optional(_module_call_signature)},
    signature=None,
)
_field_names: Decoder[tuple[str, ...]] = record(unwrapped, {"field_names": sequence(string)})
_graph_module = record(
    schema.GraphModule,
    {
        "graph": _graph,
        "signature": _signature,
        "module_call_graph": sequence(_module_call_entry),
        "metadata": _metadata,
        "treespec_namedtuple_fields": mapping(_field_names),
    },
    metadata={},
    treespec_namedtuple_fields={},
)


def _bound(infinities: tuple[object, ...]) -> Decoder[int | None]:
    """An integer, or null for infinity, which older releases of torch wrote as a float or a word."""

    def decode(value: object) -> int | None:
        return None if value in infinities else integer(value)

    return decode


_range_constraint = record(
    schema.RangeConstraint,
    {
        "min_val": _bound((None, -math.inf, "-Infinity")),
        "max_val": _bound((None, math.inf, "Infinity")),
    },
)
_schema_version = record(schema.SchemaVersion, {"major": integer, "minor": integer})
_program = record(
    schema.SerializedProgram,
    {
        "graph_module": _graph_module,
        "opset_version": mapping(integer),
        "range_constraints": mapping(_range_constraint),
        "schema_version": _schema_version,
        "verifiers": sequence(string),
        "torch_version": string,
        "guards_code": sequence(string),
    },
    verifiers=(),
    torch_version="<=2.4",
    guards_code=(),
)
_payload_meta = record(
    schema.PayloadMeta,
    {
        "path_name": string,
        "is_param": boolean,
        "use_pickle": boolean,
        "tensor_meta": optional(_tensor_meta),
    },
    tensor_meta=None,
)
_payload_config = record(schema.PayloadConfig, {"config": mapping(_payload_meta)})


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
    except Malformed as error:
        raise ProgramFormatError(f"{source}: {error.describe()}") from None
    except RecursionError:
        raise ProgramFormatError(f"{source}: graphs nested beyond any limit") from None


def check_schema_version(version: schema.SchemaVersion, source: str) -> None:
    """Raise `SchemaVersionError` unless this reader knows the major version.

    0.0 is what a program that states no version carries; it is read as the current one.
    """
    known_major, known_minor = schema.SCHEMA_VERSION
    if version.major == known_major or version == schema.SchemaVersion(0, 0):
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
