"""What keeps the portal from writing, in words: what is wrong, where, and how an administrator mends it.

SQLite calls a folder that has become read-only "disk I/O error", and three different things "a readonly database". So
when something could not be written, the folder itself is asked: a file is made there and removed. Nothing here ever
touches the database.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

# What a full or read-only disk and a database that went away raise, from SQLAlchemy, the driver and the system.
UNUSABLE = (OperationalError, sqlite3.OperationalError, OSError)

_FAILS = frozenset({errno.EIO, errno.EUCLEAN, errno.ESTALE})
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Plight:
    """Two clauses: `what` is for everybody, without a path; `mend` for who runs the machine."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}: {self.mend}"


def folder_of(url: URL) -> Path | None:
    """Return the folder of a SQLite database's file; None for one in memory or on a server."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database)).parent


def look(url: URL) -> None:
    """Raise the `OSError` of a database's folder that cannot be written now. Costs one system call while it can."""
    folder = folder_of(url)
    if folder is not None and not os.access(folder, os.W_OK | os.X_OK):
        _write(folder)


def plight(url: URL, error: Exception) -> Plight:
    """Say why the database at `url` could not be used, from the error that it gave and from its folder as it is now."""
    said = str(getattr(error, "orig", None) or error)
    folder = folder_of(url)
    if folder is None and not isinstance(error, OSError):
        return Plight("the database does not answer", said.strip() or type(error).__name__)
    if folder is None:
        return Plight("a file cannot be used", said)
    number = error.errno if isinstance(error, OSError) and error.errno in _NO_ROOM else None
    try:
        _write(folder)
    except OSError as found:
        number = found.errno
    if number == errno.EROFS:
        mend = (
            f"{folder} is on a disk that takes no changes. Mount it writable again; if the system made it so after an"
        )
        return Plight("the data folder is read-only", f"{mend} error (see dmesg), check the disk before")
    if number in _NO_ROOM or "disk is full" in said:
        return Plight("the disk is full", f"make room where {folder} lies")
    if number in _FORBIDDEN:
        mend = f"user {os.geteuid()}, whom the portal runs as, must own {folder}, and nothing in it may be immutable"
        return Plight("the data folder may not be written", f"{mend} (ls -ld, lsattr)")
    if number in _FAILS:
        return Plight("the disk fails", f"{folder} gives errors (see dmesg); put the data on another disk")
    if isinstance(error, OSError):
        return Plight("a file cannot be used", said)
    for file in sorted(folder.glob(f"{Path(str(url.database)).name}*")):
        if not os.access(file, os.W_OK):
            mend = f"user {os.geteuid()}, whom the portal runs as, may not write {file} (ls -l, lsattr)"
            return Plight("a file of the database may not be written", mend)
    if "disk I/O error" in said:
        return Plight("the disk fails", f"{folder} gives errors (see dmesg); put the data on another disk")
    if isinstance(error, DBAPIError | sqlite3.Error) and "locked" in said:
        return Plight("the database is busy", f"another command has been writing {url.database} for too long")
    return Plight("the database cannot be used", said)


def _write(folder: Path) -> None:
    """Make a file there and remove it. Raises `OSError`."""
    path = folder / f".write-{secrets.token_hex(8)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, bytes(4096))
        os.fsync(descriptor)  # a full disk may say so only now
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
