"""The year's approved platforms, for everybody: on screen, on paper, as CSV. `register.py` is where it is written."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from portal import access
from portal.doors import register
from portal.models.platforms import EntryState, Parents
from portal.pages import cards, frame, words
from portal.pages.tables import as_csv
from portal.pages.web import AnyVisit, go
from portal.pages.words import Option, Word
from portal.places import years

router = APIRouter()

PARENTS: dict[Parents, Option] = {
    Parents.AUTOMATIC: Option(Parents.AUTOMATIC, "Included automatically", "Parents see it without doing anything"),
    Parents.OPT_IN: Option(Parents.OPT_IN, "Can opt in", "Parents who wish are included"),
    Parents.NOT_FEASIBLE: Option(Parents.NOT_FEASIBLE, "Not included", "It is not feasible; say why below"),
}
STATES: dict[EntryState, Word] = {
    EntryState.DRAFT: Word("Draft", "wait", "wait"),
    EntryState.PUBLISHED: Word("Published", "open", "yes"),
    EntryState.RETIRED: Word("Retired", "done", "done"),
}


@router.get("/platforms")
def present(visit: AnyVisit) -> Response:
    with visit.reading() as session:
        return go(f"/platforms/{years.current(session, visit.now).label}")


@router.get("/platforms/{year}.csv")
def export(visit: AnyVisit, year: str) -> Response:
    with visit.reading() as session:
        found = register.published(session, year)
        names = cards.site_names(session)
    about = ("platform", "for", "audiences", "sites", "parents", "about parents", "leaders' access", "names")
    heading = (*about, "state", "published on", "retired on")
    rows = (
        (
            one.name,
            one.purpose,
            " ".join(one.audiences),
            frame.site_names(one.sites, names),
            one.parents,
            one.parents_why,
            one.leaders,
            " ".join(one.opens),
            one.state,
            "" if one.published_on is None else one.published_on.isoformat(),
            "" if one.retired_on is None else one.retired_on.isoformat(),
        )
        for one in found.entries
    )
    return as_csv(f"platforms-{found.year.label}.csv", heading, rows)


@router.get("/platforms/{year}")
def page(visit: AnyVisit, year: str) -> Response:
    with visit.reading() as session:
        found = register.published(session, year)
        return visit.page(
            session,
            "platforms/list.html",
            register=found,
            rows=[one for one in found.entries if one.state is EntryState.PUBLISHED],
            retired=[one for one in found.entries if one.state is EntryState.RETIRED],
            others=[one for one in register.public_years(session) if one != found.year.label],
            parents=PARENTS,
            site_names=cards.site_names(session),
            may_see=visit.signed_in is not None and access.may_see_register(visit.signed_in.actor),
            listed=words.listed,
        )
