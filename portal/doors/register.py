"""The yearly register as it is read: its entries, when it was published and handed on. `platforms.py` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlmodel import Session, col, select

from blocklists.policy import Audience
from portal import access
from portal.access import Actor
from portal.doors import register_grants
from portal.errors import NotFound
from portal.models.levers import GrantRow
from portal.models.people import User
from portal.models.platforms import Distribution, EntryState, Parents, Platform
from portal.places import district, years
from portal.places.years import SchoolYear
from portal.rules import services

MOST = 500  # entries of a year
_NOT_YOURS = "The designee, administrators and auditors see the register's drafts; what is published everybody reads."


@dataclass(frozen=True, slots=True)
class EntryView:
    """`opens`: every name, those of its services included. `closed`: published, but somebody revoked its grant."""

    id: int
    year: str
    revision: int
    state: EntryState
    name: str
    purpose: str
    leaders: str
    parents: Parents
    parents_why: str
    services: tuple[str, ...]
    names: tuple[str, ...]
    opens: tuple[str, ...]
    sites: tuple[str, ...]
    audiences: tuple[Audience, ...]
    grant: int | None
    closed: bool
    carried: bool
    published_on: date | None
    published_by: str
    retired_on: date | None
    retired_by: str
    retire_reason: str


@dataclass(frozen=True, slots=True)
class Handed:
    """The list was handed on: `day`, to whom, how."""

    day: date
    recipients: str
    how: str


@dataclass(frozen=True, slots=True)
class Register:
    """One year's. `published_on`: since when the list is public; None: it is not yet. `begins`: school's first day, by
    the set-up's terms."""

    year: SchoolYear
    entries: tuple[EntryView, ...]
    published_on: date | None
    distributed: tuple[Handed, ...]
    begins: date | None

    @property
    def late(self) -> bool:
        """True when the list was published after school had begun."""
        return self.published_on is not None and self.begins is not None and self.published_on >= self.begins


def published(session: Session, label: str) -> Register:
    """Return what everybody may read: the published entries, and those retired after they had been published."""
    year = years.read(label)
    return _read(session, year, [row for row in rows_of(session, year) if row.published_at is not None])


def whole(session: Session, actor: Actor, label: str) -> Register:
    """Return the register with its drafts."""
    access.require(access.may_see_register(actor), _NOT_YOURS)
    year = years.read(label)
    return _read(session, year, rows_of(session, year))


def get(session: Session, actor: Actor, label: str, number: int) -> EntryView:
    access.require(access.may_see_register(actor), _NOT_YOURS)
    return views(session, [row_of(session, label, number)])[0]


def rows_of(session: Session, year: SchoolYear) -> list[Platform]:
    """Return a year's entries, whatever their state, by name."""
    rows = session.exec(select(Platform).where(col(Platform.year) == year.label).limit(2 * MOST))
    return sorted(rows, key=lambda row: (row.name.casefold(), row.id or 0))


def row_of(session: Session, label: str, number: int) -> Platform:
    row = session.get(Platform, number)
    if row is None or row.year != years.read(label).label:
        raise NotFound(f"There is no entry {number} in the register of {label[:20]}.")
    return row


def _read(session: Session, year: SchoolYear, rows: Sequence[Platform]) -> Register:
    found = views(session, rows)
    handed = session.exec(
        select(Distribution).where(col(Distribution.year) == year.label).order_by(col(Distribution.day))
    )
    return Register(
        year=year,
        entries=found,
        published_on=min((one.published_on for one in found if one.published_on is not None), default=None),
        distributed=tuple(Handed(date.fromisoformat(one.day), one.recipients, one.how) for one in handed),
        begins=years.school_begins(session, year),
    )


def views(session: Session, rows: Sequence[Platform]) -> tuple[EntryView, ...]:
    """Return the rows as they are read, in their order."""
    if not rows:
        return ()
    zone = district.zone(session)
    wanted = {number for row in rows for number in (row.published_by, row.retired_by) if number is not None}
    people = {user.id: user.name for user in session.exec(select(User).where(col(User.id).in_(wanted)))}
    numbers = [row.grant_id for row in rows if row.grant_id is not None]
    revoked = select(GrantRow.id).where(col(GrantRow.id).in_(numbers), col(GrantRow.revoked_at).is_not(None))
    closed = set(session.exec(revoked))
    known = services.known(session)

    def day(seconds: int | None) -> date | None:
        return None if seconds is None else datetime.fromtimestamp(seconds, zone).date()

    return tuple(
        EntryView(
            id=row.id or 0,
            year=row.year,
            revision=row.revision,
            state=row.state,
            name=row.name,
            purpose=row.purpose,
            leaders=row.leaders,
            parents=row.parents,
            parents_why=row.parents_why,
            services=tuple(row.services),
            names=tuple(row.names),
            opens=register_grants.names_of(known, tuple(row.services), tuple(row.names)),
            sites=tuple(row.sites),
            audiences=tuple(Audience(one) for one in row.audiences),
            grant=row.grant_id,
            closed=row.state is EntryState.PUBLISHED and row.grant_id in closed,
            carried=row.carried_from is not None,
            published_on=day(row.published_at),
            published_by=people.get(row.published_by, ""),
            retired_on=day(row.retired_at),
            retired_by=people.get(row.retired_by, ""),
            retire_reason=row.retire_reason,
        )
        for row in rows
    )


def public_years(session: Session) -> tuple[str, ...]:
    """Return the years whose list is public, the newest first."""
    found = session.exec(select(Platform.year).where(col(Platform.published_at).is_not(None)).distinct())
    return tuple(sorted(found, reverse=True))
