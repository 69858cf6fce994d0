"""Files that are artefacts, files that are not, and files that no longer are."""

from __future__ import annotations

import ast
import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import handmade
import numpy as np
import pytest

from castoff.runtime import abi
from castoff.runtime.errors import ArtefactError, UnsupportedCpuError
from castoff.runtime.manifest import ABI_MAJOR, Manifest, Result, layout_constants, read_manifest
from castoff.runtime.runner import aot_load

X = np.ones((2, 4), np.float32)


def test_manifest_is_read_back_as_written(affine: Path, state: Path) -> None:
    for path, written in ((affine, handmade.affine_manifest()), (state, handmade.state_manifest())):
        manifest = read_manifest(path)
        assert len(manifest.weights_digest) == 64
        assert manifest._replace(weights_digest="") == written
        assert Manifest.from_json(manifest.to_json()) == manifest


def test_manifest_keeps_numbers_json_does_not_have() -> None:
    values = (float("inf"), float("-inf"), 0.1, 1 + 2j, True, 3, None, "text")
    results = tuple(Result("constant", value=value) for value in values)
    manifest = handmade.affine_manifest()._replace(results=results)
    again = Manifest.from_json(manifest.to_json())
    assert again.results == results
    assert [type(result.value) for result in again.results] == [type(value) for value in values]


def test_equal_input_gives_equal_bytes(affine: Path, tmp_path: Path) -> None:
    elf = tmp_path / "elf.so"
    handmade.compile_library("affine.c", elf)
    copies = []
    for name in ("one.so", "two.so"):
        copy = tmp_path / name
        shutil.copy(elf, copy)
        handmade.append_affine(copy)
        copies.append(copy.read_bytes())
    assert copies[0] == copies[1]


def test_constants_are_laid_out_on_their_alignment() -> None:
    assert layout_constants([4, 64, 0, 1]) == ((0, 64, 128, 128), 129)
    assert layout_constants([]) == ((), 0)


def damage(data: bytes, kind: str) -> bytes:
    match kind:
        case "empty":
            return b""
        case "text":
            return b"#!/bin/sh\n" * 100
        case "elf_header_only":
            return data[:64]
        case "cut_in_the_weights":
            return data[: len(data) - len(data) // 8]
        case "last_byte_missing":
            return data[:-1]
        case "bytes_missing_inside":
            return data[:4096] + data[4097:]
        case "byte_appended":
            return data + b"\n"
        case "flipped_in_the_manifest":
            return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]
        case "flipped_in_the_footer":
            return data[:-30] + bytes([data[-30] ^ 1]) + data[-29:]
        case "other_machine":
            return data[:18] + struct.pack("<H", 0x08) + data[20:]
        case "newer_abi":
            footer = data[-64:-56] + struct.pack("<II", ABI_MAJOR + 1, 0) + data[-48:-4]
            return data[:-64] + footer + struct.pack("<I", zlib.crc32(footer))
        case _:
            raise AssertionError(kind)


