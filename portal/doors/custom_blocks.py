"""Custom blocks: an administrator's ordinary blocks, scoped like a grant, each with a reason and a day of review.

At the same name one beats a grant; deeper names of a grant stay open. What must stop at once, for everybody and over
every grant, is a brake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import desc, update
from sqlmodel import Session, col, select

from blocklists import names
from blocklists.policy import Audience, CustomBlock, Match
from portal import access, audit
from portal.access import Actor
from portal.doors import grants
from portal.errors import Conflict, NotFound
from portal.fields import Mistakes
from portal.models.levers import CustomBlockRow
from portal.models.people import User
from portal.outbox import record_change
from portal.places import district

_MAX_REVIEW_DAYS = 366
_ONLY_ADMINISTRATORS = "Only an administrator blocks a name."


@dataclass(frozen=True, slots=True)
class BlockDraft:
    """`sites`: ids, or `*` alone. `review_on`: ISO date, at most a year ahead."""

    name: str
    match: str
    sites: tuple[str, ...]
    audiences: tuple[str, ...]
    reason: str
    review_on: str


@dataclass(frozen=True, slots=True)
class BlockView:
    id: int
    name: str
    match: Match
    sites: tuple[str, ...]
    audiences: tuple[Audience, ...]
    reason: str
    review_on: str
    created_by: str
    created_at: int
    ended_at: int | None


def create(session: Session, actor: Actor, now: float, draft: BlockDraft) -> BlockView:
    access.require(access.may_administer(actor) and actor.is_person, _ONLY_ADMINISTRATORS)
    assert actor.user_id is not None
    mistakes = Mistakes()
    name = ""
    try:
        name = names.grantable(names.understand(draft.name).name)
    except names.BadName as error:
        mistakes.add("name", error.reason)
    match = mistakes.word("match", draft.match, Match, Match.SUBTREE)
    if match is Match.VIA:
        mistakes.add("match", "a block is exact or subtree")
    sites = grants.read_sites(session, mistakes, "sites", draft.sites)
    audiences = mistakes.words("audiences", draft.audiences, Audience, "say who: students, staff or guests")
    reason = mistakes.text("reason", draft.reason, "say why", 2000)
    review = mistakes.date("review_on", draft.review_on)
    today = district.today(session, now)
    if review is not None and not today < review <= today + timedelta(days=_MAX_REVIEW_DAYS):
        mistakes.add("review_on", "choose a day after today, at most a year ahead")
    mistakes.stop()
    row = CustomBlockRow(
        name=name,
        match=match,
        sites=list(sites),
        audiences=[str(one) for one in audiences],
        reason=reason,
        review_on="" if review is None else review.isoformat(),
        created_by=actor.user_id,
        created_at=int(now),
    )
    session.add(row)
    session.flush()
    detail: audit.Detail = {"name": name, "match": str(match), "sites": row.sites, "audiences": row.audiences}
    record_change(session, actor, now, "lever.block.create", f"block:{row.id}", detail)
    return _views(session, [row])[0]


def end(session: Session, actor: Actor, now: float, block_id: int) -> BlockView:
    access.require(access.may_administer(actor) and actor.is_person, _ONLY_ADMINISTRATORS)
    row = session.get(CustomBlockRow, block_id)
    if row is None:
        raise NotFound(f"There is no block {block_id}.")
    mine = update(CustomBlockRow).where(col(CustomBlockRow.id) == block_id, col(CustomBlockRow.ended_at).is_(None))
    won = session.execute(mine.values(ended_at=int(now)).execution_options(synchronize_session=False))
    if getattr(won, "rowcount", 0) != 1:
        raise Conflict("This block was ended already; reload to see it.")
    session.refresh(row)
    record_change(session, actor, now, "lever.block.end", f"block:{row.id}", {"name": row.name})
    return _views(session, [row])[0]


def find(session: Session, ended: bool = False) -> tuple[BlockView, ...]:
    """Return the blocks that count (with `ended`: all), newest first."""
    query = select(CustomBlockRow).order_by(desc(col(CustomBlockRow.id)))
    if not ended:
        query = query.where(col(CustomBlockRow.ended_at).is_(None))
    return _views(session, session.exec(query).all())


def live(session: Session) -> tuple[CustomBlock, ...]:
    """Return what belongs into a policy."""
    rows = select(CustomBlockRow).where(col(CustomBlockRow.ended_at).is_(None)).order_by(col(CustomBlockRow.id))
    return tuple(
        CustomBlock(row.id or 0, row.name, row.match, tuple(row.sites), tuple(Audience(one) for one in row.audiences))
        for row in session.exec(rows)
    )


def _views(session: Session, rows: Sequence[CustomBlockRow]) -> tuple[BlockView, ...]:
    wanted = {row.created_by for row in rows}
    people = {user.id: user.name for user in session.exec(select(User).where(col(User.id).in_(wanted)))}
    return tuple(
        BlockView(
            id=row.id or 0,
            name=row.name,
            match=row.match,
            sites=tuple(row.sites),
            audiences=tuple(Audience(one) for one in row.audiences),
            reason=row.reason,
            review_on=row.review_on,
            created_by=people.get(row.created_by, ""),
            created_at=row.created_at,
            ended_at=row.ended_at,
        )
        for row in rows
    )
