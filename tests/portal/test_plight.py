"""Why the portal cannot write, in words: each cause by its own name, with how it is mended."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from portal import plight as room
from portal.plight import look, plight


def sqlite_says(words: str) -> OperationalError:
    return OperationalError("UPDATE", {}, sqlite3.OperationalError(words))


@pytest.mark.parametrize(
    ("number", "what", "mend"),
    [
        (errno.EROFS, "the data folder is read-only", "Mount it writable again"),
        (errno.ENOSPC, "the disk is full", "make room"),
        (errno.EDQUOT, "the disk is full", "make room"),
        (errno.EACCES, "the data folder may not be written", "must own"),
        (errno.EPERM, "the data folder may not be written", "immutable"),
        (errno.EIO, "the disk fails", "another disk"),
    ],
)
def test_what_the_folder_says_goes_before_what_the_database_says(
    number: int, what: str, mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(room, "_write", refuse)
    url = make_url(f"sqlite:///{tmp_path}/portal.sqlite")
    found = plight(url, sqlite_says("disk I/O error"))
    assert found.what == what and mend in found.mend and str(tmp_path) in str(found)
    assert str(tmp_path) not in found.what  # everybody reads that


def test_where_the_folder_is_well_the_error_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make_url(f"sqlite:///{tmp_path}/portal.sqlite")
    assert plight(url, sqlite_says("database or disk is full")).what == "the disk is full"
    assert plight(url, sqlite3.OperationalError("disk I/O error")).what == "the disk fails"
    assert plight(url, sqlite_says("database is locked")).what == "the database is busy"
    assert "no such table" in str(plight(url, sqlite_says("no such table: grant")))
    assert "No such file" in str(plight(url, FileNotFoundError(errno.ENOENT, "No such file", "x")))
    (tmp_path / "portal.sqlite").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) == tmp_path)  # as after a command run as root
    assert "portal.sqlite" in plight(url, sqlite_says("attempt to write a readonly database")).mend
    assert list(tmp_path.iterdir()) == [tmp_path / "portal.sqlite"]  # nothing is left of the look


def test_a_database_on_a_server_does_not_answer() -> None:
    url = make_url("postgresql+psycopg://portal@db/portal")
    assert str(plight(url, sqlite_says("connection refused"))) == "the database does not answer: connection refused"
    look(url)


def test_a_folder_that_is_gone_is_found_before_anybody_decides(tmp_path: Path) -> None:
    look(make_url(f"sqlite:///{tmp_path}/portal.sqlite"))
    with pytest.raises(OSError, match="No such file"):
        look(make_url(f"sqlite:///{tmp_path}/gone/portal.sqlite"))
