"""The services: those of the seed, those that a list's collection brings, and what administrators made of them.

A service is a tool that a requester can pick, and a bundle of names in the base; an edit asks for a build. The seed's
are not stored: a row stands over them from the first edit on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sqlmodel import Session, col, select

from blocklists import names
from blocklists.compile import Source, seed_sources
from blocklists.seed import KINDS, Seed, SeedService, load_seed
from portal import access, audit
from portal.access import Actor
from portal.errors import Conflict, NotFound
from portal.fields import Mistakes
from portal.lists import builds
from portal.models.district import CategoryRow
from portal.models.lists import ServiceRow

MAX_NAMES = 2_000
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_ONLY_ADMINISTRATORS = "Only an administrator edits services."


@dataclass(frozen=True, slots=True)
class Draft:
    """A whole service as it shall be. `why` stays with the edit."""

    id: str
    title: str
    category: str
    kind: str
    names: tuple[str, ...]
    exceptions: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """A service with where it comes from: `seed`, a source's id, or `district`; and its last edit."""

    service: SeedService
    origin: str
    revision: int = 0
    edited_by: str = ""
    edited_at: int | None = None
    why: str = ""


@cache
def shipped() -> Mapping[str, SeedService]:
    return {one.id: one for one in load_seed().services}


def seed_lists(seed: Seed) -> Sequence[Source]:
    """Return the seed's category lists, as the compiler gets them."""
    return seed_sources(seed, ())


def known(session: Session) -> Mapping[str, Known]:
    """Return every service by id."""
    found = {id: Known(one, "seed") for id, one in shipped().items()}
    for row in session.exec(select(ServiceRow).order_by(col(ServiceRow.id))):
        service = SeedService(row.id, row.title, row.category, row.kind, tuple(row.names), tuple(row.exceptions))
        origin = row.origin or ("seed" if row.id in shipped() else "district")
        found[row.id] = Known(service, origin, row.revision, row.edited_by, row.edited_at, row.why)
    return found


def edited(session: Session) -> tuple[SeedService, ...]:
    """Return what administrators wrote, for the compiler."""
    return tuple(one.service for one in known(session).values() if one.edited_at is not None)


def brought(session: Session, found: Sequence[Mapping[str, Any]]) -> None:
    """Keep the services that collections brought. What a person edited stays theirs; the seed's keep title and kind."""
    if not found:
        return
    there = {row.id: row for row in session.exec(select(ServiceRow))}
    for one in found:
        row = there.get(one["id"])
        if row is not None and row.edited_at is not None:
            continue
        known = shipped().get(one["id"])
        names_, exceptions = list(one["names"]), list(one["exceptions"])
        if known is not None:
            names_ = list(dict.fromkeys((*known.names, *names_)))
            exceptions = list(known.exceptions)
        row = row or ServiceRow(id=one["id"], title="", category="", kind="", origin="")
        row.title = known.title if known else one["title"]
        row.category = known.category if known else one["category"]
        row.kind = known.kind if known else one["kind"]
        row.names, row.exceptions, row.origin = names_, exceptions, one["origin"]
        session.add(row)


def create(session: Session, actor: Actor, now: float, draft: Draft) -> Known:
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    mistakes = Mistakes()
    if not _ID.match(draft.id) or len(draft.id) > 60:
        mistakes.add("id", "write a short id: small letters, digits and hyphens, like `book-club`")
    elif draft.id in known(session):
        mistakes.add("id", f"there is a service {draft.id!r} already")
    clean = _read(session, mistakes, draft)
    mistakes.stop()
    return _store(session, actor, now, ServiceRow(id=clean.id, revision=0, **_values(clean), origin=""), clean)


def edit(session: Session, actor: Actor, now: float, revision: int, draft: Draft) -> Known:
    """Set a whole service. Raises `Conflict` when somebody changed it since `revision` was read."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    old = known(session).get(draft.id)
    if old is None:
        raise NotFound(f"There is no service {draft.id[:60]!r}.")
    if old.revision != revision:
        raise Conflict(f"{old.edited_by or 'A list'} changed this service in the meantime; reload to see it.")
    mistakes = Mistakes()
    clean = _read(session, mistakes, draft)
    mistakes.stop()
    row = session.get(ServiceRow, draft.id) or ServiceRow(id=clean.id, revision=0, **_values(clean), origin="")
    return _store(session, actor, now, row, clean)


def _store(session: Session, actor: Actor, now: float, row: ServiceRow, draft: Draft) -> Known:
    before = known(session).get(draft.id)
    for name, value in _values(draft).items():
        setattr(row, name, value)
    row.revision += 1
    row.edited_by, row.edited_at, row.why = actor.name, int(now), draft.why
    session.add(row)
    session.flush()
    was = set(before.service.names) if before is not None else set()
    detail: audit.Detail = {
        "category": draft.category,
        "added": sorted(set(draft.names) - was)[:50],
        "removed": sorted(was - set(draft.names))[:50],
        "except": list(draft.exceptions)[:50],
    }
    builds.ask(
        session,
        now,
        audit.record(session, actor, int(now * 1000), "district.service.edit", f"service:{draft.id}", detail),
    )
    return known(session)[draft.id]


def _values(draft: Draft) -> dict[str, Any]:
    return {
        "title": draft.title,
        "category": draft.category,
        "kind": draft.kind,
        "names": list(draft.names),
        "exceptions": list(draft.exceptions),
    }


def _read(session: Session, mistakes: Mistakes, draft: Draft) -> Draft:
    if session.get(CategoryRow, draft.category) is None:
        mistakes.add("category", f"there is no category {draft.category[:40]!r}")
    if draft.kind not in KINDS:
        mistakes.add("kind", f"{draft.kind[:40]!r} is not one of {', '.join(KINDS)}")
    listed = _names(mistakes, "names", draft.names)
    if not listed and not mistakes.errors:
        mistakes.add("names", "write at least one name")
    exceptions = _names(mistakes, "exceptions", draft.exceptions)
    for at, name in enumerate(exceptions):
        if not any(names.is_at_or_below(name, one) for one in listed):
            mistakes.add(f"exceptions[{at}]", f"{name} is not below any of the names; there is nothing to except")
    return replace(
        draft,
        title=mistakes.text("title", draft.title, "write the service's title", 100),
        names=listed,
        exceptions=exceptions,
        why=mistakes.text("why", draft.why, "say why: it stays with the edit", 500),
    )


def _names(mistakes: Mistakes, field: str, typed: Sequence[str]) -> tuple[str, ...]:
    if len(typed) > MAX_NAMES:
        mistakes.add(field, f"at most {MAX_NAMES:,} names fit here")
    found: dict[str, None] = {}
    for at, text in enumerate(typed[:MAX_NAMES]):
        try:
            name = names.understand(text).name
            names.grantable(name)
            found[name] = None
        except names.BadName as error:
            mistakes.add(f"{field}[{at}]", f"{text[:60]}: {error.reason}")
    return tuple(found)
