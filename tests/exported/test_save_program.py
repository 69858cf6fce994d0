"""Programs that are written come back as they were, and the files are zip files like any other."""

from __future__ import annotations

import io
import json
import mmap
import os
import struct
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import castoff
from castoff.compiler.exported import (
    ExampleInputs,
    OpaqueConstant,
    ProgramFormatError,
    SchemaVersionError,
    TensorData,
    load_program,
    program_bytes,
    save_program,
)
from castoff.compiler.exported import schema as s
from castoff.compiler.exported.json_records import decode_program
from castoff.compiler.exported.json_writer import encode_program
from castoff.compiler.exported.zip_writer import ALIGNMENT_BYTES, Content, ZipWriter
from castoff.runtime.zip_reader import ZipReader

from . import pt2_files as pt2
from .full_record import full_record


def test_every_kind_of_record_is_written_as_it_was_read() -> None:
    record = full_record()
    text = json.dumps(record)
    written = encode_program(decode_program(text.encode(), "test"))
    assert json.loads(written) == record
    assert written.decode() == text


def test_a_value_of_a_foreign_class_is_refused_by_name() -> None:
    program = load_program(pt2.zipped(pt2.entries()))
    wrong = replace(program.graph, outputs=("add",))  # type: ignore[arg-type]
    with pytest.raises(ProgramFormatError, match=r"AsTensor.*got str"):
        program_bytes(replace(program, graph=wrong))


def test_a_saved_program_comes_back_and_saves_to_equal_bytes(tmp_path: Path) -> None:
    program = load_program(pt2.zipped(pt2.entries(sample_inputs=b"")))
    path = tmp_path / "model.pt2"
    castoff.save(program, path)
    castoff.save(program, str(tmp_path / "again.pt2"))
    buffer = io.BytesIO()
    castoff.save(program, buffer)
    assert path.read_bytes() == (tmp_path / "again.pt2").read_bytes() == buffer.getvalue()
    back = castoff.load(path)
    assert back.graph == program.graph
    assert back.graph_signature == program.graph_signature
    assert back.module_call_graph == program.module_call_graph
    weight = back.state_dict["w"]
    assert weight.is_parameter
    assert weight.requires_grad
    np.testing.assert_array_equal(weight.array, pt2.W)
    assert program_bytes(back) == path.read_bytes()


def _views() -> bytes:
    base = np.arange(12, dtype="<f4")
    base[:3] = [np.nan, np.inf, -0.0]
    metas = {
        "whole": pt2.tensor_meta([3, 4], requires_grad=True),
        "transposed": pt2.tensor_meta([4, 3], strides=[1, 4]),
        "column": pt2.tensor_meta([3], strides=[4], offset=2),
        "expanded": pt2.tensor_meta([5, 2], strides=[0, 1], offset=1),
        "empty": pt2.tensor_meta([0, 7], strides=[9, 2], offset=3),
    }
    weights = {name: pt2.payload(meta, "weight_0", name == "whole") for name, meta in metas.items()}
    alone = {**pt2.tensor_meta([2], dtype=1), "device": {"type": "cuda", "index": 1}}
    weights["alone"] = pt2.payload(alone, "weight_1", False)
    return pt2.zipped(
        pt2.entries(
            weights=weights, weight_files={"weight_0": base.tobytes(), "weight_1": b"\x01\x02"}
        )
    )


def test_views_of_one_storage_are_written_once_with_their_strides() -> None:
    program = load_program(_views(), verify=False)
    saved = program_bytes(program)
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        files = [name for name in archive.namelist() if "/weight_" in name]
        listed = json.loads(archive.read("archive/data/weights/model_weights_config.json"))
    assert files == ["archive/data/weights/weight_0", "archive/data/weights/weight_1"]
    with zipfile.ZipFile(io.BytesIO(_views())) as archive:
        original = json.loads(archive.read("archive/data/weights/model_weights_config.json"))
    assert listed == original
    back = load_program(saved, verify=False)
    for name, tensor in program.state_dict.items():
        other = back.state_dict[name]
        assert other.array.tobytes() == tensor.array.tobytes()
        assert other.array.strides == tensor.array.strides
        assert other.device == tensor.device
    assert back.state_dict["column"].storage is back.state_dict["whole"].storage
    assert back.state_dict["alone"].device == s.Device("cuda", 1)


