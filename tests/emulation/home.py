"""A folder that looks like a CUDA toolkit and runs CUDA programs on the processor.

    from tests.emulation.home import make_cuda_home
    home = make_cuda_home(tmp_path)          # bin/nvcc, include/, lib64/libcudart_static.a, lib64/libcublasLt.so.13
    monkeypatch.setenv("CUDA_HOME", str(home))

or `tests/emulation/nvcc --castoff-emulation-home FOLDER`. With CUDA_HOME set, everything is as in production: the
build finds nvcc, the artefact links cudart statically, loads and runs; but kernels run on the processor, one block
after another, the threads of a block as fibers. It shows what code computes, never how fast a GPU would be.

Built (nvcc) with these variables set:

    CASTOFF_EMULATION_CXX             g++
    CASTOFF_EMULATION_CXXFLAGS        further flags; with -fsanitize=address device memory is malloc's,
                                      whose borders are watched (set it when the home is made, too)

Run with these:

    CASTOFF_EMULATION_ORDER           forward | reverse | random:<seed>: in which order threads and blocks
                                      go on. What depends on it lacks a barrier.
    CASTOFF_EMULATION_STREAMS         eager | deferred: deferred work runs when something waits for it
    CASTOFF_EMULATION_DEVICES         how many devices there are (1; 0 is an error of CUDA's)
    CASTOFF_EMULATION_POOLS           0: devices without cudaMallocAsync()
    CASTOFF_EMULATION_MEMORY          bytes of each device (8 GiB)
    CASTOFF_EMULATION_ARCH            compute capability, 90
    CASTOFF_EMULATION_DRIVER_VERSION  13000; 0: there is no driver
    CASTOFF_EMULATION_FAIL            N: the N-th launch fails, and every call after it (a sticky error)
    CASTOFF_EMULATION_FAIL_EVENT      N: the N-th record of an event fails, and only that
    CASTOFF_EMULATION_FAULT           abort | error: what a broken rule does, after it was said on stderr
    CASTOFF_EMULATION_STDERR          <process>:<descriptor>: where that process also says why it ends

Rules that are checked: every thread of a block reaches a barrier; lanes that meet agree on mask and operation; sizes of
grids, blocks and shared memory; kernels get device memory of their device; host code does not touch device memory;
copies stay within allocations; what is read and written is aligned as its type says. Fresh device and shared memory
holds NaN. Code compiled here sees CASTOFF_EMULATION.

Not there: spinning on another block, cooperative and cluster launches, inline PTX, textures, managed memory,
allocations inside graphs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from .compiler import emulation_digest, host_compiler

HERE = Path(__file__).resolve().parent
_DRIVER = ("devices", "memory", "streams", "copies", "graphs")
_STATIC = ("cudart", "launch", "multiply", "order", "pipeline", "scheduler")

_NVCC = """#!{python}
import sys
from pathlib import Path

sys.path.insert(0, {root!r})
from tests.emulation.compiler import main

sys.exit(main(sys.argv[1:], Path({home!r})))
"""


def default_home() -> Path:
    """A home in the user's cache, for the nvcc script that is run where it lies."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    # The scripts in it name this checkout and this Python: another one needs a home of its own.
    place = hashlib.sha256(f"{HERE}\0{sys.executable}".encode()).hexdigest()[:8]
    return make_cuda_home(cache / "castoff" / "emulation" / f"{emulation_digest()}-{place}")


def cuda_home_for_tests() -> str:
    """$CUDA_HOME for programs that are to be run: the caller's, or a toolkit's where there is a GPU, else emulated."""
    if named := os.environ.get("CUDA_HOME"):
        return named
    from tests.device.machine import has_gpu

    if has_gpu():
        from castoff.compiler.toolchain.toolkit import find_toolkit

        return str(Path(find_toolkit().nvcc).parents[1])
    return str(default_home())


def make_cuda_home(folder: Path) -> Path:
    """Makes the folder, or leaves it where it is up to date. A few seconds. Raises CalledProcessError."""
    folder.mkdir(parents=True, exist_ok=True)
    home = folder.resolve()
    stamp = home / "emulation.digest"
    with open(home / "emulation.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == emulation_digest():
            return home
        _make(home)
        stamp.write_text(emulation_digest())
    return home


def _make(home: Path) -> None:
    for name in ("bin", "lib64"):
        shutil.rmtree(home / name, ignore_errors=True)
        (home / name).mkdir()
    include = home / "include"
    if not include.is_symlink():
        include.symlink_to(HERE / "include")
    nvcc = home / "bin" / "nvcc"
    nvcc.write_text(_NVCC.format(python=sys.executable, root=str(HERE.parents[1]), home=str(home)))
    nvcc.chmod(0o755)
    library = home / "lib64"
    driver = library / "libcuda.so.1"
    _compile(
        [
            "-shared",
            *(f"source/{name}.cpp" for name in _DRIVER),
            "-Wl,-soname,libcuda.so.1",
            "-o",
            str(driver),
        ]
    )
    static = [
        "-fvisibility=hidden",
        "-fno-exceptions",
        "-fno-rtti",
        "-fno-threadsafe-statics",
        "-c",
    ]
    objects = []
    for name in _STATIC:
        objects.append(str(library / f"{name}.o"))
        place = f'-DCASTOFF_EMULATION_DRIVER="{driver}"'
        _compile([*static, place, f"source/{name}.cpp", "-o", objects[-1]])
    subprocess.run(["ar", "rcs", str(library / "libcudart_static.a"), *objects], check=True)
    for name in objects:
        os.unlink(name)
    blas = library / "libcublasLt.so.13"
    runtime = str(library / "libcudart_static.a")
    _compile(
        [
            "-shared",
            "source/cublaslt.cpp",
            runtime,
            "-Wl,-soname,libcublasLt.so.13",
            "-o",
            str(blas),
        ]
    )


def _compile(arguments: list[str]) -> None:
    extra = shlex.split(os.environ.get("CASTOFF_EMULATION_CXXFLAGS", ""))
    flags = ["-std=gnu++20", "-O3", "-Wall", "-Wextra", "-fPIC", "-Iinclude", *extra]
    subprocess.run([host_compiler(), *flags, *arguments], cwd=HERE, check=True)
