"""The requester's pages: my requests, the form, one request with its story. Reads and shows; services decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, HTTPException
from sqlmodel import Session
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from blocklists.policy import EVERY_SITE, Audience
from portal import access
from portal.access import Actor
from portal.desk import evidence, queue, requests
from portal.desk.queue import RequestView
from portal.desk.requests import Draft
from portal.desk.tools import ToolDraft
from portal.errors import Conflict, Invalid
from portal.models.district import ClientGroup
from portal.pages import cards, findings, forms, frame, story, streams, times, words
from portal.pages.forms import Form
from portal.pages.web import Number, PersonVisit, Sent, SentForm, SignedVisit, go
from portal.pages.words import Option, Word
from portal.places import district
from portal.rules import blocking
from portal.verdicts import why

router = APIRouter()


# ---- my requests ----


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    tools: str
    purpose: str
    word: Word
    note: str
    starts_on: str
    ends_on: str
    created_at: int
    waiting: bool


@router.get("/requests")
def mine(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        rows = _mine(session, visit.actor, visit.now)
        return visit.page(
            session,
            "requests/mine.html",
            rows=rows,
            may_submit=access.may_submit(visit.actor),
            waiting=any(row.waiting for row in rows),
            live=frame.live("/requests/events", rows),
        )


@router.get("/requests/events")
def mine_events(visit: PersonVisit) -> EventSourceResponse:
    return streams.watch(visit, lambda session, actor, now: frame.fingerprint(_mine(session, actor, now)))


def _mine(session: Session, actor: Actor, now: float) -> tuple[_Row, ...]:
    views = queue.find(session, actor, now, mine=True)
    given = cards.cards(session, [grant for view in views for grant in view.grants], now)
    found = []
    for view in views:
        own = tuple(sorted((card for card in given if card.request_id == view.id), key=lambda card: card.id))
        found.append(
            _Row(
                view.id,
                story.tools(view),
                view.purpose,
                story.state(view, own),
                own[-1].note if own else "",
                view.starts_on,
                view.ends_on,
                view.created_at,
                any(card.waiting for card in own),
            )
        )
    return tuple(found)


# ---- the form ----


@router.get("/requests/new")
def new(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        access.require(
            access.may_submit(visit.actor), "A request is written by an employee with an account of their own."
        )
        usual = requests.defaults(session, visit.actor, visit.now)
        tools = visit.request.query_params.getlist("tool")
        code = visit.request.query_params.get("code", "")
        blocked = why.read_code(session, code) if code else None
        place = None if blocked is None else session.get(ClientGroup, blocked[1])
        form = Form(
            forms.of(
                tool=tools if blocked is None else [blocked[0]],
                use=usual.use,
                audiences=usual.audiences if place is None else [str(place.audience)],
                sites=usual.sites if place is None else [place.site_id],
                starts_on=usual.starts_on,
                ends_on=usual.ends_on,
            )
        )
        return _form(visit, session, form, unknown_code=code if blocked is None else "")


@router.get("/requests/check")
def check(visit: PersonVisit, tool: str) -> Response:
    """What is known of one text, as the fragment that the form shows beside it."""
    with visit.reading() as session:
        return frame.fragment(session, "requests/known.html", known=_known(visit, session, [tool])[0])


@router.post("/requests")
def send(visit: SentForm) -> Response:
    tools = tuple(text.strip() for text in visit.values("tool") if text.strip())
    typed = {**visit.typed, "tool": list(tools)}
    if visit.value("action") != "send":
        if visit.value("action") == "more":
            typed["tool"].append("")
        with visit.reading() as session:
            return _form(visit, session, Form(typed))
    draft = Draft(
        tools=tuple(ToolDraft(text) for text in tools),
        purpose=visit.value("purpose"),
        use=visit.value("use"),
        audiences=tuple(visit.values("audiences")),
        sites=tuple(visit.values("sites")),
        starts_on=visit.value("starts_on"),
        ends_on=visit.value("ends_on"),
    )
    try:
        with visit.writing() as session:
            row = requests.submit(session, visit.actor, visit.now, draft, once=True)
            number = row.id
    except Invalid as error:
        with visit.reading() as session:
            return _form(visit, session, forms.refused(typed, error), 422)
    return go(f"/requests/{number}")


@dataclass(frozen=True, slots=True)
class _Tool:
    typed: str
    wrong: list[str]
    known: findings.Known | None


def _form(visit: SignedVisit, session: Session, form: Form, status: int = 200, unknown_code: str = "") -> Response:
    typed = list(form.values("tool")) or [""]
    known = _known(visit, session, typed)
    sites = [Option(site.id, site.name) for site in district.sites(session)] + [Option(EVERY_SITE, "Every site")]
    return visit.page(
        session,
        "requests/new.html",
        status,
        form=form,
        unknown_code=unknown_code[:40],
        tools=[_Tool(text, form.wrong(f"tools[{at}]"), known[at]) for at, text in enumerate(typed)],
        services=blocking.services(session),
        uses=list(words.USES.values()),
        audiences=list(words.AUDIENCES.values()),
        sites=sites,
        summary=_summary(form, {site.value: site.text for site in sites}),
        unfold=any(form.wrong(name) for name in ("audiences", "sites", "starts_on", "ends_on")),
    )


def _known(visit: SignedVisit, session: Session, typed: list[str]) -> list[findings.Known | None]:
    snapshot = visit.wired.current.refresh(session)
    found = {
        one.typed: one for one in evidence.evidence(session, snapshot, [text for text in typed if text], visit.now)
    }
    return [findings.known(found[text]) if text in found else None for text in typed]


def _summary(form: Form, site_names: Mapping[str, str]) -> str:
    audiences = [words.AUDIENCES[one].text for one in Audience if one in form.values("audiences")]
    sites = [site_names[one] for one in form.values("sites") if one in site_names]
    who = words.listed(audiences) or "nobody yet"
    days = [times.day_words(form.value(name)) for name in ("starts_on", "ends_on")]
    return f"{who} at {words.listed(sites) or 'no site yet'}, {days[0]} until {days[1]}"


# ---- one request ----


@router.get("/requests/{number}")
def one(visit: PersonVisit, number: Number) -> Response:
    with visit.reading() as session:
        return show(visit, session, number, Form())


@router.get("/requests/{number}/events")
def one_events(visit: PersonVisit, number: Number) -> EventSourceResponse:
    return streams.watch(visit, lambda session, actor, now: shown(session, actor, now, number)[2])


def shown(session: Session, actor: Actor, now: float, number: int) -> tuple[RequestView, tuple[cards.Card, ...], str]:
    """Return a request, its grants (oldest first), and the fingerprint of both."""
    view = queue.get(session, actor, now, number)
    given = tuple(sorted(cards.cards(session, view.grants, now), key=lambda card: card.id))
    return view, given, frame.fingerprint(view.revision, view.state, given)


def show(visit: SignedVisit, session: Session, number: int, form: Form, doing: str = "", status: int = 200) -> Response:
    view, given, seen = shown(session, visit.actor, visit.now, number)
    own = view.requester_id == visit.actor.user_id
    return visit.page(
        session,
        "requests/one.html",
        status,
        request=view,
        word=story.state(view, given),
        tool_names=story.tools(view),
        grants=given,
        gates=[card.gate for card in given],
        waiting=any(card.waiting for card in given),
        story=story.story(view, given),
        site_names=cards.site_names(session),
        form=form,
        doing=doing,
        may_review=access.may_decide(visit.actor, view.requester_id),
        back=_BACK[own],
        live=frame.Live(f"/requests/{number}/events", seen),
    )


@dataclass(frozen=True, slots=True)
class _Back:
    href: str
    text: str


_BACK = {True: _Back("/requests", "My requests"), False: _Back("/desk", "Service desk")}


@router.post("/requests/{number}/{deed}")
def act(visit: SentForm, number: Number, deed: str) -> Response:
    """Answer, withdraw, appeal or renew."""
    if deed not in ("answer", "withdraw", "appeal", "renew"):
        raise HTTPException(404)
    try:
        with visit.writing() as session:
            goal = _act(visit, session, number, deed)
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return show(visit, session, number, forms.refused(visit.typed, error), deed, error.status)
    return go(f"/requests/{goal}")


def _act(visit: Sent, session: Session, number: int, deed: str) -> int | None:
    who = (session, visit.actor, visit.now, number, visit.number("revision"))
    match deed:
        case "answer":
            return requests.answer(*who, visit.value("text")).id
        case "withdraw":
            return requests.withdraw(*who, visit.value("text")).id
        case "appeal":
            return requests.appeal(*who, visit.value("text")).id
    return requests.renew(*who, visit.value("purpose"), visit.value("starts_on"), visit.value("ends_on")).id
