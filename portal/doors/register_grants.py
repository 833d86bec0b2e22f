"""What a published entry of the register opens: one grant for the rest of its school year, on the entry's authority.

An entry's grant is never changed. When what it opens is another, the old grant ends and a new one begins, in the same
transaction. A grant's `reason` is what pages call its authority: `register 2026-27: NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import update
from sqlmodel import Session, col, select

from blocklists import names
from blocklists.policy import Authority, AuthorityKind, Match
from portal import moments
from portal.access import Actor
from portal.catalogue import Catalogue
from portal.doors.grants import MAX_ENTRIES
from portal.fields import Mistakes
from portal.models.levers import GrantRow
from portal.models.platforms import EntryState, Platform
from portal.outbox import record_change
from portal.places import district, years
from portal.rules import services
from portal.rules.services import Known


def names_of(known: Mapping[str, Known], chosen: tuple[str, ...], hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Return every name, each once: the hosts, then those of the services. A service that is gone has none."""
    found = dict.fromkeys(hosts)
    for id in chosen:
        found.update(dict.fromkeys(known[id].service.names if id in known else ()))
    return tuple(found)


def check(
    session: Session, mistakes: Mistakes, chosen: tuple[str, ...], typed: tuple[str, ...], catalogue: Catalogue
) -> tuple[str, ...]:
    """Return the typed hosts as canonical names; note what cannot be opened, of the services' names too."""
    hosts: dict[str, None] = {}
    for at, text in enumerate(typed[: MAX_ENTRIES + 1]):
        try:
            hosts[names.grantable(names.understand(text).name)] = None
        except names.BadName as error:
            mistakes.add(f"names[{at}]", error.reason)
    every = names_of(services.known(session), chosen, tuple(hosts))
    if len(every) > MAX_ENTRIES:
        mistakes.add("names", f"an entry opens at most {MAX_ENTRIES} names; this has {len(every)}")
    for name in every[:MAX_ENTRIES]:
        if (category := catalogue.locked(name)) is not None:
            where = "names" if name in hosts else "services"
            mistakes.add(where, f"{name} is in “{category}”, which is locked by law or for safety; nothing opens it")
    return tuple(hosts)


def label(row: Platform) -> str:
    return f"register {row.year}: {row.name}"


def labels(session: Session) -> dict[int, str]:
    """Return what the published entries are called, by the number of the grant that each makes."""
    query = select(Platform).where(Platform.state == EntryState.PUBLISHED, col(Platform.grant_id).is_not(None))
    return {row.grant_id: label(row) for row in session.exec(query) if row.grant_id is not None}


def named(session: Session, authority: Authority | None) -> str | None:
    """Return what opened a name as pages and the API call it, when that is an entry of the register."""
    if authority is None or authority.kind is not AuthorityKind.REGISTER:
        return None
    row = session.get(GrantRow, authority.number)
    return None if row is None else row.reason


def year_of(called: str) -> str:
    """Return the school year of what `label` made; else nothing."""
    word, _, rest = called.partition(" ")
    return rest.partition(":")[0] if word == "register" else ""


def follow(session: Session, actor: Actor, now: float, row: Platform) -> None:
    """Make the entry's grant what the entry says: begun, replaced or ended. An equal one stays, also a revoked one."""
    held = None if row.grant_id is None else session.get(GrantRow, row.grant_id)
    wanted = _wanted(session, actor, now, row) if row.state is EntryState.PUBLISHED else None
    if held is not None and wanted is not None and _says(held) == _says(wanted):
        return
    if held is not None:
        _end(session, actor, now, row, held)
    row.grant_id = None
    if wanted is not None:
        session.add(wanted)
        session.flush()
        row.grant_id = wanted.id
        opened = [entry["name"] for entry in wanted.entries]
        detail = {"platform": row.id, "names": opened[:20], "count": len(opened)}
        record_change(session, actor, now, "register.grant.open", f"grant:{wanted.id}", detail)
    session.add(row)
    session.flush()


def _wanted(session: Session, actor: Actor, now: float, row: Platform) -> GrantRow | None:
    """Return the grant that the entry asks for, or None when it needs no name or its year is over."""
    assert actor.user_id is not None
    every = names_of(services.known(session), tuple(row.services), tuple(row.names))
    zone = district.zone(session)
    year = years.read(row.year)
    ends_at = moments.day(year.last, zone, end=True)
    if not every or ends_at <= now:
        return None
    return GrantRow(
        authority=AuthorityKind.REGISTER,
        entries=[{"name": one, "match": str(Match.SUBTREE)} for one in every],
        sites=row.sites,
        audiences=row.audiences,
        starts_at=max(int(now), moments.day(year.first, zone)),
        ends_at=ends_at,
        hours=[],
        reason=label(row),
        created_by=actor.user_id,
        created_at=int(now),
    )


def _says(grant: GrantRow) -> tuple[object, ...]:
    opened = sorted(entry["name"] for entry in grant.entries)
    return opened, sorted(grant.sites), sorted(grant.audiences), grant.ends_at, grant.reason


def _end(session: Session, actor: Actor, now: float, row: Platform, held: GrantRow) -> None:
    """End the grant, unless it is over already."""
    over = col(GrantRow.revoked_at).is_(None), col(GrantRow.ends_at) > int(now)
    why = f"retired: {row.retire_reason}" if row.state is EntryState.RETIRED else "the register's entry was changed"
    values = {"revoked_at": int(now), "revoked_by": actor.user_id, "revoke_reason": why[:2000], "in_version": None}
    mine = update(GrantRow).where(col(GrantRow.id) == held.id, *over).values(**values)
    won = session.execute(mine.execution_options(synchronize_session=False))
    session.refresh(held)
    if getattr(won, "rowcount", 0) == 1:
        detail = {"platform": row.id, "names": [entry["name"] for entry in held.entries][:20]}
        record_change(session, actor, now, "register.grant.end", f"grant:{held.id}", detail)
