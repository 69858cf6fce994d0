"""Python modules and objects in archives: what is shared, what runs, and what is refused."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import castoff
from castoff.compiler.package.imports import find_imports
from castoff.runtime.errors import CodeNotAllowedError, PackageError, ProgramFormatError
from castoff.runtime.package import Package

from .conftest import WEIGHT

WORDS = """\
import dataclasses
from typing import TYPE_CHECKING

from .text import split as split_text

if TYPE_CHECKING:
    import nobody_has_this

try:
    import nobody_has_this_either
except ImportError:
    nobody_has_this_either = None


@dataclasses.dataclass
class Vocabulary:
    words: list
    vectors: "object"

    def encode(self, sentence):
        return [self.words.index(word) for word in split_text(sentence)]

    def look_up(self, sentence):
        return self.vectors[self.encode(sentence)]


def fail():
    raise RuntimeError("as asked")
"""


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An importable package of the user's own."""
    folder = tmp_path / "site" / "words"
    (folder / "text").mkdir(parents=True)
    (folder / "__init__.py").write_text("from .vocabulary import Vocabulary\n")
    (folder / "vocabulary.py").write_text(WORDS)
    (folder / "text" / "__init__.py").write_text("from . import rules\nsplit = rules.split\n")
    (folder / "text" / "rules.py").write_text("def split(text):\n    return text.split()\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    import words  # type: ignore[import-not-found]

    yield words
    for name in [name for name in sys.modules if name.partition(".")[0] == "words"]:
        del sys.modules[name]


def packaged(path: Path, exporter: Any) -> Path:
    castoff.package(path, code=exporter)
    return path


def with_objects(path: Path, **objects: object) -> Path:
    exporter = castoff.package.Exporter()
    for name, value in objects.items():
        exporter.add_object(name, value)
    return packaged(path, exporter)


# ---- data ----


DATA: dict[str, object] = {
    "numbers": [1, -2.5, True, None, 1 << 80, 3 + 4j],
    "text": {"a": "ä", b"bytes": bytearray(b"x"), (1, "k"): frozenset({1, 2})},
    "containers": OrderedDict(x=(1, [2, {3}]), y=slice(1, None)),
}


@pytest.mark.parametrize("name", DATA)
def test_data_comes_back_without_permission(name: str, tmp_path: Path) -> None:
    importer = castoff.package.Importer(with_objects(tmp_path / "p.pt2", value=DATA[name]))
    assert importer.objects == ("value",)
    assert importer.load("value") == DATA[name]
    assert type(importer.load("value")) is type(DATA[name])


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint64", "float16", "float64", "complex64", "<U3", "|S2"]
)
def test_arrays_of_every_dtype_come_back(dtype: str, tmp_path: Path) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    scalar = array[1, 2]
    value = castoff.package.Importer(
        with_objects(tmp_path / "p.pt2", value=[array, scalar, array[:0], np.array(5, "int8")])
    ).load("value")
    np.testing.assert_array_equal(value[0], array)
    assert value[0].dtype == array.dtype
    assert (value[1], type(value[1])) == (scalar, type(scalar))
    assert value[2].shape == (0, 3)
    assert value[3].shape == () and value[3] == 5


def test_bfloat16_comes_back(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array([1, 2.5], ml_dtypes.bfloat16)
    again = castoff.package.Importer(with_objects(tmp_path / "p.pt2", value=array)).load("value")
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again.astype("float32"), [1, 2.5])


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[3:9, ::2],
        lambda x: x.T,
        lambda x: x[::-1, ::-3],
        lambda x: np.broadcast_to(x[0], (4, 8)),
        lambda x: x.astype(">f4"),
        lambda x: np.asfortranarray(x),
        lambda x: np.rec.fromarrays([x[0], np.array([None] * 8)], names="a,b")["a"],
        lambda x: np.lib.stride_tricks.as_strided(x[:2], (9, 8), x.strides),
    ],
)
def test_views_come_back_as_they_are(
    view: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    array = view(np.arange(80, dtype=np.float32).reshape(10, 8))
    again = castoff.package.Importer(with_objects(tmp_path / "p.pt2", value=array)).load("value")
    np.testing.assert_array_equal(again, array)


def test_arrays_mapped_from_files_come_back_as_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(3, 4))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")[1:]
    again = castoff.package.Importer(with_objects(tmp_path / "p.pt2", value=mapped)).load("value")
    assert type(again) is np.ndarray
    np.testing.assert_array_equal(again, mapped)


