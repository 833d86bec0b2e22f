"""The way in and out: sign-in, the sample accounts of a demo portal, sign-out, and each role's start page."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import APIRouter
from sqlmodel import Session, select
from starlette.responses import Response

from portal import access
from portal.access import Actor
from portal.errors import FieldError, Forbidden, Refused
from portal.models.people import User
from portal.models.words import Role
from portal.pages import forms, frame, web
from portal.pages.forms import Form
from portal.pages.web import AnyVisit, Posted, SentForm, Visit, go
from portal.people import browsers, identities, sessions, signing_in
from portal.people.sessions import SignedIn
from portal.people.signing_in import Step
from portal.places import setup
from portal.upkeep import demo

router = APIRouter()


@dataclass(frozen=True, slots=True)
class _Sample:
    id: int
    name: str
    about: str


@router.get("/")
def home(visit: web.PersonVisit) -> Response:
    """Where each role has work to do."""
    if not access.may_administer(visit.actor):
        return go(start_page(visit.actor))
    with visit.reading() as session:
        started = setup.is_set_up(session, visit.actor, visit.now)
    return go(start_page(visit.actor) if started else "/set-up")


def start_page(actor: Actor) -> str:
    if access.may_review(actor):
        return "/desk"
    if Role.ADMINISTRATOR in actor.roles:
        return "/district"
    return "/audit" if Role.AUDITOR in actor.roles else "/requests"


@router.get("/sign-in")
def sign_in_page(visit: AnyVisit, next: str = "/") -> Response:
    if visit.signed_in is not None:
        return go(web.safe_next(next))
    with visit.reading() as session:
        return page(visit, session, Form(), next)


@router.post("/sign-in")
def sign_in(visit: AnyVisit, typed: Posted) -> Response:
    web.check_form_token(visit.request, typed)
    form = {name: typed.get(name, [""])[0] for name in ("email", "password", "next")}
    address = visit.request.client.host if visit.request.client else ""
    wired = visit.wired
    try:
        signed_in = signing_in.sign_in(
            wired.engine,
            wired.passwords,
            wired.throttle,
            form["email"],
            form["password"],
            visit.now,
            address,
            wired.config.session_hours,
            web.known_browser(visit),
        )
    except Forbidden as error:
        shown = forms.refused({"email": [form["email"]]}, Forbidden(error.detail, (FieldError("email", error.detail),)))
        with visit.reading() as session:
            return page(visit, session, Form(shown.typed, shown.errors, "You are not signed in"), form["next"], 403)
    return enter(visit, signed_in, form["next"])


@router.get("/sign-in/code")
def code_page(visit: AnyVisit, next: str = "/") -> Response:
    return _code_page(visit, Form(), next)


@router.post("/sign-in/code")
def code(visit: AnyVisit, typed: Posted) -> Response:
    web.check_form_token(visit.request, typed)
    wired, wanted = visit.wired, typed.get("next", ["/"])[0]
    secret = visit.request.cookies.get(signing_in.COOKIE, "")
    try:
        done = signing_in.finish(
            wired.engine,
            wired.sealer,
            wired.codes,
            secret,
            typed.get("code", [""])[0],
            visit.now,
            wired.config.session_hours,
        )
    except Refused as error:
        errors = error.errors or (FieldError("code", error.detail),)
        return _code_page(visit, Form({}, errors, "You are not signed in"), wanted, error.status)
    response = enter(visit, done.signed_in, wanted)
    if done.recovery:
        with visit.reading() as session:
            shown = frame.page(
                visit.request, session, done.signed_in, "people/recovery.html", codes=done.recovery, next=wanted
            )
        for header in response.headers.getlist("set-cookie"):
            shown.headers.append("set-cookie", header)
        response = shown
    response.delete_cookie(signing_in.COOKIE, path="/")
    return response


def _code_page(visit: Visit, form: Form, wanted: str, status: int = 200) -> Response:
    wired, secret = visit.wired, visit.request.cookies.get(signing_in.COOKIE, "")
    found = signing_in.waiting(wired.engine, wired.sealer, secret, visit.now)
    if found is None:
        return go("/sign-in")
    token = web.form_token(visit.request)
    with visit.reading() as session:
        response = visit.page(
            session,
            "sign_in_code.html",
            status,
            form=form,
            who=found.name,
            enrolment=found.enrolment,
            next=web.safe_next(wanted),
            csrf=token,
        )
    web.set_cookie(response, wired, web.FORM_COOKIE, token)
    return response


@router.post("/sign-in/demo")
def sign_in_demo(visit: AnyVisit, typed: Posted) -> Response:
    web.check_form_token(visit.request, typed)
    number = typed.get("account", [""])[0]
    with visit.writing() as session:
        signed_in = sessions.sign_in_demo(
            session,
            int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0,
            visit.now,
            visit.wired.config.session_hours,
            visit.wired.config.demo,
        )
    return enter(visit, signed_in, typed.get("next", ["/"])[0])


@router.post("/sign-out")
def sign_out(visit: SentForm) -> Response:
    with visit.writing() as session:
        sessions.sign_out(session, visit.actor, visit.now)
    response = go("/sign-in")
    response.delete_cookie(sessions.COOKIE, path="/")
    return response


def enter(visit: Visit, signed_in: SignedIn | Step, wanted: str) -> Response:
    """Give the browser its session, or the step that waits for a one-time code, and send it on."""
    if isinstance(signed_in, Step):
        response = go(f"/sign-in/code?{urlencode({'next': web.safe_next(wanted)})}")
        web.set_cookie(response, visit.wired, signing_in.COOKIE, signed_in.secret, signing_in.SECONDS)
        return response
    response = go(web.safe_next(wanted))
    seconds = max(1, signed_in.expires_at - int(visit.now))
    web.set_cookie(response, visit.wired, sessions.COOKIE, signed_in.secret, seconds)
    response.delete_cookie(web.FORM_COOKIE, path="/")
    assert signed_in.actor.user_id is not None
    mark = browsers.mark(visit.wired.sealer, signed_in.actor.user_id, visit.now)
    web.set_cookie(response, visit.wired, browsers.COOKIE, mark, browsers.SECONDS)
    return response


def page(visit: Visit, session: Session, form: Form, wanted: str, status: int = 200, refusal: str = "") -> Response:
    """The sign-in page. `refusal`: why nobody is signed in, when it is not about a field of the form."""
    token = web.form_token(visit.request)
    samples = [_sample(user) for user in demo.accounts(session)] if visit.wired.config.demo else []
    response = visit.page(
        session,
        "sign_in.html",
        status,
        form=form,
        refusal=refusal,
        accounts=samples,
        provider=None if visit.wired.config.oidc is None else identities.name_of(visit.wired.config.oidc),
        first_run=session.exec(select(User.id).limit(1)).first() is None,
        next=web.safe_next(wanted),
        csrf=token,
    )
    web.set_cookie(response, visit.wired, web.FORM_COOKIE, token)
    return response


_TITLES = {
    Role.REVIEWER: "Service desk: reads requests, decides, revokes",
    Role.ADMINISTRATOR: "Administrator: sites, groups, what is blocked, brakes",
    Role.AUDITOR: "Auditor: reads everything, changes nothing",
    Role.DESIGNEE: "Designee: keeps the register of platforms",
    Role.REQUESTER: "Teacher: asks for a site that a lesson needs",
}


def _sample(user: User) -> _Sample:
    role = next(role for role in _TITLES if role in user.roles)
    assert user.id is not None
    return _Sample(user.id, user.name, _TITLES[role])
