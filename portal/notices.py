"""What one portal tells the others over one PostgreSQL: `NOTIFY` in the transaction, `LISTEN` in a thread.

A notice says *that* something changed, never what: its listener reads the rows. It is sent when the transaction commits
and dropped when it does not. A lost notice costs at most a tick of the jobs. On SQLite there is one portal: nothing is
sent, and `Listener` does nothing.

    decision's transaction --pending--> every portal's jobs: one publishes, the others find the rows taken
    publication's          --version--> every portal's jobs: the newest version is offered on its own streams
    ack's, nack's          --delivery-> every portal's pages
    retirement's           --nodes----> every portal ends the streams of nodes that were cut off
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import StrEnum

import psycopg
from sqlalchemy import Engine, text
from sqlmodel import Session

log = logging.getLogger(__name__)

CHANNEL = "schoolgate"
LOOK = 1.0  # seconds between looks at whether to stop
AGAIN = 2.0  # seconds before another connection is tried


class Notice(StrEnum):
    PENDING = "pending"  # a decision waits for its publication
    VERSION = "version"  # a policy was published
    DELIVERY = "delivery"  # a node answered
    NODES = "nodes"  # a node was cut off


def tell(session: Session, notice: Notice) -> None:
    """Tell every portal of this database, once the session's transaction has committed."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_notify(:channel, :notice)"), {"channel": CHANNEL, "notice": notice.value})


class Listener:
    """Calls `heard(notice)` in its own thread; whatever `heard` raises ends only that call."""

    def __init__(self, engine: Engine, heard: Callable[[Notice], None]) -> None:
        self._address = ""
        if engine.dialect.name == "postgresql":
            plain = engine.url.set(drivername="postgresql")
            self._address = plain.render_as_string(hide_password=False)
        self._heard = heard
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="portal-notices", daemon=True)

    def start(self) -> None:
        if self._address:
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._address, autocommit=True) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._listen(connection)
            except psycopg.Error as error:  # the database went away: jobs go on by their tick
                log.warning("not told of other portals' changes at once: %s", str(error).strip())
                self._stopping.wait(AGAIN)

    def _listen(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        while not self._stopping.is_set():
            for one in connection.notifies(timeout=LOOK):
                try:
                    self._heard(Notice(one.payload))
                except ValueError:  # a newer portal's word
                    continue
                except Exception:
                    log.exception("a notice could not be followed")
