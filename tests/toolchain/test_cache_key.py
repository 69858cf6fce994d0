"""What changes an object's key, and what does not."""

from __future__ import annotations

from dataclasses import replace

from castoff.compiler.codegen.source_tree import SourceTree, SourceUnit
from castoff.compiler.toolchain.cache import object_key
from castoff.compiler.toolchain.commands import Tools
from castoff.compiler.toolchain.compilers import Compiler, Family

COMPILER = Compiler(("gcc",), Family.GCC, "gcc 12", "x86_64-linux-gnu", "gcc 12 at 1")
UNIT = SourceUnit("a.c", '#include "b.h"\nint x = B;\n')
TREE = SourceTree("t", (UNIT,), {"b.h": '#include "c.h"\n', "c.h": "#define B 1\n", "d.h": "\n"})


def key(tree: SourceTree = TREE, compiler: Compiler = COMPILER, flags: tuple[str, ...] = ()) -> str:
    return object_key(tree, tree.units[0], Tools(compiler).identity, flags)


def with_header(path: str, text: str) -> SourceTree:
    return replace(TREE, headers={**TREE.headers, path: text})


def test_key_follows_the_source() -> None:
    changed = replace(TREE, units=(replace(UNIT, text=UNIT.text + "int y;\n"),))
    assert key(changed) != key()


def test_key_follows_headers_included_through_headers() -> None:
    assert key(with_header("c.h", "#define B 2\n")) != key()


def test_key_ignores_headers_the_unit_does_not_read() -> None:
    assert key(with_header("d.h", "#define D 2\n")) == key()


def test_key_follows_flags_and_their_order() -> None:
    assert (
        len({key(), key(flags=("-O1",)), key(flags=("-O1", "-g")), key(flags=("-g", "-O1"))}) == 4
    )


def test_key_follows_the_compiler() -> None:
    assert key(compiler=replace(COMPILER, identity="gcc 12 at 2")) != key()


def test_key_follows_headers_found_through_include_folders() -> None:
    unit = SourceUnit("a.c", '#include "b.h"\n', ("-Iabi",))
    trees = [
        SourceTree("t", (unit,), {"abi/b.h": '#include "../c.h"\n', "c.h": text})
        for text in ("1\n", "2\n")
    ]
    assert trees[0].included_headers(unit) == ("abi/b.h", "c.h")
    assert key(trees[0]) != key(trees[1])
