"""Building: what comes out, and what is left behind when it fails."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from castoff.compiler.codegen.source_tree import SourceTree, SourceUnit
from castoff.compiler.errors import CompilerFailedError, CompilerNotFoundError, OutputError
from castoff.compiler.observe import Observer
from castoff.compiler.options import CompileOptions
from castoff.compiler.toolchain import build_shared_library, write_source_tree
from castoff.runtime.manifest import Manifest, SymbolSpec, TensorSpec, read_manifest

WEIGHTS = ((0, b"abc"), (64, b"\x01\x02\x03\x04\x05\x06"))


class RecordingProgress:
    def __init__(self) -> None:
        self.events: list[str] = []

    def begin(self, stage: str, units: int) -> None:
        self.events.append(f"{stage} {units}")

    def advance(self, unit: str) -> None:
        self.events.append("unit")

    def end(self) -> None:
        self.events.append("end")


def test_units_of_one_source_are_built_with_their_own_flags(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    output = build_shared_library(
        tree, tmp_path / "m.so", options=options, manifest=manifest, constants=WEIGHTS
    )
    library = ctypes.CDLL(str(output))
    assert (library.scale_low(2), library.scale_high(2)) == (6, 200)


def test_manifest_and_weights_lie_behind_the_code(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    output = build_shared_library(
        tree, tmp_path / "m.so", options=options, manifest=manifest, constants=WEIGHTS
    )
    written = read_manifest(output)
    assert written.name == "sample"
    assert len(written.program_digest) == len(written.weights_digest) == 64
    assert written.compiler
    assert output.read_bytes().count(b"abc" + bytes(61) + b"\x01\x02\x03\x04\x05\x06") == 1


def test_two_builds_in_other_folders_without_cache_give_equal_bytes(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    options = replace(options, cache=False)
    (tmp_path / "other").mkdir()
    results = [
        build_shared_library(tree, path, options=options, manifest=manifest, constants=WEIGHTS)
        for path in (tmp_path / "a.so", tmp_path / "other" / "b.so")
    ]
    assert results[0].read_bytes() == results[1].read_bytes()


def test_debug_builds_hold_no_path_of_the_scratch_folder(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    options = replace(options, cache=False, debug=True)
    first, second = (
        build_shared_library(tree, tmp_path / name, options=options, manifest=manifest)
        for name in ("a.so", "b.so")
    )
    assert b"/castoff-" not in first.read_bytes()
    assert first.read_bytes() == second.read_bytes()


def test_only_exported_names_are_visible_and_only_libc_is_needed(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    output = build_shared_library(tree, tmp_path / "m.so", options=options, manifest=manifest)
    lines = subprocess.run(["ldd", output], capture_output=True, text=True, check=True).stdout
    names = {line.split()[0].split("/")[-1] for line in lines.splitlines()}
    assert names <= {
        "linux-vdso.so.1",
        "libc.so.6",
        "libm.so.6",
        "libpthread.so.0",
        "ld-linux-x86-64.so.2",
        "statically",  # linked: this one needs nothing at all
    }


def test_second_build_takes_its_objects_from_the_cache(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    build_shared_library(tree, tmp_path / "m.so", options=options, manifest=manifest)
    cached = sorted((tmp_path / "cache").rglob("objects/*/*"))
    assert len(cached) == 2
    # every entry made useless to anything but a lookup: the compiler is not asked again
    before = {path: path.stat().st_ino for path in cached}
    build_shared_library(tree, tmp_path / "n.so", options=options, manifest=manifest)
    assert {path: path.stat().st_ino for path in cached} == before
    assert (tmp_path / "m.so").read_bytes() == (tmp_path / "n.so").read_bytes()


def test_damaged_cache_entries_are_compiled_again(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    build_shared_library(tree, tmp_path / "m.so", options=options, manifest=manifest)
    for path in (tmp_path / "cache").rglob("objects/*/*"):
        path.write_bytes(path.read_bytes()[:-9])
    build_shared_library(tree, tmp_path / "n.so", options=options, manifest=manifest)
    assert (tmp_path / "m.so").read_bytes() == (tmp_path / "n.so").read_bytes()


def test_cache_is_trimmed_to_its_limit(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    options = replace(options, cache_limit_bytes=0)
    build_shared_library(tree, tmp_path / "m.so", options=options, manifest=manifest)
    assert not list((tmp_path / "cache").rglob("objects/*/*"))


def test_header_goes_beside_and_says_what_the_program_takes(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    tree = replace(tree, headers={**tree.headers, "abi/castoff.h": "#define DECLARED 1\n"})
    manifest = manifest._replace(
        inputs=(TensorSpec("x*/", "args[0]", "float32", ("batch", 3), mutated=True),),
        symbols=(SymbolSpec("batch", 2, None),),
    )
    build_shared_library(tree, tmp_path / "m.so", options=options, manifest=manifest)
    text = (tmp_path / "m.h").read_text()
    assert "0: x* / (args[0]) float32[batch, 3], written to" in text
    assert "batch: 2 to any" in text
    assert text.endswith(" */\n#define DECLARED 1\n")


def test_progress_counts_the_units(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    progress = RecordingProgress()
    observer = Observer(options, progress=progress)
    build_shared_library(
        tree, tmp_path / "m.so", options=options, manifest=manifest, observer=observer
    )
    assert progress.events == ["compile 2", "unit", "unit", "end", "link 0", "end"]


def test_failure_names_the_first_error_and_the_users_line(
    options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    text = (
        "/* origin: early.py:1 in forward (a) */\nint a;\n"
        "/* origin: model.py:7 in forward (layers.3.mlp) */\nint b = undeclared;\nint c = worse;\n"
        "/* origin: late.py:9 in forward (z) */\n"
    )
    tree = SourceTree("broken", (SourceUnit("broken.c", text),), {})
    with pytest.raises(CompilerFailedError) as caught:
        build_shared_library(tree, tmp_path / "m.so", options=options, manifest=manifest)
    assert "undeclared" in caught.value.first_error
    assert caught.value.origin == "model.py:7 in forward (layers.3.mlp)"
    assert "model.py:7" in str(caught.value)
    assert _left_in(tmp_path) == []


def test_sources_of_a_failure_are_kept_where_dumps_go(
    options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    tree = SourceTree("broken", (SourceUnit("broken.c", "int a = ;\n"),), {})
    options = replace(options, dump=str(tmp_path / "dump"))
    with pytest.raises(CompilerFailedError, match="CASTOFF_DUMP"):
        build_shared_library(tree, tmp_path / "m.so", options=options, manifest=manifest)
    assert (tmp_path / "dump" / "00-broken.c").read_text() == "int a = ;\n"
    assert "-c broken.c" in (tmp_path / "dump" / "01-commands.sh").read_text()


def test_undefined_functions_fail_at_build_time(
    options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    text = (
        "int absent(void);\n"
        '__attribute__((visibility("default"))) int f(void) { return absent(); }\n'
    )
    tree = SourceTree("unlinked", (SourceUnit("f.c", text),), {})
    with pytest.raises(CompilerFailedError, match="absent"):
        build_shared_library(tree, tmp_path / "m.so", options=options, manifest=manifest)
    assert _left_in(tmp_path) == []


def test_failure_leaves_the_old_artefact_untouched(
    options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "m.so").write_bytes(b"old")
    tree = SourceTree("broken", (SourceUnit("broken.c", "int a = ;\n"),), {})
    with pytest.raises(CompilerFailedError):
        build_shared_library(tree, tmp_path / "m.so", options=options, manifest=manifest)
    assert (tmp_path / "m.so").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["absent/m.so", "folder"], ids=["no folder", "is a folder"])
def test_output_that_cannot_be_written_is_refused_before_compiling(
    name: str, tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        build_shared_library(tree, tmp_path / name, options=options, manifest=manifest)
    assert not (tmp_path / "cache").exists()


def test_full_disk_is_named(
    tree: SourceTree,
    options: CompileOptions,
    manifest: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("castoff.compiler.toolchain.build.append_payload", refuse)
    with pytest.raises(OutputError, match="disk is full"):
        build_shared_library(tree, tmp_path / "m.so", options=options, manifest=manifest)
    assert _left_in(tmp_path) == []


def test_missing_compiler_is_one_clear_sentence(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    options = replace(options, cc="no-such-compiler -x")
    with pytest.raises(CompilerNotFoundError, match=r"no-such-compiler.*install one with"):
        build_shared_library(tree, tmp_path / "m.so", options=options, manifest=manifest)
    assert _left_in(tmp_path) == []


SLOW_COMPILER = """\
#!/bin/sh
case "$*" in
  --version) echo "slow cc 1.0"; exit 0;;
  -dumpmachine) echo x86_64-linux-gnu; exit 0;;
