"""Writes zip files in one pass: stored entries, aligned, without dates, equal input to equal bytes.

The format is PKWARE's APPNOTE 6.3, with zip64 records where sizes or offsets ask for them. Bytes of
entries are copied from where they lie to the file and nowhere else.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from ...runtime.zip_reader import check_name
from ..records import dataclass
from .errors import ProgramFormatError

ALIGNMENT_BYTES = 64
"""Every entry begins at a multiple of this, so that a mapped file holds aligned tensors."""

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_DIRECTORY_ENTRY = struct.Struct("<4s6H3L5H2L")
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")

_VERSION_STORED = 20
_VERSION_ZIP64 = 45
_FLAG_UTF8 = 0x800
_STORED = 0
_MIDNIGHT = 0
_FIRST_OF_JANUARY_1980 = 0x21
_IN_ZIP64_16 = 0xFFFF
_IN_ZIP64_32 = 0xFFFFFFFF
_ZIP64_EXTRA = 1
# The tag under which torch pads; readers skip tags they do not know.
_PADDING_EXTRA = int.from_bytes(b"FB", "little")

Content = bytes | memoryview


@dataclass(frozen=True, slots=True)
class _Written:
    name: bytes
    checksum: int
    size_bytes: int
    header_offset: int


class ZipWriter:
    """Entries one after the other into `write`; `finish` adds the directory.

    Raises `ProgramFormatError` for a name that `ZipReader` would refuse.
    """

    def __init__(self, write: Callable[[Content], object]) -> None:
        self._write = write
        self._position = 0
        self._entries: dict[str, _Written] = {}

    def add(self, name: str, content: Content) -> None:
        """One file of the archive."""
        check_name(name, "archive to write")
        if name.endswith("/"):
            raise ProgramFormatError(f"archive to write: entry '{name}' has the name of a folder")
        if name in self._entries:
            raise ProgramFormatError(f"archive to write: entry '{name}' occurs twice")
        try:
            raw_name = name.encode("utf-8")
        except UnicodeEncodeError:
            raise ProgramFormatError(
                f"archive to write: entry {name!r} has a name that UTF-8 cannot hold"
            ) from None
        if len(raw_name) > _IN_ZIP64_16:
            raise ProgramFormatError(f"archive to write: the name '{name[:60]}…' is too long")
        data = memoryview(content).cast("B")
        entry = _Written(raw_name, zlib.crc32(data), len(data), self._position)
        self._entries[name] = entry
        self._emit(self._local_header(entry))
        self._emit(data)

    def finish(self) -> None:
        """The directory; nothing may be added after it."""
        start = self._position
        for entry in self._entries.values():
            self._emit(_directory_record(entry))
        size, count = self._position - start, len(self._entries)
        if count >= _IN_ZIP64_16 or max(size, start) >= _IN_ZIP64_32:
            record_offset = self._position
            versions = (_VERSION_ZIP64, _VERSION_ZIP64)
            fields = (_END64.size - 12, *versions, 0, 0, count, count, size, start)
            self._emit(_END64.pack(b"PK\x06\x06", *fields))
            self._emit(_END64_LOCATOR.pack(b"PK\x06\x07", 0, record_offset, 1))
        counts = (min(count, _IN_ZIP64_16),) * 2
        places = (min(size, _IN_ZIP64_32), min(start, _IN_ZIP64_32))
        self._emit(_END.pack(b"PK\x05\x06", 0, 0, *counts, *places, 0))

    def _emit(self, data: Content) -> None:
        self._write(data)
        self._position += len(data)

    def _local_header(self, entry: _Written) -> bytes:
        is_wide = entry.size_bytes >= _IN_ZIP64_32
        extra = b""
        if is_wide:
            extra = struct.pack("<HHQQ", _ZIP64_EXTRA, 16, entry.size_bytes, entry.size_bytes)
        unpadded = self._position + _LOCAL_HEADER.size + len(entry.name) + len(extra) + 4
        padding = -unpadded % ALIGNMENT_BYTES
        extra += struct.pack("<HH", _PADDING_EXTRA, padding) + b"Z" * padding
        size = min(entry.size_bytes, _IN_ZIP64_32)
        header = _LOCAL_HEADER.pack(
            b"PK\x03\x04",
            _VERSION_ZIP64 if is_wide else _VERSION_STORED,
            _FLAG_UTF8,
            _STORED,
            _MIDNIGHT,
            _FIRST_OF_JANUARY_1980,
            entry.checksum,
            size,
            size,
            len(entry.name),
            len(extra),
        )
        return header + entry.name + extra


def _directory_record(entry: _Written) -> bytes:
    wide: list[int] = []
    if entry.size_bytes >= _IN_ZIP64_32:
        wide += [entry.size_bytes, entry.size_bytes]
    if entry.header_offset >= _IN_ZIP64_32:
        wide.append(entry.header_offset)
    extra = struct.pack(f"<HH{len(wide)}Q", _ZIP64_EXTRA, 8 * len(wide), *wide) if wide else b""
    version = _VERSION_ZIP64 if wide else _VERSION_STORED
    size = min(entry.size_bytes, _IN_ZIP64_32)
    return (
        _DIRECTORY_ENTRY.pack(
            b"PK\x01\x02",
            version,
            version,
            _FLAG_UTF8,
            _STORED,
            _MIDNIGHT,
            _FIRST_OF_JANUARY_1980,
            entry.checksum,
            size,
            size,
            len(entry.name),
            len(extra),
            0,
            0,
            0,
            0,
            min(entry.header_offset, _IN_ZIP64_32),
        )
        + entry.name
        + extra
    )