def test_one_storage_under_two_element_types_is_written_for_each() -> None:
    program = load_program(pt2.zipped(pt2.entries()))
    weight = program.state_dict["w"]
    as_int = replace(weight, array_as_mapped=weight.array.view("<i4"), dtype=s.ScalarType.INT)
    saved = program_bytes(replace(program, state_dict={"w": weight, "i": as_int}))
    back = load_program(saved)
    np.testing.assert_array_equal(back.state_dict["i"].array, weight.array.view("<i4"))
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        assert "archive/data/weights/weight_1" in archive.namelist()


def test_extra_files_are_kept_replaced_and_left_out() -> None:
    content = pt2.zipped(pt2.entries(further={"extra/a.txt": b"one", "extra/b/c": b"\xff\x00"}))
    program = load_program(content)
    kept = load_program(program_bytes(program)).extra_files
    assert kept == {"a.txt": b"one", "b/c": b"\xff\x00"}
    replaced = load_program(program_bytes(program, extra_files={"n": "täxt", "r": b"\x80"}))
    assert replaced.extra_files == {"n": "täxt".encode(), "r": b"\x80"}
    assert load_program(program_bytes(program, extra_files={})).extra_files == {}


@pytest.mark.parametrize("name", ["../a", "/a", "a/../b", "", "a\\b", "a\0", "a/", "\ud800"])
def test_extra_files_cannot_leave_the_archive(name: str) -> None:
    program = load_program(pt2.zipped(pt2.entries()))
    with pytest.raises(ProgramFormatError, match="archive to write"):
        program_bytes(program, extra_files={name: b""})


def test_opset_versions_are_replaced_one_by_one(tmp_path: Path) -> None:
    program = load_program(pt2.zipped(pt2.entries(pt2.program(opset_version={"aten": 9, "m": 1}))))
    path = tmp_path / "model.pt2"
    castoff.save(program, path, opset_version={"m": 2})
    assert castoff.load(path, expected_opset_version={"m": 2}).opset_version == {"aten": 9, "m": 2}
    with pytest.raises(SchemaVersionError, match="expected opset 'm' version 1, got 2"):
        castoff.load(path, expected_opset_version={"m": 1})


def test_a_program_of_a_newer_schema_is_not_written_without_what_is_new() -> None:
    record = pt2.program(schema_version={"major": 8, "minor": 21}, something_new=1)
    program = load_program(pt2.zipped(pt2.entries(record)))
    with pytest.raises(SchemaVersionError, match=r"8\.21.*8\.20"):
        program_bytes(program)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    program = load_program(pt2.zipped(pt2.entries()))
    path = tmp_path / "model.pt2"
    path.write_bytes(b"old")
    with pytest.raises(ProgramFormatError):
        castoff.save(program, path, extra_files={"../a": b""})
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.pt2"]


