"""Operational exceptions: what is open without a request, and an old allowlist, dry first."""

from __future__ import annotations

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from portal import access
from portal.doors import exceptions
from portal.doors.exceptions import Allowlist, ExceptionDraft
from portal.errors import Invalid
from portal.models.rules import ExceptionKind
from portal.pages import cards, forms, words
from portal.pages.forms import Form
from portal.pages.scopes import site_options
from portal.pages.web import Number, PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Option, Word

router = APIRouter()

_KINDS = {
    ExceptionKind.TESTING: Option(ExceptionKind.TESTING, "Testing", "Assessment vendors"),
    ExceptionKind.SAFETY: Option(ExceptionKind.SAFETY, "Safety", "Crisis lines, emergency services"),
    ExceptionKind.COMMUNICATIONS: Option(ExceptionKind.COMMUNICATIONS, "Communications office", "Official accounts"),
    ExceptionKind.IMPORTED: Option(ExceptionKind.IMPORTED, "Imported", "An old allowlist"),
}
_OPEN = Word("Open", "open", "open")
_OVERDUE = Word("Open, review is due", "wait", "alert")
_ENDED = Word("Ended", "done", "done")


@router.get("/exceptions")
def page(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _page(visit, session, Form())


@router.post("/exceptions")
def create(visit: SentForm) -> Response:
    """Make one from typed names; or read an old allowlist, dry first."""
    importing = visit.value("kind") == ExceptionKind.IMPORTED
    text, catalogue = visit.value("names"), visit.wired.catalogue
    draft = ExceptionDraft(
        visit.value("kind"),
        tuple(text.split()),
        tuple(visit.values("sites")),
        tuple(visit.values("audiences")),
        visit.value("reason"),
        visit.value("review_on"),
    )
    try:
        if visit.value("action") == "dry-run":
            with visit.reading() as session:
                access.require(access.may_administer(visit.actor), "Only an administrator imports an allowlist.")
                report = exceptions.read_allowlist(text, catalogue)
                return _page(visit, session, Form(visit.typed), report=report)
        with visit.writing() as session:
            if importing:
                exceptions.import_allowlist(session, visit.actor, visit.now, text, draft, catalogue)
            else:
                exceptions.create(session, visit.actor, visit.now, draft, catalogue)
    except Invalid as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused(visit.typed, error), error.status)
    return go("/exceptions")


@router.post("/exceptions/{number}/review")
def review(visit: SentForm, number: Number) -> Response:
    try:
        with visit.writing() as session:
            exceptions.review(session, visit.actor, visit.now, number, visit.value("review_on"))
    except Invalid as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused({}, error), error.status)
    return go("/exceptions")


@router.post("/exceptions/{number}/narrow")
def narrow(visit: SentForm, number: Number) -> Response:
    try:
        with visit.writing() as session:
            exceptions.narrow(session, visit.actor, visit.now, number)
    except Invalid as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused({}, error), error.status)
    return go("/exceptions")


def _page(
    visit: SignedVisit, session: Session, form: Form, status: int = 200, report: Allowlist | None = None
) -> Response:
    access.require(access.may_see_district(visit.actor), "Exceptions are shown to the desk and administrators.")
    return visit.page(
        session,
        "district/exceptions.html",
        status,
        rows=[
            (view, _KINDS[view.kind].text, _ENDED if view.ended_at else _OVERDUE if view.overdue else _OPEN)
            for view in exceptions.find(session, visit.now, closed=True)
        ],
        tally=exceptions.tally(session, visit.now),
        kinds=list(_KINDS.values()),
        sites=site_options(session),
        audiences=list(words.AUDIENCES.values()),
        site_names=cards.site_names(session),
        report=report,
        may_change=access.may_administer(visit.actor),
        form=form,
    )
