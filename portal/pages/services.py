"""Services: the tools that a requester can pick, with their names; what an administrator edits, and why."""

from __future__ import annotations

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from blocklists.seed import KINDS
from portal import access
from portal.errors import Conflict, Invalid, NotFound
from portal.pages import forms
from portal.pages.forms import Form
from portal.pages.web import PersonVisit, Sent, SentForm, SignedVisit, go
from portal.pages.words import Option
from portal.rules import blocking, services
from portal.rules.services import Draft

router = APIRouter()

_NOT_YOURS = "Services are shown to reviewers, administrators and auditors."
_ONLY_ADMINISTRATORS = "Only an administrator edits services."


@router.get("/services")
def page(visit: PersonVisit, find: str = "") -> Response:
    access.require(access.may_see_district(visit.actor), _NOT_YOURS)
    wanted = find.strip().casefold()
    with visit.reading() as session:
        rows = [
            one
            for one in services.known(session).values()
            if wanted in one.service.id
            or wanted in one.service.title.casefold()
            or any(wanted in name for name in one.service.names)
        ]
        rows.sort(key=lambda one: one.service.title.casefold())
        may_change = access.may_administer(visit.actor)
        form = Form(forms.of(find=find))
        return visit.page(session, "lists/services.html", 200, rows=rows, may_change=may_change, form=form)


@router.get("/services/new")
def new(visit: PersonVisit) -> Response:
    access.require(access.may_administer(visit.actor), _ONLY_ADMINISTRATORS)
    with visit.reading() as session:
        return _one(visit, session, None, Form())


@router.post("/services")
def create(visit: SentForm) -> Response:
    try:
        with visit.writing() as session:
            services.create(session, visit.actor, visit.now, _draft(visit, visit.value("id").strip()))
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _one(visit, session, None, forms.refused(visit.typed, error), error.status)
    return go(f"/services/{visit.value('id').strip()}")


@router.get("/services/{service}")
def one(visit: PersonVisit, service: str) -> Response:
    access.require(access.may_see_district(visit.actor), _NOT_YOURS)
    with visit.reading() as session:
        return _one(visit, session, service, Form())


@router.post("/services/{service}")
def edit(visit: SentForm, service: str) -> Response:
    try:
        with visit.writing() as session:
            services.edit(session, visit.actor, visit.now, visit.number("revision"), _draft(visit, service))
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _one(visit, session, service, forms.refused(visit.typed, error), error.status)
    return go(f"/services/{service}")


def _draft(visit: Sent, id: str) -> Draft:
    return Draft(
        id,
        visit.value("title"),
        visit.value("category"),
        visit.value("kind"),
        tuple(visit.value("names").split()),
        tuple(visit.value("exceptions").split()),
        visit.value("why"),
    )


def _one(visit: SignedVisit, session: Session, id: str | None, form: Form, status: int = 200) -> Response:
    known = None if id is None else services.known(session).get(id)
    if id is not None and known is None:
        raise NotFound(f"There is no service {id[:60]!r}.")
    typed = forms.of(category="social-media", kind="social-network")
    if known is not None:
        service = known.service
        typed = forms.of(
            title=service.title,
            category=service.category,
            kind=service.kind,
            names="\n".join(service.names),
            exceptions="\n".join(service.exceptions),
        )
    return visit.page(
        session,
        "lists/service.html",
        status,
        known=known,
        categories=[Option(row.id, row.title) for row in blocking.categories(session)],
        kinds=[Option(kind, kind.replace("-", " ").capitalize()) for kind in KINDS],
        may_change=access.may_administer(visit.actor),
        form=Form({**typed, **form.typed}, form.errors, form.title),
    )