def test_a_program_can_be_saved_over_the_file_it_was_loaded_from(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(pt2.zipped(pt2.entries()))
    program = castoff.load(path)
    castoff.save(program, path)
    np.testing.assert_array_equal(program.state_dict["w"].array, pt2.W)
    np.testing.assert_array_equal(castoff.load(path).state_dict["w"].array, pt2.W)


def test_saved_files_have_the_permissions_of_ordinary_ones(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    castoff.save(load_program(pt2.zipped(pt2.entries())), tmp_path / "model.pt2")
    assert (tmp_path / "model.pt2").stat().st_mode == ordinary.stat().st_mode


def test_objects_that_are_no_tensors_are_written_as_they_were_read() -> None:
    meta = {"path_name": "custom_obj_3", "is_param": False, "use_pickle": True, "tensor_meta": None}
    content = pt2.zipped(
        pt2.entries(constants={"o": meta}, constant_files={"custom_obj_3": b"anything"})
    )
    program = load_program(content)
    back = load_program(program_bytes(program)).constants["o"]
    assert isinstance(back, OpaqueConstant)
    assert back.entry.endswith("constants/custom_obj_0")
    assert back.payload is not None
    assert bytes(back.payload) == b"anything"


def test_objects_inside_a_larger_pickle_are_refused_by_name() -> None:
    flat = pt2.flat_entries()
    flat["serialized_constants.pt"] = pt2.torch_save(pt2.dict_op({"o": pt2.int_op(3)}), {})
    with pytest.raises(ProgramFormatError, match=r"constant 'o' cannot be written.*int"):
        program_bytes(load_program(pt2.zipped(flat)))


@pytest.mark.parametrize("suffix", ["pt", "json"])
def test_files_of_the_flat_layout_are_written_in_the_current_one(suffix: str) -> None:
    program = load_program(pt2.zipped(pt2.flat_entries(suffix=suffix)))
    back = load_program(program_bytes(program))
    assert back.graph == program.graph
    np.testing.assert_array_equal(back.state_dict["w"].array, pt2.W)
    assert back.example_inputs is not None


# --- Example inputs ----------------------------------------------------------------------------


def test_example_inputs_are_written_as_the_bytes_they_were_read_from() -> None:
    tensor = pt2.tensor_op("0", [2], [1], count=2)
    sample = pt2.torch_save(pt2.tuple_op(pt2.tuple_op(tensor), pt2.dict_op({})), {"0": pt2.W})
    saved = program_bytes(load_program(pt2.zipped(pt2.entries(sample_inputs=sample))))
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        assert archive.read("archive/data/sample_inputs/model.pt") == sample


def test_example_inputs_of_unknown_classes_are_kept() -> None:
    foreign = pt2.torch_save(pt2.call_op("mine", "Config"), {})
    program = load_program(pt2.zipped(pt2.entries(sample_inputs=foreign)))
    assert program.example_inputs is None
    with zipfile.ZipFile(io.BytesIO(program_bytes(program))) as archive:
        assert archive.read("archive/data/sample_inputs/model.pt") == foreign


def test_new_example_inputs_are_written() -> None:
    program = load_program(pt2.zipped(pt2.entries()))
    weight = program.state_dict["w"]
    plain = replace(weight, is_parameter=False, requires_grad=False)
    values = (None, True, -3, 1 << 40, -(1 << 90), -0.0, 1 + 2j, "ä", [plain, (weight,)], {"k": 1})
    given_inputs = ExampleInputs(values, {"mask": plain})
    back = load_program(program_bytes(replace(program, example_inputs=given_inputs))).example_inputs
    assert back is not None
    assert back.args[:8] == values[:8]
    assert np.signbit(back.args[5])  # type: ignore[call-overload]
    assert back.args[9] == {"k": 1}
    tensor, (parameter,) = back.args[8]  # type: ignore[misc]
    assert isinstance(tensor, TensorData)
    np.testing.assert_array_equal(tensor.array, pt2.W)
    assert parameter.is_parameter
    assert parameter.storage is tensor.storage is back.kwargs["mask"].storage  # type: ignore[attr-defined]


def test_example_inputs_that_no_pickle_can_hold_are_left_out() -> None:
    program = load_program(pt2.zipped(pt2.entries()))
    given_inputs = ExampleInputs((object(),), {})
    saved = program_bytes(replace(program, example_inputs=given_inputs))
    assert load_program(saved).example_inputs is None


# --- Zip files ---------------------------------------------------------------------------------


def _zip(entries: dict[str, bytes]) -> bytes:
    parts: list[Content] = []
    writer = ZipWriter(parts.append)
    for name, content in entries.items():
        writer.add(name, content)
    writer.finish()
    return b"".join(parts)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.text("abä🙂._- ", min_size=1, max_size=90).filter(lambda name: name not in (".", "..")),
        st.binary(max_size=300),
        max_size=8,
    )
)
def test_zip_files_are_those_that_pythons_reader_reads(entries: dict[str, bytes]) -> None:
    data = _zip(entries)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == entries
        for info in archive.infolist():
            name_bytes, extra_bytes = struct.unpack_from("<HH", data, info.header_offset + 26)
            start = info.header_offset + 30 + name_bytes + extra_bytes
            assert start % ALIGNMENT_BYTES == 0
    reader = ZipReader(memoryview(data), "test")
    assert {name: bytes(reader.read(name)) for name in reader.names} == entries


