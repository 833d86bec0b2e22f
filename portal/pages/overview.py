"""All groups of the district in one table: found, filtered and sorted over every page, and changed many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from sqlmodel import Session
from starlette.responses import Response

from blocklists.clients import parse_network
from blocklists.policy import Audience
from portal import access, natural
from portal.errors import FieldError, Invalid
from portal.models.district import CategoryRow
from portal.pages import forms, words
from portal.pages.forms import Form
from portal.pages.tables import as_csv, listing
from portal.pages.web import PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Option, Word
from portal.places import district, setup
from portal.places.district import GroupView, SiteDraft
from portal.rules import blocking

router = APIRouter()

PER_PAGE = 100  # groups
_KIND = {True: Word("Locked", "shut", "lock"), False: Word("Local policy", "info", "done")}
_ENFORCED, _OBSERVED = Word("Enforced", "open", "yes"), Word("Observed", "wait", "wait")
_STATES = (Option("enforced", "enforced"), Option("observed", "only observed"))
_SEE = "The district's set-up is for the desk and administrators."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the groups is looked for; empty: all. `audience`, `level` and `state` are whole words."""

    find: str = ""
    audience: str = ""
    level: str = ""
    state: str = ""

    def query(self) -> dict[str, str]:
        return {"find": self.find, "audience": self.audience, "level": self.level, "state": self.state}


@dataclass(frozen=True, slots=True)
class _GroupRow:
    id: str
    title: str
    site: str
    level: str
    networks: tuple[str, ...]
    asked: tuple[str, ...]
    blocks: tuple[str, ...]
    services: str
    word: Word
    until: int | None


@dataclass(frozen=True, slots=True)
class _CategoryRow:
    title: str
    description: str
    word: Word
    where: str
    style: str


_KEYS = {
    "site": lambda row: (natural.order(row.site), row.title),
    "group": lambda row: (row.title, natural.order(row.site)),
    "networks": lambda row: [(one.version, int(one.network_address)) for one in map(parse_network, row.networks)],
    "blocks": lambda row: (len(row.blocks), row.blocks),
    "state": lambda row: (row.word.text, row.until or 0),
}


@router.get("/district")
def overview(
    visit: PersonVisit,
    find: Annotated[str, Query(max_length=200)] = "",
    audience: str = "",
    level: str = "",
    state: str = "",
    start: Annotated[int, Query(alias="from", ge=0, le=100_000)] = 0,
) -> Response:
    with visit.reading() as session:
        return _overview(visit, session, Form(), Wanted(find.strip(), audience, level, state), start)