def test_arrays_share_memory_as_they_did(tmp_path: Path) -> None:
    whole = np.zeros((300, 100), np.float32)
    path = with_objects(tmp_path / "p.pt2", one={"whole": whole, "part": whole[5:7]}, two=whole.T)
    importer = castoff.package.Importer(path)
    one, two = importer.load("one"), importer.load("two")
    one["part"][0, 3] = 7
    assert one["whole"][5, 3] == two[3, 5] == 7
    folder = "data/castoff/constants/"
    [storage] = Package(path).names_in(folder)
    assert Package(path).size_bytes(folder + storage) == whole.nbytes
    assert castoff.package.Importer(path).load("two")[3, 5] == 0  # nobody wrote to the file


def test_equal_arrays_are_stored_once_and_stay_apart(tmp_path: Path) -> None:
    pair = [np.ones(50_000), np.ones(50_000)]
    path = with_objects(tmp_path / "p.pt2", pair=pair)
    assert len(Package(path).names_in("data/castoff/constants/")) == 1
    first, second = castoff.package.Importer(path).load("pair")
    first[0] = 2
    assert second[0] == 1


def test_large_arrays_are_mapped_and_weights_stored_once(
    artefacts: dict[str, Path], tmp_path: Path
) -> None:
    exporter = castoff.package.Exporter()
    exporter.add_object("table", {"weight": WEIGHT.copy()})
    path = tmp_path / "p.pt2"
    castoff.package(path, {"run": artefacts["few"]}, code=exporter)
    assert len(Package(path).names_in("data/castoff/constants/")) == 1
    weight = castoff.package.Importer(path).load("table")["weight"]
    np.testing.assert_array_equal(weight, WEIGHT)
    address = weight.__array_interface__["data"][0]
    ranges = [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines()
              if line.endswith(str(path))]  # fmt: skip
    assert any(int(b, 16) <= address < int(e, 16) for b, e in (r.split("-") for r in ranges))


def test_what_is_pickled_in_another_way_needs_permission(tmp_path: Path) -> None:
    path = with_objects(tmp_path / "p.pt2", dates=np.array(["2024-01-01"], "M8[D]"))
    with pytest.raises(CodeNotAllowedError, match=r"numpy\..*allow_code=True"):
        castoff.package.Importer(path).load("dates")
    dates = castoff.package.Importer(path, allow_code=True).load("dates")
    assert dates.dtype == np.dtype("M8[D]")


# ---- code ----


@pytest.fixture
def shipped(words: Any, tmp_path: Path) -> Path:
    exporter = castoff.package.Exporter()
    exporter.add_module("words")
    exporter.add_source(
        "answer", "import words.text.rules\nvalue = words.text.rules.split('a b')\n"
    )
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    exporter.add_object("vocabulary", words.Vocabulary(["a", "b", "c"], vectors))
    exporter.add_object("splitter", words.text.split)
    path = tmp_path / "elsewhere" / "p.pt2"
    path.parent.mkdir()
    castoff.package(path, code=exporter, extra_files={"labels.txt": "x"})
    return path


def test_code_runs_where_it_is_allowed_and_needs_nothing_else(shipped: Path) -> None:
    code = (
        "import sys, castoff\n"
        "importer = castoff.package.Importer(sys.argv[1], allow_code=True)\n"
        "vocabulary = importer.load('vocabulary')\n"
        "assert vocabulary.encode('c a') == [2, 0]\n"
        "assert vocabulary.look_up('b').tolist() == [[2.0, 3.0]]\n"
        "words = importer.import_module('words')\n"
        "assert type(vocabulary) is words.Vocabulary\n"
        "assert importer.import_module('words.vocabulary') is words.vocabulary\n"
        "assert importer.import_module('answer').value == ['a', 'b']\n"
        "assert importer.load('splitter') is words.text.split\n"
        "assert importer.read_extra_file('labels.txt') == b'x'\n"
        "assert 'words' not in sys.modules\n"
        "import copy, pickle\n"
        "assert copy.deepcopy(vocabulary).encode('b') == [1]\n"
        "assert type(pickle.loads(pickle.dumps(vocabulary))) is words.Vocabulary\n"
        "assert not [name for name in sys.modules if name.startswith('castoff.compiler')]\n"
    )
    source = Path(castoff.__file__).resolve().parent.parent
    subprocess.run(
        [sys.executable, "-c", code, shipped],
        env={**os.environ, "PYTHONPATH": str(source)},
        cwd=shipped.parent,
        check=True,
    )


