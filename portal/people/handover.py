"""A leaver's work passes on: their requests, and with these the grants, get a new requester.

To a co-owner who is named, or to the desk: then to the reviewer who has the fewest of their own. Decided requests pass
too, because whoever has the request may renew it and hears about it. What was said keeps its author, and the audit
names every request that passed, from whom and to whom. Nobody comes to decide their own request by it: the new
requester is barred from deciding like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session, col, func, select

from portal import access, audit
from portal.access import Actor
from portal.errors import FieldError, Invalid
from portal.models.people import User
from portal.models.requests import Request
from portal.models.words import Role, State
from portal.people import accounts

_MAY_HAVE = {Role.REQUESTER, Role.REVIEWER, Role.ADMINISTRATOR, Role.DESIGNEE}


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a person has: requests that are open, and all of them."""

    open: int
    all: int


@dataclass(frozen=True, slots=True)
class Passed:
    to: User
    requests: tuple[int, ...]


def holdings(session: Session, user_id: int) -> Holdings:
    mine = select(func.count()).select_from(Request).where(Request.requester_id == user_id)
    waiting = mine.where(col(Request.state).in_((State.SUBMITTED, State.ASKED)))
    return Holdings(session.exec(waiting).one(), session.exec(mine).one())


def hand_over(session: Session, actor: Actor, now: float, user_id: int, to_email: str) -> Passed:
    """Pass everything on to the account of `to_email`; empty: to the desk. Raises `Invalid` and `NotFound`."""
    access.require(access.may_administer(actor), "Only an administrator hands a person's requests over.")
    accounts.get(session, user_id)
    to = _named(session, user_id, to_email) if to_email.strip() else _desk(session, user_id)
    rows = session.exec(select(Request).where(Request.requester_id == user_id).order_by(col(Request.id))).all()
    for row in rows:
        row.requester_id = to.id or 0
        row.revision += 1
        row.updated_at = int(now)
    numbers = tuple(row.id or 0 for row in rows)
    if numbers:
        detail: audit.Detail = {"from": f"user:{user_id}", "to": f"user:{to.id}", "requests": numbers}
        audit.record(session, actor, int(now * 1000), "people.user.hand-over", f"user:{user_id}", detail)
    return Passed(to, numbers)


def _named(session: Session, user_id: int, email: str) -> User:
    found = session.exec(select(User).where(User.email == email.strip().lower())).first()
    if found is None or found.disabled_at is not None:
        raise _wrong(f"there is no account in use for {email.strip()[:100]}")
    if found.id == user_id:
        raise _wrong("that is the same person")
    if not _MAY_HAVE & set(found.roles):
        raise _wrong(f"{found.name} cannot have requests: an auditor only reads")
    return found


def _desk(session: Session, user_id: int) -> User:
    in_use = session.exec(select(User).where(col(User.disabled_at).is_(None), User.id != user_id)).all()
    desk = [user for user in in_use if Role.REVIEWER in user.roles]
    if not desk:
        raise _wrong("there is no other reviewer at the desk; name a co-owner")
    return min(desk, key=lambda user: (holdings(session, user.id or 0).open, user.id))


def _wrong(message: str) -> Invalid:
    return Invalid("Nothing was handed over.", (FieldError("to", message),))
