"""Device profiles: a token in the path of DNS over HTTPS, or before the server's name of DNS over TLS, says which group
a device is in, wherever it is. The token is shown in the one answer that makes it; a policy holds its digest."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import desc, update
from sqlmodel import Session, col, select

from blocklists.clients import profile_digest
from portal import access, audit
from portal.access import Actor
from portal.errors import Conflict, NotFound
from portal.fields import Mistakes
from portal.models.district import ClientGroup
from portal.models.profiles import DeviceProfile
from portal.outbox import record_change
from portal.people import directory

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # a label of a host name, with nothing that looks like something else
_LENGTH = 20  # letters: 99 bits
_ONLY_ADMINISTRATORS = "Only an administrator makes and ends device profiles."


@dataclass(frozen=True, slots=True)
class ProfileView:
    id: int
    group: str
    name: str
    created_by: str
    created_at: int
    ended_at: int | None


def create(session: Session, actor: Actor, now: float, group: str, name: str) -> str:
    """Make a profile for `group`; return its token, which nobody can show again."""
    _require(actor)
    assert actor.user_id is not None
    mistakes = Mistakes()
    if session.get(ClientGroup, group) is None:
        mistakes.add("group", "choose a group from the list")
    text = mistakes.text("name", name, "say which devices it is for", 100)
    mistakes.stop()
    token = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
    row = DeviceProfile(
        group_id=group, name=text, digest=profile_digest(token), created_by=actor.user_id, created_at=int(now)
    )
    session.add(row)
    session.flush()
    detail: audit.Detail = {"group": group, "name": text}
    record_change(session, actor, now, "district.profile.create", f"profile:{row.id}", detail)
    return token


def end(session: Session, actor: Actor, now: float, number: int) -> None:
    """From the next policy on, devices with this token are in no group."""
    _require(actor)
    row = session.get(DeviceProfile, number)
    if row is None:
        raise NotFound(f"There is no device profile {number}.")
    mine = update(DeviceProfile).where(col(DeviceProfile.id) == number, col(DeviceProfile.ended_at).is_(None))
    won = session.execute(mine.values(ended_at=int(now)).execution_options(synchronize_session=False))
    if getattr(won, "rowcount", 0) != 1:
        raise Conflict("This device profile was ended already; reload to see it.")
    detail: audit.Detail = {"group": row.group_id, "name": row.name}
    record_change(session, actor, now, "district.profile.end", f"profile:{number}", detail)


def find(session: Session) -> Sequence[ProfileView]:
    """Return every profile, those that count first, newest first."""
    query = select(DeviceProfile).order_by(col(DeviceProfile.ended_at).is_not(None), desc(col(DeviceProfile.id)))
    rows = session.exec(query).all()
    people = directory.names(session, {row.created_by for row in rows})
    return [
        ProfileView(row.id or 0, row.group_id, row.name, people.get(row.created_by, "—"), row.created_at, row.ended_at)
        for row in rows
    ]


def digests(session: Session) -> dict[str, tuple[str, ...]]:
    """Return what a policy holds of each group's profiles."""
    rows = session.exec(select(DeviceProfile).where(col(DeviceProfile.ended_at).is_(None)))
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.group_id, []).append(row.digest)
    return {group: tuple(sorted(held)) for group, held in found.items()}


def _require(actor: Actor) -> None:
    access.require(access.may_administer(actor) and actor.is_person, _ONLY_ADMINISTRATORS)
