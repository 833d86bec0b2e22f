"""Grants: scope, windows, the end of them. What an approval creates and a revocation ends.

A draft holds what a person typed; `check` turns it into a `Scope` or says everything that is wrong with it at once.
Moments are typed in the district's zone; what is stored are seconds since 1970. A request's grant always ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy
from sqlalchemy import ColumnElement, Text, cast, desc, or_, update
from sqlmodel import Session, col, select

from blocklists import names, windows
from blocklists.policy import EVERY_SITE, Audience, Authority, AuthorityKind, Entry, Grant, Hours, Match, Window
from portal import access, moments
from portal.access import Actor
from portal.catalogue import Catalogue
from portal.errors import Conflict, FieldError, NotFound
from portal.fields import Mistakes
from portal.models.district import Site
from portal.models.levers import GrantRow
from portal.models.people import User
from portal.models.requests import Request
from portal.outbox import record_change
from portal.places import district

MAX_ENTRIES = 200
GRANTS_REMEMBERED = 32_768  # about 1.5 kB each
MAX_DAYS = 400  # no request opens anything for longer than a school year
_DAYS = 7


@dataclass(frozen=True, slots=True)
class EntryDraft:
    name: str
    match: str = "subtree"  # subtree | exact | via


@dataclass(frozen=True, slots=True)
class HoursDraft:
    """Weekly hours: `days` of 0 (Monday) to 6, from `start` until `end` as `HH:MM`; `24:00` is the end of the day."""

    days: tuple[int, ...]
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class GrantDraft:
    """What a reviewer grants. `starts_at` and `ends_at`: `2026-03-04` (a day: from its first minute; as an end,
    through its last), `2026-03-04T08:00` in the district's zone, or with an offset (RFC 3339). `sites`: ids, or `*`."""

    entries: tuple[EntryDraft, ...]
    sites: tuple[str, ...]
    audiences: tuple[str, ...]
    starts_at: str
    ends_at: str
    hours: tuple[HoursDraft, ...] = ()
    lifts_rewrites: bool = False  # safe search and YouTube's mode do not touch its names


@dataclass(frozen=True, slots=True)
class Scope:
    """A draft that was found in order."""

    entries: tuple[Entry, ...]
    sites: tuple[str, ...]
    audiences: tuple[Audience, ...]
    window: Window
    lifts_rewrites: bool = False


class GrantStatus(StrEnum):
    """By the portal's clock. "In force" is more: every node has acknowledged (see delivery)."""

    SCHEDULED = "scheduled"
    IN_WINDOW = "in window"
    ENDED = "ended"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class GrantView:
    id: int
    authority: AuthorityKind
    request_id: int | None
    scope: Scope
    status: GrantStatus
    open_now: bool  # in its window, weekly hours considered
    reason: str
    created_by: str  # a person's name
    created_at: int
    revoked_by: str | None
    revoked_at: int | None
    revoke_reason: str
    in_version: int | None

    @property
    def register(self) -> str:
        """`register 2026-27: NAME`, when an entry of the register of platforms opened it; else nothing."""
        return self.reason if self.authority is AuthorityKind.REGISTER else ""


def check(
    session: Session, now: float, draft: GrantDraft, catalogue: Catalogue, where: str = ""
) -> tuple[Scope | None, tuple[FieldError, ...]]:
    """Return the scope, or every mistake of the draft; `where` goes before each field's path."""
    mistakes = Mistakes()
    zone = district.zone(session)
    entries = _entries(mistakes, f"{where}entries", draft.entries, catalogue)
    sites = read_sites(session, mistakes, f"{where}sites", draft.sites)
    audiences = mistakes.words(f"{where}audiences", draft.audiences, Audience, "say who: students, staff or guests")
    window = _window(mistakes, where, draft, zone, now)
    if mistakes.errors or window is None:
        return None, tuple(mistakes.errors)
    return Scope(entries, sites, audiences, window, draft.lifts_rewrites), ()


