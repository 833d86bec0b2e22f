"""`/requests`: write one, look at them, decide, answer, withdraw, appeal, renew."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field
from sqlmodel import Session

from blocklists.policy import Audience
from portal.api.dependencies import (
    CHANGES,
    READS,
    Answer,
    Before,
    Caller,
    Limit,
    Message,
    Moment,
    Number,
    Revision,
    Text,
    Word,
    problems,
)
from portal.api.grants import GrantOut, grants_out
from portal.desk import queue, requests
from portal.desk.queue import RequestView
from portal.desk.tools import ToolDraft
from portal.desk.workflow import Event
from portal.doors.grants import EntryDraft, GrantDraft, HoursDraft
from portal.errors import FieldError, Invalid
from portal.models.words import State, Use

router = APIRouter(prefix="/requests", tags=["requests"])

Words = Annotated[tuple[Word, ...], Field(max_length=1000)]


class ToolIn(Message):
    """A service by id or title, a host name, or a pasted URL; `urls` are examples of what is needed."""

    name: Annotated[str, Field(max_length=5000)] = ""
    urls: Annotated[tuple[Annotated[str, Field(max_length=5000)], ...], Field(max_length=100)] = ()


class RequestIn(Message):
    """Only tools and purpose are required. `audience`: students, staff, guests. `sites`: ids, or `*`."""

    tools: Annotated[tuple[ToolIn, ...], Field(max_length=100)]
    purpose: Text
    use: Word = ""
    audience: Words = ()
    sites: Words = ()
    starts_on: Word = ""
    ends_on: Word = ""


class EntryIn(Message):
    name: Annotated[str, Field(max_length=5000)]
    match: Word = "subtree"


class HoursIn(Message):
    """`days` of 0 (Monday) to 6; `from` and `to` as HH:MM in the district's zone."""

    days: Annotated[tuple[Annotated[int, Field(ge=0, le=6)], ...], Field(max_length=7)]
    start: Annotated[Word, Field(alias="from")]
    end: Annotated[Word, Field(alias="to")]


class GrantIn(Message):
    """`starts_at`, `ends_at`: a date (as an end, through that day), a local time, or RFC 3339 with an offset.
    `lifts_rewrites`: safe search and YouTube's restricted mode do not touch these names either."""

    entries: Annotated[tuple[EntryIn, ...], Field(max_length=1000)]
    sites: Words
    audiences: Words
    starts_at: Word
    ends_at: Word
    hours: Annotated[tuple[HoursIn, ...], Field(max_length=100)] = ()
    lifts_rewrites: bool = False


class DecisionIn(Message):
    """An approval without a grant gives what was asked for."""

    revision: Revision
    decision: Literal["approve", "deny", "ask", "not-our-block"]
    reason: Text = ""
    grant: GrantIn | None = None


class TextIn(Message):
    revision: Revision
    text: Text = ""


class RenewalIn(Message):
    revision: Revision
    purpose: Text = ""
    starts_on: Word = ""
    ends_on: Word = ""


class ToolOut(Answer):
    name: str
    service: str | None
    urls: list[str]
    names: list[str]
    dropped_path: bool


class NoteOut(Answer):
    author: str
    event: Event
    text: str
    at: Moment


class RequestOut(Answer):
    """`may`: what the caller may do to it now. `approved` is not yet in force: see the grant's `in_version`."""

    id: int
    uuid: str
    state: State
    revision: int
    requester: str
    tools: list[ToolOut]
    purpose: str
    use: Use
    audience: list[Audience]
    sites: list[str]
    starts_on: str
    ends_on: str
    renews: int | None
    created_at: Moment
    updated_at: Moment
    decided_by: str | None
    decided_at: Moment | None
    notes: list[NoteOut]
    grants: list[GrantOut]
    may: list[Event]


class RequestList(Answer):
    requests: list[RequestOut]


def _out(session: Session, view: RequestView, now: float) -> RequestOut:
    return RequestOut.model_validate(
        {
            "id": view.id,
            "uuid": view.uuid,
            "state": view.state,
            "revision": view.revision,
            "requester": view.requester,
            "tools": [ToolOut.model_validate(tool) for tool in view.tools],
            "purpose": view.purpose,
            "use": view.use,
            "audience": view.audiences,
            "sites": view.sites,
            "starts_on": view.starts_on,
            "ends_on": view.ends_on,
            "renews": view.renews_id,
            "created_at": view.created_at,
            "updated_at": view.updated_at,
            "decided_by": view.decided_by,
            "decided_at": view.decided_at,
            "notes": [NoteOut.model_validate(note) for note in view.notes],
            "grants": grants_out(session, view.grants, now),
            "may": sorted(view.may),
        }
    )


