"""Stands in for nvcc: compiles `.cu` files with g++, for a processor that runs them through the emulation."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from .rewriting import RewriteError, rewrite

HERE = Path(__file__).resolve().parent
RELEASE = "13.0"

# nvcc's own options, which g++ does not have: alone, and followed by an argument.
_ALONE = """
    --Wno-deprecated-gpu-targets --compress-all --disable-warnings --expt-relaxed-constexpr
    --extended-lambda --forward-unknown-to-host-compiler --generate-line-info --keep
    --no-compress --objdir-as-tempdir --resource-usage --use_fast_math -G
    -Wno-deprecated-gpu-targets -compress-all -dc -dlto -dw -expt-relaxed-constexpr
    -extended-lambda -extra-device-vectorization -forward-unknown-to-host-compiler -keep
    -lineinfo -lto -no-compress -res-usage -restrict -use_fast_math -w
"""
_WITH_VALUE = """
    --Werror --compiler-bindir --compress-mode --cudart --default-stream --diag-error
    --diag-suppress --fatbin-options --fmad --ftz --generate-code --gpu-architecture --gpu-code
    --keep-dir --maxrregcount --prec-div --prec-sqrt --ptxas-options --relocatable-device-code
    --split-compile --threads -Werror -Xcudafe -Xfatbin -Xnvlink -Xptxas -arch -ccbin -code
    -compress-mode -cudart -default-stream -diag-error -diag-suppress -diag-warn -fmad -ftz
    -gencode -jtree -keep-dir -maxrregcount -nvlink-options -ofc -prec-div -prec-sqrt -rdc
    -split-compile -static-global-template-stub -t -x
"""
_DROPPED_ALONE = frozenset(_ALONE.split())
_DROPPED_WITH_VALUE = frozenset(_WITH_VALUE.split())
# What goes on to g++, word by word.
_FORWARDED = ("-Xcompiler", "--compiler-options", "-Xlinker", "--linker-options")
_WITH_ARGUMENT = ("-I", "-D", "-U", "-L", "-l", "-isystem", "-include", "-MF", "-MT", "-MQ", "-o")


@dataclass(slots=True)
class Command:
    """A command line of nvcc, sorted."""

    inputs: list[str] = field(default_factory=list)
    preprocessing: list[str] = field(default_factory=list)
    compiling: list[str] = field(default_factory=list)
    linking: list[str] = field(default_factory=list)
    output: str | None = None
    action: str = "link"


class UsageError(Exception):
    """An option that the emulation does not know."""


def parse(arguments: list[str]) -> Command:
    """Sorts nvcc's arguments. Raises UsageError on an option nobody has taught the emulation."""
    command = Command()
    rest = _expanded(arguments)
    while rest:
        word = rest.pop(0)
        name, _, value = word.partition("=")
        if name in _FORWARDED:
            words = (value or rest.pop(0)).split(",")
            target = command.linking if "inker" in name else command.compiling
            target.extend("-Wl," + w if "inker" in name else w for w in words)
        elif word in _DROPPED_ALONE:
            continue
        elif name in _DROPPED_WITH_VALUE:
            value or rest.pop(0)
        elif word in ("-c", "--compile", "-E", "--preprocess", "-shared", "--shared"):
            command.action = {"-c": "compile", "--compile": "compile", "-E": "preprocess"}.get(
                word, "share"
            )
        elif word in ("-fatbin", "--fatbin", "-cubin", "--cubin", "-ptx", "--ptx"):
            command.action = "device"
        elif word in ("-o", "--output-file"):
            command.output = rest.pop(0)
        elif word in ("-std", "--std") or name in ("-std", "--std"):
            value or rest.pop(0)
        elif word.startswith(("-M", "-I", "-D", "-U", "-isystem", "-include")):
            command.preprocessing.append(word)
            if word in _WITH_ARGUMENT:
                command.preprocessing.append(rest.pop(0))
        elif word.startswith(("-L", "-l")):
            command.linking.append(word)
            if word in _WITH_ARGUMENT:
                command.linking.append(rest.pop(0))
        elif re.match(r"-O\d?$|-g\d?$|-f[a-z]|-m[a-z0-9]|-W|-pipe$|-pthread$", word):
            command.compiling.append(word)
        elif word.startswith("-"):
            raise UsageError(f"unknown option {word!r} (tests/emulation/compiler.py)")
        else:
            command.inputs.append(word)
    return command


def _expanded(arguments: list[str]) -> list[str]:
    """The arguments with those of response files (-optf, --options-file, @file) in their places."""
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("-optf", "--options-file"):
            words.extend(_expanded(shlex.split(Path(rest.pop(0)).read_text())))
        elif word.startswith("@"):
            words.extend(_expanded(shlex.split(Path(word[1:]).read_text())))
        else:
            words.append(word)
    return words


def base_flags() -> list[str]:
    """What every compilation gets, before the caller's flags."""
    extra = shlex.split(os.environ.get("CASTOFF_EMULATION_CXXFLAGS", ""))
    # What they find is told to source/scheduler.cpp.
    checks = ["-fsanitize=alignment", "-fno-sanitize-recover=alignment"]
    return ["-std=gnu++20", "-O1", "-w", "-ffp-contract=off", *checks, *extra]


