"""Resolvers: what each was offered and has acknowledged, its clock, its refusals; new enrolment tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter
from sqlmodel import Session
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from portal import access, delivery, enrolment, sight
from portal.access import Actor
from portal.delivery import NodeView
from portal.errors import Conflict, Invalid
from portal.live import DELIVERY, Event
from portal.pages import cards, forms, frame, streams, times, words
from portal.pages.cards import Gate
from portal.pages.forms import Form
from portal.pages.web import Number, PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Word

router = APIRouter()

SILENT = 20  # seconds without a word from a node: it is said to be silent
SKEW_MS = 2_000  # a clock this far off is said to be wrong
ALERT_SKEW_MS = 30_000  # and this far off, windows and grants begin and end at wrong times: an alert
ALERT_BEHIND = 60  # seconds without the newest policy: an alert

_CLOCK = Word("Its clock is wrong", "shut", "alert")
_REFUSED = Word("Refused the newest policy", "shut", "alert")


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    name: str
    listening: str
    workers: str
    sites: str
    word: Word
    trouble: str
    offered: str
    acked: str
    seen_at: int | None
    seen: str
    skew: str


@router.get("/nodes")
def page(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _page(visit, session)


@router.get("/nodes/events")
def events(visit: PersonVisit) -> EventSourceResponse:
    return streams.watch(visit, lambda session, actor, now: frame.fingerprint(_rows(session, actor, now)))


@router.post("/nodes/{number}/retire")
def retire(visit: SentForm, number: Number) -> Response:
    """Cut a resolver off for good; no grant waits for it any more."""
    try:
        with visit.writing() as session:
            enrolment.retire(session, visit.actor, visit.now, number, visit.value("reason"))
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _page(visit, session, form=forms.refused(visit.typed, error), status=error.status)
    visit.wired.live.disconnect(number)
    visit.wired.live.publish(Event(DELIVERY))
    return go("/nodes")


@router.post("/nodes/tokens")
def token(visit: SentForm) -> Response:
    """The secret is shown in this one answer and kept nowhere."""
    with visit.writing() as session:
        secret = enrolment.create_enrolment_token(session, visit.actor, visit.now, visit.wired.keys.current.fingerprint)
    with visit.reading() as session:
        return _page(visit, session, secret)


def _page(
    visit: SignedVisit, session: Session, secret: str = "", form: Form | None = None, status: int = 200
) -> Response:
    rows = _rows(session, visit.actor, visit.now)
    return visit.page(
        session,
        "nodes.html",
        status,
        rows=rows,
        form=form or Form(),
        forwarders=sight.forwarders(session, visit.actor, visit.now),
        gate=_gate(rows, visit.wired.jobs.trouble),
        secret=secret,
        may_enrol=access.may_administer(visit.actor),
        live=None if secret else frame.live("/nodes/events", rows),
    )


def _rows(session: Session, actor: Actor, now: float) -> tuple[_Row, ...]:
    access.require(access.may_see_district(actor), "Resolvers are shown to reviewers, administrators and auditors.")
    names = cards.site_names(session)
    return tuple(_row(view, names, now) for view in delivery.node_views(session))


def _row(view: NodeView, names: Mapping[str, str], now: float) -> _Row:
    status = view.status
    silent = view.last_seen_at is None or now - view.last_seen_at > SILENT
    return _Row(
        id=view.id,
        name=view.name,
        listening="" if status is None else ", ".join(status.listening),
        workers="" if status is None else f"{status.workers_ready} of {words.count(status.workers, 'worker')} ready",
        sites="every site" if not view.sites else frame.site_names(view.sites, names),
        word=_word(view, silent, now),
        trouble=_trouble(view),
        offered=_version(view.offered),
        acked=_version(view.acked),
        seen_at=view.last_seen_at if silent else None,
        seen="never" if view.last_seen_at is None else f"{times.age(now - view.last_seen_at)} ago" if silent else "now",
        skew=_skew(view.skew_ms),
    )


def _word(view: NodeView, silent: bool, now: float) -> Word:
    refused = view.nack_version is not None and view.nack_version > (view.acked or 0)
    if refused:
        return _REFUSED
    if silent:
        return Word("Silent", "wait", "alert")
    if view.behind_since is not None:
        late = now - view.behind_since
        if late > ALERT_BEHIND:
            return Word(f"Behind for {times.age(late)}", "shut", "alert")
        return Word("Behind", "wait", "wait")
    if abs(view.skew_ms or 0) > ALERT_SKEW_MS:
        return _CLOCK
    return Word("Up to date", "open", "yes")


def _trouble(view: NodeView) -> str:
    if view.nack_version is not None and view.nack_version > (view.acked or 0):
        return f"version {view.nack_version}: {view.nack_reason}"
    return "" if view.status is None else view.status.last_error


def _version(number: int | None) -> str:
    return "nothing yet" if number is None else f"version {number}"


def _skew(ms: int | None) -> str:
    if ms is None:
        return "unknown"
    if abs(ms) < SKEW_MS:
        return "right"
    return f"{times.lasted(abs(ms))} {'ahead' if ms > 0 else 'behind'}"


def _gate(rows: tuple[_Row, ...], trouble: str | None) -> Gate:
    fresh = sum(row.word.tone == "open" for row in rows)
    if trouble is not None:
        return Gate("shut", "alert", "The newest decisions are not published", trouble)
    if not rows:
        return Gate(
            "wait", "alert", "No resolver is enrolled", "Decisions are kept and published; nobody serves them yet."
        )
    title = f"{fresh} of {len(rows)} resolvers up to date"
    if fresh == len(rows):
        return Gate("open", "open", title, "Every one serves the newest policy.")
    last = "A resolver that is behind keeps enforcing the last policy that it accepted."
    if any(row.word.tone == "shut" for row in rows):
        return Gate("shut", "alert", title, last)
    return Gate("wait", "wait", title, last)
