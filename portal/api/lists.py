"""`/lists`: what the current base holds, from its own manifest; its sources, and the updates that made it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from blocklists.base import ListKind
from portal import access
from portal.api.dependencies import CHANGES, READS, Answer, Call, Caller, Message, Moment, Number, Slug, Text, Word
from portal.lists import builds, lookup, sources
from portal.lists.sources import SourceDraft
from portal.models.lists import BuildState
from portal.wiring import Wiring, wiring

router = APIRouter(prefix="/lists", tags=["lists"])


class ListOut(Answer):
    """`names`: how many names the list brought. `fetched_at`: None for a list that ships with the product."""

    id: str
    title: str
    category: str
    kind: ListKind
    names: int
    source_digest: str
    fetched_at: Moment | None


class ListsOut(Answer):
    """`names`: distinct names in the base, after those that another covers were left out."""

    base: str
    names: int
    lists: list[ListOut]


class SourceIn(Message):
    """A list of the district's own, by address; a file is uploaded on the page, or with `schoolgate lists import`."""

    id: Annotated[str, Field(max_length=60)]
    title: Word
    category: Word
    url: Annotated[str, Field(min_length=1, max_length=2000)]
    format: Word = ""
    licence: Word = ""
    every_hours: Annotated[int, Field(ge=1, le=672)] = 24


class SourcePatch(Message):
    """`fetch` true: at once. What is left out stays; an empty format is told by the list's first bytes."""

    enabled: bool | None = None
    fetch: bool = False
    category: Word | None = None
    format: Word | None = None


class SourceOut(Answer):
    """`names`: listings that the last good copy brought. `age`: seconds since its keeper last confirmed it."""

    id: str
    own: bool
    title: str
    category: str
    url: str
    format: str
    licence: str
    every_hours: int
    enabled: bool
    due_at: Moment | None
    fetched_at: Moment | None
    checked_at: Moment | None
    age: int | None
    failures: int
    error_code: str
    error: str
    names: Annotated[int, Field(validation_alias="found")]
    rejected: int


class SourcesOut(Answer):
    sources: list[SourceOut]


class HitOut(Answer):
    """`at_least`: no base is kept that is older than `since`."""

    list: str
    title: str
    category: str
    entry: str
    since: Moment
    at_least: bool
    nearby: tuple[str, ...]


class LookUpOut(Answer):
    name: str
    hits: tuple[HitOut, ...]


class UpdateOut(Answer):
    """`changes`: by list; `reasons`: the guards that hold it."""

    id: int
    state: BuildState
    because: list[str]
    started_at: Moment
    made_at: Moment | None
    step: str
    done: int
    total: int
    digest: str
    names: int
    changes: list[dict[str, object]]
    reasons: list[dict[str, str]]
    error: str
    decided_by: str
    reason: str


class UpdatesOut(Answer):
    updates: list[UpdateOut]


class DecisionIn(Message):
    decision: Literal["approve", "refuse"]
    reason: Text


class RollBackIn(Message):
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    reason: Text


Wired = Annotated[Wiring, Depends(wiring)]


@router.get("", responses=READS)
def find(call: Caller, wired: Wired) -> ListsOut:
    """Every list of the base that the newest policy is made for."""
    access.require(access.may_see_grants(call.actor), "Sign in to see the lists.")
    with call.reading() as session:
        base = wired.current.refresh(session).base
    found = [
        ListOut.model_validate(
            {
                "id": one.id,
                "title": one.title,
                "category": one.category,
                "kind": one.kind,
                "names": one.names,
                "source_digest": one.source_digest,
                "fetched_at": one.fetched_at or None,
            }
        )
        for one in base.lists
    ]
    return ListsOut(base=base.digest, names=base.keys, lists=found)


@router.get("/sources", responses=READS)
def every_source(call: Caller) -> SourcesOut:
    """The catalog's sources and the district's own, with what the last fetch gave."""
    _visible(call)
    with call.reading() as session:
        return SourcesOut(sources=[SourceOut.model_validate(one) for one in sources.sources(session, call.now)])


@router.post("/sources", status_code=201, responses=CHANGES)
def add_source(call: Caller, wired: Wired, message: SourceIn) -> SourceOut:
    draft = SourceDraft(**message.model_dump())
    with call.writing() as session:
        view = sources.add(session, call.actor, call.now, draft, wired.config.private_lists)
    return SourceOut.model_validate(view)


@router.patch("/sources/{source}", responses=CHANGES)
def change_source(call: Caller, source: Slug, message: SourcePatch) -> SourceOut:
    """Switch it on or off, give it another category or format, fetch it now."""
    access.require(access.may_administer(call.actor), "Only an administrator changes the lists.")
    with call.writing() as session:
        view = sources.source(session, call.now, source)
        if message.category is not None or message.format is not None:
            category = view.category if message.category is None else message.category
            format = view.format if message.format is None else message.format
            view = sources.choose(session, call.actor, call.now, source, category, format)
        if message.enabled is not None:
            view = sources.switch(session, call.actor, call.now, source, message.enabled)
        if message.fetch:
            view = sources.fetch_now(session, call.actor, call.now, source)
    return SourceOut.model_validate(view)


@router.get("/look-up", responses=READS)
def look_up(call: Caller, wired: Wired, name: Annotated[str, Query(max_length=500)]) -> LookUpOut:
    """Which lists have a name, since when, and what else they have nearby."""
    _visible(call)
    with call.reading() as session:
        return LookUpOut.model_validate(lookup.look_up(session, wired.bases, name))


@router.get("/updates", responses=READS)
def updates(call: Caller) -> UpdatesOut:
    """The newest updates, newest first."""
    _visible(call)
    with call.reading() as session:
        return UpdatesOut(updates=[UpdateOut.model_validate(one) for one in builds.recent(session)])


@router.post("/updates/{number}/decision", responses=CHANGES)
def decide(call: Caller, wired: Wired, number: Number, message: DecisionIn) -> UpdateOut:
    """Let a held update out, or keep the present base."""
    with call.writing() as session:
        if message.decision == "approve":
            row = builds.approve(session, call.actor, call.now, wired.bases, number, message.reason)
        else:
            row = builds.refuse(session, call.actor, call.now, number, message.reason)
        return UpdateOut.model_validate(row)


@router.post("/roll-back", responses=CHANGES)
def roll_back(call: Caller, wired: Wired, message: RollBackIn) -> UpdateOut:
    """Publish on an earlier base again, as a new version."""
    with call.writing() as session:
        row = builds.roll_back(session, call.actor, call.now, wired.bases, message.digest, message.reason)
        return UpdateOut.model_validate(row)


def _visible(call: Call) -> None:
    access.require(access.may_see_district(call.actor), "Only reviewers, administrators and auditors see the sources.")
