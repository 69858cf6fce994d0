"""Damaged and hostile files get a typed error that names the entry; nothing is run or written."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from castoff.compiler.exported import ProgramFormatError, load_program
from castoff.runtime.zip_reader import ZipReader

from . import pt2_files as pt2


def _refused(content: bytes, match: str) -> None:
    with pytest.raises(ProgramFormatError, match=match):
        load_program(content)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x7fELF" * 100, b"{}"], ids=repr)
def test_what_is_no_zip_is_refused(content: bytes) -> None:
    _refused(content, "not a .pt2 file")


def test_an_empty_file_is_refused_by_path(tmp_path: Path) -> None:
    path = tmp_path / "empty.pt2"
    path.write_bytes(b"")
    with pytest.raises(ProgramFormatError, match=r"empty\.pt2.*it is empty"):
        load_program(path)


def test_a_zip_of_something_else_is_refused() -> None:
    _refused(pt2.zipped({"a.txt": "hello"}), "not a .pt2 file")
    _refused(pt2.zipped({"r/archive_format": "other"}), "'r/archive_format' should say 'pt2'")
    _refused(pt2.zipped({"a/archive_format": "pt2", "b/archive_format": "pt2"}), "got 2")


def test_every_truncation_is_refused() -> None:
    content = pt2.zipped(pt2.entries())
    for length in range(0, len(content), 7):
        with pytest.raises(ProgramFormatError):
            load_program(content[:length])
    _refused(content[:-1], "truncated")


@pytest.mark.parametrize(
    "missing",
    [
        "archive/data/weights/weight_0",
        "archive/data/weights/model_weights_config.json",
        "archive/data/constants/model_constants_config.json",
    ],
)
def test_a_missing_entry_is_named(missing: str) -> None:
    entries = pt2.entries()
    del entries[missing]
    _refused(pt2.zipped(entries), f"entry '{missing}' is missing")


def test_damaged_bytes_of_a_weight_are_noticed() -> None:
    content = pt2.zipped(pt2.entries())
    _refused(content.replace(pt2.W.tobytes(), b"\0" * 8), "weight_0' is damaged")


def test_big_endian_files_are_refused() -> None:
    entries = {**pt2.entries(), "archive/byteorder": "big"}
    _refused(pt2.zipped(entries), "big-endian")


@pytest.mark.parametrize(
    "name", ["../evil", "archive/../../evil", "/etc/evil", "archive//evil", "C:/evil", "a\\evil"]
)
def test_names_that_leave_the_archive_are_refused(name: str) -> None:
    _refused(pt2.zipped({**pt2.entries(), name: "x"}), "evil' has a name that leaves the archive")


def test_duplicate_entries_are_refused() -> None:
    buffer = io.BytesIO(pt2.zipped(pt2.entries()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr("archive/models/model.json", "{}")
    _refused(buffer.getvalue(), r"entry 'archive/models/model\.json' occurs twice")


def test_symbolic_links_are_refused() -> None:
    buffer = io.BytesIO(pt2.zipped(pt2.entries()))
    link = zipfile.ZipInfo("archive/data/weights/weight_1")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    _refused(buffer.getvalue(), "weight_1' is a symbolic link")


def _with_directory_field(name: str, offset: int, value: int) -> bytes:
    """The small program with four bytes changed in one record of the directory."""
    content = bytearray(pt2.zipped(pt2.entries(), deflate=True))
    at = content.rindex(name.encode()) - 46
    assert content[at : at + 4] == b"PK\x01\x02"
    content[at + offset : at + offset + 4] = struct.pack("<I", value)
    return bytes(content)


_NAME = "archive/models/model.json"


@pytest.mark.parametrize(
    ("offset", "value", "match"),
    [
        (8, 1, "is encrypted"),
        (10, 12, "compressed by method 12"),
        (16, 0, "checksum"),
        (20, 1 << 30, "lie outside the file"),
        (24, 10, "should unpack to 10 bytes, but gives more"),
        (24, 20_000_000, "should unpack to 20000000 bytes, but gives"),
        (24, 1 << 31, "past the limit"),
        (42, 5, "not where the directory says"),
        (42, 1 << 30, "lies outside the file"),
    ],
)
def test_lying_directory_records_are_refused(offset: int, value: int, match: str) -> None:
    _refused(_with_directory_field(_NAME, offset, value), match)


def test_overlapping_entries_are_refused() -> None:
    content = bytearray(pt2.zipped({"a": b"x" * 100, "b": b"y" * 10}))
    # Let the first entry claim the bytes of the second, with sizes and checksum that agree.
    grown = bytes(content[31:171])
    directory = content.index(b"PK\x01\x02")
    content[directory + 16 : directory + 28] = struct.pack(
        "<III", zlib.crc32(grown), len(grown), len(grown)
    )
    with pytest.raises(ProgramFormatError, match="entries 'a' and 'b' overlap"):
        ZipReader(memoryview(bytes(content)), "file")


def test_a_zip_bomb_is_refused_before_it_unpacks() -> None:
    bomb = pt2.zipped({**pt2.entries(), "archive/extra/x": bytes(300 << 20)}, deflate=True)
    _refused(bomb, "entry 'archive/extra/x' would unpack .* past the limit")


def test_zip64_records_are_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in pt2.entries().items():
            body = content.encode() if isinstance(content, str) else content
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(body)
    assert list(load_program(buffer.getvalue()).state_dict) == ["w"]


# --- Weights that lie --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "match"),
    [
        (pt2.tensor_meta([3]), r"\[3\] .* needs 12 bytes, but .* holds 8"),
        (pt2.tensor_meta([2], offset=1), "needs 12 bytes"),
        (pt2.tensor_meta([2], strides=[2]), "needs 12 bytes"),
        (pt2.tensor_meta([2], strides=[-1]), "is not a tensor shape"),
        (pt2.tensor_meta([-2]), "is not a tensor shape"),
        (pt2.tensor_meta([2], offset=-1), "is not a tensor shape"),
        (pt2.tensor_meta([2], strides=[1, 1]), "is not a tensor shape"),
        (pt2.tensor_meta([1 << 40, 1 << 40], strides=[1, 1]), "needs"),
        (pt2.tensor_meta([1 << 80]), "past what can be addressed"),
        (pt2.tensor_meta([1] * 65), "past what can be addressed"),
        (pt2.tensor_meta([1 << 40, 1 << 40], strides=[0, 0]), "is no array"),
        (pt2.tensor_meta([2], dtype=0), "element type UNKNOWN"),
        (pt2.tensor_meta([{"as_expr": {"expr_str": "s0"}}]), "expected fixed sizes, got 's0'"),
    ],
)
def test_weights_that_do_not_fit_their_bytes_are_refused(meta: pt2.Json, match: str) -> None:
    _refused(pt2.zipped(pt2.entries(weights={"w": pt2.payload(meta)})), f"'w' in .*{match}")


def test_paths_in_the_weight_list_cannot_leave_the_archive() -> None:
    weights = {"w": pt2.payload(pt2.tensor_meta([2]), "../../../etc/passwd")}
    _refused(pt2.zipped(pt2.entries(weights=weights)), "etc/passwd' is missing")


# --- Bad JSON ----------------------------------------------------------------------------------


def _with_program(text: str | bytes) -> bytes:
    return pt2.zipped({**pt2.entries(), "archive/models/model.json": text})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "not JSON"),
        ('{"graph_module": ', "not JSON"),
        (b"\xff\xfe", "expected UTF-8"),
        ("[" * 200_000, "JSON"),
        ('{"a": ' + "1" * 10_000 + "}", "limit"),
        ("[]", "top level: expected an object, got \\[\\]"),
        ("{}", "graph_module: expected a value, got nothing"),
    ],
    ids=["empty", "cut", "encoding", "deep", "digits", "list", "bare"],
)
def test_bad_json_is_refused(text: str | bytes, match: str) -> None:
    _refused(_with_program(text), match)


def _broken(change: Callable[[pt2.Json], object]) -> bytes:
    record = pt2.program()
    change(pt2.graph_of(record))
    return _with_program(json.dumps(record))


def _set_argument(value: object) -> Callable[[pt2.Json], object]:
    def change(graph: pt2.Json) -> None:
        graph["nodes"][0]["inputs"][1]["arg"] = value  # type: ignore[index]

    return change


@pytest.mark.parametrize(
    ("argument", "match"),
    [
        ({"as_int": "3"}, r"\.as_int: expected an integer, got '3'"),
        ({"as_int": True}, "expected an integer, got True"),
        ({"as_float": "Inf"}, "expected a float, got 'Inf'"),
        ({"as_ints": [1, None]}, r"as_ints\[1\]: expected an integer, got None"),
        ({"as_tensor": {}}, "expected an object with a name"),
        ({"as_scalar_type": 20}, "expected a number of ScalarType, got 20"),
        ({"as_banana": 1}, "expected an Argument, one of as_none.*got 'as_banana'"),
        ({"as_int": 1, "as_none": True}, "one key"),
        ({}, "one key"),
        (None, "one key"),
        ({"as_sym_ints": [{"as_name": 3}]}, r"as_sym_ints\[0\]\.as_name: expected a string"),
    ],
)
def test_arguments_outside_the_schema_are_named_by_path(argument: object, match: str) -> None:
    _refused(_broken(_set_argument(argument)), rf"graph\.nodes\[0\]\.inputs\[1\]\.arg.*{match}")


def test_graphs_nested_without_end_are_refused() -> None:
    record = pt2.program()
    operand = '"arg": {"as_tensor": {"name": "p_w"}}'
    head, tail = json.dumps(pt2.graph_of(record)).split(operand)
    opening = head + '"arg": {"as_graph": {"name": "g", "graph": '
    nested = opening * 200 + head + operand + tail + ("}}" + tail) * 200
    assert json.loads(nested[len(opening) * 150 : -150 * len("}}" + tail)])
    text = json.dumps(record).replace(head + operand + tail, nested)
    _refused(_with_program(text), "nested beyond|JSON beyond")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_flipped_byte_leads_to_an_untyped_error(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["raw", "flat"]))
    content = bytearray(pt2.zipped(pt2.entries() if kind == "raw" else pt2.flat_entries()))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProgramFormatError):
        load_program(bytes(content))
