"""Restored: what a portal from a backup and its resolvers say differently, and the word that lets it publish again."""

from __future__ import annotations

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from portal.errors import Conflict, Invalid
from portal.nodes import restoration
from portal.pages import forms
from portal.pages.forms import Form
from portal.pages.web import PersonVisit, SentForm, SignedVisit, go

router = APIRouter()


@router.get("/restored")
def page(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _page(visit, session, Form())


@router.post("/restored")
def release(visit: SentForm) -> Response:
    keep = {int(one) for one in visit.values("keep") if one.isdecimal() and len(one) < 12}
    try:
        with visit.writing() as session:
            restoration.release(session, visit.actor, visit.now, visit.value("reason"), keep)
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused(visit.typed, error), error.status)
    return go("/nodes")


def _page(visit: SignedVisit, session: Session, form: Form, status: int = 200) -> Response:
    found = restoration.standing(session, visit.actor, visit.now)
    return visit.page(session, "district/restored.html", status, found=found, form=form)
