"""Writes small `.pt2` files by hand: the program as JSON text, tensors as bytes, pickles opcode
by opcode. Nothing of castoff takes part, so that tests compare with the format itself."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Json = dict[str, object]

DTYPE_CODES = {
    "uint8": 1,
    "int8": 2,
    "int16": 3,
    "int32": 4,
    "int64": 5,
    "float16": 6,
    "float32": 7,
    "float64": 8,
    "complex64": 10,
    "complex128": 11,
    "bool": 12,
    "bfloat16": 13,
    "uint16": 28,
    "float8_e4m3fn": 29,
    "float8_e5m2": 30,
    "uint32": 34,
    "uint64": 35,
}


def tensor_meta(
    sizes: Sequence[object],
    dtype: int = 7,
    strides: Sequence[int] | None = None,
    offset: int = 0,
    requires_grad: bool = False,
) -> Json:
    """A tensor description; a size is an int or a SymInt record."""
    if strides is None:
        fixed = [size if isinstance(size, int) else 1 for size in sizes]
        strides = [int(np.prod(fixed[i + 1 :], dtype=np.int64)) for i in range(len(fixed))]
    return {
        "dtype": dtype,
        "sizes": [{"as_int": size} if isinstance(size, int) else size for size in sizes],
        "requires_grad": requires_grad,
        "device": {"type": "cpu", "index": None},
        "strides": [{"as_int": stride} for stride in strides],
        "storage_offset": {"as_int": offset},
        "layout": 7,
    }


def node(target: str, inputs: Mapping[str, Json], *outputs: str) -> Json:
    """One node whose inputs are Argument unions and whose outputs are tensors."""
    return {
        "target": target,
        "inputs": [{"name": name, "arg": arg, "kind": 1} for name, arg in inputs.items()],
        "outputs": [{"as_tensor": {"name": name}} for name in outputs],
        "metadata": {"stack_trace": "File model.py, line 1"},
        "is_hop_single_tensor_return": None,
        "name": outputs[0] if outputs else None,
    }


def program(**changes: object) -> Json:
    """`y = x + w` for a parameter `w` of two floats; `changes` replace top-level keys."""
    values = {name: tensor_meta([2]) for name in ("p_w", "x", "add")}
    graph = {
        "inputs": [{"as_tensor": {"name": "p_w"}}, {"as_tensor": {"name": "x"}}],
        "outputs": [{"as_tensor": {"name": "add"}}],
        "nodes": [
            node(
                "torch.ops.aten.add.Tensor",
                {"self": {"as_tensor": {"name": "x"}}, "other": {"as_tensor": {"name": "p_w"}}},
                "add",
            )
        ],
        "tensor_values": values,
        "sym_int_values": {},
        "sym_bool_values": {},
    }
    signature = {
        "input_specs": [
            {"parameter": {"arg": {"name": "p_w"}, "parameter_name": "w"}},
            {"user_input": {"arg": {"as_tensor": {"name": "x"}}}},
        ],
        "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "add"}}}}],
    }
    specs = {"in_spec": in_spec(LEAF), "out_spec": f"[1, {LEAF}]"}
    call = {"inputs": [], "outputs": [], **specs}
    return {
        "graph_module": {
            "graph": graph,
            "signature": signature,
            "module_call_graph": [{"fqn": "", "signature": call}],
        },
        "opset_version": {"aten": 10},
        "range_constraints": {},
        "schema_version": {"major": 8, "minor": 20},
        **changes,
    }


LEAF = '{"type": null, "context": null, "children_spec": []}'


def container(kind: str, context: str, *children: str) -> str:
    """A container of a treespec, as its JSON text; `context` is JSON text too."""
    inside = ", ".join(children)
    return f'{{"type": "{kind}", "context": {json.dumps(context)}, "children_spec": [{inside}]}}'


def in_spec(*arguments: str) -> str:
    """The treespec of a call with these positional arguments."""
    given = container("builtins.tuple", "null", *arguments)
    return f"[1, {container('builtins.tuple', 'null', given, container('builtins.dict', '[]'))}]"


def graph_of(record: Json) -> Json:
    """The graph inside a program record, to change it in place."""
    module = record["graph_module"]
    assert isinstance(module, dict)
    graph = module["graph"]
    assert isinstance(graph, dict)
    return graph


def zipped(entries: Mapping[str, bytes | str], *, deflate: bool = False) -> bytes:
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def payload(meta: Json, path: str = "weight_0", is_param: bool = True) -> Json:
    return {"path_name": path, "is_param": is_param, "use_pickle": False, "tensor_meta": meta}


W = np.array([1.5, -2.0], np.float32)


def entries(
    record: Json | None = None,
    *,
    root: str = "archive",
    weights: Mapping[str, Json] | None = None,
    weight_files: Mapping[str, bytes] | None = None,
    constants: Mapping[str, Json] | None = None,
    constant_files: Mapping[str, bytes] | None = None,
    sample_inputs: bytes = b"",
    further: Mapping[str, bytes] | None = None,
) -> dict[str, bytes | str]:
    """The entries of a file in the layout of torch 2.13, by default of `program()`."""
    if weights is None:
        weights = {"w": payload(tensor_meta([2], requires_grad=True))}
    if weight_files is None:
        weight_files = {"weight_0": W.tobytes()}
    data = f"{root}/data"
    return {
        **{f"{data}/weights/{name}": content for name, content in weight_files.items()},
        f"{data}/weights/model_weights_config.json": json.dumps({"config": weights}),
        **{f"{data}/constants/{name}": body for name, body in (constant_files or {}).items()},
        f"{data}/constants/model_constants_config.json": json.dumps({"config": constants or {}}),
        f"{root}/models/model.json": json.dumps(program() if record is None else record),
        f"{data}/sample_inputs/model.pt": sample_inputs,
        f"{root}/archive_format": "pt2",
        f"{root}/archive_version": "0",
        f"{root}/.data/version": "6\n",
        f"{root}/byteorder": "little",
        **{f"{root}/{name}": content for name, content in (further or {}).items()},
    }


# --- torch.save payloads, opcode by opcode -----------------------------------------------------


def name_op(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def text_op(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def int_op(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def tuple_op(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call_op(module: str, name: str, *arguments: bytes) -> bytes:
    return name_op(module, name) + tuple_op(*arguments) + b"R"


def dict_op(items: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text_op(name) + value for name, value in items.items()) + b"u"


def storage_op(key: str, storage_type: str, count: int) -> bytes:
    module = "torch.storage" if storage_type == "UntypedStorage" else "torch"
    fields = (text_op("storage"), name_op(module, storage_type), text_op(key), text_op("cpu"))
    return tuple_op(*fields, int_op(count)) + b"Q"


EMPTY_HOOKS = call_op("collections", "OrderedDict")


def tensor_op(
    key: str,
    sizes: Sequence[int],
    strides: Sequence[int],
    *,
    storage_type: str = "FloatStorage",
    count: int,
    offset: int = 0,
    further: bytes = b"",
) -> bytes:
    return call_op(
        "torch._utils",
        "_rebuild_tensor_v2",
        storage_op(key, storage_type, count),
        int_op(offset),
        tuple_op(*map(int_op, sizes)),
        tuple_op(*map(int_op, strides)),
        b"\x89",
        EMPTY_HOOKS,
        further,
    )


def parameter_op(tensor: bytes) -> bytes:
    return call_op("torch._utils", "_rebuild_parameter", tensor, b"\x88", EMPTY_HOOKS)


def torch_save(pickle: bytes, storages: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """A torch.save payload of one pickled object, without its PROTO and STOP opcodes."""
    return zipped(
        {
            "archive/data.pkl": b"\x80\x02" + pickle + b".",
            "archive/byteorder": "little",
            **{f"archive/data/{key}": array.tobytes() for key, array in storages.items()},
            "archive/version": "3\n",
        }
    )


def flat_entries(record: Json | None = None, suffix: str = "pt") -> dict[str, bytes | str]:
    """The layout of torch 2.7 and before; 2.1 wrote the same payloads under `.json` names."""
    weights = dict_op({"w": parameter_op(tensor_op("0", [2], [1], count=2))})
    return {
        "serialized_exported_program.json": json.dumps(program() if record is None else record),
        f"serialized_state_dict.{suffix}": torch_save(weights, {"0": W}),
        f"serialized_constants.{suffix}": torch_save(b"}", {}),
        f"serialized_example_inputs.{suffix}": torch_save(
            tuple_op(tuple_op(tensor_op("0", [2], [1], count=2)), b"}"), {"0": W}
        ),
        "version": "8.8",
    }