def test_modules_of_an_archive_are_its_own(shipped: Path, words: Any) -> None:
    one, two = (castoff.package.Importer(shipped, allow_code=True) for _ in range(2))
    modules = [one.import_module("words"), two.import_module("words"), words]
    assert len({id(module.Vocabulary) for module in modules}) == 3
    assert one.import_module("words") is modules[0]
    assert one.modules == two.modules
    assert set(one.modules) == {
        "answer", "words", "words.text", "words.text.rules", "words.vocabulary",
    }  # fmt: skip


def test_tracebacks_show_the_source(shipped: Path) -> None:
    vocabulary = castoff.package.Importer(shipped, allow_code=True).import_module(
        "words.vocabulary"
    )
    with pytest.raises(RuntimeError, match="as asked") as failed:
        vocabulary.fail()
    shown = "".join(traceback.format_exception(failed.value))
    assert f'File "{shipped}/words/vocabulary.py", line ' in shown
    assert 'raise RuntimeError("as asked")' in shown


def test_threads_see_a_module_that_is_whole(shipped: Path) -> None:
    importer = castoff.package.Importer(shipped, allow_code=True)
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(importer.import_module("words").Vocabulary))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(map(id, found))) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_imports_what_another_thread_had_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(sys, "pause", lambda: (begun.set(), may_go_on.wait(60)), raising=False)
    exporter = castoff.package.Exporter()
    exporter.add_source("slow", "import sys\nsys.pause()\nvalue = 2\n")
    importer = castoff.package.Importer(packaged(tmp_path / "p.pt2", exporter), allow_code=True)
    thread = threading.Thread(target=importer.import_module, args=("slow",))
    thread.start()
    assert begun.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        monkeypatch.setattr(sys, "pause", lambda: None)
        os._exit(0 if importer.import_module("slow").value == 2 else 1)
    status = os.waitpid(child, 0)[1]
    may_go_on.set()
    thread.join()
    assert status == 0
    assert importer.import_module("slow").value == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_module_may_fork_while_it_is_imported(tmp_path: Path) -> None:
    exporter = castoff.package.Exporter()
    exporter.add_source("forking", "import os\nchild = os.fork()\n")
    importer = castoff.package.Importer(packaged(tmp_path / "p.pt2", exporter), allow_code=True)
    module = importer.import_module("forking")
    if module.child == 0:
        os._exit(0 if importer.import_module("forking") is module else 1)
    assert os.waitpid(module.child, 0)[1] == 0


def test_a_module_that_fails_is_not_half_there(tmp_path: Path) -> None:
    exporter = castoff.package.Exporter()
    exporter.add_source("bad", "value = 1\nraise KeyError('bad')\n")
    importer = castoff.package.Importer(packaged(tmp_path / "p.pt2", exporter), allow_code=True)
    for _ in range(2):
        with pytest.raises(KeyError, match="bad"):
            importer.import_module("bad")


def test_code_is_refused_unless_it_is_allowed(shipped: Path) -> None:
    importer = castoff.package.Importer(shipped)
    asked = r"castoff\.package\.Importer\(path, allow_code=True\)"
    with pytest.raises(CodeNotAllowedError, match=f"importing 'words' would run its code.*{asked}"):
        importer.import_module("words")
    for name, said in (("vocabulary", "words.vocabulary.Vocabulary"), ("splitter", "words.text")):
        with pytest.raises(CodeNotAllowedError, match=f"object '{name}'.*{said}.*{asked}"):
            importer.load(name)


def test_unknown_names_are_answered_with_what_there_is(shipped: Path) -> None:
    importer = castoff.package.Importer(shipped, allow_code=True)
    with pytest.raises(PackageError, match=r"no module 'word'; it holds .*'words\.vocabulary'"):
        importer.import_module("word")
    with pytest.raises(PackageError, match="no object 'x'; it holds 'vocabulary', 'splitter'"):
        importer.load("x")


# ---- what an exporter refuses ----


def test_missing_modules_are_all_named(words: Any, tmp_path: Path) -> None:
    exporter = castoff.package.Exporter(requires=["tokenizers.models"])
    exporter.add_object("vocabulary", words.Vocabulary([], None))
    exporter.add_source("reader", "import tokenizers.models\nimport json, regex\nfrom . import x\n")
    with pytest.raises(PackageError) as refused:
        castoff.package(tmp_path / "p.pt2", code=exporter)
    message = str(refused.value)
    assert "  words.vocabulary, by object 'vocabulary'" in message
    assert "  regex, by module 'reader', line 2" in message
    assert "  ., by module 'reader', line 3" in message
    assert "tokenizers" not in message and "json" not in message
    assert not (tmp_path / "p.pt2").exists()


