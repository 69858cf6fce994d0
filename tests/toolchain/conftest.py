"""A tree small enough to read, and options that leave the user's own cache alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from castoff.compiler.codegen.source_tree import SourceTree, SourceUnit
from castoff.compiler.options import CompileOptions
from castoff.runtime.manifest import Manifest

ADD_SOURCE = """\
#include "factor.h"

/* origin: model.py:12 in forward (layers.0) */
__attribute__((visibility("default"))) int NAME(int x) {
  return FACTOR * x;
}
"""


@pytest.fixture
def tree() -> SourceTree:
    return SourceTree(
        "sample",
        (
            SourceUnit("scale.c", ADD_SOURCE, ("-DNAME=scale_low",), "scale.low.o"),
            SourceUnit("scale.c", ADD_SOURCE, ("-DNAME=scale_high", "-DHIGH"), "scale.high.o"),
        ),
        {"factor.h": "#ifdef HIGH\n#define FACTOR 100\n#else\n#define FACTOR 3\n#endif\n"},
    )


@pytest.fixture
def options(tmp_path: Path) -> CompileOptions:
    return CompileOptions(cache_folder=str(tmp_path / "cache"), jobs=2)


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        name="sample",
        in_spec="",
        out_spec="",
        arguments=(),
        results=(),
        inputs=(),
        outputs=(),
        weights_size_bytes=70,
    )
