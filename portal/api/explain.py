"""`/explain`: the verdict on a name and every step that led to it. `/evidence`: what a request's names mean."""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from blocklists.policy import Action, AnswerStyle, Audience, AuthorityKind, Reason, ReasonKind
from portal import access
from portal.api.dependencies import READS, Answer, Caller, Moment
from portal.desk import evidence
from portal.doors import register_grants
from portal.models.words import State
from portal.verdicts import explain
from portal.wiring import Wiring, wiring

router = APIRouter(tags=["explain"])

_MAX_TEXT = 4096
_MAX_ANSWERS = 40
Name = Annotated[str, Query(min_length=1, max_length=_MAX_TEXT, description="A name, or a web address.")]
Wired = Annotated[Wiring, Depends(wiring)]


class Type(StrEnum):
    """Of a question."""

    A = "A"
    AAAA = "AAAA"
    HTTPS = "HTTPS"
    SVCB = "SVCB"


class AuthorityOut(Answer):
    kind: AuthorityKind
    number: int


class ReasonOut(Answer):
    """The step that spoke, and the rule that it found; `number` is the grant's, brake's or custom block's."""

    kind: ReasonKind
    entry: str | None
    category: str | None
    list: str | None
    service: str | None
    number: int | None
    authority: AuthorityOut | None


class StepOut(Answer):
    number: int
    title: str
    found: str
    decided: bool


class ExplainOut(Answer):
    """`by`: how the client was known to be in the group. `lifted`: the block that a grant lifts. `valid_until`: when
    the verdict may change by itself. `request`: the one whose grant lets the name through;
    `register_entry`: the register's. `told`: what devices are told with the answer (the extended error's text)."""

    name: str
    group: str
    by: str
    at: Moment
    version: int
    action: Action
    style: AnswerStyle | None
    reason: ReasonOut
    lifted: ReasonOut | None
    valid_until: Moment | None
    request: int | None
    register_entry: str | None
    told: str
    steps: list[StepOut]


class BlockedOut(Answer):
    audience: Audience
    blocked: list[str]
    open: list[str]
    reason: ReasonOut | None


class EarlierOut(Answer):
    request: int
    state: State
    decided_at: Moment | None
    tools: list[str]


class FindingOut(Answer):
    """`problem`: why the text is no name; then the rest is empty. `refusal`: why no request can open it. `entries`:
    what a grant would open. `opens` says the same in words. `platforms`: entries of the register that open it for
    somebody already."""

    typed: str
    problem: str | None
    name: str
    dropped_path: bool
    is_blocked: bool
    blocked: list[BlockedOut]
    category: str | None
    category_title: str | None
    service: str | None
    service_title: str | None
    list: str | None
    entry: str | None
    refusal: str | None
    registrable: str | None
    entries: tuple[str, ...]
    opens: str
    earlier: tuple[EarlierOut, ...]
    platforms: tuple[str, ...]


class EvidenceOut(Answer):
    tools: list[FindingOut]


@router.get("/explain", responses=READS)
def explain_name(
    call: Caller,
    wired: Wired,
    name: Name,
    group: Annotated[str | None, Query(max_length=200)] = None,
    client: Annotated[str | None, Query(max_length=100, description="An address, instead of a group.")] = None,
    at: Annotated[Moment | None, Query(description="RFC 3339; now, when left out.")] = None,
    rtype: Annotated[Type, Query(alias="type", description="The question's.")] = Type.A,
    answer: Annotated[
        list[Annotated[str, Query(max_length=_MAX_TEXT)]],
        Query(
            max_length=_MAX_ANSWERS, description="What comes back: addresses, names. Without any, upstream is asked."
        ),
    ] = [],  # noqa: B006 (FastAPI copies it)
) -> ExplainOut:
    """The verdict on a name for a group or a client, with what comes back for it, and every step that led to it."""
    access.require(access.may_see_grants(call.actor), "Sign in to see why a name is blocked.")
    with call.reading() as session:
        snapshot = wired.current.refresh(session)
    moment = call.now if at is None else at.timestamp()
    ask = explain.asks(wired.look_up, answer, rtype)
    found = explain.explain(snapshot, name, moment, group, client, rtype, ask)
    verdict = found.verdict
    with call.reading() as session:
        entry = register_grants.named(session, verdict.reason.authority)
    return ExplainOut.model_validate(
        {
            "name": found.name,
            "group": found.group,
            "by": found.by,
            "at": int(found.at),
            "version": found.version,
            "action": verdict.action,
            "style": verdict.style,
            "reason": _reason(verdict.reason),
            "lifted": None if verdict.lifted is None else _reason(verdict.lifted),
            "valid_until": int(verdict.valid_until) if isfinite(verdict.valid_until) else None,
            "request": found.request,
            "register_entry": entry,
            "told": found.told,
            "steps": [StepOut.model_validate(step) for step in found.steps],
        }
    )


def _reason(reason: Reason) -> ReasonOut:
    return ReasonOut.model_validate(reason)


@router.get("/evidence", responses=READS)
def evidence_of(
    call: Caller,
    wired: Wired,
    urls: Annotated[
        list[Annotated[str, Query(max_length=_MAX_TEXT)]],
        Query(min_length=1, max_length=evidence.MAX_TEXTS, description="Names, web addresses, or services."),
    ],
) -> EvidenceOut:
    """What each of these means: blocked for whom and why, whether a request can open it, and what that would open."""
    access.require(access.may_see_grants(call.actor), "Sign in to see why a name is blocked.")
    with call.reading() as session:
        found = evidence.evidence(session, wired.current.refresh(session), urls, call.now)
    return EvidenceOut(tools=[FindingOut.model_validate(one) for one in found])
