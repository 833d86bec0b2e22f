"""Brakes: an administrator's emergency blocks, set and released."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from portal import access
from portal.doors import levers
from portal.errors import Conflict, Invalid
from portal.pages import forms
from portal.pages.forms import Form
from portal.pages.web import Number, PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Word

router = APIRouter()

_SET = Word("Set: blocked for everybody", "shut", "brake")
_RELEASED = Word("Released", "done", "done")


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    name: str
    reason: str
    created_by: str
    created_at: int
    released_by: str | None
    released_at: int | None
    word: Word


@router.get("/brakes")
def page(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _page(visit, session, Form())


@router.post("/brakes")
def set_brake(visit: SentForm) -> Response:
    try:
        with visit.writing() as session:
            levers.set_brake(session, visit.actor, visit.now, visit.value("name"), visit.value("reason"))
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused(visit.typed, error), error.status)
    return go("/brakes")


@router.post("/brakes/{number}/release")
def release(visit: SentForm, number: Number) -> Response:
    try:
        with visit.writing() as session:
            levers.release_brake(session, visit.actor, visit.now, number)
    except Conflict as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused({}, error), error.status)
    return go("/brakes")


def _page(visit: SignedVisit, session: Session, form: Form, status: int = 200) -> Response:
    access.require(access.may_see_district(visit.actor), "Brakes are shown to reviewers, administrators and auditors.")
    rows = [
        _Row(
            view.id,
            view.name,
            view.reason,
            view.created_by,
            view.created_at,
            view.released_by,
            view.released_at,
            _SET if view.released_at is None else _RELEASED,
        )
        for view in levers.brakes(session, released=True)
    ]
    may_change = access.may_administer(visit.actor)
    return visit.page(session, "district/brakes.html", status, brakes=rows, may_change=may_change, form=form)
