"""The database: engines, and one transaction per web request.

Nobody else calls `commit`. A service adds and changes rows; the transaction that it was given ends them all together or
none of them. What must happen after the commit (waking a worker, nothing more) is left with `after_commit`: whatever a
hook would do is also found by its worker in the rows, so a hook that is lost with its process loses nothing.

SQLite: WAL, `synchronous=FULL`, foreign keys, `BEGIN IMMEDIATE` for writers (so that a read that a write depends on can
never be overtaken), a plain snapshot that refuses writes for readers, and one portal process per file. PostgreSQL: READ
COMMITTED and any number of portals; services compare-and-set, and the audit chain takes its own lock.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

log = logging.getLogger(__name__)

WAL_PAGES = 16_384  # 64 MB: past this the writer itself moves the log into the database; see `checkpoint`
BUSY_MS = 10_000  # how long a writer waits for another one before it gives up
_READS = "schoolgate_reads"  # execution option: this connection's transaction only reads
_HOOKS = "after_commit"
_WRITES = "writes"
_ENGINE = "engine"


class DatabaseInUse(RuntimeError):
    """Another portal process has this SQLite file. The message says which, and what to do."""


def connect(url: str) -> Engine:
    """Return the engine of a SQLAlchemy URL. Nothing is opened yet; a missing SQLite file is made on first use."""
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        if address.drivername in ("postgresql", "postgres"):
            address = address.set(drivername="postgresql+psycopg")
        return create_engine(address, pool_pre_ping=True, pool_size=10, max_overflow=20, hide_parameters=True)
    engine = create_engine(
        url,
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": BUSY_MS / 1000},
        pool_size=10,
        max_overflow=40,  # one per thread of the web server's pool
        hide_parameters=True,  # an error in the log has the statement, never the secrets and names that it was given
    )
    event.listen(engine, "connect", _open_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    _keep_private(connection)
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", f"busy_timeout = {BUSY_MS}"):
        connection.execute(f"PRAGMA {setting}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")


def _keep_private(connection: sqlite3.Connection) -> None:
    """Sessions and password hashes are for the owner alone, also in a folder that others may read.

    Done before the journal is made: SQLite gives it the mode of its database.
    """
    name = connection.execute("PRAGMA database_list").fetchone()[2]
    if not name:
        return
    file = Path(name)
    found = file.stat()
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        file.chmod(0o600)


def _begin_sqlite(connection: Connection) -> None:
    """The driver is told to begin nothing by itself (`isolation_level=None`): we say which kind of transaction."""
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reads else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def checkpoint(engine: Engine) -> None:
    """Move SQLite's log into the database while nobody waits for it; without this some decision's commit would do it,
    with two more waits for the disk. Does nothing on PostgreSQL. Readers and writers go on meanwhile."""
    if engine.dialect.name != "sqlite":
        return
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    finally:
        connection.close()


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One writing transaction: committed when the block ends, rolled back when it raises; then the hooks run.

    It begins with the first statement, and from then on holds SQLite's write lock: do slow things (hashing a password)
    before. Rows stay readable after the end.
    """
    with Session(engine, expire_on_commit=False) as session:
        session.info.update({_ENGINE: engine, _WRITES: True})
        yield session
        session.commit()
    _run_hooks(session)


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One snapshot that refuses every write. Readers never wait for writers, nor writers for readers."""
    options: dict[str, Any] = {_READS: True}
    if engine.dialect.name == "postgresql":
        options |= {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
    with Session(engine.execution_options(**options), expire_on_commit=False) as session:
        session.info[_ENGINE] = engine
        yield session
    _run_hooks(session)


def writes(session: Session) -> bool:
    """True in a `transaction`, False while `reading`."""
    return bool(session.info.get(_WRITES))


def engine_of(session: Session) -> Engine:
    """Return the engine that the session's `transaction` or `reading` was given."""
    engine = session.info[_ENGINE]
    assert isinstance(engine, Engine)
    return engine


def after_commit(session: Session, call: Callable[[], object]) -> None:
    """Run `call` once the session's transaction has ended well and its connection is back in the pool."""
    session.info.setdefault(_HOOKS, []).append(call)


def _run_hooks(session: Session) -> None:
    for call in session.info.pop(_HOOKS, []):
        try:
            call()
        except OperationalError as error:  # what it wanted to write can wait, too
            log.warning("a hook after a commit could not write: %s", error.orig)
        except Exception:  # the decision is in; a failed wake-up only means that the worker finds it a little later
            log.exception("a hook after a commit failed")


@contextmanager
def sole_pass(engine: Engine, lock: int) -> Iterator[bool]:
    """Yield True when this process alone may do the work that `lock` names, among every portal of the database.

    An advisory lock of PostgreSQL's, tried and not waited for: it goes with its connection, however the process ends.
    On SQLite there is one portal, and the answer is True.
    """
    if engine.dialect.name != "postgresql":
        yield True
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        mine = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": lock}))
        try:
            yield mine
        finally:
            if mine:
                connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": lock})


@contextmanager
def sole_portal(url: str) -> Iterator[None]:
    """Hold the SQLite file's portal lock for the block; raise `DatabaseInUse` when another process has it.

    The lock is the kernel's and goes with the process, however it ends. PostgreSQL and in-memory databases need none.
    """
    target = make_url(url)
    if target.get_backend_name() != "sqlite" or target.database in (None, "", ":memory:"):
        yield
        return
    path = Path(f"{target.database}.lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise DatabaseInUse(
                f"{target.database} is in use by {who}, which is a Schoolgate portal: stop that one first, or give this"
                " one a data folder of its own"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
