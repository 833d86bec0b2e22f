"""Answers: how a block of each category is answered, and what answers hold beside the verdict."""

from __future__ import annotations

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from blocklists.policy import AnswerStyle
from portal import access
from portal.errors import Invalid
from portal.pages import forms
from portal.pages.forms import Form
from portal.pages.web import PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Option
from portal.places import district
from portal.rules import answering, blocking
from portal.rules.answering import AnsweringDraft
from portal.rules.blocking import CategoryDraft

router = APIRouter()

_NOT_YOURS = "The district's set-up is for the desk and administrators."
_STYLES = (
    Option(AnswerStyle.NXDOMAIN, "No such name", "NXDOMAIN; the usual one"),
    Option(AnswerStyle.NODATA, "No addresses", "NODATA: the name exists, and has nothing"),
    Option(AnswerStyle.NULL, "Null address", "0.0.0.0 and ::"),
    Option(AnswerStyle.REFUSED, "Refused", "some devices then ask another resolver"),
    Option(AnswerStyle.PAGE, "Block page", "the addresses below; encrypted pages (https) cannot show it"),
)
_SWITCHES = (
    Option("strip_ech", "Take encrypted client hello (ECH) keys out of answers", "so that other filters see names"),
    Option("structured_errors", "Structured errors", "machine-readable reasons, to clients that ask for them"),
)


@router.get("/district/answers")
def page(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _page(visit, session)


@router.post("/district/answers")
def save(visit: SentForm) -> Response:
    ticked = visit.values("switches")
    draft = AnsweringDraft(
        block_page=tuple(visit.value("block_page").replace(",", " ").split()),
        strip_ech="strip_ech" in ticked,
        private_names=tuple(visit.value("private_names").replace(",", " ").split()),
        structured_errors="structured_errors" in ticked,
    )
    try:
        with visit.writing() as session:
            answering.update(session, visit.actor, visit.now, draft)
            for row in blocking.categories(session):
                style = visit.value(f"style:{row.id}")
                if style and style != row.style:
                    changed = CategoryDraft(row.title, row.description, row.locked, style)
                    blocking.update_category(session, visit.actor, visit.now, row.id, changed)
    except Invalid as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused(visit.typed, error), error.status)
    return go("/district/answers")


def _page(visit: SignedVisit, session: Session, form: Form | None = None, status: int = 200) -> Response:
    access.require(access.may_see_district(visit.actor), _NOT_YOURS)
    row = district.get(session)
    categories = blocking.categories(session)
    typed = forms.of(
        block_page="\n".join(row.block_page),
        private_names="\n".join(row.private_names),
        switches=[one.value for one in _SWITCHES if getattr(row, one.value)],
    ) | {f"style:{one.id}": [str(one.style)] for one in categories}
    return visit.page(
        session,
        "district/answers.html",
        status,
        categories=categories,
        styles=_STYLES,
        switches=_SWITCHES,
        may_change=access.may_administer(visit.actor),
        form=Form(typed) if form is None else form,
    )
