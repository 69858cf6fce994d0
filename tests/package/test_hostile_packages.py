"""Archives that are damaged, lie, or mean harm: an error of a kind that names the entry, and nothing
is run or written.
"""

from __future__ import annotations

import hashlib
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

import castoff
from castoff.compiler.package.extract import extract_artefact
from castoff.runtime import package_load
from castoff.runtime.errors import ArtefactError, CastoffError, PackageError, ProgramFormatError
from castoff.runtime.package import PACKAGE_ENTRY, Package

LIST = "archive/" + PACKAGE_ENTRY


class LoaderReached(Exception):
    """Everything was found right, and a library was about to be loaded."""


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: object) -> object:
        raise LoaderReached

    monkeypatch.setattr(package_load, "_open", load)


@pytest.fixture(scope="session")
def genuine(artefacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("genuine") / "p.pt2"
    castoff.package(path, {"run": artefacts["few"]}, extra_files={"a.txt": "text"})
    return path.read_bytes()


def entries_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_record(content: bytes, change: Callable[[dict[str, object]], None]) -> bytes:
    """The archive with the record of its one artefact changed."""
    entries = entries_of(content)
    listed = json.loads(entries[LIST])
    change(listed["artefacts"][0])
    return zipped({**entries, LIST: json.dumps(listed).encode()})


def refused(
    content: bytes, folder: Path, match: str, kind: type[CastoffError] = ProgramFormatError
) -> None:
    """Both loading and extracting say so, and leave nothing behind."""
    path = folder / "hostile.pt2"
    path.write_bytes(content)
    with pytest.raises(kind, match=match):
        castoff.aot_load(path)
    with pytest.raises(CastoffError):
        extract_artefact(path, "run", folder / "out.so")
    assert [entry.name for entry in folder.iterdir()] == ["hostile.pt2"]


def test_a_genuine_archive_reaches_the_loader(genuine: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.pt2").write_bytes(zipped(entries_of(genuine)))
    with pytest.raises(LoaderReached):
        castoff.aot_load(tmp_path / "p.pt2")


def test_every_truncation_is_refused(genuine: bytes, tmp_path: Path) -> None:
    for length in (*range(2, 200, 11), *range(200, len(genuine), len(genuine) // 50)):
        refused(genuine[:length], tmp_path, "truncated|not a .pt2|damaged")


@pytest.mark.parametrize(
    ("entry", "method"),
    [("artefacts/", zipfile.ZIP_STORED), ("package.json", zipfile.ZIP_STORED),
     ("artefacts/", zipfile.ZIP_DEFLATED)],
)  # fmt: skip
def test_a_flipped_bit_is_found(genuine: bytes, tmp_path: Path, entry: str, method: int) -> None:
    content = bytearray(zipped(entries_of(genuine), method))
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        [info] = [info for info in archive.infolist() if f"castoff/{entry}" in info.filename]
    name_bytes, extra_bytes = struct.unpack_from("<HH", content, info.header_offset + 26)
    begin = info.header_offset + 30 + name_bytes + extra_bytes
    content[begin + info.compress_size // 2] ^= 4
    refused(bytes(content), tmp_path, f"entry 'archive/data/castoff/{entry}.*(damaged|unpack)")


def test_a_damaged_constant_is_not_extracted(genuine: bytes, tmp_path: Path) -> None:
    entries = entries_of(genuine)
    [constant] = [name for name in entries if "castoff/constants/" in name]
    entries[constant] = entries[constant][:-1] + b"\x01"  # the checksum of the zip is right
    path = tmp_path / "p.pt2"
    path.write_bytes(zipped(entries))
    with pytest.raises(ArtefactError, match="artefact 'run' is damaged: its constants are not"):
        extract_artefact(path, "run", tmp_path / "out.so")
    with pytest.raises(ArtefactError, match="artefact 'run' is damaged: its constants are not"):
        Package(path).verify()
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.pt2"]


def test_an_image_that_is_not_the_listed_one_is_refused(genuine: bytes, tmp_path: Path) -> None:
    content = with_record(genuine, lambda record: record.update(digest="0" * 64))
    refused(content, tmp_path, "artefacts/[0-9a-f]{64}' is damaged: it has not the digest")


def test_a_constant_of_another_size_is_refused(genuine: bytes, tmp_path: Path) -> None:
    entries = entries_of(genuine)
    [constant] = [name for name in entries if "castoff/constants/" in name]
    refused(
        zipped({**entries, constant: entries[constant][:-4]}),
        tmp_path,
        f"entry '{constant}' should have 65536 bytes, it has 65532",
    )


def test_missing_entries_are_named(genuine: bytes, tmp_path: Path) -> None:
    for part in ("castoff/artefacts/", "castoff/constants/"):
        entries = entries_of(genuine)
        [name] = [name for name in entries if part in name]
        del entries[name]
        refused(zipped(entries), tmp_path, f"entry '{name}' is missing")


def test_another_number_of_constants_is_refused(genuine: bytes, tmp_path: Path) -> None:
    content = with_record(genuine, lambda record: record.update(constants=[]))
    refused(content, tmp_path, r"package\.json' is damaged: artefact 'run' has 1 constants, not 0")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "../run"}, r"'\.\./run' is no name"),
        ({"method": ""}, "'' is no name"),
        ({"name": 3}, "describes no artefact"),
        ({"digest": "../../etc/passwd"}, "describes no artefact"),
        ({"constants": [[]]}, "describes no artefact"),
        ({"entry": None}, "describes no artefact"),
    ],
)
def test_nonsense_in_the_list_is_refused(
    genuine: bytes, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    content = with_record(genuine, lambda record: record.update(change))
    refused(content, tmp_path, rf"package\.json' is damaged: .*{said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "codec can't decode"),
        (b"[" * 100_000, "recursion"),
        (b'{"format": 1, "artefacts": {}}', "expected a list of artefacts"),
        (b'{"format": 1, "artefacts": [1]}', "'?1'? describes no artefact"),
        (b"[]", "expected a list of artefacts"),
        (b" " * (1 << 25) + b"[]", "larger than any list of artefacts"),
    ],
    ids=["empty", "binary", "deep", "dict", "number", "list", "huge"],
)
def test_other_json_is_refused(genuine: bytes, tmp_path: Path, text: bytes, said: str) -> None:
    content = zipped({**entries_of(genuine), LIST: text})
    refused(content, tmp_path, rf"package\.json' is damaged: .*{said}")


def test_a_newer_list_is_refused_by_its_number(genuine: bytes, tmp_path: Path) -> None:
    content = zipped({**entries_of(genuine), LIST: b'{"format": 2, "artefacts": []}'})
    refused(content, tmp_path, "has format 2, this castoff reads 1: use a newer castoff")


def test_two_artefacts_of_one_name_are_refused(genuine: bytes, tmp_path: Path) -> None:
    entries = entries_of(genuine)
    listed = json.loads(entries[LIST])
    listed["artefacts"] *= 2
    refused(
        zipped({**entries, LIST: json.dumps(listed).encode()}),
        tmp_path,
        "two artefacts have one name",
    )


def test_names_that_leave_the_archive_are_refused(genuine: bytes, tmp_path: Path) -> None:
    for name in ("../evil", "/etc/evil", "archive/../../evil", "C:/evil", "a\\evil"):
        content = zipped({**entries_of(genuine), name: b"x"})
        refused(content, tmp_path, "evil' has a name that leaves the archive")


def test_entries_that_occur_twice_are_refused(genuine: bytes, tmp_path: Path) -> None:
    buffer = io.BytesIO(genuine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr(LIST, b"{}")
    refused(buffer.getvalue(), tmp_path, r"entry 'archive/data/castoff/package\.json' occurs twice")


def test_zip_bombs_are_refused(genuine: bytes, tmp_path: Path) -> None:
    entries = {**entries_of(genuine), "archive/extra/bomb": b"\0" * (300 << 20)}
    refused(zipped(entries, zipfile.ZIP_DEFLATED), tmp_path, "extra/bomb' would unpack")


def test_lying_sizes_are_refused(genuine: bytes, tmp_path: Path) -> None:
    content = bytearray(genuine)
    for field in (20, 24):  # stored and unpacked size in a record of the directory
        at = content.rindex(b"archive/extra/a.txt") - 46
        content[at + field : at + field + 4] = struct.pack("<I", 1 << 30)
    refused(bytes(content), tmp_path, "a.txt' says it has 1073741824 bytes, which lie outside")


def remade(content: bytes, change: Callable[[bytearray], None]) -> bytes:
    """The archive with its image changed, and all digests made right again."""
    entries = entries_of(content)
    [name] = [name for name in entries if "castoff/artefacts/" in name]
    image = bytearray(entries[name])
    change(image)
    entries[name] = bytes(image)
    listed = json.loads(entries[LIST])
    listed["artefacts"][0]["digest"] = hashlib.sha256(image).hexdigest()
    return zipped({**entries, LIST: json.dumps(listed).encode()})


def test_an_image_for_another_machine_is_refused(genuine: bytes, tmp_path: Path) -> None:
    def lie(image: bytearray) -> None:
        image[18:20] = struct.pack("<H", 183)  # the ELF header says aarch64, the manifest does not

    refused(
        remade(genuine, lie), tmp_path, "its ELF image is not for x86_64, as its", ArtefactError
    )

    def foreign(image: bytearray) -> None:
        lie(image)
        footer = bytearray(image[-64:])
        offset, size = struct.unpack_from("<QQ", footer, 32)
        text = bytes(image[offset : offset + size]).replace(b'"x86_64"', b'"aarch64"')
        struct.pack_into("<QQI", footer, 40, len(text), offset + len(text) + 64, zlib.crc32(text))
        footer[60:] = struct.pack("<I", zlib.crc32(footer[:60]))
        image[offset:] = text + footer

    path = tmp_path / "foreign.pt2"
    path.write_bytes(remade(genuine, foreign))
    with pytest.raises(PackageError) as refusal:
        castoff.aot_load(path)
    assert "no artefact for device 'cpu', machine x86_64" in str(refusal.value)
    assert "run: method run, cpu aarch64" in str(refusal.value)
    with pytest.raises(ArtefactError, match="was compiled for aarch64, this machine is x86_64"):
        castoff.aot_load(path, artefact="run")


def test_a_manifest_that_lies_about_its_parts_is_refused(genuine: bytes, tmp_path: Path) -> None:
    def lie(image: bytearray) -> None:
        footer = image[-64:]
        struct.pack_into("<Q", footer, 40, 1 << 60)
        footer[60:] = struct.pack("<I", zlib.crc32(footer[:60]))
        image[-64:] = footer

    refused(remade(genuine, lie), tmp_path, "its parts lie outside the file", ArtefactError)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_is_damaged_ends_in_a_typed_error_or_nowhere(
    genuine: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(genuine)
    for _ in range(data.draw(st.integers(1, 4))):
        # Mostly where the records are: the ends of the file.
        at = data.draw(st.integers(0, 4000) | st.integers(len(content) - 2500, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "fuzzed.pt2"
    path.write_bytes(content)
    with pytest.raises((CastoffError, LoaderReached)):
        castoff.aot_load(path)