def test_requirements_are_checked_where_code_runs(tmp_path: Path) -> None:
    exporter = castoff.package.Exporter(requires="nobody_has_this")
    exporter.add_source("reader", "import nobody_has_this\n")
    exporter.add_object("data", [1])
    path = packaged(tmp_path / "p.pt2", exporter)
    with pytest.raises(
        PackageError, match="its code needs nobody_has_this, which is not installed"
    ):
        castoff.package.Importer(path, allow_code=True).import_module("reader")
    assert castoff.package.Importer(path).load("data") == [1]


def test_what_cannot_be_added_is_refused() -> None:
    exporter = castoff.package.Exporter()
    exporter.add_object("x", 1)
    main = type("Local", (), {"__module__": "__main__", "__qualname__": "Local"})
    sys.modules["__main__"].Local = main  # type: ignore[attr-defined]
    for add, said in (
        (lambda: exporter.add_object("x", 2), "cannot be called 'x'"),
        (lambda: exporter.add_object("../x", 2), "cannot be called"),
        (lambda: exporter.add_object("f", lambda: 0), "object 'f' cannot be pickled"),
        (lambda: exporter.add_object("m", main()), "__main__, which is another program"),
        (lambda: exporter.add_module("nobody_has_this"), "no module 'nobody_has_this'"),
        (lambda: exporter.add_module("nobody.has.this"), "no module 'nobody"),
        (lambda: exporter.add_module("math"), "no module 'math' with Python source"),
        (lambda: exporter.add_source("a-b", ""), "'a-b' is no name of a module"),
        (lambda: exporter.add_source("bad", "def"), "module 'bad' is no Python"),
    ):
        with pytest.raises(PackageError, match=said):
            add()
    del sys.modules["__main__"].Local  # type: ignore[attr-defined]


def test_imports_are_found_where_they_stand() -> None:
    source = (
        "import a.b, c\n"
        "def f():\n"
        "    from d import e\n"
        "class C:\n"
        "    from ..up import x\n"
        "    from . import y\n"
        "if typing.TYPE_CHECKING:\n"
        "    import no\n"
        "else:\n"
        "    import yes\n"
        "if not TYPE_CHECKING:\n"
        "    import too\n"
        "try:\n"
        "    import maybe\n"
        "finally:\n"
        "    import last\n"
    )
    found = find_imports(source, "p.q.r", is_package=False)
    assert found.modules == {
        "a.b": 1,
        "c": 1,
        "d": 3,
        "p.up": 5,
        "p.q": 6,
        "yes": 10,
        "too": 12,
        "last": 16,
    }
    assert found.names == {"d.e": 3, "p.up.x": 5, "p.q.y": 6}
    within = find_imports("from . import y", "p.q", is_package=True)
    assert (within.modules, within.names) == ({"p.q": 1}, {"p.q.y": 1})


