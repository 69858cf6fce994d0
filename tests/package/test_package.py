"""Deployment archives: what goes in, which artefact comes out, and that weights are mapped."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

import castoff
from castoff.compiler.errors import OptionError, OutputError
from castoff.compiler.package.extract import extract_artefact
from castoff.runtime._abi_cdef import ffi
from castoff.runtime.errors import ArtefactError, DeviceError, PackageError, UnsupportedCpuError
from castoff.runtime.manifest import MACHINES, append_payload, read_manifest
from castoff.runtime.package import Package
from castoff.runtime.package_choice import Request, choose_artefacts
from castoff.runtime.package_image import place_image
from castoff.runtime.package_load import open_packaged

from ..exported import pt2_files
from ..graphs import QUICK
from .conftest import WEIGHT

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.pt2"


def sample(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).standard_normal((batch, 64, 256)).astype(np.float32)


# ---- which artefact ----


@pytest.mark.parametrize(("batch", "name"), [(1, "one"), (2, "few"), (8, "few"), (9, "many")])
def test_the_shapes_of_inputs_choose_an_artefact(archive: Path, batch: int, name: str) -> None:
    x = sample(batch)
    run = castoff.aot_load(archive, method="add", shapes={"x": x.shape})
    assert run.artefact == name
    np.testing.assert_array_equal(run(x)[0], x + WEIGHT)


def test_an_input_may_be_given_by_its_path(archive: Path) -> None:
    run = castoff.aot_load(archive, shapes={"args[0]": (3, 64, 256)}, method="add")
    assert run.artefact == "few"


def test_the_highest_level_of_the_processor_is_taken(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = castoff.aot_load(archive, method="mul")
    assert (run.artefact, run.cpu_level) == ("fast", "x86-64-v3")
    x = sample(2)
    np.testing.assert_array_equal(run(x)[0], x * WEIGHT)
    monkeypatch.setenv("CASTOFF_CPU_LEVEL", "x86-64")
    run = castoff.aot_load(archive, method="mul")
    assert (run.artefact, run.cpu_level) == ("plain", "x86-64")
    np.testing.assert_array_equal(run(x)[0], x * WEIGHT)


def test_levels_the_processor_lacks_are_refused_when_no_other_is_there(
    artefacts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    castoff.package(tmp_path / "p.pt2", {"mul": artefacts["times"]})
    monkeypatch.setenv("CASTOFF_CPU_LEVEL", "x86-64")
    with pytest.raises(UnsupportedCpuError, match=r"p\.pt2: artefact 'mul': .*x86-64-v3"):
        castoff.aot_load(tmp_path / "p.pt2")


def test_an_artefact_may_be_named(archive: Path) -> None:
    assert castoff.aot_load(archive, artefact="plain").cpu_level == "x86-64"
    with pytest.raises(PackageError, match="no artefact named 'slow'; it holds 'one', 'few'"):
        castoff.aot_load(archive, artefact="slow")


def test_an_archive_with_one_artefact_asks_nothing(counter: Path, tmp_path: Path) -> None:
    castoff.package(tmp_path / "p.pt2", {"forward": counter})
    x = np.array([1, 2], np.float32)
    np.testing.assert_array_equal(castoff.aot_load(tmp_path / "p.pt2")(x)[0], x)


def test_an_open_choice_lists_what_there_is(archive: Path) -> None:
    with pytest.raises(PackageError) as refused:
        castoff.aot_load(archive)
    message = str(refused.value)
    assert "holds 5 artefacts for device 'cpu'" in message
    assert "method=, shapes= (sizes by input name) or artefact= (a name)" in message
    machine = os.uname().machine
    assert (
        f"  few: method add, cpu {machine} (x86-64-v3), takes (x: float32[n, 64, 256])" in message
    )


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"method": "sub"}, "no artefact for device 'cpu', method 'sub', machine "),
        ({"shapes": {"x": (65, 64, 256)}, "method": "add"}, "shapes {'x': (65, 64, 256)}"),
        ({"shapes": {"x": (1, 64)}, "method": "add"}, "shapes {'x': (1, 64)}"),
        ({"shapes": {"y": (1, 64, 256)}}, "shapes {'y': (1, 64, 256)}"),
    ],
)
def test_what_fits_nothing_is_answered_with_what_there_is(
    archive: Path, request_: dict[str, object], said: str
) -> None:
    with pytest.raises(PackageError) as refused:
        castoff.aot_load(archive, **request_)  # type: ignore[arg-type]
    assert said in str(refused.value)
    assert "it holds\n  one: method add" in str(refused.value)


def test_another_device_is_answered_with_what_there_is(archive: Path) -> None:
    with pytest.raises(PackageError) as refused:
        castoff.aot_load(archive, "cuda")
    assert "no artefact for device 'cuda', machine " in str(refused.value)
    assert "  one: method add, cpu" in str(refused.value)


def described_for(folder: Path, like: Path, **changes: object) -> Path:
    """A file that says it is an artefact like another one, but for another machine or device."""
    machine = str(changes.get("machine", "x86_64"))
    path = folder / f"{'-'.join(map(str, changes.values()))}.so"
    path.write_bytes(
        b"\x7fELF\2\1" + bytes(12) + MACHINES[machine].to_bytes(2, "little") + bytes(44)
    )
    manifest = read_manifest(like)._replace(**changes)  # type: ignore[arg-type]
    append_payload(path, [(0, WEIGHT.tobytes())], manifest)
    return path


def test_machine_and_device_choose_an_artefact(artefacts: dict[str, Path], tmp_path: Path) -> None:
    few = artefacts["few"]
    path = tmp_path / "p.pt2"
    castoff.package(
        path,
        {
            "add": {
                "foreign": described_for(tmp_path, few, machine="aarch64", levels=("generic",)),
                "old": described_for(tmp_path, few, device="cuda", levels=("sm_80", "sm_86")),
                "here": few,
                "new": described_for(tmp_path, few, device="cuda", levels=("sm_90",)),
            }
        },
    )
    run, x = castoff.aot_load(path), sample(2)
    assert run.artefact == "here"
    np.testing.assert_array_equal(run(x)[0], x + WEIGHT)
    assert choose_artefacts(Package(path), Request("cuda:1")) == ("new", "old")
    with pytest.raises(ArtefactError, match="artefact 'foreign' was compiled for aarch64"):
        castoff.aot_load(path, artefact="foreign")
    with pytest.raises(DeviceError, match="expected cpu, cuda or"):
        castoff.aot_load(path, "tpu")


def test_lone_artefacts_have_no_methods(counter: Path) -> None:
    with pytest.raises(PackageError, match="is no archive, so method= and shapes= mean nothing"):
        castoff.aot_load(counter, method="forward")


def test_programs_that_are_not_compiled_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(pt2_files.zipped(pt2_files.entries()))
    with pytest.raises(PackageError, match=r"not compiled yet: castoff\.aot_compile makes"):
        castoff.aot_load(path)
    with zipfile.ZipFile(tmp_path / "torch.pt2", "w") as archive:
        archive.writestr("torch/archive_format", "pt2")
        archive.writestr("torch/data/aotinductor/model/x.wrapper.so", b"\x7fELF")
    with pytest.raises(PackageError, match="artefacts of AOTInductor, which need PyTorch"):
        castoff.aot_load(tmp_path / "torch.pt2")


# ---- weights ----


def mapped_range(path: Path) -> tuple[int, int]:
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split()
        if fields[-1] == str(path) and fields[1].startswith("r--"):
            begin, end = fields[0].split("-")
            return int(begin, 16), int(end, 16)
    raise AssertionError(f"{path} is not mapped")


def test_weights_are_mapped_and_shared_between_artefacts_and_handles(archive: Path) -> None:
    runs = [castoff.aot_load(archive, artefact=name) for name in ("one", "few", "fast", "few")]
    addresses = {
        int(ffi.cast("uintptr_t", open_packaged(archive, str(run.artefact)).constants[0]))
        for run in runs
    }
    assert len(addresses) == 1
    begin, end = mapped_range(archive)
    assert begin <= addresses.pop() < end


def test_weights_are_stored_once(archive: Path, artefacts: dict[str, Path]) -> None:
    with zipfile.ZipFile(archive) as opened:
        content = WEIGHT.tobytes()
        holders = [entry for entry in opened.infolist() if opened.read(entry) == content]
    [holder] = holders
    assert holder.filename.endswith(hashlib.sha256(content).hexdigest())
    alone = sum(path.stat().st_size for path in artefacts.values())
    assert archive.stat().st_size < alone - 3 * len(content)


def test_a_weight_of_the_source_program_is_that_of_the_artefact(tmp_path: Path) -> None:
    program = castoff.load(DIGITS)
    artefact = castoff.aot_compile(program, output=tmp_path / "model.so", options=QUICK)
    path = tmp_path / "pkg.pt2"
    castoff.package(path, {"forward": artefact}, programs={"model": DIGITS, "copy": program})
    shared = {
        entry for entry in Package(path).artefacts[0].constants if entry.startswith("data/weights/")
    }
    assert shared
    with zipfile.ZipFile(path) as opened:
        contents = [opened.read(name) for name in opened.namelist() if "/data/weights/w" in name]
    assert len(contents) == len(program.state_dict)
    for name in ("model", "copy"):
        again = castoff.load(path, program_name=name).state_dict
        for key, value in program.state_dict.items():
            np.testing.assert_array_equal(again[key].array, value.array)
    x = np.ones((2, 1, 8, 8), np.float32)
    np.testing.assert_array_equal(castoff.aot_load(path)(x), castoff.aot_load(artefact)(x))


def test_equal_weights_of_one_program_stay_apart(tmp_path: Path) -> None:
    """Whoever opens the program may write to one of them."""
    meta = pt2_files.payload(pt2_files.tensor_meta([2]), is_param=False)
    content = pt2_files.zipped(
        pt2_files.entries(
            weights={"w": meta, "key": {**meta, "path_name": "weight_1"}},
            weight_files={"weight_0": b"\0" * 8, "weight_1": b"\0" * 8},
        )
    )
    program = castoff.load(content, verify=False)
    castoff.package(tmp_path / "p.pt2", programs={"model": program, "again": program})
    for name in ("model", "again"):
        again = castoff.load(tmp_path / "p.pt2", program_name=name, verify=False).state_dict
        assert again["w"].storage is not again["key"].storage
    with zipfile.ZipFile(tmp_path / "p.pt2") as opened:
        names = [name for name in opened.namelist() if "/weights/weight_" in name]
    assert names == ["archive/data/weights/weight_0", "archive/data/weights/weight_1"]


def test_an_archive_packed_again_still_loads(archive: Path, tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        again = tmp_path / f"again{method}.pt2"
        with zipfile.ZipFile(archive) as old, zipfile.ZipFile(again, "w", method) as new:
            for name in old.namelist():
                new.writestr(name.replace("archive/", "again/", 1), old.read(name))
        x = sample(3)
        np.testing.assert_array_equal(castoff.aot_load(again, artefact="few")(x)[0], x + WEIGHT)


def test_constants_of_one_handle_may_be_replaced(archive: Path) -> None:
    run, other = (castoff.aot_load(archive, artefact="one") for _ in range(2))
    x = sample(1)
    run.replace_constants({"weight": WEIGHT * 2})
    np.testing.assert_array_equal(run(x)[0], x + WEIGHT * 2)
    np.testing.assert_array_equal(other(x)[0], x + WEIGHT)
    np.testing.assert_array_equal(run.fresh()(x)[0], x + WEIGHT)
    np.testing.assert_array_equal(other.read_constant("weight"), WEIGHT)


def test_buffers_belong_to_a_handle(counter: Path, tmp_path: Path) -> None:
    castoff.package(tmp_path / "p.pt2", {"forward": counter})
    run, other = castoff.aot_load(tmp_path / "p.pt2"), castoff.aot_load(tmp_path / "p.pt2")
    x = np.array([1, 2], np.float32)
    run(x)
    np.testing.assert_array_equal(run(x)[0], 2 * x)
    np.testing.assert_array_equal(other(x)[0], x)
    np.testing.assert_array_equal(run.read_buffer("sum"), -2 * x)


# ---- processes and threads ----


def test_runners_pickle_as_archive_and_name(archive: Path, tmp_path: Path) -> None:
    run = castoff.aot_load(archive, artefact="few")
    again = pickle.loads(pickle.dumps(run))
    assert (again.path, again.artefact) == (str(archive.resolve()), "few")
    code = (
        "import pickle, sys, numpy as np\n"
        "print(pickle.load(sys.stdin.buffer)(np.zeros((2, 64, 256), np.float32))[0].sum())\n"
        "assert not [name for name in sys.modules if name.startswith('castoff.compiler')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(run),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(castoff.__file__).resolve().parent.parent)},
        check=True,
    )
    assert float(done.stdout) == pytest.approx(2 * float(WEIGHT.sum()))


def test_a_runner_refuses_an_archive_that_changed(
    artefacts: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "p.pt2"
    castoff.package(path, {"run": artefacts["few"]})
    pickled = pickle.dumps(castoff.aot_load(path))
    castoff.package(path, {"run": artefacts["times"]})
    with pytest.raises(ArtefactError, match="not the artefact that was pickled"):
        pickle.loads(pickled)
    x = sample(2)
    np.testing.assert_array_equal(castoff.aot_load(path)(x)[0], x * WEIGHT)


def test_runners_work_in_forked_children(archive: Path) -> None:
    run = castoff.aot_load(archive, artefact="few")
    x = sample(4)
    child = os.fork()
    if child == 0:
        loaded = castoff.aot_load(archive, artefact="many").fresh()
        right = np.array_equal(run(x)[0], x + WEIGHT) and loaded.artefact == "many"
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(run(x)[0], x + WEIGHT)


def test_many_threads_may_load_at_once(artefacts: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "p.pt2"
    castoff.package(path, {"run": artefacts["many"]})
    x, results = sample(9), []

    def load_and_call() -> None:
        results.append(np.array_equal(castoff.aot_load(path)(x)[0], x + WEIGHT))

    threads = [threading.Thread(target=load_and_call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


@pytest.mark.parametrize("cache", ["0", "/dev/null/nowhere"])
def test_images_need_no_cache_folder(
    artefacts: dict[str, Path], tmp_path: Path, cache: str
) -> None:
    path = tmp_path / "p.pt2"
    castoff.package(path, {"run": artefacts["few"]})
    code = (
        "import sys, numpy as np, castoff\n"
        "run = castoff.aot_load(sys.argv[1])\n"
        "print(run(np.ones((2, 64, 256), np.float32))[0].sum())\n"
        "print([line for line in open('/proc/self/maps') if 'memfd:castoff' in line][0])\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, path],
        env={
            **os.environ,
            "CASTOFF_CACHE": cache,
            "PYTHONPATH": str(Path(castoff.__file__).resolve().parent.parent),
        },
        check=True,
    )


def test_a_cached_image_that_was_changed_is_not_loaded(
    artefacts: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "p.pt2"
    castoff.package(path, {"run": artefacts["few"]})
    images = tmp_path / "cache" / "images"
    images.mkdir(parents=True, mode=0o700)
    digest = Package(path).artefacts[0].digest
    (images / f"{digest}.so").write_bytes(b"not a library")
    code = "import sys, castoff; print(castoff.aot_load(sys.argv[1]).cpu_level)"
    environment = {
        **os.environ,
        "CASTOFF_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(Path(castoff.__file__).resolve().parent.parent),
    }
    subprocess.run([sys.executable, "-c", code, path], env=environment, check=True)
    held = (images / f"{digest}.so").read_bytes()
    assert hashlib.sha256(held).hexdigest() == digest
    assert [entry.name for entry in images.iterdir()] == [f"{digest}.so"]


# ---- writing ----


def test_equal_arguments_give_equal_bytes(artefacts: dict[str, Path], tmp_path: Path) -> None:
    program = pt2_files.zipped(pt2_files.entries())
    for name in ("a.pt2", "b.pt2"):
        written = castoff.package(
            tmp_path / name,
            {"run": [artefacts["one"]], "mul": artefacts["times"]},
            programs={"model": program},
            extra_files={"x": "y"},
        )
        assert written == str(tmp_path / name)
    assert (tmp_path / "a.pt2").read_bytes() == (tmp_path / "b.pt2").read_bytes()


def test_artefacts_come_out_as_they_went_in(
    archive: Path, artefacts: dict[str, Path], counter: Path, tmp_path: Path
) -> None:
    castoff.package(tmp_path / "p.pt2", {"count": counter})
    for source, name, original in (
        (archive, "few", artefacts["few"]),
        (archive, "plain", artefacts["plain"]),
        (tmp_path / "p.pt2", "count", counter),
    ):
        output = tmp_path / f"{name}.so"
        extract_artefact(source, name, output)
        assert output.read_bytes() == original.read_bytes()
        assert output.stat().st_mode == original.stat().st_mode
        header = original.with_suffix(".h").read_text()
        assert output.with_suffix(".h").read_text() == header


def test_extra_files_are_kept(archive: Path) -> None:
    package = Package(archive)
    assert package.extra_files == ("labels.txt", "table.bin")
    assert package.read_extra_file("table.bin") == b"\x00\xff"
    package.verify()


def test_nothing_is_written_where_something_is_refused(
    artefacts: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "p.pt2"
    path.write_bytes(b"as it was")
    damaged = bytearray(artefacts["one"].read_bytes())
    damaged[4096 * (len(damaged) // 4096 // 2)] ^= 1
    (tmp_path / "damaged.so").write_bytes(damaged)
    (tmp_path / "text.so").write_text("no library")
    one = artefacts["one"]
    for given, error in (
        ({"run": tmp_path / "text.so"}, ArtefactError),
        ({"run": tmp_path / "nowhere.so"}, ArtefactError),
        ({"run/../../x": one}, PackageError),
        ({"run": {"a b": one}}, PackageError),
        ({"run": one, "other": {"run": one}}, PackageError),
        ({"run": [one, artefacts["few"]]}, PackageError),  # both are called test.so
        ({}, OptionError),
        (one, OptionError),
    ):
        with pytest.raises(error):
            castoff.package(path, given)  # type: ignore[arg-type]
    with pytest.raises(castoff.CastoffError, match=r"\.\./x"):
        castoff.package(path, {"run": one}, extra_files={"../x": "y"})
    with pytest.raises(OutputError, match="cannot write"):
        castoff.package(tmp_path / "nowhere" / "p.pt2", {"run": one})
    assert path.read_bytes() == b"as it was"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["damaged.so", "p.pt2", "text.so"]


def test_the_list_of_artefacts_is_plain_json(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        record = json.loads(opened.read("archive/data/castoff/package.json"))
    assert record["format"] == 1
    assert [(item["name"], item["method"]) for item in record["artefacts"]] == [
        ("one", "add"), ("few", "add"), ("many", "add"), ("fast", "mul"), ("plain", "mul"),
    ]  # fmt: skip


def test_an_image_that_only_the_system_may_touch_is_used_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setenv("CASTOFF_CACHE", str(tmp_path))
    content = memoryview(b"machine code")
    digest = hashlib.sha256(content).hexdigest()
    placed = place_image(content, digest)
    monkeypatch.setattr("os.utime", refuse)
    assert place_image(content, digest) == placed == str(tmp_path / "images" / f"{digest}.so")
