"""What code generation hands to the toolchain: files of text, and how each is compiled."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import PurePosixPath

from ..records import dataclass


@dataclass(frozen=True, slots=True)
class SourceUnit:
    """One run of the compiler: `text`, known as `path` inside the tree, compiled with `flags`.

    A source that is built for several CPU levels is several units with one path and one text,
    which differ in `flags` and in `object_name` (empty: the path with `.o` for its suffix).
    """

    path: str
    text: str = field(repr=False)
    flags: tuple[str, ...] = ()
    object_name: str = ""

    @property
    def is_for_device(self) -> bool:
        """Whether nvcc compiles it."""
        return self.path.endswith(".cu")

    @property
    def output(self) -> str:
        """Name of the object file, flat: "kernels.x86-64-v3.o"."""
        if self.object_name:
            return self.object_name
        return str(PurePosixPath(self.path).with_suffix(".o")).replace("/", "_")


@dataclass(frozen=True, slots=True)
class SourceTree:
    """A whole generated program as text.

    `units` are linked in their order. `headers` maps paths to text; a unit includes them by these
    paths. `link_flags` come after the toolchain's own. Paths are relative, with "/" between their
    parts.
    """

    name: str
    units: tuple[SourceUnit, ...]
    headers: Mapping[str, str]
    link_flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        outputs = [unit.output for unit in self.units]
        repeated = sorted({output for output in outputs if outputs.count(output) > 1})
        assert not repeated, f"units share object names: {', '.join(repeated)}"
        texts: dict[str, str] = dict(self.headers)
        for unit in self.units:
            known = texts.setdefault(unit.path, unit.text)
            assert known == unit.text, f"two texts are called {unit.path}"
        for path in texts:
            parts = PurePosixPath(path).parts
            assert parts and not path.startswith("/") and ".." not in parts, (
                f"{path} leaves the tree"
            )

    @property
    def is_for_device(self) -> bool:
        """Whether a unit of it is."""
        return any(unit.is_for_device for unit in self.units)

    def files(self) -> dict[str, str]:
        """Every file of the tree by its path, sorted."""
        texts = dict(self.headers)
        texts.update((unit.path, unit.text) for unit in self.units)
        return dict(sorted(texts.items()))

    def included_headers(self, unit: SourceUnit) -> tuple[str, ...]:
        """Paths of the headers that `unit` may read, through other headers too, sorted.

        Conditions are not evaluated: a header that is included under some `#if` counts.
        """
        folders = (".", *(flag[2:] for flag in unit.flags if flag.startswith("-I")))
        found: set[str] = set()
        pending = [(unit.path, unit.text)]
        while pending:
            path, text = pending.pop()
            near = (str(PurePosixPath(path).parent), *folders)
            for included in _INCLUDE.findall(text):
                places = (posixpath.normpath(posixpath.join(folder, included)) for folder in near)
                header = next((place for place in places if place in self.headers), None)
                if header is not None and header not in found:
                    found.add(header)
                    pending.append((header, self.headers[header]))
        return tuple(sorted(found))


_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]', re.MULTILINE)
