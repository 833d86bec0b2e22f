"""`/answers`: what answers hold beside the verdict. The style of a block is its category's (`/categories`)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from portal import access
from portal.api.dependencies import CHANGES, READS, Answer, Caller, Message, Word
from portal.places import district
from portal.rules import answering
from portal.rules.answering import AnsweringDraft

router = APIRouter(tags=["district"])


class AnswersPatch(Message):
    """What is left out stays."""

    block_page: Annotated[tuple[Word, ...], Field(max_length=100)] | None = None
    strip_ech: bool | None = None
    private_names: Annotated[tuple[Annotated[str, Field(max_length=300)], ...], Field(max_length=2000)] | None = None
    structured_errors: bool | None = None


class AnswersOut(Answer):
    """`block_page`: addresses given by the style `page`. `strip_ech`: HTTPS and SVCB answers lose `ech`.
    `private_names`: at and below them answers may hold private addresses. `structured_errors`: given when asked for."""

    block_page: list[str]
    strip_ech: bool
    private_names: list[str]
    structured_errors: bool


@router.get("/answers", responses=READS)
def answers(call: Caller) -> AnswersOut:
    access.require(access.may_see_district(call.actor), "Reviewers, administrators and auditors see these settings.")
    with call.reading() as session:
        return AnswersOut.model_validate(district.get(session))


@router.patch("/answers", responses=CHANGES)
def update_answers(call: Caller, message: AnswersPatch) -> AnswersOut:
    with call.writing() as session:
        old = district.get(session)
        draft = AnsweringDraft(
            block_page=tuple(old.block_page) if message.block_page is None else message.block_page,
            strip_ech=old.strip_ech if message.strip_ech is None else message.strip_ech,
            private_names=tuple(old.private_names) if message.private_names is None else message.private_names,
            structured_errors=old.structured_errors if message.structured_errors is None else message.structured_errors,
        )
        return AnswersOut.model_validate(answering.update(session, call.actor, call.now, draft))
