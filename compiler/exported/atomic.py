"""Files that are either the old ones or the new ones, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def written_aside(target: Path, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A new file beside `target`, renamed over it at the end, or removed on any error.

    Its permissions are `mode` as far as the umask allows. A program that is mapped from `target`
    keeps its old bytes. Raises `OSError`.
    """
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".aside", dir=target.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes a file for its owner alone; an ordinary one is asked for.
        mask = os.umask(0)
        os.umask(mask)
        aside.chmod(mode & ~mask)
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
