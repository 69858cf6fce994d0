"""Finding compilers, and what changes who they are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from castoff.compiler.errors import CompilerNotFoundError
from castoff.compiler.toolchain.compilers import Family, find_compiler, identify


def fake_compiler(path: Path, version: str) -> None:
    path.write_text(
        f'#!/bin/sh\ncase "$1" in --version) echo "{version}";;'
        " -dumpmachine) echo x86_64-linux;; esac\n"
    )
    path.chmod(0o755)


def test_named_compiler_wins(tmp_path: Path) -> None:
    fake_compiler(tmp_path / "my-cc", "Debian clang version 19.1.0")
    compiler = find_compiler(str(tmp_path / "my-cc"))
    assert (compiler.family, compiler.target) == (Family.CLANG, "x86_64-linux")


def test_identity_notices_that_the_file_behind_the_command_changed(tmp_path: Path) -> None:
    path = tmp_path / "gcc"
    fake_compiler(path, "gcc 12")
    first = identify((str(path),))
    os.utime(path, (1, 1))
    second = identify((str(path),))
    assert first is not None
    assert second is not None
    assert first.identity != second.identity


def test_no_compiler_at_all_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(
        "castoff.compiler.toolchain.compilers.importlib.util.find_spec", lambda _: None
    )
    with pytest.raises(CompilerNotFoundError, match=r"tried gcc, clang, cc, zig cc.*apt-get"):
        find_compiler()


def test_zig_gets_its_own_spelling(tmp_path: Path) -> None:
    fake_compiler(tmp_path / "zig", "clang version 19.1.0")
    (tmp_path / "zig").write_text((tmp_path / "zig").read_text().replace("$1", "$2"))
    compiler = find_compiler(f"{tmp_path / 'zig'} cc")
    assert compiler.family is Family.ZIG
    flags = compiler.adapt_flags(("-O3", "-march=x86-64-v3", "-fno-semantic-interposition"))
    assert flags == ("-fno-sanitize=undefined", "-O3", "-march=x86_64_v3")


def test_default_compiler_is_found_where_there_is_one() -> None:
    if not any(map(shutil.which, ("gcc", "clang", "cc"))):
        pytest.skip("no C compiler on this machine")
    assert find_compiler().target
