"""The thread that looks for what is wrong and sends the mail that waits. It never ends by itself.

What is wrong with the database itself (a full disk, a read-only one) can be written nowhere: it is mailed straight to
those who were last known to be administrators, once, and logged.
"""

from __future__ import annotations

import logging
import shutil
import socket
import threading
from collections.abc import Callable, Mapping

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from portal.config import PortalConfig
from portal.database import reading, transaction
from portal.models.alerts import AlertKind, MailRow
from portal.plight import UNUSABLE, plight
from portal.upkeep import alerts, mail
from portal.upkeep.alerts import Finding
from portal.upkeep.mail import BadMail, NotSent

log = logging.getLogger(__name__)

TICK = 2.0  # seconds between looks
AT_ONCE = 20  # mails of one pass
LOW_DISK = 200 * 2**20  # bytes free: time to tell while it can still be written down


class AlertJob:
    """`start` and `stop` once each. `look` and `send` are one pass each; `moved` is called when alerts changed."""

    def __init__(
        self,
        engine: Engine,
        config: PortalConfig,
        clock: Callable[[], float],
        own: Callable[[], Mapping[AlertKind, str]],
        moved: Callable[[], None] = lambda: None,
        deadline: float = mail.DEADLINE,
    ) -> None:
        """`own`: this process' troubles by kind. `deadline`: seconds for one mail."""
        self._engine = engine
        self._config = config
        self._clock = clock
        self._own = own
        self._moved = moved
        self._deadline = deadline
        self._portal = f"portal:{socket.gethostname()}:{config.port}"
        self._since: dict[tuple[str, str], float] = {}  # finding -> when it was first seen
        self._gone: dict[tuple[str, str], float] = {}  # open alert -> since when it is not found any more
        self._started: float | None = None
        self._to: tuple[str, ...] = ()  # who was to be told, when the database could last be read
        self._told = ""  # what was mailed past the database
        self._event = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="portal-alerts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._event.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        failing = ""
        while not self._stopping:
            try:
                self.look(self._clock())
                self.send(self._clock())
                failing = ""
            except UNUSABLE as error:  # a full or read-only disk, a database that went away
                if failing != (failing := str(plight(self._engine.url, error))):
                    log.error("mail that waits cannot be looked after: %s", failing)
            except Exception as error:  # the thread outlives everything
                if failing != (failing := f"{type(error).__name__}: {error}"):
                    log.exception("alerts could not be looked after")
            self._event.wait(TICK)

    # What is wrong

    def look(self, now: float) -> None:
        """Open and close alerts. Raises what the database raises, when there was nobody to be told of it."""
        try:
            self._reconcile(now)
            if self._told:
                log.warning("the database can be written again")
                self._told = ""
        except (SQLAlchemyError, OSError) as error:
            self._past_the_database(now, str(plight(self._engine.url, error)))

    def _reconcile(self, now: float) -> None:
        own = dict(self._own())
        if (free := shutil.disk_usage(self._config.data).free) < LOW_DISK:
            own[AlertKind.DISK] = f"{free // 2**20} MB are free where {self._config.data} lies."
        with reading(self._engine) as session:
            found = {one.key: one for one in alerts.present(session, now, self._listening(now), self._portal, own)}
            known = {(row.kind, row.subject): row for row in alerts.current(session)}
            to = self._to = tuple(alerts.recipients(session, self._config.mail))
        begun = [one for key, one in found.items() if self._lasts(one, now) and key not in known]
        self._since = {key: at for key, at in self._since.items() if key in found}
        ours = {key: row for key, row in known.items() if self._may_judge(row.subject)}
        over = [row for key, row in ours.items() if key not in found and self._calm(key, now)]
        self._gone = {key: at for key, at in self._gone.items() if key in known and key not in found}
        if not begun and not over:
            return
        with transaction(self._engine) as session:
            rows = [row for one in begun if (row := alerts.begin(session, now, one)) is not None]
            ended = [row for row in over if alerts.end(session, now, row)]
            if rows or ended:
                alerts.tell(session, now, rows, ended, to, self._config.url)
        for row in rows:
            log.warning("alert: %s: %s", row.title, row.detail)
        self._moved()

    def _listening(self, now: float) -> float:
        """Since when nodes could be heard here. A clock set back begins again."""
        self._started = now if self._started is None else min(self._started, now)
        return self._started

    def _may_judge(self, subject: str) -> bool:
        return subject == self._portal or not subject.startswith("portal:")

    def _lasts(self, finding: Finding, now: float) -> bool:
        since = min(self._since.setdefault(finding.key, now), now)  # the clock may have been set back
        self._since[finding.key] = since
        return now - since >= alerts.PATIENCE.get(finding.kind, 0)

    def _calm(self, key: tuple[str, str], now: float) -> bool:
        since = min(self._gone.setdefault(key, now), now)
        self._gone[key] = since
        return now - since >= alerts.CALM

    def _past_the_database(self, now: float, why: str) -> None:
        if self._told:
            return
        log.error("alerts cannot be written down: %s", why)
        self._told = why
        if (config := self._config.mail) is None:
            return
        body = f"The portal cannot write its database: {why}.\n\nResolvers go on enforcing what they have; decisions"
        body += f" are not kept and not published until this is mended.\n\nSee {self._config.url}/nodes\n"
        for at, address in enumerate(self._to):
            row = MailRow(
                message_id=f"<database.{int(now)}.{at}@{socket.gethostname() or 'schoolgate'}>",
                to=address,
                subject="Schoolgate: the portal cannot write its database",
                body=body,
                written_at=int(now),
            )
            try:
                mail.deliver(config, row, self._deadline)
            except (NotSent, BadMail) as error:
                log.error("nobody could be told by mail: %s", error)
                self._told = ""  # again, at the next look
                return

    # Mail

    def send(self, now: float) -> int:
        """Send what is due; return how many. A server that cannot be reached is tried with one mail, not with all."""
        config, count = self._config.mail, 0
        while config is not None and count < AT_ONCE and not self._stopping:
            with reading(self._engine) as session:
                if not mail.is_due(session, int(now)):
                    break
            with transaction(self._engine) as session:
                row = mail.claim(session, int(now))
            if row is None:
                break
            try:
                mail.deliver(config, row, self._deadline)
            except (NotSent, BadMail) as error:
                if row.error != str(error)[:500]:
                    log.error("a mail to %s was not sent: %s", row.to, error)
                with transaction(self._engine) as session:
                    mail.failed(session, row, int(now), str(error))
                if not getattr(error, "reached", False):
                    break
                continue
            with transaction(self._engine) as session:
                assert row.id is not None
                mail.sent(session, row.id, int(self._clock()))
            count += 1
        return count
