"""People: the accounts, a page at a time; one account with its roles, password and sessions; a leaver's hand-over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from sqlmodel import Session
from starlette.responses import Response

from portal import access
from portal.errors import Invalid, Refused
from portal.models.people import User
from portal.models.words import Role
from portal.pages import cards, forms, words
from portal.pages.forms import Form
from portal.pages.tables import listing
from portal.pages.web import Number, PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Option, Word
from portal.people import accounts, directory, handover, identities, second_factor, sessions
from portal.people.accounts import UserDraft
from portal.people.directory import Wanted

router = APIRouter()

PER_PAGE = 100
_ONLY = "Accounts are for administrators."
ROLES = (
    Option(Role.REQUESTER, "Requester", "Any employee: asks for a site that a lesson needs"),
    Option(Role.REVIEWER, "Reviewer", "At the service desk: decides other people's requests, revokes"),
    Option(Role.ADMINISTRATOR, "Administrator", "Sites, groups, what is blocked, brakes, people; does not decide"),
    Option(Role.AUDITOR, "Auditor", "Reads everything, changes nothing"),
    Option(Role.DESIGNEE, "Designee", "Keeps the yearly register of platforms"),
)
_TITLES = {one.value: one.text for one in ROLES}
_IN_USE, _DISABLED = Word("In use", "open", "yes"), Word("Disabled", "done", "no")


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    name: str
    email: str
    roles: str
    site: str
    word: Word
    created_at: int


@router.get("/people")
def overview(
    visit: PersonVisit,
    q: Annotated[str, Query(max_length=200)] = "",
    role: str = "",
    site: str = "",
    state: str = "",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> Response:
    table = listing(visit.request, "name")
    wanted = Wanted(q, role, site, state, table.sort, table.descending)
    with visit.reading() as session:
        found = directory.find(session, visit.actor, wanted, page, PER_PAGE)
        sites = cards.site_names(session)
        return visit.page(
            session,
            "people/list.html",
            rows=[_row(user, sites) for user in found.users],
            wanted=wanted,
            listing=table,
            total=found.total,
            first=(page - 1) * PER_PAGE + 1,
            newer=_paged(visit, page - 1) if page > 1 else None,
            older=_paged(visit, page + 1) if page * PER_PAGE < found.total else None,
            roles=ROLES,
            sites=sites,
            codes_needed=second_factor.is_required(session),
        )


def _paged(visit: SignedVisit, page: int) -> str:
    return f"/people?{urlencode({**dict(visit.request.query_params), 'page': page})}"


def _row(user: User, sites: dict[str, str]) -> _Row:
    return _Row(
        id=user.id or 0,
        name=user.name,
        email=user.email,
        roles=words.listed([_TITLES[role] for role in user.roles]),
        site=sites.get(user.site_id or "", "—"),
        word=_IN_USE if user.disabled_at is None else _DISABLED,
        created_at=user.created_at,
    )


@router.post("/people/second-factor")
def require_codes(visit: SentForm) -> Response:
    with visit.writing() as session:
        second_factor.require(session, visit.actor, visit.now, visit.value("on") == "yes")
    return go("/people")


@router.get("/people/new")
def new(visit: PersonVisit, role: str = "") -> Response:
    """`role`: ticked beside what every employee is."""
    access.require(access.may_administer(visit.actor), _ONLY)
    with visit.reading() as session:
        return _new(visit, session, Form(forms.of(roles=[Role.REQUESTER, role])))


@router.post("/people/new")
def create(visit: SentForm) -> Response:
    access.require(access.may_administer(visit.actor), _ONLY)
    try:
        hashed = visit.wired.passwords.hash(visit.value("password")) if visit.value("password") else ""
        with visit.writing() as session:
            user = accounts.create_user(session, visit.actor, visit.now, _draft(visit), hashed)
            number = user.id
    except Invalid as error:
        with visit.reading() as session:
            return _new(visit, session, forms.refused(visit.typed, error), error.status)
    return go(f"/people/{number}")


def _draft(visit: SentForm) -> UserDraft:
    return UserDraft(
        visit.value("email"), visit.value("name"), tuple(visit.values("roles")), visit.value("site") or None
    )


def _new(visit: SignedVisit, session: Session, form: Form, status: int = 200) -> Response:
    return visit.page(session, "people/new.html", status, form=form, roles=ROLES, sites=cards.site_names(session))


# ---- one account ----


@router.get("/people/{number}")
def one(visit: PersonVisit, number: Number) -> Response:
    with visit.reading() as session:
        return _one(visit, session, number)


@router.post("/people/{number}")
def change(visit: SentForm, number: Number) -> Response:
    """One deed of the page's forms; what a service refuses is shown beside its field."""
    access.require(access.may_administer(visit.actor), _ONLY)
    deed = visit.value("deed")
    try:
        hashed = visit.wired.passwords.hash(visit.value("password")) if deed == "password" else ""
        with visit.writing() as session:
            said = _do(visit, session, number, deed, hashed)
    except Refused as error:
        with visit.reading() as session:
            return _one(visit, session, number, forms.refused(visit.typed, error), deed, status=error.status)
    with visit.reading() as session:
        return _one(visit, session, number, said=said)


def _do(visit: SentForm, session: Session, number: int, deed: str, hashed: str) -> str:
    who = (session, visit.actor, visit.now, number)
    if deed == "save":
        accounts.update_user(*who, _draft(visit))
        return "Saved."
    if deed == "password":
        accounts.reset_password(*who, hashed)
        return "The password is changed, and every open session of this person was ended."
    if deed == "disable":
        accounts.disable(*who)
        return "The account is disabled; its sessions and tokens were ended."
    if deed == "enable":
        accounts.enable(*who)
        return "The account is in use again."
    if deed == "hand-over":
        passed = handover.hand_over(*who, visit.value("to"))
        return f"{words.count(len(passed.requests), 'request')} passed to {passed.to.name}."
    if deed == "end-session":
        sessions.end_session(*who, visit.value("session"))
        return "That browser is signed out."
    if deed == "reset-codes":
        second_factor.reset(*who)
        return "One-time codes are reset, and every open session of this person was ended."
    if deed == "unlink":
        identities.unlink(*who)
        return "The identity is unlinked, and every open session of this person was ended."
    raise Invalid("This is not something to do here.")


def _one(
    visit: SignedVisit,
    session: Session,
    number: int,
    form: Form | None = None,
    deed: str = "",
    said: str = "",
    status: int = 200,
) -> Response:
    access.require(access.may_administer(visit.actor), _ONLY)
    user = accounts.get(session, number)
    kept = forms.of(name=user.name, email=user.email, roles=user.roles, site=user.site_id or "")
    saved = Form(kept)
    empty = Form()
    return visit.page(
        session,
        "people/one.html",
        status,
        user=user,
        word=_IN_USE if user.disabled_at is None else _DISABLED,
        said=said,
        form=form if form is not None and deed == "save" else saved,
        mistakes=form,
        password=form if form is not None and deed == "password" else empty,
        handing=form if form is not None and deed == "hand-over" else empty,
        codes=second_factor.is_on(session, number),
        identities=identities.all_of(session, number),
        myself=visit.actor.user_id == number,
        holdings=handover.holdings(session, number),
        sessions=sessions.open_sessions(session, visit.actor, visit.now, number),
        roles=ROLES,
        sites=cards.site_names(session),
    )
