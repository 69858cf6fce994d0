"""The records of `schema` -> JSON text of the wire format: `json_records` the other way round.

Written is what torch 2.13 writes: keys in the schema's order, absent values as null, infinities
and NaN as words. A record holds no key that its reader does not know.
"""

from __future__ import annotations

import json
from typing import TypeVar

from . import schema
from .encoders import (
    Encoder,
    Json,
    by_class,
    enumerated,
    mapping,
    member,
    number,
    optional,
    plain,
    record,
    sequence,
    tagged,
)
from .errors import ProgramFormatError

T = TypeVar("T")

# --- Leaves of the schema ----------------------------------------------------------------------


def _true(value: object) -> Json:
    return True


_none = tagged("as_none", _true)
_int = tagged("as_int", plain)
_bool = tagged("as_bool", plain)
_float = tagged("as_float", number)
_by_name = tagged("as_name", plain)
_device = record({"type": plain, "index": plain})
_hint = by_class({int: _int, bool: _bool, float: _float})
_expression = tagged("as_expr", record({"expr_str": plain, "hint": optional(_hint)}))

_sym_int = by_class({int: _int, schema.SymExpr: _expression})
# Whoever builds a program may write 1 for 1.0, as Python allows.
_sym_float = by_class({float: _float, int: _float, schema.SymExpr: _expression})
_sym_bool = by_class({bool: _bool, schema.SymExpr: _expression})
_sym_int_argument = by_class({str: _by_name, int: _int})
_sym_float_argument = by_class({str: _by_name, float: _float, int: _float})
_sym_bool_argument = by_class({str: _by_name, bool: _bool})


def _name(name: str) -> Json:
    return {"name": name}


_optional_name = by_class({str: tagged("as_tensor", _name), type(None): _none})
_tensor_meta = record(
    {
        "dtype": enumerated,
        "sizes": sequence(_sym_int),
        "requires_grad": plain,
        "device": _device,
        "strides": sequence(_sym_int),
        "storage_offset": _sym_int,
        "layout": enumerated,
    }
)
_custom_object = record({"name": plain, "class_fqn": plain})
_complex = record({"real": number, "imag": number})


# --- Arguments, nodes, graphs; these three refer to each other ---------------------------------


def _graph(value: object) -> Json:
    return _graph_record(value)


def _argument(value: object) -> Json:
    return _argument_union(value)


_argument_members: dict[type, Encoder[object]] = {
    schema.AsNone: _none,
    schema.AsTensor: member("as_tensor", "name", _name),
    schema.AsTensors: member("as_tensors", "names", sequence(_name)),
    schema.AsOptionalTensor: member("as_optional_tensor", "name", _optional_name),
    schema.AsOptionalTensors: member("as_optional_tensors", "names", sequence(_optional_name)),
    schema.AsNestedTensors: member("as_nested_tensors", "names", sequence(sequence(_name))),
    schema.AsInt: member("as_int", "value", plain),
    schema.AsInts: member("as_ints", "values", sequence(plain)),
    schema.AsIntLists: member("as_int_lists", "values", sequence(sequence(plain))),
    schema.AsFloat: member("as_float", "value", number),
    schema.AsFloats: member("as_floats", "values", sequence(number)),
    schema.AsFloatLists: member("as_float_lists", "values", sequence(sequence(number))),
    schema.AsBool: member("as_bool", "value", plain),
    schema.AsBools: member("as_bools", "values", sequence(plain)),
    schema.AsString: member("as_string", "value", plain),
    schema.AsStrings: member("as_strings", "values", sequence(plain)),
    schema.AsComplex: member("as_complex", "value", _complex),
    schema.AsSymInt: member("as_sym_int", "value", _sym_int_argument),
    schema.AsSymInts: member("as_sym_ints", "values", sequence(_sym_int_argument)),
    schema.AsSymFloat: member("as_sym_float", "value", _sym_float_argument),
    schema.AsSymFloats: member("as_sym_floats", "values", sequence(_sym_float_argument)),
    schema.AsSymBool: member("as_sym_bool", "value", _sym_bool_argument),
    schema.AsSymBools: member("as_sym_bools", "values", sequence(_sym_bool_argument)),
    schema.AsScalarType: member("as_scalar_type", "value", enumerated),
    schema.AsMemoryFormat: member("as_memory_format", "value", enumerated),
    schema.AsLayout: member("as_layout", "value", enumerated),
    schema.AsDevice: member("as_device", "value", _device),
    schema.AsOperator: member("as_operator", "target", plain),
    schema.AsGraph: tagged("as_graph", record({"name": plain, "graph": _graph})),
    schema.AsCustomObject: tagged("as_custom_obj", _custom_object),
    schema.AsStringToArgument: member("as_string_to_argument", "items", mapping(_argument)),
}
_argument_union = by_class(_argument_members)

