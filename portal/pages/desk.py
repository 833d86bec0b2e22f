"""The service desk: the queue, and the page where a reviewer reads, edits the grant and decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from fastapi import APIRouter
from sqlmodel import Session
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from portal import access
from portal.access import Actor
from portal.desk import evidence, queue, requests
from portal.desk.queue import RequestView
from portal.desk.workflow import Event
from portal.doors.grants import GrantDraft
from portal.errors import Conflict, FieldError, Invalid, Refused
from portal.models.words import State
from portal.pages import cards, findings, frame, review_form, story, streams, times, words
from portal.pages.forms import Form
from portal.pages.requests import shown
from portal.pages.review_form import EntryRow
from portal.pages.tables import listing
from portal.pages.web import Before, Number, PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Word
from portal.places import district

router = APIRouter()

PER_PAGE = 100

# What the queue can show: query value -> heading and states; the first is what a reviewer has to do.
_VIEWS: dict[str, tuple[str, frozenset[State]]] = {
    "waiting": ("waiting for the desk", frozenset({State.SUBMITTED})),
    "asked": ("waiting for an answer", frozenset({State.ASKED})),
    "approved": ("approved", frozenset({State.APPROVED})),
    "denied": ("denied or not ours", frozenset({State.DENIED, State.NOT_OUR_BLOCK})),
    "all": ("in all", frozenset()),
}


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    tools: str
    purpose: str
    requester: str
    own: bool
    where: str
    starts_on: str
    soon: str
    created_at: int
    age: str
    word: Word


@dataclass(frozen=True, slots=True)
class _Count:
    href: str
    number: int
    text: str
    current: bool


@router.get("/desk")
def desk(visit: PersonVisit, show: str = "waiting", before: Before = None) -> Response:
    access.require(access.may_see_every_request(visit.actor), "The service desk's queue is for reviewers.")
    show = show if show in _VIEWS else "waiting"
    sorting = listing(visit.request, "age", descending=True)
    with visit.reading() as session:
        views, rows, counts = _queue(session, visit.actor, visit.now, show, before)
        older = views[-1].id if len(views) == PER_PAGE else None
        return visit.page(
            session,
            "desk/queue.html",
            rows=sorting.sort_rows(rows, _KEYS),
            counts=counts,
            listing=sorting,
            older=None if older is None else f"/desk?show={show}&before={older}",
            caption=f"Requests {_VIEWS[show][0]}",
            nothing=_NOTHING.get(show, ("No request here", "Choose another state above.")),
            live=frame.live(f"/desk/events?show={show}&before={before or 0}", rows, counts),
        )


_NOTHING = {"waiting": ("Nobody is waiting", "New requests appear here by themselves.")}


@router.get("/desk/events")
def desk_events(visit: PersonVisit, show: str = "waiting", before: Before = None) -> EventSourceResponse:
    access.require(access.may_see_every_request(visit.actor), "The service desk's queue is for reviewers.")
    show = show if show in _VIEWS else "waiting"
    return streams.watch(
        visit, lambda session, actor, now: frame.fingerprint(*_queue(session, actor, now, show, before or None)[1:])
    )


def _queue(
    session: Session, actor: Actor, now: float, show: str, before: int | None
) -> tuple[tuple[RequestView, ...], list[_Row], list[_Count]]:
    views = queue.find(session, actor, now, _VIEWS[show][1], before=before, limit=PER_PAGE)
    names = cards.site_names(session)
    today = district.today(session, now)
    given = cards.cards(session, [grant for view in views for grant in view.grants], now)
    rows = [
        _row(view, tuple(card for card in given if card.request_id == view.id), actor, now, today, names)
        for view in views
    ]
    tallied = queue.tally(session, actor)
    counts = [
        _Count(
            f"/desk?show={key}",
            sum(number for state, number in tallied.items() if not states or state in states),
            text,
            key == show,
        )
        for key, (text, states) in _VIEWS.items()
    ]
    return views, rows, counts


_KEYS = {
    "number": lambda row: row.id,
    "tool": lambda row: row.tools.casefold(),
    "requester": lambda row: row.requester.casefold(),
    "starts": lambda row: row.starts_on,
    "age": lambda row: (-row.created_at, -row.id),
    "state": lambda row: row.word.text,
}


def _row(
    view: RequestView, own: tuple[cards.Card, ...], actor: Actor, now: float, today: date, names: dict[str, str]
) -> _Row:
    days = (date.fromisoformat(view.starts_on) - today).days
    urgent = view.state in (State.SUBMITTED, State.ASKED)
    soon = {0: "today", 1: "tomorrow"}.get(days, "already begun" if days < 0 else "")
    return _Row(
        id=view.id,
        tools=story.tools(view),
        purpose=view.purpose,
        requester=view.requester,
        own=view.requester_id == actor.user_id,
        where=frame.site_names(view.sites, names),
        starts_on=view.starts_on,
        soon=soon if urgent else "",
        created_at=view.created_at,
        age=times.age(now - view.created_at) if urgent else "decided",
        word=story.state(view, tuple(sorted(own, key=lambda card: card.id))),
    )


# ---- one request, to be decided ----


@router.get("/desk/{number}")
def review(visit: PersonVisit, number: Number) -> Response:
    access.require(access.may_see_every_request(visit.actor), "Requests are reviewed by the service desk.")
    with visit.reading() as session:
        return _review(visit, session, number, None, Form())


@router.post("/desk/{number}")
def decide(visit: SentForm, number: Number) -> Response:
    decision = visit.value("decision")
    if not decision:  # "Another name", or the Enter key in a field: nothing is decided
        rows = review_form.rows(visit.typed)
        with visit.reading() as session:
            return _review(visit, session, number, [*rows, EntryRow("", on=True)], Form(visit.typed))
    if decision not in (Event.APPROVE, Event.ASK, Event.DENY, Event.NOT_OUR_BLOCK):
        raise Invalid("This is not a decision.", (FieldError("decision", "Choose one of the buttons."),))
    draft = review_form.draft(visit.typed) if decision == Event.APPROVE else None
    try:
        with visit.writing() as session:
            _decide(visit, session, number, Event(decision), draft)
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _refused(visit, session, number, error)
    return go(f"/requests/{number}" if decision == Event.APPROVE else "/desk")


def _decide(visit: SentForm, session: Session, number: int, decision: Event, draft: GrantDraft | None) -> None:
    requests.decide(
        session,
        visit.actor,
        visit.now,
        number,
        visit.number("revision"),
        decision,
        visit.value("reason"),
        draft,
        visit.wired.catalogue,
    )


def _refused(visit: SentForm, session: Session, number: int, error: Refused) -> Response:
    """Show everything again as it was typed, with what is wrong; after a conflict, who was faster."""
    form = Form(visit.typed) if isinstance(error, Conflict) else review_form.refused(visit.typed, error)
    conflict = error.detail if isinstance(error, Conflict) else ""
    return _review(visit, session, number, review_form.rows(visit.typed), form, error.status, conflict)


def _review(
    visit: SignedVisit,
    session: Session,
    number: int,
    rows: list[EntryRow] | None,
    form: Form,
    status: int = 200,
    conflict: str = "",
) -> Response:
    view, given, seen = shown(session, visit.actor, visit.now, number)
    found = evidence.evidence(session, visit.wired.current.refresh(session), _texts(view), visit.now)
    if rows is None:
        draft = requests.proposal(session, number)
        rows = [*review_form.proposed(draft, found, visit.wired.catalogue.locked), EntryRow("", on=True)]
        form = replace(form, typed=review_form.typed(draft))
    may_decide = bool(view.may & {Event.APPROVE, Event.DENY}) or bool(conflict)
    return visit.page(
        session,
        "desk/review.html",
        status,
        request=view,
        word=story.state(view, given),
        tool_names=story.tools(view),
        conflict=conflict,
        own=view.requester_id == visit.actor.user_id and access.may_review(visit.actor),
        may_decide=may_decide,
        findings=findings.all_known(found),
        entries=[replace(row, wrong=tuple(form.wrong(f"entries[{at}]"))) for at, row in enumerate(rows)],
        matches=list(words.MATCHES.values()),
        audiences=list(words.AUDIENCES.values()),
        sites=review_form.site_options(district.sites(session)),
        days=words.DAYS,
        hours=review_form.hours_rows(form.typed),
        hours_open=bool(form.wrong("hours")) or review_form.has_hours(form.typed),
        hours_summary=review_form.hours_summary(form.typed),
        form=form,
        grants=given,
        gates=[card.gate for card in given],
        story=story.story(view, given),
        site_names=cards.site_names(session),
        live=frame.Live(f"/requests/{number}/events", seen),
    )


def _texts(view: RequestView) -> list[str]:
    """What to look up: a service by its title, anything else by each of its names."""
    return list(dict.fromkeys(text for tool in view.tools for text in _texts_of(tool.service, tool.name, tool.names)))


def _texts_of(service: str | None, name: str, names: Iterable[str]) -> Iterable[str]:
    return (service,) if service else names or (name,)
