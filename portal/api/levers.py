"""`/brakes` and `/corrections`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from blocklists.policy import Match
from portal import access
from portal.api.dependencies import CHANGES, READS, Answer, Call, Caller, Message, Moment, Number, Text, Word
from portal.doors import levers
from portal.doors.levers import CorrectionDraft

router = APIRouter(tags=["levers"])

Name = Annotated[str, Field(max_length=5000)]
_NOT_YOURS = "Only reviewers, administrators and auditors see brakes and corrections."


class BrakeIn(Message):
    name: Name
    reason: Text


class BrakePatch(Message):
    released: Literal[True]


class BrakeOut(Answer):
    id: int
    name: str
    reason: str
    created_by: str
    created_at: Moment
    released_by: str | None
    released_at: Moment | None


class BrakeList(Answer):
    brakes: list[BrakeOut]


class CorrectionIn(Message):
    """`lists`: list ids, or `*` alone."""

    name: Name
    match: Word = "exact"
    lists: Annotated[tuple[Word, ...], Field(max_length=1000)]
    reason: Text
    review_on: Word


class CorrectionPatch(Message):
    """`confirm` by the second person, or `end`."""

    action: Literal["confirm", "end"]


class CorrectionOut(Answer):
    """`waits`: it concerns a locked category and needs a second person before it counts."""

    id: int
    name: str
    match: Match
    lists: list[str]
    reason: str
    review_on: str
    created_by: str
    created_at: Moment
    confirmed_by: str | None
    waits: bool
    ended_at: Moment | None


class CorrectionList(Answer):
    corrections: list[CorrectionOut]


def _visible(call: Call) -> None:
    access.require(access.may_see_district(call.actor), _NOT_YOURS)


@router.get("/brakes", responses=READS)
def brakes(call: Caller, released: bool = False) -> BrakeList:
    _visible(call)
    with call.reading() as session:
        return BrakeList(brakes=[BrakeOut.model_validate(view) for view in levers.brakes(session, released)])


@router.post("/brakes", status_code=201, responses=CHANGES)
def set_brake(call: Caller, message: BrakeIn) -> BrakeOut:
    with call.writing() as session:
        view = levers.set_brake(session, call.actor, call.now, message.name, message.reason)
        return BrakeOut.model_validate(view)


@router.patch("/brakes/{number}", responses=CHANGES)
def release_brake(call: Caller, number: Number, message: BrakePatch) -> BrakeOut:
    with call.writing() as session:
        return BrakeOut.model_validate(levers.release_brake(session, call.actor, call.now, number))


@router.get("/corrections", responses=READS)
def corrections(call: Caller, ended: bool = False) -> CorrectionList:
    _visible(call)
    with call.reading() as session:
        views = levers.corrections(session, call.deps.catalogue, ended)
    return CorrectionList(corrections=[CorrectionOut.model_validate(view) for view in views])


@router.post("/corrections", status_code=201, responses=CHANGES)
def create_correction(call: Caller, message: CorrectionIn) -> CorrectionOut:
    draft = CorrectionDraft(message.name, message.match, message.lists, message.reason, message.review_on)
    with call.writing() as session:
        view = levers.create_correction(session, call.actor, call.now, draft, call.deps.catalogue)
        return CorrectionOut.model_validate(view)


@router.patch("/corrections/{number}", responses=CHANGES)
def update_correction(call: Caller, number: Number, message: CorrectionPatch) -> CorrectionOut:
    change = levers.confirm_correction if message.action == "confirm" else levers.end_correction
    with call.writing() as session:
        return CorrectionOut.model_validate(change(session, call.actor, call.now, number, call.deps.catalogue))
