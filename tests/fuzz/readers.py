"""The readers of what nobody vouches for, each as a function of bytes, with inputs to start from.

A reader may raise `CastoffError`. Anything else that it raises, more than a second of processor
time, more than a gigabyte of memory: each is a finding.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import pickle
import re
import struct
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from castoff.compiler.exported.deserialize import load_program
from castoff.compiler.exported.json_records import decode_payload_config, decode_program
from castoff.compiler.exported.json_writer import encode_program
from castoff.compiler.exported.symbols import parse_expression, parse_guards
from castoff.compiler.exported.torch_save import read_torch_save
from castoff.compiler.exported.zip_writer import Content, ZipWriter
from castoff.compiler.package.exporter import Exporter
from castoff.compiler.package.write import write_package
from castoff.runtime import manifest as m
from castoff.runtime.errors import CastoffError
from castoff.runtime.package import Package
from castoff.runtime.package_choice import Request, choose_artefacts
from castoff.runtime.package_importer import Importer
from castoff.runtime.treespec import parse_treespec

from ..exported import pt2_files as pt2
from ..exported.full_record import full_record


@dataclass(frozen=True)
class Reader:
    """`repaired` makes the checksums of mutated bytes right again, lest they hide the rest.

    Inputs that `is_json` are mutated as trees as well as bytes.
    """

    read: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    repaired: Callable[[bytes], bytes] = bytes
    is_json: bool = False

    def survives(self, data: bytes) -> None:
        """Read hostile bytes; whatever this raises is a finding."""
        with contextlib.suppress(CastoffError):
            self.read(data)

    def words(self) -> Sequence[bytes]:
        """Words of the seeds, for mutations to put together."""
        return sorted({w for seed in self.seeds() for w in re.findall(rb"[\w.]{3,40}", seed)})


# --- Archives ----------------------------------------------------------------------------------


def _read_archive(data: bytes) -> None:
    load_program(data)


def _archives() -> Sequence[bytes]:
    weights = pt2.dict_op({"w": pt2.parameter_op(pt2.tensor_op("0", [2], [1], count=2))})
    pickled = {
        "archive/data/weights/model.pt": pt2.torch_save(weights, {"0": pt2.W}),
        "archive/data/constants/model.pt": pt2.torch_save(b"}", {}),
    }
    return [
        pt2.zipped(pt2.entries()),
        pt2.zipped(pt2.entries(further={"extra/note.txt": b"hello"}), deflate=True),
        pt2.zipped({**pt2.entries(weights={}, weight_files={}), **pickled}),
        pt2.zipped(pt2.flat_entries()),
    ]


_END_RECORD = b"PK\x05\x06"
_DIRECTORY_RECORD = struct.Struct("<4s6H3L5H2L")
_LOCAL_HEADER_BYTES = 30
_DEFLATED = 8
_MAX_UNPACKED_BYTES = 1 << 20


def with_right_checksums(data: bytes) -> bytes:
    """A zip file whose directory states the checksums of the entries as they are, in zip files
    within it too."""
    repaired = bytearray(data)
    end = data.rfind(_END_RECORD)
    if not 0 <= end <= len(data) - 22:
        return data
    (count,) = struct.unpack_from("<H", data, end + 10)
    (at,) = struct.unpack_from("<L", data, end + 16)
    for _ in range(count):
        if at + _DIRECTORY_RECORD.size > end:
            break
        signature, *fields = _DIRECTORY_RECORD.unpack_from(data, at)
        if signature != b"PK\x01\x02":
            break
        method, stored_bytes, header_offset = fields[3], fields[7], fields[15]
        content, start = _stored_content(data, header_offset, stored_bytes)
        if method == _DEFLATED:
            content = _inflated(content)
        elif content.startswith(b"PK\x03\x04"):
            content = with_right_checksums(content)
            repaired[start : start + len(content)] = content
        struct.pack_into("<L", repaired, at + 16, zlib.crc32(content))
        at += _DIRECTORY_RECORD.size + sum(fields[9:12])
    return bytes(repaired)


def _stored_content(data: bytes, header_offset: int, stored_bytes: int) -> tuple[bytes, int]:
    """The bytes of an entry as they lie in the file, and where they begin."""
    if header_offset + _LOCAL_HEADER_BYTES > len(data):
        return b"", len(data)
    names_bytes = sum(struct.unpack_from("<HH", data, header_offset + 26))
    start = header_offset + _LOCAL_HEADER_BYTES + names_bytes
    return data[start : start + stored_bytes], start


def _inflated(content: bytes) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, _MAX_UNPACKED_BYTES)
    except zlib.error:
        return content


# --- JSON --------------------------------------------------------------------------------------


def _read_record(data: bytes) -> None:
    """What is read is written, and read again as it was."""
    text = encode_program(decode_program(data, "fuzz"))
    # Texts are compared: a NaN in a record is unequal to itself.
    assert encode_program(decode_program(text, "fuzz")) == text, "a record changed when written"


def _records() -> Sequence[bytes]:
    return [json.dumps(record).encode() for record in (pt2.program(), full_record())]


def _read_weight_list(data: bytes) -> None:
    decode_payload_config(data, "fuzz")


def _weight_lists() -> Sequence[bytes]:
    weights = {"w": pt2.payload(pt2.tensor_meta([2, 3], strides=[3, 1], requires_grad=True))}
    return [json.dumps({"config": weights}).encode()]


# --- Pickles -----------------------------------------------------------------------------------


def _read_pickle(data: bytes) -> None:
    """The bytes as the pickle of a torch.save payload that has one storage, of eight bytes."""
    parts: list[Content] = []
    archive = ZipWriter(parts.append)
    archive.add("archive/data.pkl", data)
    archive.add("archive/data/0", bytes(8))
    archive.finish()
    read_torch_save(memoryview(b"".join(parts)), "fuzz")


def _pickles() -> Sequence[bytes]:
    tensor = pt2.tensor_op("0", [2], [1], count=2)
    plain = {"a": [1, 2.5, None, True, (1 << 70, b"x", "ä")], "d": collections.OrderedDict(k={1})}
    bodies = (
        pt2.dict_op({"w": pt2.parameter_op(tensor)}),
        pt2.tuple_op(pt2.tuple_op(tensor), b"}"),
        pt2.call_op("torch", "Size", pt2.tuple_op(pt2.int_op(2))),
        pt2.call_op("torch", "device", pt2.text_op("cuda:1")),
    )
    return [
        *(pickle.dumps(plain, protocol) for protocol in (2, 4, 5)),
        pickle.dumps(collections.deque([1, collections.defaultdict(list)], 3), 2),
        *(b"\x80\x02" + body + b"." for body in bodies),
    ]


# --- Treespecs and symbols ---------------------------------------------------------------------


def _read_treespec(data: bytes) -> None:
    tree = parse_treespec(data.decode("utf-8", "surrogateescape"), {"ns.P": ("x", "y")})
    tree.leaf_paths("x")


_LEAF = {"type": None, "context": None, "children_spec": []}


def _tree(kind: str, context: object, *children: object) -> dict[str, object]:
    return {"type": kind, "context": context, "children_spec": list(children)}


def _treespecs() -> Sequence[bytes]:
    factory = {
        "default_factory_module": "builtins",
        "default_factory_name": "list",
        "dict_context": '["k"]',
    }
    trees = [
        _LEAF,
        _tree("builtins.tuple", "null", _tree("builtins.list", "null", _LEAF), _LEAF),
        _tree("builtins.dict", '["a", "b"]', _LEAF, _tree("collections.deque", "3", _LEAF)),
        _tree("collections.OrderedDict", '["a"]', _LEAF),
        _tree("collections.defaultdict", factory, _LEAF),
        _tree("collections.namedtuple", '"ns.P"', _LEAF, _LEAF),
        _tree("ns.Box", '[["lo"], ["hi"]]', _LEAF),
        _tree("ns.Other", '"anything"', _LEAF),
    ]
    return [json.dumps([1, tree]).encode() for tree in trees]


def _read_symbols(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    parse_guards([text])
    parse_expression(text)


def _expressions() -> Sequence[bytes]:
    """Those of a guard are no expressions: the second reader refuses them."""
    return [
        b"Add(FloorDiv(Symbol('s0', positive=True, integer=True), Integer(2)), Integer(-1))",
        b"Mul(Float('0.5', precision=53), ToFloat(Max(Symbol('u0'), Mod(s1, Integer(3)))))",
        b"s0 + 1 - 3*s1**2 // (s2 % 5)",
        b"L['x'].size()[0] // 2 == L['y']['k'][0].shape[1] and not L['n'] != 16",
        b"math.trunc(torch.sym_max(2, L['x'].size()[1])) <= 7 < 9 if True else False",
    ]


# --- Artefacts ---------------------------------------------------------------------------------


def _memory_folder() -> str | None:
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


def _read_artefact(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=_memory_folder()) as file:
        file.write(data)
        file.flush()
        m.read_manifest(file.name)


def _artefacts() -> Sequence[bytes]:
    manifest = m.Manifest(
        name="model",
        in_spec=json.dumps([1, _LEAF]),
        out_spec=json.dumps([1, _LEAF]),
        arguments=(m.Argument("input", 0), m.Argument("constant", value=float("inf"))),
        results=(m.Result("output", 0), m.Result("constant", value=1 + 2j)),
        inputs=(m.TensorSpec("x", "args[0]", "float32", ("batch", 3)),),
        outputs=(m.TensorSpec("y", "result", "float32", ("batch + 1",), data_dependent=True),),
        constants=(m.ConstantSpec("w", "float32", (2,), 0, 8),),
        buffers=(m.BufferSpec("b", "float32", (2,), 0),),
        symbols=(m.SymbolSpec("batch", 1, None),),
        forward_arg_names=("x",),
        namedtuple_fields={"ns.P": ("x", "y")},
        levels=("x86-64-v3",),
        weights_size_bytes=8,
    )
    header = b"\x7fELF\x02\x01" + bytes(12) + struct.pack("<H", m.MACHINES["x86_64"]) + bytes(44)
    with tempfile.NamedTemporaryFile(dir=_memory_folder()) as file:
        file.write(header)
        file.flush()
        m.append_payload(file.name, [(0, bytes(8))], manifest)
        file.seek(0)
        return [file.read()]


_FOOTER_BYTES = 64


def with_right_footer(data: bytes) -> bytes:
    """An artefact whose footer states the checksums and the size of the file as they are."""
    if len(data) < _FOOTER_BYTES:
        return data
    body = bytearray(data[-_FOOTER_BYTES:-4])
    offset, size = struct.unpack_from("<QQ", body, 32)
    struct.pack_into("<QI", body, 48, len(data), zlib.crc32(data[offset : offset + size]))
    return data[:-_FOOTER_BYTES] + bytes(body) + struct.pack("<I", zlib.crc32(bytes(body)))


def _read_manifest(data: bytes) -> None:
    m.Manifest.from_json(data).to_json()


def _manifests() -> Sequence[bytes]:
    [file] = _artefacts()
    offset, size = struct.unpack_from("<QQ", file, len(file) - _FOOTER_BYTES + 32)
    return [file[offset : offset + size]]


# --- Deployment archives -----------------------------------------------------------------------


def _read_package(data: bytes) -> None:
    """All that is read of an archive before machine code is loaded or Python code runs."""
    with tempfile.NamedTemporaryFile(dir=_memory_folder()) as file:
        file.write(data)
        file.flush()
        importer = Importer(file.name)
        for name in importer.objects:
            importer.load(name)
        package = Package(file.name)
        package.verify()
        choose_artefacts(package, Request("cpu", "forward", {"x": (2, 3)}))


def _packages() -> Sequence[bytes]:
    exporter = Exporter(requires=["json"])
    exporter.add_source("words", "import json")
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    exporter.add_object("data", {"table": [table, table.T], "n": np.int8(3), "k": (1, "x", None)})
    with tempfile.TemporaryDirectory(dir=_memory_folder()) as folder:
        artefact, path = Path(folder, "model.so"), Path(folder, "model.pt2")
        artefact.write_bytes(_artefacts()[0])
        write_package(
            path,
            {"forward": artefact},
            programs={"model": pt2.zipped(pt2.entries())},
            extra_files={"labels.txt": "cat"},
            code=exporter,
        )
        return [path.read_bytes()]


READERS = {
    "archive": Reader(_read_archive, _archives, with_right_checksums),
    "record": Reader(_read_record, _records, is_json=True),
    "weight_list": Reader(_read_weight_list, _weight_lists, is_json=True),
    "pickle": Reader(_read_pickle, _pickles),
    "treespec": Reader(_read_treespec, _treespecs, is_json=True),
    "symbols": Reader(_read_symbols, _expressions),
    "artefact": Reader(_read_artefact, _artefacts, with_right_footer),
    "package": Reader(_read_package, _packages, with_right_checksums),
    "manifest": Reader(_read_manifest, _manifests, is_json=True),
}
FINDINGS = Path(__file__).parent / "findings"
"""Inputs that were findings once, in a folder for each reader."""
