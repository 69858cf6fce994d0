"""Finding nvcc: where it is named, on the PATH, in the wheel."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from castoff.compiler.errors import CompilerNotFoundError
from castoff.compiler.options import resolve_options
from castoff.compiler.toolchain.toolkit import find_toolkit


def fake_toolkit(root: Path, version: str, runtime: str = "libcudart_static.a") -> Path:
    for name in ("bin", "include", "lib64"):
        (root / name).mkdir(parents=True)
    nvcc = root / "bin" / "nvcc"
    nvcc.write_text(
        f'#!/bin/sh\ncase "$1" in --version) echo "Cuda compilation tools, release 13.0, {version}";;'
        f' --dryrun) echo "#$ TOP={root}" >&2;; esac\n'
    )
    nvcc.chmod(0o755)
    (root / "include" / "cuda_runtime_api.h").touch()
    (root / "lib64" / runtime).touch()
    return root


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three toolkits: one that is named, one on the PATH, one as the wheel lays it out."""
    named = fake_toolkit(tmp_path / "named", "V13.0.1")
    on_path = fake_toolkit(tmp_path / "path", "V13.0.2")
    fake_toolkit(tmp_path / "site" / "nvidia" / "cu13", "V13.0.3")
    monkeypatch.setenv("CUDA_HOME", str(named))
    monkeypatch.setenv("PATH", f"{on_path}/bin:/usr/bin:/bin")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    return tmp_path


WITHOUT: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "all three": (lambda patch: None, "V13.0.1"),
    "none is named": (lambda patch: patch.delenv("CUDA_HOME"), "V13.0.2"),
    "the wheel alone": (
        lambda patch: (patch.delenv("CUDA_HOME"), patch.setenv("PATH", "/usr/bin:/bin"))[0],
        "V13.0.3",
    ),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_nvcc_is_the_named_one_then_that_of_the_path_then_that_of_the_wheel(
    places: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    change, version = WITHOUT[case]
    change(monkeypatch)
    toolkit = find_toolkit(resolve_options().cuda_home)
    assert toolkit.version == f"nvcc {version}"
    assert Path(toolkit.include).parent == Path(toolkit.libraries).parent


def test_a_toolkit_without_the_runtime_says_what_it_lacks(tmp_path: Path) -> None:
    root = fake_toolkit(tmp_path / "cuda", "V13.0.4", runtime="libother.a")
    with pytest.raises(CompilerNotFoundError, match=r"has no libcudart_static.a"):
        find_toolkit(str(root))
