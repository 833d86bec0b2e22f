"""One's own account: one-time codes, the identity it is linked to, and the browsers that are signed in."""

from __future__ import annotations

import logging

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from portal.errors import FieldError, Forbidden, Invalid
from portal.oidc import flow
from portal.oidc.fetching import ProviderTrouble
from portal.pages import forms, web
from portal.pages.forms import Form
from portal.pages.oidc import provider_of, return_address
from portal.pages.web import PersonVisit, SentForm, SignedVisit, go
from portal.people import accounts, identities, second_factor, sessions
from portal.people.second_factor import Enrolment

log = logging.getLogger(__name__)
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
            user = accounts.get(session, number)
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


@router.post("/account/identity")
def link(visit: SentForm) -> Response:
    """Show the way to the provider, for linking one's own account. The password is asked for: an open browser, or a
    stolen session, must not become a way in for good."""
    provider, wired, number = provider_of(visit), visit.wired, _mine(visit)
    name = identities.name_of(provider.config)
    try:
        _check_password(visit, number)
        begun = flow.begin(provider, wired.sealer, return_address(visit), "/account", visit.now, number)
    except Forbidden as error:
        wrong = Form({}, (FieldError("password", error.detail),), "Nothing is linked")
        with visit.reading() as session:
            return _page(visit, session, Form(), status=error.status, linking=wrong)
    except ProviderTrouble as error:
        log.warning("sign-in: %s", error)
        wrong = Form({}, (FieldError("password", f"{name} does not answer; try again in a minute"),), "Not now")
        with visit.reading() as session:
            return _page(visit, session, Form(), status=503, linking=wrong)
    with visit.reading() as session:
        response = visit.page(session, "people/link.html", provider=name, url=begun.url)
    web.set_cookie(response, wired, flow.COOKIE, begun.cookie, flow.SECONDS)
    return response


def _check_password(visit: SentForm, number: int) -> None:
    wired, address = visit.wired, visit.request.client.host if visit.request.client else ""
    with visit.reading() as session:
        email = accounts.get(session, number).email
    known, password = web.known_browser(visit), visit.value("password")
    sessions.check_password(wired.engine, wired.passwords, wired.throttle, email, password, visit.now, address, known)


def _mine(visit: SignedVisit) -> int:
    assert visit.actor.user_id is not None
    return visit.actor.user_id


def _page(
    visit: SignedVisit,
    session: Session,
    form: Form,
    enrolment: Enrolment | None = None,
    status: int = 200,
    linking: Form | None = None,
) -> Response:
    number = _mine(visit)
    user = accounts.get(session, number)
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
        linking=linking or Form(),
        linked_at=None if linked is None else linked.linked_at,
        sessions=sessions.open_sessions(session, visit.actor, visit.now, number),
    )
