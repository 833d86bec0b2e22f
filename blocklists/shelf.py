"""The shelf: the last good copy of every list, on disk, whatever happened since.

A folder per list: the bytes under their digest, and `current.json`, which names them. Renaming that one file is the
whole change, so a reader or a crash meets the old copy or the new one and nothing between. What cannot be read counts
as absent: the next fetch brings it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from io import BufferedWriter
from pathlib import Path

from blocklists.formats.findings import BadList
from blocklists.parse import read_chunks

_CURRENT = "current.json"
_NEW = ".new-"  # begins the name of every file that is still being written
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Kept:
    """The last good copy of one list. Times are seconds since 1970: when its bytes came, when they were last confirmed.

    `etag` and `last_modified` are the server's own words for these bytes, sent back to ask for something newer.
    """

    id: str
    url: str
    digest: str
    size: int
    fetched_at: float
    checked_at: float
    etag: str = ""
    last_modified: str = ""

    def age(self, now: float) -> float:
        """Return the seconds since the source last said that this is its list; never negative."""
        return max(0.0, now - self.checked_at)


class Shelf:
    """The folder of all last good copies. One writer at a time for each list; any number of readers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def kept(self, id: str) -> Kept | None:
        """Return the last good copy of list `id`, or None when there is none that can be read."""
        folder = self._of(id)
        try:
            kept = _read(json.loads((folder / _CURRENT).read_bytes()), id)
            return kept if self.path(kept).stat().st_size == kept.size else None
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def path(self, kept: Kept) -> Path:
        return self._of(kept.id) / f"{kept.digest}.list"

    def read(self, kept: Kept) -> Iterator[bytes]:
        """Yield the bytes of a copy; raise `BadList` after the last when they are not what was kept, or `OSError`."""
        digest = hashlib.sha256()
        for chunk in read_chunks(self.path(kept)):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != kept.digest:
            raise BadList("the copy on disk is damaged; fetch the list again")

    @contextlib.contextmanager
    def writing(self, id: str) -> Iterator[tuple[Path, BufferedWriter]]:
        """Give a new file for list `id` and its path. Unless `keep` takes it before the block ends, nothing is left.

        Raises `OSError`.
        """
        folder = self._of(id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=_NEW, dir=folder)
        path = Path(name)
        try:
            with os.fdopen(number, "wb") as file:
                yield path, file
        finally:
            path.unlink(missing_ok=True)

    def keep(self, path: Path, kept: Kept) -> Kept:
        """Make the file at `path`, written and flushed, the last good copy, and return `kept`. Raises `OSError`."""
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(self.path(kept))
        self._write(kept)
        for old in self._of(kept.id).glob("*.list"):
            if old != self.path(kept):
                old.unlink(missing_ok=True)
        return kept

    def confirm(self, kept: Kept, now: float, etag: str = "", last_modified: str = "") -> Kept:
        """Note that the source still says the same at `now`; return the copy with its new times. Raises `OSError`."""
        confirmed = replace(
            kept, checked_at=now, etag=etag or kept.etag, last_modified=last_modified or kept.last_modified
        )
        self._write(confirmed)
        return confirmed

    def forget(self, id: str) -> None:
        """Remove the copy of list `id`, if there is one. Raises `OSError`."""
        folder = self._of(id)
        (folder / _CURRENT).unlink(missing_ok=True)
        for path in [*folder.glob("*.list"), *folder.glob(f"{_NEW}*")]:
            path.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()

    def _of(self, id: str) -> Path:
        if not _ID.match(id):
            raise ValueError(f"{id!r} cannot be the id of a list")
        return self._folder / id

    def _write(self, kept: Kept) -> None:
        folder = self._of(kept.id)
        number, name = tempfile.mkstemp(prefix=_NEW, dir=folder)
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                json.dump(asdict(kept), file, indent=1)
                file.flush()
                os.fsync(number)
            Path(name).replace(folder / _CURRENT)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _read(plain: object, id: str) -> Kept:
    """Raises `ValueError` or `TypeError` for what `_write` did not write."""
    if not isinstance(plain, dict):
        raise TypeError("not an object")
    kept = Kept(**plain)
    texts = (kept.id, kept.url, kept.digest, kept.etag, kept.last_modified)
    if not all(isinstance(text, str) for text in texts) or kept.id != id or not _DIGEST.match(kept.digest):
        raise ValueError("not this list's")
    for number in (kept.size, kept.fetched_at, kept.checked_at):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise TypeError("not a number")
    return kept