def test_more_entries_than_the_old_directory_can_count_are_written() -> None:
    data = _zip({f"n{i}": b"" for i in range(70_000)})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == 70_000
    assert len(ZipReader(memoryview(data), "test").names) == 70_000


@pytest.mark.slow
def test_entries_past_four_gigabytes_have_wide_headers() -> None:
    # Zeros that take no memory: a sparse file is mapped, and what is written is only counted.
    size = (1 << 32) + 5
    heads: list[bytes] = []
    written = 0

    def write(piece: Content) -> None:
        nonlocal written
        written += len(piece)
        if len(piece) < 1 << 20:
            heads.append(bytes(piece))

    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with memoryview(mapped) as view:
            writer = ZipWriter(write)
            writer.add("big", view)
            writer.add("after", b"x")
            writer.finish()
        mapped.close()
    local, after_local, _, directory_big, directory_after = heads[:5]
    assert struct.unpack_from("<HHQQ", local, 33) == (1, 16, size, size)
    assert struct.unpack_from("<2L", local, 18) == (0xFFFFFFFF, 0xFFFFFFFF)
    assert struct.unpack_from("<HHQQ", directory_big, 46 + 3) == (1, 16, size, size)
    tag, length, offset = struct.unpack_from("<HHQ", directory_after, 46 + 5)
    assert (tag, length) == (1, 8)
    assert offset > size
    assert heads[5][:4] == b"PK\x06\x06"
    assert written > size
    assert after_local[:4] == b"PK\x03\x04"


def test_names_that_occur_twice_are_refused() -> None:
    writer = ZipWriter(lambda piece: None)
    writer.add("a", b"")
    with pytest.raises(ProgramFormatError, match="'a' occurs twice"):
        writer.add("a", b"")


def test_save_program_is_the_public_save() -> None:
    assert castoff.save is save_program


@pytest.mark.parametrize("damaged", [None, 0, 1])
def test_damage_is_found_in_large_weights_too(damaged: int | None) -> None:
    count = 1 << 18
    metas = {f"w{i}": pt2.payload(pt2.tensor_meta([count]), f"weight_{i}") for i in range(2)}
    files = {f"weight_{i}": bytes([i + 1]) * (4 * count) for i in range(2)}
    content = bytearray(pt2.zipped(pt2.entries(weights=metas, weight_files=files)))
    if damaged is None:
        state = load_program(content, verify=False).state_dict
        assert [tensor.storage.data[-1] for tensor in state.values()] == [1, 2]
        return
    content[content.index(files[f"weight_{damaged}"]) + 77] ^= 1
    program = load_program(content, verify=False)
    # Whichever weight is read first, in whatever way: damage anywhere is found, each time.
    for use in (
        lambda: program.state_dict["w0"].array,
        lambda: program.state_dict["w1"].storage.data,
        lambda: program_bytes(program),
        lambda: program.digest(),
    ):
        with pytest.raises(ProgramFormatError, match=rf"weight_{damaged}' is damaged"):
            use()
