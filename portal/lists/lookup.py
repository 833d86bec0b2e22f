"""One name across all lists: which list has it, since when, and what else that list has nearby. Reads bases only."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session, col, select

from blocklists import names
from blocklists.base import BadBase, Base
from portal.errors import FieldError, Invalid
from portal.lists import builds
from portal.lists.bases import Bases, require_base
from portal.models.delivery import BaseFile

NEARBY = 12  # names shown of each list
_LOOKED_AT = 20_000  # entries below a site that are looked at, at most


@dataclass(frozen=True, slots=True)
class Hit:
    """A list that has the name, by `entry`. `since`: when the oldest base of those kept was made that has it without a
    break; `at_least`: no older base is kept, so it may be longer."""

    list: str
    title: str
    category: str
    entry: str
    since: int
    at_least: bool
    nearby: tuple[str, ...]
    more: int


@dataclass(frozen=True, slots=True)
class LookUp:
    name: str
    hits: tuple[Hit, ...]


def look_up(session: Session, files: Bases, text: str) -> LookUp:
    """Raises `Invalid` for what is no name."""
    try:
        name = names.understand(text).name
    except names.BadName as error:
        raise Invalid("This name cannot be looked up.", (FieldError("name", error.reason),)) from None
    present = require_base(session)
    base = files.open(present.digest)
    listings = base.listings(name)
    if not listings:
        return LookUp(name, ())
    nearby = _nearby(base, names.registrable(name) or name)
    rows = session.exec(select(BaseFile).order_by(col(BaseFile.created_at).desc()).limit(builds.KEPT)).all()
    since = {base.lists[one.list].id: present.created_at for one in listings}
    open_ends = set(since)
    for row in rows:
        if row.current or row.created_at > present.created_at or not open_ends:
            continue
        if (before := _opened(files, row.digest)) is None:
            break
        had = {before.lists[one.list].id for one in before.listings(name)}
        open_ends &= had
        since |= dict.fromkeys(open_ends, row.created_at)
    hits: dict[str, Hit] = {}
    for one in listings:
        info = base.lists[one.list]
        others = [found for found in nearby.get(one.list, ()) if found != one.entry]
        hits.setdefault(
            info.id,
            Hit(
                info.id,
                info.title,
                info.category,
                one.entry,
                since[info.id],
                info.id in open_ends,
                tuple(others[:NEARBY]),
                max(0, len(others) - NEARBY),
            ),
        )
    return LookUp(name, tuple(hits.values()))


def _opened(files: Bases, digest: str) -> Base | None:
    """An earlier base, mapped for this one look: those that serve stay the ones that are kept open."""
    try:
        return Base.open(files.file(digest), digest) if files.has(digest) else None
    except (BadBase, OSError):
        return None


def _nearby(base: Base, site: str) -> dict[int, list[str]]:
    """List index -> its entries at and below the site."""
    found: dict[int, list[str]] = {}
    for at, key in enumerate(base.below(names.key(site))):
        if at >= _LOOKED_AT:
            break
        number = base.entry(key)
        for index in () if number is None else base.sets[number].holds:
            found.setdefault(index, []).append(names.from_key(key))
    for one in found.values():
        one.sort()
    return found