def read_sites(session: Session, mistakes: Mistakes, field: str, typed: tuple[str, ...]) -> tuple[str, ...]:
    """Return known site ids, or `*` alone; note what is wrong."""
    if EVERY_SITE in typed:
        return (EVERY_SITE,)
    if not typed:
        mistakes.add(field, "name at least one site")
    return mistakes.known(field, typed, set(session.exec(select(Site.id))), "site")


def _entries(mistakes: Mistakes, field: str, drafts: tuple[EntryDraft, ...], catalogue: Catalogue) -> tuple[Entry, ...]:
    found: dict[Entry, None] = {}
    if len(drafts) > MAX_ENTRIES:
        mistakes.add(field, f"a grant has at most {MAX_ENTRIES} names; this has {len(drafts)}")
    for at, draft in enumerate(drafts[:MAX_ENTRIES]):
        match = mistakes.word(f"{field}[{at}].match", draft.match, Match, Match.EXACT)
        try:
            name = names.grantable(names.understand(draft.name).name)
        except names.BadName as error:
            mistakes.add(f"{field}[{at}].name", error.reason)
            continue
        if (category := catalogue.locked(name)) is not None:
            what = f"{name} is in “{category}”, which is locked by law or for safety; no request opens it"
            mistakes.add(f"{field}[{at}].name", what)
        found[Entry(name, match)] = None
    if all(entry.match is Match.VIA for entry in found) and not any(
        one.field.startswith(field) for one in mistakes.errors
    ):
        mistakes.add(field, "name at least one site that is opened when it is asked for")
    return tuple(found)


def _window(mistakes: Mistakes, where: str, draft: GrantDraft, zone: ZoneInfo, now: float) -> Window | None:
    starts_at = _moment(mistakes, f"{where}starts_at", draft.starts_at, zone, end=False)
    ends_at = _moment(mistakes, f"{where}ends_at", draft.ends_at, zone, end=True)
    hours = tuple(
        one
        for at, typed in enumerate(draft.hours)
        if (one := _hours(mistakes, f"{where}hours[{at}]", typed)) is not None
    )
    if starts_at is None or ends_at is None:
        return None
    if ends_at <= starts_at:
        mistakes.add(f"{where}ends_at", "this is not after the start")
    elif ends_at <= now:
        mistakes.add(f"{where}ends_at", "this is over already; nothing would be opened")
    elif ends_at - starts_at > MAX_DAYS * 86400:
        mistakes.add(f"{where}ends_at", f"a grant lasts at most {MAX_DAYS} days; it can be renewed")
    return Window(starts_at, ends_at, hours)


def _moment(mistakes: Mistakes, field: str, text: str, zone: ZoneInfo, end: bool) -> int | None:
    if not text.strip():
        mistakes.add(field, "say until when: every grant ends" if end else "say from when")
        return None
    try:
        return moments.parse(text, zone, end)
    except moments.BadMoment as error:
        mistakes.add(field, str(error))
        return None


def _hours(mistakes: Mistakes, field: str, draft: HoursDraft) -> Hours | None:
    try:
        start, end = moments.clock(draft.start), moments.clock(draft.end)
    except moments.BadMoment as error:
        mistakes.add(field, str(error))
        return None
    days = tuple(sorted(set(draft.days)))
    if not days or not all(0 <= day < _DAYS for day in days):
        mistakes.add(f"{field}.days", "name at least one day, 0 (Monday) to 6 (Sunday)")
        return None
    if start >= end:
        mistakes.add(field, "hours run from an earlier to a later time of one day")
        return None
    return Hours(days, start, end)


