"""Operational exceptions: doors that stand open without a request, each with kind, author, reason and review date.

An exception is a grant whose authority is itself; it is counted and shown beside the requests. An old allowlist comes
in as *one* exception; lines that cannot be opened (locked categories, text that is no name) are reported and stay shut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import Session, col, func, or_, select

from blocklists import names
from blocklists.policy import Audience, AuthorityKind, Entry, Match
from portal import access, audit
from portal.access import Actor
from portal.catalogue import Catalogue
from portal.doors import grants, use
from portal.errors import FieldError, Invalid, NotFound
from portal.fields import Mistakes
from portal.models.levers import GrantRow
from portal.models.people import User
from portal.models.rules import ExceptionKind, OperationalException
from portal.outbox import record_change
from portal.places import district

MAX_IMPORTED = 5_000
_MAX_REVIEW_DAYS = 366
_ONLY_ADMINISTRATORS = "Only an administrator makes an operational exception."


@dataclass(frozen=True, slots=True)
class ExceptionDraft:
    """`review_on`: ISO date, at most a year ahead. `names`: each opened with all below it."""

    kind: str
    names: tuple[str, ...]
    sites: tuple[str, ...]
    audiences: tuple[str, ...]
    reason: str
    review_on: str


@dataclass(frozen=True, slots=True)
class ExceptionView:
    """`overdue`: its review date has passed and it is still open."""

    id: int  # the grant's number
    kind: ExceptionKind
    entries: tuple[Entry, ...]
    sites: tuple[str, ...]
    audiences: tuple[Audience, ...]
    reason: str
    review_on: str
    overdue: bool
    created_by: str
    created_at: int
    ended_at: int | None
    unused: tuple[str, ...] | None  # names of an imported one that nobody asked for in a month; None: not known yet


@dataclass(frozen=True, slots=True)
class Refusal:
    line: int
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Allowlist:
    """A read file: the names in order, each once, and the lines that cannot be opened."""

    names: tuple[str, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """Open doors by their authority."""

    by_request: int
    by_register: int
    by_exception: int
    overdue: int


def create(
    session: Session, actor: Actor, now: float, draft: ExceptionDraft, catalogue: Catalogue, most: int = 200
) -> ExceptionView:
    access.require(access.may_administer(actor) and actor.is_person, _ONLY_ADMINISTRATORS)
    assert actor.user_id is not None
    mistakes = Mistakes()
    kind = mistakes.word("kind", draft.kind, ExceptionKind, ExceptionKind.SAFETY)
    found: dict[str, None] = {}
    for at, text in enumerate(draft.names[:most]):
        try:
            found[_openable(text, catalogue)] = None
        except names.BadName as error:
            mistakes.add(f"names[{at}]", error.reason)
    if not draft.names:
        mistakes.add("names", "name at least one site")
    if len(draft.names) > most:
        mistakes.add("names", f"an exception of this kind has at most {most} names; this has {len(draft.names)}")
    sites = grants.read_sites(session, mistakes, "sites", draft.sites)
    audiences = mistakes.words("audiences", draft.audiences, Audience, "say who: students, staff or guests")
    reason = mistakes.text("reason", draft.reason, "say why this is open without a request", 2000)
    review = _review(session, mistakes, now, draft.review_on)
    mistakes.stop()
    row = GrantRow(
        authority=AuthorityKind.EXCEPTION,
        entries=[{"name": one, "match": str(Match.SUBTREE)} for one in found],
        sites=list(sites),
        audiences=[str(one) for one in audiences],
        starts_at=int(now),
        ends_at=None,
        hours=[],
        reason=reason,
        created_by=actor.user_id,
        created_at=int(now),
    )
    session.add(row)
    session.flush()
    assert row.id is not None
    session.add(OperationalException(grant_id=row.id, kind=kind, review_on=review))
    session.flush()
    detail: audit.Detail = {"kind": str(kind), "names": list(found)[:20], "count": len(found), "review_on": review}
    record_change(session, actor, now, "lever.exception.create", f"grant:{row.id}", detail)
    return get(session, now, row.id)


def _openable(text: str, catalogue: Catalogue) -> str:
    """Return the name; raises `BadName` for what no exception opens."""
    name = names.grantable(names.understand(text).name)
    if (category := catalogue.locked(name)) is not None:
        raise names.BadName(text, f"{name} is in “{category}”, which is locked by law or for safety")
    return name


def _review(session: Session, mistakes: Mistakes, now: float, typed: str) -> str:
    review = mistakes.date("review_on", typed)
    today = district.today(session, now)
    if review is not None and not today < review <= today + timedelta(days=_MAX_REVIEW_DAYS):
        mistakes.add("review_on", "choose a day after today, at most a year ahead")
    return "" if review is None else review.isoformat()


def read_allowlist(text: str, catalogue: Catalogue) -> Allowlist:
    """Read an old allowlist: a name or address on a line, `#` begins a comment, `*.` before a name is understood."""
    found: dict[str, None] = {}
    refused: list[Refusal] = []
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        written = line.partition("#")[0].strip().strip(",;").removeprefix("*.").removeprefix(".")
        if not written:
            continue
        try:
            found[_openable(written, catalogue)] = None
        except names.BadName as error:
            refused.append(Refusal(number, written[:200], error.reason))
    return Allowlist(tuple(found), tuple(refused))


def import_allowlist(
    session: Session, actor: Actor, now: float, text: str, draft: ExceptionDraft, catalogue: Catalogue
) -> ExceptionView:
    """Open what a file names, as one exception; `draft.names` is not looked at. Refused lines stay closed."""
    found = read_allowlist(text, catalogue)
    if not found.names:
        raise Invalid("Nothing was imported.", (FieldError("file", "the file names nothing that can be opened"),))
    whole = ExceptionDraft(
        str(ExceptionKind.IMPORTED), found.names, draft.sites, draft.audiences, draft.reason, draft.review_on
    )
    return create(session, actor, now, whole, catalogue, MAX_IMPORTED)


def review(session: Session, actor: Actor, now: float, grant_id: int, review_on: str) -> ExceptionView:
    """It was looked at and stays open: the next review date."""
    access.require(access.may_administer(actor) and actor.is_person, _ONLY_ADMINISTRATORS)
    row = session.get(OperationalException, grant_id)
    if row is None:
        raise NotFound(f"There is no operational exception {grant_id}.")
    mistakes = Mistakes()
    day = _review(session, mistakes, now, review_on)
    mistakes.stop()
    detail: audit.Detail = {"review_on": [row.review_on, day]}
    row.review_on = day
    session.add(row)
    audit.record(session, actor, int(now * 1000), "lever.exception.review", f"grant:{grant_id}", detail)
    return get(session, now, grant_id)


def narrow(session: Session, actor: Actor, now: float, grant_id: int) -> ExceptionView:
    """Close the names of an imported exception that nobody asked for in a month. Raises `Invalid` when there is none,
    or when there is no other: that one is revoked as a whole."""
    access.require(access.may_administer(actor) and actor.is_person, _ONLY_ADMINISTRATORS)
    gone = get(session, now, grant_id).unused or ()
    row = session.get_one(GrantRow, grant_id)
    kept = [one for one in row.entries if one["name"] not in gone]
    if not gone:
        raise Invalid("Nothing is closed: every name was asked for in the last month, or it is not known yet.")
    if not kept:
        raise Invalid("Nobody asked for any of these names: revoke the grant as a whole.")
    row.entries, row.in_version = kept, None
    session.add(row)
    detail: audit.Detail = {"closed": list(gone)[:20], "count": len(gone), "left": len(kept)}
    record_change(session, actor, now, "lever.exception.narrow", f"grant:{grant_id}", detail)
    return get(session, now, grant_id)


def get(session: Session, now: float, grant_id: int) -> ExceptionView:
    row = session.get(OperationalException, grant_id)
    grant = session.get(GrantRow, grant_id)
    if row is None or grant is None:
        raise NotFound(f"There is no operational exception {grant_id}.")
    return _views(session, now, [(row, grant)])[0]


def find(session: Session, now: float, closed: bool = False, limit: int = 200) -> tuple[ExceptionView, ...]:
    """Return the exceptions that are open (with `closed`: all), those to be reviewed first at the top."""
    query = select(OperationalException, GrantRow).where(OperationalException.grant_id == GrantRow.id)
    if not closed:
        query = query.where(col(GrantRow.revoked_at).is_(None))
    ordered = query.order_by(col(OperationalException.review_on), col(OperationalException.grant_id)).limit(limit)
    return _views(session, now, session.exec(ordered).all())


def tally(session: Session, now: float) -> Tally:
    """Count the open doors by authority. Every exception counts, also one that a mode opened."""
    still = or_(col(GrantRow.ends_at).is_(None), col(GrantRow.ends_at) > int(now))
    counted = session.exec(
        select(GrantRow.authority, func.count())
        .where(col(GrantRow.revoked_at).is_(None), still)
        .group_by(col(GrantRow.authority))
    )
    by = {AuthorityKind(kind): number for kind, number in counted}
    today = district.today(session, now).isoformat()
    late = select(func.count()).select_from(OperationalException).join(GrantRow)
    late = late.where(col(GrantRow.revoked_at).is_(None), col(OperationalException.review_on) <= today)
    return Tally(
        by.get(AuthorityKind.REQUEST, 0),
        by.get(AuthorityKind.REGISTER, 0),
        by.get(AuthorityKind.EXCEPTION, 0),
        session.exec(late).one(),
    )


def _views(
    session: Session, now: float, rows: Sequence[tuple[OperationalException, GrantRow]]
) -> tuple[ExceptionView, ...]:
    wanted = {grant.created_by for _, grant in rows}
    people = {user.id: user.name for user in session.exec(select(User).where(col(User.id).in_(wanted)))}
    today = district.today(session, now).isoformat() if rows else ""
    imported = [grant for row, grant in rows if row.kind is ExceptionKind.IMPORTED and grant.revoked_at is None]
    unused = use.unused(session, now, imported)
    return tuple(
        ExceptionView(
            id=row.grant_id,
            kind=row.kind,
            entries=tuple(Entry(one["name"], Match(one["match"])) for one in grant.entries),
            sites=tuple(grant.sites),
            audiences=tuple(Audience(one) for one in grant.audiences),
            reason=grant.reason,
            review_on=row.review_on,
            overdue=grant.revoked_at is None and row.review_on <= today,
            created_by=people.get(grant.created_by, ""),
            created_at=grant.created_at,
            ended_at=grant.revoked_at,
            unused=unused.get(row.grant_id),
        )
        for row, grant in rows
    )
