"""Artefacts of archives as files: the system's loader reads machine code from files only.

An artefact's image, its weights left out, goes into the cache folder once, under its own digest,
so that processes share its pages and debuggers find it. It is written aside and renamed: who looks
sees a whole file or none, however many processes come at once. What lies there already is believed
only if it has that digest and nobody but this user could have written it. Where there is no such
folder, or nothing may be executed from it, the image goes into memory of this process instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time

from .cache_folder import cache_folder
from .errors import ArtefactError

_LIMIT_BYTES = 512 << 20
# Another process may have found a file and not loaded it yet.
_KEPT_SECONDS = 3600.0


def place_image(content: memoryview, digest: str) -> str:
    """The path of a file with `content`, whose sha256 is `digest`. Raises ArtefactError."""
    folder = cache_folder()
    if folder is not None:
        with contextlib.suppress(OSError):
            return _in_folder(os.path.join(folder, "images"), content, digest)
    return _in_memory(content, digest)


def _in_folder(folder: str, content: memoryview, digest: str) -> str:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    status = os.stat(folder)
    if not _is_private(status) or os.statvfs(folder).f_flag & os.ST_NOEXEC:
        raise PermissionError(f"{folder} is not a place to load code from")
    path = os.path.join(folder, f"{digest}.so")
    if _holds(path, len(content), digest):
        with contextlib.suppress(OSError):  # the system's own: it is not ours to touch
            os.utime(path)
        return path
    import tempfile  # takes longer than all of loading, and once is enough

    handle, aside = tempfile.mkstemp(prefix=".aside-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(aside, 0o500)
        os.replace(aside, path)
    except OSError:
        os.unlink(aside)
        raise
    _trim(folder)
    return path


def _is_private(status: os.stat_result) -> bool:
    """Whether none but this user, or the system's, can change it."""
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def _holds(path: str, size: int, digest: str) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or not _is_private(status) or status.st_size != size:
            return False
        return hashlib.sha256(file.read()).hexdigest() == digest


def _trim(folder: str) -> None:
    """Drops the images used longest ago until the folder is within its limit."""
    entries: list[tuple[float, int, str]] = []
    for entry in os.scandir(folder):
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            entries.append((status.st_mtime, status.st_size, entry.path))
    excess = sum(size for _, size, _ in entries) - _LIMIT_BYTES
    recent = time.time() - _KEPT_SECONDS
    for used, size, path in sorted(entries):
        if excess <= 0 or used > recent:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
            excess -= size


def _in_memory(content: memoryview, digest: str) -> str:
    """A file that has no name; its descriptor stays open, so the path stays its own."""
    file = -1
    try:
        file = os.memfd_create(f"castoff-{digest[:16]}", os.MFD_CLOEXEC)
        position = 0
        while position < len(content):
            position += os.write(file, content[position:])
    except OSError as error:
        if file >= 0:
            os.close(file)
        raise ArtefactError(
            f"there is no place to copy machine code to: the cache folder cannot be used, and "
            f"memory for it is refused: {error}"
        ) from error
    return f"/proc/self/fd/{file}"