def create_for_request(
    session: Session, actor: Actor, now: float, request: Request, scope: Scope, reason: str
) -> GrantRow:
    """Create the grant that an approval gives. The caller records and publishes."""
    assert actor.user_id is not None
    row = GrantRow(
        authority=AuthorityKind.REQUEST,
        request_id=request.id,
        entries=[{"name": entry.name, "match": str(entry.match)} for entry in scope.entries],
        sites=list(scope.sites),
        audiences=[str(audience) for audience in scope.audiences],
        starts_at=scope.window.starts_at,
        ends_at=scope.window.ends_at,
        hours=[{"days": list(one.days), "start": one.start, "end": one.end} for one in scope.window.hours],
        lifts_rewrites=scope.lifts_rewrites,
        reason=reason,
        created_by=actor.user_id,
        created_at=int(now),
    )
    session.add(row)
    session.flush()
    return row


def revoke(session: Session, actor: Actor, now: float, grant_id: int, reason: str) -> GrantView:
    """End a grant now: audited, and published at once. Raises `Conflict` when it is over already."""
    access.require(access.may_revoke(actor), "Only a reviewer or an administrator revokes a grant.")
    row = session.get(GrantRow, grant_id)
    if row is None:
        raise NotFound(f"There is no grant {grant_id}.")
    mistakes = Mistakes()
    reason = mistakes.text("reason", reason, "say why; the requester reads it", 2000)
    mistakes.stop()
    zone = district.zone(session)
    if row.revoked_at is None and row.ends_at is not None and row.ends_at <= now:
        raise Conflict(f"Grant {grant_id} ended {moments.words(row.ends_at, now, zone)}; there is nothing to revoke.")
    mine = update(GrantRow).where(col(GrantRow.id) == grant_id, col(GrantRow.revoked_at).is_(None))
    values = {"revoked_at": int(now), "revoked_by": actor.user_id, "revoke_reason": reason, "in_version": None}
    won = session.execute(mine.values(**values).execution_options(synchronize_session=False))
    session.refresh(row)
    if getattr(won, "rowcount", 0) != 1:
        who = session.get(User, row.revoked_by)
        at = moments.words(row.revoked_at or 0, now, zone)
        raise Conflict(f"{who.name if who else 'Somebody'} revoked this {at}; reload to see it.")
    detail = {"request": row.request_id, "names": [entry["name"] for entry in row.entries]}
    record_change(session, actor, now, "grant.grant.revoke", f"grant:{grant_id}", detail)
    return _views(session, now, [row])[0]


def get(session: Session, actor: Actor, now: float, grant_id: int) -> GrantView:
    access.require(access.may_see_grants(actor), "Sign in to see grants.")
    row = session.get(GrantRow, grant_id)
    if row is None:
        raise NotFound(f"There is no grant {grant_id}.")
    return _views(session, now, [row])[0]


def find(
    session: Session,
    actor: Actor,
    now: float,
    status: GrantStatus | None = None,
    request_ids: Iterable[int] | None = None,
    before: int | None = None,
    limit: int = 200,
) -> tuple[GrantView, ...]:
    """Return grants, newest first; `before` a grant's number, to page on."""
    access.require(access.may_see_grants(actor), "Sign in to see grants.")
    query = select(GrantRow).order_by(desc(col(GrantRow.id))).limit(limit)
    if status is not None:
        query = query.where(*_having(status, int(now)))
    if request_ids is not None:
        query = query.where(col(GrantRow.request_id).in_(list(request_ids)))
    if before is not None:
        query = query.where(col(GrantRow.id) < before)
    return _views(session, now, session.exec(query).all())


def _having(status: GrantStatus, now: int) -> list[ColumnElement[bool]]:
    revoked, starts, ends = col(GrantRow.revoked_at), col(GrantRow.starts_at), col(GrantRow.ends_at)
    if status is GrantStatus.REVOKED:
        return [revoked.is_not(None)]
    if status is GrantStatus.ENDED:
        return [revoked.is_(None), ends <= now]
    if status is GrantStatus.SCHEDULED:
        return [revoked.is_(None), starts > now]
    return [revoked.is_(None), starts <= now, or_(ends.is_(None), ends > now)]