def host_compiler() -> str:
    return os.environ.get("CASTOFF_EMULATION_CXX", "g++")


def compile_unit(source: str, command: Command, output: str, home: Path) -> None:
    """One `.cu` (or any C++) file to an object. Raises RewriteError, CalledProcessError."""
    cxx = host_compiler()
    defines = ["-D__CUDACC__", "-D__NVCC__", "-D__CUDA_ARCH__=900", "-D__CUDACC_VER_MAJOR__=13"]
    defines += ["-D__CUDACC_VER_MINOR__=0", "-DCASTOFF_EMULATION=1"]
    include = ["-I", str(home / "include"), "-include", "cuda_runtime.h"]
    # The caller's levels of optimisation are for nvcc; -O1 keeps a corpus of small programs quick to build.
    flags = [flag for flag in command.compiling if not re.match(r"-O\d?$|-W", flag)]
    preprocessing = list(command.preprocessing)
    if any(flag in ("-MD", "-MMD") for flag in preprocessing) and "-MF" not in preprocessing:
        preprocessing += ["-MF", str(Path(output).with_suffix(".d"))]
    if any(flag.startswith("-M") for flag in preprocessing) and "-MT" not in preprocessing:
        preprocessing += ["-MT", output]
    language = ["-x", "c++"]
    text = subprocess.run(
        [cxx, *base_flags(), *flags, *defines, *preprocessing, *include, "-E", *language, source],
        check=True, stdout=subprocess.PIPE, encoding="utf-8",
    ).stdout  # fmt: skip
    subprocess.run(
        [cxx, *base_flags(), *flags, "-fpreprocessed", "-c", *language, "-", "-o", output],
        check=True, input=rewrite(text), encoding="utf-8",
    )  # fmt: skip


def _is_source(name: str) -> bool:
    return name.endswith((".cu", ".cpp", ".cc", ".cxx", ".c"))


def build(command: Command, home: Path) -> None:
    """Does what the command line says."""
    sources = [name for name in command.inputs if _is_source(name)]
    if command.action == "compile":
        for source in sources:
            compile_unit(source, command, command.output or Path(source).stem + ".o", home)
        return
    if command.action == "preprocess":
        subprocess.run(
            [host_compiler(), *base_flags(), *command.preprocessing, "-I", str(home / "include"), "-E",
             "-x", "c++", *sources, *(["-o", command.output] if command.output else [])], check=True,
        )  # fmt: skip
        return
    if command.action == "device":  # there is no device code: a file that says so
        Path(command.output or Path(sources[0]).stem + ".fatbin").write_text("castoff emulation\n")
        return
    with tempfile.TemporaryDirectory(prefix="castoff-emulation-") as folder:
        objects = [name for name in command.inputs if not _is_source(name)]
        for i, source in enumerate(sources):
            objects.append(f"{folder}/{i}.o")
            compile_unit(source, command, objects[-1], home)
        kind = ["-shared"] if command.action == "share" else []
        extra = shlex.split(os.environ.get("CASTOFF_EMULATION_CXXFLAGS", ""))
        flags = [flag for flag in command.compiling if not flag.startswith("-O")]
        subprocess.run(
            [host_compiler(), *kind, *extra, *flags, *objects, "-o", command.output or "a.out", *command.linking,
             f"-L{home / 'lib64'}", "-lcudart_static", "-ldl", "-lrt", "-lpthread"], check=True,
        )  # fmt: skip


def emulation_digest() -> str:
    """Changes with whatever a compilation's result depends on: caches of objects hold it in their keys."""
    digest = hashlib.sha256()
    for path in sorted([*HERE.glob("*.py"), *HERE.glob("include/**/*"), *HERE.glob("source/*")]):
        if path.is_file():
            digest.update(path.read_bytes())
    digest.update(" ".join([host_compiler(), *base_flags()]).encode())
    return digest.hexdigest()[:16]


def main(arguments: list[str], home: Path | None = None) -> int:
    """nvcc's exit status for a command line; `home` is the folder made by home.py."""
    if arguments[:1] == ["--castoff-emulation-home"] and len(arguments) == 2:
        from .home import make_cuda_home

        print(make_cuda_home(Path(arguments[1])))
        return 0
    if "--version" in arguments or "-V" in arguments:
        print("nvcc: NVIDIA (R) Cuda compiler driver, as castoff's tests emulate it")
        print(f"Cuda compilation tools, release {RELEASE}, V{RELEASE}.0")
        print(f"Build castoff-emulation.{emulation_digest()}")
        return 0
    if home is None:
        from .home import default_home

        home = default_home()
    if "--dryrun" in arguments or "-dryrun" in arguments:
        print(f'#$ TOP={home}\n#$ LIBRARIES=  "-L{home / "lib64"}"', file=sys.stderr)
        return 0
    try:
        build(parse(arguments), home)
    except (UsageError, RewriteError, OSError) as error:
        print(f"nvcc (castoff emulation): error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode if error.returncode > 0 else 1
    return 0
