"""tar archives, as a stream and bounded: UT1's folders of `domains` files, and the text files of a collection.

Nothing is written to disk and no path of the archive is ever opened; only regular files are looked at.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import IO

from blocklists.formats.findings import BadList, Finding, Rejected
from blocklists.formats.lines import split
from blocklists.formats.plain import domains
from blocklists.inflate import GZIP, gunzip

MAX_MEMBERS = 20_000
MAX_BYTES = 1 << 30  # inflated, the whole archive
_CHUNK = 256 * 1024


def ut1(chunks: Iterable[bytes]) -> Iterator[Finding]:
    """Names of every `domains` file in the archive; a line's number counts within its file. Raises `BadList`."""
    met = False
    for path, lines in members(chunks):
        what = PurePosixPath(path).name
        if what == "domains":
            met = True
            yield from domains(split(lines))
        elif what in ("urls", "expressions", "very_restrictive_expression"):
            yield Rejected(0, path[:120], "this file is about addresses of pages; DNS carries names only")
    if not met:
        raise BadList("there is no file named “domains” in this archive")


def collection(chunks: Iterable[bytes], folder: str, limit: int) -> dict[str, bytes]:
    """Return the files directly in `folder` (of the archive's one top folder) by name; together at most `limit` bytes.

    Raises `BadList`.
    """
    found: dict[str, bytes] = {}
    size = 0
    for path, lines in members(chunks):
        parts = PurePosixPath(path).parts
        if len(parts) == 3 and parts[1] == folder:
            data = b"".join(lines)
            size += len(data)
            if size > limit:
                raise BadList(f"the files in {folder} are larger than {limit:,} bytes together")
            found[parts[2]] = data
    if not found:
        raise BadList(f"there is no folder {folder!r} with files in this archive")
    return found


def members(chunks: Iterable[bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield each regular file's path and its bytes in chunks, to be read before the next is asked for.

    Raises `BadList`, while a file is read too.
    """
    stream = io.BufferedReader(_Stream(inflated(chunks)), _CHUNK)
    with _told(), tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as archive:
        for count, member in enumerate(archive):
            if count >= MAX_MEMBERS:
                raise BadList(f"this archive has more than {MAX_MEMBERS:,} files")
            if member.isreg() and not member.issparse():
                file = archive.extractfile(member)
                assert file is not None  # a regular file has one
                yield member.name, _read(file)
        while stream.read(_CHUNK):  # to the end, where gzip's own checksum is
            pass


def _read(file: IO[bytes]) -> Iterator[bytes]:
    with _told():
        while chunk := file.read(_CHUNK):
            yield chunk


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What a damaged archive makes the library raise, as the one declared error."""
    try:
        yield
    except BadList:
        raise
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError, OSError) as error:
        raise BadList(f"this archive cannot be read: {error}") from None


def inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of a gzip file, or the same bytes when it is none; raises `BadList`."""
    source = iter(chunks)
    head = b""
    for chunk in source:
        head += chunk
        if len(head) >= len(GZIP):
            break
    if not head.startswith(GZIP):
        yield head
        yield from source
        return
    yield from gunzip(_and(head, source), MAX_BYTES)


def _and(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


class _Stream(io.RawIOBase):
    """Chunks as a file that is read once, forwards."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            if (chunk := next(self._chunks, None)) is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