def test_modules_taken_out_of_their_package_are_needed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "speech"
    folder.mkdir()
    (folder / "__init__.py").write_text("rate = 16000\n")
    (folder / "words.py").write_text("from . import rate, sounds\n")
    (folder / "sounds.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    exporter = castoff.package.Exporter()
    exporter.add_module("speech.words")
    with pytest.raises(
        PackageError, match=r"  speech\.sounds, by module 'speech\.words', line 1\Z"
    ):
        castoff.package(tmp_path / "p.pt2", code=exporter)
    exporter.add_module("speech.sounds")
    castoff.package(tmp_path / "p.pt2", code=exporter)
    importer = castoff.package.Importer(tmp_path / "p.pt2", allow_code=True)
    assert importer.import_module("speech.words").rate == 16000


def test_equal_arguments_give_equal_bytes(words: Any, tmp_path: Path) -> None:
    for name in ("a.pt2", "b.pt2"):
        exporter = castoff.package.Exporter(requires=["b", "a"])
        exporter.add_module("words")
        exporter.add_object("x", {"k": np.arange(5), "v": words.Vocabulary(["w"], None)})
        packaged(tmp_path / name, exporter)
    assert (tmp_path / "a.pt2").read_bytes() == (tmp_path / "b.pt2").read_bytes()


# ---- hostile archives ----


def changed(path: Path, **entries: bytes) -> Path:
    """The archive with entries below data/castoff/python replaced or added."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents.update({f"archive/data/castoff/{name}": text for name, text in entries.items()})
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


class Harmful:
    def __reduce__(self) -> object:
        return os.system, ("touch harm-was-done",)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return with_objects(tmp_path / "p.pt2", value=[np.zeros(4)])


def test_harmful_pickles_run_nothing(data: Path) -> None:
    changed(data, **{"python/objects/value.pkl": pickle.dumps(Harmful())})
    with pytest.raises(CodeNotAllowedError, match=r"'posix\.system'.*nothing was run"):
        castoff.package.Importer(data).load("value")
    assert not Path("harm-was-done").exists()


def with_identifier(identifier: object) -> bytes:
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 4)
    pickler.persistent_id = lambda value: identifier if value is Ellipsis else None  # type: ignore[method-assign]
    pickler.dump([...])
    return buffer.getvalue()


@pytest.mark.parametrize(
    "identifier",
    [
        ("array", 0, "float64", 0, (5,), (8,)),
        ("array", 0, "float64", -8, (1,), (8,)),
        ("array", 0, "float64", 0, (1 << 60, 1 << 60), (0, 0)),
        ("array", 0, "float64", 0, (4,), (-8,)),
        ("array", 0, "object", 0, (4,), (8,)),
        ("array", 0, "<U999999999999", 0, (4,), (8,)),
        ("array", 1, "float64", 0, (4,), (8,)),
        ("array", -1, "float64", 0, (4,), (8,)),
        ("array", 0, "float64", 0, ("4",), (8,)),
        ("scalar", "float64", b""),
        ("scalar", "object", b"\0" * 8),
        ("file", "/etc/passwd"),
        "array",
    ],
    ids=str,
)
@pytest.mark.parametrize("allow_code", [False, True])
def test_lying_identifiers_are_refused(data: Path, identifier: object, allow_code: bool) -> None:
    changed(data, **{"python/objects/value.pkl": with_identifier(identifier)})
    with pytest.raises(ProgramFormatError, match="damaged pickle"):
        castoff.package.Importer(data, allow_code=allow_code).load("value")


def test_damaged_pickles_are_refused(data: Path) -> None:
    changed(data, **{"python/objects/value.pkl": b"\x80\x04"})
    for allow_code in (False, True):
        with pytest.raises(ProgramFormatError, match="object 'value'"):
            castoff.package.Importer(data, allow_code=allow_code).load("value")


def test_damaged_memory_is_found(data: Path) -> None:
    content = data.read_bytes()
    at = content.index(b"\0" * 32)
    with zipfile.ZipFile(data) as archive:
        [name] = [name for name in archive.namelist() if "castoff/constants/" in name]
        info = archive.getinfo(name)
    at = info.header_offset + 30 + int.from_bytes(
        content[info.header_offset + 26 : info.header_offset + 28], "little"
    ) + int.from_bytes(content[info.header_offset + 28 : info.header_offset + 30], "little")  # fmt: skip
    data.write_bytes(content[:at] + b"\1" + content[at + 1 :])
    with pytest.raises(ProgramFormatError, match=f"entry '{name}' is damaged"):
        castoff.package.Importer(data).load("value")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"python.json": b"[]"}, "expected lists of storages"),
        ({"python.json": b'{"format": 2}'}, "has format 2.*use a newer castoff"),
        ({"python.json": b'{"format": 1, "storages": [1], "requires": []}'}, "expected lists"),
        ({"python.json": b'{"format": 1, "storages": [], "requires": ["a.b"]}'}, "expected lists"),
        ({"python/modules/a/b.py": b""}, "its package is not in the archive"),
        ({"python/modules/a.txt": b""}, "not the name of a module"),
        ({"python/modules/a.py": b"", "python/modules/a/__init__.py": b""}, "not the name of"),
    ],
)
def test_nonsense_about_python_is_refused(data: Path, entries: dict[str, bytes], said: str) -> None:
    changed(data, **entries)
    with pytest.raises(ProgramFormatError, match=rf"entry 'archive/data/castoff/python.*{said}"):
        castoff.package.Importer(data)


def test_the_record_is_plain_json(data: Path) -> None:
    with zipfile.ZipFile(data) as archive:
        record = json.loads(archive.read("archive/data/castoff/python.json"))
    [storage] = record.pop("storages")
    assert record == {"format": 1, "requires": []}
    assert storage.startswith("data/castoff/constants/")
