"""Files as torch writes them, in every layout, come back with their graph and their tensors."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from castoff.compiler.exported import (
    ExportedProgram,
    OpaqueConstant,
    ProgramFormatError,
    SchemaVersionError,
    TensorData,
    load_program,
    program_bytes,
)
from castoff.compiler.exported import schema as s

from . import pt2_files as pt2


def _check_is_the_small_program(program: ExportedProgram) -> None:
    assert program.graph.inputs == (s.AsTensor("p_w"), s.AsTensor("x"))
    assert program.graph.nodes[0].target == "torch.ops.aten.add.Tensor"
    assert program.graph_signature.input_specs[0] == s.ParameterInput("p_w", "w")
    assert program.graph_signature.input_specs[1] == s.UserInput(s.AsTensor("x"))
    weight = program.state_dict["w"]
    np.testing.assert_array_equal(weight.array, pt2.W)
    assert weight.is_parameter
    assert weight.requires_grad
    assert not weight.array.flags.writeable


@pytest.mark.parametrize("root", ["archive", "my model.v2"])
@pytest.mark.parametrize("deflate", [False, True], ids=["stored", "deflated"])
def test_the_current_layout_is_read_under_any_root(root: str, deflate: bool) -> None:
    program = load_program(pt2.zipped(pt2.entries(root=root), deflate=deflate))
    _check_is_the_small_program(program)
    assert program.schema_version == s.SchemaVersion(8, 20)
    assert program.call_entry is not None
    assert program.example_inputs is None


def test_paths_bytes_and_file_objects_are_read_alike(tmp_path: Path) -> None:
    content = pt2.zipped(pt2.entries())
    path = tmp_path / "model.pt2"
    path.write_bytes(content)
    with path.open("rb") as file:
        for source in (path, str(path), content, memoryview(content), io.BytesIO(content), file):
            _check_is_the_small_program(load_program(source))


def test_what_is_no_file_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="path, bytes or a binary file object, got int"):
        load_program(3)  # type: ignore[arg-type]


def test_the_layout_of_2_8_is_read() -> None:
    saved = pt2.torch_save(
        pt2.dict_op({"w": pt2.parameter_op(pt2.tensor_op("0", [2], [1], count=2))}), {"0": pt2.W}
    )
    constant = pt2.torch_save(
        pt2.dict_op({"c": pt2.tensor_op("0", [], [], count=1)}), {"0": pt2.W[1:]}
    )
    entries: dict[str, bytes | str] = {
        "archive/archive_format": "pt2",
        "archive/models/model.json": json.dumps(pt2.program()),
        "archive/data/weights/model.pt": saved,
        "archive/data/constants/model.pt": constant,
        "archive/data/sample_inputs/model.pt": b"",
    }
    program = load_program(pt2.zipped(entries))
    _check_is_the_small_program(program)
    lifted = program.constants["c"]
    assert isinstance(lifted, TensorData)
    assert lifted.array.shape == ()
    assert lifted.array[()] == -2.0


@pytest.mark.parametrize("suffix", ["pt", "json"])
def test_the_flat_layout_of_2_7_and_before_is_read(suffix: str) -> None:
    entries = {**pt2.flat_entries(suffix=suffix), "extra_files/note.txt": "hello"}
    extra_files: dict[str, str] = {}
    program = load_program(pt2.zipped(entries), extra_files=extra_files)
    _check_is_the_small_program(program)
    assert extra_files == {"note.txt": "hello"}
    assert program.example_inputs is not None
    [example] = program.example_inputs.args
    assert isinstance(example, TensorData)
    np.testing.assert_array_equal(example.array, pt2.W)


def test_keys_that_newer_minors_add_are_ignored_and_optional_ones_may_be_absent() -> None:
    record = pt2.program(schema_version={"major": 8, "minor": 99}, from_the_future={"a": 1})
    nodes = pt2.graph_of(record)["nodes"]
    assert isinstance(nodes, list)
    [only_node] = nodes
    del only_node["name"], only_node["metadata"], only_node["inputs"][0]["kind"]
    only_node["colour"] = "blue"
    program = load_program(pt2.zipped(pt2.entries(record)))
    assert program.graph.nodes[0].metadata == {}
    assert program.torch_version == "<=2.4"
    assert program.dialect == ""


@pytest.mark.parametrize("major", [1, 7, 9])
def test_another_major_version_is_refused_naming_both(major: int) -> None:
    record = {"schema_version": {"major": major, "minor": 3}, "shape": "unknown"}
    with pytest.raises(SchemaVersionError, match=rf"{major}\.3.*8\.20"):
        load_program(pt2.zipped(pt2.entries(record)))  # type: ignore[arg-type]


def test_only_a_program_without_a_version_may_say_major_zero() -> None:
    for minor, is_read in ((0, True), (1, False)):
        record = pt2.program(schema_version={"major": 0, "minor": minor})
        with nullcontext() if is_read else pytest.raises(SchemaVersionError, match=r"0\.1.*8\.20"):
            load_program(pt2.zipped(pt2.entries(record)))


@pytest.mark.parametrize("infinity", [float("inf"), "Infinity"], ids=["float", "word"])
def test_ranges_without_end_are_read_as_older_releases_wrote_them(infinity: object) -> None:
    text = json.dumps({"s0": {"min_val": 2, "max_val": infinity}})
    below = text.replace("2", '"-Infinity"' if isinstance(infinity, str) else "-Infinity")
    for ranges, low in ((text, 2), (below, None)):
        record = pt2.program(range_constraints=json.loads(ranges))
        program = load_program(pt2.zipped(pt2.entries(record)))
        assert program.range_constraints == {"s0": s.RangeConstraint(low, None)}


def test_another_version_of_the_flat_layout_is_refused() -> None:
    with pytest.raises(SchemaVersionError, match=r"'5\.1'"):
        load_program(pt2.zipped({**pt2.flat_entries(), "version": "5.1"}))


def test_an_unexpected_opset_is_refused() -> None:
    content = pt2.zipped(pt2.entries())
    assert load_program(content, expected_opset_version={"aten": 10, "other": 1}).state_dict
    with pytest.raises(SchemaVersionError, match="expected opset 'aten' version 11, got 10"):
        load_program(content, expected_opset_version={"aten": 11})


def test_extra_files_are_kept_as_bytes_and_handed_out_as_text() -> None:
    further = {"extra/a.txt": "grüße".encode(), "extra/b/c.json": b"{}"}
    extra_files: dict[str, str] = {"old": "x"}
    program = load_program(pt2.zipped(pt2.entries(further=further)), extra_files=extra_files)
    assert extra_files == {"old": "x", "a.txt": "grüße", "b/c.json": "{}"}
    assert program.extra_files["a.txt"] == "grüße".encode()


def test_one_of_several_programs_is_picked_by_name() -> None:
    content = {
        **pt2.entries(),
        "archive/models/b.json": json.dumps(pt2.program(torch_version="b")),
        "archive/data/weights/b_weights_config.json": json.dumps({"config": {}}),
        "archive/data/constants/b_constants_config.json": json.dumps({"config": {}}),
    }
    assert load_program(pt2.zipped(content), verify=False).torch_version == "<=2.4"
    assert load_program(pt2.zipped(content), program_name="b", verify=False).torch_version == "b"
    with pytest.raises(ProgramFormatError, match=r"expected a program 'c', got 'model', 'b'"):
        load_program(pt2.zipped(content), program_name="c", verify=False)


# --- Tensors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(pt2.DTYPE_CODES))
def test_every_element_type_keeps_its_bytes(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else np.dtype(name)
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    weights = {"w": pt2.payload(pt2.tensor_meta([2, 3], pt2.DTYPE_CODES[name]))}
    files = {"weight_0": values.tobytes()}
    program = load_program(
        pt2.zipped(pt2.entries(weights=weights, weight_files=files)), verify=False
    )
    loaded = program.state_dict["w"].array
    assert loaded.dtype == dtype
    assert loaded.tobytes() == values.tobytes()


def test_tied_and_overlapping_weights_share_their_storage() -> None:
    whole = np.arange(12, dtype=np.float32)
    weights = {
        "a": pt2.payload(pt2.tensor_meta([3, 4])),
        "tied": pt2.payload(pt2.tensor_meta([3, 4])),
        "transposed": pt2.payload(pt2.tensor_meta([4, 3], strides=[1, 4])),
        "part": pt2.payload(pt2.tensor_meta([2], strides=[4], offset=5)),
        "expanded": pt2.payload(pt2.tensor_meta([5, 2], strides=[0, 1], offset=10)),
        "other": pt2.payload(pt2.tensor_meta([1]), "weight_1"),
    }
    files = {"weight_0": whole.tobytes(), "weight_1": whole[:1].tobytes()}
    state = load_program(
        pt2.zipped(pt2.entries(weights=weights, weight_files=files)), verify=False
    ).state_dict
    square = whole.reshape(3, 4)
    np.testing.assert_array_equal(state["tied"].array, square)
    np.testing.assert_array_equal(state["transposed"].array, square.T)
    np.testing.assert_array_equal(state["part"].array, [5, 9])
    np.testing.assert_array_equal(state["expanded"].array, [[10, 11]] * 5)
    assert state["transposed"].array.strides == (4, 16)
    assert state["a"].storage is state["tied"].storage is state["part"].storage
    assert np.shares_memory(state["a"].array, state["transposed"].array)
    assert state["other"].storage is not state["a"].storage


def test_empty_tensors_need_no_bytes_but_others_do() -> None:
    weights = {"w": pt2.payload(pt2.tensor_meta([0, 3]))}
    content = pt2.entries(weights=weights, weight_files={"weight_0": b""})
    assert load_program(pt2.zipped(content), verify=False).state_dict["w"].array.shape == (0, 3)
    content = pt2.entries(weight_files={"weight_0": b""})
    with pytest.raises(ProgramFormatError, match=r"'w' in archive/data/weights/weight_0.*no bytes"):
        load_program(pt2.zipped(content), verify=False)


def test_meta_tensors_are_kept_and_written_and_have_no_elements() -> None:
    meta = {**pt2.tensor_meta([2, 3], strides=[1, 2]), "device": {"type": "meta", "index": None}}
    content = pt2.entries(weights={"w": pt2.payload(meta)}, weight_files={"weight_0": b""})
    program = load_program(pt2.zipped(content), verify=False)
    back = load_program(program_bytes(program), verify=False)
    for tensor in (program.state_dict["w"], back.state_dict["w"]):
        assert (tensor.shape, tensor.strides_elements) == ((2, 3), (1, 2))
        assert tensor.device.type == "meta"
        with pytest.raises(
            ProgramFormatError, match=r"weight_0: .*'meta' has a type and no elements"
        ):
            _ = tensor.array
    assert program_bytes(back) == program_bytes(program)


def test_stored_weights_are_views_of_what_was_given() -> None:
    content = pt2.zipped(pt2.entries())
    weight = load_program(content).state_dict["w"]
    assert np.shares_memory(weight.array, np.frombuffer(content, np.uint8))


def test_constants_that_are_no_tensors_are_left_unread() -> None:
    listed = {"path_name": "custom_obj_0", "is_param": False, "use_pickle": True}
    content = pt2.entries(
        constants={"obj": {**listed, "tensor_meta": None}},
        constant_files={"custom_obj_0": b"\x80\x02cposix\nsystem\n(X\x04\x00\x00\x00truetR."},
    )
    constant = load_program(pt2.zipped(content)).constants["obj"]
    assert isinstance(constant, OpaqueConstant)
    assert constant.entry.endswith("custom_obj_0")


# --- Example inputs ----------------------------------------------------------------------------


def test_example_inputs_keep_their_containers() -> None:
    bools = np.array([True, False])
    args = pt2.tuple_op(
        pt2.tensor_op("0", [2], [1], count=2),
        b"](K\x01N\x88e",
        pt2.tensor_op("1", [2], [1], storage_type="BoolStorage", count=2),
        pt2.call_op("collections", "defaultdict", pt2.name_op("__builtin__", "list")),
    )
    kwargs = pt2.dict_op({"scale": b"G" + bytes.fromhex("3fe0000000000000")})
    saved = pt2.torch_save(pt2.tuple_op(args, kwargs), {"0": pt2.W, "1": bools})
    inputs = load_program(pt2.zipped(pt2.entries(sample_inputs=saved))).example_inputs
    assert inputs is not None
    first, sequence, mask, default = inputs.args
    assert isinstance(first, TensorData)
    assert isinstance(mask, TensorData)
    np.testing.assert_array_equal(first.array, pt2.W)
    np.testing.assert_array_equal(mask.array, bools)
    assert sequence == [1, None, True]
    assert default == {}
    assert inputs.kwargs == {"scale": 0.5}


def test_example_inputs_of_user_classes_are_skipped() -> None:
    point = pt2.call_op("geometry", "Point", pt2.int_op(1), pt2.int_op(2))
    saved = pt2.torch_save(pt2.tuple_op(pt2.tuple_op(point), b"}"), {})
    program = load_program(pt2.zipped(pt2.entries(sample_inputs=saved)))
    assert program.example_inputs is None
    assert list(program.state_dict) == ["w"]


def test_loading_imports_nothing_heavy(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(pt2.zipped(pt2.entries()))
    source = (
        "import sys; from castoff.compiler.exported import load_program; "
        f"load_program({str(path)!r}); "
        "print([m for m in ('torch', 'sympy', 'jinja2', 'pickle5', 'rich') if m in sys.modules])"
    )
    environment = {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"
