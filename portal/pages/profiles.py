"""Device profiles: made for a group, shown once, ended."""

from __future__ import annotations

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from portal import access
from portal.errors import Invalid
from portal.pages import cards, forms
from portal.pages.explain import title
from portal.pages.forms import Form
from portal.pages.web import Number, PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Word
from portal.places import district, profiles

router = APIRouter()

_IN_USE, _ENDED = Word("In use", "open", "yes"), Word("Ended", "done", "no")

_ONLY_ADMINISTRATORS = "Only an administrator sees device profiles."


@router.get("/profiles")
def overview(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _page(visit, session, Form())


@router.post("/profiles")
def create(visit: SentForm) -> Response:
    try:
        with visit.writing() as session:
            token = profiles.create(session, visit.actor, visit.now, visit.value("group"), visit.value("name"))
    except Invalid as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused(visit.typed, error), status=error.status)
    with visit.reading() as session:
        return _page(visit, session, Form(), token)


@router.post("/profiles/{number}/end")
def end(visit: SentForm, number: Number) -> Response:
    with visit.writing() as session:
        profiles.end(session, visit.actor, visit.now, number)
    return go("/profiles")


def _page(visit: SignedVisit, session: Session, form: Form, token: str = "", status: int = 200) -> Response:
    access.require(access.may_administer(visit.actor), _ONLY_ADMINISTRATORS)
    sites = cards.site_names(session)
    groups = [one.group for one in district.groups_by_name(session)]
    titles = {one.id: title(sites.get(one.site, one.site), one.audience) for one in groups}
    rows = [
        (one, titles.get(one.group, one.group), _IN_USE if one.ended_at is None else _ENDED)
        for one in profiles.find(session)
    ]
    return visit.page(session, "district/profiles.html", status, rows=rows, groups=titles, form=form, token=token)
