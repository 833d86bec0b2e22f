"""`/changes`: what is blocked, as dated policy; `/groups/{site}/{audience}/rules`: which rule decides."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from portal import access
from portal.api.dependencies import (
    CHANGES,
    READS,
    Answer,
    Before,
    Caller,
    Limit,
    Message,
    Moment,
    Number,
    Revision,
    Slug,
    Text,
    Word,
)
from portal.errors import FieldError, Invalid
from portal.fields import Mistakes
from portal.models.rules import ChangeState
from portal.rules import block_rules, changes, look_ahead
from portal.rules.rule_book import Line

router = APIRouter(tags=["district"])

_SEE = "Only reviewers, administrators and auditors see what is blocked."


class LineIn(Message):
    """`scope`: district/students, level/high/students, group/edison/students. `thing`: category/ID or service/ID."""

    scope: Word
    thing: Word
    say: Word


class LinesIn(Message):
    lines: Annotated[tuple[LineIn, ...], Field(max_length=200)]


class ChangeIn(LinesIn):
    reason: Text


class ChangePatch(Message):
    """`publish_at`: a day or a local time, with `schedule`. `reason`: with `undo`."""

    action: Literal["publish", "schedule", "discard", "undo"]
    revision: Revision
    publish_at: Word = ""
    reason: Text = ""


class LineOut(Answer):
    scope: str
    thing: str
    say: str


class ChangeOut(Answer):
    id: int
    state: ChangeState
    lines: list[LineOut]
    reason: str
    author: str
    created_at: Moment
    publish_at: Moment | None
    published_at: Moment | None
    published_by: str | None
    undoes: int | None
    undone_by: int | None
    revision: int


class ChangeList(Answer):
    changes: list[ChangeOut]


class EffectOut(Answer):
    group: str
    thing: str
    before: str
    after: str


class ThingOut(Answer):
    thing: str
    title: str
    names: int
    examples: list[str]


class AheadOut(Answer):
    """`grants`: numbers of live grants for names that this touches. `asked`: names of these that many
    devices asked for lately and got; null: no resolver has told yet."""

    effects: list[EffectOut]
    things: list[ThingOut]
    grants: list[int]
    asked: list[str] | None


class RulingOut(Answer):
    thing: str
    say: str
    scope: str
    change: int | None
    author: str
    reason: str
    since: Moment | None


class Rulings(Answer):
    rules: list[RulingOut]


def _lines(message: LinesIn) -> tuple[Line, ...]:
    return tuple(Line(one.scope, one.thing, one.say) for one in message.lines)


@router.get("/changes", responses=READS)
def find(call: Caller, before: Before = None, limit: Limit = 50) -> ChangeList:
    access.require(access.may_see_district(call.actor), _SEE)
    with call.reading() as session:
        return ChangeList(changes=[ChangeOut.model_validate(one) for one in changes.find(session, before, limit)])


@router.get("/changes/{number}", responses=READS)
def get(call: Caller, number: Number) -> ChangeOut:
    access.require(access.may_see_district(call.actor), _SEE)
    with call.reading() as session:
        return ChangeOut.model_validate(changes.get(session, number))


@router.post("/changes", status_code=201, responses=CHANGES)
def draft(call: Caller, message: ChangeIn) -> ChangeOut:
    with call.writing() as session:
        view = changes.draft(session, call.actor, call.now, _lines(message), message.reason)
        return ChangeOut.model_validate(view)


@router.post("/changes/preview", responses=READS)
def preview(call: Caller, message: LinesIn) -> AheadOut:
    """What publishing these lines would change; nothing is written."""
    access.require(access.may_see_district(call.actor), _SEE)
    with call.reading() as session:
        mistakes = Mistakes()
        lines = block_rules.read(session, mistakes, _lines(message))
        mistakes.stop()
        return AheadOut.model_validate(look_ahead.look(session, call.now, lines))


@router.patch("/changes/{number}", responses=CHANGES)
def act(call: Caller, number: Number, message: ChangePatch) -> ChangeOut:
    with call.writing() as session:
        match message.action:
            case "publish":
                view = changes.publish(session, call.actor, call.now, number, message.revision)
            case "discard":
                view = changes.discard(session, call.actor, call.now, number, message.revision)
            case "schedule":
                if not message.publish_at:
                    raise Invalid("Say when.", (FieldError("publish_at", "say when it shall be published"),))
                view = changes.schedule(session, call.actor, call.now, number, message.revision, message.publish_at)
            case "undo":
                view = changes.undo(session, call.actor, call.now, number, message.reason)
        return ChangeOut.model_validate(view)


@router.get("/groups/{site}/{audience}/rules", responses=READS)
def rules(call: Caller, site: Slug, audience: Slug) -> Rulings:
    """Which rule decides each category and service for this group: its own, its level's, or the district's."""
    access.require(access.may_see_district(call.actor), _SEE)
    with call.reading() as session:
        found = block_rules.inheritance(session, f"{site}/{audience}")
        return Rulings(rules=[RulingOut.model_validate(one) for one in found])