def live(session: Session, now: float) -> tuple[Grant, ...]:
    """Return what belongs into a policy made now: every grant neither revoked nor ended, by number.

    Plain columns, not rows: of thousands of grants all but one were read for the version before, and are remembered
    by what their columns hold.
    """
    plain = (GrantRow.id, GrantRow.request_id, GrantRow.starts_at, GrantRow.ends_at, GrantRow.lifts_rewrites)
    texts = (GrantRow.authority, GrantRow.entries, GrantRow.sites, GrantRow.audiences, GrantRow.hours)
    query = sqlalchemy.select(*map(col, plain), *(cast(col(one), Text) for one in texts))
    query = query.where(col(GrantRow.revoked_at).is_(None)).order_by(col(GrantRow.id))
    query = query.where(or_(col(GrantRow.ends_at).is_(None), col(GrantRow.ends_at) > int(now)))
    session.flush()
    return tuple([_policy_grant(*row) for row in session.connection().execute(query)])


@lru_cache(GRANTS_REMEMBERED)
def _policy_grant(
    number: int,
    request_id: int | None,
    starts_at: int,
    ends_at: int | None,
    lifts_rewrites: bool,
    authority_kind: str,
    entries: str,
    sites: str,
    audiences: str,
    hours: str,
) -> Grant:
    """Columns of one row, the JSON ones as text, as the policy's grant."""
    kind = AuthorityKind(authority_kind)
    authority = Authority(kind, request_id if kind is AuthorityKind.REQUEST and request_id is not None else number)
    lists = (json.loads(entries), json.loads(sites), json.loads(audiences), json.loads(hours))
    scope = _scope(*lists, starts_at, ends_at, lifts_rewrites)
    return Grant(number, authority, scope.entries, scope.sites, scope.audiences, scope.window, scope.lifts_rewrites)


def _scope(
    entries: list[dict[str, str]],
    sites: list[str],
    audiences: list[str],
    hours: list[dict[str, Any]],
    starts_at: int,
    ends_at: int | None,
    lifts_rewrites: bool,
) -> Scope:
    """What a row's columns say, as values."""
    return Scope(
        entries=tuple(Entry(entry["name"], Match(entry["match"])) for entry in entries),
        sites=tuple(sites),
        audiences=tuple(Audience(audience) for audience in audiences),
        window=Window(starts_at, ends_at, tuple(Hours(tuple(one["days"]), one["start"], one["end"]) for one in hours)),
        lifts_rewrites=lifts_rewrites,
    )


def _status(row: GrantRow, now: float) -> GrantStatus:
    if row.revoked_at is not None:
        return GrantStatus.REVOKED
    if row.ends_at is not None and row.ends_at <= now:
        return GrantStatus.ENDED
    return GrantStatus.SCHEDULED if row.starts_at > now else GrantStatus.IN_WINDOW


def _views(session: Session, now: float, rows: Iterable[GrantRow]) -> tuple[GrantView, ...]:
    rows = list(rows)
    if not rows:
        return ()
    zone = district.zone(session)
    wanted = {row.created_by for row in rows} | {row.revoked_by for row in rows if row.revoked_by is not None}
    people = {user.id: user.name for user in session.exec(select(User).where(col(User.id).in_(wanted)))}
    found: list[GrantView] = []
    for row in rows:
        assert row.id is not None
        scope = _scope(row.entries, row.sites, row.audiences, row.hours, row.starts_at, row.ends_at, row.lifts_rewrites)
        status = _status(row, now)
        view = GrantView(
            id=row.id,
            authority=row.authority,
            request_id=row.request_id,
            scope=scope,
            status=status,
            open_now=status is GrantStatus.IN_WINDOW and windows.is_open(scope.window, now, zone),
            reason=row.reason,
            created_by=people[row.created_by],
            created_at=row.created_at,
            revoked_by=None if row.revoked_by is None else people[row.revoked_by],
            revoked_at=row.revoked_at,
            revoke_reason=row.revoke_reason,
            in_version=row.in_version,
        )
        found.append(view)
    return tuple(found)
