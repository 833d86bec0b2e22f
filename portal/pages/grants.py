"""Grants: every open door with its authority, as a list, as CSV, and one by one with its revocation."""

from __future__ import annotations

from fastapi import APIRouter
from sqlmodel import Session
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from portal import access, moments
from portal.access import Actor
from portal.doors import grants
from portal.doors.grants import GrantStatus
from portal.errors import Conflict, Invalid
from portal.pages import cards, forms, frame, streams
from portal.pages.cards import Card
from portal.pages.forms import Form
from portal.pages.tables import as_csv, listing
from portal.pages.web import Before, Number, PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Option
from portal.places import district

router = APIRouter()

PER_PAGE = 50
MOST = 100_000  # rows of an export

_STATUSES = [
    Option(GrantStatus.IN_WINDOW, "running"),
    Option(GrantStatus.SCHEDULED, "scheduled"),
    Option(GrantStatus.ENDED, "ended"),
    Option(GrantStatus.REVOKED, "revoked"),
]

_KEYS = {
    "number": lambda card: card.id,
    "opens": lambda card: card.entries[0].name if card.entries else "",
    "for": lambda card: (card.audiences, card.sites),
    "until": lambda card: card.ends_at or 0,
    "authority": lambda card: (card.authority, card.request_id or 0),
    "state": lambda card: card.word.text,
}


@router.get("/grants")
def page(visit: PersonVisit, status: str = "", before: Before = None) -> Response:
    sorting = listing(visit.request, "number", descending=True)
    with visit.reading() as session:
        found = _cards(session, visit.actor, visit.now, status, before, PER_PAGE)
        return visit.page(
            session,
            "grants/list.html",
            rows=sorting.sort_rows(found, _KEYS),
            listing=sorting,
            status=status,
            statuses=_STATUSES,
            site_names=cards.site_names(session),
            older=f"/grants?status={status}&before={found[-1].id}" if len(found) == PER_PAGE else None,
            live=frame.live(f"/grants/events?status={status}&before={before or 0}", found),
        )


@router.get("/grants/events")
def events(visit: PersonVisit, status: str = "", before: Before = None) -> EventSourceResponse:
    return streams.watch(
        visit,
        lambda session, actor, now: frame.fingerprint(_cards(session, actor, now, status, before or None, PER_PAGE)),
    )


@router.get("/grants.csv")
def export(visit: PersonVisit, status: str = "") -> Response:
    with visit.reading() as session:
        found = _cards(session, visit.actor, visit.now, status, None, MOST)
        zone = district.zone(session)
    heading = ("grant", "names", "audiences", "sites", "from", "until", "hours", "authority", "number", "by", "state")
    rows = (
        (
            card.id,
            " ".join(f"{one.name}:{one.match}" for one in card.entries),
            " ".join(card.audiences),
            " ".join(card.sites),
            moments.iso(card.starts_at, zone),
            "" if card.ends_at is None else moments.iso(card.ends_at, zone),
            "; ".join(frame.hours(one) for one in card.hours),
            card.authority,
            card.request_id or card.id,
            card.created_by,
            card.word.text,
        )
        for card in found
    )
    return as_csv("grants.csv", heading, rows)


def _cards(session: Session, actor: Actor, now: float, status: str, before: int | None, limit: int) -> tuple[Card, ...]:
    wanted = GrantStatus(status) if status in list(GrantStatus) else None
    return cards.cards(session, grants.find(session, actor, now, wanted, before=before, limit=limit), now)


@router.get("/grants/{number}")
def one(visit: PersonVisit, number: Number) -> Response:
    with visit.reading() as session:
        return _one(visit, session, number, Form())


@router.get("/grants/{number}/events")
def one_events(visit: PersonVisit, number: Number) -> EventSourceResponse:
    return streams.watch(visit, lambda session, actor, now: frame.fingerprint(_card(session, actor, now, number)))


@router.post("/grants/{number}/revoke")
def revoke(visit: SentForm, number: Number) -> Response:
    try:
        with visit.writing() as session:
            grants.revoke(session, visit.actor, visit.now, number, visit.value("reason"))
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _one(visit, session, number, forms.refused(visit.typed, error), error.status)
    return go(f"/grants/{number}")


def _card(session: Session, actor: Actor, now: float, number: int) -> Card:
    return cards.cards(session, [grants.get(session, actor, now, number)], now)[0]


def _one(visit: SignedVisit, session: Session, number: int, form: Form, status: int = 200) -> Response:
    card = _card(session, visit.actor, visit.now, number)
    over = card.revoked_at is not None or (card.ends_at is not None and card.ends_at <= visit.now)
    return visit.page(
        session,
        "grants/one.html",
        status,
        grant=card,
        gate=card.gate,
        waiting=card.waiting,
        site_names=cards.site_names(session),
        may_revoke=access.may_revoke(visit.actor) and not over,
        form=form,
        live=frame.live(f"/grants/{number}/events", card),
    )
