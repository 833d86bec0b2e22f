"""The audit page: who did what, when; whether the chain is whole, or where it breaks; the same as CSV."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from sqlmodel import Session, col, desc, func, select
from sqlmodel.sql.expression import SelectOfScalar
from starlette.responses import Response

from blocklists import policy_codec
from blocklists.policy import Hours
from portal import access, audit, moments
from portal.audit import Verification
from portal.models.audit import AuditEvent
from portal.nodes.publication import newest_version
from portal.pages import frame, times
from portal.pages.tables import as_csv
from portal.pages.web import Before, PersonVisit
from portal.pages.words import Word
from portal.places import district

router = APIRouter()

PER_PAGE = 200
MOST = 200_000  # rows of an export
VERIFY_AT_ONCE = 5_000  # a longer chain is verified when somebody asks for it

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_MOMENTS = ("from", "until")
_BROKEN = Word("Broken here", "shut", "alert")
_PLACES = {"request": "/requests", "grant": "/grants", "group": "/district/groups"}


@dataclass(frozen=True, slots=True)
class _Wanted:
    tag: str
    who: str
    subject: str

    @property
    def query(self) -> str:
        parts = {
            name: value for name, value in (("tag", self.tag), ("who", self.who), ("subject", self.subject)) if value
        }
        return f"?{urlencode(parts)}" if parts else ""

    def select(self) -> SelectOfScalar[AuditEvent]:
        found = select(AuditEvent).order_by(desc(col(AuditEvent.id)))
        if self.tag:
            found = found.where(col(AuditEvent.tag).startswith(self.tag, autoescape=True))
        if self.who:
            found = found.where(col(AuditEvent.actor_name).icontains(self.who, autoescape=True))
        if self.subject:
            found = found.where(col(AuditEvent.subject).startswith(self.subject, autoescape=True))
        return found


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    at: float
    actor: str
    actor_name: str
    tag: str
    said: str
    subject: str
    href: str
    detail: tuple[tuple[str, str], ...]
    broken: Word | None


@router.get("/audit")
def page(
    visit: PersonVisit, tag: str = "", who: str = "", subject: str = "", before: Before = None, verify: bool = False
) -> Response:
    _require(visit)
    wanted = _Wanted(tag.strip(), who.strip(), subject.strip())
    with visit.reading() as session:
        total = session.exec(select(func.count()).select_from(AuditEvent)).one()
        chain = _verified(session) if verify or total <= VERIFY_AT_ONCE else None
        broken = {problem.id for problem in chain.problems} if chain is not None else set()
        query = wanted.select().limit(PER_PAGE)
        if before is not None:
            query = query.where(col(AuditEvent.id) < before)
        zone = district.zone(session)
        rows = [_row(event, broken, zone) for event in session.exec(query)]
        more = {**dict(visit.request.query_params), "before": rows[-1].id} if len(rows) == PER_PAGE else None
        return visit.page(
            session,
            "audit.html",
            rows=rows,
            wanted=wanted,
            total=total,
            chain=chain,
            older=None if more is None else f"/audit?{urlencode(more)}",
        )


@router.get("/audit.csv")
def export(visit: PersonVisit, tag: str = "", who: str = "", subject: str = "") -> Response:
    _require(visit)
    with visit.reading() as session:
        events = session.exec(_Wanted(tag.strip(), who.strip(), subject.strip()).select().limit(MOST)).all()
        zone = district.zone(session)
    heading = ("row", "at", "actor", "name", "tag", "subject", "detail", "previous", "hash")
    rows = (
        (
            event.id,
            moments.iso(event.at_ms // 1000, zone),
            event.actor,
            event.actor_name,
            event.tag,
            event.subject,
            "; ".join(f"{key}={value}" for key, value in event.detail.items()),
            event.previous,
            event.hash,
        )
        for event in events
    )
    return as_csv("audit.csv", heading, rows)


def _require(visit: PersonVisit) -> None:
    access.require(access.may_audit(visit.actor), "The audit is for auditors and administrators.")


def _verified(session: Session) -> Verification:
    """The chain against the head that the newest published policy carries to every node."""
    newest = newest_version(session)
    head = None if newest is None else policy_codec.load(newest.body).audit_head
    return audit.verify(session, head)


def _row(event: AuditEvent, broken: set[int | None], zone: ZoneInfo) -> _Row:
    kind, _, key = event.subject.partition(":")
    return _Row(
        id=event.id or 0,
        at=event.at_ms / 1000,
        actor=event.actor,
        actor_name=event.actor_name,
        tag=event.tag,
        said=said(event.tag),
        subject=event.subject,
        href=f"{_PLACES[kind]}/{key}" if kind in _PLACES and key else "",
        detail=tuple((str(name), _shown(str(name), value, zone)) for name, value in event.detail.items()),
        broken=_BROKEN if event.id in broken else None,
    )


def said(tag: str) -> str:
    """Return a tag of three parts as words: `request.decision.approve` -> `approve (request decision)`."""
    thing, part, verb = tag.split(".")
    where = thing if part == thing else f"{thing} {part}"
    return f"{verb.replace('-', ' ')} ({where.replace('-', ' ')})"


def _shown(name: str, value: object, zone: ZoneInfo) -> str:
    """A recorded value under its name: a moment (seconds since 1970) on the district's clock, others in words."""
    if isinstance(value, int) and (name in _MOMENTS or name.endswith("_at")):
        return times.moment(value, zone)
    if name == "hours" and isinstance(value, list):
        return "; ".join(_hours(one) for one in value) or "the whole day"
    return _plain(value)


def _hours(one: object) -> str:
    """Recorded weekly hours as people say them; anything else as it is written."""
    try:
        return frame.hours(Hours(tuple(one["days"]), one["start"], one["end"]))  # type: ignore[index]
    except (KeyError, TypeError, IndexError):
        return _plain(one)


def _plain(value: object) -> str:
    """A recorded value in words; a digest by its beginning (the export holds it whole)."""
    if isinstance(value, list):
        return ", ".join(_plain(one) for one in value) or "none"
    if isinstance(value, dict):
        return " ".join(f"{name} {_plain(one)}" for name, one in value.items())
    text = "none" if value in (None, "") else str(value)
    return f"{text[:12]}…" if _DIGEST.match(text) else text
