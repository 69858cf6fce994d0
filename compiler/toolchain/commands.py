"""The commands that turn a source tree into a shared library."""

from __future__ import annotations

from ..codegen.source_tree import SourceTree, SourceUnit
from ..options import CompileOptions
from .compilers import Compiler, Family

LINKED_NAME = "linked.so"
RESPONSE_FILE = "objects.txt"


def compile_flags(unit: SourceUnit, compiler: Compiler, options: CompileOptions) -> tuple[str, ...]:
    """Flags of one unit: the toolchain's, then the unit's own, which win."""
    flags = [
        "-std=gnu11",
        f"-O{options.opt_level}",
        "-fPIC",
        "-fvisibility=hidden",
        "-fno-semantic-interposition",
        "-fno-math-errno",
        "-ffunction-sections",
        "-fdata-sections",
        "-pthread",
        "-I.",
    ]
    if options.debug or options.sanitizers:
        flags += ["-g", "-fno-omit-frame-pointer"]
    flags += [f"-fsanitize={name}" for name in options.sanitizers]
    if "undefined" in options.sanitizers:
        flags.append("-fno-sanitize-recover=undefined")
    return compiler.adapt_flags((*flags, *unit.flags))


def compile_command(
    unit: SourceUnit, compiler: Compiler, options: CompileOptions
) -> tuple[str, ...]:
    """Compiles one unit; run in the folder of the tree, so that no absolute path gets into the
    object.
    """
    flags = compile_flags(unit, compiler, options)
    return (*compiler.command, *flags, "-c", unit.path, "-o", unit.output)


def link_command(tree: SourceTree, compiler: Compiler, options: CompileOptions) -> tuple[str, ...]:
    """Links the objects that RESPONSE_FILE names into LINKED_NAME; run in the folder of the
    tree.
    """
    flags = [
        "-shared",
        "-fPIC",
        "-pthread",
        "-static-libgcc",
        "-Wl,--as-needed",
        "-Wl,--build-id=none",
        "-Wl,--gc-sections",
        "-Wl,-z,noexecstack",
        "-Wl,-z,relro",
        "-Wl,-z,now",
    ]
    if not options.sanitizers:
        flags.append("-Wl,--no-undefined")  # sanitizer run times come with the program, not with us
    if not options.debug and not options.sanitizers:
        flags.append("-Wl,--strip-all")
    flags += [f"-fsanitize={name}" for name in options.sanitizers]
    if compiler.family is Family.ZIG:
        flags.append("-Wl,--hash-style=gnu")
    libraries = ("-lm", "-lpthread", "-ldl")
    return (
        *compiler.command,
        *compiler.adapt_flags(tuple(flags)),
        "-o",
        LINKED_NAME,
        f"@{RESPONSE_FILE}",
        *tree.link_flags,
        *libraries,
    )


def response_text(tree: SourceTree) -> str:
    """What RESPONSE_FILE holds: the objects, in the order of the units."""
    return "".join(f"{unit.output}\n" for unit in tree.units)
