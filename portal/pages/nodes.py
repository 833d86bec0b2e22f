"""Resolvers: what each was offered and has acknowledged, its clock, its refusals; new enrolment tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter
from sqlmodel import Session
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from portal import access
from portal.access import Actor
from portal.errors import Conflict, Invalid
from portal.nodes import delivery, enrolment, sight
from portal.nodes.delivery import NodeView
from portal.nodes.live import DELIVERY, Event
from portal.nodes.sight import Counts
from portal.pages import cards, charts, forms, frame, streams, times, words
from portal.pages.cards import Gate
from portal.pages.charts import Chart
from portal.pages.forms import Form
from portal.pages.web import Number, PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Word
from portal.upkeep import alerts, mail

router = APIRouter()

SKEW_MS = 2_000  # a clock this far off is said to be wrong

_CLOCK = Word("Its clock is wrong", "shut", "alert")
_REFUSED = Word("Refused the newest policy", "shut", "alert")


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    name: str
    listening: str
    engine: str
    workers: str
    sites: str
    word: Word
    trouble: str
    offered: str
    acked: str
    age: str  # of what it acknowledged
    refused: str  # the last refusal, long over or not
    seen_at: int | None
    seen: str
    skew: str
    rate: str  # empty: fewer than five devices, or nothing heard
    chart: Chart | None


@dataclass(frozen=True, slots=True)
class _Alert:
    title: str
    detail: str
    began_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class _Alerts:
    """`mail` says how mail stands; empty when all is well."""

    open: tuple[_Alert, ...]
    over: tuple[_Alert, ...]
    mail: str


@router.get("/nodes")
def page(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _page(visit, session)


@router.get("/nodes/events")
def events(visit: PersonVisit) -> EventSourceResponse:
    return streams.watch(visit, lambda session, actor, now: frame.fingerprint(_shown(session, actor, now)))


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
    rows, told = _shown(session, visit.actor, visit.now)
    return visit.page(
        session,
        "nodes.html",
        status,
        rows=rows,
        alerts=told,
        mail_set=visit.wired.config.mail is not None,
        form=form or Form(),
        forwarders=sight.forwarders(session, visit.actor, visit.now),
        gate=_gate(rows, visit.wired.jobs.trouble),
        secret=secret,
        may_enrol=access.may_administer(visit.actor),
        live=None if secret else frame.live("/nodes/events", (rows, told)),
    )


def _shown(session: Session, actor: Actor, now: float) -> tuple[tuple[_Row, ...], _Alerts]:
    return _rows(session, actor, now), _alerts(session)


def _alerts(session: Session) -> _Alerts:
    outbox = mail.standing(session)
    waits = f"{words.count(outbox.waiting, 'mail')} could not be sent yet: {outbox.error}" if outbox.error else ""
    return _Alerts(
        tuple(_Alert(one.title, one.detail, one.began_at, None) for one in alerts.current(session)),
        tuple(_Alert(one.title, one.detail, one.began_at, one.ended_at) for one in alerts.recent(session)),
        waits,
    )


def _rows(session: Session, actor: Actor, now: float) -> tuple[_Row, ...]:
    access.require(access.may_see_district(actor), "Resolvers are shown to reviewers, administrators and auditors.")
    names = cards.site_names(session)
    counted = sight.this_hour(session, actor, now)
    return tuple(_row(view, names, counted.get(view.id, Counts()).hidden, now) for view in delivery.node_views(session))


def _row(view: NodeView, names: Mapping[str, str], hidden: bool, now: float) -> _Row:
    status = view.status
    counts = None if hidden or status is None or status.sight is None else status.sight.minutes
    silent = view.last_seen_at is None or now - view.last_seen_at > delivery.SILENT
    return _Row(
        id=view.id,
        name=view.name,
        listening="" if status is None else ", ".join(status.listening),
        engine="" if status is None or not status.engine else f"engine {status.engine}",
        workers="" if status is None else f"{status.workers_ready} of {words.count(status.workers, 'worker')} ready",
        sites="every site" if not view.sites else frame.site_names(view.sites, names),
        word=_word(view, silent, now),
        trouble=_trouble(view),
        offered=_version(view.offered),
        acked=_version(view.acked),
        age="" if view.acked_published_at is None else f"made {times.age(now - view.acked_published_at)} ago",
        refused="" if view.nack_version is None else f"last refused version {view.nack_version}: {view.nack_reason}",
        seen_at=view.last_seen_at if silent else None,
        seen="never" if view.last_seen_at is None else f"{times.age(now - view.last_seen_at)} ago" if silent else "now",
        skew=_skew(view.skew_ms),
        rate="" if counts is None else charts.rate(sight.per_second(counts, now)),
        chart=None if counts is None else charts.chart(charts.full(counts, now)),
    )


def _word(view: NodeView, silent: bool, now: float) -> Word:
    refused = view.nack_version is not None and view.nack_version > (view.acked or 0)
    if refused:
        return _REFUSED
    if silent:
        return Word("Silent", "wait", "alert")
    if view.behind_since is not None:
        late = now - view.behind_since
        if late > alerts.BEHIND:
            return Word(f"Behind for {times.age(late)}", "shut", "alert")
        return Word("Behind", "wait", "wait")
    if abs(view.skew_ms or 0) > alerts.SKEW_MS:
        return _CLOCK
    return Word("Up to date", "open", "yes")


def _trouble(view: NodeView) -> str:
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