@router.get("/district.csv")
def export(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        access.require(access.may_see_district(visit.actor), _SEE)
        rows = [
            (
                view.group.site,
                view.site_name,
                str(view.group.audience),
                " ".join(view.group.networks),
                " ".join(view.group.asked),
                " ".join(view.group.blocks),
                " ".join(f"{one.service}:{one.switch}" for one in view.group.services),
            )
            for view in district.groups_by_name(session)
        ]
    return as_csv("groups.csv", ("site", "name", "audience", "networks", "asked", "blocks", "services"), rows)


@router.post("/district/sites")
def add_site(visit: SentForm) -> Response:
    draft = SiteDraft(visit.value("id").strip(), visit.value("name"), visit.value("level"))
    try:
        with visit.writing() as session:
            district.create_site(session, visit.actor, visit.now, draft)
    except Invalid as error:
        with visit.reading() as session:
            return _overview(visit, session, forms.refused(visit.typed, error), Wanted(), status=error.status)
    return go("/district")


@router.post("/district/chosen")
def change_chosen(visit: SentForm) -> Response:
    """Do one thing with the ticked groups, or with every group that the filter finds."""
    wanted = Wanted(*(visit.value(name) for name in ("find", "audience", "level", "state")))
    try:
        with visit.writing() as session:
            chosen = tuple(visit.values("groups"))
            if visit.value("every") == "yes":
                chosen = tuple(view.group.id for view, _ in _found(session, wanted, visit.now))
            if not chosen:
                raise Invalid("Nothing was changed.", (FieldError("groups", "tick the groups that you mean"),))
            match visit.value("action"):
                case "enforce":
                    setup.enforce(session, visit.actor, visit.now, chosen)
                case "observe":
                    days, reason = visit.number("days"), visit.value("reason")
                    setup.observe(session, visit.actor, visit.now, chosen, days, reason)
                case _:
                    ruled = [one for one in chosen if not one.endswith(f"/{Audience.GUESTS}")]
                    return go(f"/changes?{urlencode({'scope': [f'group/{one}' for one in ruled]}, doseq=True)}#draft")
    except Invalid as error:
        with visit.reading() as session:
            return _overview(visit, session, forms.refused(visit.typed, error), wanted, status=error.status)
    return go(f"/district?{urlencode(wanted.query())}")


def _found(session: Session, wanted: Wanted, now: float) -> list[tuple[GroupView, str]]:
    """The groups that are looked for, each with its site's level."""
    titles = {one.id: one.title for one in blocking.categories(session)}
    levels = {site.id: site.level for site in district.sites(session)}
    return [
        (view, levels[view.group.site])
        for view in district.groups_by_name(session)
        if _is_like(view, wanted.find.casefold(), titles)
        and wanted.audience in ("", view.group.audience)
        and wanted.level in ("", levels[view.group.site])
        and wanted.state in ("", "observed" if (view.group.observe_until or 0) > now else "enforced")
    ]


def _overview(
    visit: SignedVisit, session: Session, form: Form, wanted: Wanted, start: int = 0, status: int = 200
) -> Response:
    access.require(access.may_see_district(visit.actor), _SEE)
    categories = blocking.categories(session)
    titles = {one.id: one.title for one in categories}
    services = {one.id: one.title for one in blocking.services(session)}
    views = district.groups_by_name(session)
    found = _found(session, wanted, visit.now)
    table = listing(visit.request, "site")
    rows = table.sort_rows((_group_row(view, level, titles, services, visit.now) for view, level in found), _KEYS)
    kept = {**wanted.query(), "sort": table.sort, "order": "desc" if table.descending else "asc"}
    return visit.page(
        session,
        "district/overview.html",
        status,
        groups=rows[start : start + PER_PAGE],
        total=len(found),
        observed=sum((view.group.observe_until or 0) > visit.now for view in views),
        wanted=wanted,
        listing=table,
        states=_STATES,
        earlier=_paged(kept, max(0, start - PER_PAGE)) if start else None,
        later=_paged(kept, start + PER_PAGE) if start + PER_PAGE < len(found) else None,
        sites=district.sites(session),
        categories=[_category_row(one, views) for one in categories],
        levels=("", *district.LEVELS),
        audiences=list(words.AUDIENCES.values()),
        may_change=access.may_administer(visit.actor),
        form=form,
    )


def _paged(kept: Mapping[str, str], start: int) -> str:
    return f"/district?{urlencode({**kept, 'from': str(start)})}"


def _is_like(view: GroupView, wanted: str, titles: dict[str, str]) -> bool:
    """True when some word of the group's row holds what is looked for."""
    group = view.group
    words_ = (
        view.site_name, group.id, *group.networks, *group.asked, *(titles.get(one, one) for one in group.blocks)
    )  # fmt: skip
    return not wanted or any(wanted in one.casefold() for one in words_)


def _group_row(view: GroupView, level: str, titles: dict[str, str], services: dict[str, str], now: float) -> _GroupRow:
    group = view.group
    switched = [f"{services.get(one.service, one.service)} {one.switch}ed" for one in group.services]
    follows = "as the students' there" if view.follows else ""
    observed = (group.observe_until or 0) > now
    return _GroupRow(
        id=group.id,
        title=words.AUDIENCES[group.audience].text,
        site=view.site_name,
        level=level,
        networks=group.networks,
        asked=group.asked,
        blocks=tuple(titles.get(one, one) for one in group.blocks),
        services="; ".join(part for part in (follows, words.listed(switched)) if part) or "—",
        word=_OBSERVED if observed else _ENFORCED,
        until=group.observe_until if observed else None,
    )


def _category_row(row: CategoryRow, views: Sequence[GroupView]) -> _CategoryRow:
    if row.locked:
        where = "everybody; no request opens it"
    else:
        blocked = [view for view in views if row.id in view.group.blocks]
        where = "every group" if len(blocked) == len(views) else f"{len(blocked)} of {words.count(len(views), 'group')}"
    return _CategoryRow(row.title, row.description, _KIND[row.locked], where, row.style.upper())
