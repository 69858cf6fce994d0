"""Where the CUDA toolkit lies: nvcc, its headers, the runtime that artefacts are linked with."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from ..errors import CompilerNotFoundError
from ..records import dataclass
from .compilers import ask

INSTALL_HINT = (
    "install the CUDA toolkit, or `pip install castoff[cuda]`, or name its folder by $CUDA_HOME or "
    "the option cuda_home"
)
_RUNTIME = "libcudart_static.a"


@dataclass(frozen=True, slots=True)
class Toolkit:
    """An nvcc that answered when asked for its version, with the headers and libraries that belong to it.

    `identity` changes whenever the toolkit does.
    """

    nvcc: str
    include: str
    libraries: str
    version: str
    identity: str

    def __str__(self) -> str:
        return f"{self.nvcc} ({self.version})"


def find_toolkit(home: str | None = None) -> Toolkit:
    """The toolkit in `home`, else that of the nvcc on the PATH, else that of the nvidia-cuda-nvcc wheel.

    Raises CompilerNotFoundError where `home` has no nvcc, or nothing works.
    """
    tried: list[str] = []
    for nvcc in _candidates(home):
        toolkit = _identify(nvcc, os.stat(os.path.realpath(nvcc)).st_mtime_ns)
        if isinstance(toolkit, Toolkit):
            return toolkit
        tried.append(toolkit)
    if home is not None and not tried:
        tried.append(f"{home} has no bin/nvcc")
    reason = "; ".join(tried) or "there is none on the PATH"
    raise CompilerNotFoundError(
        f"nvcc, which compiles for CUDA, was not found: {reason}; {INSTALL_HINT}"
    )


def _candidates(home: str | None) -> Iterator[str]:
    """Paths of the nvccs to ask, the preferred one first."""
    if home is not None:
        path = os.path.join(os.path.expanduser(home), "bin", "nvcc")
        yield from (path for _ in range(os.access(path, os.X_OK)))
        return
    on_path = shutil.which("nvcc")
    if on_path is not None:
        yield on_path
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        yield from (
            str(p) for p in sorted(Path(folder).glob("*/bin/nvcc")) if os.access(p, os.X_OK)
        )


@lru_cache(maxsize=8)
def _identify(nvcc: str, stamp: int) -> Toolkit | str:
    """The toolkit of an nvcc, or why it cannot be used; asked once for each state of the program."""
    version_text, _ = ask(nvcc, "--version")
    if not version_text:
        return f"{nvcc} cannot be run"
    _, settings = ask(nvcc, "--dryrun", "castoff.cu")
    top = re.search(r"^#\$ TOP=(.*)$", settings, re.MULTILINE)
    root = Path(top.group(1).strip()) if top else Path(nvcc).resolve().parents[1]
    root = root.resolve()
    places = (root, root / "targets" / f"{os.uname().machine}-linux")
    include = next(
        (p / "include" for p in places if (p / "include" / "cuda_runtime_api.h").exists()), None
    )
    folders = [p / name for p in places for name in ("lib64", "lib")]
    libraries = next((folder for folder in folders if (folder / _RUNTIME).exists()), None)
    if include is None or libraries is None:
        missing = "cuda_runtime_api.h" if include is None else _RUNTIME
        return f"{nvcc} lies in {root}, which has no {missing}"
    release = re.search(r"release [\d.]+, (V[\d.]+)", version_text)
    version = f"nvcc {release.group(1)}" if release else version_text.splitlines()[-1].strip()
    identity = "\n".join((nvcc, str(stamp), version_text))
    return Toolkit(nvcc, str(include), str(libraries), version, identity)
