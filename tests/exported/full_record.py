"""A program record in which every kind of everything occurs."""

from __future__ import annotations

import copy

from . import pt2_files as pt2

SIZE = {"as_expr": {"expr_str": "Symbol('s0', positive=True, integer=True)", "hint": {"as_int": 3}}}
DEVICE = {"type": "cuda", "index": 1}
X = {"name": "x"}

ARGUMENTS: dict[str, object] = {
    "as_none": True,
    "as_tensor": X,
    "as_tensors": [X, X],
    "as_optional_tensors": [{"as_tensor": X}, {"as_none": True}],
    "as_optional_tensor": {"as_none": True},
    "as_nested_tensors": [[X], []],
    "as_int": -(1 << 70),
    "as_ints": [1, 2],
    "as_int_lists": [[1], []],
    "as_float": -0.0,
    "as_floats": ["NaN", "Infinity", "-Infinity", 1e-320],
    "as_float_lists": [[0.5], []],
    "as_bool": False,
    "as_bools": [True],
    "as_string": 'ä "\n\ud800',
    "as_strings": ["", "b"],
    "as_complex": {"real": "NaN", "imag": -0.0},
    "as_sym_int": {"as_name": "n"},
    "as_sym_ints": [{"as_name": "n"}, {"as_int": 3}],
    "as_sym_float": {"as_float": "Infinity"},
    "as_sym_floats": [{"as_name": "f"}, {"as_float": 2.0}],
    "as_sym_bool": {"as_bool": True},
    "as_sym_bools": [{"as_name": "b"}, {"as_bool": False}],
    "as_scalar_type": 28,
    "as_memory_format": 4,
    "as_layout": 7,
    "as_device": DEVICE,
    "as_operator": "torch.ops.aten.add.Tensor",
    "as_custom_obj": {"name": "o", "class_fqn": "ns.C"},
    "as_string_to_argument": {"k": {"as_int": 1}},
}
INPUT_SPECS: list[object] = [
    {"user_input": {"arg": {"as_tensor": X}}},
    {"parameter": {"arg": X, "parameter_name": "w"}},
    {"buffer": {"arg": X, "buffer_name": "b", "persistent": False}},
    {"tensor_constant": {"arg": X, "tensor_constant_name": "c"}},
    {"custom_obj": {"arg": {"name": "o", "class_fqn": "ns.C"}, "custom_obj_name": "obj"}},
    {"token": {"arg": {"name": "t"}}},
    *(
        {"constant_input": {"name": "k", "value": value}}
        for value in (
            {"as_none": True},
            {"as_int": 1},
            {"as_float": "NaN"},
            {"as_string": "s"},
            {"as_bool": True},
        )
    ),
]
OUTPUT_SPECS: list[object] = [
    {"user_output": {"arg": {"as_none": True}}},
    {"loss_output": {"arg": X}},
    {"buffer_mutation": {"arg": X, "buffer_name": "b"}},
    {"gradient_to_parameter": {"arg": X, "parameter_name": "w"}},
    {"gradient_to_user_input": {"arg": X, "user_input_name": "x"}},
    {"user_input_mutation": {"arg": X, "user_input_name": "x"}},
    {"token": {"arg": {"name": "t"}}},
    {"parameter_mutation": {"arg": X, "parameter_name": "w"}},
]


def full_record() -> pt2.Json:
    """A record in which every kind of everything occurs, with all keys in the schema's order."""
    graph: pt2.Json = {
        "inputs": [{"as_tensor": X}],
        "outputs": [{"as_tensor": X}],
        "nodes": [],
        "tensor_values": {"x": {**pt2.tensor_meta([SIZE, 2], strides=[2, 1]), "device": DEVICE}},
        "sym_int_values": {"n": SIZE, "m": {"as_int": 4}},
        "sym_bool_values": {
            "b": {"as_expr": {"expr_str": "Eq(s0, 1)", "hint": {"as_bool": False}}},
            "c": {"as_bool": True},
        },
        "is_single_tensor_return": True,
        "custom_obj_values": {"o": {"name": "o", "class_fqn": "ns.C"}},
        "sym_float_values": {
            "f": {"as_expr": {"expr_str": "ToFloat(s0)", "hint": {"as_float": 3.0}}},
            "g": {"as_float": "-Infinity"},
        },
    }
    inner = copy.deepcopy(graph)
    arguments = {**ARGUMENTS, "as_graph": {"name": "body_0", "graph": inner}}
    graph["nodes"] = [
        {
            "target": "torch.ops.higher_order.everything",
            "inputs": [
                {"name": "", "arg": {tag: value}, "kind": kind}
                for (tag, value), kind in zip(arguments.items(), [1, 2, None] * 20, strict=False)
            ],
            "outputs": [{"as_tensor": {"name": "y"}}],
            "metadata": {"stack_trace": "ä", "torch_fn": "f"},
            "is_hop_single_tensor_return": False,
            "name": "everything",
        }
    ]
    call = {
        "inputs": [{"as_tensor": X}],
        "outputs": [{"as_none": True}],
        "in_spec": "[1, null]",
        "out_spec": "[1, null]",
        "forward_arg_names": ["x"],
    }
    return {
        "graph_module": {
            "graph": graph,
            "signature": {"input_specs": INPUT_SPECS, "output_specs": OUTPUT_SPECS},
            "module_call_graph": [
                {"fqn": "", "signature": call},
                {"fqn": "inner", "signature": {**call, "forward_arg_names": None}},
                {"fqn": "other", "signature": None},
            ],
            "metadata": {"custom": "{}"},
            "treespec_namedtuple_fields": {"ns.P": {"field_names": ["a", "b"]}},
        },
        "opset_version": {"aten": 10, "mine": 2},
        "range_constraints": {
            "s0": {"min_val": 2, "max_val": None},
            "u0": {"min_val": None, "max_val": 9},
        },
        "schema_version": {"major": 8, "minor": 20},
        "verifiers": ["TRAINING"],
        "torch_version": "2.13.0",
        "guards_code": ["L['x'].size()[0] != 4"],
    }
