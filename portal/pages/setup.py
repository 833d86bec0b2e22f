"""The first day: the check-list, the district's settings, sites from a file, and which groups are only observed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlmodel import Session
from starlette.datastructures import UploadFile
from starlette.responses import Response

from blocklists.clients import parse_address
from portal import access
from portal.errors import Invalid
from portal.pages import cards, forms
from portal.pages.explain import title
from portal.pages.forms import Form
from portal.pages.web import PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Option
from portal.people import sessions
from portal.places import district, setup, site_import
from portal.places.setup import SettingsDraft, Term
from portal.places.site_import import Report

router = APIRouter()

_NOT_YOURS = "The set-up is for the desk and administrators."
_ONLY_ADMINISTRATORS = "Only an administrator imports sites."
_TERMS = 4  # lines on the page


@router.get("/set-up")
def page(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _page(visit, session)


@router.post("/set-up/settings")
def save(visit: SentForm) -> Response:
    rows = zip(visit.values("term"), visit.values("term_from"), visit.values("term_to"), strict=False)
    draft = SettingsDraft(
        name=visit.value("name"),
        zone=visit.value("zone").strip(),
        contact=visit.value("contact"),
        colour=visit.value("colour"),
        terms=tuple(Term(*row) for row in rows if any(part.strip() for part in row)),
        own_names=tuple(visit.value("own_names").split()),
    )
    try:
        with visit.writing() as session:
            setup.save(session, visit.actor, visit.now, draft)
    except Invalid as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused(visit.typed, error), error.status)
    return go("/set-up#checklist")


@router.post("/set-up/staff")
def answer(visit: SentForm) -> Response:
    with visit.writing() as session:
        setup.answer_staff_social_media(session, visit.actor, visit.now, visit.value("answer") == "yes")
    return go("/set-up#checklist")


@router.post("/set-up/observed")
def switch(visit: SentForm) -> Response:
    groups = tuple(visit.values("groups"))
    try:
        with visit.writing() as session:
            if visit.value("action") == "observe":
                days = visit.number("days")
                setup.observe(session, visit.actor, visit.now, groups, days, visit.value("reason"))
            elif visit.value("action") == "enforce-all":
                every = [view.group for view in district.groups_by_name(session)]
                observed = tuple(one.id for one in every if (one.observe_until or 0) > visit.now)
                setup.enforce(session, visit.actor, visit.now, observed)
            else:
                setup.enforce(session, visit.actor, visit.now, groups)
    except Invalid as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused(visit.typed, error), error.status)
    return go("/set-up#checklist")


def _page(visit: SignedVisit, session: Session, form: Form | None = None, status: int = 200) -> Response:
    access.require(access.may_see_district(visit.actor), _NOT_YOURS)
    row = district.get(session)
    typed = forms.of(
        name="" if row.settled_at is None and not row.demo else row.name,
        zone=row.zone,
        contact=row.contact.removeprefix("mailto:").removeprefix("tel:"),
        colour=row.colour,
        own_names="\n".join(row.own_names),
        term=[one["name"] for one in row.terms],
        term_from=[one["starts_on"] for one in row.terms],
        term_to=[one["ends_on"] for one in row.terms],
    )
    shown = Form(typed) if form is None else Form({**typed, **form.typed}, form.errors, form.title)
    columns = [[*shown.values(one), *[""] * _TERMS][:8] for one in ("term", "term_from", "term_to")]
    points = setup.checklist(session, visit.actor, visit.now)
    views = district.groups_by_name(session)
    observed = [view for view in views if (view.group.observe_until or 0) > visit.now]
    return visit.page(
        session,
        "district/setup.html",
        status,
        points=points,
        next_point=next((point for point in points if not point.done), None),
        row=row,
        terms=list(zip(*columns, strict=True))[: max(_TERMS, len(row.terms) + 1)],
        groups=[
            Option(view.group.id, title(view.site_name, view.group.audience), "observed" if view in observed else "")
            for view in views
        ],
        observed=[(title(view.site_name, view.group.audience), view.group.observe_until) for view in observed],
        may_change=access.may_administer(visit.actor),
        form=shown,
    )


@router.get("/set-up/sites")
def sites(visit: PersonVisit, client: str = "") -> Response:
    with visit.reading() as session:
        return _sites(visit, session, Form(forms.of(client=client)))


async def _sent(request: Request) -> dict[str, list[str]]:
    """What was typed; a chosen file takes the place of a pasted one. The guard has bounded the whole."""
    async with request.form(max_files=1, max_fields=10) as data:
        typed = forms.typed(data)
        file = data.get("file")
        if isinstance(file, UploadFile) and (content := await file.read()):
            typed["csv"] = [site_import.decoded(content)]
        return typed


@router.post("/set-up/sites")
def import_sites(visit: PersonVisit, typed: Annotated[dict[str, list[str]], Depends(_sent)]) -> Response:
    """Dry run, or import."""
    assert visit.signed_in is not None
    sessions.check_csrf(visit.signed_in, typed.get("csrf", [""])[0])
    text = typed.get("csv", [""])[0]
    try:
        if typed.get("action") == ["import"]:
            with visit.writing() as session:
                site_import.run(session, visit.actor, visit.now, text)
            return go("/set-up#checklist")
        with visit.writing() as session:
            report = site_import.dry_run(session, visit.actor, visit.now, text)
    except Invalid as error:
        with visit.reading() as session:
            lines = tuple(f"{one.field}: {one.message}" for one in error.errors)
            return _sites(visit, session, Form(typed), error.status, lines=lines)
    with visit.reading() as session:
        return _sites(visit, session, Form(typed), report=report)


def _sites(
    visit: SignedVisit,
    session: Session,
    form: Form,
    status: int = 200,
    report: Report | None = None,
    lines: tuple[str, ...] = (),
) -> Response:
    access.require(access.may_administer(visit.actor), _ONLY_ADMINISTRATORS)
    whose = ""
    if client := form.value("client").strip():
        try:
            found = visit.wired.current.refresh(session).clients.find(parse_address(client))
            names = cards.site_names(session)
            site, _, audience = found.group.partition("/")
            known = title(names.get(site, site), audience) if audience else found.group
            whose = f"{client} is in {known}, " + (f"by {found.by}." if found.by else "because no group claims it.")
        except ValueError:
            whose = f"{client[:60]!r} is not an IP address."
    return visit.page(session, "district/import.html", status, form=form, report=report, lines=lines, whose=whose)
