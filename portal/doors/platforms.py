"""The yearly register of platforms for communication between employees and students.

draft -> published -> retired; a draft may be retired, too. The designee writes and publishes; administrators and
auditors see drafts; what is published everybody reads. A tool opened for a lesson is not in here, nor does an entry
come from a request.

A published entry is an authority: it opens its names, for its sites and audiences, until the school year ends or it is
retired (`register_grants.py`). Every change is compare-and-set on the entry's revision, and audited.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import update
from sqlmodel import Session, col

from blocklists.policy import Audience
from portal import access, audit
from portal.access import Actor
from portal.catalogue import Catalogue
from portal.doors import grants, register, register_grants
from portal.doors.register import EntryView, Handed
from portal.errors import Conflict
from portal.fields import Mistakes
from portal.models.platforms import Distribution, EntryState, Parents, Platform
from portal.places import district, years
from portal.rules import services

_ONLY_DESIGNEE = "Only the superintendent's designee keeps the register of platforms."


@dataclass(frozen=True, slots=True)
class Draft:
    """A whole entry as it shall be. `services`: ids of the Services page; `names`: hosts beside theirs, each with all
    below it. None at all: a platform that needs no name, such as telephone."""

    name: str
    purpose: str
    leaders: str
    parents: str  # automatic | opt-in | not-feasible
    parents_why: str = ""
    services: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    sites: tuple[str, ...] = ("*",)
    audiences: tuple[str, ...] = ("students", "staff")


def create(session: Session, actor: Actor, now: float, label: str, draft: Draft, catalogue: Catalogue) -> EntryView:
    access.require(access.may_keep_register(actor), _ONLY_DESIGNEE)
    assert actor.user_id is not None
    year = years.read(label)
    row = Platform(
        year=year.label,
        name="",
        purpose="",
        leaders="",
        parents=Parents.AUTOMATIC,
        created_by=actor.user_id,
        created_at=int(now),
    )
    _fill(session, row, draft, catalogue)
    session.add(row)
    session.flush()
    _record(session, actor, now, "register.entry.create", row, {})
    return register.views(session, [row])[0]


def edit(
    session: Session,
    actor: Actor,
    now: float,
    label: str,
    number: int,
    revision: int,
    draft: Draft,
    catalogue: Catalogue,
) -> EntryView:
    """Set a whole entry. Of a published one the grant follows: saving it again takes up a service's new names."""
    row = _claim(session, actor, label, number, revision)
    if row.state is EntryState.RETIRED:
        raise Conflict(f"{row.name} was retired; enter it anew to approve it again.")
    before = row.name
    _fill(session, row, draft, catalogue)
    session.add(row)
    session.flush()
    if row.state is EntryState.PUBLISHED:
        register_grants.follow(session, actor, now, row)
    _record(session, actor, now, "register.entry.update", row, {"before": before})
    return register.views(session, [row])[0]


def publish(
    session: Session, actor: Actor, now: float, label: str, number: int, revision: int, catalogue: Catalogue
) -> EntryView:
    """Put a draft on the list, and open its names. Raises `Conflict` when the year is over, `Invalid` when a name has
    become one that nothing opens."""
    row = _claim(session, actor, label, number, revision)
    _publish(session, actor, now, row, catalogue)
    return register.views(session, [row])[0]


def publish_all(session: Session, actor: Actor, now: float, label: str, catalogue: Catalogue) -> int:
    """Publish every draft of the year, or none; return how many."""
    access.require(access.may_keep_register(actor), _ONLY_DESIGNEE)
    drafts = [row for row in register.rows_of(session, years.read(label)) if row.state is EntryState.DRAFT]
    if not drafts:
        raise Conflict("There is no draft to publish.")
    for row in drafts:
        _publish(session, actor, now, _claim(session, actor, label, row.id or 0, row.revision), catalogue)
    return len(drafts)


def _publish(session: Session, actor: Actor, now: float, row: Platform, catalogue: Catalogue) -> None:
    if row.state is not EntryState.DRAFT:
        raise Conflict(f"{row.name} is {row.state} already.")
    if district.today(session, now) > years.read(row.year).last:
        raise Conflict(f"The school year {row.year} is over; carry its entries over to the next.")
    mistakes = Mistakes()
    register_grants.check(session, mistakes, tuple(row.services), tuple(row.names), catalogue)
    mistakes.stop(f"{row.name} cannot be published as it stands.")
    row.state, row.published_at, row.published_by = EntryState.PUBLISHED, int(now), actor.user_id
    session.add(row)
    session.flush()
    register_grants.follow(session, actor, now, row)
    _record(session, actor, now, "register.entry.publish", row, {})


def retire(
    session: Session, actor: Actor, now: float, label: str, number: int, revision: int, reason: str
) -> EntryView:
    """Take an entry off the list, and close its names."""
    row = _claim(session, actor, label, number, revision)
    if row.state is EntryState.RETIRED:
        raise Conflict(f"{row.name} is retired already.")
    mistakes = Mistakes()
    why = mistakes.text("reason", reason, "say why; it stays with the entry", 2000)
    mistakes.stop()
    row.state, row.retired_at, row.retired_by, row.retire_reason = EntryState.RETIRED, int(now), actor.user_id, why
    session.add(row)
    session.flush()
    register_grants.follow(session, actor, now, row)
    _record(session, actor, now, "register.entry.retire", row, {})
    return register.views(session, [row])[0]


