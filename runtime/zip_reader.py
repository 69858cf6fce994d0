"""Reads zip files that nobody vouches for, without copying what is stored uncompressed.

The whole directory is checked before any entry is read: names stay inside the archive and occur
once, entries lie inside the file and apart from each other, and their local headers agree with
the directory. What is compressed may not unpack to more than a budget that grows with the file.
Checksums are verified before anything is given out, or, of large files that are asked for so, when
they are used. Each refusal is a `ProgramFormatError` that names the entry.

The format is PKWARE's APPNOTE 6.3; of its options stored, deflated and zip64 are known here.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from .errors import ProgramFormatError
from .forks import lock_free_in_children

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_DIRECTORY_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")

_STORED = 0
_DEFLATED = 8
_FLAG_ENCRYPTED = 0x1
_FLAG_UTF8 = 0x800
_ZIP64_EXTRA = 1
_IN_ZIP64_16 = 0xFFFF
_IN_ZIP64_32 = 0xFFFFFFFF

_LARGE_BYTES = 1 << 20
_MAX_THREADS = 8

UNPACKED_BUDGET_BYTES = 256 << 20
UNPACKED_BUDGET_FACTOR = 100
"""All compressed entries together may unpack to the budget plus this many times the file."""


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One file of the archive; its bytes lie at `data_offset` of the archive."""

    name: str
    data_offset: int
    stored_bytes: int
    size_bytes: int
    is_deflated: bool
    checksum: int


