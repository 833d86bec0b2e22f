"""One's own account: one-time codes, the identity it is linked to, and the browsers that are signed in."""

from __future__ import annotations

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from portal import identities, people, second_factor, sessions
from portal.errors import Invalid
from portal.pages import forms
from portal.pages.forms import Form
from portal.pages.web import PersonVisit, SentForm, SignedVisit, go
from portal.second_factor import Enrolment

router = APIRouter()


@router.get("/account")
def account(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _page(visit, session, Form())


@router.post("/account/codes")
def set_up(visit: SentForm) -> Response:
    """Without a code: begin, and show the QR code. With one: confirm, and show the recovery codes once."""
    number, sealer = _mine(visit), visit.wired.sealer
    with visit.writing() as session:
        enrolment = second_factor.begin(session, sealer, visit.now, number)
    if not visit.value("code"):
        with visit.reading() as session:
            return _page(visit, session, Form(), enrolment)
    try:
        with visit.writing() as session:
            user = people.get(session, number)
            codes = second_factor.confirm(session, sealer, visit.now, user, visit.value("code"))
    except Invalid as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused({}, error), enrolment, error.status)
    with visit.reading() as session:
        return visit.page(session, "people/recovery.html", codes=codes, next="/account")


@router.post("/account/sessions")
def end_session(visit: SentForm) -> Response:
    with visit.writing() as session:
        sessions.end_session(session, visit.actor, visit.now, _mine(visit), visit.value("session"))
    return go("/account")


def _mine(visit: SignedVisit) -> int:
    assert visit.actor.user_id is not None
    return visit.actor.user_id


def _page(
    visit: SignedVisit, session: Session, form: Form, enrolment: Enrolment | None = None, status: int = 200
) -> Response:
    number = _mine(visit)
    user = people.get(session, number)
    config = visit.wired.config.oidc
    linked = None if config is None else identities.of(session, number, config.issuer)
    return visit.page(
        session,
        "people/account.html",
        status,
        user=user,
        form=form,
        enrolment=enrolment,
        codes=second_factor.is_on(session, number),
        needed=second_factor.is_needed(session, user),
        provider=None if config is None else identities.name_of(config),
        linked_at=None if linked is None else linked.linked_at,
        sessions=sessions.open_sessions(session, visit.actor, visit.now, number),
    )