def carry_over(session: Session, actor: Actor, now: float, label: str) -> int:
    """Take last year's published entries over as drafts, each once; return how many."""
    access.require(access.may_keep_register(actor), _ONLY_DESIGNEE)
    assert actor.user_id is not None
    year = years.read(label)
    there = register.rows_of(session, year)
    taken = {row.carried_from for row in there}
    called = {row.name.casefold() for row in there}
    carried: list[str] = []
    for old in register.rows_of(session, years.read(year.before)):
        if old.state is not EntryState.PUBLISHED or old.id in taken or old.name.casefold() in called:
            continue
        copied = old.model_dump(include={"name", "purpose", "services", "names", "leaders", "sites", "audiences"})
        row = Platform(
            **copied,
            parents=old.parents,
            parents_why=old.parents_why,
            year=year.label,
            carried_from=old.id,
            created_by=actor.user_id,
            created_at=int(now),
        )
        session.add(row)
        carried.append(row.name)
    if not carried:
        raise Conflict(f"The register of {year.before} has no published entry that is not here already.")
    session.flush()
    detail: audit.Detail = {"from": year.before, "count": len(carried), "names": carried[:20]}
    audit.record(session, actor, int(now * 1000), "register.list.carry", f"register:{year.label}", detail)
    return len(carried)


def distribute(session: Session, actor: Actor, now: float, label: str, day: str, recipients: str, how: str) -> Handed:
    """Record that the list was handed on. Raises `Conflict` while it is not published."""
    access.require(access.may_keep_register(actor), _ONLY_DESIGNEE)
    assert actor.user_id is not None
    this = register.published(session, label)
    if this.published_on is None:
        raise Conflict("This list is not published yet; there is nothing to hand on.")
    mistakes = Mistakes()
    on = mistakes.date("day", day)
    if on is not None and not this.published_on <= on <= district.today(session, now):
        mistakes.add("day", f"choose a day from {this.published_on.isoformat()}, when it was published, to today")
    whom = mistakes.text("recipients", recipients, "say to whom, like: all employees", 300)
    way = mistakes.text("how", how, "say how, like: by e-mail", 300)
    mistakes.stop()
    assert on is not None
    row = Distribution(
        year=this.year.label,
        day=on.isoformat(),
        recipients=whom,
        how=way,
        recorded_by=actor.user_id,
        recorded_at=int(now),
    )
    session.add(row)
    detail: audit.Detail = {"day": row.day, "recipients": whom, "how": way}
    audit.record(session, actor, int(now * 1000), "register.list.distribute", f"register:{row.year}", detail)
    return Handed(on, whom, way)


# ---- rows ----


def _claim(session: Session, actor: Actor, label: str, number: int, revision: int) -> Platform:
    """Return the row for who has read its newest revision, and count one on."""
    access.require(access.may_keep_register(actor), _ONLY_DESIGNEE)
    row = register.row_of(session, label, number)
    mine = update(Platform).where(col(Platform.id) == number, col(Platform.revision) == revision)
    won = session.execute(mine.values(revision=revision + 1).execution_options(synchronize_session=False))
    session.refresh(row)
    if getattr(won, "rowcount", 0) != 1:
        raise Conflict(f"Somebody changed {row.name} in the meantime; reload to see it.")
    return row


def _fill(session: Session, row: Platform, draft: Draft, catalogue: Catalogue) -> None:
    mistakes = Mistakes()
    name = mistakes.text("name", draft.name, "write the platform's name", 120)
    others = [one for one in register.rows_of(session, years.read(row.year)) if one.id != row.id]
    if any(one.name.casefold() == name.casefold() and one.state is not EntryState.RETIRED for one in others):
        mistakes.add("name", f"{name} is in this year's register already")
    if len(others) >= register.MOST:
        mistakes.add("name", f"a year's register has at most {register.MOST} entries")
    purpose = mistakes.text("purpose", draft.purpose, "say what it is for", 1000)
    leaders = mistakes.text("leaders", draft.leaders, "say how school and district leaders have access", 1000)
    parents = mistakes.word("parents", draft.parents, Parents, Parents.AUTOMATIC)
    needed = "say why parents cannot be included" if parents is Parents.NOT_FEASIBLE else ""
    why = mistakes.text("parents_why", draft.parents_why, needed, 1000)
    chosen = mistakes.known("services", draft.services, services.known(session), "service")
    hosts = register_grants.check(session, mistakes, chosen, draft.names, catalogue)
    sites = grants.read_sites(session, mistakes, "sites", draft.sites)
    audiences = mistakes.words("audiences", draft.audiences, Audience, "say who: students, staff or guests")
    mistakes.stop()
    row.name, row.purpose, row.leaders, row.parents, row.parents_why = name, purpose, leaders, parents, why
    row.services, row.names, row.sites = list(chosen), list(hosts), list(sites)
    row.audiences = [str(one) for one in audiences]


def _record(session: Session, actor: Actor, now: float, tag: str, row: Platform, more: audit.Detail) -> None:
    detail: audit.Detail = {
        "year": row.year,
        "name": row.name,
        "parents": str(row.parents),
        "names": row.names[:20],
        "services": row.services[:20],
        "sites": row.sites,
        "audiences": row.audiences,
        "grant": row.grant_id,
        **more,
    }
    audit.record(session, actor, int(now * 1000), tag, f"platform:{row.id}", detail)
