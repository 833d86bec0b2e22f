"""`/exceptions`: what is open without a request."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from blocklists.policy import Audience, Match
from portal import access
from portal.api.dependencies import CHANGES, READS, Answer, Caller, Message, Moment, Number, Text, Word
from portal.doors import exceptions
from portal.doors.exceptions import ExceptionDraft
from portal.models.rules import ExceptionKind

router = APIRouter(tags=["levers"])


class ExceptionIn(Message):
    """`kind`: testing, safety, communications; or imported, with more names."""

    kind: Word
    names: Annotated[tuple[Annotated[str, Field(max_length=5000)], ...], Field(max_length=exceptions.MAX_IMPORTED)]
    sites: Annotated[tuple[Word, ...], Field(max_length=1000)]
    audiences: Annotated[tuple[Word, ...], Field(max_length=10)]
    reason: Text
    review_on: Word


class ReviewIn(Message):
    review_on: Word


class EntryOut(Answer):
    name: str
    match: Match


class ExceptionOut(Answer):
    id: int
    kind: ExceptionKind
    entries: list[EntryOut]
    sites: list[str]
    audiences: list[Audience]
    reason: str
    review_on: str
    overdue: bool
    created_by: str
    created_at: Moment
    ended_at: Moment | None
    unused: list[str] | None  # names of an imported one that nobody asked for in a month; null: not known yet


class TallyOut(Answer):
    """Open doors by their authority."""

    by_request: int
    by_register: int
    by_exception: int
    overdue: int


class ExceptionList(Answer):
    exceptions: list[ExceptionOut]
    open: TallyOut


@router.get("/exceptions", responses=READS)
def find(call: Caller, ended: bool = False) -> ExceptionList:
    access.require(access.may_see_district(call.actor), "Only reviewers, administrators and auditors see exceptions.")
    with call.reading() as session:
        return ExceptionList(
            exceptions=[ExceptionOut.model_validate(one) for one in exceptions.find(session, call.now, ended)],
            open=TallyOut.model_validate(exceptions.tally(session, call.now)),
        )


@router.post("/exceptions", status_code=201, responses=CHANGES)
def create(call: Caller, message: ExceptionIn) -> ExceptionOut:
    draft = ExceptionDraft(
        message.kind, message.names, message.sites, message.audiences, message.reason, message.review_on
    )
    most = exceptions.MAX_IMPORTED if message.kind == ExceptionKind.IMPORTED else 200
    with call.writing() as session:
        view = exceptions.create(session, call.actor, call.now, draft, call.deps.catalogue, most)
        return ExceptionOut.model_validate(view)


@router.patch("/exceptions/{number}", responses=CHANGES)
def review(call: Caller, number: Number, message: ReviewIn) -> ExceptionOut:
    """It was looked at and stays open. To end it, revoke its grant."""
    with call.writing() as session:
        return ExceptionOut.model_validate(exceptions.review(session, call.actor, call.now, number, message.review_on))
