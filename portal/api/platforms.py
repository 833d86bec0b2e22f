"""`/platforms/{year}`: the published register of one school year. Public, as the district's website is."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from blocklists.policy import Audience
from portal import database
from portal.api.dependencies import Answer, deps, problems
from portal.deps import Deps
from portal.doors import register
from portal.models.platforms import EntryState, Parents

router = APIRouter(tags=["platforms"])

Year = Annotated[str, Path(pattern=r"^20\d\d-\d\d$", description="A school year, July through June: `2026-27`.")]


class PlatformOut(Answer):
    """`names`: what it opens, each with all below it. `retired_on`: since then it is approved no more."""

    name: str
    purpose: str
    state: EntryState
    parents: Parents
    parents_why: str
    leaders: str
    names: list[str]
    sites: list[str]
    audiences: list[Audience]
    published_on: date | None
    retired_on: date | None


class HandedOut(Answer):
    day: date
    recipients: str
    how: str


class RegisterOut(Answer):
    """Platforms for communication between employees and students; a tool opened for a lesson is none.

    `published_on`: since when the list is public; null: not yet."""

    year: str
    first: date
    last: date
    published_on: date | None
    distributed: list[HandedOut]
    platforms: list[PlatformOut]


@router.get("/platforms/{year}", responses=problems(404, 422))
def find(given: Annotated[Deps, Depends(deps)], year: Year) -> RegisterOut:
    """No account is asked for."""
    with database.reading(given.engine) as session:
        found = register.published(session, year)
    return RegisterOut(
        year=found.year.label,
        first=found.year.first,
        last=found.year.last,
        published_on=found.published_on,
        distributed=[HandedOut.model_validate(one) for one in found.distributed],
        platforms=[
            PlatformOut(
                name=one.name,
                purpose=one.purpose,
                state=one.state,
                parents=one.parents,
                parents_why=one.parents_why,
                leaders=one.leaders,
                names=list(one.opens),
                sites=list(one.sites),
                audiences=list(one.audiences),
                published_on=one.published_on,
                retired_on=one.retired_on,
            )
            for one in found.entries
        ],
    )
