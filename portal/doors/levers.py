"""Brakes and corrections: what is pulled when a block must come at once, or when a list is wrong.

A correction that touches a locked category takes effect only after a second person said yes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import desc, update
from sqlmodel import Session, col, select

from blocklists import names, policy
from blocklists.policy import Match
from portal import access, audit, moments
from portal.access import Actor
from portal.catalogue import Catalogue
from portal.errors import Conflict, NotFound
from portal.fields import Mistakes
from portal.models.levers import BrakeRow, CorrectionRow
from portal.models.people import User
from portal.outbox import record_change
from portal.places import district
from portal.rules import blocking

EVERY_LIST = "*"
_MAX_REVIEW_DAYS = 366
_ONLY_ADMINISTRATORS = "Only an administrator sets and releases brakes."


@dataclass(frozen=True, slots=True)
class BrakeView:
    id: int
    name: str
    reason: str
    created_by: str
    created_at: int
    released_by: str | None
    released_at: int | None


@dataclass(frozen=True, slots=True)
class CorrectionDraft:
    """ "List L is wrong about name N". `lists`: list ids, or `*` alone. `review_on`: ISO date."""

    name: str
    match: str
    lists: tuple[str, ...]
    reason: str
    review_on: str


@dataclass(frozen=True, slots=True)
class CorrectionView:
    """`waits`: it concerns a locked category and has no second person yet, so no policy holds it."""

    id: int
    name: str
    match: policy.Match
    lists: tuple[str, ...]
    reason: str
    review_on: str
    created_by: str
    created_by_id: int
    created_at: int
    confirmed_by: str | None
    waits: bool
    ended_at: int | None


def set_brake(session: Session, actor: Actor, now: float, name: str, reason: str) -> BrakeView:
    """Block a name and all below it for everybody, over every grant."""
    access.require(access.may_administer(actor) and actor.is_person, _ONLY_ADMINISTRATORS)
    assert actor.user_id is not None
    mistakes = Mistakes()
    canonical = _name(mistakes, name)
    reason = mistakes.text("reason", reason, "say why", 2000)
    mistakes.stop()
    standing = select(BrakeRow).where(BrakeRow.name == canonical, col(BrakeRow.released_at).is_(None))
    if (other := session.exec(standing).first()) is not None:
        raise Conflict(f"Brake {other.id} holds {canonical} already.")
    row = BrakeRow(name=canonical, reason=reason, created_by=actor.user_id, created_at=int(now))
    session.add(row)
    session.flush()
    record_change(session, actor, now, "lever.brake.set", f"brake:{row.id}", {"name": canonical})
    return _brake_views(session, [row])[0]


def release_brake(session: Session, actor: Actor, now: float, brake_id: int) -> BrakeView:
    access.require(access.may_administer(actor) and actor.is_person, _ONLY_ADMINISTRATORS)
    row = session.get(BrakeRow, brake_id)
    if row is None:
        raise NotFound(f"There is no brake {brake_id}.")
    mine = update(BrakeRow).where(col(BrakeRow.id) == brake_id, col(BrakeRow.released_at).is_(None))
    values = {"released_at": int(now), "released_by": actor.user_id}
    won = session.execute(mine.values(**values).execution_options(synchronize_session=False))
    session.refresh(row)
    view = _brake_views(session, [row])[0]
    if getattr(won, "rowcount", 0) != 1:
        at = moments.words(view.released_at or 0, now, district.zone(session))
        raise Conflict(f"{view.released_by} released this brake {at}; reload to see it.")
    record_change(session, actor, now, "lever.brake.release", f"brake:{row.id}", {"name": row.name})
    return view


def brakes(session: Session, released: bool = False) -> tuple[BrakeView, ...]:
    """Return the brakes that are set (with `released`: all), newest first."""
    query = select(BrakeRow).order_by(desc(col(BrakeRow.id)))
    if not released:
        query = query.where(col(BrakeRow.released_at).is_(None))
    return _brake_views(session, session.exec(query).all())


def create_correction(
    session: Session, actor: Actor, now: float, draft: CorrectionDraft, catalogue: Catalogue
) -> CorrectionView:
    access.require(access.may_propose_correction(actor), "Only a reviewer or an administrator corrects a list.")
    assert actor.user_id is not None
    mistakes = Mistakes()
    name = _name(mistakes, draft.name)
    match = mistakes.word("match", draft.match, Match, Match.EXACT)
    if match is Match.VIA:
        mistakes.add("match", "a correction is exact or subtree")
    lists = (EVERY_LIST,) if EVERY_LIST in draft.lists else draft.lists
    if not lists:
        mistakes.add("lists", "say which lists are wrong about it; * means every list")
    if lists != (EVERY_LIST,):
        lists = mistakes.known("lists", lists, catalogue.lists(), "list")
    reason = mistakes.text("reason", draft.reason, "say why the list is wrong", 2000)
    review = mistakes.date("review_on", draft.review_on)
    today = district.today(session, now)
    if review is not None and not today < review <= today + timedelta(days=_MAX_REVIEW_DAYS):
        mistakes.add("review_on", "choose a day after today, at most a year ahead")
    mistakes.stop()
    row = CorrectionRow(
        name=name,
        match=match,
        lists=list(lists),
        reason=reason,
        review_on="" if review is None else review.isoformat(),
        created_by=actor.user_id,
        created_at=int(now),
    )
    session.add(row)
    session.flush()
    detail: audit.Detail = {"name": name, "match": str(match), "lists": list(lists), "review_on": row.review_on}
    record_change(session, actor, now, "lever.correction.create", f"correction:{row.id}", detail)
    return _correction_views(session, [row], catalogue)[0]


def confirm_correction(
    session: Session, actor: Actor, now: float, correction_id: int, catalogue: Catalogue
) -> CorrectionView:
    """The second person says yes: an administrator, never the author."""
    row = _correction(session, correction_id)
    access.require(
        access.may_administer(actor) and actor.is_person,
        "Only an administrator confirms a correction of a locked list.",
    )
    access.require(actor.user_id != row.created_by, "The second person is somebody else than the author.")
    mine = update(CorrectionRow).where(
        col(CorrectionRow.id) == correction_id,
        col(CorrectionRow.confirmed_by).is_(None),
        col(CorrectionRow.ended_at).is_(None),
    )
    won = session.execute(mine.values(confirmed_by=actor.user_id).execution_options(synchronize_session=False))
    session.refresh(row)
    view = _correction_views(session, [row], catalogue)[0]
    if getattr(won, "rowcount", 0) != 1:
        what = "was ended" if row.ended_at is not None else f"was confirmed by {view.confirmed_by}"
        raise Conflict(f"This correction {what} already; reload to see it.")
    record_change(session, actor, now, "lever.correction.confirm", f"correction:{row.id}", {"name": row.name})
    return view


def end_correction(
    session: Session, actor: Actor, now: float, correction_id: int, catalogue: Catalogue
) -> CorrectionView:
    access.require(access.may_propose_correction(actor), "Only a reviewer or an administrator ends a correction.")
    row = _correction(session, correction_id)
    mine = update(CorrectionRow).where(col(CorrectionRow.id) == correction_id, col(CorrectionRow.ended_at).is_(None))
    won = session.execute(mine.values(ended_at=int(now)).execution_options(synchronize_session=False))
    session.refresh(row)
    if getattr(won, "rowcount", 0) != 1:
        raise Conflict("This correction was ended already; reload to see it.")
    record_change(session, actor, now, "lever.correction.end", f"correction:{row.id}", {"name": row.name})
    return _correction_views(session, [row], catalogue)[0]


def corrections(session: Session, catalogue: Catalogue, ended: bool = False) -> tuple[CorrectionView, ...]:
    """Return the corrections that count or wait (with `ended`: all), newest first."""
    query = select(CorrectionRow).order_by(desc(col(CorrectionRow.id)))
    if not ended:
        query = query.where(col(CorrectionRow.ended_at).is_(None))
    return _correction_views(session, session.exec(query).all(), catalogue)


def _name(mistakes: Mistakes, text: str) -> str:
    try:
        return names.grantable(names.understand(text).name)
    except names.BadName as error:
        mistakes.add("name", error.reason)
        return ""


def _correction(session: Session, correction_id: int) -> CorrectionRow:
    row = session.get(CorrectionRow, correction_id)
    if row is None:
        raise NotFound(f"There is no correction {correction_id}.")
    return row


def _brake_views(session: Session, rows: Sequence[BrakeRow]) -> tuple[BrakeView, ...]:
    people = _people(session, [row.created_by for row in rows] + [row.released_by for row in rows])
    return tuple(
        BrakeView(
            row.id or 0,
            row.name,
            row.reason,
            people.get(row.created_by, ""),
            row.created_at,
            None if row.released_by is None else people.get(row.released_by, ""),
            row.released_at,
        )
        for row in rows
    )


def _correction_views(
    session: Session, rows: Sequence[CorrectionRow], catalogue: Catalogue
) -> tuple[CorrectionView, ...]:
    people = _people(session, [row.created_by for row in rows] + [row.confirmed_by for row in rows])
    locked = {category.id for category in blocking.categories(session) if category.locked}
    touchy = (
        {one for one, category in catalogue.lists().items() if category in locked} | {EVERY_LIST} if rows else set()
    )
    return tuple(
        CorrectionView(
            id=row.id or 0,
            name=row.name,
            match=row.match,
            lists=tuple(row.lists),
            reason=row.reason,
            review_on=row.review_on,
            created_by=people.get(row.created_by, ""),
            created_by_id=row.created_by,
            created_at=row.created_at,
            confirmed_by=None if row.confirmed_by is None else people.get(row.confirmed_by, ""),
            waits=row.confirmed_by is None and row.ended_at is None and not touchy.isdisjoint(row.lists),
            ended_at=row.ended_at,
        )
        for row in rows
    )


def _people(session: Session, ids: Iterable[int | None]) -> dict[int, str]:
    wanted = {one for one in ids if one is not None}
    rows = session.exec(select(User).where(col(User.id).in_(wanted))) if wanted else ()
    return {user.id: user.name for user in rows if user.id is not None}
