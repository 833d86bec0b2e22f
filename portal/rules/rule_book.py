"""The book of rules: what stands for each scope and thing, and the change that wrote it. Rows only, no judgement.

A group's page, the answer about staff and `changes.py` all write through `record`, so every rule has an author, a
reason and a day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete
from sqlmodel import Session, col, select

from blocklists.policy import Audience, Group, Switch
from portal.models.rules import BlockRule, ChangeState, PolicyChange

INHERIT = "inherit"

Rules = Mapping[tuple[str, str], Switch]  # (scope, thing) -> what it says


@dataclass(frozen=True, slots=True)
class Line:
    """`scope`: district/AUDIENCE, level/LEVEL/AUDIENCE or group/SITE/AUDIENCE. `thing`: category/ID or service/ID.
    `say`: block, allow, inherit."""

    scope: str
    thing: str
    say: str


def standing(session: Session) -> dict[tuple[str, str], Switch]:
    """Return every rule that stands."""
    return {(row.scope, row.thing): row.say for row in session.exec(select(BlockRule))}


def plain(lines: Sequence[Line]) -> list[dict[str, str]]:
    return [{"scope": line.scope, "thing": line.thing, "say": line.say} for line in lines]


def write(session: Session, change: PolicyChange, lines: Sequence[Line]) -> None:
    """Make these lines stand, written by `change`, which keeps what stood before them."""
    assert change.id is not None
    stood = standing(session)
    change.before = plain(
        [Line(one.scope, one.thing, str(stood.get((one.scope, one.thing), INHERIT))) for one in lines]
    )
    session.add(change)
    for line in lines:
        mine = col(BlockRule.scope) == line.scope, col(BlockRule.thing) == line.thing
        session.execute(delete(BlockRule).where(*mine).execution_options(synchronize_session=False))
    session.expire_all()
    for line in lines:
        if line.say != INHERIT:
            session.add(BlockRule(scope=line.scope, thing=line.thing, say=Switch(line.say), change_id=change.id))
    session.flush()


def record(session: Session, author: int | None, now: float, lines: Sequence[Line], reason: str) -> None:
    """Write rules whose groups the caller sets itself, as a change that is published with them."""
    if not lines:
        return
    change = PolicyChange(
        state=ChangeState.PUBLISHED,
        lines=plain(lines),
        reason=reason,
        created_by=author,
        created_at=int(now),
        published_at=int(now),
        published_by=author,
    )
    session.add(change)
    session.flush()
    write(session, change, lines)


def own_rules(old: Group, new: Group) -> list[Line]:
    """What became different, as rules of the group's own: they outlast what its level or the district says."""
    scope = f"group/{new.id}"
    was = {one.service: one.switch for one in old.services}
    will = {one.service: one.switch for one in new.services}
    return [
        Line(scope, f"category/{one}", str(Switch.BLOCK if one in new.blocks else Switch.ALLOW))
        for one in sorted(set(old.blocks) ^ set(new.blocks))
        if new.audience is not Audience.GUESTS
    ] + [
        Line(scope, f"service/{one}", str(will.get(one, INHERIT)))
        for one in sorted(was.keys() | will.keys())
        if was.get(one) != will.get(one) and new.audience is not Audience.GUESTS
    ]
