"""Alerts: what is wrong now, and what of it an administrator is told, once when it begins and once when it ends.

    present      rows and this portal's own state -> findings; each kind has a patience before it is one
    begin, end   a finding becomes a row, and the row is closed; of several portals one does it
    tell         a mail of all that began or ended at one look, in the same transaction

Who is told: the addresses of `[portal.mail] to`, else every administrator with an account in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from portal.config import MailConfig
from portal.models.alerts import AlertKind, AlertRow, MailRow
from portal.models.lists import SourceRow
from portal.models.people import User
from portal.models.words import Role
from portal.nodes import delivery
from portal.nodes.delivery import NodeView
from portal.upkeep import mail

BEHIND = 60  # seconds without the newest policy
SILENT = 60  # seconds without a word
SKEW_MS = 30_000  # a clock this far off: windows and grants begin and end at wrong times
LIST_DAYS = 3  # without an answer of a list's keeper
DAY = 86_400
KEEP = 90 * DAY  # seconds that ended alerts are kept

# Seconds that a finding must last before it is told, where the finding itself says nothing of its age.
PATIENCE = {AlertKind.TROUBLE: 60, AlertKind.PUBLISHING: 15, AlertKind.LISTS: 60, AlertKind.CLOCK: 15}
CALM = 60  # seconds without the finding until it is over: what comes and goes is told once


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject`: `node:3`, `list:urlhaus`, `portal:…`; one alert of a kind is open for it at a time."""

    kind: AlertKind
    subject: str
    title: str
    detail: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.subject


def present(
    session: Session, now: float, since: float, portal: str, own: Mapping[AlertKind, str]
) -> tuple[Finding, ...]:
    """Return what is wrong now. `since`: when this portal began to listen; nobody could be heard before.

    `own`: troubles of this portal process, which `portal` names.
    """
    found = [one for view in delivery.node_views(session) for one in _of_node(view, now, since)]
    found += [Finding(kind, portal, _OWN[kind], detail) for kind, detail in own.items()]
    patience = int(now) - LIST_DAYS * DAY
    for row in session.exec(select(SourceRow).where(SourceRow.enabled, SourceRow.failures > 0)):
        if max(row.checked_at or 0, row.fetched_at or 0, row.created_at) < patience:
            title = f"The list {row.title or row.id} has not been fetched for {LIST_DAYS} days"
            found.append(Finding(AlertKind.LIST, f"list:{row.id}", title, row.error))
    return tuple(found)


_OWN = {
    AlertKind.PUBLISHING: "The newest decisions are not published",
    AlertKind.LISTS: "The lists cannot be looked after",
    AlertKind.DISK: "The portal's disk is nearly full",
}


def _of_node(view: NodeView, now: float, since: float) -> Iterable[Finding]:
    subject = f"node:{view.id}"
    silent = now - max(view.enrolled_at if view.last_seen_at is None else view.last_seen_at, since)
    if view.nack_version is not None and view.nack_version > (view.acked or 0):
        title = f"{view.name} refused policy version {view.nack_version}"
        yield Finding(AlertKind.REFUSED, subject, title, view.nack_reason)
    if silent > SILENT:
        detail = "Nothing has been heard of it for more than a minute. It may well go on enforcing."
        yield Finding(AlertKind.SILENT, subject, f"{view.name} is silent", detail)
    if view.behind_since is not None and now - max(view.behind_since, view.enrolled_at, since) > BEHIND:
        detail = f"It acknowledged {f'version {view.acked}' if view.acked else 'none yet'} and enforces what it has."
        yield Finding(AlertKind.BEHIND, subject, f"{view.name} is behind: it lacks the newest policy", detail)
    if abs(view.skew_ms or 0) > SKEW_MS and silent <= SILENT:
        seconds = (view.skew_ms or 0) // 1000
        detail = (
            f"{abs(seconds)} seconds {'ahead' if seconds > 0 else 'behind'}: grants begin and end at wrong times. "
            "If every resolver is, it is this portal's clock."
        )
        yield Finding(AlertKind.CLOCK, subject, f"The clock of {view.name} is wrong", detail)
    if view.status is not None and view.status.last_error and silent <= SILENT:
        yield Finding(AlertKind.TROUBLE, subject, f"{view.name} reports trouble", view.status.last_error)


def current(session: Session) -> tuple[AlertRow, ...]:
    """Return the alerts that are open, oldest first."""
    wanted = select(AlertRow).where(col(AlertRow.ended_at).is_(None))
    return tuple(session.exec(wanted.order_by(col(AlertRow.began_at), col(AlertRow.id))))


def recent(session: Session, most: int = 20) -> tuple[AlertRow, ...]:
    """Return those that ended last, newest first."""
    wanted = select(AlertRow).where(col(AlertRow.ended_at).is_not(None))
    return tuple(session.exec(wanted.order_by(col(AlertRow.ended_at).desc(), col(AlertRow.id).desc()).limit(most)))


def administrators(session: Session) -> tuple[str, ...]:
    """Return the addresses of every administrator whose account is in use."""
    people = session.exec(select(User).where(col(User.disabled_at).is_(None)).order_by(col(User.email)))
    return tuple(one.email for one in people if Role.ADMINISTRATOR in one.roles and not one.demo)


def recipients(session: Session, config: MailConfig | None) -> Sequence[str]:
    """Return who gets mail of alerts; nobody without a mail server."""
    if config is None:
        return ()
    return config.to or administrators(session)


def begin(session: Session, now: float, finding: Finding) -> AlertRow | None:
    """Open an alert; None when another portal did."""
    row = AlertRow(
        kind=finding.kind,
        subject=finding.subject,
        title=finding.title[:300],
        detail=finding.detail[:1000],
        began_at=int(now),
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return None
    return row


def end(session: Session, now: float, row: AlertRow) -> bool:
    """Close an alert; False when another portal did. Forgets what is long over."""
    over = (
        update(AlertRow)
        .where(col(AlertRow.id) == row.id, col(AlertRow.ended_at).is_(None))
        .values(ended_at=int(now))
        .execution_options(synchronize_session=False)
    )
    if session.connection().execute(over).rowcount != 1:
        return False
    session.execute(delete(AlertRow).where(col(AlertRow.ended_at) < int(now) - KEEP))
    session.execute(delete(MailRow).where(col(MailRow.due_at).is_(None), col(MailRow.written_at) < int(now) - KEEP))
    return True


def tell(
    session: Session, now: float, begun: Sequence[AlertRow], over: Sequence[AlertRow], to: Iterable[str], url: str
) -> None:
    """Leave one mail of what began and what is over; when that is one alert, its end answers its beginning."""
    parts = [f"{row.title}.\n{row.detail}".strip() for row in begun]
    parts += [f"Over after {_minutes(now - row.began_at)}: {row.title}." for row in over]
    changes = [*((row, "begins") for row in begun), *((row, "over") for row in over)]
    row, change = changes[0]
    subject = row.title if change == "begins" else f"over: {row.title}"
    key, answers = f"alert.{row.id}.{change}", ""
    if len(changes) > 1:
        subject = f"{len(begun)} alerts, {len(over)} over: {subject} …"
    elif change == "over":
        answers = f"alert.{row.id}.begins"
    body = "\n\n".join((*parts, f"See {url}/nodes\n"))
    mail.write(session, int(now), to, key, f"Schoolgate: {subject}", body, answers)


def _minutes(seconds: float) -> str:
    number = max(1, round(seconds / 60))
    return f"{number} minute{'s' if number != 1 else ''}"
