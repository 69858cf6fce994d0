"""The conformance corpus: where it is, its cases, and how their trees become Python values.

The corpus is read where it lies: a folder with `ops.zip`, `models.zip` and `structure.zip`, or the
same unpacked, named by `$CASTOFF_CORPUS` or found beside the project. Nothing of it is part of the
project.
"""

from __future__ import annotations

import collections
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from castoff.runtime import treespec

FAMILIES = ("ops", "models", "structure")
_RAW_DTYPES = (
    "bfloat16",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
)


class Point(NamedTuple):
    """The corpus's named tuple."""

    x: Any
    y: Any


@dataclass
class Box:
    """The corpus's dataclass."""

    lo: Any
    hi: Any


def register_containers() -> None:
    """Make the corpus's own containers known to call specs."""
    treespec.register_namedtuple(Point, serialized_type_name="corpus.Point")
    treespec.register_dataclass(Box, serialized_type_name="corpus.Box")


_CONTAINERS: Mapping[str, type] = {"Point": Point, "Box": Box}


def find_corpus() -> Path | None:
    """The folder of the corpus, if there is one."""
    root = Path(__file__).resolve().parents[2]
    named = os.environ.get("CASTOFF_CORPUS")
    for folder in [Path(named)] if named else [root.parent / "shared" / "corpus"]:
        if any((folder / f"{f}.zip").exists() or (folder / f).is_dir() for f in FAMILIES):
            return folder
    return None


@dataclass(frozen=True)
class Call:
    """One call: arguments, the expected result, and what the arguments have to hold afterwards."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any
    args_after: tuple[Any, ...] | None = None
    kwargs_after: dict[str, Any] | None = None
    raises: str | None = None


@dataclass(frozen=True)
class Case:
    """A program with its calls and tolerances."""

    name: str
    program: bytes
    calls: tuple[Call, ...]
    rtol: float
    atol: float
    stateful: bool
    expect_error: str | None
    tags: tuple[str, ...]


class Family:
    """One family of cases, from a zip or a folder."""

    def __init__(self, corpus: Path, name: str) -> None:
        self.name = name
        self._folder = corpus / name
        archive = corpus / f"{name}.zip"
        self._zip = None if self._folder.is_dir() else zipfile.ZipFile(archive)
        self._directories = {
            entry["name"]: entry["dir"] for entry in json.loads(self._read("index.json"))["cases"]
        }

    @staticmethod
    def exists(corpus: Path, name: str) -> bool:
        """Whether the corpus has this family."""
        return (corpus / name).is_dir() or (corpus / f"{name}.zip").exists()

    @property
    def names(self) -> Sequence[str]:
        """The names of all cases."""
        return tuple(self._directories)

    def _read(self, path: str) -> bytes:
        if self._zip is not None:
            return self._zip.read(path)
        return (self._folder / path).read_bytes()

    def program(self, name: str) -> bytes:
        """The `.pt2` of a case."""
        return self._read(f"{self._directories[name]}/model.pt2")

    def load(self, name: str) -> Case:
        """A case, decoded."""
        directory = self._directories[name]
        record = json.loads(self._read(f"{directory}/case.json"))
        with np.load(io.BytesIO(self._read(f"{directory}/io.npz"))) as arrays:
            calls = tuple(_decode_call(call, arrays) for call in record["calls"])
        return Case(
            name, self.program(name), calls, record["rtol"], record["atol"], record["stateful"],
            record.get("expect_error"), tuple(record["tags"]),
        )  # fmt: skip


def _decode_call(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Call:
    def decoded(key: str) -> Any:
        return decode_tree(record[key], arrays) if record.get(key) is not None else None

    return Call(
        decoded("args"), decoded("kwargs"), decoded("out"), decoded("args_after"),
        decoded("kwargs_after"), record.get("raises"),
    )  # fmt: skip


def decode_tree(node: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """The Python value of a tree of `case.json`."""
    match node["kind"]:
        case "tensor":
            return _decode_tensor(node, arrays)
        case "const":
            return node["value"]
        case "float":
            return float(node["value"])
        case "complex":
            return complex(*map(float, node["value"]))
    items = [decode_tree(item, arrays) for item in node["items"]]
    match node["kind"]:
        case "tuple":
            return tuple(items)
        case "list":
            return items
        case "deque":
            return collections.deque(items, node.get("maxlen"))
        case "dict":
            return dict(zip(node["keys"], items, strict=False))
        case "ordereddict":
            return collections.OrderedDict(zip(node["keys"], items, strict=False))
        case "defaultdict":
            # The tree does not say of what; the corpus was exported with lists, as its programs say.
            return collections.defaultdict(list, zip(node["keys"], items, strict=False))
        case "namedtuple" | "dataclass":
            return _CONTAINERS[node["name"]](**dict(zip(node["fields"], items, strict=False)))
    raise ValueError(f"the corpus has a tree of an unknown kind, {node['kind']!r}")


def _decode_tensor(node: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    array: np.ndarray = arrays[node["key"]]
    if node["dtype"] in _RAW_DTYPES:
        array = array.view(np.dtype(getattr(ml_dtypes, node["dtype"])))
    array = array.reshape(node["shape"])
    strides = node.get("strides")
    if strides is None or array.size == 0:
        return array
    extent = 1 + sum(
        (size - 1) * stride for size, stride in zip(array.shape, strides, strict=False)
    )
    base = np.zeros(extent, array.dtype)
    view = np.lib.stride_tricks.as_strided(base, array.shape, [s * base.itemsize for s in strides])
    view[...] = array
    return view