class ZipReader:
    """The entries of a zip file by name, read on demand.

    `source` names the file in errors. Raises `ProgramFormatError` when anything about the
    directory is wrong, before any entry is read.
    """

    def __init__(self, data: memoryview, source: str) -> None:
        self._data = data
        self.source = source
        entries = _read_directory(data, source)
        self._entries = {entry.name: entry for entry in entries}
        self._checked: set[str] = set()
        self._unchecked: dict[str, ZipEntry] = {}
        self._lock = lock_free_in_children()
        _check_budget(entries, len(data), source)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all files, in the order of the directory."""
        return tuple(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def size_bytes(self, name: str) -> int:
        """Unpacked size of one file."""
        return self._entry(name).size_bytes

    def data_offset(self, name: str) -> int | None:
        """Where in the archive the bytes of one file lie; None where they are compressed."""
        entry = self._entry(name)
        return None if entry.is_deflated else entry.data_offset

    def read(self, name: str) -> memoryview:
        """The bytes of one file, checked; a view into the archive where they are stored."""
        entry = self._entry(name)
        stored = self._stored(entry)
        unpacked = self._inflate(entry, stored) if entry.is_deflated else stored
        if name not in self._checked:
            if zlib.crc32(unpacked) != entry.checksum:
                raise self._damaged(entry)
            self._checked.add(name)
            self._unchecked.pop(name, None)
        return unpacked

    def view(self, name: str) -> memoryview:
        """The bytes of one file; where they are stored, as they lie, neither read nor checked."""
        entry = self._entry(name)
        if entry.is_deflated:
            return self.read(name)
        return self._data[entry.data_offset : entry.data_offset + entry.stored_bytes]

    def read_later(self, name: str) -> tuple[memoryview, Callable[[], None] | None]:
        """The bytes of one file, and what verifies their checksum, to be called before they are used.

        None stands for the latter where they were verified at once, as small and compressed files
        are. The first call verifies all files that are still to be, on several processors.
        """
        entry = self._entry(name)
        if name in self._checked or entry.is_deflated or entry.size_bytes < _LARGE_BYTES:
            return self.read(name), None
        self._unchecked[name] = entry
        return self._stored(entry), self._check_all

    def _check_all(self) -> None:
        """Raise `ProgramFormatError` for the first of the files given out unverified that is damaged."""
        if not self._unchecked:
            return
        from concurrent.futures import ThreadPoolExecutor  # only large files pay for its import

        with self._lock:
            entries = list(self._unchecked.values())
            threads = min(max(len(entries), 1), os.cpu_count() or 1, _MAX_THREADS)
            with ThreadPoolExecutor(threads) as pool:  # checksums leave the interpreter's lock
                whole = list(pool.map(self._is_whole, entries))
            for entry, is_whole in zip(entries, whole, strict=True):
                if not is_whole:
                    raise self._damaged(entry)
                self._checked.add(entry.name)
                self._unchecked.pop(entry.name, None)

    def _is_whole(self, entry: ZipEntry) -> bool:
        return zlib.crc32(self._stored(entry)) == entry.checksum

    def _stored(self, entry: ZipEntry) -> memoryview:
        return self._data[entry.data_offset : entry.data_offset + entry.stored_bytes]

    def _damaged(self, entry: ZipEntry) -> ProgramFormatError:
        return ProgramFormatError(
            f"{self.source}: entry '{entry.name}' is damaged: its checksum does not match"
        )

    def _entry(self, name: str) -> ZipEntry:
        entry = self._entries.get(name)
        if entry is None:
            raise ProgramFormatError(f"{self.source}: entry '{name}' is missing")
        return entry

    def _inflate(self, entry: ZipEntry, stored: memoryview) -> memoryview:
        decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # One byte more than promised is enough to catch a promise that is too small.
            unpacked = decompressor.decompress(stored, entry.size_bytes + 1)
        except zlib.error as error:
            raise ProgramFormatError(
                f"{self.source}: entry '{entry.name}' is damaged: {error}"
            ) from None
        if len(unpacked) != entry.size_bytes:
            raise ProgramFormatError(
                f"{self.source}: entry '{entry.name}' should unpack to {entry.size_bytes} bytes, "
                f"but gives {'more' if len(unpacked) > entry.size_bytes else len(unpacked)}"
            )
        return memoryview(unpacked)


def is_zip(data: memoryview) -> bool:
    """Whether the bytes begin as a zip file does."""
    return bytes(data[:4]) in (b"PK\x03\x04", b"PK\x05\x06")


def _check_budget(entries: list[ZipEntry], file_bytes: int, source: str) -> None:
    budget = UNPACKED_BUDGET_BYTES + UNPACKED_BUDGET_FACTOR * file_bytes
    total = 0
    for entry in entries:
        if not entry.is_deflated:
            continue
        total += entry.size_bytes
        if total > budget:
            raise ProgramFormatError(
                f"{source}: entry '{entry.name}' would unpack {entry.stored_bytes} bytes to "
                f"{entry.size_bytes}, past the limit of {budget} bytes for a file of this size; "
                "save it uncompressed if it is genuine"
            )


def _read_directory(data: memoryview, source: str) -> list[ZipEntry]:
    start, size, count = _find_directory(data, source)
    entries: list[ZipEntry] = []
    seen: set[str] = set()
    extents: list[tuple[int, int, str]] = []
    for fields, name, extra in _directory_records(data, start, size, count, source):
        check_name(name, source)
        if name in seen:
            raise ProgramFormatError(f"{source}: entry '{name}' occurs twice")
        seen.add(name)
        entry, header_offset = _checked_entry(data, fields, name, extra, start, source)
        extents.append((header_offset, entry.data_offset + entry.stored_bytes, name))
        if not name.endswith("/"):
            entries.append(entry)
        elif entry.size_bytes:
            raise ProgramFormatError(f"{source}: folder entry '{name}' holds data")
    extents.sort()
    for (_, end, name), (next_start, _, next_name) in pairwise(extents):
        if next_start < end:
            raise ProgramFormatError(f"{source}: entries '{name}' and '{next_name}' overlap")
    return entries


def _find_directory(data: memoryview, source: str) -> tuple[int, int, int]:
    """Offset, size in bytes and number of records of the directory."""
    tail_start = max(0, len(data) - _END.size - 0xFFFF)
    tail = bytes(data[tail_start:])
    position = tail.rfind(b"PK\x05\x06")
    while position >= 0:
        if position + _END.size <= len(tail):
            comment_bytes = int.from_bytes(tail[position + 20 : position + 22], "little")
            if position + _END.size + comment_bytes == len(tail):
                break
        position = tail.rfind(b"PK\x05\x06", 0, position)
    if position < 0:
        if is_zip(data):
            raise ProgramFormatError(
                f"{source}: truncated: the directory at the end of the zip file is missing"
            )
        raise ProgramFormatError(f"{source}: not a .pt2 file: expected a zip file")
    end_offset = tail_start + position
    _, disk, directory_disk, _, count, size, start, _ = _END.unpack_from(data, end_offset)
    limit = end_offset
    if count == _IN_ZIP64_16 or size == _IN_ZIP64_32 or start == _IN_ZIP64_32:
        zip64 = _find_zip64(data, end_offset, source)
        if zip64 is not None:
            start, size, count, limit = zip64
    elif disk or directory_disk:
        raise ProgramFormatError(f"{source}: zip files in several parts are not read")
    if start + size > limit or count * _DIRECTORY_ENTRY.size > size:
        raise ProgramFormatError(
            f"{source}: truncated or damaged: the directory of {count} entries does not fit "
            "where the zip file says it is"
        )
    return start, size, count


def _find_zip64(data: memoryview, end_offset: int, source: str) -> tuple[int, int, int, int] | None:
    locator_offset = end_offset - _END64_LOCATOR.size
    if locator_offset < 0 or bytes(data[locator_offset : locator_offset + 4]) != b"PK\x06\x07":
        return None
    _, _, record_offset, _ = _END64_LOCATOR.unpack_from(data, locator_offset)
    if record_offset + _END64.size > locator_offset:
        raise ProgramFormatError(f"{source}: damaged: zip64 directory record is out of place")
    signature, *_, count, size, start = _END64.unpack_from(data, record_offset)
    if signature != b"PK\x06\x06":
        raise ProgramFormatError(f"{source}: damaged: zip64 directory record is out of place")
    return start, size, count, record_offset


def _directory_records(
    data: memoryview, start: int, size: int, count: int, source: str
) -> Iterator[tuple[tuple[int, ...], str, memoryview]]:
    """Number fields, name and extra field of each record of the directory."""
    position, end = start, start + size
    for index in range(count):
        if position + _DIRECTORY_ENTRY.size > end:
            raise ProgramFormatError(f"{source}: directory record {index} is cut off")
        signature, *fields = _DIRECTORY_ENTRY.unpack_from(data, position)
        if signature != b"PK\x01\x02":
            raise ProgramFormatError(f"{source}: directory record {index} is damaged")
        name_bytes, extra_bytes, comment_bytes = fields[9:12]
        position += _DIRECTORY_ENTRY.size
        raw_name = bytes(data[position : position + name_bytes])
        extra = data[position + name_bytes : position + name_bytes + extra_bytes]
        position += name_bytes + extra_bytes + comment_bytes
        if position > end:
            raise ProgramFormatError(f"{source}: directory record {index} is cut off")
        yield tuple(fields), _decode_name(raw_name, fields[2], index, source), extra


def _decode_name(raw: bytes, flags: int, index: int, source: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        if flags & _FLAG_UTF8:
            raise ProgramFormatError(
                f"{source}: name of directory record {index} is not UTF-8"
            ) from None
        return raw.decode("cp437")


def check_name(name: str, source: str) -> None:
    """Raise `ProgramFormatError` for the name of an entry that would leave its archive."""
    parts = name.removesuffix("/").split("/")
    if "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise ProgramFormatError(f"{source}: entry {name!r} has a name that leaves the archive")
    if len(parts[0]) == 2 and parts[0][1] == ":":
        raise ProgramFormatError(f"{source}: entry {name!r} has a name that leaves the archive")


def _checked_entry(
    data: memoryview,
    fields: tuple[int, ...],
    name: str,
    extra: memoryview,
    directory_start: int,
    source: str,
) -> tuple[ZipEntry, int]:
    """The entry of a directory record, and the offset of its local header."""
    flags, method, _, _, checksum, stored_bytes, size_bytes = fields[2:9]
    external_attributes, header_offset = fields[14], fields[15]
    if flags & _FLAG_ENCRYPTED:
        raise ProgramFormatError(f"{source}: entry '{name}' is encrypted")
    if method not in (_STORED, _DEFLATED):
        raise ProgramFormatError(
            f"{source}: entry '{name}' is compressed by method {method}; "
            "expected stored or deflated"
        )
    # The upper half of the attributes is a Unix file mode, whatever system claims to write it.
    file_type = stat.S_IFMT(external_attributes >> 16)
    if file_type not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "a symbolic link" if file_type == stat.S_IFLNK else "not a plain file"
        raise ProgramFormatError(f"{source}: entry '{name}' is {kind}")
    size_bytes, stored_bytes, header_offset = _widen(
        (size_bytes, stored_bytes, header_offset), extra, name, source
    )
    if method == _STORED and stored_bytes != size_bytes:
        raise ProgramFormatError(
            f"{source}: entry '{name}' is stored, but says {stored_bytes} bytes are {size_bytes}"
        )
    if header_offset + _LOCAL_HEADER.size > directory_start:
        raise ProgramFormatError(f"{source}: entry '{name}' lies outside the file")
    signature, *local = _LOCAL_HEADER.unpack_from(data, header_offset)
    name_bytes, extra_bytes = local[8:10]
    name_offset = header_offset + _LOCAL_HEADER.size
    local_name = bytes(data[name_offset : name_offset + name_bytes])
    if signature != b"PK\x03\x04" or _decode_name(local_name, flags, 0, source) != name:
        raise ProgramFormatError(f"{source}: entry '{name}' is not where the directory says it is")
    data_offset = name_offset + name_bytes + extra_bytes
    if data_offset + stored_bytes > directory_start:
        raise ProgramFormatError(
            f"{source}: entry '{name}' says it has {stored_bytes} bytes, which lie outside the file"
        )
    entry = ZipEntry(name, data_offset, stored_bytes, size_bytes, method == _DEFLATED, checksum)
    return entry, header_offset


def _widen(
    narrow: tuple[int, int, int], extra: memoryview, name: str, source: str
) -> tuple[int, int, int]:
    """Size, stored size and offset, each from the zip64 extra field where it did not fit."""
    if _IN_ZIP64_32 not in narrow:
        return narrow
    position = 0
    while position + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, position)
        if tag == _ZIP64_EXTRA:
            body = extra[position + 4 : position + 4 + length]
            wide = iter(struct.unpack_from(f"<{len(body) // 8}Q", body))
            size, stored, offset = (
                next(wide, -1) if value == _IN_ZIP64_32 else value for value in narrow
            )
            if min(size, stored, offset) >= 0:
                return size, stored, offset
            break
        position += 4 + length
    raise ProgramFormatError(f"{source}: entry '{name}' lacks its zip64 sizes")