esac
echo $$ > {folder}/child.pid
sleep 600 & echo $! > {folder}/grandchild.pid
wait
"""


def test_ctrl_c_kills_the_compilers_and_leaves_nothing(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    compiler = tmp_path / "slow-cc"
    compiler.write_text(SLOW_COMPILER.format(folder=tmp_path))
    compiler.chmod(0o755)
    (tmp_path / "out").mkdir()

    def interrupt() -> None:
        deadline = time.monotonic() + 20
        while not (tmp_path / "grandchild.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    # A test run in the background of a shell was told to ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            build_shared_library(
                tree,
                tmp_path / "out" / "m.so",
                options=replace(options, cc=str(compiler), jobs=1),
                manifest=manifest,
            )
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert list((tmp_path / "out").iterdir()) == []
    for name in ("child.pid", "grandchild.pid"):
        assert not _is_running(int((tmp_path / name).read_text()))


def _is_running(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_emitted_sources_rebuild_the_same_bytes_by_hand(
    tree: SourceTree, options: CompileOptions, manifest: Manifest, tmp_path: Path
) -> None:
    output = build_shared_library(
        tree, tmp_path / "m.so", options=options, manifest=manifest, constants=WEIGHTS
    )
    folder = write_source_tree(
        tree, tmp_path / "tree", options=options, manifest=manifest, constants=WEIGHTS
    )
    environment = {name: value for name, value in os.environ.items() if name != "CC"}
    command = ["sh", str(folder / "build.sh"), str(tmp_path / "hand.so")]
    subprocess.run(command, check=True, env=environment)
    assert (tmp_path / "hand.so").read_bytes() == output.read_bytes()


def test_the_toolchain_needs_neither_jinja2_nor_rich(tmp_path: Path) -> None:
    code = (
        "import sys, castoff.compiler.toolchain; assert not {'jinja2', 'rich'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
    )


def _left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name != "cache"]
