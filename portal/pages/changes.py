"""What is blocked: changes as drafts with a look ahead, published now or on a date, undone as a new version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from sqlmodel import Session
from starlette.responses import Response

from blocklists.policy import Audience
from portal import access
from portal.errors import Conflict, FieldError, Invalid
from portal.models.rules import ChangeState
from portal.pages import forms, words
from portal.pages.forms import Form
from portal.pages.web import Before, Number, PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Option, Word
from portal.places import district
from portal.rules import blocking, changes, look_ahead
from portal.rules.changes import ChangeView
from portal.rules.rule_book import Line

router = APIRouter()

PER_PAGE = 50
SHOWN = 60  # effects of a change; the rest is counted
_SEE = "What is blocked is shown to reviewers, administrators and auditors."
_STATES = {
    ChangeState.DRAFT: Word("Draft", "wait", "wait"),
    ChangeState.SCHEDULED: Word("Scheduled", "info", "wait"),
    ChangeState.PUBLISHED: Word("Published", "open", "yes"),
    ChangeState.DISCARDED: Word("Discarded", "done", "done"),
}
_SAYS = {"block": "blocked", "allow": "allowed", "inherit": "no rule of its own"}


@dataclass(frozen=True, slots=True)
class Titles:
    """Ids as people read them."""

    things: dict[str, str]
    sites: dict[str, str]

    def thing(self, thing: str) -> str:
        return self.things.get(thing, thing)

    def scope(self, scope: str) -> str:
        kind, _, rest = scope.partition("/")
        if kind == "group":
            return self.group(rest)
        level, _, audience = rest.rpartition("/")
        who = words.AUDIENCES[Audience(audience)].text
        return f"{who} of the whole district" if kind == "district" else f"{who} at {level} sites"

    def group(self, group: str) -> str:
        site, _, audience = group.partition("/")
        return f"{words.AUDIENCES[Audience(audience)].text} at {self.sites.get(site, site)}"


def titles(session: Session) -> Titles:
    found = {f"category/{one.id}": one.title for one in blocking.categories(session)}
    found |= {f"service/{key}": one.title for key, one in blocking.known_services(session).items()}
    return Titles(found, {one.id: one.name for one in district.sites(session)})


@router.get("/changes")
def page(
    visit: PersonVisit, scope: Annotated[list[str] | None, Query(max_length=1000)] = None, before: Before = None
) -> Response:
    """`scope`: ticked already, from another page."""
    with visit.reading() as session:
        return _page(visit, session, Form(forms.of(say="block", scopes=scope or ())), before=before)


@router.post("/changes")
def draft(visit: SentForm) -> Response:
    """Keep a draft: every chosen thing, for every chosen scope, says the same."""
    lines = [
        Line(scope, thing, visit.value("say")) for scope in visit.values("scopes") for thing in visit.values("things")
    ]
    try:
        with visit.writing() as session:
            view = changes.draft(session, visit.actor, visit.now, lines, visit.value("reason"))
    except Invalid as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused(visit.typed, error), error.status)
    return go(f"/changes/{view.id}")


@router.get("/changes/{number}")
def one(visit: PersonVisit, number: Number) -> Response:
    with visit.reading() as session:
        return _one(visit, session, changes.get(session, number), Form())


@router.post("/changes/{number}")
def act(visit: SentForm, number: Number) -> Response:
    revision = visit.number("revision")
    try:
        with visit.writing() as session:
            match visit.value("action"):
                case "publish":
                    view = changes.publish(session, visit.actor, visit.now, number, revision)
                case "schedule":
                    at = visit.value("publish_at")
                    view = changes.schedule(session, visit.actor, visit.now, number, revision, at)
                case "discard":
                    view = changes.discard(session, visit.actor, visit.now, number, revision)
                case "undo":
                    view = changes.undo(session, visit.actor, visit.now, number, visit.value("reason"))
                case _:
                    raise Invalid("Choose what shall be done.", (FieldError("action", "choose one of the buttons"),))
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            form = forms.refused(visit.typed, error)
            return _one(visit, session, changes.get(session, number), form, error.status)
    return go(f"/changes/{view.id}")


def _page(visit: SignedVisit, session: Session, form: Form, status: int = 200, before: int | None = None) -> Response:
    access.require(access.may_see_district(visit.actor), _SEE)
    found = changes.find(session, before, PER_PAGE)
    named = titles(session)
    locked = {one.id for one in blocking.categories(session) if one.locked}
    services = sorted(blocking.known_services(session).values(), key=lambda one: one.title.casefold())
    return visit.page(
        session,
        "district/changes.html",
        status,
        rows=[(view, _STATES[view.state], _summary(view, named)) for view in found],
        older=f"/changes?before={found[-1].id}" if len(found) == PER_PAGE else None,
        scopes=[Option(scope, named.scope(scope)) for scope in _scopes()],
        groups=[
            Option(f"group/{view.group.id}", named.group(view.group.id))
            for view in district.groups_by_name(session)
            if view.group.audience is not Audience.GUESTS
        ],
        categories=[
            Option(f"category/{one.id}", one.title, one.description)
            for one in blocking.categories(session)
            if not one.locked
        ],
        services=[Option(f"service/{one.id}", one.title) for one in services if one.category not in locked],
        says=[
            Option("block", "Blocked"),
            Option("allow", "Allowed"),
            Option("inherit", "No rule of its own", "What its level or the district says counts again"),
        ],
        may_change=access.may_administer(visit.actor),
        form=form,
    )


def _scopes() -> list[str]:
    found = ["district/students", "district/staff"]
    return found + [f"level/{level}/{who}" for level in district.LEVELS for who in ("students", "staff")]


def _summary(view: ChangeView, named: Titles) -> str:
    shown = [f"{named.thing(one.thing)}: {_SAYS[one.say]} for {named.scope(one.scope)}" for one in view.lines[:3]]
    more = len(view.lines) - 3
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


def _one(visit: SignedVisit, session: Session, view: ChangeView, form: Form, status: int = 200) -> Response:
    access.require(access.may_see_district(visit.actor), _SEE)
    named = titles(session)
    is_open = view.state in (ChangeState.DRAFT, ChangeState.SCHEDULED)
    ahead = look_ahead.look(session, visit.now, view.lines) if is_open else None
    return visit.page(
        session,
        "district/change.html",
        status,
        view=view,
        word=_STATES[view.state],
        lines=[(named.scope(one.scope), named.thing(one.thing), _SAYS[one.say]) for one in view.lines],
        ahead=ahead,
        effects=[
            (named.group(one.group), named.thing(one.thing), _SAYS[one.before], _SAYS[one.after])
            for one in (ahead.effects[:SHOWN] if ahead else ())
        ],
        is_open=is_open,
        may_change=access.may_administer(visit.actor),
        form=form,
    )