@router.post("", status_code=201, responses=CHANGES | problems(429))
def submit(call: Caller, message: RequestIn, response: Response) -> RequestOut:
    """Write a request."""
    draft = requests.Draft(
        tools=tuple(ToolDraft(tool.name, tool.urls) for tool in message.tools),
        purpose=message.purpose,
        use=message.use,
        audiences=message.audience,
        sites=message.sites,
        starts_on=message.starts_on,
        ends_on=message.ends_on,
    )
    with call.writing() as session:
        try:
            row = requests.submit(session, call.actor, call.now, draft)
        except Invalid as error:
            raise Invalid(error.detail, tuple(_as_sent(one) for one in error.errors)) from None
        response.headers["Location"] = f"/api/v1/requests/{row.id}"
        return _out(session, queue.get(session, call.actor, call.now, row.id or 0), call.now)


def _as_sent(error: FieldError) -> FieldError:
    """The service's `audiences` is this message's `audience`."""
    return FieldError(error.field.replace("audiences", "audience", 1), error.message)


@router.get("", responses=READS)
def find(
    call: Caller,
    state: Annotated[list[State], Query()] = [],  # noqa: B006
    mine: bool = False,
    before: Before = None,
    limit: Limit = 100,
) -> RequestList:
    """Requests that the caller may see, newest first."""
    with call.reading() as session:
        views = queue.find(session, call.actor, call.now, frozenset(state), mine, before, limit)
        return RequestList(requests=[_out(session, view, call.now) for view in views])


@router.get("/{number}", responses=READS)
def get(call: Caller, number: Number) -> RequestOut:
    with call.reading() as session:
        return _out(session, queue.get(session, call.actor, call.now, number), call.now)


@router.post("/{number}/decision", responses=CHANGES)
def decide(call: Caller, number: Number, message: DecisionIn) -> RequestOut:
    """Approve, deny, ask, or answer "not our block". A stale revision is a 409 that says who did what."""
    grant = None if message.grant is None else _draft(message.grant)
    with call.writing() as session:
        requests.decide(
            session,
            call.actor,
            call.now,
            number,
            message.revision,
            Event(message.decision),
            message.reason,
            grant,
            call.deps.catalogue,
        )
        return _out(session, queue.get(session, call.actor, call.now, number), call.now)


def _draft(grant: GrantIn) -> GrantDraft:
    return GrantDraft(
        entries=tuple(EntryDraft(entry.name, entry.match) for entry in grant.entries),
        sites=grant.sites,
        audiences=grant.audiences,
        starts_at=grant.starts_at,
        ends_at=grant.ends_at,
        hours=tuple(HoursDraft(one.days, one.start, one.end) for one in grant.hours),
        lifts_rewrites=grant.lifts_rewrites,
    )


@router.post("/{number}/answer", responses=CHANGES)
def answer(call: Caller, number: Number, message: TextIn) -> RequestOut:
    with call.writing() as session:
        row = requests.answer(session, call.actor, call.now, number, message.revision, message.text)
        return _out(session, queue.get(session, call.actor, call.now, row.id or 0), call.now)


@router.post("/{number}/withdraw", responses=CHANGES)
def withdraw(call: Caller, number: Number, message: TextIn) -> RequestOut:
    with call.writing() as session:
        row = requests.withdraw(session, call.actor, call.now, number, message.revision, message.text)
        return _out(session, queue.get(session, call.actor, call.now, row.id or 0), call.now)


@router.post("/{number}/appeal", responses=CHANGES)
def appeal(call: Caller, number: Number, message: TextIn) -> RequestOut:
    with call.writing() as session:
        row = requests.appeal(session, call.actor, call.now, number, message.revision, message.text)
        return _out(session, queue.get(session, call.actor, call.now, row.id or 0), call.now)


@router.post("/{number}/renew", status_code=201, responses=CHANGES)
def renew(call: Caller, number: Number, message: RenewalIn, response: Response) -> RequestOut:
    """Write a new request that renews an approved one."""
    with call.writing() as session:
        row = requests.renew(
            session,
            call.actor,
            call.now,
            number,
            message.revision,
            message.purpose,
            message.starts_on,
            message.ends_on,
        )
        response.headers["Location"] = f"/api/v1/requests/{row.id}"
        return _out(session, queue.get(session, call.actor, call.now, row.id or 0), call.now)
