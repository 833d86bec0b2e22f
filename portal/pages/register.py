"""The designee's side of the register: drafts, publishing, retiring, carrying over, handing on."""

from __future__ import annotations

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from portal import access
from portal.doors import platforms, register
from portal.doors.platforms import Draft
from portal.doors.register import EntryView
from portal.errors import Conflict, Forbidden, Invalid
from portal.models.platforms import EntryState
from portal.pages import cards, forms, words
from portal.pages.forms import Form
from portal.pages.platforms import PARENTS, STATES
from portal.pages.scopes import site_options
from portal.pages.web import Number, PersonVisit, Sent, SentForm, SignedVisit, go
from portal.pages.words import Option
from portal.places import years
from portal.rules import services

router = APIRouter()

_NOT_YOURS = "Only the superintendent's designee keeps the register of platforms."


@router.get("/platforms/{year}/register")
def page(visit: PersonVisit, year: str) -> Response:
    with visit.reading() as session:
        return _page(visit, session, year, Form())


@router.post("/platforms/{year}/register")
def change(visit: SentForm, year: str) -> Response:
    try:
        with visit.writing() as session:
            match visit.value("action"):
                case "carry":
                    platforms.carry_over(session, visit.actor, visit.now, year)
                case "publish":
                    platforms.publish_all(session, visit.actor, visit.now, year, visit.wired.catalogue)
                case _:
                    typed = (visit.value("day"), visit.value("recipients"), visit.value("how"))
                    platforms.distribute(session, visit.actor, visit.now, year, *typed)
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _page(visit, session, year, forms.refused(visit.typed, error), error.status)
    return go(f"/platforms/{year}/register")


@router.get("/platforms/{year}/new")
def new(visit: PersonVisit, year: str) -> Response:
    if not access.may_keep_register(visit.actor):
        raise Forbidden(_NOT_YOURS)
    with visit.reading() as session:
        return _one(visit, session, years.read(year).label, None, Form())


@router.post("/platforms/{year}/new")
def create(visit: SentForm, year: str) -> Response:
    try:
        with visit.writing() as session:
            made = platforms.create(session, visit.actor, visit.now, year, _draft(visit), visit.wired.catalogue)
            where = f"/platforms/{made.year}/{made.id}"
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _one(visit, session, year, None, forms.refused(visit.typed, error), error.status)
    return go(where)


@router.get("/platforms/{year}/{number}")
def one(visit: PersonVisit, year: str, number: Number) -> Response:
    with visit.reading() as session:
        return _one(visit, session, year, register.get(session, visit.actor, year, number), Form())


@router.post("/platforms/{year}/{number}")
def edit(visit: SentForm, year: str, number: Number) -> Response:
    revision, catalogue = visit.number("revision"), visit.wired.catalogue
    try:
        with visit.writing() as session:
            known = session, visit.actor, visit.now, year, number, revision
            match visit.value("action"):
                case "publish":
                    platforms.publish(*known, catalogue)
                case "retire":
                    platforms.retire(*known, visit.value("reason"))
                case _:
                    platforms.edit(*known, _draft(visit), catalogue)
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            found = register.get(session, visit.actor, year, number)
            return _one(visit, session, year, found, forms.refused(visit.typed, error), error.status)
    return go(f"/platforms/{year}/{number}")


def _draft(visit: Sent) -> Draft:
    return Draft(
        visit.value("name"),
        visit.value("purpose"),
        visit.value("leaders"),
        visit.value("parents"),
        visit.value("parents_why"),
        tuple(one for one in visit.values("services") if one),
        tuple(visit.value("names").split()),
        tuple(visit.values("sites")),
        tuple(visit.values("audiences")),
    )


def _page(visit: SignedVisit, session: Session, year: str, form: Form, status: int = 200) -> Response:
    found = register.whole(session, visit.actor, year)
    return visit.page(
        session,
        "platforms/register.html",
        status,
        register=found,
        rows=[(entry, STATES[entry.state], PARENTS[entry.parents]) for entry in found.entries],
        drafts=sum(entry.state is EntryState.DRAFT for entry in found.entries),
        may_change=access.may_keep_register(visit.actor),
        site_names=cards.site_names(session),
        current=years.current(session, visit.now).label,
        form=form,
    )


def _one(
    visit: SignedVisit, session: Session, year: str, entry: EntryView | None, form: Form, status: int = 200
) -> Response:
    typed = forms.of(sites=["*"], audiences=["students", "staff"], parents="automatic")
    if entry is not None:
        typed = forms.of(
            name=entry.name,
            purpose=entry.purpose,
            leaders=entry.leaders,
            parents=entry.parents,
            parents_why=entry.parents_why,
            services=entry.services,
            names="\n".join(entry.names),
            sites=entry.sites,
            audiences=[str(audience) for audience in entry.audiences],
        )
    sent = {} if form.value("action") in ("publish", "retire") else form.typed
    if sent:  # a group of which nothing is ticked is not sent
        sent = {name: sent.get(name, []) for name in (*typed, *sent)}
    bundles = sorted(services.known(session).values(), key=lambda known: known.service.title.casefold())
    return visit.page(
        session,
        "platforms/entry.html",
        status,
        year=year,
        entry=entry,
        state=None if entry is None else STATES[entry.state],
        parents=list(PARENTS.values()),
        parents_text=None if entry is None else PARENTS[entry.parents].text,
        bundles=[Option(known.service.id, known.service.title) for known in bundles],
        sites=site_options(session),
        site_names=cards.site_names(session),
        audiences=list(words.AUDIENCES.values()),
        may_change=access.may_keep_register(visit.actor) and (entry is None or entry.state is not EntryState.RETIRED),
        form=Form({**typed, **sent}, form.errors, form.title),
    )
