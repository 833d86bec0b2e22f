"""Modes: prepared overlays, switched on in two taps and a reason, with a receipt and an end of their own."""

from __future__ import annotations

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from blocklists.policy import EVERY_SITE, ModeKind
from portal import access
from portal.doors import modes
from portal.doors.modes import ModeDraft
from portal.errors import Conflict, Invalid
from portal.pages import cards, forms, times, words
from portal.pages.forms import Form
from portal.pages.web import Number, PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Option, Word
from portal.places import district

router = APIRouter()

KINDS = {
    ModeKind.TESTING: Option(
        ModeKind.TESTING,
        "Testing",
        "Opens the vendor's names, suspends chosen grants, holds what is not urgent",
    ),
    ModeKind.LOCK_DOWN: Option(
        ModeKind.LOCK_DOWN, "Lock-down", "The strictest policy, no grants; a lock-down of students is one of guests too"
    ),
    ModeKind.OPEN: Option(
        ModeKind.OPEN, "Emergency open", "Allows all but the locked categories, for those that it names"
    ),
}


@router.get("/modes")
def page(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _page(visit, session, Form())


@router.post("/modes")
def prepare(visit: SentForm) -> Response:
    numbers = visit.value("suspended").replace(",", " ").split()
    draft = ModeDraft(
        kind=visit.value("kind"),
        title=visit.value("title"),
        sites=tuple(visit.values("sites")),
        audiences=tuple(visit.values("audiences")),
        minutes=visit.number("minutes"),
        pins=tuple(visit.value("pins").split()),
        suspended=tuple(int(one) if one.isascii() and one.isdecimal() and len(one) < 10 else 0 for one in numbers),
    )
    try:
        with visit.writing() as session:
            modes.prepare(session, visit.actor, visit.now, draft, visit.wired.catalogue)
    except Invalid as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused(visit.typed, error), error.status)
    return go("/modes")


@router.post("/modes/{number}/start")
def start(visit: SentForm, number: Number) -> Response:
    try:
        with visit.writing() as session:
            drill = visit.value("drill") == "yes"
            modes.start(session, visit.actor, visit.now, number, visit.value("reason"), drill)
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused({}, error), error.status)
    return go("/modes")


@router.post("/modes/runs/{number}/end")
def end(visit: SentForm, number: Number) -> Response:
    try:
        with visit.writing() as session:
            modes.end(session, visit.actor, visit.now, number)
    except Conflict as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused({}, error), error.status)
    return go("/modes")


def _receipt(receipt: modes.Receipt) -> str:
    if receipt.version is None:
        return "on its way to the resolvers"
    after = "" if receipt.millis is None else f", after {times.lasted(receipt.millis)}"
    return f"version {receipt.version}, on {receipt.acked} of {receipt.offered} resolvers{after}"


def _page(visit: SignedVisit, session: Session, form: Form, status: int = 200) -> Response:
    access.require(access.may_see_district(visit.actor), "Modes are for the desk and administrators.")
    views = modes.prepared(session, visit.now)
    names = cards.site_names(session)
    return visit.page(
        session,
        "district/modes.html",
        status,
        modes=[
            (
                view,
                KINDS[view.kind],
                Word("On: drill" if view.run.drill else "On", "wait", "alert")
                if view.run is not None and view.run.on
                else Word("Off", "done", "done"),
                "" if view.run is None else _receipt(view.run.receipt),
            )
            for view in views
        ],
        held_until=modes.held_until(session, visit.now),
        held_back=modes.held_back(session, visit.now),
        kinds=list(KINDS.values()),
        sites=[Option(EVERY_SITE, "Every site"), *(Option(one.id, one.name) for one in district.sites(session))],
        site_names=names,
        audiences=list(words.AUDIENCES.values()),
        may_change=access.may_administer(visit.actor),
        form=form,
    )
