"""The sources of lists: those of the catalog and the district's own; on or off, when they are fetched, what came.

Rows in, rows and views out. Nothing is fetched here: `due_at` says when the job does, and a change of what is compiled
asks for a build.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sqlmodel import Session, col, select

from blocklists.catalog import MAX_BYTES, MAX_NAMES, Source, bad_url, due_at, load_catalog
from blocklists.formats.detect import Format
from blocklists.seed import load_seed
from blocklists.update import Wanted
from portal import access, audit
from portal.access import Actor
from portal.errors import Conflict, NotFound
from portal.fields import Mistakes
from portal.lists import builds, copies
from portal.models.district import CategoryRow
from portal.models.lists import SourceRow, UploadedList

JITTER = 0.1  # of the cadence: a thousand districts do not all ask at midnight
RETRY = 3600  # seconds, when the process that fetched ended without a word
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_ONLY_ADMINISTRATORS = "Only an administrator changes the lists."


@dataclass(frozen=True, slots=True)
class SourceView:
    """One source as pages and the API show it. `age`: seconds since its keeper last confirmed it."""

    id: str
    own: bool
    title: str
    category: str
    url: str
    format: str
    licence: str
    home: str
    note: str
    quiet: str
    every_hours: int
    enabled: bool
    due_at: int | None
    fetched_at: int | None
    checked_at: int | None
    asked_at: int | None
    age: int | None
    failures: int
    error_code: str
    error: str
    size: int
    found: int
    excepted: int
    rejected: int
    examples: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class SourceDraft:
    """A list of the district's own; `url` empty: its bytes are uploaded. `format` empty: told by its first bytes."""

    id: str
    title: str
    category: str
    url: str = ""
    format: str = ""
    licence: str = ""
    every_hours: int = 24


@cache
def catalog() -> Mapping[str, Source]:
    """Return the public sources that ship with the product, by id."""
    return {one.id: one for one in load_catalog([category.id for category in load_seed().categories])}


def sources(session: Session, now: float) -> tuple[SourceView, ...]:
    """Return the catalog's sources in its order, then the district's own by id."""
    rows = {row.id: row for row in session.exec(select(SourceRow).order_by(col(SourceRow.id)))}
    found = [_view(rows.get(id) or SourceRow(id=id, own=False, created_at=0), now) for id in catalog()]
    return (*found, *(_view(row, now) for row in rows.values() if row.own))


def source(session: Session, now: float, id: str) -> SourceView:
    return _view(_row(session, id), now)


def _row(session: Session, id: str) -> SourceRow:
    row = session.get(SourceRow, id)
    if row is not None:
        return row
    if id not in catalog():
        raise NotFound(f"There is no list {id[:60]!r}.")
    return SourceRow(id=id, own=False, created_at=0)


def _view(row: SourceRow, now: float) -> SourceView:
    known = None if row.own else catalog().get(row.id)
    quiet = known.quiet if known is not None else None
    return SourceView(
        id=row.id,
        own=row.own,
        title=row.title or (known.title if known else row.id),
        category=row.category or (known.category if known else ""),
        url=row.url or (known.url if known else ""),
        format=row.format or (known.format.value if known else ""),
        licence=row.licence or (known.licence if known else ""),
        home=known.home if known else "",
        note=known.note if known else "",
        quiet=f"not fetched from {quiet.start:02}:00 to {quiet.end:02}:00 ({quiet.zone})" if quiet else "",
        every_hours=known.every_hours if known else row.every_hours,
        enabled=row.enabled,
        due_at=row.due_at,
        fetched_at=row.fetched_at,
        checked_at=row.checked_at,
        asked_at=row.asked_at,
        age=None if row.checked_at is None else max(0, int(now) - row.checked_at),
        failures=row.failures,
        error_code=row.error_code,
        error=row.error,
        size=row.size,
        found=row.found,
        excepted=row.excepted,
        rejected=row.rejected,
        examples=tuple(row.examples),
    )