_node = record(
    {
        "target": plain,
        "inputs": sequence(
            record({"name": plain, "arg": _argument_union, "kind": optional(enumerated)})
        ),
        "outputs": sequence(_argument_union),
        "metadata": dict,
        "is_hop_single_tensor_return": plain,
        "name": plain,
    }
)
_graph_record = record(
    {
        "inputs": sequence(_argument_union),
        "outputs": sequence(_argument_union),
        "nodes": sequence(_node),
        "tensor_values": mapping(_tensor_meta),
        "sym_int_values": mapping(_sym_int),
        "sym_bool_values": mapping(_sym_bool),
        "is_single_tensor_return": plain,
        "custom_obj_values": mapping(_custom_object),
        "sym_float_values": mapping(_sym_float),
    }
)


# --- Signature and program ---------------------------------------------------------------------

_constant_value = by_class(
    {
        type(None): _none,
        int: _int,
        float: _float,
        str: tagged("as_string", plain),
        bool: _bool,
    }
)


def _named(tag: str, *further: str) -> Encoder[object]:
    """A spec of the signature whose `arg` only wraps a name."""
    return tagged(tag, record({"arg": _name, **dict.fromkeys(further, plain)}, arg="name"))


_input_spec = by_class(
    {
        schema.UserInput: tagged("user_input", record({"arg": _argument})),
        schema.ParameterInput: _named("parameter", "parameter_name"),
        schema.BufferInput: _named("buffer", "buffer_name", "persistent"),
        schema.TensorConstantInput: _named("tensor_constant", "tensor_constant_name"),
        schema.CustomObjectInput: tagged(
            "custom_obj", record({"arg": _custom_object, "custom_obj_name": plain})
        ),
        schema.TokenInput: _named("token"),
        schema.ConstantInput: tagged(
            "constant_input", record({"name": plain, "value": _constant_value})
        ),
    }
)
_output_spec = by_class(
    {
        schema.UserOutput: tagged("user_output", record({"arg": _argument})),
        schema.LossOutput: _named("loss_output"),
        schema.BufferMutation: _named("buffer_mutation", "buffer_name"),
        schema.ParameterMutation: _named("parameter_mutation", "parameter_name"),
        schema.UserInputMutation: _named("user_input_mutation", "user_input_name"),
        schema.GradientToParameter: _named("gradient_to_parameter", "parameter_name"),
        schema.GradientToUserInput: _named("gradient_to_user_input", "user_input_name"),
        schema.TokenOutput: _named("token"),
    }
)
_signature = record({"input_specs": sequence(_input_spec), "output_specs": sequence(_output_spec)})
_module_call_signature = record(
    {
        "inputs": sequence(_argument),
        "outputs": sequence(_argument),
        "in_spec": plain,
        "out_spec": plain,
        "forward_arg_names": optional(sequence(plain)),
    }
)


def _field_names(names: tuple[str, ...]) -> Json:
    return {"field_names": list(names)}


_graph_module = record(
    {
        "graph": _graph,
        "signature": _signature,
        "module_call_graph": sequence(
            record({"fqn": plain, "signature": optional(_module_call_signature)})
        ),
        "metadata": dict,
        "treespec_namedtuple_fields": mapping(_field_names),
    }
)
_program = record(
    {
        "graph_module": _graph_module,
        "opset_version": dict,
        "range_constraints": mapping(record({"min_val": plain, "max_val": plain})),
        "schema_version": record({"major": plain, "minor": plain}),
        "verifiers": sequence(plain),
        "torch_version": plain,
        "guards_code": sequence(plain),
    }
)
_payload_config = record(
    {
        "config": mapping(
            record(
                {
                    "path_name": plain,
                    "is_param": plain,
                    "use_pickle": plain,
                    "tensor_meta": optional(_tensor_meta),
                }
            )
        )
    }
)


# --- Entry points ------------------------------------------------------------------------------


def encode_program(program: schema.SerializedProgram) -> bytes:
    """JSON text of the program record; equal records give equal bytes."""
    return _text(_program, program)


def encode_graph(graph: schema.Graph) -> bytes:
    """JSON text of one graph."""
    return _text(_graph, graph)


def encode_argument(argument: schema.Argument) -> Json:
    """One argument as a JSON value."""
    return _argument(argument)


def encode_payload_config(config: schema.PayloadConfig) -> bytes:
    """JSON text of the list of weights or constants."""
    return _text(_payload_config, config)


def _text(encode: Encoder[T], value: T) -> bytes:
    try:
        # A lone surrogate, which JSON can carry and UTF-8 cannot, stays escaped.
        return json.dumps(encode(value), allow_nan=False).encode("ascii")
    except RecursionError:
        raise ProgramFormatError("graphs nested beyond any limit cannot be written") from None
