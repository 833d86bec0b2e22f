"""`/blocks`: an administrator's ordinary blocks."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from blocklists.policy import Audience, Match
from portal import access
from portal.api.dependencies import CHANGES, READS, Answer, Caller, Message, Moment, Number, Text, Word
from portal.doors import custom_blocks
from portal.doors.custom_blocks import BlockDraft

router = APIRouter(tags=["levers"])


class BlockIn(Message):
    """`sites`: ids, or `*` alone."""

    name: Annotated[str, Field(max_length=5000)]
    match: Word = "subtree"
    sites: Annotated[tuple[Word, ...], Field(max_length=1000)]
    audiences: Annotated[tuple[Word, ...], Field(max_length=10)]
    reason: Text
    review_on: Word


class BlockPatch(Message):
    action: Literal["end"]


class BlockOut(Answer):
    id: int
    name: str
    match: Match
    sites: list[str]
    audiences: list[Audience]
    reason: str
    review_on: str
    created_by: str
    created_at: Moment
    ended_at: Moment | None


class BlockList(Answer):
    blocks: list[BlockOut]


@router.get("/blocks", responses=READS)
def blocks(call: Caller, ended: bool = False) -> BlockList:
    access.require(access.may_see_district(call.actor), "Only reviewers, administrators and auditors see blocks.")
    with call.reading() as session:
        return BlockList(blocks=[BlockOut.model_validate(view) for view in custom_blocks.find(session, ended)])


@router.post("/blocks", status_code=201, responses=CHANGES)
def create(call: Caller, message: BlockIn) -> BlockOut:
    draft = BlockDraft(message.name, message.match, message.sites, message.audiences, message.reason, message.review_on)
    with call.writing() as session:
        return BlockOut.model_validate(custom_blocks.create(session, call.actor, call.now, draft))


@router.patch("/blocks/{number}", responses=CHANGES)
def end(call: Caller, number: Number, message: BlockPatch) -> BlockOut:
    with call.writing() as session:
        return BlockOut.model_validate(custom_blocks.end(session, call.actor, call.now, number))
