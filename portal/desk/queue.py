"""Looking at requests: one with everything a page shows, or many. Reads only.

A requester sees their own requests; reviewers, administrators and auditors see all. To everybody else a request that
is not theirs does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import desc, func
from sqlmodel import Session, col, select

from blocklists.policy import Audience
from portal import access
from portal.access import Actor
from portal.desk import workflow
from portal.desk.tools import Tool, stored
from portal.desk.workflow import Event, Party
from portal.doors import grants
from portal.doors.grants import GrantView
from portal.errors import NotFound
from portal.models.people import User
from portal.models.requests import Request, RequestNote
from portal.models.words import State, Use


@dataclass(frozen=True, slots=True)
class Note:
    author: str
    author_id: int
    event: Event
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request with everything a page shows. `may`: what the actor who asked may do to it now."""

    id: int
    uuid: str
    state: State
    revision: int
    requester_id: int
    requester: str
    tools: tuple[Tool, ...]
    purpose: str
    use: Use
    audiences: tuple[Audience, ...]
    sites: tuple[str, ...]
    starts_on: str
    ends_on: str
    renews_id: int | None
    created_at: int
    updated_at: int
    decided_by: str | None
    decided_at: int | None
    notes: tuple[Note, ...]
    grants: tuple[GrantView, ...]
    may: frozenset[Event]


def get(session: Session, actor: Actor, now: float, request_id: int) -> RequestView:
    """Raises `NotFound` when there is none, or none that this actor may see."""
    row = session.get(Request, request_id)
    if row is None or not access.may_see_request(actor, row.requester_id):
        raise NotFound(f"There is no request {request_id}.")
    return _views(session, actor, now, [row])[0]


def find(
    session: Session,
    actor: Actor,
    now: float,
    states: frozenset[State] = frozenset(),
    mine: bool = False,
    before: int | None = None,
    limit: int = 100,
) -> tuple[RequestView, ...]:
    """Return requests that the actor may see, newest first; empty `states`: all; `before` a number, to page on."""
    query = select(Request).order_by(desc(col(Request.id))).limit(limit)
    if mine or not access.may_see_every_request(actor):
        query = query.where(Request.requester_id == (actor.user_id or 0))
    if states:
        query = query.where(col(Request.state).in_(states))
    if before is not None:
        query = query.where(col(Request.id) < before)
    return _views(session, actor, now, session.exec(query).all())


def tally(session: Session, actor: Actor) -> dict[State, int]:
    """Return how many requests are in each state; empty for those who do not see them all."""
    if not access.may_see_every_request(actor):
        return {}
    counted = session.exec(select(Request.state, func.count()).group_by(col(Request.state)))
    return {State(state): number for state, number in counted}


def waiting(session: Session, actor: Actor) -> int:
    """Return how many requests wait for the desk; 0 for those who do not see them all."""
    return tally(session, actor).get(State.SUBMITTED, 0)


def _views(session: Session, actor: Actor, now: float, rows: Sequence[Request]) -> tuple[RequestView, ...]:
    if not rows:
        return ()
    ids = [row.id for row in rows if row.id is not None]
    said = session.exec(
        select(RequestNote).where(col(RequestNote.request_id).in_(ids)).order_by(col(RequestNote.id))
    ).all()
    given = grants.find(session, actor, now, request_ids=ids, limit=10_000)
    people = _people(
        session,
        {row.requester_id for row in rows} | {row.decided_by or 0 for row in rows} | {note.author_id for note in said},
    )
    found: list[RequestView] = []
    for row in rows:
        assert row.id is not None
        view = RequestView(
            id=row.id,
            uuid=row.uuid,
            state=row.state,
            revision=row.revision,
            requester_id=row.requester_id,
            requester=people[row.requester_id],
            tools=tuple(stored(tool) for tool in row.tools),
            purpose=row.purpose,
            use=row.use,
            audiences=tuple(Audience(one) for one in row.audiences),
            sites=tuple(row.sites),
            starts_on=row.starts_on,
            ends_on=row.ends_on,
            renews_id=row.renews_id,
            created_at=row.created_at,
            updated_at=row.updated_at,
            decided_by=None if row.decided_by is None else people[row.decided_by],
            decided_at=row.decided_at,
            notes=tuple(
                Note(people[note.author_id], note.author_id, Event(note.event), note.text, note.at)
                for note in said
                if note.request_id == row.id
            ),
            grants=tuple(view for view in given if view.request_id == row.id),
            may=_may(actor, row),
        )
        found.append(view)
    return tuple(found)


def _people(session: Session, ids: Iterable[int]) -> dict[int, str]:
    rows = session.exec(select(User).where(col(User.id).in_(set(ids))))
    return {user.id: user.name for user in rows if user.id is not None}


def _may(actor: Actor, row: Request) -> frozenset[Event]:
    may: frozenset[Event] = frozenset()
    if access.may_decide(actor, row.requester_id):
        may |= workflow.events(row.state, Party.REVIEWER)
    if actor.is_person and actor.user_id == row.requester_id:
        may |= workflow.events(row.state, Party.REQUESTER)
    return may