def switch(session: Session, actor: Actor, now: float, id: str, on: bool) -> SourceView:
    """Switch a list on (it is fetched at once, and then by its cadence) or off (the next base is without it)."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = _row(session, id)
    if row.enabled == on:
        return _view(row, now)
    if on and (missing := _view(row, now).category) and session.get(CategoryRow, missing) is None:
        raise Conflict(f"There is no category {missing!r} here any more; give the list another one.")
    row.enabled = on
    row.created_by, row.created_at = row.created_by or actor.name, row.created_at or int(now)
    row.due_at = int(now) if on and _fetched(row) else None
    session.add(row)
    _changed(session, actor, now, "lists.source.switch", row, {"on": on})
    return _view(row, now)


def choose(session: Session, actor: Actor, now: float, id: str, category: str, format: str) -> SourceView:
    """Set a source's category and format; empty: as the catalog says, or told by its first bytes."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = _row(session, id)
    mistakes = Mistakes()
    _check(session, mistakes, category if row.own or category else _view(row, now).category, format)
    mistakes.stop()
    detail: audit.Detail = {"category": [row.category, category], "format": [row.format, format]}
    row.category, row.format = category, format
    row.created_at = row.created_at or int(now)
    session.add(row)
    _changed(session, actor, now, "lists.source.update", row, detail)
    return _view(row, now)


def add(session: Session, actor: Actor, now: float, draft: SourceDraft, private: bool = False) -> SourceView:
    """Add a list of the district's own, switched on. `private`: addresses inside the network, and http, are allowed."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    mistakes = Mistakes()
    seed = load_seed()
    taken = {one.list_id for one in seed.categories} | {one.id for one in seed.services} | set(catalog())
    if not _ID.match(draft.id) or len(draft.id) > 60:
        mistakes.add("id", "write a short id: small letters, digits and hyphens, like `our-games`")
    elif draft.id in taken or session.get(SourceRow, draft.id) is not None:
        mistakes.add("id", f"there is a list or a service {draft.id!r} already")
    title = mistakes.text("title", draft.title, "write the list's title", 100)
    licence = mistakes.text("licence", draft.licence, "", 100)
    url = draft.url.strip()
    checked = f"https{url.removeprefix('http')}" if private and url.startswith("http:") else url
    if url and (fault := bad_url(checked)) is not None:
        mistakes.add("url", f"this is not the address of a list: {fault}")
    if not 1 <= draft.every_hours <= 672:
        mistakes.add("every_hours", "between one hour and four weeks (672 hours)")
    _check(session, mistakes, draft.category, draft.format)
    mistakes.stop()
    row = SourceRow(
        id=draft.id,
        own=True,
        title=title,
        category=draft.category,
        url=url,
        format=draft.format,
        licence=licence,
        every_hours=draft.every_hours,
        enabled=True,
        created_by=actor.name,
        created_at=int(now),
        due_at=int(now),
    )
    session.add(row)
    detail: audit.Detail = {"category": row.category, "url": url or None}
    _changed(session, actor, now, "lists.source.create", row, detail)
    return _view(row, now)


def add_with_file(
    session: Session, actor: Actor, now: float, draft: SourceDraft, data: bytes, private: bool
) -> SourceView:
    """As `add`; without an address, `data` is the list."""
    mistakes = Mistakes()
    if bool(draft.url.strip()) == bool(data):
        mistakes.add("url", "give the list's address or a file with its names: one of the two")
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    mistakes.stop()
    view = add(session, actor, now, draft, private)
    if data:
        copies.put(session, UploadedList, view.id, (data,))
    return view


def fetch_now(session: Session, actor: Actor, now: float, id: str) -> SourceView:
    """Ask for a list at once, whatever its cadence and its keeper's quiet hours say: a person wants it."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = _row(session, id)
    if not row.enabled:
        raise Conflict("This list is off. Switch it on first.")
    if not _fetched(row):
        raise Conflict("This list was uploaded; nobody can fetch it. Upload a newer file instead.")
    row.due_at = int(now)
    session.add(row)
    audit.record(session, actor, int(now * 1000), "lists.source.fetch", f"list:{id}")
    return _view(row, now)


def ask_build(session: Session, actor: Actor, now: float, id: str) -> int:
    """Ask for the base with this list's newer copy; return the number of the update."""
    because = audit.record(session, actor, int(now * 1000), "lists.source.import", f"list:{id}")
    return builds.ask(session, now, because).id or 0


