"""The tools that turn a source tree into a shared library, and their command lines."""

from __future__ import annotations

from ..codegen.source_tree import SourceTree, SourceUnit
from ..options import CompileOptions
from ..records import dataclass
from .compilers import Compiler, Family, find_compiler
from .toolkit import Toolkit, find_toolkit

LINKED_NAME = "linked.so"
RESPONSE_FILE = "objects.txt"


@dataclass(frozen=True, slots=True)
class Tools:
    """What a tree is built with: the C compiler, and a CUDA toolkit where it has units for a device."""

    compiler: Compiler
    toolkit: Toolkit | None = None

    @property
    def identity(self) -> str:
        """Changes with whatever the tools make of a unit."""
        return self.compiler.identity + (f"\n{self.toolkit.identity}" if self.toolkit else "")

    @property
    def version(self) -> str:
        """What the manifest says of them."""
        return self.compiler.version + (f", {self.toolkit.version}" if self.toolkit else "")


def find_tools(tree: SourceTree, options: CompileOptions) -> Tools:
    """The tools that `tree` needs. Raises CompilerNotFoundError."""
    toolkit = find_toolkit(options.cuda_home) if tree.is_for_device else None
    return Tools(find_compiler(options.cc), toolkit)


def compile_flags(unit: SourceUnit, tools: Tools, options: CompileOptions) -> tuple[str, ...]:
    """Flags of one unit: the toolchain's, then the unit's own, which win."""
    if unit.is_for_device:
        return (*_device_flags(options), *unit.flags)
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
        # sanitizers name lines; to follow variables as well makes compiling 1.5 times as long
        flags += ["-g" if options.debug else "-g1", "-fno-omit-frame-pointer"]
    flags += [f"-fsanitize={name}" for name in options.sanitizers]
    if "undefined" in options.sanitizers:
        flags.append("-fno-sanitize-recover=undefined")
    if tools.toolkit is not None:
        flags += ["-isystem", tools.toolkit.include]
    return tools.compiler.adapt_flags((*flags, *unit.flags))


def _device_flags(options: CompileOptions) -> tuple[str, ...]:
    """For nvcc: the host's half of a unit throws nothing, exports nothing, and needs no C++ library."""
    host = (
        "-fPIC",
        "-fvisibility=hidden",
        "-fno-exceptions",
        "-fno-rtti",
        "-fno-threadsafe-statics",
        "-ffunction-sections",
        "-fdata-sections",
    )
    debug = ("-g", "-lineinfo") if options.debug else ()
    # Temporary names would get into the object; its machine code is compressed.
    return (
        "-I.",
        "--objdir-as-tempdir",
        "-Xfatbin=-compress-all",
        f"-Xcompiler={','.join(host)}",
        *debug,
    )


def compile_command(unit: SourceUnit, tools: Tools, options: CompileOptions) -> tuple[str, ...]:
    """Compiles one unit; run in the folder of the tree, so that no absolute path gets into the
    object.
    """
    flags = compile_flags(unit, tools, options)
    if unit.is_for_device:
        assert tools.toolkit is not None, "a tree with units for a device was given a toolkit"
        # Architectures are compiled side by side; how many at a time changes nothing in the object.
        threads = f"--threads={options.job_count}"
        return (tools.toolkit.nvcc, *flags, threads, "-c", unit.path, "-o", unit.output)
    return (*tools.compiler.command, *flags, "-c", unit.path, "-o", unit.output)


def prefix_map(unit: SourceUnit, folder: str) -> str:
    """The flag that keeps the folder a tree is built in out of the object."""
    flag = f"-ffile-prefix-map={folder}=."
    return f"-Xcompiler={flag}" if unit.is_for_device else flag


def link_command(tree: SourceTree, tools: Tools, options: CompileOptions) -> tuple[str, ...]:
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
    compiler = tools.compiler
    if compiler.family is Family.ZIG:
        flags.append("-Wl,--hash-style=gnu")
    libraries = ["-lm", "-lpthread", "-ldl"]
    if tools.toolkit is not None:
        # Linked statically, and nobody else's business: each artefact has a runtime of its own.
        flags += [f"-L{tools.toolkit.libraries}", "-Wl,--exclude-libs,ALL"]
        libraries = ["-lcudart_static", "-lrt", *libraries]
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