DAMAGES = {
    "empty": "not a shared library",
    "text": "not a shared library",
    "elf_header_only": "truncated",
    "cut_in_the_weights": "truncated or stripped",
    "last_byte_missing": "truncated or stripped",
    "bytes_missing_inside": "damaged: expected [0-9]+ bytes, got [0-9]+",
    "byte_appended": "truncated or stripped",
    "flipped_in_the_manifest": "checksum of its manifest",
    "flipped_in_the_footer": "checksum of its footer",
    "other_machine": "not for",
    "newer_abi": "a newer castoff",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_bad_files_are_refused_in_a_sentence(affine: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.so"
    path.write_bytes(damage(affine.read_bytes(), kind))
    for read in (read_manifest, aot_load):
        with pytest.raises(ArtefactError, match=DAMAGES[kind]):
            read(path)


def test_missing_files_folders_and_other_libraries_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.so", tmp_path):
        with pytest.raises(ArtefactError, match="cannot read"):
            aot_load(path)
    import _struct

    if _struct.__spec__ and _struct.__spec__.origin and _struct.__spec__.origin.endswith(".so"):
        with pytest.raises(ArtefactError, match="another library"):
            aot_load(_struct.__spec__.origin)


def test_artefact_for_another_machine_is_refused(tmp_path: Path, affine: Path) -> None:
    other = "aarch64" if os.uname().machine != "aarch64" else "x86_64"
    code = {"aarch64": 183, "x86_64": 62}[other]
    elf = tmp_path / "other.so"
    handmade.compile_library("affine.c", elf)
    data = elf.read_bytes()
    elf.write_bytes(data[:18] + struct.pack("<H", code) + data[20:])
    manifest = handmade.affine_manifest()._replace(machine=other)
    handmade.append_payload(elf, [], manifest)
    with pytest.raises(ArtefactError, match=f"compiled for {other}, this machine is"):
        aot_load(elf)


def test_stripped_artefact_is_refused(affine: Path, tmp_path: Path) -> None:
    strip = shutil.which("strip")
    if strip is None:
        pytest.skip("no strip")
    path = tmp_path / "stripped.so"
    subprocess.run([strip, "-o", str(path), str(affine)], check=True)
    with pytest.raises(ArtefactError, match="truncated or stripped"):
        aot_load(path)


def test_file_that_was_rebuilt_is_loaded_anew(affine: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.so"
    shutil.copy(affine, path)
    first = aot_load(path)
    changed = tmp_path / "aside.so"
    handmade.compile_library("affine.c", changed)
    weights = bytes(80)
    handmade.append_payload(changed, [(0, weights)], handmade.affine_manifest())
    os.replace(changed, path)
    second = aot_load(path)
    np.testing.assert_array_equal(first(X, X), 3 * X + handmade.WEIGHT)
    np.testing.assert_array_equal(second(X, X), 3 * X)
    function, arguments = first.__reduce__()
    with pytest.raises(ArtefactError, match="not the artefact that was pickled"):
        function(*arguments)


def test_symbolic_links_and_other_folders_work(
    affine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link.so"
    link.symlink_to(affine)
    monkeypatch.chdir(affine.parent)
    np.testing.assert_array_equal(aot_load(link)(X, X), aot_load(affine.name)(X, X))


def test_cpu_level_is_the_best_that_fits_and_may_be_lowered(
    affine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("levels are those of x86-64")
    monkeypatch.setenv("CASTOFF_CPU_LEVEL", "x86-64")
    assert aot_load(affine).cpu_level == "x86-64"
    monkeypatch.setenv("CASTOFF_CPU_LEVEL", "pentium")
    with pytest.raises(ArtefactError, match=r"CASTOFF_CPU_LEVEL: expected x86-64, .*, got pentium"):
        aot_load(affine)


def test_level_that_does_not_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("levels are those of x86-64")
    path = handmade.make_affine(tmp_path / "v4.so", ["-DONLY_V4"])
    monkeypatch.setenv("CASTOFF_CPU_LEVEL", "x86-64-v3")
    with pytest.raises(UnsupportedCpuError, match="was built for x86-64-v4, but this processor"):
        aot_load(path)


def test_thread_count_follows_option_and_environment(
    affine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert aot_load(affine).threads == 3
    assert aot_load(affine, threads=5).threads == 5


def test_artefact_exports_one_symbol_and_links_to_libc_alone(affine: Path) -> None:
    nm, objdump = shutil.which("nm"), shutil.which("objdump")
    if nm is None or objdump is None:
        pytest.skip("no binutils")
    listing = [nm, "-D", "--defined-only", str(affine)]
    symbols = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split("\n")
    assert [line.split()[-1] for line in symbols if line] == ["castoff_get_api"]
    dynamic = [objdump, "-p", str(affine)]
    needed = subprocess.run(dynamic, capture_output=True, text=True, check=True).stdout
    libraries = {line.split()[1] for line in needed.split("\n") if "NEEDED" in line}
    allowed = ("libc.so", "libm.so", "libpthread.so", "libdl.so", "ld-linux")
    assert all(name.startswith(allowed) for name in libraries)


def test_checked_in_cffi_module_is_that_of_the_header(tmp_path: Path) -> None:
    pytest.importorskip("cffi")
    generated = tmp_path / "_abi_cdef.py"
    abi.generate(handmade.ABI / "castoff.h", generated)
    checked_in = Path(abi.__file__).with_name("_abi_cdef.py")
    trees = [ast.dump(ast.parse(path.read_text())) for path in (generated, checked_in)]
    assert trees[0] == trees[1], "run python -m castoff.runtime.abi"
