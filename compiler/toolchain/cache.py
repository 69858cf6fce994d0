"""Compiled objects, kept by the digest of everything that made them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from ..codegen.source_tree import SourceTree, SourceUnit

_FORMAT = "castoff object cache 1"
_DIGEST_BYTES = 32


def object_key(tree: SourceTree, unit: SourceUnit, tools: str, flags: tuple[str, ...]) -> str:
    """Hex digest of all that decides a unit's object: source, the headers it reads, flags, the
    identity of the tools.
    """
    digest = hashlib.sha256()

    def add(text: str) -> None:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)

    for part in (_FORMAT, tools, *flags, unit.path, unit.text):
        add(part)
    for header in tree.included_headers(unit):
        add(header)
        add(tree.headers[header])
    return digest.hexdigest()


class ObjectCache:
    """A folder of objects. Damaged or missing entries are misses; a folder that cannot be written
    is no error.

    Entries are written aside and renamed, and begin with the digest of their bytes, so several
    processes may share a folder and a torn write is noticed. `folder` None: nothing is kept.
    """

    def __init__(self, folder: Path | None, limit_bytes: int) -> None:
        self._folder = None if folder is None else folder / "objects"
        self._limit_bytes = limit_bytes
        self.hits = 0
        self.misses = 0

    def _path(self, key: str) -> Path | None:
        return None if self._folder is None else self._folder / key[:2] / key[2:]

    def fetch(self, key: str) -> bytes | None:
        """The object kept under `key`, or None."""
        path = self._path(key)
        found = None
        if path is not None:
            with contextlib.suppress(OSError):
                entry = path.read_bytes()
                content = entry[_DIGEST_BYTES:]
                if hashlib.sha256(content).digest() == entry[:_DIGEST_BYTES]:
                    found = content
                    os.utime(path)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def keep(self, key: str, content: bytes) -> None:
        """Keeps `content` under `key`, where the folder can be written."""
        path = self._path(key)
        if path is None:
            return
        aside = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, aside = tempfile.mkstemp(prefix=".aside-", dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
            os.replace(aside, path)
        except OSError:
            if aside:
                with contextlib.suppress(OSError):
                    os.unlink(aside)

    def trim(self) -> None:
        """Drops the entries used longest ago until the folder is within its limit."""
        if self._folder is None:
            return
        entries: list[tuple[float, int, str]] = []
        for root, _, names in os.walk(self._folder):
            for name in names:
                path = os.path.join(root, name)
                with contextlib.suppress(OSError):
                    status = os.stat(path)
                    entries.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in entries) - self._limit_bytes
        for _, size, path in sorted(entries):
            if excess <= 0:
                return
            with contextlib.suppress(OSError):
                os.unlink(path)
                excess -= size
