"""What publishing a change would do, before it is done: groups, names, live grants. Reads only; writes nothing.

Names: those of a service's bundle; of a category, the bundles of its services (its lists hold far more). Grants: those
in force or scheduled whose names lie at, above or below one of these, at a site and for an audience that changes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy import Text, cast, or_
from sqlmodel import Session, col

from blocklists.policy import EVERY_SITE
from portal.lists import asked
from portal.models.levers import GrantRow
from portal.rules.block_rules import Effect, effects
from portal.rules.blocking import categories, known_services
from portal.rules.rule_book import Line

EXAMPLES = 8


@dataclass(frozen=True, slots=True)
class Touched:
    """`names`: how many names of bundles; `examples`: the first of them."""

    thing: str
    title: str
    names: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ahead:
    """`asked`: names of these that many devices asked for lately and got; None: no resolver has told yet."""

    effects: tuple[Effect, ...]
    things: tuple[Touched, ...]
    grants: tuple[int, ...]
    asked: tuple[str, ...] | None = None


def look(session: Session, now: float, lines: Sequence[Line]) -> Ahead:
    found = effects(session, lines)
    titles = {one.id: one.title for one in categories(session)}
    names: set[str] = set()
    things = []
    for thing in sorted({one.thing for one in found}):
        kind, _, key = thing.partition("/")
        if kind == "service":
            title, bundle = known_services(session)[key].title, known_services(session)[key].names
        else:
            title = titles[key]
            members = [one for one in known_services(session).values() if one.category == key]
            bundle = tuple(name for one in members for name in one.names)
        names.update(bundle)
        things.append(Touched(thing, title, len(bundle), tuple(bundle[:EXAMPLES])))
    if not names:
        return Ahead(found, tuple(things), ())
    return Ahead(found, tuple(things), _grants(session, now, found, names), asked.below(session, now, names))


def _grants(session: Session, now: float, found: Sequence[Effect], names: set[str]) -> tuple[int, ...]:
    above = {parent for name in names for parent in _above(name)}
    groups = {one.group for one in found}
    texts = (GrantRow.entries, GrantRow.sites, GrantRow.audiences)
    query = sqlalchemy.select(col(GrantRow.id), *(cast(col(one), Text) for one in texts))
    query = query.where(col(GrantRow.revoked_at).is_(None)).order_by(col(GrantRow.id))
    query = query.where(or_(col(GrantRow.ends_at).is_(None), col(GrantRow.ends_at) > int(now)))
    hit = []
    for number, entries, sites, audiences in session.execute(query):
        touches = any(one["name"] in above or not names.isdisjoint(_above(one["name"])) for one in json.loads(entries))
        if touches and _meets(set(json.loads(sites)), set(json.loads(audiences)), groups):
            hit.append(number)
    return tuple(hit)


def _meets(sites: set[str], audiences: set[str], groups: set[str]) -> bool:
    for group in groups:
        site, _, audience = group.partition("/")
        if audience in audiences and (EVERY_SITE in sites or site in sites):
            return True
    return False


def _above(name: str) -> list[str]:
    """The name and every name above it."""
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]