def uploaded(session: Session, actor: Actor, now: float, id: str, data: bytes) -> SourceView:
    """A newer file for this list: the job takes it at its next pass."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = _row(session, id)
    if not row.own or row.url:
        raise Conflict("This list is fetched from its address; a file is no copy of it.")
    copies.put(session, UploadedList, id, (data,))
    row.due_at = int(now)
    session.add(row)
    audit.record(session, actor, int(now * 1000), "lists.source.upload", f"list:{id}")
    return _view(row, now)


def _fetched(row: SourceRow) -> bool:
    return not row.own or bool(row.url)


def _check(session: Session, mistakes: Mistakes, category: str, format: str) -> None:
    if session.get(CategoryRow, category) is None:
        mistakes.add("category", f"there is no category {category[:40]!r}" if category else "choose a category")
    if format and format not in tuple(Format):
        mistakes.add("format", f"{format[:40]!r} is not one of {', '.join(Format)}")


def _changed(session: Session, actor: Actor, now: float, tag: str, row: SourceRow, detail: audit.Detail) -> None:
    because = audit.record(session, actor, int(now * 1000), tag, f"list:{row.id}", detail)
    builds.ask(session, now, because)


# ---- the job's side ----


def wanted(session: Session, now: float) -> tuple[Wanted, ...]:
    """Return the lists that are on, as the process that builds is told of them."""
    return tuple(_wanted(view) for view in sources(session, now) if view.enabled)


def _wanted(view: SourceView) -> Wanted:
    known = None if view.own else catalog().get(view.id)
    plain = Wanted(view.id, view.title, view.category, view.url, view.format)
    if known is None:
        return replace(plain, most=MAX_NAMES, max_bytes=MAX_BYTES)
    return replace(plain, member=known.member or "", least=known.least, most=known.most, max_bytes=known.max_bytes)


def digests(session: Session) -> dict[str, str]:
    """Return the digest of each list's last good copy, by id."""
    return dict(session.exec(select(SourceRow.id, SourceRow.digest)).all())


def due(session: Session, now: float) -> tuple[str, ...]:
    """Return the ids of the lists that are to be fetched now; with each of them those of the same address, so that a
    collection which several lists are made from is fetched once."""
    query = select(SourceRow).where(SourceRow.enabled).order_by(col(SourceRow.id))
    rows = [(row, _view(row, now).url) for row in session.exec(query)]
    asked = [(row, url) for row, url in rows if row.due_at is not None and row.due_at <= int(now)]
    urls = {url for _, url in asked if url}
    ids = {row.id for row, _ in asked}
    return tuple(row.id for row, url in rows if row.id in ids or url in urls)


def fetched(session: Session, now: float, outcome: Mapping[str, Any]) -> None:
    """Write down what one fetch gave (`blocklists.update` tells it), and when the next one is due."""
    row = session.get(SourceRow, outcome["id"])
    if row is None:
        return
    row.asked_at = int(now)
    if outcome["outcome"] == "failed":
        row.failures += 1
        row.error_code, row.error = outcome["code"], outcome["detail"][:500]
    else:
        row.failures, row.error_code, row.error = 0, "", ""
    for name in ("digest", "size", "fetched_at", "checked_at", "found", "excepted", "rejected", "examples"):
        if name in outcome:
            setattr(row, name, outcome[name])
    row.due_at = _next(row, now)
    session.add(row)


def lost(session: Session, now: float, ids: tuple[str, ...], why: str) -> None:
    """The process that fetched these ended without saying what came of them."""
    for id in ids:
        row = session.get(SourceRow, id)
        if row is not None and row.due_at is not None and row.due_at <= int(now):
            row.failures += 1
            row.asked_at, row.due_at = int(now), int(now) + RETRY
            row.error_code, row.error = "ended", why[:500]
            session.add(row)


def _next(row: SourceRow, now: float) -> int | None:
    if not row.enabled or not _fetched(row):
        return None
    known = None if row.own else catalog().get(row.id)
    model = known or replace(next(iter(catalog().values())), every_hours=row.every_hours, quiet=None)
    moment = due_at(model, now, row.failures, now)
    late = (moment - now) * JITTER * random.random()  # noqa: S311
    return int(due_at(replace(model, every_hours=1), None, 0, moment + late))
