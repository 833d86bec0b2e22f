"""Looking people up: many accounts a page at a time, searched, filtered and sorted by the database. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, String, cast, func, or_
from sqlmodel import Session, col, select

from portal import access
from portal.access import Actor
from portal.models.people import ApiToken, User
from portal.models.words import Role

_SORTS: Mapping[str, Any] = {
    "name": func.lower(User.name),
    "email": col(User.email),
    "site": col(User.site_id),
    "created": col(User.created_at),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for. `state`: `active`, `disabled` or empty for both; `sort`: name, email, site or created."""

    text: str = ""
    role: str = ""
    site: str = ""
    state: str = ""
    sort: str = "name"
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One page of them; `total` counts all that fit."""

    users: tuple[User, ...]
    total: int


def find(session: Session, actor: Actor, wanted: Wanted, page: int, per_page: int) -> Found:
    """Return page number `page` (from 1) of the accounts that fit."""
    access.require(access.may_administer(actor), "Only an administrator manages accounts.")
    where = _where(wanted)
    total = session.exec(select(func.count()).select_from(User).where(*where)).one()
    order = _SORTS.get(wanted.sort, _SORTS["name"])
    rows = select(User).where(*where).order_by(order.desc() if wanted.descending else order.asc(), col(User.id))
    return Found(tuple(session.exec(rows.offset((page - 1) * per_page).limit(per_page))), total)


def _where(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for word in wanted.text.split()[:5]:
        here = (col(User.name).icontains(word, autoescape=True), col(User.email).icontains(word, autoescape=True))
        found.append(or_(*here))
    if wanted.role in set(Role):
        found.append(cast(User.roles, String).contains(f'"{wanted.role}"', autoescape=True))
    if wanted.site:
        found.append(col(User.site_id) == wanted.site)
    if wanted.state:
        found.append(
            col(User.disabled_at).is_(None) if wanted.state == "active" else col(User.disabled_at).is_not(None)
        )
    return found


def names(session: Session, ids: set[int]) -> dict[int, str]:
    """Return the names of accounts by their numbers."""
    return {row.id or 0: row.name for row in session.exec(select(User).where(col(User.id).in_(ids)))}


def owners(session: Session, tokens: tuple[ApiToken, ...]) -> dict[int, str]:
    return names(session, {token.owner_id for token in tokens if token.owner_id is not None})
